"""The tables: times, ratios, and the targets below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import floor
from benchmarks.implementations import IMPLEMENTATIONS
from benchmarks.targets import SLOPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

THREADS = {"all": "all threads", "one": "one thread"}
TITLES = {peer.name: peer.title for peer in IMPLEMENTATIONS} | {floor.FLOOR: floor.TITLE}


def machine_lines(machine: Mapping[str, Any]) -> Iterator[str]:
    """Yield the machine, and a line for each peer that cannot run on it."""
    yield ", ".join(f"{key} {value}" for key, value in machine.items())
    for peer in IMPLEMENTATIONS:
        if peer.missing:
            yield f"{peer.title}: skipped, {peer.missing}"


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield everything measured with one setting of the threads."""
    tables = [workload_lines(measured, result["threads"]) for measured in result["workloads"]]
    sections = {
        "micrograd": micrograd_lines,
        "building": building_lines,
        "scaling": scaling_lines,
        "training": training_lines,
    }
    tables += [table(result[name], result["threads"]) for name, table in sections.items() if name in result]
    for table_lines in tables:
        yield from table_lines
        yield ""


def workload_lines(measured: Mapping[str, Any], threads: str) -> Iterator[str]:
    """Yield the table of one workload."""
    over = list(next(iter(measured["results"].values()))["over"])
    heads = "".join(f"{'× ' + _short(name):>11}" for name in over)
    yield f"{measured['title']} ({THREADS[threads]})"
    yield f"  {'':28}{'µs a step':>10}{'quartiles':>20}{heads}"
    for name, result in measured["results"].items():
        quartiles = f"{result['low_us']:.1f} – {result['high_us']:.1f}"
        ratios = "".join(f"{result['over'][other]:11.2f}" for other in over)
        yield f"  {TITLES[name]:28}{result['us']:10.1f}{quartiles:>20}{ratios}"
    for target in measured["targets"]:
        yield f"  {target_line(target)}"


def _short(name: str) -> str:
    short = {"numpy_by_hand": "by hand", "numpy_textbook": "textbook", "microgradnet_eager": "eager"}
    return short.get(name, name)


def target_line(target: Mapping[str, Any]) -> str:
    """Say what is asked, what was found, and whether that is enough."""
    word = "hoped for" if target["hoped"] else "target"
    found = f"{TITLES[target['name']]} / {TITLES[target['over']]}: {target['found']:.3g}"
    return f"{found}, {word} ≤ {target['at_most']:.3g}: {_verdict(reached=target['reached'])}"


def micrograd_lines(measured: Mapping[str, Any], threads: str) -> Iterator[str]:
    """Yield the times of micrograd's demo."""
    yield f"micrograd's demo: 100 points, 2-16-16-1, hinge loss; an epoch ({THREADS[threads]})"
    for name, seconds in measured["seconds"].items():
        yield f"  {TITLES.get(name, name):28}{seconds * 1e6:14,.1f} µs"
    if measured["missing"]:
        yield f"  micrograd: skipped, {measured['missing']}"
        return
    times, limit = 1 / measured["ratio"], 1 / measured["at_most"]
    verdict = _verdict(reached=measured["reached"])
    yield f"  micrograd / {TITLES['microgradnet_compiled']}: {times:,.0f}, target ≥ {limit:,.0f}: {verdict}"


def building_lines(measured: list[dict[str, Any]], threads: str) -> Iterator[str]:
    """Yield what compiling costs, and the memory of the steps."""
    yield f"compiling a step: time until it is ready, and memory at the peak of a step ({THREADS[threads]})"
    yield f"  {'':18}{'ms':>9}{'≤ 50':>10}{'[fast] cold':>13}{'warm':>9}{'eager kB':>12}{'compiled kB':>13}"
    for row in measured:
        build, peak = row["build_seconds"], row["peak_bytes"]
        fast = [
            f"{build[name] * 1e3:.0f}" if name in build else "–"
            for name in ("microgradnet_fast, cold cache", "microgradnet_fast")
        ]
        yield (
            f"  {row['name']:18}{build['microgradnet_compiled'] * 1e3:9.1f}"
            f"{_verdict(reached=row['build_reached']):>10}{fast[0]:>13}{fast[1]:>9}"
            f"{peak['microgradnet_eager'] / 1e3:12,.0f}{peak['microgradnet_compiled'] / 1e3:13,.0f}"
            f"   ≤ eager: {_verdict(reached=row['peak_reached'])}"
        )


AXES = {
    "depth": "chains of n multiplications of numbers",
    "width": "784-n-10 at batch 10, a step",
    "batch": "784-30-10 at batch n, a step",
}


def scaling_lines(measured: Mapping[str, Any], threads: str) -> Iterator[str]:
    """Yield a table for depth, width and batch, with the fitted exponents."""
    for axis, title in AXES.items():
        found = measured[axis]
        yield f"{axis}: {title} ({THREADS[threads]}); µs"
        yield f"  {'n':>8}" + "".join(f"{TITLES.get(name, name):>24}" for name in found["seconds"])
        for i, n in enumerate(found["sizes"]):
            times = "".join(f"{seconds[i] * 1e6:24,.1f}" for seconds in found["seconds"].values())
            yield f"  {n:8}{times}"
        slopes = "".join(f"{f'~ n^{slope:.2f}':>24}" for slope in found["exponents"].values())
        yield f"  {'n ≥ ' + str(found['fitted_from']):>8}{slopes}"
        if axis == "depth":
            slope = found["exponents"]["backward"]
            yield f"  backward: {slope:.2f}, target ≤ {SLOPE}: {_verdict(reached=slope <= SLOPE)}"


def training_lines(measured: Mapping[str, Any], threads: str) -> Iterator[str]:
    """Yield speed and time to an accuracy on MNIST."""
    yield f"MNIST: 784-256-10, ReLU, batch 32, momentum 0.9, 50,000 images ({THREADS[threads]})"
    if measured["missing"]:
        yield f"  skipped: {measured['missing']}"
        return
    yield f"  {'':28}{'epochs a second':>16}{'s to 97 %':>12}{'s to 98 %':>12}{'epochs':>9}"
    for name, run in measured["runs"].items():
        goals = [f"{seconds:.1f}" if seconds else "not yet" for seconds in run["seconds_to"].values()]
        yield (
            f"  {TITLES[name]:28}{run['epochs_per_second']:16.2f}{goals[0]:>12}{goals[1]:>12}"
            f"{len(run['accuracies']):9}   test accuracy {run['accuracies'][-1]:.2%}"
        )


def _verdict(*, reached: bool) -> str:
    return "reached" if reached else "MISSED"
