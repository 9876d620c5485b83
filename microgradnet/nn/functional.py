"""The functions behind the layers and losses, with PyTorch's names and argument order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import ops
from microgradnet.graph import Value, assign, current_scope, fixed, no_grad
from microgradnet.nn.module import layer_name
from microgradnet.ops import gelu, relu, sigmoid, softplus, tanh
from microgradnet.primitive import Primitive

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "elu",
    "embedding",
    "gelu",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "quadratic_loss",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]

REDUCTIONS = ("mean", "batchmean", "sum", "none")

# ---------------------------------------------------------------------- layers


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """y = x·wᵀ + b for x (…, in), w (out, in), b (out,).

    Integers and ndarrays x are cast to the dtype of w; a tensor of another floating dtype is a TypeError,
    another number of features a ValueError that names the layer.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [0.0, 1.0]]), np.array([10.0, 20.0])).tolist()
    [[21.0, 22.0]]
    """
    if not isinstance(x, Value) or x._array.dtype is not weight.dtype:
        x = _fitting(x, weight.dtype, "linear")
    try:
        return ops.linear(x, weight) if bias is None else ops.linear(x, weight, bias)
    except ValueError:
        features = weight.shape[-1]
        if x.ndim and x.shape[-1] == features:
            raise
        advice = "; put nn.Flatten() before it" if math.prod(x.shape[1:]) == features else ""
        raise ValueError(
            f"{_place('linear')}: the input has shape {x.shape}, the weight {weight.shape} "
            f"expects {features} features on the last axis{advice}"
        ) from None


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope·x (its derivative at 0 too).

    Source: Maas et al., *Rectifier Nonlinearities Improve Neural Network Acoustic Models*, 2013.
    """
    return ops.leaky_relu(x, slope=negative_slope)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha·(eˣ − 1).

    Source: Clevert et al., *Fast and Accurate Deep Network Learning by Exponential Linear Units*, 2016, eq.
    15.
    """
    return ops.elu(x, alpha=alpha)


def softmax(x: Any, dim: int = -1) -> Any:
    """eˣ / Σ eˣ along ``dim``."""
    return ops.softmax(x, dim)


def log_softmax(x: Any, dim: int = -1) -> Any:
    """x − ln Σ eˣ along ``dim``."""
    return ops.log_softmax(x, dim)


def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None) -> Any:
    """Zero each element with probability p and scale the others by 1/(1 − p), which preserves the mean.

    The identity unless ``training``. The mask is drawn here, from ``rng`` or the default generator, and is a
    constant of the backward pass. p outside [0, 1) is a ValueError.

    Source: Srivastava et al., *Dropout*, 2014, section 10 (the inverted form).

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.dropout(np.ones(8), 0.5, rng=np.random.default_rng(1)).tolist()
    [2.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0]
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p must be at least 0 and below 1, not {p}")
    if not training or p == 0:
        return x
    mask = ops.bernoulli(p=1 - p, shape=x.shape, dtype=x.dtype, rng=ops.generator(rng))
    return x * (mask * (1 / (1 - p)))


