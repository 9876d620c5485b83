"""The operations against PyTorch: values and gradients at random points, and at the kinks."""

import math
import operator

import numpy as np
import pytest

import microgradnet as mg
from microgradnet.ops import table
from microgradnet.ops.table import OPERATIONS, SPECIAL_POINTS

AXES = {"axis": "dim", "keepdims": "keepdim", "axes": "dims"}


def named(keywords):
    """Translate NumPy's names of keywords into PyTorch's."""
    return {AXES.get(name, name): value for name, value in keywords.items()}


def every_axis(x, keywords):
    """Give PyTorch's functions that want their axes all of them where NumPy means them by none."""
    return {"dim": tuple(range(x.ndim)), **named(keywords)}


def same_name(name):
    return lambda torch: lambda *xs, **keywords: getattr(torch, name)(*xs, **named(keywords))


def over_axes(name):
    return lambda torch: lambda x, **keywords: getattr(torch, name)(x, **every_axis(x, keywords))


def spread(name):
    """Statistics, with NumPy's default ddof."""

    def of(torch):
        def call(x, *, ddof=0, **keywords):
            return getattr(torch, name)(x, correction=ddof, **every_axis(x, keywords))

        return call

    return of


def prod(torch):
    def call(x, axis=None, keepdims=False):
        if axis is None:
            y = x.prod()
            return y.reshape((1,) * x.ndim) if keepdims else y
        axes = sorted([a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)], reverse=True)
        for a in axes:
            x = x.prod(a, keepdim=keepdims)
        return x

    return call


def norm(torch):
    return lambda x, **keywords: torch.linalg.vector_norm(x, **named(keywords))


def softmax(name):
    def of(torch):
        def call(x, axis=-1):
            if isinstance(axis, int):
                return getattr(torch, name)(x, axis)
            last = tuple(range(-len(axis), 0))
            moved = x.movedim(axis, last)
            y = getattr(torch, name)(moved.flatten(-len(axis)), -1).reshape(moved.shape)
            return y.movedim(last, axis)

        return call

    return of


def pad(torch):
    def call(x, pad_width, constant_values=0.0):
        widths = np.broadcast_to(pad_width, (x.ndim, 2))[::-1].ravel().tolist()
        return torch.nn.functional.pad(x, widths, value=constant_values)

    return call


def repeat(torch):
    def call(x, repeats, axis=None):
        counts = repeats if isinstance(repeats, int) else torch.tensor(repeats)
        return torch.repeat_interleave(x, counts, dim=axis)

    return call


def take_rows(torch):
    return lambda x, columns: x[torch.arange(len(x)), columns]


def split(torch):
    return lambda x, *, sections, axis=0: torch.tensor_split(x, sections, axis)[1]


def cumsum(torch):
    return lambda x, axis=None: torch.cumsum(x.ravel() if axis is None else x, axis or 0)


def transpose(torch):
    return lambda x, axes=None: x.permute(tuple(range(x.ndim))[::-1] if axes is None else axes)


def squeeze(torch):
    return lambda x, axis=None: x.squeeze() if axis is None else x.squeeze(axis)


def expand_dims(torch):
    def call(x, *, axis):
        for a in (axis,) if isinstance(axis, int) else axis:
            x = x.unsqueeze(a)
        return x

    return call


def clip(torch):
    def call(x, low=-1, high=1):
        return torch.clip(x, low, high)

    return call


def functional(name):
    return lambda torch: getattr(torch.nn.functional, name)


ALIKE = """absolute add sub mul div sign exp expm1 log log1p sqrt sin cos tanh sigmoid erf relu maximum
    minimum where matmul"""
