"""Windows that slide over images, and the memory order with the batch last, in which they are long runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from microgradnet.graph import Array

Pair: TypeAlias = "tuple[int, int]"
Sides: TypeAlias = "tuple[Pair, Pair]"
"""What is added before and after, along the height and along the width; a negative number cuts off."""


def pair(value: int | Sequence[int], caller: str, name: str, least: int) -> Pair:
    """Return one number for both axes as a pair, and refuse what is below the least."""
    numbers: tuple[Any, ...] = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(numbers) != 2 or not all(isinstance(n, (int, np.integer)) and n >= least for n in numbers):
        message = f"{caller}: {name} must be an integer of at least {least}, or two of them, not {value!r}"
        raise ValueError(message)
    return int(numbers[0]), int(numbers[1])


def reach(kernel: Pair, dilation: Pair) -> Pair:
    """Return how many pixels a window spans: dilation·(kernel − 1) + 1."""
    return dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1


def count(size: Sequence[int], kernel: Pair, stride: Pair, padding: Sides, dilation: Pair) -> Pair:
    """Return how many windows there are: ⌊(size + padding − dilation·(kernel − 1) − 1) / stride⌋ + 1."""
    (top, bottom), (left, right) = padding
    high, wide = reach(kernel, dilation)
    return (
        (size[0] + top + bottom - high) // stride[0] + 1,
        (size[1] + left + right - wide) // stride[1] + 1,
    )


def check_fit(size: Sequence[int], kernel: Pair, padding: Sides, dilation: Pair, caller: str) -> None:
    """Refuse a window that is larger than the padded image."""
    (top, bottom), (left, right) = padding
    high, wide = reach(kernel, dilation)
    height, width = size[0] + top + bottom, size[1] + left + right
    if high > height or wide > width:
        spans = f" with dilation {dilation} spans {high}×{wide}" if dilation != (1, 1) else ""
        message = (
            f"{caller}: the kernel {kernel[0]}×{kernel[1]}{spans}, the padded image is {height}×{width}; "
            "give larger images, more padding or a smaller kernel"
        )
        raise ValueError(message)


def batch_last(x: Array) -> Array:
    """(N, C, H, W) → (C, H, W, N) in C order; free where the operation before left it so.

    Neighbouring windows of all examples are then one run of memory: they are copied and added at full speed,
    and one matrix product serves the whole batch.
    """
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def batch_first(x: Array) -> Array:
    """(C, H, W, N) → (N, C, H, W), a view."""
    return x.transpose(3, 0, 1, 2)


def padded(x: Array, padding: Sides, value: float = 0.0) -> Array:
    """Surround the images of (C, H, W, N) with a value, or cut their edges off."""
    if padding == ((0, 0), (0, 0)):
        return x
    (top, bottom), (left, right) = padding
    x = x[
        :,
        max(-top, 0) : x.shape[1] - max(-bottom, 0),
        max(-left, 0) : x.shape[2] - max(-right, 0),
    ]
    top, bottom, left, right = (max(n, 0) for n in (top, bottom, left, right))
    channels, height, width, batch = x.shape
    y = np.full((channels, height + top + bottom, width + left + right, batch), value, x.dtype)
    y[:, top : top + height, left : left + width] = x
    return y


def unpadded(x: Array, padding: Sides) -> Array:
    """Undo ``padded``: the transpose of padding with zeros, which is cutting, and the other way round."""
    (top, bottom), (left, right) = padding
    return padded(x, ((-top, -bottom), (-left, -right)))


def windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> Array:
    """View (C, H, W, N), in C order, as (C, KH, KW, OH, OW, N): each window's pixels."""
    channel, row, column, example = x.strides
    strides: tuple[Any, ...] = (
        channel,
        *(row * dilation[0], column * dilation[1]),
        *(row * stride[0], column * stride[1]),
        example,
    )
    return np.ndarray((x.shape[0], *kernel, *out, x.shape[3]), x.dtype, x, 0, strides)
