"""A picture as a graphviz.Digraph: clusters, shapes, colours, a legend."""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING, Any

import graphviz

from microgradnet.viz.style import LEGEND, THEMES, explanations

if TYPE_CHECKING:
    from microgradnet.viz.picture import Picture, PictureEdge, PictureNode
    from microgradnet.viz.style import Colours
    from microgradnet.viz.values import Rows

FONT = "Helvetica,Arial,sans-serif"

# Shape and border tell the roles apart without colour.
SHAPES: dict[str, dict[str, str]] = {
    "input": {"shape": "note", "style": "filled"},
    "parameter": {"shape": "box", "style": "filled", "peripheries": "2"},
    "constant": {"shape": "ellipse", "style": "filled,dashed", "margin": "0.02,0.01", "height": "0.2"},
    "operation": {"shape": "box", "style": "rounded,filled"},
    "module": {"shape": "folder", "style": "filled"},
    "fold": {"shape": "box", "style": "filled,dashed"},
    "output": {"shape": "box", "style": "rounded,filled", "penwidth": "3"},
    "loss": {"shape": "box", "style": "rounded,filled", "penwidth": "3"},
}

COMPUTED = ("operation", "module", "fold", "output", "loss")


def to_digraph(
    picture: Picture, *, direction: str = "TB", theme: str = "light", legend: bool = True
) -> graphviz.Digraph:
    """Return the picture as a Digraph; nodes and edges have ids (``n1``, ``e1``, …) that an SVG keeps."""
    colours = THEMES[theme]
    graph = graphviz.Digraph("graph")
    graph.attr(
        rankdir=direction,
        bgcolor=colours.page,
        fontname=FONT,
        fontsize="11",
        fontcolor=colours.text,
        nodesep="0.25",
        ranksep="0.4",
        pad="0.2",
        tooltip=" ",
    )
    graph.attr("node", fontname=FONT, fontsize="11", fontcolor=colours.text, margin="0.08,0.05")
    graph.attr(
        "edge", fontname=FONT, fontsize="9", fontcolor=colours.faint, color=colours.edge, arrowsize="0.7"
    )
    if picture.notes:
        graph.attr(label=f"<{'<BR/>'.join([_html(note) for note in picture.notes])}>", labelloc="b")
    _nodes(graph, picture, colours)
    for i, edge in enumerate(picture.edges, 1):
        tail, head = picture.nodes[edge.tail - 1], picture.nodes[edge.head - 1]
        _edge(graph, i, edge, head, colours, spine=tail.role in COMPUTED)
    if legend:
        _legend(graph, picture, colours, upward=direction == "LR")
    return graph


def _nodes(graph: graphviz.Digraph, picture: Picture, colours: Colours) -> None:
    """Add the nodes in their nested clusters; a cluster has a greater number than the one around it."""
    inside: dict[int | None, graphviz.Digraph] = {None: graph}
    for cluster in picture.clusters:
        inner = inside[cluster.number] = graphviz.Digraph(f"cluster_{cluster.number}")
        inner.attr(
            label=f"<<B>{_html(cluster.title)}</B>>",
            labeljust="l",
            style="rounded",
            color=colours.cluster,
            fontcolor=colours.faint,
            margin="10",
            tooltip=_quoted(cluster.title),
        )
    for node in picture.nodes:
        attributes = dict(SHAPES[node.role])
        if node.highlighted:
            attributes["penwidth"] = "4"
        inside[node.cluster].node(
            f"n{node.number}",
            label=_label(node, colours),
            id=f"n{node.number}",
            color=colours.highlight if node.highlighted else colours.border[node.role],
            fillcolor=colours.fill[node.role],
            tooltip=_quoted(f"{node.title} {node.shape}".strip()),
            **attributes,
        )
    for cluster in reversed(picture.clusters):
        inside[cluster.parent].subgraph(inside[cluster.number])


