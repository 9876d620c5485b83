"""Where training takes its examples from: a data set, or a pair of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

Data: TypeAlias = Any
"""A Dataset (what has ``len`` and ``batches(batch_size, shuffle=…, rng=…)``), or a pair of arrays (x, y)."""


def source(data: Data, what: str) -> Data:
    """Return what gives batches: the data itself, or a pair of arrays in its place."""
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = Pair(*map(plain, data))
    if not hasattr(data, "batches"):
        advice = "; write .train" if hasattr(data, "train") else ""
        kind = type(data).__name__
        raise TypeError(f"{what}: a Dataset or a pair of arrays (x, y) is needed, not {kind}{advice}")
    if not len(data):
        raise ValueError(f"{what} has no examples")
    return data


class Pair:
    """Inputs and targets of any dtype and shape, as something that gives batches."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = np.asarray(x), np.asarray(y)
        if not self.x.ndim or self.y.shape[:1] != self.x.shape[:1]:
            raise ValueError(
                f"x and y must have one entry per example, but have shapes {self.x.shape} and {self.y.shape}"
            )

    def __len__(self) -> int:
        return len(self.x)

    def batches(
        self, batch_size: int, *, shuffle: bool = False, rng: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """Yield every example once, in order or in an order drawn from ``rng``."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        order = rng.permutation(len(self)) if shuffle else np.arange(len(self))
        parts = (order[start : start + batch_size] for start in range(0, len(self), batch_size))
        return ((self.x[part], self.y[part]) for part in parts)


def plain(value: Any) -> Any:
    """Return the array of a tensor, and anything else as it is."""
    return value.data if isinstance(value, Tensor) else value
