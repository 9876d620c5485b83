"""How the cost grows: with the depth of a graph, the width of a layer and the size of a batch."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.implementations import BY_HAND, COMPILED, EAGER
from benchmarks.timing import call_times
from benchmarks.workloads import Workload
from microgradnet import nn
from microgradnet.compiler import compile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet import Tensor

LONGEST, QUICK_LONGEST = 100_000, 1000
WIDTHS, QUICK_WIDTHS = [2**k for k in range(3, 12)], [8, 32, 128]
BATCHES, QUICK_BATCHES = [2**k for k in range(11)], [1, 16, 64]
SECONDS, QUICK_SECONDS = 0.3, 0.02
"""Spent on each point, at the least three calls."""
FACTOR = 0.9999
"""Of each operation of a chain: a multiplication of numbers, so that nothing but the engine is timed."""


def measure(*, quick: bool) -> dict[str, Any]:
    """Time all three; with each series the exponent of its growth."""
    seconds = QUICK_SECONDS if quick else SECONDS
    return {
        "depth": depth(QUICK_LONGEST if quick else LONGEST, seconds),
        "width": width(QUICK_WIDTHS if quick else WIDTHS, seconds),
        "batch": batch(QUICK_BATCHES if quick else BATCHES, seconds),
    }


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of log time over log size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def series(sizes: list[int], times: dict[str, list[float]], first: int) -> dict[str, Any]:
    """Put a measurement together; slopes are fitted from size ``first`` on, where overheads are small."""
    start = sizes.index(first)
    slopes = {name: exponent(sizes[start:], seconds[start:]) for name, seconds in times.items()}
    return {"sizes": sizes, "seconds": times, "fitted_from": first, "exponents": slopes}


def quickest(call: Callable[[], object], seconds: float) -> float:
    """Return the time of the quickest call: what others do at that moment would bend the slope."""
    return min(call_times(call, seconds))


class Chain:
    """A number that is multiplied n times, and the gradient of the product."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._w = nn.Parameter(np.ones(()))

    def forward(self) -> Tensor:
        """Build the chain."""
        y: Tensor = self._w * FACTOR
        for _ in range(self._n - 1):
            y = y * FACTOR
        return y

    def step(self) -> Tensor:
        """Build it and go backward through it."""
        self._w.grad = None
        y = self.forward()
        y.backward()
        return y


def depth(longest: int, seconds: float) -> dict[str, Any]:
    """Time chains of 10, 100, … operations: eager, forward and backward; compiled; the compilation."""
    sizes = [10**k for k in range(1, len(str(longest)))]
    times: dict[str, list[float]] = {
        name: [] for name in ("forward", "backward", "forward and backward", "compiled", "compilation")
    }
    for n in sizes:
        chain = Chain(n)
        times["forward"].append(quickest(chain.forward, seconds))
        times["backward"].append(quickest(chain.forward().backward, seconds))
        times["forward and backward"].append(quickest(chain.step, seconds))
        compiled = compile(chain.step)
        start = perf_counter()
        compiled()  # records
        compiled()  # builds the program
        times["compilation"].append(perf_counter() - start)
        times["compiled"].append(quickest(compiled, seconds))
    return series(sizes, times, first=100)


def _steps(workloads: list[Workload], seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    for workload in workloads:
        for ours in (BY_HAND, EAGER, COMPILED):
            trainer = ours.trainer()(workload)
            x, y = trainer.batches[0]
            trainer.step(x, y)
            found = quickest(lambda step=trainer.step, x=x, y=y: step(x, y), seconds)  # type: ignore[misc]
            times.setdefault(ours.name, []).append(found)
    return times


def width(widths: list[int], seconds: float) -> dict[str, Any]:
    """Time training steps of 784-n-10 at batch 10."""
    return series(widths, _steps([_workload(n, 10) for n in widths], seconds), first=widths[len(widths) // 2])


def batch(sizes: list[int], seconds: float) -> dict[str, Any]:
    """Time training steps of 784-30-10 at batch n."""
    return series(sizes, _steps([_workload(30, n) for n in sizes], seconds), first=sizes[len(sizes) // 2])


def _workload(hidden: int, size: int) -> Workload:
    return Workload("", (784, hidden, 10), "sigmoid", "quadratic", batch=size, rate=0.1, steps=1)
