"""Layers that centre and scale: BatchNorm1d and BatchNorm2d over the batch, LayerNorm over the features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import assign
from microgradnet.nn import functional as F
from microgradnet.nn.module import Module, layer_name
from microgradnet.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class _BatchNorm(Module):
    """What the two share: parameters, running statistics and the computation."""

    _shapes: tuple[str, ...]
    """The shapes of inputs that are accepted."""
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, dtype: DTypeLike = np.float32
    ) -> None:
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter(np.ones(num_features), dtype=dtype)
        self.bias = Parameter(np.zeros(num_features), dtype=dtype)
        self.register_buffer("running_mean", np.zeros(num_features, dtype))
        self.register_buffer("running_var", np.ones(num_features, dtype))
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def forward(self, x: Any) -> Any:
        """Normalise."""
        if x.ndim not in [shape.count(",") + 1 for shape in self._shapes] or x.shape[1] != self.num_features:
            expected = " or ".join([shape.replace("C", str(self.num_features)) for shape in self._shapes])
            raise ValueError(f"{layer_name(self)}: the input has shape {x.shape}, expected {expected}")
        y = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )
        if self.training:
            assign(self.num_batches_tracked, self.num_batches_tracked + 1)
        return y

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """(x − μ) / √(σ² + eps) · weight + bias per feature, for x (N, C) or (N, C, L) and C = num_features.

    In training μ and σ² are the batch's, and the buffers ``running_mean`` and ``running_var`` follow them by
    ``momentum``; in ``eval()`` the buffers are used. A batch of one is a ValueError in training.

    Source: Ioffe and Szegedy, *Batch Normalization*, 2015, algorithms 1 and 2.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.BatchNorm1d(2)(np.array([[0.0, 1.0], [2.0, 5.0]])).data.round(3).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    _shapes = ("(N, C)", "(N, C, L)")


class BatchNorm2d(_BatchNorm):
    """``BatchNorm1d`` for images x (N, C, H, W): μ and σ² of each channel, over the batch and all its pixels.

    Source: Ioffe and Szegedy, *Batch Normalization*, 2015, section 3.2.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.BatchNorm2d(1)(np.array([[[[0.0, 2.0]]]])).data.round(3).tolist()
    [[[[-1.0, 1.0]]]]
    """

    _shapes = ("(N, C, H, W)",)


class LayerNorm(Module):
    """(x − μ) / √(σ² + eps) · weight + bias over the last axes, of lengths ``normalized_shape``.

    Source: Ba, Kiros and Hinton, *Layer Normalization*, 2016, eq. 3 and 4.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.LayerNorm(2)(np.array([[0.0, 2.0]])).data.round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, *, dtype: DTypeLike = np.float32
    ) -> None:
        wanted = normalized_shape
        self.normalized_shape = (wanted,) if isinstance(wanted, int) else tuple(wanted)
        self.eps = eps
        self.weight = Parameter(np.ones(self.normalized_shape), dtype=dtype)
        self.bias = Parameter(np.zeros(self.normalized_shape), dtype=dtype)

    def forward(self, x: Any) -> Any:
        """Normalise."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.normalized_shape}, eps={self.eps}"
