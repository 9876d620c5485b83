"""The functions behind the layers and losses, with PyTorch's names and argument order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import ops
from microgradnet.graph import Value, assign, no_grad
from microgradnet.ops import elu as _elu
from microgradnet.ops import gelu, relu, sigmoid, softplus, tanh
from microgradnet.ops import leaky_relu as _leaky_relu
from microgradnet.primitive import Primitive
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from microgradnet.tensor import Operand

__all__ = [
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
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

# ---------------------------------------------------------------------- layers


def linear(x: Operand, weight: Operand, bias: Operand | None = None) -> Any:
    """y = x·wᵀ + b for x (…, in), w (out, in), b (out,); an integer array x is cast to the dtype of w."""
    if isinstance(x, Value):
        if x.dtype != weight.dtype:  # type: ignore[union-attr]  # a weight is an array or a tensor
            message = (
                f"linear: the input is a tensor of {x.dtype}, the weight is {weight.dtype}; "  # type: ignore[union-attr]  # the same
                f"write x.astype('{weight.dtype}') or model.astype('{x.dtype}')"  # type: ignore[union-attr]  # the same
            )
            raise TypeError(message)
    else:
        x = np.asarray(x)
        if x.dtype.kind != "f":
            x = x.astype(weight.dtype)  # type: ignore[union-attr]  # the same
    return ops.linear(x, weight, bias)


def leaky_relu(x: Operand, negative_slope: float = 0.01) -> Any:
    """X where x > 0, else negative_slope·x (its derivative at 0 too)."""
    return _leaky_relu(x, slope=negative_slope)


def elu(x: Operand, alpha: float = 1.0) -> Any:
    """X where x > 0, else alpha·(eˣ − 1). Source: Clevert et al., 2016."""
    return _elu(x, alpha=alpha)


def softmax(x: Operand, dim: int = -1) -> Any:
    """eˣ / Σ eˣ along ``dim``."""
    return ops.softmax(x, dim)


def log_softmax(x: Operand, dim: int = -1) -> Any:
    """x − ln Σ eˣ along ``dim``."""
    return ops.log_softmax(x, dim)


def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None) -> Any:
    """Zero each element with probability p and scale the others by 1/(1 − p), which preserves the mean.

    Source: Srivastava et al., *Dropout*, 2014, section 10 (the inverted form).
    """
    if not 0 <= p < 1:
        message = f"dropout: p must be at least 0 and below 1, not {p}"
        raise ValueError(message)
    if not training or p == 0:
        return x
    mask = ops.bernoulli(p=1 - p, shape=x.shape, dtype=x.dtype, rng=ops.generator(rng))
    return x * (mask * (1 / (1 - p)))


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x − μ) / √(σ² + eps) · weight + bias, per feature (axis 1).

    In training μ and σ² (÷ n) are the batch's, and the running statistics move towards them by ``momentum``
    (towards the variance ÷ (n − 1)); otherwise the running statistics are used.

    Source: Ioffe and Szegedy, *Batch Normalization*, 2015, algorithms 1 and 2.
    """
    axes = (0, *range(2, x.ndim))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if training or running_mean is None or running_var is None:
        count = math.prod([x.shape[axis] for axis in axes])
        if count < 2:
            message = (
                f"batch_norm in training needs more than one value per feature, got input of shape {x.shape}; "
                "give a larger batch, or call model.eval()"
            )
            raise ValueError(message)
        mean = ops.mean(x, axes, keepdims=True)
        centred = x - mean
        variance = ops.mean(centred * centred, axes, keepdims=True)
        if training and running_mean is not None and running_var is not None:
            with no_grad():
                for running, batch in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
                    assign(running, _array(running * (1 - momentum) + ops.reshape(batch, -1) * momentum))
    else:
        centred = x - ops.reshape(running_mean, shape)
        variance = ops.reshape(running_var, shape)
    y = centred / ops.sqrt(variance + eps)
    if weight is not None:
        y = y * ops.reshape(weight, shape)
    return y if bias is None else y + ops.reshape(bias, shape)


