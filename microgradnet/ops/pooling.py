"""Pooling: the largest or the average pixel of each window, and where the gradient goes."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import fixed
from microgradnet.ops.shape import valued
from microgradnet.ops.windows import (
    Pair,
    Sides,
    batch_first,
    batch_last,
    check_fit,
    count,
    padded,
    pair,
    unpadded,
    windows,
)
from microgradnet.primitive import Primitive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from microgradnet.graph import Array


def _pixels(x: Array, kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> Iterator[Array]:
    """Yield, for each kernel position in reading order, its pixel of every window: views (C, OH, OW, N)."""
    view = windows(x, kernel, stride, dilation, out)
    for i, j in product(range(kernel[0]), range(kernel[1])):
        yield view[:, i, j]


def _images(g: Array, size: Pair, padding: Sides) -> Array:
    """Return zeros for the padded images of the gradient."""
    (top, bottom), (left, right) = padding
    return np.zeros((g.shape[1], size[0] + top + bottom, size[1] + left + right, g.shape[0]), g.dtype)


# ---------------------------------------------------------------------- max


def _max_forward(x: Any, *, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair) -> Any:
    out = count(x.shape[2:], kernel, stride, padding, dilation)
    pixels = _pixels(padded(batch_last(x), padding, -math.inf), kernel, stride, dilation, out)
    y = next(pixels).copy()
    for pixel in pixels:
        np.maximum(y, pixel, out=y)
    return batch_first(y)


def _winners(
    y: Array, x: Array, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Iterator[Array]:
    """Yield, for each kernel position in reading order, which windows (C, OH, OW, N) have their winner there.

    The first of the largest wins. Where none was found before the last position, it is there.
    """
    x = padded(batch_last(x), padding, math.nan)  # nothing equals NaN: padding never wins
    searching = np.ones(y.shape, bool)
    *pixels, _ = _pixels(x, kernel, stride, dilation, (y.shape[1], y.shape[2]))
    for pixel in pixels:
        won = pixel == y
        won &= searching
        searching ^= won
        yield won
    yield searching


def _route_forward(
    g: Any, y: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Any:
    """Add the gradient of each window to its winner."""
    disjoint = dilation == (1, 1) and kernel[0] <= stride[0] and kernel[1] <= stride[1]
    images = _images(g, x.shape[2:], padding)
    g, y = batch_last(g), batch_last(y)
    pixels = _pixels(images, kernel, stride, dilation, (y.shape[1], y.shape[2]))
    for pixel, won in zip(pixels, _winners(y, x, kernel, stride, padding, dilation), strict=True):
        if disjoint:
            np.multiply(g, won, out=pixel)
        else:
            np.add(pixel, g * won, out=pixel)
    return batch_first(unpadded(images, padding))


def _pick_forward(
    h: Any, y: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Any:
    """Take from h what stands where the winners of x are."""
    y = batch_last(y)
    picked = np.zeros(y.shape, h.dtype)
    pixels = _pixels(padded(batch_last(h), padding), kernel, stride, dilation, (y.shape[1], y.shape[2]))
    for pixel, won in zip(pixels, _winners(y, x, kernel, stride, padding, dilation), strict=True):
        picked += pixel * won
    return batch_first(picked)


# Which pixel wins is piecewise constant: only g and h have a gradient.
_route: Primitive = Primitive(
    "route", _route_forward, lambda h, _r, _g, y, x, **meta: _pick(h, y, x, **meta), None, None
)
_pick: Primitive = Primitive(
    "pick", _pick_forward, lambda g, _p, _h, y, x, **meta: _route(g, y, x, **meta), None, None
)
_max_pool2d = Primitive(
    "max_pool2d",
    _max_forward,
    lambda g, y, x, **meta: _route(g, y, x, **meta),  # noqa: PLW0108 - the names say what is read
)


def max_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> Any:
    """Take the largest pixel of each window of x (N, C, H, W); of those that tie, the first has the gradient.

    The stride is the kernel's size if not told. Padding is never the largest, and at most half the kernel.
    """
    caller = "max_pool2d"
    spread = pair(dilation, caller, "dilation", 1)
    x, kernel, steps, sides = _checked(caller, x, kernel_size, stride, padding, spread)
    return _max_pool2d(x, kernel=kernel, stride=steps, padding=sides, dilation=spread)


# ---------------------------------------------------------------------- average


def _shares(size: Pair, kernel: Pair, stride: Pair, padding: Sides, counts_padding: bool, dtype: Any) -> Any:
    """Return what a pixel counts in the average of a window: a number, or (OH, OW, 1) where edges differ."""
    if counts_padding or padding == ((0, 0), (0, 0)):
        return 1 / (kernel[0] * kernel[1])
    out = count(size, kernel, stride, padding, (1, 1))
    ones = padded(np.ones((1, *size, 1), dtype), padding)
    pixels = np.stack(list(_pixels(ones, kernel, stride, (1, 1), out)))
    return 1 / pixels.sum(axis=0)[0]


def _average_forward(x: Any, *, kernel: Pair, stride: Pair, padding: Sides, counts_padding: bool) -> Any:
    out = count(x.shape[2:], kernel, stride, padding, (1, 1))
    pixels = _pixels(padded(batch_last(x), padding), kernel, stride, (1, 1), out)
    y = next(pixels).copy()
    for pixel in pixels:
        y += pixel
    y *= _shares(x.shape[2:], kernel, stride, padding, counts_padding, x.dtype)
    return batch_first(y)


def _spread_forward(
    g: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Sides, counts_padding: bool
) -> Any:
    x = _images(g, size, padding)
    g = batch_last(g) * _shares(size, kernel, stride, padding, counts_padding, g.dtype)
    for pixel in _pixels(x, kernel, stride, (1, 1), (g.shape[1], g.shape[2])):
        np.add(pixel, g, out=pixel)
    return batch_first(unpadded(x, padding))


_avg_pool2d: Primitive = Primitive(
    "avg_pool2d", _average_forward, lambda g, _y, _x, **meta: _spread(g, size=_x.shape[2:], **meta)
)
_spread: Primitive = Primitive(
    "spread", _spread_forward, lambda h, _x, _g, *, size, **meta: _avg_pool2d(h, **meta)
)


def avg_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    count_include_pad: bool = True,
) -> Any:
    """Average each window of x (N, C, H, W); padding counts, as zeros, with ``count_include_pad``.

    The stride is the kernel's size if not told. Padding is at most half the kernel.
    """
    x, kernel, steps, sides = _checked("avg_pool2d", x, kernel_size, stride, padding, (1, 1))
    return _avg_pool2d(x, kernel=kernel, stride=steps, padding=sides, counts_padding=bool(count_include_pad))


def adaptive_avg_pool2d(x: Any, output_size: int | Sequence[int | None]) -> Any:
    """Average x (N, C, H, W) over OH × OW windows: the i-th has the rows from ⌊i·H/OH⌋ to ⌈(i + 1)·H/OH⌉ − 1.

    ``None`` keeps a size.
    """
    caller, x = "adaptive_avg_pool2d", valued(x)
    _check_images(caller, x)
    sizes = (output_size,) * 2 if isinstance(output_size, int) else output_size
    kept = [n if size is None else size for n, size in zip(x.shape[2:], sizes, strict=True)]
    out = pair(kept, caller, "output_size", 1)
    (height, width), (rows, columns) = x.shape[2:], out
    if height % rows == 0 and width % columns == 0:  # all windows alike
        return avg_pool2d(x, (height // rows, width // columns))
    return _averages(height, rows, x.dtype) @ x @ _averages(width, columns, x.dtype).T


def _averages(length: int, parts: int, dtype: Any) -> Array:
    """Return the matrix (parts, length) whose product with a column averages its parts."""
    i, positions = np.arange(parts)[:, None], np.arange(length)
    inside = (positions >= i * length // parts) & (positions < -(-(i + 1) * length // parts))
    return fixed((inside / inside.sum(axis=1, keepdims=True)).astype(dtype))


# ---------------------------------------------------------------------- what they share


def _check_images(caller: str, x: Any) -> None:
    if x.ndim != 4:
        advice = "; write x[None] for one image" if x.ndim == 3 else ""
        message = f"{caller}: an input (N, C, H, W) expected, got {x.shape}{advice}"
        raise ValueError(message)
    if x.dtype.kind != "f":
        message = f"{caller}: the input holds {x.dtype}; write x.astype('float32')"
        raise TypeError(message)


def _checked(
    caller: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Pair
) -> tuple[Any, Pair, Pair, Sides]:
    """Return the images, the kernel, the stride and the padding, all as they should be."""
    x = valued(x)
    _check_images(caller, x)
    kernel = pair(kernel_size, caller, "kernel_size", 1)
    steps = kernel if stride is None else pair(stride, caller, "stride", 1)
    high, wide = pair(padding, caller, "padding", 0)
    if 2 * high > kernel[0] or 2 * wide > kernel[1]:
        message = f"{caller}: padding {high, wide} must be at most half the kernel {kernel}"
        raise ValueError(message)
    sides = (high, high), (wide, wide)
    check_fit(x.shape[2:], kernel, sides, dilation, caller)
    return x, kernel, steps, sides
