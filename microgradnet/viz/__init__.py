"""Pictures of graphs: Graphviz, Mermaid, trees for terminals; and a page that plays the backward pass."""

from microgradnet.viz.drawing import draw
from microgradnet.viz.film import frames
from microgradnet.viz.model_summary import summary
from microgradnet.viz.plots import (
    plot_confusion,
    plot_decision_boundary,
    plot_gradient_flow,
    plot_history,
    plot_loss_landscape,
    plot_mistakes,
    plot_norms,
    plot_weights,
)
from microgradnet.viz.render import render
from microgradnet.viz.source import source_lines
from microgradnet.viz.webpage import player

__all__ = [
    "draw",
    "frames",
    "player",
    "plot_confusion",
    "plot_decision_boundary",
    "plot_gradient_flow",
    "plot_history",
    "plot_loss_landscape",
    "plot_mistakes",
    "plot_norms",
    "plot_weights",
    "render",
    "source_lines",
    "summary",
]
