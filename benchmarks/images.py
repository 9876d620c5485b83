"""Measure convolutional networks against PyTorch and JAX: python benchmarks/images.py (see README.md)."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module, util
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script finds only what lies beside it

from benchmarks import agreement, machine, timing  # noqa: E402 - after the path
from benchmarks.image_workloads import IMAGE_WORKLOADS, ImageWorkload  # noqa: E402 - after the path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EAGER, TORCH, JAX = "microgradnet_eager", "pytorch_eager", "jax_jit"
PEERS = {  # the file in image_peers/, what the table calls it, and the package that it needs
    EAGER: ("microgradnet, eager", "microgradnet"),
    "microgradnet_compiled": ("microgradnet, compiled", "microgradnet"),
    TORCH: ("PyTorch, eager", "torch"),
    JAX: ("JAX, jit", "jax"),
}
ROUNDS, QUICK_ROUNDS = 31, 3


def trainers() -> dict[str, Callable[[Any], Any]]:
    """Return what makes a trainer, of every implementation whose package is installed."""
    return {
        name: import_module(f"benchmarks.image_peers.{name}").Trainer
        for name, (_, package) in PEERS.items()
        if util.find_spec(package)
    }


def measure(workload: ImageWorkload, rounds: int) -> dict[str, Any]:
    """Check that all implementations agree, then time them."""
    makers = trainers()
    for name, maker in makers.items():
        print(f"{workload.name}: checking {name}", file=sys.stderr)
        agreement.check(workload, makers[EAGER], maker)
    print(f"{workload.name}: timing", file=sys.stderr)
    times = timing.rounds(makers, workload, rounds)
    return {"name": workload.name, "title": workload.title, "results": summarised(times)}


def summarised(times: timing.Times) -> dict[str, Any]:
    """Return medians and quartiles in microseconds, and the median of the rounds' ratios of eager to each."""
    results = {}
    for name, seconds in times.items():
        low, _, high = quantiles(seconds, n=4)
        ratio = median([eager / s for eager, s in zip(times[EAGER], seconds, strict=True)])
        micro = {"us": median(seconds) * 1e6, "low_us": low * 1e6, "high_us": high * 1e6}
        results[name] = {**micro, "eager_takes": ratio}
    return results


def lines(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the table of one workload, with the targets."""
    yield measured["title"]
    yield f"  {'':24}{'µs a step':>10}{'quartiles':>22}   eager takes"
    workload = next(workload for workload in IMAGE_WORKLOADS if workload.name == measured["name"])
    for name, (title, package) in PEERS.items():
        if name not in measured["results"]:
            yield f"  {title}: skipped, {package} is not installed (pip install {package})"
            continue
        result = measured["results"][name]
        quartiles = f"{result['low_us']:.0f} – {result['high_us']:.0f}"
        line = f"  {title:24}{result['us']:10.0f}{quartiles:>22}   {result['eager_takes']:.2f} ×"
        limit = {TORCH: workload.at_most, JAX: 1.0}.get(name)
        if limit is not None:
            reached = "reached" if result["eager_takes"] <= limit else "MISSED"
            line += f"   target ≤ {limit} ×: {reached}"
        yield line


def main() -> None:
    """Print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    names = [workload.name for workload in IMAGE_WORKLOADS]
    parser.add_argument("--only", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    arguments = parser.parse_args()
    described = machine.describe()
    print(", ".join(f"{key} {value}" for key, value in described.items()), "\n")
    results = []
    for workload in IMAGE_WORKLOADS:
        if arguments.only in {None, workload.name}:
            results.append(measure(workload, QUICK_ROUNDS if arguments.quick else ROUNDS))
            print(*lines(results[-1]), "", sep="\n", flush=True)
    if arguments.json:
        text = json.dumps({"machine": described, "workloads": results}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