def dropout2d(
    x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None
) -> Any:
    """Zero each channel of x (N, C, H, W) with probability p and scale the others by 1/(1 − p).

    Otherwise as ``dropout``.

    Source: Tompson et al., *Efficient Object Localization Using Convolutional Networks*, 2015, section 3.2.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.dropout2d(np.ones((1, 3, 1, 2)), 0.5, rng=np.random.default_rng(1)).tolist()
    [[[[2.0, 2.0]], [[0.0, 0.0]], [[0.0, 0.0]]]]
    """
    if x.ndim != 4:
        raise ValueError(f"{_place('dropout2d')}: the input has shape {x.shape}, expected (N, C, H, W)")
    if not training or p == 0:
        return x
    return x * dropout(fixed(np.ones((*x.shape[:2], 1, 1), x.dtype)), p, rng=rng)


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x − μ) / √(σ² + eps) · weight + bias per feature, for x (N, C) or (N, C, …) and parameters (C,).

    In training μ and σ² (÷ n) are the batch's, and the running statistics move towards them by ``momentum``
    (towards the variance ÷ (n − 1)); otherwise the running statistics are used, where there are any. A batch
    of one value per feature is a ValueError in training: its output would be the bias, whatever x.

    Source: Ioffe and Szegedy, *Batch Normalization*, 2015, algorithms 1 and 2.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.batch_norm(np.array([[0.0], [2.0]]), None, None, training=True, eps=0.0).tolist()
    [[-1.0], [1.0]]
    """
    if weight is not None:
        x = _fitting(x, weight.dtype, "batch_norm")
    axes = (0, *range(2, x.ndim))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if training or running_mean is None or running_var is None:
        count = math.prod([x.shape[axis] for axis in axes])
        if count < 2:
            raise ValueError(
                f"{_place('batch_norm')}: training needs more than one value per feature, "
                f"the input has shape {x.shape}; give a larger batch, or call model.eval()"
            )
        mean = ops.mean(x, axes, keepdims=True)
        centred = x - mean
        variance = ops.mean(centred * centred, axes, keepdims=True)
        if training:
            with no_grad():
                unbiased = variance * (count / (count - 1))
                for running, batch in ((running_mean, mean), (running_var, unbiased)):
                    if running is not None:
                        assign(running, running * (1 - momentum) + ops.reshape(batch, -1) * momentum)
    else:
        centred = x - ops.reshape(running_mean, shape)
        variance = ops.reshape(running_var, shape)
    y = centred / ops.sqrt(variance + eps)
    if weight is not None:
        y = y * ops.reshape(weight, shape)
    return y if bias is None else y + ops.reshape(bias, shape)


def layer_norm(
    x: Any, normalized_shape: tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x − μ) / √(σ² + eps) · weight + bias over the last axes, whose lengths are ``normalized_shape``.

    Source: Ba, Kiros and Hinton, *Layer Normalization*, 2016, eq. 3 and 4.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.layer_norm(np.array([[0.0, 2.0], [5.0, 1.0]]), (2,), eps=0.0).tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """
    if weight is not None:
        x = _fitting(x, weight.dtype, "layer_norm")
    wanted = tuple(normalized_shape)
    if not wanted or x.shape[-len(wanted) :] != wanted:
        raise ValueError(
            f"{_place('layer_norm')}: the input has shape {x.shape}, expected to end in the axes {wanted}"
        )
    axes = tuple(range(-len(wanted), 0))
    centred = x - ops.mean(x, axes, keepdims=True)
    y = centred / ops.sqrt(ops.mean(centred * centred, axes, keepdims=True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def embedding(indices: Any, weight: Any) -> Any:
    """Rows of ``weight`` (count, dim) chosen by integer ``indices`` of any shape: (…, dim).

    The gradients of a row that is chosen repeatedly add up. An index out of range is an IndexError, also a
    negative one.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.embedding([2, 0], np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])).tolist()
    [[4.0, 5.0], [0.0, 1.0]]
    """
    indices = _in_range(_valued(indices), count=weight.shape[0], caller=_place("embedding"), names=_ROWS)
    return ops.index(weight, indices)


# ---------------------------------------------------------------------- images


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Any:
    """y[n, o, i, j] = b[o] + Σ w[o, c, k, l]·x[n, c, i·s + k·d, j·s + l·d] for x (N, C, H, W).

    w (O, C/groups, KH, KW), b (O,) → y (N, O, OH, OW); see ``nn.Conv2d``. What does not fit is a ValueError
    that names the layer and both numbers.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.conv2d(np.arange(4.0).reshape(1, 1, 2, 2), np.array([[[[1.0, 10.0]]]])).tolist()
    [[[[10.0], [32.0]]]]
    """
    x = _fitting(x, weight.dtype, "conv2d")
    try:
        return ops.conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    except ValueError as error:
        raise _placed(error, "conv2d") from None


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Any:
    """y[n, o, i] = b[o] + Σ w[o, c, k]·x[n, c, i·s + k·d] for x (N, C, L); w (O, C/groups, K), b (O,).

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.conv1d(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[-1.0, 1.0]]])).tolist()
    [[[1.0, 2.0]]]
    """
    x = _fitting(x, weight.dtype, "conv1d")
    try:
        return ops.conv1d(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    except ValueError as error:
        raise _placed(error, "conv1d") from None


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Any:
    """y[n, o, i·s + k·d − p, j·s + l·d − p] += w[c, o, k, l]·x[n, c, i, j], plus b[o]; x (N, C, H, W).

    w (C, O/groups, KH, KW), b (O,) → y (N, O, OH, OW); see ``nn.ConvTranspose2d``.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.conv_transpose2d(np.array([[[[1.0, 2.0]]]]), np.array([[[[1.0, 10.0]]]])).tolist()
    [[[[1.0, 12.0, 20.0]]]]
    """
    x = _fitting(x, weight.dtype, "conv_transpose2d")
    try:
        return ops.conv_transpose2d(
            x,
            weight,
            bias,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
        )
    except ValueError as error:
        raise _placed(error, "conv_transpose2d") from None


def max_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> Any:
    """The largest pixel of each window of x (N, C, H, W) → (N, C, OH, OW); see ``nn.MaxPool2d``.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.max_pool2d(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]), 2).tolist()
    [[[[4.0]]]]
    """
    try:
        return ops.max_pool2d(x, kernel_size, stride, padding, dilation)
    except ValueError as error:
        raise _placed(error, "max_pool2d") from None


def avg_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    count_include_pad: bool = True,
) -> Any:
    """The average of each window of x (N, C, H, W) → (N, C, OH, OW); see ``nn.AvgPool2d``.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.avg_pool2d(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]), 2).tolist()
    [[[[2.5]]]]
    """
    try:
        return ops.avg_pool2d(x, kernel_size, stride, padding, count_include_pad=count_include_pad)
    except ValueError as error:
        raise _placed(error, "avg_pool2d") from None


def adaptive_avg_pool2d(x: Any, output_size: int | Sequence[int | None]) -> Any:
    """Averages over as many windows of x (N, C, H, W) as ``output_size`` says; see ``nn.AdaptiveAvgPool2d``.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> F.adaptive_avg_pool2d(np.array([[[[1.0, 2.0, 4.0]]]]), (1, 2)).tolist()
    [[[[1.5, 3.0]]]]
    """
    try:
        return ops.adaptive_avg_pool2d(x, output_size)
    except ValueError as error:
        raise _placed(error, "adaptive_avg_pool2d") from None


_one_hot = Primitive(
    "one_hot",
    lambda labels, *, num_classes, dtype: np.equal(labels[..., None], np.arange(num_classes)).astype(dtype),
    None,
)


def one_hot(labels: Any, num_classes: int, dtype: Any = np.float32) -> Any:
    """1 at each label and 0 elsewhere: (…,) integers → (…, num_classes).

    A label out of range is an IndexError.

    >>> from microgradnet.nn import functional as F
    >>> F.one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    labels = _in_range(_valued(labels), count=num_classes, caller="one_hot", names=_LABELS)
    return _one_hot(labels, num_classes=num_classes, dtype=np.dtype(dtype))


# ---------------------------------------------------------------------- losses


def _squared_error_forward(a: Any, y: Any, *, scale: float) -> Any:
    d = np.subtract(a, y)
    return np.vdot(d, d) * scale


# scale·Σ (a − y)² in one operation: of a small network's step, four would be a fifth.
_squared_error = Primitive(
    "squared_error",
    _squared_error_forward,
    lambda g, _loss, a, y, *, scale: 2 * scale * (a - y) * g,
    lambda g, _loss, a, y, *, scale: 2 * scale * (y - a) * g,
)


def quadratic_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """C = ½ Σⱼ (aⱼ − yⱼ)² per example (all axes but the first), averaged over the batch by ``mean``.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 1, eq. 6.

    >>> from microgradnet.nn import functional as F
    >>> F.quadratic_loss([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]], reduction="none").tolist()
    [0.5, 2.0]
    """
    input, target = _pair(input, target, "quadratic_loss")
    if reduction == "none":
        return 0.5 * ops.sum((input - target) ** 2, tuple(range(1, input.ndim)))
    share = _share(input, "batchmean" if reduction == "mean" else reduction, "quadratic_loss")
    return _squared_error(input, target, scale=0.5 * share)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(a − y)², averaged over all elements by ``mean``.

    >>> from microgradnet.nn import functional as F
    >>> float(F.mse_loss([1.0, 2.0], [0.0, 0.0]))
    2.5
    """
    input, target = _pair(input, target, "mse_loss")
    if reduction == "none":
        return (input - target) ** 2
    return _squared_error(input, target, scale=_share(input, reduction, "mse_loss"))


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|a − y|, averaged over all elements by ``mean``; the derivative at 0 is 0.

    >>> from microgradnet.nn import functional as F
    >>> float(F.l1_loss([1.0, -2.0], [0.0, 0.0]))
    1.5
    """
    input, target = _pair(input, target, "l1_loss")
    return _reduced(ops.absolute(input - target), reduction, "l1_loss")


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """½d² where |d| ≤ delta, else delta·(|d| − ½ delta), with d = a − y; averaged over elements by ``mean``.

    Source: Huber, *Robust Estimation of a Location Parameter*, 1964.

    >>> from microgradnet.nn import functional as F
    >>> F.huber_loss([1.0, 3.0], [0.0, 0.0], reduction="none").tolist()
    [0.5, 2.5]
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, not {delta}")
    input, target = _pair(input, target, "huber_loss")
    difference = input - target
    near = ops.clip(difference, -delta, delta)
    return _reduced(near * (difference - 0.5 * near), reduction, "huber_loss")


def _bce_forward(p: Any, y: Any) -> Any:
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(
            f"binary_cross_entropy: probabilities must lie in [0, 1], got values from {p.min():g} to "
            f"{p.max():g}; for raw outputs use binary_cross_entropy_with_logits"
        )
    with np.errstate(divide="ignore"):  # ln 0 is −∞, and −100 here
        return (y - 1) * np.maximum(np.log1p(-p), -100) - y * np.maximum(np.log(p), -100)


_bce: Primitive = Primitive(
    "bce",
    _bce_forward,
    lambda g, _loss, p, y: g * (p - y) / ops.maximum(p * (1 - p), 1e-12),
    lambda g, _loss, p, _y: g * (_bce(p, 1.0) - _bce(p, 0.0)),
)


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """−y·ln p − (1 − y)·ln(1 − p) for probabilities p.

    The logarithms are at least −100, and the derivative is (p − y) / max(p(1 − p), 10⁻¹²), so that 0 and 1
    are allowed; anything outside [0, 1] is a ValueError. Averaged over all elements by ``mean``;
    ``batchmean`` is the cross-entropy of Nielsen's chapter 3, eq. 63.

    >>> from microgradnet.nn import functional as F
    >>> F.binary_cross_entropy([0.5, 1.0], [1.0, 1.0], reduction="none").round(4).tolist()
    [0.6931, -0.0]
    """
    input, target = _pair(input, target, "binary_cross_entropy")
    return _reduced(_bce(input, target), reduction, "binary_cross_entropy")


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Any:
    """−y·ln σ(z) − (1 − y)·ln(1 − σ(z)) = softplus(z) − y·z, for raw outputs z of any size.

    Averaged over all elements by ``mean``; ``batchmean`` is the cross-entropy of Nielsen's chapter 3, eq. 63.

    >>> from microgradnet.nn import functional as F
    >>> F.binary_cross_entropy_with_logits([0.0, 1000.0], [1.0, 0.0], reduction="none").round(4).tolist()
    [0.6931, 1000.0]
    """
    input, target = _pair(input, target, "binary_cross_entropy_with_logits")
    return _reduced(softplus(input) - target * input, reduction, "binary_cross_entropy_with_logits")


def nll_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """−wₜ·xₜ per example, for log-probabilities x (N, C) and integer labels t (N,).

    ``mean`` divides by Σ wₜ, the number of examples where there are no weights.

    >>> import numpy as np
    >>> from microgradnet.nn import functional as F
    >>> round(float(F.nll_loss(np.log([[0.5, 0.5], [0.25, 0.75]]), [0, 1])), 4)
    0.4904
    """
    input = _valued(input)
    return _nll(input, _labels(input, target, "nll_loss"), weight, reduction, "nll_loss")


def _nll(logs: Any, labels: Any, weight: Any, reduction: str, caller: str) -> Any:
    chosen = ops.take_rows(logs, labels)
    if weight is None:
        return _reduced(chosen, reduction, caller, scale=-1.0)
    weights = ops.index(_weights(logs, weight, caller), labels)
    return _reduced(chosen * weights, reduction, caller, scale=-1.0, total=ops.sum(weights))


# t·x, and 0 where t is 0, also for x = −inf: a class without probability costs nothing.
_probability_times = Primitive(
    "probability_times",
    lambda t, x: np.multiply(t, x, out=np.zeros_like(x), where=t != 0),
    lambda g, _y, _t, x: g * x,
    lambda g, _y, t, _x: g * t,
)


def cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    """−Σ_c w_c·y_c·ln softmax(x)_c per example, for logits x (N, C).

    ``target`` holds integer labels (N,) or probabilities (N, C). Label smoothing ε replaces y by (1 − ε)·y +
    ε/C. ``mean`` averages over the batch; with labels and class weights it divides by the sum of the labels'
    weights. A logit of −inf masks its class, which then must have no probability, or the loss is infinite.

    Source for smoothing: Szegedy et al., *Rethinking the Inception Architecture*, 2016, section 7.

    >>> from microgradnet.nn import functional as F
    >>> logits = [[0.0, 0.0], [1000.0, 0.0]]
    >>> F.cross_entropy(logits, [0, 1], reduction="none").round(4).tolist()
    [0.6931, 1000.0]
    >>> F.cross_entropy(logits, [[1.0, 0.0], [0.5, 0.5]], reduction="none").round(4).tolist()
    [0.6931, 500.0]
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must lie in [0, 1], not {label_smoothing}")
    input, target = _valued(input), _valued(target)
    total = None
    if target.ndim == 2 and (target.dtype.kind == "f" or target.shape == input.shape):
        input, target = _pair(input, target, "cross_entropy")
        logs = ops.log_softmax(input, 1)
        weights = None if weight is None else _weights(logs, weight, "cross_entropy")
    else:
        labels = _labels(input, target, "cross_entropy")
        logs = ops.log_softmax(input, 1)
        if not label_smoothing:
            return _nll(logs, labels, weight, reduction, "cross_entropy")
        weights = None if weight is None else _weights(logs, weight, "cross_entropy")
        total = None if weights is None else ops.sum(ops.index(weights, labels))
        target = one_hot(labels, logs.shape[1], logs.dtype)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / logs.shape[1]
    terms = _probability_times(target, logs)
    if weights is not None:
        terms = terms * weights
    return _reduced(ops.sum(terms, 1), reduction, "cross_entropy", scale=-1.0, total=total)


# ---------------------------------------------------------------------- what they share


def _reduced(losses: Any, reduction: str, caller: str, *, scale: float = 1.0, total: Any = None) -> Any:
    """Reduce scale·losses: ``mean`` (Σ / size, or Σ / total), ``batchmean`` (Σ / N), ``sum`` or ``none``."""
    if reduction == "none":
        return losses if scale == 1 else losses * scale
    share = scale * _share(losses, reduction, caller)
    summed = ops.sum(losses)
    if reduction == "mean" and total is not None:
        return summed * scale / _not_zero(total, caller=caller)
    return summed if share == 1 else summed * share


def _checked_total(total: Any, *, caller: str) -> Any:
    if total == 0:
        raise ValueError(f"{caller}: the weights of this batch's labels sum to 0, their mean is undefined")
    return total


_not_zero = Primitive("not_zero", _checked_total, lambda g, _y, _total, *, caller: g)


def _share(losses: Any, reduction: str, caller: str) -> float:
    """Return what each element counts in a reduction: 1 / size, 1 / N, or 1."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{caller}: reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    if not losses.size:
        raise ValueError(f"{caller}: the batch is empty (shape {losses.shape}), its loss is undefined")
    if reduction == "mean":
        return float(1 / losses.size)
    return 1 / losses.shape[0] if reduction == "batchmean" and losses.ndim else 1.0


def _valued(x: Any) -> Any:
    return x if isinstance(x, Value) else np.asarray(x)


def _place(caller: str) -> str:
    """Name the function, and the layer that calls it."""
    module = current_scope.get().module
    return caller if module is None else f"{caller} in {layer_name(module)}"


def _placed(error: ValueError, caller: str) -> ValueError:
    """Return an operation's error with the layer's name in it."""
    return ValueError(_place(caller) + str(error).removeprefix(caller))


def _fitting(x: Any, dtype: Any, caller: str) -> Any:
    """Give x the dtype of the parameters; a tensor of another floating dtype is refused."""
    x = _valued(x)
    if x.dtype == dtype:
        return x
    given = x.dtype
    if given.kind == "f" and isinstance(x, Value) and not x._is_array:
        raise TypeError(
            f"{_place(caller)}: the input is a tensor of {given}, the weight is {dtype}; "
            f"write x.astype('{dtype}') or model.astype('{given}')"
        )
    return ops.astype(x, dtype=dtype)


def _pair(prediction: Any, target: Any, caller: str) -> tuple[Any, Any]:
    """Give predictions and targets one floating dtype, and refuse shapes that would broadcast."""
    prediction, target = _valued(prediction), _valued(target)
    shape, dtype = prediction.shape, target.dtype
    if target.shape == shape and dtype is prediction.dtype and dtype.kind == "f":
        return prediction, target
    if target.shape != shape:
        advice = ""
        if target.ndim == prediction.ndim - 1 and dtype.kind in "iu":
            advice = f"; integer labels go through nn.functional.one_hot(y, {shape[-1]})"
        elif target.size == prediction.size:
            advice = f"; write targets.reshape({shape})"
        raise ValueError(
            f"{caller}: predictions have shape {shape}, targets {target.shape}; they must be equal{advice}"
        )
    if prediction.dtype.kind != "f":
        prediction = ops.astype(prediction, dtype=dtype if dtype.kind == "f" else np.float64)
    if dtype != prediction.dtype:
        if dtype.kind == "f" and isinstance(target, Value) and not target._is_array:
            raise TypeError(
                f"{caller}: predictions are {prediction.dtype}, the target tensor {dtype}; "
                f"write y.astype('{prediction.dtype}')"
            )
        target = ops.astype(target, dtype=prediction.dtype)
    return prediction, target


def _labels(prediction: Any, target: Any, caller: str) -> Any:
    """Check integer labels (N,) against predictions (N, C)."""
    labels = _valued(target)
    if prediction.ndim != 2 or labels.shape != prediction.shape[:1]:
        advice = "bring classes to axis 1 and flatten the others into axis 0"
        if prediction.ndim == 2 and labels.size == prediction.shape[0]:
            advice = "write y.reshape(-1)"
        raise ValueError(
            f"{caller}: predictions (N, C) and labels (N,) expected, "
            f"got {prediction.shape} and {labels.shape}; {advice}"
        )
    return _in_range(labels, count=prediction.shape[1], caller=caller, names=_LABELS)


_LABELS, _ROWS = ("label", "classes"), ("index", "rows")


def _checked_range(values: Any, *, count: int, caller: str, names: tuple[str, str]) -> Any:
    one, of = names
    if values.dtype.kind not in "iu":
        raise TypeError(f"{caller}: each {one} must be an integer, not {values.dtype}; write y.astype(int)")
    if values.size and (np.minimum.reduce(values, None) < 0 or np.maximum.reduce(values, None) >= count):
        at = tuple(np.argwhere((values < 0) | (values >= count))[0].tolist())
        where = at[0] if len(at) == 1 else at
        raise IndexError(
            f"{caller}: {one} {values[at]} at position {where} is out of range "
            f"for {count} {of} (0 to {count - 1})"
        )
    return values


# The values themselves, if they are in range. A primitive, so that a compiled step checks them too.
_in_range = Primitive("in_range", _checked_range, None)


def _weights(prediction: Any, weight: Any, caller: str) -> Any:
    """Check the weights of the classes, and give them the predictions' dtype."""
    weights = _valued(weight)
    if weights.shape != prediction.shape[1:]:
        raise ValueError(
            f"{caller}: class weights have shape {weights.shape}, "
            f"expected {prediction.shape[1:]}: one per class"
        )
    return weights if weights.dtype == prediction.dtype else ops.astype(weights, dtype=prediction.dtype)
