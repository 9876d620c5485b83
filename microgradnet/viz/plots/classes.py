"""Plots of a classifier: which classes it takes for which, and where in the plane it draws its borders."""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradnet.viz.plots.canvas import COLOURS, MARKERS, array_of, asked, axes_for, name_of
from microgradnet.viz.style import BLUE, VERMILLION


def plot_confusion(targets: Any, predictions: Any, classes: Any = None, *, ax: Any = None) -> Any:
    """Plot how many examples of each class (rows) were taken for which (columns).

    ``targets`` are the true classes (N,); ``predictions`` the predicted ones (N,), or outputs (N, C), whose
    largest counts. What is right is blue, what is wrong red, the darker the larger its share of the row.
    Returns the Axes.
    """
    truth, predicted = array_of(targets), array_of(predictions)
    count = len(classes) if classes is not None else 0
    if predicted.ndim == 2:
        count = max(count, predicted.shape[1])
        predicted = predicted.argmax(1)
    if truth.ndim != 1 or predicted.shape != truth.shape or not truth.size:
        message = (
            "plot_confusion: targets (N,) and predictions (N,) or (N, C) are needed, "
            f"not {truth.shape} and {array_of(predictions).shape}"
        )
        raise ValueError(message)
    table = confusion(truth, predicted, count)
    size = len(table)
    ax = axes_for(ax, (2.0 + 0.45 * size, 1.6 + 0.45 * size))
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    right = np.eye(size, dtype=bool)
    # A wrong share of a fifth is as dark as a right share of one: mistakes are few, and what one looks for.
    strength = np.clip(np.where(right, shares, 5 * shares), 0, 1)
    ax.imshow(_tints(strength, right), interpolation="nearest")
    for i in range(size):
        for j in range(size):
            if table[i, j]:
                text = ax.text(j, i, f"{table[i, j]}", ha="center", va="center", fontsize="small")
                if strength[i, j] > 0.6:
                    text.set_color("white")
    names = [name_of(classes, i) for i in range(size)]
    ax.set_xticks(range(size), names, rotation=0 if max(map(len, names)) < 4 else 90)
    ax.set_yticks(range(size), names)
    ax.set_xlabel("taken for")
    ax.set_ylabel("is")
    wrong = int(table.sum() - np.trace(table))
    ax.set_title(f"{wrong:,} of {int(table.sum()):,} wrong", loc="left")
    return ax


def confusion(targets: Any, predictions: Any, classes: int = 0) -> Any:
    """Return how often each class (row) was taken for which (column), as integers.

    >>> confusion([0, 1, 1], [0, 1, 0]).tolist()
    [[1, 0], [1, 1]]
    """
    truth, predicted = array_of(targets), array_of(predictions)
    size = max(classes, int(truth.max()) + 1, int(predicted.max()) + 1)
    table = np.zeros((size, size), np.int64)
    np.add.at(table, (truth, predicted), 1)
    return table


def _tints(strength: Any, right: Any) -> Any:
    """Return blue where right, red where wrong, and the page's own colour through it where weak."""
    from matplotlib.colors import to_rgb

    full = np.where(right[..., None], to_rgb(BLUE), to_rgb(VERMILLION))
    return np.concatenate([full, strength[..., None]], -1)


def plot_decision_boundary(
    model: Any, x: Any, y: Any, *, classes: Any = None, resolution: int = 200, ax: Any = None
) -> Any:
    """Plot which class a model gives to every point of the plane, and the examples on it.

    The model takes (N, 2) and returns (N, C), whose largest output is the class, or (N, 1), whose sign is.
    It is asked in evaluation mode and left as it was. Examples it gets wrong are ringed. Returns the Axes.

    Parameters
    ----------
    model
        A Module.
    x, y
        Examples (N, 2) and their classes (N,), as ``datasets.load("moons")`` has them.
    classes
        Names of the classes.
    resolution
        Points along each axis.
    """
    points, truth = array_of(x), array_of(y)
    if points.ndim != 2 or points.shape[1] != 2 or truth.shape != points.shape[:1]:
        message = (
            "plot_decision_boundary: examples in the plane are needed, x (N, 2) and y (N,), "
            f"not {points.shape} and {truth.shape}"
        )
        raise ValueError(message)
    low, high = points.min(0), points.max(0)
    margin = 0.1 * (high - low) + 1e-9
    low, high = low - margin, high + margin
    across, up = (np.linspace(low[i], high[i], resolution, dtype=points.dtype) for i in (0, 1))
    grid = np.stack(np.meshgrid(across, up), -1)
    with asked(model):
        regions = _decided(model(grid.reshape(-1, 2))).reshape(resolution, resolution)
        guesses = _decided(model(points))
    ax = axes_for(ax, (6.0, 5.0))
    count = max(int(truth.max()), int(regions.max())) + 1
    edges = np.arange(count + 1) - 0.5
    fills = [COLOURS[i % len(COLOURS)] for i in range(count)]
    ax.contourf(across, up, regions, levels=edges, colors=fills, alpha=0.22)
    if count > 1:
        ax.contour(across, up, regions, levels=edges[1:-1], colors="0.4", linewidths=0.8)
    for label in range(count):
        own = truth == label
        ax.scatter(
            *points[own].T,
            s=16,
            marker=MARKERS[label % len(MARKERS)],
            color=fills[label],
            edgecolor="white",
            linewidth=0.4,
            label=name_of(classes, label),
        )
    wrong = guesses != truth
    if wrong.any():
        ax.scatter(*points[wrong].T, s=70, facecolor="none", edgecolor=VERMILLION, label="wrong")
    ax.set_xlabel("x₁")
    ax.set_ylabel("x₂")
    ax.set_title(f"{np.count_nonzero(wrong):,} of {len(truth):,} wrong", loc="left")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _decided(outputs: Any) -> Any:
    array = array_of(outputs)
    if array.ndim != 2:
        message = (
            f"plot_decision_boundary: the model returned shape {array.shape}; (N, C) or (N, 1) is needed"
        )
        raise ValueError(message)
    return array.argmax(1) if array.shape[1] > 1 else (array[:, 0] > 0).astype(np.int64)
