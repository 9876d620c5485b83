"""Operations along axes: sums and their relatives, extremes, products, softmax."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from microgradnet.graph import fixed
from microgradnet.ops.compare import astype, equal, where
from microgradnet.ops.elementwise import absolute, exp
from microgradnet.ops.shape import Axes, broadcast_to, flip, index, reshape, transpose
from microgradnet.primitive import Primitive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgradnet.graph import Array


def _kept_shape(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    """Return the shape that a reduction over ``axis`` has with its axes kept as length 1."""
    if axis is None:
        return (1,) * len(shape)
    axes = {a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)}
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def _count(shape: tuple[int, ...], axis: Axes) -> int:
    """How many elements go into one result of a reduction over ``axis``."""
    kept = _kept_shape(shape, axis)
    return math.prod([n for n, k in zip(shape, kept, strict=True) if k == 1]) if shape else 1


def _keep(g: Any, shape: tuple[int, ...], axis: Axes) -> Any:
    """Put the axes back that a reduction removed, with length 1."""
    if g.ndim in (0, len(shape)):  # a single number broadcasts as it is
        return g
    return reshape(g, _kept_shape(shape, axis))


def _spread(g: Any, shape: tuple[int, ...], axis: Axes) -> Any:
    """Repeat the gradient of a reduction over all the elements that went into it."""
    return broadcast_to(_keep(g, shape, axis), shape)


def _mean(x: Any, *, axis: Axes, keepdims: Any) -> Any:
    count = _count(x.shape, axis)
    if not count:
        message = f"mean over axis {axis} of shape {x.shape}: there is nothing to average"
        raise ValueError(message)
    dtype = None if x.dtype.kind == "f" else float
    return np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=dtype) / count


_sum = Primitive(
    "sum",
    lambda x, *, axis, keepdims: np.add.reduce(x, axis, keepdims=keepdims),
    lambda g, _y, _x, *, axis, keepdims: _spread(g, _x.shape, axis),
)
_mean_of = Primitive(
    "mean",
    _mean,
    lambda g, _y, _x, *, axis, keepdims: _spread(g / _count(_x.shape, axis), _x.shape, axis),
)


def _extreme_rule(g: Any, y: Any, x: Any, *, axis: Axes, keepdims: bool) -> Any:
    """Share g evenly among the elements that tie."""
    winners = equal(x, _keep(y, x.shape, axis))
    shares = _sum(astype(winners, dtype=g.dtype), axis=axis, keepdims=True)
    return where(winners, broadcast_to(_keep(g, x.shape, axis) / shares, x.shape), 0)


_max = Primitive("max", lambda x, *, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims), _extreme_rule)
_min = Primitive("min", lambda x, *, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims), _extreme_rule)


def sum(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Σ x along the axes (all by default)."""
    return _sum(x, axis=axis, keepdims=keepdims)


