"""The training step in PyTorch, not compiled: a Sequential, a loss, ``optim.SGD``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.workloads import KERNEL, POOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Array, Workload

LAYERS: dict[str, Callable[..., Any]] = {
    "linear": nn.Linear,
    "conv": lambda n, m: nn.Conv2d(n, m, KERNEL),
    "pool": lambda: nn.MaxPool2d(POOL),
    "flatten": nn.Flatten,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "dropout": nn.Dropout,
}


def _quadratic_loss(a: Any, y: Any) -> Any:
    return (a - y).square().sum() * (0.5 / len(a))


class Trainer:
    """The network as a module."""

    def __init__(self, workload: Workload) -> None:
        self._model = nn.Sequential(*[LAYERS[kind](*given) for kind, *given in workload.layers()])
        with torch.no_grad():
            for parameter, array in zip(self._model.parameters(), workload.weights(), strict=True):
                parameter.copy_(torch.from_numpy(array))
        self._loss_fn = _quadratic_loss if workload.loss == "quadratic" else nn.CrossEntropyLoss()
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=workload.rate, momentum=workload.momentum
        )
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in workload.batches()]

    def step(self, x: Any, y: Any) -> Any:
        """Train on one batch and return the loss."""
        loss = self._loss(x, y)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss

    def _loss(self, x: Any, y: Any) -> Any:
        return self._loss_fn(self._model(x), y)

    def weights(self) -> list[Array]:
        """Return the parameters' arrays."""
        return [parameter.detach().numpy() for parameter in self._model.parameters()]
