"""Layers that shrink images: MaxPool2d, AvgPool2d, AdaptiveAvgPool2d."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.nn import functional as F
from microgradnet.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Sequence


class MaxPool2d(Module):
    """The largest pixel of each window of x (N, C, H, W) → (N, C, OH, OW), windows as ``Conv2d`` has them.

    The stride is the kernel's size if not told. The gradient goes to the largest pixel, of those that tie to
    the first in reading order, as in PyTorch. Padding, of at most half the kernel, is never the largest.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> x = np.array([[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 0.0, 5.0]])
    >>> nn.MaxPool2d(2)(x.reshape(1, 1, 2, 4)).tolist()
    [[[[4.0, 5.0]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        self.kernel_size = _plain(kernel_size)
        self.stride = self.kernel_size if stride is None else _plain(stride)
        self.padding = _plain(padding)
        self.dilation = _plain(dilation)

    def forward(self, x: Any) -> Any:
        """Pool."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}"
        )


class AvgPool2d(Module):
    """The average of each window of x (N, C, H, W) → (N, C, OH, OW), windows as ``Conv2d`` has them.

    The stride is the kernel's size if not told. Padding, of at most half the kernel, counts as zeros; with
    ``count_include_pad=False`` it does not count.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.AvgPool2d(2)(np.arange(8.0).reshape(1, 1, 2, 4)).tolist()
    [[[[2.5, 4.5]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        *,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = _plain(kernel_size)
        self.stride = self.kernel_size if stride is None else _plain(stride)
        self.padding = _plain(padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        """Pool."""
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, count_include_pad=self.count_include_pad
        )

    def extra_repr(self) -> str:
        """Return the sizes."""
        counts = "" if self.count_include_pad else ", count_include_pad=False"
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}{counts}"


class AdaptiveAvgPool2d(Module):
    """Averages over OH × OW windows that together cover x (N, C, H, W) → (N, C, OH, OW), whatever its size.

    The i-th has the rows from ⌊i·H/OH⌋ up to but not including ⌈(i + 1)·H/OH⌉, and columns likewise.
    ``output_size`` is (OH, OW) or one number for both; ``None`` keeps a size.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.AdaptiveAvgPool2d(1)(np.arange(6.0).reshape(1, 1, 2, 3)).tolist()
    [[[[2.5]]]]
    """

    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        self.output_size = output_size if isinstance(output_size, int) else tuple(output_size)

    def forward(self, x: Any) -> Any:
        """Pool."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """Return the size."""
        return f"output_size={self.output_size}"


def _plain(value: int | Sequence[int]) -> int | tuple[int, ...]:
    """Return a number as it is, several as a tuple."""
    return value if isinstance(value, int) else tuple(value)
