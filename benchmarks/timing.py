"""How times are taken: blocks of steps, one implementation after another, round after round."""

from __future__ import annotations

import gc
from itertools import cycle, islice
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.implementations import Trainer
    from benchmarks.workloads import Workload

Times: TypeAlias = "dict[str, list[float]]"
"""Per implementation the seconds a step took, by round."""


def rounds(makers: Mapping[str, Callable[[Workload], Trainer]], workload: Workload, count: int) -> Times:
    """Time a block of every implementation in turn, ``count`` times: what drifts hits all of them alike.

    Every other round runs in the opposite order, so that none always follows the same neighbour.
    """
    times: Times = {name: [] for name in makers}
    for i in range(count):
        for name in list(makers)[:: -1 if i % 2 else 1]:
            times[name].append(block(makers[name](workload), workload.steps))
    return times


def block(trainer: Trainer, steps: int) -> float:
    """Return the seconds that a step takes on average; a quarter as many steps before it warm up."""
    gc.collect()  # what others left is not to be paid for here
    step = trainer.step
    warm = list(islice(cycle(trainer.batches), max(steps // 4, 2)))
    timed = list(islice(cycle(trainer.batches), steps))
    for x, y in warm:
        step(x, y)
    start = perf_counter()
    for x, y in timed:
        step(x, y)
    return (perf_counter() - start) / steps
