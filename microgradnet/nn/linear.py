"""Layers that multiply by a weight: Linear and Embedding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.nn import functional as F
from microgradnet.nn import init
from microgradnet.nn.module import Module, layer_name
from microgradnet.tensor import Parameter

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from microgradnet.tensor import Operand


class Linear(Module):
    """y = x·wᵀ + b for x (…, in_features), weight (out_features, in_features), bias (out_features,).

    Weights and biases start uniform in ±1/√in_features, as PyTorch's; ``nn.init`` has others.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.Linear(3, 2)(np.zeros((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if value < 1:
                message = f"Linear: {name} must be at least 1, not {value}"
                raise ValueError(message)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = init.kaiming_uniform_(
            Parameter(np.zeros((out_features, in_features)), dtype=dtype), math.sqrt(5), rng=rng
        )
        bound = 1 / math.sqrt(in_features)
        self.bias = (
            init.uniform_(Parameter(np.zeros(out_features), dtype=dtype), -bound, bound, rng=rng) if bias else None
        )

    def forward(self, x: Operand) -> Any:
        """Return x·wᵀ + b."""
        shape = np.shape(x) if isinstance(x, (list, tuple)) else x.shape  # type: ignore[union-attr]  # arrays and tensors
        if not shape or shape[-1] != self.in_features:
            message = (
                f"{layer_name(self)}: the input has shape {tuple(shape)}, expected (…, {self.in_features}): "
                f"{self.in_features} features on the last axis"
            )
            if math.prod(shape[1:]) == self.in_features:
                message += "; put nn.Flatten() before it"
            raise ValueError(message)
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """Rows of a table: integer indices (…,) → (…, embedding_dim); the table starts as N(0, 1).

    >>> from microgradnet import nn
    >>> nn.Embedding(10, 4)([[1, 2], [3, 3]]).shape
    (2, 2, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.weight = init.normal_(Parameter(np.zeros((num_embeddings, embedding_dim)), dtype=dtype), rng=rng)

    def forward(self, indices: Operand) -> Any:
        """Return the rows."""
        return F.embedding(indices, self.weight)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"
