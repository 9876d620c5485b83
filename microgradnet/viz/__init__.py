"""Pictures of graphs: Graphviz, Mermaid, and trees for terminals."""

from microgradnet.viz.drawing import draw
from microgradnet.viz.render import render

__all__ = ["draw", "render"]
