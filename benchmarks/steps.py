"""Check that all implementations of a training step agree, then time them in turn."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from benchmarks import agreement, floor, timing
from benchmarks.implementations import IMPLEMENTATIONS, TEXTBOOK, reference
from benchmarks.targets import targets

if TYPE_CHECKING:
    from benchmarks.workloads import Workload

ROUNDS, QUICK_ROUNDS = 31, 3
SECONDS = 9.0
"""In which a workload gets as many rounds as there is time for."""


def measure(workload: Workload, *, quick: bool) -> dict[str, Any]:
    """Return times, ratios and targets of a workload, and why an implementation is left out."""
    peers = [peer for peer in IMPLEMENTATIONS if peer.suits(workload)]
    makers = {peer.name: peer.trainer() for peer in peers if peer.present}
    expected = reference(workload)
    for name, maker in makers.items():
        print(f"{workload.name}: checking {name}", file=sys.stderr)
        agreement.check(workload, expected.trainer(), maker)
    timed: dict[str, Any] = dict(makers)
    if not workload.maps:
        timed[floor.FLOOR] = floor.Trainer
    print(f"{workload.name}: timing", file=sys.stderr)
    times = timing.rounds(timed, workload, QUICK_ROUNDS if quick else ROUNDS, SECONDS)
    return {
        "name": workload.name,
        "title": workload.title,
        "reference": expected.name,
        **summarised(workload, times),
    }


def summarised(workload: Workload, times: timing.Times) -> dict[str, Any]:
    """Return medians, quartiles, ratios to the reference and to the floor, and the targets."""
    over = [name for name in (reference(workload).name, TEXTBOOK.name, floor.FLOOR) if name in times]
    results = {
        name: {
            **timing.quartiles(seconds),
            "over": {other: timing.ratio(times, name, other) for other in over},
        }
        for name, seconds in times.items()
    }
    judged = []
    for target in targets(workload):
        if target.name in times and target.over in times:
            found = timing.ratio(times, target.name, target.over)
            judged.append({**target._asdict(), "found": found, "reached": found <= target.at_most})
    return {"rounds": len(next(iter(times.values()))), "results": results, "targets": judged}
