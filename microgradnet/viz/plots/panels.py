"""A figure of several plots side by side, to be written to a file."""

from __future__ import annotations

from typing import Any

from microgradnet.viz.plots.canvas import matplotlib_missing, tidy


def panels(
    columns: int = 1, rows: int = 1, *, size: tuple[float, float] = (4.0, 3.5)
) -> tuple[Any, list[Any]]:
    """Return a matplotlib Figure and its Axes, row by row, each of ``size`` = (width, height) in inches.

    It belongs to no window and needs no display: ``figure.savefig("name.png")`` writes it, the same bytes
    every time. Raises ModuleNotFoundError where matplotlib is not installed.

    >>> figure, (left, right) = panels(2)
    >>> figure.get_size_inches().tolist()
    [8.0, 3.5]
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise matplotlib_missing() from None
    figure = Figure(figsize=(columns * size[0], rows * size[1]), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(columns * rows)]
    for ax in axes:
        tidy(ax)
    return figure, axes
