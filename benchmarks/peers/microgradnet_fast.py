"""The training step in microgradnet, compiled, its elementwise parts by Numba into machine code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers import microgradnet_eager
from microgradnet.compiler import compile

if TYPE_CHECKING:
    from benchmarks.workloads import Workload


class Trainer(microgradnet_eager.Trainer):
    """The eager trainer, whose step is compiled."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.step = compile(super().step, backend="numba")  # type: ignore[method-assign]