def _label(node: PictureNode, colours: Colours) -> str:
    """Return a node's HTML-like label: the title with the shape, then one row per fact."""
    if not (node.shape or node.lines):
        return f"<{_html(node.title)}>"
    title = f"<B>{_html(node.title)}</B>"
    if node.shape:
        title += f"  {_faint(_html(node.shape), colours)}"
    rows = [f'<TR><TD COLSPAN="2">{title}</TD></TR>']
    for line in node.lines:
        if not line.key:
            text = "<BR/>".join([_html("  ".join(row)) for row in line.rows])
            rows.append(f'<TR><TD COLSPAN="2">{_faint(text, colours)}</TD></TR>')
            continue
        key = _faint(_html(line.key), colours)
        rows.append(f'<TR><TD ALIGN="LEFT">{key}</TD><TD ALIGN="RIGHT">{_cells(line.rows)}</TD></TR>')
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{"".join(rows)}</TABLE>>'


def _html(text: str) -> str:
    """Return a text for an HTML-like label; a backslash means itself where a space of no width follows."""
    return html.escape(text).replace("\\", "\\&#8203;")


def _faint(text: str, colours: Colours) -> str:
    return f'<FONT COLOR="{colours.faint}" POINT-SIZE="10">{text}</FONT>'


def _cells(rows: Rows) -> str:
    """Return a row of numbers, or a small table of them, aligned."""
    if len(rows) == 1:
        return "&#160; ".join([_html(cell) for cell in rows[0]])
    cells = "".join(
        [
            "<TR>" + "".join([f'<TD ALIGN="RIGHT">&#160;{_html(cell)}</TD>' for cell in row]) + "</TR>"
            for row in rows
        ]
    )
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}</TABLE>'


def _edge(
    graph: graphviz.Digraph, i: int, edge: PictureEdge, head: PictureNode, colours: Colours, *, spine: bool
) -> None:
    attributes = {"color": colours.highlight, "penwidth": "3"} if edge.highlighted else {}
    if spine:
        attributes["weight"] = "4"  # straight where it can be
    tip = _quoted(f"argument {edge.position} of {head.title} {edge.label}".strip())
    graph.edge(
        f"n{edge.tail}",
        f"n{edge.head}",
        label=f"<&#160;{_html(edge.label)}>" if edge.label else None,
        id=f"e{i}",
        tooltip=tip,
        **attributes,
    )


def _legend(graph: graphviz.Digraph, picture: Picture, colours: Colours, *, upward: bool) -> None:
    """Add a sample of every role that occurs, in one row of its own behind the last node."""
    present = {node.role for node in picture.nodes}
    roles = [role for role in LEGEND if role in present]
    words = [_html(word) for word in explanations(picture)]
    legend = graphviz.Digraph("cluster_legend")
    legend.attr(style="dotted", color=colours.cluster, fontcolor=colours.faint, fontsize="10", margin="8")
    legend.attr(label=f"<{'<BR/>'.join(words)}>" if words else "", labelloc="b")
    row = graphviz.Digraph()
    row.attr(rank="same")
    for role in roles:
        row.node(
            f"legend_{role}",
            label=LEGEND[role],
            color=colours.border[role],
            fillcolor=colours.fill[role],
            fontsize="10",
            tooltip=LEGEND[role],
            **{**SHAPES[role], "margin": "0.08,0.03", "height": "0.3"},
        )
    for first, second in itertools.pairwise(roles):
        left, right = (second, first) if upward else (first, second)  # dot sets a column from the bottom
        row.edge(f"legend_{left}", f"legend_{right}", style="invis")
    legend.subgraph(row)
    graph.subgraph(legend)
    graph.edge(f"n{len(picture.nodes)}", f"legend_{roles[len(roles) // 2]}", style="invis")


def _quoted(text: str) -> Any:
    """Return a text for a quoted attribute, in which backslashes and brackets mean themselves."""
    return graphviz.escape(text)  # a str of a class that is never taken for HTML
