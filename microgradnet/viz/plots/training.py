"""Plots of a training: its curves, and the gradients and updates of the layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microgradnet.viz.plots.canvas import COLOURS, axes_for, literal, plain_logarithms, tidy
from microgradnet.viz.style import BLUE, ORANGE, VERMILLION


def plot_history(history: Any, value: str = "loss", *, ax: Any = None) -> Any:
    """Plot the loss or a metric over the epochs, in training and validation, and mark the best epoch.

    ``history`` is what ``train.fit`` returns; ``value`` is ``"loss"`` or the name of a metric of it, such as
    ``"accuracy"``, which is shown in percent. Returns the Axes, a new one without ``ax``.

    >>> from matplotlib.figure import Figure
    >>> from microgradnet.train import History, Record
    >>> history = History([Record(1, 10, 0.9), Record(2, 20, 0.4)])
    >>> ax = plot_history(history, ax=Figure().subplots())
    >>> ax.lines[0].get_ydata().tolist()
    [0.9, 0.4]
    """
    if not len(history):
        message = "plot_history: the history is empty; train for an epoch first"
        raise ValueError(message)
    training = history.column("loss") if value == "loss" else history.column("metrics", value)
    ax = axes_for(ax)
    epochs = [record.epoch for record in history]
    style = {"linewidth": 1.8, "marker": "o" if len(epochs) < 20 else "", "markersize": 4}
    ax.plot(epochs, training, color=BLUE, label="training, during the epoch", **style)
    if history[0].validation:
        validation = history.column("validation", value)
        ax.plot(epochs, validation, color=ORANGE, linestyle="--", label="validation, after it", **style)
        if (best := history.best) is not None:
            star = {"marker": "*", "markersize": 15, "markeredgecolor": "white", "linestyle": "", "zorder": 5}
            label = f"best: epoch {best.epoch}"
            ax.plot(best.epoch, best.validation[value], color=ORANGE, label=label, **star)
    ax.set_xlabel("epoch")
    ax.set_title(literal(value), loc="left")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if value == "loss":
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    elif value == "accuracy":
        ax.set_ylim(top=1.01)
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")
    tidy(ax)
    ax.legend(frameon=False)
    return ax


NORMS = {
    "gradient": "gradient norm per parameter, ‖∂L/∂w‖ / √size",
    "update": "relative update, ‖Δw‖ / ‖w‖",
}
"""What ``plot_norms`` shows, and its titles."""


def plot_norms(watch: Any, what: str = "gradient", *, ax: Any = None) -> Any:
    """Plot how large the gradients, or the updates, of every layer were over time, on a logarithmic scale.

    ``watch`` is a ``train.Watch`` that has seen some steps. ``"gradient"`` is ‖∂L/∂w‖/√size, comparable
    between layers of different sizes; ``"update"`` is ‖Δw‖/‖w‖, of which about 10⁻³ is usual and marked
    (Karpathy, CS231n notes, *Ratio of weights:updates*). Zeros are left out. Returns the Axes.
    """
    if what not in NORMS:
        message = f"plot_norms: what={what!r} is unknown; it may be {' or '.join(map(repr, NORMS))}"
        raise ValueError(message)
    if not watch.samples:
        message = "plot_norms: the watch has seen no step; give it to fit: on_batch=watch"
        raise ValueError(message)
    ax = axes_for(ax)
    times = [sample.time for sample in watch.samples]
    for i, layer in enumerate(watch.samples[0].layers):
        norms = [sample.layers[layer] for sample in watch.samples]
        values = [
            n.gradient / math.sqrt(n.size) if what == "gradient" else n.update / n.weight if n.weight else 0.0
            for n in norms
        ]
        shown = [value or math.nan for value in values]
        dash = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
        ax.plot(
            times,
            shown,
            dash,
            color=COLOURS[i % len(COLOURS)],
            label=literal(layer) or "model",
            linewidth=1.4,
        )
    if what == "update":
        ax.axhline(1e-3, color="0.5", linewidth=1, linestyle=(0, (1, 2)))
        ax.text(times[0], 1.1e-3, "usual", color="0.5", fontsize="small")
    ax.set_yscale("log")
    plain_logarithms(ax.yaxis)
    ax.set_xlabel("epoch")
    ax.set_title(NORMS[what], loc="left")
    tidy(ax)
    ax.legend(title="layer", frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def plot_gradient_flow(model: Any, *, ax: Any = None) -> Any:
    """Plot the size of the gradient that every parameter holds now: √(mean g²), on a logarithmic scale.

    Call it after ``backward()``. Parameters stand in the order of the model, from the input at the top to the
    output; one without a gradient, or with zeros only, says so. Returns the Axes.
    """
    named = list(model.named_parameters())
    if not any(parameter.grad is not None for _, parameter in named):
        message = "plot_gradient_flow: no parameter has a gradient; call loss.backward() first"
        raise ValueError(message)
    sizes = [0.0 if p.grad is None else float(np.sqrt(np.mean(np.square(p.grad)))) for _, p in named]
    ax = axes_for(ax, (6.0, 1.2 + 0.3 * len(named)))
    rows = range(len(named))
    ax.barh(rows, [size or math.nan for size in sizes], height=0.65, color=BLUE)
    ax.set_xscale("log")
    plain_logarithms(ax.xaxis)
    if positive := [size for size in sizes if size]:
        ax.set_xlim(min(positive) / 10, max(positive) * 3)
    left = ax.get_xlim()[0]
    for row, (size, (_, parameter)) in enumerate(zip(sizes, named, strict=True)):
        if not size:
            text = "no gradient" if parameter.grad is None else "all zeros"
            ax.text(left, row, f" {text}", va="center", color=VERMILLION, fontsize="small")
    ax.set_yticks(rows, [literal(name) for name, _ in named])
    ax.invert_yaxis()
    ax.set_xlabel("√(mean g²)")
    ax.set_title("gradients, from input to output", loc="left")
    tidy(ax)
    return ax
