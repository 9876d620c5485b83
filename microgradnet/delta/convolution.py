"""The layers of images that δ passes through: Conv2d, MaxPool2d, AvgPool2d, one kernel position at a time.

A window meets the image at kernel position (k, m) in one pixel; for all windows together these pixels are a
strided slice of the padded image. Each formula is a sum over these slices, forwards and backwards. The tags
(L18), (L19), … are the equations of docs/delta.md, where each is derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from microgradnet.delta.layers import Gradients, Layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microgradnet.delta.functions import Array

Pair: TypeAlias = "tuple[int, int]"
Sides: TypeAlias = "tuple[Pair, Pair]"
"""Pixels added (above, below) and (left, right)."""
NO_SIDES: Sides = ((0, 0), (0, 0))
Slices: TypeAlias = "tuple[slice, slice, slice, slice]"


class _Windows(Layer):
    """What the three share: where the windows of a padded image are."""

    stride: Pair
    padding: Sides
    dilation: Pair

    def _padded(self, x: Array, value: float = 0.0) -> Array:
        """Return the images (N, C, H, W) with a border."""
        return np.pad(x, ((0, 0), (0, 0), *self.padding), constant_values=value)

    def _cropped(self, x: Array) -> Array:
        """Return padded images without their border."""
        (top, bottom), (left, right) = self.padding
        return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]

    def _size(self, x: Array, kernel: tuple[int, ...]) -> Pair:
        """Return how many windows fit below and beside each other."""
        if x.ndim != 4:
            raise ValueError(f"{type(self).__name__}: the input has shape {x.shape}, expected (N, C, H, W)")
        counts = []
        for i in (0, 1):
            whole, span = x.shape[2 + i] + sum(self.padding[i]), self.dilation[i] * (kernel[i] - 1) + 1
            if span > whole:
                raise ValueError(
                    f"{type(self).__name__}: a window spans {span} pixels, "
                    f"the padded image has {whole} (axis {2 + i} of {x.shape})"
                )
            counts.append((whole - span) // self.stride[i] + 1)
        return counts[0], counts[1]

    def _pixels(self, kernel: tuple[int, ...], size: Pair) -> Iterator[tuple[int, int, Slices]]:
        """Yield each kernel position (k, m) and the slice of the padded images where the windows have it."""
        for k, m in np.ndindex(kernel[0], kernel[1]):
            rows, columns = (
                slice(at * d, at * d + s * (n - 1) + 1, s)
                for at, d, s, n in zip((k, m), self.dilation, self.stride, size, strict=True)
            )
            yield k, m, (slice(None), slice(None), rows, columns)


@dataclass(frozen=True, eq=False, repr=False)
class Conv2d(_Windows):
    """y[n, o, i, j] = b[o] + Σ W[o, c, k, m]·x̄[n, c, i·s + k·d, j·s + m·d], x̄ being x with a border of zeros.

    x (N, C, H, W), W (O, C/groups, KH, KW), b (O,) → y (N, O, OH, OW). Stride and dilation are pairs, and
    padding is ((above, below), (left, right)). With groups, the o-th part of the outputs sees the o-th part
    of the channels. Raises ValueError where W, b or x do not fit.

    >>> layer = Conv2d(np.array([[[[1.0, 10.0]]]]), np.array([0.5]))
    >>> x = np.array([[[[1.0, 2.0, 3.0]]]])
    >>> layer.forward(x).tolist()
    [[[[21.5, 32.5]]]]
    >>> back, gradients = layer.backward(np.array([[[[1.0, 2.0]]]]), x, np.zeros((1, 1, 1, 2)))
    >>> back.tolist(), gradients["weight"].tolist(), gradients["bias"].tolist()
    ([[[[1.0, 12.0, 20.0]]]], [[[[5.0, 8.0]]]], [3.0])
    """

    weight: Array
    bias: Array | None = None
    stride: Pair = (1, 1)
    padding: Sides = NO_SIDES
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        self._hold(weight=self.weight)
        if self.weight.ndim != 4 or self.weight.shape[0] % self.groups:
            raise ValueError(
                f"Conv2d: the weight has shape {self.weight.shape}, expected (O, C, KH, KW) "
                f"with O a multiple of the {self.groups} groups"
            )
        if self.bias is not None:
            self._hold(bias=self.bias)
            if self.bias.shape != self.weight.shape[:1]:
                raise ValueError(
                    f"Conv2d: the bias has shape {self.bias.shape}, the weight {self.weight.shape}; "
                    f"expected one bias per output channel, {self.weight.shape[:1]}"
                )

    def _grouped(self, x: Array) -> Array:
        """(N, channels, …) → (N, groups, channels of each, …)."""
        return x.reshape(len(x), self.groups, x.shape[1] // self.groups, *x.shape[2:])

    def _kernels(self) -> Array:
        """Return W as (groups, outputs of each, inputs of each, KH, KW)."""
        return self.weight.reshape(self.groups, -1, *self.weight.shape[1:])

    def forward(self, x: Array) -> Array:
        """Return the sum over the kernel positions."""
        size = self._size(x, self.weight.shape[2:])
        if x.shape[1] != self.weight.shape[1] * self.groups:
            raise ValueError(
                f"Conv2d: the input has shape {x.shape}, the weight {self.weight.shape} with "
                f"{self.groups} groups expects {self.weight.shape[1] * self.groups} channels"
            )
        padded, weight = self._padded(x), self._kernels()
        y: Array = np.zeros((len(x), self.weight.shape[0], *size), np.result_type(x, weight))
        for k, m, pixels in self._pixels(self.weight.shape[2:], size):
            part = np.einsum("ngcij,goc->ngoij", self._grouped(padded[pixels]), weight[..., k, m])
            y += part.reshape(y.shape)  # (L18)
        return y if self.bias is None else y + self.bias[:, None, None]

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ spread by W, and Σ δ·x̄ and Σ δ as the gradients of W and b."""
        padded, weight, rows = self._padded(x), self._kernels(), self._grouped(delta)
        back, by_weight = np.zeros_like(padded), np.zeros_like(weight)
        for k, m, pixels in self._pixels(self.weight.shape[2:], (delta.shape[2], delta.shape[3])):
            seen = self._grouped(padded[pixels])
            by_weight[..., k, m] = np.einsum("ngoij,ngcij->goc", rows, seen)  # (L19)
            part = np.einsum("ngoij,goc->ngcij", rows, weight[..., k, m])
            back[pixels] += part.reshape(back[pixels].shape)  # (L21)
        gradients = {"weight": by_weight.reshape(self.weight.shape)}
        if self.bias is not None:
            gradients["bias"] = delta.sum((0, 2, 3))  # (L20)
        return self._cropped(back), gradients


