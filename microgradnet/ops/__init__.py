"""The operations: tables of primitives, each a forward on arrays and one gradient rule per argument."""

from microgradnet.ops.arithmetic import add, div, mul, neg, ratio, sub
from microgradnet.ops.compare import (
    argmax,
    argmin,
    astype,
    equal,
    greater,
    greater_equal,
    isfinite,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
    where,
    zeros_like,
)
from microgradnet.ops.elementwise import (
    absolute,
    clip,
    cos,
    elu,
    erf,
    exp,
    expm1,
    gelu,
    leaky_relu,
    log,
    log1p,
    maximum,
    minimum,
    power,
    relu,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    tanh,
)
from microgradnet.ops.linalg import dot, einsum, linear, matmul, outer
from microgradnet.ops.random import bernoulli, generator, manual_seed, normal, uniform
from microgradnet.ops.reduce import (
    cumsum,
    log_softmax,
    logsumexp,
    max,  # noqa: A004 - NumPy's name
    mean,
    min,  # noqa: A004 - NumPy's name
    norm,
    prod,
    softmax,
    std,
    sum,  # noqa: A004 - NumPy's name
    sum_to,
    take_rows,
    var,
)
from microgradnet.ops.shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    flip,
    index,
    pad,
    repeat,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)
