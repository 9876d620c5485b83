"""Check and time everything in this one process; run.py starts it once per setting of the threads.

Writes the result as JSON to standard output, and what it is doing to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from statistics import median, quantiles
from typing import Any

from benchmarks import agreement, chain, machine, timing
from benchmarks.implementations import BY_HAND, IMPLEMENTATIONS
from benchmarks.workloads import WORKLOADS, Workload

ROUNDS, QUICK_ROUNDS = 31, 3
LONGEST, QUICK_LONGEST = 100_000, 10_000


def measure(workload: Workload, rounds: int) -> dict[str, Any]:
    """Check that all implementations agree, then time them."""
    makers = {peer.name: peer.trainer() for peer in IMPLEMENTATIONS if peer.present}
    for name, maker in makers.items():
        print(f"{workload.name}: checking {name}", file=sys.stderr)
        agreement.check(workload, makers[BY_HAND.name], maker)
    print(f"{workload.name}: timing", file=sys.stderr)
    times = timing.rounds(makers, workload, rounds)
    return {"name": workload.name, "title": workload.title, "results": summarised(times)}


def summarised(times: timing.Times) -> dict[str, Any]:
    """Return medians and quartiles in microseconds, and the median of the rounds' ratios to NumPy by hand."""
    results = {}
    for name, seconds in times.items():
        low, _, high = quantiles(seconds, n=4)
        ratio = median([s / hand for s, hand in zip(seconds, times[BY_HAND.name], strict=True)])
        micro = {"us": median(seconds) * 1e6, "low_us": low * 1e6, "high_us": high * 1e6}
        results[name] = {**micro, "ratio": ratio}
    return results


def main() -> None:
    """Read the options that run.py passes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", choices=("all", "one"), required=True)
    parser.add_argument("--only")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.threads == "one" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # some peers ask for no environment variable
    result: dict[str, Any] = {"threads": options.threads, "machine": machine.describe(), "workloads": []}
    for workload in WORKLOADS:
        if options.only in {None, workload.name}:
            result["workloads"].append(measure(workload, QUICK_ROUNDS if options.quick else ROUNDS))
    if options.only in {None, "chain"}:
        print("chain: timing", file=sys.stderr)
        result["chain"] = chain.measure(QUICK_LONGEST if options.quick else LONGEST)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
