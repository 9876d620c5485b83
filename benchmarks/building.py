"""What it costs to compile a step, in time, and what compiled and eager steps take, in memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.implementations import COMPILED, EAGER, FAST
from benchmarks.targets import BUILD_SECONDS
from benchmarks.timing import call_seconds
from benchmarks.workloads import DENSE, Workload

if TYPE_CHECKING:
    from benchmarks.implementations import Implementation

ROOT = Path(__file__).resolve().parent.parent
TIMES, QUICK_TIMES = 5, 1
"""How often a step is compiled."""
FIRST = 3
"""Calls: one records, with momentum another one records what has a state now, and one builds the program."""
WARM_UP = 5
"""Steps before memory is looked at."""


def measure(*, quick: bool) -> list[dict[str, Any]]:
    """Measure every dense workload."""
    times = QUICK_TIMES if quick else TIMES
    return [_measured(workload, times) for workload in (DENSE[:1] if quick else DENSE)]


def _measured(workload: Workload, times: int) -> dict[str, Any]:
    print(f"{workload.name}: compiling", file=sys.stderr)
    seconds = {COMPILED.name: median(build_seconds(COMPILED, workload) for _ in range(times))}
    if FAST.present:
        seconds[f"{FAST.name}, cold cache"], seconds[FAST.name] = process_seconds(workload)
    arrays = {ours.name: peak_bytes(ours, workload) for ours in (EAGER, COMPILED)}
    return {
        "name": workload.name,
        "build_seconds": seconds,
        "build_at_most": BUILD_SECONDS,
        "build_reached": seconds[COMPILED.name] <= BUILD_SECONDS,
        "peak_bytes": arrays,
        "peak_reached": arrays[COMPILED.name] <= arrays[EAGER.name],
    }


def build_seconds(ours: Implementation, workload: Workload) -> float:
    """Return what the first calls take longer than so many steps."""
    trainer = ours.trainer()(workload)
    x, y = trainer.batches[0]
    gc.collect()
    start = perf_counter()
    for _ in range(FIRST):
        trainer.step(x, y)
    taken = perf_counter() - start
    return taken - FIRST * call_seconds(lambda: trainer.step(x, y), 0.02)


def process_seconds(workload: Workload) -> list[float]:
    """Return the same for Numba in two new processes: one finds nothing on disk, the next what that one left.

    Numba's own start is part of both.
    """
    code = (
        "from benchmarks import building, workloads; from benchmarks.implementations import FAST; "
        f"print(building.build_seconds(FAST, workloads.{workload!r}))"
    )
    with TemporaryDirectory() as folder:
        # Machine code lies in the second folder on every system, the text that it is made of in the first.
        kept = {"XDG_CACHE_HOME": folder, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", code]
        runs = [
            subprocess.run(  # noqa: S603 - our own command
                command,
                cwd=ROOT,
                env={**os.environ, **kept},
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=True,
            )
            for _ in range(2)
        ]
    return [float(run.stdout) for run in runs]


def peak_bytes(ours: Implementation, workload: Workload) -> int:
    """Return the most bytes of arrays that are held during a step, its batches left out.

    Measured by ``tracemalloc``, which NumPy tells of every array: what is held when the step begins, and the
    most that the step adds.
    """
    workload.weights(), workload.batches()  # what is kept of them belongs to nobody's step
    gc.collect()
    tracemalloc.start()
    try:
        trainer = ours.trainer()(workload)
        for x, y in trainer.batches[:WARM_UP]:
            trainer.step(x, y)
        gc.collect()
        held = _held_arrays()
        x, y = trainer.batches[-1]
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        trainer.step(x, y)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    batches = sum(part.nbytes for batch in trainer.batches for part in batch)
    return held - batches + most - before


def _held_arrays() -> int:
    domain = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    snapshot = tracemalloc.take_snapshot().filter_traces([domain])
    return sum(trace.size for trace in snapshot.traces)
