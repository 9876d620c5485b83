"""The training step in microgradnet as the README writes it: a Sequential, a loss, ``optim.SGD``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet import nn, optim

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


class Trainer:
    """The network as a module."""

    def __init__(self, workload: Workload) -> None:
        layers: list[nn.Module] = []
        for n, m in zip(workload.sizes, workload.sizes[1:], strict=False):
            layers += [nn.Linear(n, m), nn.Sigmoid() if workload.activation == "sigmoid" else nn.ReLU()]
        if workload.activation == "relu":
            layers.pop()  # the outputs are logits
        self._model = nn.Sequential(*layers)
        for parameter, array in zip(self._model.parameters(), workload.weights(), strict=True):
            parameter.data = array
        self._loss_fn = nn.QuadraticLoss() if workload.loss == "quadratic" else nn.CrossEntropyLoss()
        self._optimizer = optim.SGD(self._model.parameters(), lr=workload.rate)
        self.batches = workload.batches()

    def step(self, x: Array, y: Array) -> Any:
        """Train on one batch and return the loss."""
        loss = self._loss_fn(self._model(x), y)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss

    def weights(self) -> list[Array]:
        """Return the parameters' arrays."""
        return [parameter.data for parameter in self._model.parameters()]
