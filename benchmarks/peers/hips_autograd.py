"""The training step with HIPS autograd: the gradient of a function of the weights, an update in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import autograd.numpy as np
from autograd import value_and_grad

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


def _quadratic_loss(weights: Any, x: Any, y: Any) -> Any:
    w1, b1, w2, b2 = weights
    a = _sigmoid(_sigmoid(x @ w1.T + b1) @ w2.T + b2)
    return np.sum((a - y) ** 2) * (0.5 / len(x))


def _cross_entropy(weights: Any, x: Any, y: Any) -> Any:
    w1, b1, w2, b2, w3, b3 = weights
    a1 = np.maximum(x @ w1.T + b1, 0)
    a2 = np.maximum(a1 @ w2.T + b2, 0)
    z = a2 @ w3.T + b3
    z = z - np.max(z, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - z[np.arange(len(x)), y])


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


class Trainer:
    """The network as a list of arrays."""

    def __init__(self, workload: Workload) -> None:
        self._weights = workload.weights()
        self._rate = workload.rate
        self._gradient = value_and_grad(_quadratic_loss if workload.loss == "quadratic" else _cross_entropy)
        self.batches = workload.batches()

    def step(self, x: Array, y: Array) -> Any:
        """Train on one batch and return the loss."""
        loss, gradients = self._gradient(self._weights, x, y)
        for w, g in zip(self._weights, gradients, strict=True):
            w -= self._rate * g  # noqa: PLW2901 - in place
        return loss

    def weights(self) -> list[Array]:
        """Return them."""
        return self._weights