def mean(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Σ x / n along the axes (all by default)."""
    return _mean_of(x, axis=axis, keepdims=keepdims)


def max(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Return the largest element; elements that tie share the gradient evenly."""
    return _max(x, axis=axis, keepdims=keepdims)


def min(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Return the smallest element; elements that tie share the gradient evenly."""
    return _min(x, axis=axis, keepdims=keepdims)


def _centred(x: Any, *, axis: Axes) -> Any:
    """Subtract the mean; measured from the first element, so that equal elements give exact zeros."""
    kept = _kept_shape(x.shape, axis)
    from_first = x - x[tuple([slice(0, n) for n in kept])]
    return from_first - _mean(from_first, axis=axis, keepdims=True)


_centre: Primitive = Primitive("centre", _centred, lambda g, _y, _x, *, axis: _centre(g, axis=axis))


def _over(a: Any, b: Any) -> Any:
    """a / b, and 0 with all its derivatives where b is 0."""
    zero = equal(b, 0)
    return where(zero, 0, a / where(zero, 1, b))


def var(x: Any, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """Σ (x − mean)² / (n − ddof)."""
    centred = _centre(x, axis=axis)
    return sum(centred * centred, axis, keepdims=keepdims) / (_count(x.shape, axis) - ddof)


def _std_rule(g: Any, y: Any, x: Any, *, axis: Axes, ddof: int, keepdims: bool) -> Any:
    n = _count(x.shape, axis) - ddof
    return _over(_keep(g, x.shape, axis) * _centre(x, axis=axis), n * _keep(y, x.shape, axis))


_std = Primitive("std", lambda x, **meta: np.sqrt(var(x, **meta)), _std_rule)


def std(x: Any, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """√var; its derivative is 0 where all elements are equal."""
    return _std(x, axis=axis, ddof=ddof, keepdims=keepdims)


def _prod_rule(g: Any, _y: Any, x: Any, *, axis: Axes, keepdims: bool) -> Any:
    """∂/∂xᵢ is the product of the others, multiplied out and not divided, so that zeros are exact."""
    axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    rest = tuple([a for a in range(x.ndim) if a not in axes])
    order, count = rest + axes, _count(x.shape, axis)
    rows = reshape(transpose(x, order), (*[x.shape[a] for a in rest], 1, count))
    others = prod(where(fixed(np.eye(count, dtype=bool)), 1, rows), axis=-1)
    others = reshape(others, [x.shape[a] for a in order])
    return _keep(g, x.shape, axis) * transpose(others, sorted(range(x.ndim), key=order.__getitem__))


_prod = Primitive("prod", lambda x, *, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims), _prod_rule)


def prod(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Π x along the axes; the backward pass takes n² products, so that zeros are exact."""
    return _prod(x, axis=axis, keepdims=keepdims)


def _finite_max(x: Any, axis: Axes) -> Any:
    """Return the maximum along axis, kept, and 0 where it is infinite, so that x − max is never inf − inf."""
    top = np.max(x, axis=axis, keepdims=True)
    return np.where(np.isfinite(top), top, 0.0)


def _logsumexp_forward(x: Any, *, axis: Axes, keepdims: bool) -> Any:
    top = _finite_max(x, axis)
    with np.errstate(divide="ignore"):  # log 0 = −inf is the value of a row that is all −inf
        y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else np.squeeze(y, axis)


_logsumexp = Primitive(
    "logsumexp",
    _logsumexp_forward,
    lambda g, _y, x, *, axis, keepdims: _keep(g, x.shape, axis) * _softmax(x, axis=axis),
)


def logsumexp(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """ln Σ eˣ without overflow; −inf for a row that is all −inf (its gradient is 0)."""
    return _logsumexp(x, axis=axis, keepdims=keepdims)


def _softmax_forward(x: Any, *, axis: Axes) -> Any:
    y = np.exp(x - _finite_max(x, axis))
    total = np.add.reduce(y, axis=axis, keepdims=True)
    y /= np.where(total == 0, 1.0, total)
    return y


_softmax: Primitive = Primitive(
    "softmax",
    _softmax_forward,
    lambda g, y, _x, *, axis: y * (g - _sum(g * y, axis=axis, keepdims=True)),
)


def softmax(x: Any, axis: Axes = -1) -> Any:
    """eˣ / Σ eˣ along the axis; 0 for a row that is all −inf."""
    return _softmax(x, axis=axis)


def _log_softmax_forward(x: Any, *, axis: Axes) -> Any:
    shifted = x - _finite_max(x, axis)
    total = np.add.reduce(np.exp(shifted), axis=axis, keepdims=True)
    shifted -= np.log(np.where(total == 0, 1.0, total))
    return shifted


_log_softmax = Primitive(
    "log_softmax",
    _log_softmax_forward,
    lambda g, y, _x, *, axis: g - exp(y) * _sum(g, axis=axis, keepdims=True),
)


def log_softmax(x: Any, axis: Axes = -1) -> Any:
    """x − ln Σ eˣ along the axis; −inf for a row that is all −inf."""
    return _log_softmax(x, axis=axis)


def _norm_rule(g: Any, y: Any, x: Any, *, axis: Axes, keepdims: bool) -> Any:
    return _over(_keep(g, x.shape, axis) * x, _keep(y, x.shape, axis))


_norm = Primitive(
    "norm",
    lambda x, *, axis, keepdims: np.sqrt(np.add.reduce(x * x, axis=axis, keepdims=keepdims)),
    _norm_rule,
)


def norm(x: Any, ord: float | None = None, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """Vector norm along the axes (all by default): 2 (√Σx², derivative 0 at the origin), 1, or inf."""
    if ord is None or ord == 2:
        return _norm(x, axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum(absolute(x), axis, keepdims=keepdims)
    if ord == math.inf:
        return max(absolute(x), axis, keepdims=keepdims)
    message = (
        f"norm: ord must be None, 1, 2 or inf, not {ord!r}; write (abs(x)**p).sum()**(1/p) for another p"
    )
    raise ValueError(message)


_cumsum: Primitive = Primitive(
    "cumsum",
    lambda x, *, axis: np.cumsum(x, axis=axis),
    lambda g, _y, _x, *, axis: flip(_cumsum(flip(g, axis), axis=axis), axis),
)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sum along an axis (of the flattened array by default)."""
    return _cumsum(reshape(x, -1), axis=0) if axis is None else _cumsum(x, axis=axis)


def sum_to(g: Any, shape: Sequence[int]) -> Any:
    """Sum g back to the shape that was broadcast to its own: the transpose of broadcasting."""
    lead = g.ndim - len(shape)
    if lead:
        g = _sum(g, axis=tuple(range(lead)), keepdims=False)
    ones = tuple([i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1])
    return _sum(g, axis=ones, keepdims=True) if ones else g


def take_rows(x: Any, columns: Any) -> Any:
    """x[i, columns[i]] for every row i of a matrix."""
    return index(x, (_positions(x.shape[0]), columns))


@lru_cache(maxsize=64)
def _positions(count: int) -> Array:
    return fixed(np.arange(count))
