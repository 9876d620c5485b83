"""The training step with MyGrad, as it is when imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mygrad as mg
from mygrad.nnet.activations import relu, sigmoid
from mygrad.nnet.losses import softmax_crossentropy

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


class Trainer:
    """The network as a list of tensors."""

    def __init__(self, workload: Workload) -> None:
        self._weights: list[Any] = [mg.tensor(array) for array in workload.weights()]
        self._rate = workload.rate
        self._activate = sigmoid if workload.activation == "sigmoid" else relu
        self._quadratic = workload.loss == "quadratic"
        self.batches = workload.batches()

    def step(self, x: Any, y: Any) -> Any:
        """Train on one batch and return the loss."""
        *hidden, w, b = self._weights
        a = x
        for v, c in zip(hidden[::2], hidden[1::2], strict=True):
            a = self._activate(mg.matmul(a, v.T) + c)
        z = mg.matmul(a, w.T) + b
        if self._quadratic:
            loss = mg.sum((sigmoid(z) - y) ** 2) * (0.5 / len(x))
        else:
            loss = softmax_crossentropy(z, y)
        loss.backward()
        for parameter in self._weights:
            parameter.data -= self._rate * parameter.grad
        return loss

    def weights(self) -> list[Array]:
        """Return the tensors' arrays."""
        return [tensor.data for tensor in self._weights]
