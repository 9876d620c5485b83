"""The charts: times of a step as bars, and how cost grows as lines; also of a file that --json has written.

python benchmarks/charts.py results.json FOLDER
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script finds only what lies beside it

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter
except ModuleNotFoundError:
    sys.exit("charts are drawn by matplotlib, which is not installed (pip install 'microgradnet[plots]')")

from benchmarks import floor  # noqa: E402 - after the path
from benchmarks.report import AXES, THREADS, TITLES  # noqa: E402 - after the path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

OURS, OTHERS, LOWEST = "#0072B2", "#A6A6A6", "#E69F00"
"""Of Okabe and Ito's palette, which colour-blind people tell apart, and a grey."""
LINES = (OURS, LOWEST, "#009E73", "#CC79A7", "#000000")
MARKS = "osD^v"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
}


def draw(results: list[dict[str, Any]], folder: Path) -> Iterator[Path]:
    """Draw what was measured as PNG files into a folder; yield their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for result in results:
            dense = [each for each in result["workloads"] if floor.FLOOR in each["results"]]
            images = [each for each in result["workloads"] if each not in dense]
            for name, columns, measured in (("steps", 3, dense), ("images", 2, images)):
                if measured:
                    figure = bars(measured, columns, THREADS[result["threads"]])
                    yield _saved(figure, folder / f"{name}-{result['threads']}.png")
            if "scaling" in result:
                yield _saved(growth(result), folder / "scaling.png")


def _saved(figure: Figure, file: Path) -> Path:
    figure.savefig(file, dpi=150)
    return file


def bars(measured: list[dict[str, Any]], columns: int, threads: str) -> Figure:
    """Draw a panel of bars for each workload, the fastest on top."""
    columns = min(columns, len(measured))
    rows = -(-len(measured) // columns)
    most = max(len(each["results"]) for each in measured)
    figure = Figure(figsize=(5.4 * columns, (0.27 * most + 1.1) * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, each in zip(panels, measured, strict=False):
        _bars(panel, each)
    for panel in panels[len(measured) :]:
        panel.set_axis_off()
    figure.suptitle(f"Time of a training step, {threads}")
    return figure


def _bars(panel: Axes, measured: dict[str, Any]) -> None:
    """Draw medians, and lines between the quartiles, on a logarithmic axis of whole decades."""
    ordered = sorted(measured["results"].items(), key=lambda item: -item[1]["us"])
    times = [result["us"] for _, result in ordered]
    ends = [result["high_us"] for _, result in ordered]
    panel.barh(
        [TITLES[name] for name, _ in ordered],
        times,
        color=[_colour(name) for name, _ in ordered],
        xerr=[
            [result["us"] - result["low_us"] for _, result in ordered],
            [result["high_us"] - result["us"] for _, result in ordered],
        ],
        error_kw={"elinewidth": 1, "ecolor": "#404040"},
    )
    panel.set_xscale("log")
    panel.set_xlim(
        10 ** math.floor(math.log10(min(times) / 1.1)), 10 ** math.ceil(math.log10(max(ends) * 1.5))
    )
    for i, (time, end) in enumerate(zip(times, ends, strict=True)):
        panel.text(end * 1.08, i, _microseconds(time), va="center", fontsize=9)
    name, _, text = measured["title"].partition(": ")
    parts = [part for part in text.split(", ") if part not in {"sigmoid", "relu"} and " loss" not in part]
    panel.set_title(f"{name}: {', '.join(parts)}", fontsize=9, loc="right")
    panel.set_xlabel("µs a step")


def _colour(name: str) -> str:
    if name == floor.FLOOR:
        return LOWEST
    return OURS if name.startswith("microgradnet") else OTHERS


def _microseconds(time: float) -> str:
    return f"{time:,.0f}" if time >= 100 else f"{time:.1f}"


def growth(result: dict[str, Any]) -> Figure:
    """Draw depth, width and batch side by side, with the exponents that were fitted."""
    figure = Figure(figsize=(13.5, 5.8), layout="constrained")
    for panel, (axis, title) in zip(figure.subplots(1, len(AXES)), AXES.items(), strict=True):
        found = result["scaling"][axis]
        for i, (name, seconds) in enumerate(found["seconds"].items()):
            label = f"{TITLES.get(name, name)}: ~ n^{found['exponents'][name]:.2f}"
            times = [value * 1e6 for value in seconds]
            panel.plot(found["sizes"], times, color=LINES[i], marker=MARKS[i], markersize=5, label=label)
        panel.set(xscale="log", yscale="log", xlabel="n", ylabel="µs", title=f"{axis.capitalize()}: {title}")
        panel.grid(color="#E0E0E0", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.yaxis.set_minor_formatter(NullFormatter())  # only powers of ten
        panel.xaxis.set_minor_formatter(NullFormatter())
        fitted = f"exponents fitted from n = {found['fitted_from']:,} on"
        panel.legend(title=fitted, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    figure.suptitle(f"How the cost grows ({THREADS[result['threads']]}, float32)")
    return figure


def main() -> None:
    """Draw the charts of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="what run.py --json has written")
    parser.add_argument("folder", type=Path, help="where the charts go")
    arguments = parser.parse_args()
    for file in draw(json.loads(arguments.file.read_text(encoding="utf-8")), arguments.folder):
        print(f"drawn: {file}")


if __name__ == "__main__":
    main()
