"""A plot of the loss around the weights of a model, on a plane through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import assign
from microgradnet.viz.plots.canvas import array_of, asked, axes_for
from microgradnet.viz.style import VERMILLION

if TYPE_CHECKING:
    from microgradnet.graph import Array


def plot_loss_landscape(
    model: Any,
    loss_fn: Any,
    x: Any,
    y: Any,
    *,
    span: float = 1.0,
    resolution: int = 21,
    rng: Any = 0,
    ax: Any = None,
) -> Any:
    """Plot L(w + α·d₁ + β·d₂), contours for α, β from −span to span around the model.

    The directions are random, and each unit's part of them is as long as the unit's weights, so that pictures
    of different networks can be compared; biases stay as they are. It takes resolution² forward passes of
    ``x``. The model is asked in evaluation mode, and its parameters are put back, to the bit.

    Source: Li et al., *Visualizing the Loss Landscape of Neural Nets*, 2018, section 4 (on filters).

    Parameters
    ----------
    model, loss_fn
        A Module, and a loss of its output and ``y``.
    x, y
        A batch; a few hundred examples show the shape.
    span
        1 moves every weight by as much as it is long.
    resolution
        Points along each axis; an odd number has the model's own loss among them.
    rng
        A seed or generator for the directions; the same seed gives the same picture.
    """
    if resolution < 2 or not span > 0:
        message = (
            "plot_loss_landscape: resolution must be at least 2 and span above 0, "
            f"not {resolution} and {span}"
        )
        raise ValueError(message)
    draws = rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
    weights = [p for _, p in model.named_parameters() if p.ndim > 1]
    if not weights:
        message = f"plot_loss_landscape: {type(model).__name__} has no weight to move"
        raise ValueError(message)
    centre = [p.data.copy() for p in weights]
    first = [_direction(array, draws) for array in centre]
    second = [_direction(array, draws) for array in centre]
    along = np.linspace(-span, span, resolution)
    losses = np.empty((resolution, resolution))
    try:
        with asked(model):
            for i, beta in enumerate(along):
                for j, alpha in enumerate(along):
                    for p, w, d, e in zip(weights, centre, first, second, strict=True):
                        assign(p, w + alpha * d + beta * e)
                    losses[i, j] = array_of(loss_fn(model(x), y)).item()
    finally:
        for p, w in zip(weights, centre, strict=True):
            assign(p, w)
    ax = axes_for(ax, (6.0, 5.0))
    least, greatest = float(losses.min()), float(losses.max())
    if least > 0 and greatest > 20 * least:  # far more than a linear scale shows
        levels = np.geomspace(least, greatest, 16)
    else:
        levels = np.linspace(least, max(greatest, least + 1e-12), 16)
    filled = ax.contourf(along, along, losses, levels=levels, cmap="viridis_r")
    ax.contour(along, along, losses, levels=levels, colors="white", linewidths=0.4)
    ax.plot(0, 0, "*", color=VERMILLION, markersize=14, markeredgecolor="white", label="the model")
    ax.figure.colorbar(filled, ax=ax, label="loss", format="%.3g")
    ax.set_xlabel("α: along one random direction")
    ax.set_ylabel("β: along another")
    ax.set_title("the loss around the model", loc="left")
    ax.legend(loc="upper right")
    return ax


def _direction(weights: Array, rng: np.random.Generator) -> Array:
    """Return a random direction, each unit's part of it as long as the unit's weights."""
    direction = np.asarray(rng.standard_normal(weights.shape))
    axes = tuple(range(1, weights.ndim))
    lengths = np.sqrt((weights.astype(np.float64) ** 2).sum(axes, keepdims=True))
    scale = lengths / np.sqrt((direction**2).sum(axes, keepdims=True))
    return (direction * scale).astype(weights.dtype)
