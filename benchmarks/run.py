"""Measure microgradnet against hand-written NumPy and its peers: python benchmarks/run.py (see README.md)."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script finds only what lies beside it

from benchmarks import report  # noqa: E402 - after the path
from benchmarks.measure import NAMES, chosen  # noqa: E402 - after the path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def measured(threads: str, options: list[str]) -> dict[str, Any]:
    """Run measure.py in a process of its own: BLAS reads the number of its threads when it is loaded."""
    environment = {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES}
    if threads == "one":
        environment |= dict.fromkeys(THREAD_VARIABLES, "1")
    command = [sys.executable, "-m", "benchmarks.measure", "--threads", threads, *options]
    process = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False
    )
    if process.returncode:
        sys.exit(process.returncode)  # it has said why
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def main() -> None:
    """Print the tables, write the JSON, and draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds: to see that it works")
    parser.add_argument("--only", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--charts", type=Path, metavar="FOLDER", help="draw charts into FOLDER (matplotlib)")
    arguments = parser.parse_args()
    if arguments.charts:
        from benchmarks import charts  # so that a missing matplotlib is noticed before all measuring
    options = ["--quick"] * arguments.quick + (["--only", arguments.only] if arguments.only else [])
    results: list[dict[str, Any]] = []
    for threads in ("one", "all"):
        if not chosen(arguments.only, threads):
            continue
        result = measured(threads, options)
        if not results:
            print(*report.machine_lines(result["machine"]), "", sep="\n")
        results.append(result)
        print(*report.lines(result), sep="\n", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if arguments.charts:
        for file in charts.draw(results, arguments.charts):
            print(f"drawn: {file}")


if __name__ == "__main__":
    main()
