"""The training step with MyGrad, as it is when imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu, sigmoid
from mygrad.nnet.losses import softmax_crossentropy

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


class Trainer:
    """The network as a list of tensors."""

    def __init__(self, workload: Workload) -> None:
        self._weights: list[Any] = [mg.tensor(array) for array in workload.weights()]
        self._velocities = [np.zeros_like(w.data) for w in self._weights]
        self._rng = np.random.default_rng(0)
        self._workload = workload
        self._layers = workload.layers()
        self.batches = workload.batches()

    def _output(self, x: Any) -> Any:
        given = iter(self._weights)
        for kind, *sizes in self._layers:
            if kind == "linear":
                x = mg.matmul(x, next(given).T) + next(given)
            elif kind == "dropout":
                x = x * self._mask(x.shape, sizes[0])
            else:
                x = sigmoid(x) if kind == "sigmoid" else relu(x)
        return x

    def _mask(self, shape: Any, p: float) -> Array:
        return (self._rng.random(shape, np.float32) >= p) * np.float32(1 / (1 - p))

    def step(self, x: Any, y: Any) -> Any:
        """Train on one batch and return the loss."""
        z = self._output(x)
        if self._workload.loss == "quadratic":
            loss = mg.sum((z - y) ** 2) * (0.5 / len(x))
        else:
            loss = softmax_crossentropy(z, y)
        loss.backward()
        rate, momentum = self._workload.rate, self._workload.momentum
        for w, v in zip(self._weights, self._velocities, strict=True):
            if momentum:
                v *= momentum  # noqa: PLW2901 - in place
                v += w.grad  # noqa: PLW2901 - in place
            w.data -= rate * (v if momentum else w.grad)
        return loss

    def weights(self) -> list[Array]:
        """Return the tensors' arrays."""
        return [tensor.data for tensor in self._weights]
