"""What the plots share: an Axes to draw on, its look, and a model that is asked without being changed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import Value, no_grad
from microgradnet.viz.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microgradnet.graph import Array

COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, "#7F7F7F")
"""Of lines and classes, in order: Okabe and Ito's, which all eyes tell apart."""
MARKERS = "osD^vP*X<>"
"""Of classes beside their colours, for black-and-white print."""


def axes_for(ax: Any, size: tuple[float, float] = (6.0, 4.0)) -> Any:
    """Return the given Axes, or one of a new figure of pyplot's, which notebooks show."""
    if ax is not None:
        if not hasattr(ax, "imshow"):
            message = (
                f"ax: a matplotlib Axes is needed, not a {type(ax).__name__}; take one of plt.subplots()"
            )
            raise TypeError(message)
        return ax
    try:
        from matplotlib import pyplot as plt
    except ModuleNotFoundError:
        raise matplotlib_missing() from None
    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def matplotlib_missing() -> ModuleNotFoundError:
    """Return the error that says what to install."""
    return ModuleNotFoundError("plots need matplotlib: pip install 'microgradnet[plots]'")


def tidy(ax: Any) -> None:
    """Leave of an Axes what is read: no box, a faint grid behind the lines."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.5", alpha=0.2)
    ax.set_axisbelow(True)


def plain_logarithms(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers: matplotlib's typeset powers take most of a plot's time."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.0, 0.4)))


def array_of(value: Any) -> Array:
    """Return the array of a tensor or of anything that NumPy takes for one."""
    return value._array if isinstance(value, Value) else np.asarray(value)


@contextlib.contextmanager
def asked(model: Any) -> Iterator[None]:
    """Have a model in evaluation mode without recording, and every module as it was afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in before:
            module.training = training


def name_of(classes: Any, label: int) -> str:
    """Return the name of a class: its number, where no names were given."""
    return str(label) if classes is None else literal(str(classes[label]))


def literal(text: str) -> str:
    """Return a text that matplotlib shows as it is: between two dollars it would read mathematics."""
    return text.replace("$", r"\$")
