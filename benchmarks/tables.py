"""The tables of docs/performance.md, of what run.py has written: python benchmarks/tables.py results.json."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script finds only what lies beside it

from benchmarks.floor import FLOOR  # noqa: E402 - after the path
from benchmarks.implementations import (  # noqa: E402 - after the path
    AUTOGRAD,
    BY_HAND,
    COMPILED,
    EAGER,
    FAST,
    JAX,
    MYGRAD,
    PER_EXAMPLE,
    TEXTBOOK,
    TORCH,
    TORCH_COMPILE,
)
from benchmarks.report import THREADS, TITLES  # noqa: E402 - after the path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OURS = (EAGER.name, COMPILED.name, FAST.name)
PEERS = (TORCH.name, TORCH_COMPILE.name, JAX.name, AUTOGRAD.name, MYGRAD.name, PER_EXAMPLE.name)
COLUMNS = (FLOOR, BY_HAND.name, TEXTBOOK.name, *OURS, *PEERS)
HEADS = {
    FLOOR: "products alone",
    BY_HAND.name: "NumPy by hand",
    TEXTBOOK.name: "NumPy, textbook",
    EAGER.name: "eager",
    COMPILED.name: "compiled",
    FAST.name: "compiled [fast]",
    TORCH.name: "PyTorch",
    TORCH_COMPILE.name: "`torch.compile`",
    JAX.name: "JAX `jit`",
    AUTOGRAD.name: "HIPS autograd",
    MYGRAD.name: "MyGrad",
    PER_EXAMPLE.name: "per example",
}


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield a table."""
    heads = list(heads)
    for row in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(row)} |"


def number(value: float) -> str:
    """Write a time in microseconds with three digits or more."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def steps(result: Mapping[str, Any], *, images: bool) -> Iterator[str]:
    """Yield the times of the steps; on dense networks ours with the ratio to NumPy by hand."""
    chosen = [w for w in result["workloads"] if (w["reference"] == EAGER.name) is images]
    columns = [name for name in COLUMNS if any(name in w["results"] for w in chosen)]
    rows = []
    for measured in chosen:
        found = measured["results"]
        quickest = min([found[name]["us"] for name in found if name != FLOOR])
        row = [measured["name"]]
        for name in columns:
            text = number(found[name]["us"]) if name in found else ""
            text = f"**{text}**" if name in found and found[name]["us"] == quickest else text
            if name in OURS and not images:
                text += f" ({found[name]['over'][BY_HAND.name]:.2f} ×)"
            row.append(text)
        rows.append(row)
    yield from markdown(["µs a step", *[HEADS[name] for name in columns]], rows)


def aims(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield every target with what was found, per setting of the threads; bold where it is missed."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    threads = []
    for result in results:
        threads.append(result["threads"])
        for measured in result["workloads"]:
            for target in measured["targets"]:
                names = [HEADS.get(target[key], target[key]) for key in ("name", "over")]
                kind = "hoped ≤" if target["hoped"] else "≤"
                key = measured["name"], " / ".join(names), f"{kind} {target['at_most']:.3g}"
                text = f"{target['found']:.3f}"
                found.setdefault(key, {})[result["threads"]] = text if target["reached"] else f"**{text}**"
    rows = [[*key, *[texts.get(t, "") for t in threads]] for key, texts in found.items()]
    yield from markdown(["workload", "ratio", "aim", *[THREADS[t] for t in threads]], rows)


def building(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the times to compile, and the memory."""
    heads = ["", "ready after, ms", "[fast], first time", "[fast], kept on disk", "eager, kB", "compiled, kB"]
    cells = []
    for row in rows:
        build, peak = row["build_seconds"], row["peak_bytes"]
        names = [COMPILED.name, f"{FAST.name}, cold cache", FAST.name]
        times = [f"{build[name] * 1e3:,.0f}" if name in build else "" for name in names]
        bytes_ = [f"{peak[name] / 1e3:,.0f}" for name in (EAGER.name, COMPILED.name)]
        cells.append([row["name"], *times, *bytes_])
    yield from markdown(heads, cells)


def training(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how quickly MNIST is learned."""
    rows = []
    for result in results:
        for name, run in result.get("training", {}).get("runs", {}).items():
            goals = [f"{seconds:.1f}" if seconds else "not reached" for seconds in run["seconds_to"].values()]
            accuracy = f"{run['accuracies'][-1]:.2%} after {len(run['accuracies'])} epochs"
            speed = f"{run['epochs_per_second']:.2f}"
            rows.append([THREADS[result["threads"]], TITLES[name], speed, *goals, accuracy])
    yield from markdown(["", "", "epochs a second", "s to 97 %", "s to 98 %", "test images"], rows)


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, metavar="FILE", help="what run.py --json has written")
    results = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    for images in (False, True):
        for result in results:
            print(f"**{THREADS[result['threads']]}**\n")
            print(*steps(result, images=images), "", sep="\n")
    print(*building(results[0]["building"]), "", sep="\n")
    print(*training(results), "", sep="\n")
    print(*aims(results), sep="\n")


if __name__ == "__main__":
    main()
