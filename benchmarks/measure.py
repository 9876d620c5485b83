"""Measure everything in this one process; run.py starts it once per setting of the threads.

Writes the result as JSON to standard output, and what it is doing to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from benchmarks import building, machine, micrograd_demo, scaling, steps, timing, training
from benchmarks.workloads import WORKLOADS

SECTIONS = {
    "micrograd": micrograd_demo.measure,
    "building": building.measure,
    "scaling": scaling.measure,
    "training": training.measure,
}
ONE_THREAD = {"micrograd", "building", "scaling"}
"""What is measured with one thread only: more of them have no part in it."""
NAMES = [*[workload.name for workload in WORKLOADS], *SECTIONS]


def chosen(only: str | None, threads: str) -> list[str]:
    """Return the names of what is measured with this setting of the threads."""
    names = NAMES if only is None else [only]
    return [name for name in names if threads == "one" or name not in ONE_THREAD]


def main() -> None:
    """Read the options that run.py passes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", choices=("all", "one"), required=True)
    parser.add_argument("--only")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.threads == "one" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # some peers ask for no environment variable
    names = chosen(options.only, options.threads)
    result: dict[str, Any] = {"threads": options.threads, "machine": machine.describe()}
    result["workloads"] = [
        steps.measure(workload, quick=options.quick) for workload in WORKLOADS if workload.name in names
    ]
    for name, measured in SECTIONS.items():
        if name in names:
            print(f"{name}: timing", file=sys.stderr)
            timing.settle()
            result[name] = measured(quick=options.quick)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