@dataclass(frozen=True, eq=False, repr=False)
class MaxPool2d(_Windows):
    """y = the largest pixel of each window; of those that tie, the first in reading order has δ.

    A border, at most half a window wide, is never the largest.

    >>> layer, x = MaxPool2d((1, 2), (1, 2)), np.array([[[[1.0, 2.0, 5.0, 5.0]]]])
    >>> layer.forward(x).tolist()
    [[[[2.0, 5.0]]]]
    >>> layer.backward(np.array([[[[1.0, 3.0]]]]), x, layer.forward(x))[0].tolist()
    [[[[0.0, 1.0, 3.0, 0.0]]]]
    """

    kernel: Pair
    stride: Pair
    padding: Sides = NO_SIDES
    dilation: Pair = (1, 1)

    def forward(self, x: Array) -> Array:
        """Return the largest pixel of each window."""
        size = self._size(x, self.kernel)
        padded = self._padded(x, -np.inf)
        y: Array = np.full((*x.shape[:2], *size), -np.inf, x.dtype)
        for _, _, pixels in self._pixels(self.kernel, size):
            y = np.where(padded[pixels].real > y.real, padded[pixels], y)  # (L22)
        return y

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ of each window at the pixel that it was taken from."""
        padded = self._padded(x, np.nan)  # which equals nothing
        back, open_windows = np.zeros(padded.shape, delta.dtype), np.ones(y.shape, bool)
        for _, _, pixels in self._pixels(self.kernel, (y.shape[2], y.shape[3])):
            taken = open_windows & (padded[pixels] == y)
            back[pixels] += np.where(taken, delta, 0)  # (L23)
            open_windows &= ~taken
        return self._cropped(back), {}


@dataclass(frozen=True, eq=False, repr=False)
class AvgPool2d(_Windows):
    """y = the average of each window; a border counts as zeros, or not at all without ``counts_padding``.

    >>> layer, x = AvgPool2d((1, 2), (1, 2)), np.array([[[[1.0, 2.0, 5.0, 5.0]]]])
    >>> layer.forward(x).tolist()
    [[[[1.5, 5.0]]]]
    >>> layer.backward(np.array([[[[1.0, 3.0]]]]), x, layer.forward(x))[0].tolist()
    [[[[0.5, 0.5, 1.5, 1.5]]]]
    """

    kernel: Pair
    stride: Pair
    padding: Sides = NO_SIDES
    counts_padding: bool = True
    dilation = (1, 1)

    def _pixels_counted(self, x: Array, size: Pair) -> Array:
        """Return by how many pixels each window (OH, OW) is divided."""
        ones = np.ones((1, 1, *x.shape[2:]))
        padded = np.ones_like(self._padded(ones)) if self.counts_padding else self._padded(ones)
        counts: Array = np.zeros(size, x.real.dtype)
        for _, _, pixels in self._pixels(self.kernel, size):
            counts += padded[pixels][0, 0]
        return counts

    def forward(self, x: Array) -> Array:
        """Return the average of each window."""
        size = self._size(x, self.kernel)
        padded, y = self._padded(x), np.zeros((*x.shape[:2], *size), x.dtype)
        for _, _, pixels in self._pixels(self.kernel, size):
            y += padded[pixels]
        average: Array = y / self._pixels_counted(x, size)  # (L24)
        return average

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return an equal share of δ at each pixel of the window."""
        size = y.shape[2], y.shape[3]
        share = delta / self._pixels_counted(x, size)
        back = np.zeros_like(self._padded(x))
        for _, _, pixels in self._pixels(self.kernel, size):
            back[pixels] += share  # (L25)
        return self._cropped(back), {}
