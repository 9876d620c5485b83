"""The training step on images in microgradnet, compiled: the eager one, recorded once and replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.image_peers import microgradnet_eager
from microgradnet.compiler import compile

if TYPE_CHECKING:
    from benchmarks.image_workloads import ImageWorkload


class Trainer(microgradnet_eager.Trainer):
    """The eager trainer, whose step is compiled."""

    def __init__(self, workload: ImageWorkload) -> None:
        super().__init__(workload)
        self.step = compile(super().step)  # type: ignore[method-assign]
