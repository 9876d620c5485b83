"""Whether two implementations do the same work: the same losses and updates, up to float32's rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.implementations import Trainer
    from benchmarks.workloads import Workload

TOLERANCE = 1e-3
"""Of a loss, and of an array's largest update; rounding stays well below, a wrong gradient does not."""


def check(
    workload: Workload, expected: Callable[[Workload], Trainer], given: Callable[[Workload], Trainer]
) -> None:
    """Train both on every batch once; raise AssertionError where a loss or an update differs."""
    right, other = expected(workload), given(workload)
    for i, (ours, theirs) in enumerate(zip(right.batches, other.batches, strict=True)):
        loss, found = right.step(*ours).item(), other.step(*theirs).item()
        assert abs(found - loss) <= TOLERANCE * abs(loss), f"step {i}: the loss is {found}, expected {loss}"
    arrays = zip(workload.weights(), right.weights(), other.weights(), strict=True)
    for i, (start, a, b) in enumerate(arrays):
        assert a.dtype == b.dtype == np.float32, f"array {i}: {b.dtype}, expected float32"
        update = np.max(np.abs(a - start))
        error = np.max(np.abs(a - b))
        assert error <= TOLERANCE * update, f"array {i} differs by {error}; its largest update is {update}"
