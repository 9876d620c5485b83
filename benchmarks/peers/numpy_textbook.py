"""The training step in NumPy as the equations are written, without care for memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Array, Workload


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


class Trainer:
    """The network as a list of arrays."""

    def __init__(self, workload: Workload) -> None:
        self._weights = workload.weights()
        self._rate = workload.rate
        self.batches = workload.batches()
        self.step: Callable[[Array, Array], Any] = (
            self._quadratic if workload.loss == "quadratic" else self._cross_entropy
        )

    def weights(self) -> list[Array]:
        """Return them."""
        return self._weights

    def _quadratic(self, x: Array, y: Array) -> Any:
        """Two sigmoid layers and ½‖a − y‖²."""
        w1, b1, w2, b2 = self._weights
        a1 = _sigmoid(x @ w1.T + b1)
        a2 = _sigmoid(a1 @ w2.T + b2)
        loss = np.sum((a2 - y) ** 2) / (2 * len(x))
        delta2 = (a2 - y) / len(x) * a2 * (1 - a2)
        delta1 = delta2 @ w2 * a1 * (1 - a1)
        self._update(w2, b2, delta2, a1)
        self._update(w1, b1, delta1, x)
        return loss

    def _cross_entropy(self, x: Array, y: Array) -> Any:
        """Two ReLU layers, a linear one and −ln softmax(z)."""
        w1, b1, w2, b2, w3, b3 = self._weights
        a1 = np.maximum(x @ w1.T + b1, 0)
        a2 = np.maximum(a1 @ w2.T + b2, 0)
        z = a2 @ w3.T + b3
        e = np.exp(z - np.max(z, axis=1, keepdims=True))
        p = e / np.sum(e, axis=1, keepdims=True)
        loss = -np.mean(np.log(p[np.arange(len(x)), y]))
        delta3 = (p - np.eye(len(b3), dtype=p.dtype)[y]) / len(x)
        delta2 = delta3 @ w3 * (a2 > 0)
        delta1 = delta2 @ w2 * (a1 > 0)
        self._update(w3, b3, delta3, a2)
        self._update(w2, b2, delta2, a1)
        self._update(w1, b1, delta1, x)
        return loss

    def _update(self, w: Array, b: Array, delta: Array, a: Array) -> None:
        w -= self._rate * (delta.T @ a)
        b -= self._rate * np.sum(delta, axis=0)
