"""Plots made of small pictures: the weights of a layer, and the examples that a model gets most wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.viz.plots.canvas import array_of, axes_for, name_of

if TYPE_CHECKING:
    from microgradnet.graph import Array


def plot_weights(source: Any, *, shape: tuple[int, int] | None = None, most: int = 64, ax: Any = None) -> Any:
    """Plot what each unit of a layer looks for: its weights as a picture, red positive, blue negative.

    Parameters
    ----------
    source
        A model (its first weight is taken), a layer, or a weight: (units, inputs) or, of a convolution,
        (out, in, height, width), one picture for each kernel.
    shape
        (height, width) of the inputs; by default they are a square.
    most
        How many pictures are shown at most, from the first on. All have one colour scale.

    Raises
    ------
    ValueError
        Where there is no weight, or the inputs are no picture of that shape.
    """
    weight = _weight(source)
    if weight.ndim == 4:
        tiles = weight.reshape(-1, *weight.shape[2:])
    else:
        inputs = weight.shape[1]
        side = math.isqrt(inputs)
        height, width = shape or (side, side)
        if height * width != inputs:
            given = f"with shape={shape}" if shape else "as a square"
            message = f"plot_weights: {inputs} inputs cannot be shown {given}; give shape=(height, width)"
            raise ValueError(message)
        tiles = weight.reshape(-1, height, width)
    count = len(tiles)
    tiles = tiles[:most]
    columns = math.ceil(math.sqrt(len(tiles)))
    ax = axes_for(ax, (6.0, 6.0))
    limit = float(np.abs(tiles).max()) or 1.0
    picture = ax.imshow(
        _mosaic(tiles, columns), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    ax.figure.colorbar(picture, ax=ax, shrink=0.6)
    shown = f"{len(tiles)} of {count}" if count > len(tiles) else str(count)
    ax.set_title(f"weights of {shown} units", loc="left")
    ax.set_axis_off()
    return ax


def _weight(source: Any) -> Array:
    """Return the first weight of a model or a layer, or the one that was given."""
    if hasattr(source, "named_parameters"):
        arrays = [p.data for _, p in source.named_parameters() if p.ndim in (2, 4)]
        if not arrays:
            message = f"plot_weights: {type(source).__name__} has no weight of two or four axes"
            raise ValueError(message)
        return arrays[0]
    array = array_of(source)
    if array.ndim not in (2, 4):
        message = f"plot_weights: a weight has two axes, or four of a convolution; got shape {array.shape}"
        raise ValueError(message)
    return array


def _mosaic(tiles: Array, columns: int, below: int = 0) -> Array:
    """Put pictures side by side, with a gap between them and room ``below`` each; gaps are NaN."""
    count, height, width = tiles.shape
    rows = math.ceil(count / columns)
    gap = max(1, width // 12)
    high, wide = height + gap + below, width + gap
    canvas = np.full((rows * high - gap, columns * wide - gap), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * high, i % columns * wide
        canvas[top : top + height, left : left + width] = tile
    return canvas


def worst_mistakes(targets: Any, probabilities: Any, most: int = 12) -> list[int]:
    """Return the positions of wrongly classified examples, the least probability of the truth first.

    >>> worst_mistakes([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    [2, 1]
    """
    truth, shares = array_of(targets), array_of(probabilities)
    if shares.ndim != 2 or truth.shape != shares.shape[:1]:
        message = (
            "mistakes: targets (N,) and probabilities (N, C) are needed, "
            f"not {truth.shape} and {shares.shape}"
        )
        raise ValueError(message)
    wrong = np.flatnonzero(shares.argmax(1) != truth)
    order = np.argsort(shares[wrong, truth[wrong]], kind="stable")
    return [int(i) for i in wrong[order][:most]]


def plot_mistakes(
    images: Any,
    targets: Any,
    probabilities: Any,
    *,
    classes: Any = None,
    shape: tuple[int, int] | None = None,
    most: int = 12,
    ax: Any = None,
) -> Any:
    """Plot the examples that a model gets most wrong, with what it took them for and what they are.

    Parameters
    ----------
    images
        (N, height, width), (N, 1, height, width), or (N, height·width) with ``shape`` or of squares; ink is
        drawn dark.
    targets
        The true classes, (N,).
    probabilities
        What the model says of each class, (N, C), such as ``F.softmax(model(x), 1)``.
    classes
        Names of the classes.
    most
        How many are shown, the least probability of the truth first.
    """
    worst = worst_mistakes(targets, probabilities, most)
    truth, shares = array_of(targets), array_of(probabilities)
    pictures = array_of(images)
    if len(pictures) != len(truth):
        message = f"plot_mistakes: {len(pictures)} images, but {len(truth)} targets; give one of each"
        raise ValueError(message)
    side = math.isqrt(pictures[0].size)
    height, width = shape or (pictures.shape[-2:] if pictures.ndim > 2 else (side, side))
    if height * width != pictures[0].size:
        message = (
            f"plot_mistakes: an example of shape {pictures.shape[1:]} is no grey picture of "
            f"{(height, width)}; give shape=(height, width)"
        )
        raise ValueError(message)
    columns = min(6, max(1, len(worst)))
    rows = math.ceil(len(worst) / columns)
    ax = axes_for(ax, (1.5 * columns + 0.3, 2.0 * rows + 0.5))
    ax.set_axis_off()
    if not worst:
        ax.text(0.5, 0.5, "no mistakes", ha="center", va="center", transform=ax.transAxes)
        return ax
    tiles = pictures[worst].reshape(-1, height, width)
    below = math.ceil(0.42 * height)
    ax.imshow(_mosaic(tiles, columns, below), cmap="Greys", interpolation="nearest")
    gap = max(1, width // 12)
    for i, example in enumerate(worst):
        top, left = i // columns * (height + gap + below), i % columns * (width + gap)
        guess, true = int(shares[example].argmax()), int(truth[example])
        text = "\n".join(
            [
                f"said {name_of(classes, guess)} ({shares[example, guess]:.0%})",
                f"is {name_of(classes, true)} ({shares[example, true]:.0%})",
            ]
        )
        ax.text(left + width / 2 - 0.5, top + height, text, ha="center", va="top", fontsize="small")
    ax.set_ylim(rows * (height + gap + below), -1)  # room for the last words
    return ax
