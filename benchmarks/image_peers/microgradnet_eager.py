"""The training step on images in microgradnet as its README writes it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.image_workloads import CLASSES, KERNEL, POOL
from microgradnet import nn, optim

if TYPE_CHECKING:
    from benchmarks.image_workloads import ImageWorkload
    from benchmarks.workloads import Array


class Trainer:
    """The network as a module."""

    def __init__(self, workload: ImageWorkload) -> None:
        layers: list[nn.Module] = []
        for n, m in zip((1, *workload.maps), workload.maps, strict=False):
            layers += [nn.Conv2d(n, m, KERNEL), nn.MaxPool2d(POOL), nn.ReLU()]
        layers.append(nn.Flatten())
        sizes = (workload.flat, *workload.hidden, CLASSES)
        for n, m in pairwise(sizes):
            layers += [nn.Linear(n, m), nn.ReLU()]
        self._model = nn.Sequential(*layers[:-1])  # the outputs are logits
        for parameter, array in zip(self._model.parameters(), workload.weights(), strict=True):
            parameter.data = array
        self._loss_fn = nn.CrossEntropyLoss()
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