def layer_norm(
    x: Any,
    normalized_shape: tuple[int, ...],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
) -> Any:
    """(x − μ) / √(σ² + eps) · weight + bias over the last axes, whose lengths are ``normalized_shape``.

    Source: Ba, Kiros and Hinton, *Layer Normalization*, 2016, eq. 3 and 4.
    """
    if tuple(x.shape[-len(normalized_shape) :]) != tuple(normalized_shape):
        message = f"layer_norm over {tuple(normalized_shape)}: the input of shape {x.shape} must end in these axes"
        raise ValueError(message)
    axes = tuple(range(-len(normalized_shape), 0))
    centred = x - ops.mean(x, axes, keepdims=True)
    y = centred / ops.sqrt(ops.mean(centred * centred, axes, keepdims=True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def embedding(indices: Operand, weight: Operand) -> Any:
    """Rows of ``weight`` (count, dim) chosen by integer ``indices`` of any shape: (…, dim)."""
    array = _array(indices)
    count = weight.shape[0]  # type: ignore[union-attr]  # a weight is an array or a tensor
    _check_range(array, count, "embedding", "index", "indices")
    return ops.index(weight, indices if isinstance(indices, Value) else array)


def one_hot(labels: Operand, num_classes: int, dtype: Any = np.float32) -> Any:
    """1 at each label and 0 elsewhere: (…,) integers → (…, num_classes).

    >>> from microgradnet.nn import functional as F
    >>> F.one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    array = _array(labels)
    _check_range(array, num_classes, "one_hot", "label", "labels")
    return np.eye(num_classes, dtype=dtype)[array]


# ---------------------------------------------------------------------- losses


def quadratic_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """C = ½ Σⱼ (aⱼ − yⱼ)² per example (all axes but the first), averaged over the batch by ``mean``.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 1, eq. 6.
    """
    target = _like(input, target, "quadratic_loss")
    return _reduced((input - target) ** 2, reduction, "quadratic_loss", per_example=True, scale=0.5)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(a − y)², averaged over all elements by ``mean``."""
    target = _like(input, target, "mse_loss")
    return _reduced((input - target) ** 2, reduction, "mse_loss")


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|a − y|, averaged over all elements by ``mean``; the derivative at 0 is 0."""
    target = _like(input, target, "l1_loss")
    return _reduced(ops.absolute(input - target), reduction, "l1_loss")


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """½d² where |d| ≤ delta, else delta·(|d| − ½ delta), with d = a − y; averaged over all elements by ``mean``.

    Source: Huber, *Robust Estimation of a Location Parameter*, 1964.
    """
    if delta <= 0:
        message = f"huber_loss: delta must be positive, not {delta}"
        raise ValueError(message)
    distance = ops.absolute(input - _like(input, target, "huber_loss"))
    near = ops.minimum(distance, delta)
    return _reduced(near * (distance - 0.5 * near), reduction, "huber_loss")


def _clamped_log_forward(x: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(x), -100)


_clamped_log = Primitive("clamped_log", _clamped_log_forward, lambda g, _y, x: g / ops.maximum(x, 1e-12))


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """−y·ln p − (1 − y)·ln(1 − p) for probabilities p.

    The logarithm is at least −100, and its derivative at most 10¹², so that 0 and 1 are allowed. Averaged over all
    elements by ``mean``; ``batchmean`` is the cross-entropy of Nielsen's chapter 3, eq. 63.
    """
    target = _like(input, target, "binary_cross_entropy")
    values = _array(input)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        message = (
            f"binary_cross_entropy: probabilities must lie in [0, 1], got values from {values.min():g} to "
            f"{values.max():g}; for raw outputs use binary_cross_entropy_with_logits"
        )
        raise ValueError(message)
    losses = -(target * _clamped_log(input) + (1 - target) * _clamped_log(1 - input))
    return _reduced(losses, reduction, "binary_cross_entropy")


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Any:
    """−y·ln σ(z) − (1 − y)·ln(1 − σ(z)) = softplus(z) − y·z, for raw outputs z, at any size of z.

    Averaged over all elements by ``mean``; ``batchmean`` is the cross-entropy of Nielsen's chapter 3, eq. 63.
    """
    target = _like(input, target, "binary_cross_entropy_with_logits")
    return _reduced(softplus(input) - target * input, reduction, "binary_cross_entropy_with_logits")


def nll_loss(input: Any, target: Any, weight: Operand | None = None, reduction: str = "mean") -> Any:
    """−wₜ·xₜ per example, x (N, C) being log-probabilities and t (N,) integer labels; ``mean`` divides by Σ wₜ."""
    labels = _labels(input, target, "nll_loss")
    losses = -ops.take_rows(input, labels)
    if weight is None:
        return _reduced(losses, reduction, "nll_loss")
    chosen = _weights(input, weight, "nll_loss")[labels]
    return _reduced(losses * chosen, reduction, "nll_loss", total=chosen.sum())


def cross_entropy(
    input: Any,
    target: Any,
    weight: Operand | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """−Σ_c w_c·y_c·ln softmax(x)_c per example, for logits x (N, C).

    ``target`` holds integer labels (N,) or probabilities (N, C). Label smoothing ε replaces y by (1 − ε)·y + ε/C.
    ``mean`` averages over the batch; with labels and class weights it divides by the sum of the labels' weights.

    Source for smoothing: Szegedy et al., *Rethinking the Inception Architecture*, 2016, section 7.
    """
    if not 0 <= label_smoothing <= 1:
        message = f"cross_entropy: label_smoothing must lie in [0, 1], not {label_smoothing}"
        raise ValueError(message)
    logs = log_softmax(input, 1)
    soft = np.ndim(_array(target)) == 2
    if not soft and not label_smoothing:
        return nll_loss(logs, target, weight, reduction)
    weights = None if weight is None else _weights(input, weight, "cross_entropy")
    total = None
    if soft:
        target = _like(input, target, "cross_entropy")
    else:
        labels = _labels(input, target, "cross_entropy")
        total = None if weights is None else weights[labels].sum()
        target = one_hot(labels, input.shape[1], input.dtype)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[1]
    # A class that the target gives no probability costs nothing, also where its logit is −inf.
    terms = target * ops.where(target == 0, 0, logs)
    if weights is not None:
        terms = terms * weights
    return _reduced(-ops.sum(terms, 1), reduction, "cross_entropy", total=total)


def _reduced(
    losses: Any, reduction: str, caller: str, *, per_example: bool = False, scale: float = 1.0, total: Any = None
) -> Any:
    """Reduce the losses of all elements: ``mean``, ``batchmean`` (Σ / N), ``sum`` or ``none``.

    ``per_example`` losses are summed over all axes but the first before, ``total`` replaces the mean's divisor.
    """
    if reduction == "none":
        if per_example:
            losses = ops.sum(losses, tuple(range(1, losses.ndim)))
        return losses if scale == 1 else losses * scale
    batch = losses.shape[0] if losses.ndim else 1
    if not losses.size:
        message = f"{caller}: the batch is empty (shape {losses.shape}), its loss is undefined"
        raise ValueError(message)
    if reduction == "sum":
        divisor: Any = 1
    elif reduction == "batchmean" or (reduction == "mean" and per_example):
        divisor = batch
    elif reduction == "mean":
        divisor = losses.size if total is None else float(total)
    else:
        message = f"{caller}: reduction must be 'mean', 'batchmean', 'sum' or 'none', not {reduction!r}"
        raise ValueError(message)
    summed = ops.sum(losses)
    return summed if scale == divisor else summed * (scale / divisor)


def _array(x: Any) -> Any:
    return x._array if isinstance(x, Value) else np.asarray(x)


def _like(prediction: Any, target: Any, caller: str) -> Any:
    """Give the target the prediction's dtype, and refuse a shape that would broadcast."""
    array = _array(target)
    if array.shape != prediction.shape:
        message = f"{caller}: predictions have shape {prediction.shape}, targets {array.shape}; they must be equal"
        if array.ndim == prediction.ndim - 1 and array.dtype.kind in "iu":
            message += f"; integer labels go through nn.functional.one_hot(y, {prediction.shape[-1]})"
        elif array.size == math.prod(prediction.shape):
            message += f"; write targets.reshape({prediction.shape})"
        raise ValueError(message)
    if array.dtype == prediction.dtype:
        return target
    if isinstance(target, Value) and array.dtype.kind == "f":
        message = f"{caller}: predictions are {prediction.dtype}, the target tensor {array.dtype}; write y.astype('{prediction.dtype}')"
        raise TypeError(message)
    return array.astype(prediction.dtype)


def _labels(prediction: Any, target: Any, caller: str) -> Any:
    """Check integer labels (N,) against predictions (N, C)."""
    labels = _array(target)
    if prediction.ndim != 2 or labels.shape != prediction.shape[:1]:
        message = (
            f"{caller}: predictions (N, C) and labels (N,) expected, got {prediction.shape} and {labels.shape}; "
            "bring classes to the last axis and flatten the others"
        )
        raise ValueError(message)
    if labels.dtype.kind not in "iu":
        message = f"{caller}: labels must be integers, not {labels.dtype}; write y.astype(int)"
        raise TypeError(message)
    _check_range(labels, prediction.shape[1], caller, "label", "classes")
    return labels


def _check_range(values: Any, count: int, caller: str, one: str, of: str) -> None:
    if values.dtype.kind not in "iu":
        message = f"{caller}: {one} values must be integers, not {values.dtype}; write y.astype(int)"
        raise TypeError(message)
    if values.size and (np.minimum.reduce(values, axis=None) < 0 or np.maximum.reduce(values, axis=None) >= count):
        at = tuple(np.argwhere((values < 0) | (values >= count))[0].tolist())
        where = at[0] if len(at) == 1 else at
        message = f"{caller}: {one} {values[at]} at position {where} is out of range for {count} {of} (0 to {count - 1})"
        raise IndexError(message)


def _weights(prediction: Any, weight: Any, caller: str) -> Any:
    weights = _array(weight).astype(prediction.dtype, copy=False)
    if weights.shape != prediction.shape[1:]:
        message = f"{caller}: class weights have shape {weights.shape}, expected {prediction.shape[1:]}: one per class"
        raise ValueError(message)
    return weights
