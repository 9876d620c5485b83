"""The floor: the matrix products of a training step alone, into memory that is there, and nothing else.

Every product is x·wᵀ of a layer, δᵀ·x for its weight, or δ·w for the layer below. Data and weights lie in
memory as all implementations get them, row by row. An array that a step makes itself (an activation, a δ, a
gradient) may lie row by row or column by column: each product is tried in all these ways beforehand, and
takes the fastest, even where one product would have the array differently than the next. So it is a lower
bound for steps that multiply with this BLAS, which none need reach.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.workloads import Array, Workload

FLOOR, TITLE = "floor", "the matrix products alone"
TRIALS, TRIAL_SECONDS = 7, 2e-3


class Product(NamedTuple):
    """``a @ b``: their shapes, and which of them are given row by row."""

    a: tuple[int, int]
    b: tuple[int, int]
    transposed: str  # which of the two, "a", "b" or neither, is the transpose of what lies in memory
    given: str  # which of the two lie row by row; the other may lie in both ways


def products(workload: Workload) -> list[Product]:
    """List the products of a step of dense layers: forward, then backward from the last layer."""
    n = workload.batch
    layers = list(pairwise(workload.sizes))
    forward = [
        Product((n, k), (k, m), "b", "ab" if i == 0 else "b") for i, (k, m) in enumerate(layers)
    ]  # x·wᵀ
    backward = []
    for i, (k, m) in reversed(list(enumerate(layers))):
        backward.append(Product((m, n), (n, k), "a", "b" if i == 0 else ""))  # δᵀ·x
        if i:
            backward.append(Product((n, m), (m, k), "", "b"))  # δ·w
    return [*forward, *backward]


class Trainer:
    """The products of a step, each in its fastest way."""

    def __init__(self, workload: Workload) -> None:
        self._calls = fastest(workload)
        self.batches = workload.batches()

    def step(self, x: Array, y: Array) -> None:
        """Make all products, of numbers that do not matter."""
        for dot, b, out in self._calls:
            dot(b, out)


@cache
def fastest(workload: Workload) -> list[tuple[Callable[[Array, Array], Array], Array, Array]]:
    """Return for each product the call that took the least time: a.dot, b, out."""
    calls = []
    for asked in products(workload):
        least = min(_ways(asked), key=lambda arrays: _seconds(*arrays))
        a, b, out = least
        calls.append((a.dot, b, out))
    return calls


def _ways(asked: Product) -> Iterator[tuple[Array, Array, Array]]:
    """Yield a, b and the array of the result in each order of memory; NumPy wants the last row by row."""
    rng = np.random.default_rng(3)
    orders = []
    for name, shape in (("a", asked.a), ("b", asked.b)):
        whole = rng.random(shape, np.float32)
        by_rows, by_columns = np.ascontiguousarray(whole), np.asfortranarray(whole)
        first = by_columns if asked.transposed == name else by_rows
        other = by_rows if asked.transposed == name else by_columns
        orders.append([first] if name in asked.given else [first, other])
    for a, b in product(*orders):
        yield a, b, np.empty((len(a), b.shape[1]), np.float32)
        yield b.T, a.T, np.empty((b.shape[1], len(a)), np.float32)


def _seconds(a: Array, b: Array, out: Array) -> float:
    """Return the shortest time of a call among some short loops."""
    start = perf_counter()
    a.dot(b, out)
    once = max(perf_counter() - start, 1e-7)
    count = max(int(TRIAL_SECONDS / once), 1)
    times = []
    for _ in range(TRIALS):
        start = perf_counter()
        for _ in range(count):
            a.dot(b, out)
        times.append((perf_counter() - start) / count)
    return min(times)
