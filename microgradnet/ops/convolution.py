"""Convolution: the operation and its two gradients, three primitives that are each other's gradient rules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.ops.reduce import sum as total
from microgradnet.ops.shape import expand_dims, reshape, squeeze, valued
from microgradnet.ops.windows import (
    Pair,
    Sides,
    batch_first,
    batch_last,
    check_fit,
    count,
    padded,
    pair,
    reach,
    unpadded,
    windows,
)
from microgradnet.primitive import Primitive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from microgradnet.graph import Array

# With columns (C·KH·KW, OH·OW·N), one per window, a convolution is a matrix product:
#   y = w·columns(x),   ∂L/∂w = g·columns(x)ᵀ,   ∂L/∂x = the windows of wᵀ·g, added up where they overlap.
# Each is linear in either argument, so that the rules of each are the other two. Groups stack the products.

STRIP = 1 << 19
"""Bytes of columns that are made at a time: they stay in the processor's cache until they are multiplied."""


def _strips(
    x: Array, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair, out: Pair
) -> Iterator[tuple[slice, Array]]:
    """Yield the columns of some rows of windows at a time, in one buffer, and which columns they are."""
    images = padded(batch_last(x), padding)
    view = windows(images, kernel, stride, dilation, out)
    height, row = x.shape[1] * kernel[0] * kernel[1], out[1] * x.shape[0]
    rows = min(max(STRIP // max(height * row * x.itemsize, 1), 1), max(out[0], 1))
    buffer = np.empty(height * rows * row, x.dtype)
    for first in range(0, out[0], rows):
        strip = view[:, :, :, first : first + rows]
        columns = buffer[: strip.size].reshape(strip.shape)
        columns[...] = strip
        yield slice(first * row, first * row + strip.size // height), columns.reshape(height, -1)


def _conv2d_forward(
    x: Any, w: Any, *b: Any, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    channels, kernel = w.shape[0], w.shape[2:]
    out = count(x.shape[2:], kernel, stride, padding, dilation)
    y = np.empty((channels, *out, x.shape[0]), x.dtype)
    rows = y.reshape(groups, channels // groups, -1)
    weight = w.reshape(groups, channels // groups, -1)
    bias = b[0].reshape(groups, channels // groups, 1) if b else None
    for part, columns in _strips(x, kernel, stride, padding, dilation, out):
        strip = rows[:, :, part]
        np.matmul(weight, columns.reshape(groups, weight.shape[2], -1), out=strip)
        if bias is not None:
            strip += bias
    return batch_first(y)


def _conv2d_weight_forward(
    g: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    shape = (g.shape[1], x.shape[1] // groups, *kernel)
    rows = batch_last(g).reshape(groups, shape[0] // groups, -1).swapaxes(1, 2)
    w = np.zeros((groups, math.prod(shape[1:]), shape[0] // groups), g.dtype)
    for part, columns in _strips(x, kernel, stride, padding, dilation, g.shape[2:]):
        w += columns.reshape(groups, w.shape[1], -1) @ rows[:, part]  # in this order BLAS is faster
    return np.ascontiguousarray(w.swapaxes(1, 2)).reshape(shape)


def _conv2d_input_forward(
    g: Any, w: Any, *, size: Pair, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    channels, kernel = groups * w.shape[1], w.shape[2:]
    (top, bottom), (left, right) = padding
    x = np.zeros((channels, size[0] + top + bottom, size[1] + left + right, g.shape[0]), g.dtype)
    few = w.shape[0] // groups <= 2 * w.shape[1] * kernel[1]
    add = _add_rows if stride[0] == 1 and few else _add_windows
    add(x, batch_last(g), w, stride, dilation, groups)
    return batch_first(unpadded(x, padding))


def _add_windows(x: Array, g: Array, w: Array, stride: Pair, dilation: Pair, groups: int) -> None:
    """Add wᵀ·g to x, each kernel position where its windows have it."""
    kernel, out = w.shape[2:], g.shape[1:3]
    weight = w.reshape(groups, w.shape[0] // groups, -1).swapaxes(1, 2)
    columns = weight @ g.reshape(groups, w.shape[0] // groups, -1)
    columns = columns.reshape(x.shape[0], *kernel, *g.shape[1:])
    view = windows(x, kernel, stride, dilation, out)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            view[:, i, j] += columns[:, i, j]


def _add_rows(x: Array, g: Array, w: Array, stride: Pair, dilation: Pair, groups: int) -> None:
    """Do the same, summing over the kernel's rows in the product: faster where few channels come in.

    For that g is repeated, once per row of the kernel, moved down by as many rows of the image.
    """
    (kernel, wide), (out, *row) = w.shape[2:], g.shape[1:]
    per = w.shape[0] // groups
    moved = np.empty((groups, kernel, per, x.shape[1], *row), g.dtype)
    for i in range(kernel):
        first, last = i * dilation[0], i * dilation[0] + out
        moved[:, i, :, :first] = moved[:, i, :, last:] = 0
        moved[:, i, :, first:last] = g.reshape(groups, per, out, *row)
    weight = w.reshape(groups, per, w.shape[1], kernel, wide).transpose(0, 2, 4, 3, 1)
    columns = weight.reshape(groups, w.shape[1] * wide, -1) @ moved.reshape(groups, kernel * per, -1)
    columns = columns.reshape(x.shape[0], wide, x.shape[1], *row)
    view = windows(x, (1, wide), (1, stride[1]), dilation, (x.shape[1], row[0]))
    for j in range(wide):
        view[:, 0, j] += columns[:, j]


def _conv2d_rule(i: int) -> Any:
    return (
        lambda g, _y, _x, w, *_b, **meta: _conv2d_input(g, w, size=_x.shape[2:], **meta),
        lambda g, _y, x, _w, *_b, **meta: _conv2d_weight(g, x, kernel=_w.shape[2:], **meta),
        lambda g, _y, _x, _w, _b, **_: total(g, axis=(0, 2, 3)),
    )[i]


_conv2d = Primitive("conv2d", _conv2d_forward, rule_for=_conv2d_rule)
_conv2d_input: Primitive = Primitive(
    "conv2d_input",
    _conv2d_input_forward,
    lambda h, _x, _g, w, *, size, **meta: _conv2d(h, w, **meta),
    lambda h, _x, g, _w, *, size, **meta: _conv2d_weight(g, h, kernel=_w.shape[2:], **meta),
)
_conv2d_weight: Primitive = Primitive(
    "conv2d_weight",
    _conv2d_weight_forward,
    lambda h, _w, _g, x, *, kernel, **meta: _conv2d(x, h, **meta),
    lambda h, _w, g, _x, *, kernel, **meta: _conv2d_input(g, h, size=_x.shape[2:], **meta),
)


def _convolve(
    caller: str, x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """Check everything and convolve."""
    kernel = _checked_kernel(x, w, caller)
    steps, spread = pair(stride, caller, "stride", 1), pair(dilation, caller, "dilation", 1)
    if groups >= 1 and w.shape[1] * groups != x.shape[1]:
        message = (
            f"{caller}: the input {x.shape} has {x.shape[1]} channels, the weight {w.shape} expects "
            + (f"{groups} groups of {w.shape[1]}" if groups > 1 else f"{w.shape[1]}")
        )
        raise ValueError(message)
    _check_outputs(caller, w.shape[0], b, groups)
    sides = _sides(caller, padding, kernel, steps, spread)
    check_fit(x.shape[2:], kernel, sides, spread, caller)
    arguments = (x, w) if b is None else (x, w, b)
    return _conv2d(*arguments, stride=steps, padding=sides, dilation=spread, groups=groups)


def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Any:
    """Slide kernels over images: y[n, o, i, j] = b[o] + Σ w[o, c, k, l]·x[n, c, i·s + k·d, j·s + l·d].

    x (N, C, H, W) is padded with zeros; w (O, C/groups, KH, KW), b (O,) → (N, O, OH, OW). ``padding`` may be
    "valid" (none) or "same" (OH = H, for stride 1).
    """
    return _convolve("conv2d", valued(x), valued(w), b, stride, padding, dilation, groups)


def conv1d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Any:
    """Slide kernels w (O, C/groups, K) over signals x (N, C, L): ``conv2d`` of images of height 1."""
    x, w = valued(x), valued(w)
    if x.ndim != 3 or w.ndim != 3:
        message = f"conv1d: an input (N, C, L) and a weight (O, C, K) expected, got {x.shape} and {w.shape}"
        raise ValueError(message)
    steps, spread = (1, _single(stride)), (1, _single(dilation))
    sides = padding if isinstance(padding, str) else (0, _single(padding))
    x, w = expand_dims(x, 2), expand_dims(w, 2)
    return squeeze(_convolve("conv1d", x, w, b, steps, sides, spread, groups), 2)


def conv_transpose2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Any:
    """Spread each pixel by kernels: y[n, o, i·s + k·d − p, j·s + l·d − p] += w[c, o, k, l]·x[n, c, i, j].

    x (N, C, H, W), w (C, O/groups, KH, KW), b (O,) → (N, O, OH, OW) with OH = (H − 1)·s − 2p + d·(KH − 1) +
    output_padding + 1: the gradient of ``conv2d`` with respect to its input.
    """
    caller, x, w = "conv_transpose2d", valued(x), valued(w)
    kernel = _checked_kernel(x, w, caller)
    steps, spread = pair(stride, caller, "stride", 1), pair(dilation, caller, "dilation", 1)
    edge, more = pair(padding, caller, "padding", 0), pair(output_padding, caller, "output_padding", 0)
    if any(m >= max(s, d) for m, s, d in zip(more, steps, spread, strict=True)):
        message = f"{caller}: output_padding {more} must be smaller than stride {steps} or dilation {spread}"
        raise ValueError(message)
    if w.shape[0] != x.shape[1]:
        message = (
            f"{caller}: the input {x.shape} has {x.shape[1]} channels, the weight {w.shape} "
            f"expects {w.shape[0]}"
        )
        raise ValueError(message)
    _check_outputs(caller, x.shape[1], None, groups)
    _check_outputs(caller, w.shape[1] * groups, b, groups)
    sides = (edge[0], edge[0] - more[0]), (edge[1], edge[1] - more[1])  # more at the end is less cut off
    spans = reach(kernel, spread)
    height, width = ((x.shape[2 + i] - 1) * steps[i] - sum(sides[i]) + spans[i] for i in (0, 1))
    if min(height, width) < 1:
        message = f"{caller}: padding {edge} leaves an image of {height}×{width}; give less padding"
        raise ValueError(message)
    meta = {"stride": steps, "padding": sides, "dilation": spread, "groups": groups}
    y = _conv2d_input(x, w, size=(height, width), **meta)
    return y if b is None else y + reshape(valued(b), (-1, 1, 1))


def _single(value: int | Sequence[int]) -> int:
    """Return the one number, of the one axis."""
    (number,) = (value,) if isinstance(value, int) else value
    return number


def _checked_kernel(x: Any, w: Any, caller: str) -> Pair:
    """Return (KH, KW) of images (N, C, H, W) and a weight with four axes."""
    if x.ndim != 4 or w.ndim != 4:
        advice = "; write x[None] for one image" if x.ndim == 3 else ""
        message = (
            f"{caller}: an input (N, C, H, W) and a weight with four axes expected, "
            f"got {x.shape} and {w.shape}{advice}"
        )
        raise ValueError(message)
    height, width = w.shape[2:]
    return height, width


def _check_outputs(caller: str, channels: int, b: Any, groups: int) -> None:
    """Refuse groups that do not divide the channels, and a bias that is not one number per channel."""
    if groups < 1 or channels % groups:
        message = f"{caller}: {groups} groups do not divide {channels} channels"
        raise ValueError(message)
    if b is not None and valued(b).shape != (channels,):
        message = f"{caller}: the bias has shape {valued(b).shape}, expected ({channels},): one per channel"
        raise ValueError(message)


def _sides(caller: str, padding: Any, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """Return what is added on each side; "same" adds an odd pixel at the end."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            message = f"{caller}: padding 'same' needs stride 1, not {stride}"
            raise ValueError(message)
        high, wide = reach(kernel, dilation)
        return ((high - 1) // 2, high // 2), ((wide - 1) // 2, wide // 2)
    if isinstance(padding, str):
        message = f"{caller}: padding must be a number, a pair, 'same' or 'valid', not {padding!r}"
        raise ValueError(message)  # noqa: TRY004 - the type is right, the word is not
    high, wide = pair(padding, caller, "padding", 0)
    return (high, high), (wide, wide)
