"""The training step in microgradnet as the README writes it: a Sequential, a loss, ``optim.SGD``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.workloads import KERNEL, POOL
from microgradnet import nn, optim

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Array, Workload

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "linear": nn.Linear,
    "conv": lambda n, m: nn.Conv2d(n, m, KERNEL),
    "pool": lambda: nn.MaxPool2d(POOL),
    "flatten": nn.Flatten,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "dropout": nn.Dropout,
}


class Trainer:
    """The network as a module."""

    def __init__(self, workload: Workload) -> None:
        self._model = nn.Sequential(*[LAYERS[kind](*given) for kind, *given in workload.layers()])
        for parameter, array in zip(self._model.parameters(), workload.weights(), strict=True):
            parameter.data = array
        self._loss_fn = nn.QuadraticLoss() if workload.loss == "quadratic" else nn.CrossEntropyLoss()
        self._optimizer = optim.SGD(self._model.parameters(), lr=workload.rate, momentum=workload.momentum)
        self.batches = workload.batches()

    def step(self, x: Array, y: Array) -> Any:
        """Train on one batch and return the loss."""
        loss = self._loss_fn(self._model(x), y)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss

    def weights(self) -> list[Array]:
        """Return the parameters' arrays."""
        return [parameter.data for parameter in self._model.parameters()]