IMAGES = "conv1d conv2d conv_transpose2d max_pool2d avg_pool2d adaptive_avg_pool2d"
ORACLE = {
    **{name: same_name(name) for name in ALIKE.split()},
    **{name: functional(name) for name in IMAGES.split()},
    **{name: over_axes(name) for name in ["sum", "mean", "logsumexp"]},
    **{name: spread(name) for name in ("var", "std")},
    "neg": lambda torch: operator.neg,
    "ratio": lambda torch: operator.truediv,
    "power (number)": lambda torch: lambda x, n: x**n,
    "power (tensor)": lambda torch: torch.pow,
    "softplus": lambda torch: torch.nn.functional.softplus,
    "gelu": lambda torch: torch.nn.functional.gelu,
    "leaky_relu": lambda torch: lambda x, slope: torch.nn.functional.leaky_relu(x, negative_slope=slope),
    "elu": lambda torch: torch.nn.functional.elu,
    "clip": clip,
    "max": over_axes("amax"),
    "min": over_axes("amin"),
    "prod": prod,
    "norm": norm,
    "softmax": softmax("softmax"),
    "log_softmax": softmax("log_softmax"),
    "cumsum": cumsum,
    "reshape": lambda torch: torch.reshape,
    "transpose": transpose,
    "squeeze": squeeze,
    "swapaxes": lambda torch: lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
    "outer": lambda torch: lambda a, b: torch.outer(a.ravel(), b.ravel()),
    "expand_dims": expand_dims,
    "broadcast_to": lambda torch: (
        lambda x, shape: x.broadcast_to(shape if isinstance(shape, tuple) else (shape,))
    ),
    "concatenate": lambda torch: lambda *xs, axis=0: torch.cat(xs, axis),
    "stack": lambda torch: lambda *xs, axis=0: torch.stack(xs, axis),
    "split": split,
    "pad": pad,
    "flip": lambda torch: (
        lambda x, axis=None: torch.flip(
            x, tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        )
    ),
    "repeat": repeat,
    "take_rows": take_rows,
    "linear": lambda torch: torch.nn.functional.linear,
    "dot": lambda torch: lambda a, b: a @ b if a.ndim and b.ndim else a * b,
    "einsum": lambda torch: lambda *xs, subscripts: torch.einsum(subscripts, *xs),
    "sum_to": lambda torch: lambda x, shape: x.sum_to_size(shape),
    "astype": lambda torch: lambda x, dtype: x.to(getattr(torch, dtype)),
}
# PyTorch's indexing differs from NumPy's in negative steps, nested tuples and empty lists.
NOT_COMPARED = {"index"}

CASES = [
    pytest.param(row, shapes, case.keywords, id=f"{row.title}-{shapes}{dict(case.keywords)}")
    for row in OPERATIONS
    if row.differentiable and row.name not in NOT_COMPARED
    for case in row.cases
    for shapes in ([case.shapes] if case.shapes else [((2, 3), (3,), ())[: len(row.arguments.split())]])
    if all(math.prod(shape) for shape in shapes)  # PyTorch treats empty tensors in its own ways
]


def test_every_differentiable_operation_has_its_oracle():
    names = {row.title for row in OPERATIONS if row.differentiable and row.name not in NOT_COMPARED}
    assert names == set(ORACLE)


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch says that it copies
@pytest.mark.parametrize(("row", "shapes", "keywords"), CASES)
def test_value_and_gradient(torch, row, shapes, keywords):
    rng = np.random.default_rng(4)
    arrays = table.draw(row, shapes, rng)
    ours = [mg.Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    theirs = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    y, z = row(*ours, **keywords), ORACLE[row.title](torch)(*theirs, **keywords)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12, atol=1e-14)
    v = np.asarray(rng.standard_normal(y.shape))
    y.backward(v)
    z.backward(torch.tensor(v))
    for x, t in zip(ours, theirs, strict=True):
        if x.requires_grad:
            expected = np.zeros(x.shape) if t.grad is None else t.grad.numpy()
            assert x.grad is not None
            np.testing.assert_allclose(x.grad, expected, rtol=1e-11, atol=1e-13)


def where_positive(torch):
    return lambda x: torch.where(x > 0, torch.sqrt(x), 0)


KINKS = {
    "relu(x)": ORACLE["relu"],
    "leaky_relu(x, slope=0.1)": lambda torch: lambda x: torch.nn.functional.leaky_relu(x, 0.1),
    "elu(x, alpha=1.5)": lambda torch: lambda x: torch.nn.functional.elu(x, 1.5),
    "abs(x)": ORACLE["absolute"],
    "maximum(a, b)": ORACLE["maximum"],
    "minimum(a, b)": ORACLE["minimum"],
    "clip(x, -1, 1)": ORACLE["clip"],
    "clip(x, low, high)": ORACLE["clip"],
    "where(x > 0, sqrt(x), 0)": where_positive,
    "x**0": lambda torch: lambda x: x**0,
    "x**1": lambda torch: lambda x: x**1,
    "x**0.5": lambda torch: lambda x: x**0.5,
    "a**b": ORACLE["power (tensor)"],
    "max_pool2d(x, 2)": lambda torch: lambda x: torch.nn.functional.max_pool2d(x, 2),
}


@pytest.mark.parametrize("point", SPECIAL_POINTS, ids=lambda point: f"{point.expression} at {point.at}")
def test_special_point(torch, point):
    """Where the table says nothing else PyTorch gives the same; where it does, PyTorch differs."""
    call = (KINKS.get(point.expression) or ORACLE[point.expression.split("(")[0]])(torch)
    theirs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point.at]
    z = call(*theirs)
    z.sum().backward()
    same = np.allclose(z.detach().numpy(), point.value, rtol=1e-7, atol=1e-37)
    for t, expected in zip(theirs, point.gradients, strict=True):
        same &= np.allclose(t.grad.numpy(), expected, rtol=1e-6, atol=1e-37)
    assert same == (not point.pytorch), (z, [t.grad for t in theirs])
