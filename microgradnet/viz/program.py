"""The picture of a compiled program: its calls, in the order in which they run, and their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.viz.picture import Picture, PictureEdge, PictureNode
from microgradnet.viz.values import Line, shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence


def program_picture(nodes: Sequence[Any], edges: Sequence[Any]) -> Picture:
    """Return the picture of nodes (role, title, shape, memory) and edges (tail, head, position)."""
    drawn = [
        PictureNode(
            number,
            node.role,
            node.title,
            shape_text(node.shape),
            (Line("memory", ((node.memory,),)),) if node.memory else (),
            None,
        )
        for number, node in enumerate(nodes, 1)
    ]
    lines = [
        PictureEdge(edge.tail + 1, edge.head + 1, edge.position, shape_text(nodes[edge.tail].shape))
        for edge in edges
    ]
    return Picture(tuple(drawn), tuple(lines), (), ())
