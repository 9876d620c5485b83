"""Layers that slide kernels over images and signals: Conv2d, Conv1d, ConvTranspose2d."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.nn import functional as F
from microgradnet.nn import init
from microgradnet.nn.module import Module
from microgradnet.tensor import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike


class _Convolution(Module):
    """What the layers share: the sizes, the parameters and how they begin."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        groups: int,
        bias: bool,
        dtype: DTypeLike,
        rng: np.random.Generator | None,
    ) -> None:
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups}
        for name, size in (*sizes.items(), *[("kernel_size", n) for n in kernel_size]):
            if size < 1:
                raise ValueError(f"{type(self).__name__}: {name} must be at least 1, not {size}")
        for name in ("in_channels", "out_channels"):
            if sizes[name] % groups:
                raise ValueError(
                    f"{type(self).__name__}: groups={groups} does not divide {name}={sizes[name]}"
                )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.groups = groups
        self.weight = Parameter(np.zeros(self._weight_shape()), dtype=dtype)
        self.bias = Parameter(np.zeros(out_channels), dtype=dtype) if bias else None
        init.kaiming_uniform_(self.weight, math.sqrt(5), rng=rng)
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound, rng=rng)

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def extra_repr(self) -> str:
        """Return the sizes, and what differs from the defaults."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        shown = {"stride": (1,), "padding": (0,), "output_padding": (0,), "dilation": (1,)}
        for name, default in shown.items():
            value = getattr(self, name, default)
            if name == "stride" or isinstance(value, str) or {*value} != {*default}:
                parts.append(f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class Conv2d(_Convolution):
    """y[n, o, i, j] = bias[o] + Σ weight[o, c, k, l]·x[n, c, i·s + k·d, j·s + l·d], over c, k and l.

    x (N, in_channels, H, W) is padded with zeros; weight (out_channels, in_channels/groups, KH, KW), bias
    (out_channels,) → y (N, out_channels, OH, OW) with OH = ⌊(H + 2·padding − d·(KH − 1) − 1) / s⌋ + 1, stride
    s and dilation d. Every size is one integer or (height, width); ``padding`` may be "valid" (none) or
    "same" (OH = H, for stride 1). With ``groups`` the channels are split, and each part has kernels of its
    own.

    The kernel is not rotated: like everybody's convolution layers this is a cross-correlation. Weights and
    biases start uniform in ±1/√n for the n inputs of an output, as PyTorch's.

    A kernel larger than the padded image and a wrong number of channels are ValueErrors that name the layer
    and both numbers.

    Source: LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998, section II.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.Conv2d(1, 20, 5)(np.zeros((10, 1, 28, 28))).shape
    (10, 20, 24, 24)
    >>> nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3)
    Conv2d(3, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=3)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.stride = _sizes(stride, 2)
        self.padding = padding if isinstance(padding, str) else _sizes(padding, 2)
        self.dilation = _sizes(dilation, 2)
        super().__init__(in_channels, out_channels, _sizes(kernel_size, 2), groups, bias, dtype, rng)

    def forward(self, x: Any) -> Any:
        """Convolve."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv1d(_Convolution):
    """y[n, o, i] = bias[o] + Σ weight[o, c, k]·x[n, c, i·s + k·d]: ``Conv2d`` along one axis.

    x (N, in_channels, L), weight (out_channels, in_channels/groups, K), bias (out_channels,) → y (N,
    out_channels, OL).

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.Conv1d(2, 4, 3, padding="same")(np.zeros((10, 2, 50))).shape
    (10, 4, 50)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.stride = _sizes(stride, 1)
        self.padding = padding if isinstance(padding, str) else _sizes(padding, 1)
        self.dilation = _sizes(dilation, 1)
        super().__init__(in_channels, out_channels, _sizes(kernel_size, 1), groups, bias, dtype, rng)

    def forward(self, x: Any) -> Any:
        """Convolve."""
        return F.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """y[n, o, i·s + k·d − p, j·s + l·d − p] += weight[c, o, k, l]·x[n, c, i, j], plus bias[o].

    Each pixel of x (N, in_channels, H, W) is spread by a kernel of weight (in_channels, out_channels/groups,
    KH, KW): y (N, out_channels, OH, OW) with OH = (H − 1)·s − 2·padding + d·(KH − 1) + output_padding + 1.
    It is the gradient of a ``Conv2d`` with the same settings with respect to its input, and undoes its
    change of size; ``output_padding`` chooses among the sizes that a strided convolution makes alike.

    Source: Zeiler et al., *Deconvolutional Networks*, 2010.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1)(np.zeros((10, 8, 14, 14))).shape
    (10, 1, 28, 28)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.stride = _sizes(stride, 2)
        self.padding = _sizes(padding, 2)
        self.output_padding = _sizes(output_padding, 2)
        self.dilation = _sizes(dilation, 2)
        super().__init__(in_channels, out_channels, _sizes(kernel_size, 2), groups, bias, dtype, rng)

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def forward(self, x: Any) -> Any:
        """Spread every pixel."""
        return F.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


def _sizes(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """Return one number per axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)
