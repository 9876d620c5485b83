"""Whether two implementations do the same work: the same losses and updates, up to float32's rounding."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import numpy_by_hand

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.implementations import Trainer
    from benchmarks.workloads import Array, Workload

TOLERANCE = 1e-3
"""Of a loss, and of an array's largest update; rounding stays well below, a wrong gradient does not."""
SIGMAS = 5
"""How far a count of dropped elements may lie from what is expected, in standard deviations."""
RATE = 0.1
"""At which a network can be trained on one example at a time, and is not done too soon."""
DRAWN = 1000
"""Of elements that are kept or dropped: as many must be seen, before they are counted."""


def check(
    workload: Workload, expected: Callable[[Workload], Trainer], given: Callable[[Workload], Trainer]
) -> None:
    """Train both on every batch; raise AssertionError where a loss or an update differs."""
    if workload.dropout:
        check_dropout(workload, expected, given)
        return
    right, other = expected(workload), given(workload)
    for i, (ours, theirs) in enumerate(zip(right.batches, other.batches, strict=True)):
        _compare_losses(i, right.step(*ours), other.step(*theirs))
    _compare(workload.weights(), right.weights(), other.weights())


def _compare_losses(step: int, right: Any, found: Any) -> None:
    a, b = right.item(), found.item()
    assert abs(b - a) <= TOLERANCE * abs(a), f"step {step}: the loss is {b}, expected {a}"


def _compare(before: list[Array], right: list[Array], found: list[Array]) -> None:
    for i, (start, a, b) in enumerate(zip(before, right, found, strict=True)):
        assert a.dtype == b.dtype == np.float32, f"array {i}: {b.dtype}, expected float32"
        update = np.max(np.abs(a - start))
        error = np.max(np.abs(a - b))
        rounding = 2 * np.spacing(np.max(np.abs(start)))  # of the array itself, where updates are tiny
        assert error <= TOLERANCE * update + rounding, (
            f"array {i} differs by {error}; its largest update is {update}"
        )


class Given(numpy_by_hand.Trainer):
    """The step by hand from given weights, and with given elements kept."""

    def __init__(self, workload: Workload, weights: list[Array], kept: list[Array]) -> None:
        super().__init__(workload)
        self._weights = weights
        self._given = kept
        self.live: list[Array] = []
        """Of each hidden layer, where its activation is not 0: elsewhere nobody sees what is dropped."""

    def mask(self, layer: int, a: Array) -> Array:
        """Return the given one."""
        self.live.append(a[0] != 0)
        return (self._given[layer] * np.float32(1 / (1 - self._dropout)))[None]


def check_dropout(
    workload: Workload, expected: Callable[[Workload], Trainer], given: Callable[[Workload], Trainer]
) -> None:
    """Train with dropout; raise AssertionError where a loss, an update or what is dropped is wrong.

    Every implementation draws with its own generator. What it drew can be read off the update of a batch of
    one: a column of the weight above changes exactly where the activation was kept. So the step by hand is
    made with the same elements dropped, and must give the same numbers. Over many steps the share that is
    kept is 1 − p, the elements differ from step to step, and in a larger batch from example to example.
    """
    single = replace(workload, batch=1, rate=RATE)
    other = given(single)
    ours, theirs = single.batches(), other.batches
    hidden = sum(workload.sizes[1:-1])
    live: list[Array] = []
    seen: list[Array] = []
    for i in range(max(len(ours), math.ceil(3 * DRAWN / hidden))):
        before = [array.copy() for array in other.weights()]
        found = other.step(*theirs[i % len(theirs)])
        after = [array.copy() for array in other.weights()]
        kept = changed_columns(before, after)
        right = Given(single, [array.copy() for array in before], kept)
        _compare_losses(i, right.step(*ours[i % len(ours)]), found)
        _compare(before, right.weights(), after)
        live.append(np.concatenate(right.live))
        seen.append(np.concatenate(kept))
    _check_draws(np.array(seen), np.array(live), 1 - workload.dropout)
    share, all_of_them = _changed_share(given(workload)), _changed_share(expected(workload))
    least = (1 - workload.dropout / 2) * all_of_them  # with one mask for all examples it is 1 − p
    assert share >= least, f"all examples drop the same elements: {share:.0%} of the columns change"


def _changed_share(trainer: Trainer) -> float:
    """Return the share of columns that a step on a batch changes: those that one example keeps."""
    before = [array.copy() for array in trainer.weights()]
    trainer.step(*trainer.batches[0])
    return float(np.concatenate(changed_columns(before, trainer.weights())).mean())


def changed_columns(before: list[Array], after: list[Array]) -> list[Array]:
    """Return for each weight but the first which of its columns changed."""
    return [np.any(a != b, axis=0) for a, b in zip(before[2::2], after[2::2], strict=True)]


def _check_draws(seen: Array, live: Array, kept: float) -> None:
    count = np.count_nonzero(live)
    assert count >= DRAWN, f"only {count} elements were seen"
    share = np.count_nonzero(seen & live) / count
    bound = SIGMAS * math.sqrt(kept * (1 - kept) / count)
    assert abs(share - kept) <= bound, f"{share:.3f} of the elements are kept, expected {kept} ± {bound:.3f}"
    same = [i for i in range(1, len(seen)) if np.array_equal(seen[i] & live[i], seen[i - 1] & live[i])]
    assert not same, f"steps {same[0] - 1} and {same[0]} drop the same elements"
