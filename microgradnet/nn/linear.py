"""Layers that multiply by a weight: Linear and Embedding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.nn import functional as F
from microgradnet.nn import init
from microgradnet.nn.module import Module
from microgradnet.tensor import Parameter

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def _check_sizes(layer: Module, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{type(layer).__name__}: {name} must be at least 1, not {size}")


class Linear(Module):
    """y = x·wᵀ + b for x (…, in_features), weight (out_features, in_features), bias (out_features,).

    Weights and biases start uniform in ±1/√in_features, as PyTorch's; ``nn.init`` has others. A wrong number
    of features is a ValueError that names the layer and both shapes.

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
        _check_sizes(self, in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(np.zeros((out_features, in_features)), dtype=dtype)
        self.bias = Parameter(np.zeros(out_features), dtype=dtype) if bias else None
        init.kaiming_uniform_(self.weight, math.sqrt(5), rng=rng)
        if self.bias is not None:
            bound = 1 / math.sqrt(in_features)
            init.uniform_(self.bias, -bound, bound, rng=rng)

    def _dtype(self) -> np.dtype[Any]:
        return self.weight._array.dtype

    def forward(self, x: Any) -> Any:
        """Return x·wᵀ + b."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Embedding(Module):
    """Rows of a table: integer indices (…,) → (…, embedding_dim); the table starts as N(0, 1).

    The gradients of a row that is chosen repeatedly add up. An index out of range is an IndexError.

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
        _check_sizes(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.weight = Parameter(np.zeros((num_embeddings, embedding_dim)), dtype=dtype)
        init.normal_(self.weight, rng=rng)

    def forward(self, indices: Any) -> Any:
        """Return the rows."""
        return F.embedding(indices, self.weight)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"
