"""The tables: times, ratios, and the targets beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.implementations import COMPILED, EAGER, IMPLEMENTATIONS
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

THREADS = {"all": "all threads", "one": "one thread"}
SLOPE = 1.1
"""Target: the exponent of backward's cost in the length of a chain."""


def machine_lines(machine: Mapping[str, Any]) -> Iterator[str]:
    """Yield the machine, and a line for each peer that is not there."""
    yield ", ".join(f"{key} {value}" for key, value in machine.items())
    for peer in IMPLEMENTATIONS:
        if not peer.present:
            yield f"{peer.title}: skipped, {peer.package} is not installed (pip install {peer.package})"


def workload_lines(measured: Mapping[str, Any], threads: str) -> Iterator[str]:
    """Yield the table of one workload."""
    yield f"{measured['title']} ({THREADS[threads]})"
    yield f"  {'':22}{'µs a step':>10}{'quartiles':>20}{'× by hand':>11}   target"
    titles = {peer.name: peer.title for peer in IMPLEMENTATIONS}
    for name, result in measured["results"].items():
        quartiles = f"{result['low_us']:.1f} – {result['high_us']:.1f}"
        line = f"  {titles[name]:22}{result['us']:10.1f}{quartiles:>20}{result['ratio']:11.2f}   "
        yield (line + target(measured, name)).rstrip()


def target(measured: Mapping[str, Any], name: str) -> str:
    """Return what is asked of this line, and whether it is reached; nothing where nothing is asked."""
    workload = next(workload for workload in WORKLOADS if workload.name == measured["name"])
    ratio = measured["results"][name]["ratio"]
    limits = {EAGER.name: workload.at_most, COMPILED.name: workload.compiled_at_most}
    if name in limits:
        return f"≤ {limits[name]} × by hand: {_verdict(reached=ratio <= limits[name])}"
    if name in workload.faster_than:
        times = workload.faster_than[name]
        found = ratio / measured["results"][EAGER.name]["ratio"]
        return f"≥ {times} × eager: {found:.2f}, {_verdict(reached=found >= times)}"
    return ""


def chain_lines(measured: Mapping[str, Any], threads: str) -> Iterator[str]:
    """Yield the table of the chains."""
    yield f"chain: backward through n multiplications of numbers ({THREADS[threads]})"
    yield f"  {'n':>8}{'ms':>12}{'µs an operation':>18}"
    for row in measured["lengths"]:
        yield f"  {row['n']:8}{row['seconds'] * 1e3:12.3f}{row['seconds'] / row['n'] * 1e6:18.2f}"
    exponent = measured["exponent"]
    yield f"  time ~ n^{exponent:.2f}   target ≤ {SLOPE}: {_verdict(reached=exponent <= SLOPE)}"


def _verdict(*, reached: bool) -> str:
    return "reached" if reached else "MISSED"


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield everything measured with one setting of the threads."""
    for measured in result["workloads"]:
        yield from workload_lines(measured, result["threads"])
        yield ""
    if "chain" in result:
        yield from chain_lines(result["chain"], result["threads"])
        yield ""
