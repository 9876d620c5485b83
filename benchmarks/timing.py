"""How times are taken: blocks of steps, one implementation after another, round after round."""

from __future__ import annotations

import gc
from itertools import cycle, islice
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.workloads import Workload

Times: TypeAlias = "dict[str, list[float]]"
"""Per implementation the seconds a step took, by round."""

WARM_UP = 5
"""Steps at the least: with momentum, microgradnet's third call builds the program."""


def settle() -> None:
    """Have the garbage collector not look again at what is here already, all that peers import above all."""
    gc.collect()
    gc.freeze()


def rounds(
    makers: Mapping[str, Callable[[Workload], Any]], workload: Workload, count: int, seconds: float
) -> Times:
    """Time a block of every implementation in turn, ``count`` times: what drifts hits all of them alike.

    Every other round runs in the opposite order, so that none always follows the same neighbour. After
    ``seconds`` no other round begins, but three are made.
    """
    times: Times = {name: [] for name in makers}
    settle()
    end = perf_counter() + seconds
    for i in range(count):
        if i >= min(count, 3) and perf_counter() > end:
            break
        for name in list(makers)[:: -1 if i % 2 else 1]:
            times[name].append(block(makers[name](workload), workload.steps))
    return times


def block(trainer: Any, steps: int) -> float:
    """Return the seconds that a step takes on average; before it, steps warm up, until all is compiled."""
    gc.collect()  # what others left is not to be paid for here
    step = trainer.step
    warm = list(islice(cycle(trainer.batches), max(steps // 4, WARM_UP)))
    timed = list(islice(cycle(trainer.batches), steps))
    for x, y in warm:
        step(x, y)
    start = perf_counter()
    for x, y in timed:
        step(x, y)
    return (perf_counter() - start) / steps


def ratio(times: Times, name: str, over: str) -> float:
    """Return the median of the ratios of two implementations within each round."""
    return median([a / b for a, b in zip(times[name], times[over], strict=True)])


def quartiles(seconds: list[float]) -> dict[str, float]:
    """Return median and quartiles, in microseconds."""
    low, _, high = quantiles(seconds, n=4)
    return {"us": median(seconds) * 1e6, "low_us": low * 1e6, "high_us": high * 1e6}


def call_seconds(call: Callable[[], object], seconds: float) -> float:
    """Return the median time of calls that take about ``seconds`` in all."""
    return median(call_times(call, seconds))


def call_times(call: Callable[[], object], seconds: float, least: int = 3) -> list[float]:
    """Return the times of calls that take about ``seconds`` in all, ``least`` of them at the least."""
    call()
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < least or perf_counter() < end:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return times
