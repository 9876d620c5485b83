"""The training step in PyTorch, not compiled: a Sequential, a loss, ``optim.SGD``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


def _quadratic_loss(a: Any, y: Any) -> Any:
    return (a - y).square().sum() * (0.5 / len(a))


class Trainer:
    """The network as a module."""

    def __init__(self, workload: Workload) -> None:
        layers: list[Any] = []
        for n, m in zip(workload.sizes, workload.sizes[1:], strict=False):
            layers += [nn.Linear(n, m), nn.Sigmoid() if workload.activation == "sigmoid" else nn.ReLU()]
        if workload.activation == "relu":
            layers.pop()  # the outputs are logits
        self._model = nn.Sequential(*layers)
        with torch.no_grad():
            for parameter, array in zip(self._model.parameters(), workload.weights(), strict=True):
                parameter.copy_(torch.from_numpy(array))
        self._loss_fn = _quadratic_loss if workload.loss == "quadratic" else nn.CrossEntropyLoss()
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=workload.rate)
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in workload.batches()]

    def step(self, x: Any, y: Any) -> Any:
        """Train on one batch and return the loss."""
        loss = self._loss_fn(self._model(x), y)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss

    def weights(self) -> list[Array]:
        """Return the parameters' arrays."""
        return [parameter.detach().numpy() for parameter in self._model.parameters()]
