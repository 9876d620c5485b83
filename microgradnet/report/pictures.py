"""Plots and graphs as SVG inside a page: in its colours, with identifiers of their own."""

from __future__ import annotations

import io
import re
import shutil
from typing import TYPE_CHECKING, Any

from microgradnet.viz import draw
from microgradnet.viz.plots.canvas import matplotlib_missing
from microgradnet.viz.render import install_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.tensor import Tensor

_INK = "#010203"
"""Drawn where the page's own text colour is to stand; no plot has this colour by itself."""
_LEAST = 0.7
"""A graph is made narrower to fit the page down to this share of its size; beyond, it is scrolled."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # texts stay texts: small, sharp, and can be searched
    "font.size": 10,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
}


def plot_svg(draw_on: Callable[[Any], object], name: str, size: tuple[float, float] = (6.0, 4.0)) -> str:
    """Return what ``draw_on(ax)`` draws, as SVG in the page's colours; the same plot gives the same bytes.

    A ModuleNotFoundError that says what to install, without matplotlib.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise matplotlib_missing() from None
    file = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw_on(figure.subplots())
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return inline(file.getvalue().replace(_INK, "currentColor"), name)


def graph_svg(loss: Tensor, name: str) -> str:
    """Return the graph of a loss, once for a light page and once for a dark one.

    A FileNotFoundError that says what to install, without Graphviz's ``dot``.
    """
    if shutil.which("dot") is None:
        raise FileNotFoundError(f"as a picture it needs Graphviz's dot: {install_command()}")
    both = []
    for theme in ("light", "dark"):
        svg = inline(draw(loss, theme=theme).pipe(format="svg", encoding="utf-8"), f"{name}-{theme}")
        width = re.search(r'width="(\d+)pt"', svg)
        least = f' style="max-width: max(100%, {_LEAST * int(width[1]):.0f}pt)"' if width else ""
        both.append(f'<div class="for-{theme}">{svg.replace("<svg", f"<svg{least}", 1)}</div>')
    return "".join(both)


def inline(svg: str, name: str) -> str:
    """Return an SVG document as an element of a page, its identifiers preceded by ``name``.

    >>> inline('<?xml version="1.0"?><svg><g id="a"/><use href="#a" clip-path="url(#a)"/></svg>', "p")
    '<svg><g id="p-a"/><use href="#p-a" clip-path="url(#p-a)"/></svg>'
    """
    element = svg[svg.index("<svg") :].strip()
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'href="#', f'href="#{name}-', element)
    return element.replace("url(#", f"url(#{name}-")
