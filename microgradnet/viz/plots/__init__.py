"""Plots of a training and of what was trained, with matplotlib; each draws on one Axes and returns it."""

from microgradnet.viz.plots.classes import plot_confusion, plot_decision_boundary
from microgradnet.viz.plots.images import plot_mistakes, plot_weights, worst_mistakes
from microgradnet.viz.plots.landscape import plot_loss_landscape
from microgradnet.viz.plots.panels import panels
from microgradnet.viz.plots.training import plot_gradient_flow, plot_history, plot_norms

__all__ = [
    "panels",
    "plot_confusion",
    "plot_decision_boundary",
    "plot_gradient_flow",
    "plot_history",
    "plot_loss_landscape",
    "plot_mistakes",
    "plot_norms",
    "plot_weights",
    "worst_mistakes",
]
