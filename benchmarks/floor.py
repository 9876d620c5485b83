"""The floor: the matrix products of a training step alone, into memory that is there, and nothing else.

Every product is x·wᵀ of a layer, δᵀ·x for its weight, or δ·w for the layer below. Data and weights lie in
memory as all implementations get them, row by row. An array that a step makes itself (an activation, a δ, a
gradient) may lie row by row or column by column, and a result may have gaps between its rows: each product is
tried in all these ways beforehand, by NumPy's ``dot`` and ``matmul``, and takes the fastest, even where one
product would have the array differently than the next. So it is a lower bound for steps that multiply with
this BLAS, which none need reach.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise, product
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.workloads import Array, Workload

    Way: TypeAlias = tuple[Callable[[Array, Array], Array], Array, Array]

FLOOR, TITLE = "floor", "the matrix products alone"
TRIALS, TRIAL_SECONDS = 7, 2e-3
GAP = 16
"""Elements between two rows: a cache line, so that the elements of a column do not evict each other."""


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
        for multiply, b, out in self._calls:
            multiply(b, out)


@cache
def fastest(workload: Workload) -> list[Way]:
    """Return for each product the call that took the least time."""
    return [min(_ways(asked), key=lambda way: _seconds(*way)) for asked in products(workload)]


def _ways(asked: Product) -> Iterator[Way]:
    """Yield what multiplies with a, b and the array of the result, in each order of memory.

    NumPy wants the result row by row; ``dot``, which is quicker to call but clears the result first, also
    without gaps.
    """
    rng = np.random.default_rng(3)
    orders = []
    for name, shape in (("a", asked.a), ("b", asked.b)):
        whole = rng.random(shape, np.float32)
        by_rows, by_columns = np.ascontiguousarray(whole), np.asfortranarray(whole)
        first = by_columns if asked.transposed == name else by_rows
        other = by_rows if asked.transposed == name else by_columns
        orders.append([first] if name in asked.given else [first, other])
    for left, right in product(*orders):
        for a, b in ((left, right), (right.T, left.T)):
            rows, columns = len(a), b.shape[1]
            yield a.dot, b, np.empty((rows, columns), np.float32)
            yield partial(np.matmul, a), b, np.empty((rows, columns), np.float32)
            yield partial(np.matmul, a), b, np.empty((rows, columns + GAP), np.float32)[:, :columns]


def _seconds(multiply: Callable[[Array, Array], Array], b: Array, out: Array) -> float:
    """Return the shortest time of a call among some short loops."""
    start = perf_counter()
    multiply(b, out)
    once = max(perf_counter() - start, 1e-7)
    count = max(int(TRIAL_SECONDS / once), 1)
    times = []
    for _ in range(TRIALS):
        start = perf_counter()
        for _ in range(count):
            multiply(b, out)
        times.append((perf_counter() - start) / count)
    return min(times)
