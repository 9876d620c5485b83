"""The training step on images in PyTorch, not compiled."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.image_workloads import CLASSES, KERNEL, POOL

if TYPE_CHECKING:
    from benchmarks.image_workloads import ImageWorkload
    from benchmarks.workloads import Array


class Trainer:
    """The network as a module."""

    def __init__(self, workload: ImageWorkload) -> None:
        layers: list[Any] = []
        for n, m in zip((1, *workload.maps), workload.maps, strict=False):
            layers += [nn.Conv2d(n, m, KERNEL), nn.MaxPool2d(POOL), nn.ReLU()]
        layers.append(nn.Flatten())
        sizes = (workload.flat, *workload.hidden, CLASSES)
        for n, m in pairwise(sizes):
            layers += [nn.Linear(n, m), nn.ReLU()]
        self._model = nn.Sequential(*layers[:-1])  # the outputs are logits
        with torch.no_grad():
            for parameter, array in zip(self._model.parameters(), workload.weights(), strict=True):
                parameter.copy_(torch.from_numpy(array))
        self._loss_fn = nn.CrossEntropyLoss()
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
