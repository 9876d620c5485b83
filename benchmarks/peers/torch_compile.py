"""The training step in PyTorch, its forward pass, loss and backward compiled by ``torch.compile``."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from benchmarks.peers import pytorch_eager

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


class _Compiled(pytorch_eager.Trainer):
    """The eager trainer, whose loss is compiled; the optimizer is not: that would gain nothing here."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        torch.compiler.reset()  # PyTorch keeps only some versions of one function, then it runs eagerly
        self._loss = torch.compile(super()._loss, dynamic=False)  # type: ignore[method-assign]

    def restart(self, workload: Workload) -> None:
        """Take the initial weights again, and forget the velocities."""
        with torch.no_grad():
            for parameter, array in zip(self._model.parameters(), workload.weights(), strict=True):
                parameter.copy_(torch.from_numpy(array))
        self._optimizer.state.clear()


@lru_cache(maxsize=1)
def _compiled(workload: Workload) -> _Compiled:
    """Compile once for all blocks: it takes seconds."""
    return _Compiled(workload)


class Trainer:
    """The workload's compiled trainer, at its start."""

    def __init__(self, workload: Workload) -> None:
        self._trainer = _compiled(workload)
        self._trainer.restart(workload)
        self.batches = self._trainer.batches
        self.step = self._trainer.step

    def weights(self) -> list[Array]:
        """Return the parameters' arrays."""
        return self._trainer.weights()
