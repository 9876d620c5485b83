"""The training step with HIPS autograd: the gradient of a function of the weights, an update in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import autograd.numpy as np
from autograd import value_and_grad

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


class Trainer:
    """The network as a list of arrays."""

    def __init__(self, workload: Workload) -> None:
        self._weights = workload.weights()
        self._velocities = [np.zeros_like(w) for w in self._weights]
        self._rng = np.random.default_rng(0)
        self._workload = workload
        self._layers = workload.layers()
        self._gradient = value_and_grad(self._loss)
        self.batches = workload.batches()

    def _loss(self, weights: Any, x: Any, y: Any) -> Any:
        given = iter(weights)
        for kind, *sizes in self._layers:
            if kind == "linear":
                x = x @ next(given).T + next(given)
            elif kind == "dropout":
                x = x * self._mask(x.shape, sizes[0])
            else:
                x = _sigmoid(x) if kind == "sigmoid" else np.maximum(x, 0)
        if self._workload.loss == "quadratic":
            return np.sum((x - y) ** 2) * (0.5 / len(x))
        z = x - np.max(x, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - z[np.arange(len(x)), y])

    def _mask(self, shape: Any, p: float) -> Array:
        return (self._rng.random(shape, np.float32) >= p) * np.float32(1 / (1 - p))

    def step(self, x: Array, y: Array) -> Any:
        """Train on one batch and return the loss."""
        loss, gradients = self._gradient(self._weights, x, y)
        rate, momentum = self._workload.rate, self._workload.momentum
        for w, v, g in zip(self._weights, self._velocities, gradients, strict=True):
            if momentum:
                v *= momentum  # noqa: PLW2901 - in place
                v += g  # noqa: PLW2901 - in place
            w -= rate * (v if momentum else g)  # noqa: PLW2901 - in place
        return loss

    def weights(self) -> list[Array]:
        """Return them."""
        return self._weights
