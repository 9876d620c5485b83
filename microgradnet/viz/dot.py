"""A picture as a graphviz.Digraph: clusters, shapes, colours, a legend."""

from __future__ import annotations

import html
import itertools
from math import isnan
from typing import TYPE_CHECKING, Any

import graphviz

from microgradnet.viz.grids import mixed, shades
from microgradnet.viz.style import LEGEND, NOT_A_NUMBER, THEMES, explanations

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.viz.grids import Grid
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

MANY = 200  # nodes, of a picture whose layout is to be quick rather than the best
COMPUTED = ("operation", "module", "fold", "output", "loss")


def to_digraph(
    picture: Picture,
    *,
    direction: str = "TB",
    theme: str = "light",
    legend: bool = True,
    label: Callable[[PictureNode, Colours], str] | None = None,
) -> graphviz.Digraph:
    """Return the picture as a Digraph; an SVG keeps the ids of nodes and edges (``n1``, ``e1``, …).

    ``label`` writes the label of a node, where it is not to show the node's lines.
    """
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
    if len(picture.nodes) > MANY:
        graph.attr(nslimit="0.2", nslimit1="0.2", mclimit="0.1")
    _nodes(graph, picture, colours, label or _label)
    for i, edge in enumerate(picture.edges, 1):
        tail, head = picture.nodes[edge.tail - 1], picture.nodes[edge.head - 1]
        _edge(graph, i, edge, head, colours, spine=tail.role in COMPUTED)
    if legend:
        _legend(graph, picture, colours, upward=direction == "LR")
    if picture.notes:  # last, so that no cluster inherits the place of the label
        graph.attr(label=f"<{'<BR/>'.join([as_html(note) for note in picture.notes])}>", labelloc="b")
    return graph


def _nodes(
    graph: graphviz.Digraph,
    picture: Picture,
    colours: Colours,
    label: Callable[[PictureNode, Colours], str],
) -> None:
    """Add the nodes in their nested clusters; a cluster has a greater number than the one around it."""
    inside: dict[int | None, graphviz.Digraph] = {None: graph}
    for cluster in picture.clusters:
        inner = inside[cluster.number] = graphviz.Digraph(f"cluster_{cluster.number}")
        inner.attr(
            label=f"<<B>{as_html(cluster.title)}</B>>",
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
            label=label(node, colours),
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
        return f"<{as_html(node.title)}>"
    rows = [f'<TR><TD COLSPAN="2">{title_html(node, colours)}</TD></TR>']
    for line in node.lines:
        if not line.key:
            text = "<BR/>".join([as_html("  ".join(row)) for row in line.rows])
            rows.append(f'<TR><TD COLSPAN="2">{faint(text, colours)}</TD></TR>')
            continue
        key = faint(as_html(line.key), colours)
        facts = _cells(line.rows)
        if line.miniature is not None:
            facts = table(f"<TR><TD>{miniature(line.miniature, colours)}</TD><TD>{facts}</TD></TR>", 0)
        rows.append(f'<TR><TD ALIGN="LEFT">{key}</TD><TD ALIGN="RIGHT">{facts}</TD></TR>')
    return f"<{table(''.join(rows), 2)}>"


def title_html(node: PictureNode, colours: Colours) -> str:
    """Return a node's name in bold, and its shape."""
    title = f"<B>{as_html(node.title)}</B>"
    return title + (f"  {faint(as_html(node.shape), colours)}" if node.shape else "")


def table(rows: str, padding: int, spacing: int = 0) -> str:
    """Return rows as a table without lines."""
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="{spacing}" CELLPADDING="{padding}">{rows}</TABLE>'


def miniature(grid: Grid, colours: Colours, room: tuple[int, int] = (56, 84)) -> str:
    """Return a grid as coloured cells, in at most ``room`` points (height, width); equal neighbours are one.

    An image goes from black to white; other numbers from the colour of negative ones over the page's, which
    is 0, to that of positive ones.
    """
    rows, columns = grid.cells.shape
    size = max(2, min(9, room[0] // max(rows, 1), room[1] // max(columns, 1)))
    low, zero, high = ("#000000", "#000000", "#FFFFFF") if grid.image else colours.heat
    lines = []
    for row in shades(grid).tolist():
        shown = [NOT_A_NUMBER if isnan(share) else mixed(share, low, zero, high) for share in row]
        cells = [
            f'<TD FIXEDSIZE="TRUE" COLSPAN="{n}" WIDTH="{n * size}" HEIGHT="{size}" BGCOLOR="{colour}"></TD>'
            for colour, run in itertools.groupby(shown)
            for n in [len(list(run))]
        ]
        lines.append(f"<TR>{''.join(cells)}</TR>")
    frame = (
        f'FIXEDSIZE="TRUE" WIDTH="{columns * size + 2}" HEIGHT="{rows * size + 2}" COLOR="{colours.cluster}"'
    )
    return (
        f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" {frame}>{"".join(lines)}</TABLE>'
    )


def as_html(text: str) -> str:
    """Return a text for an HTML-like label; a backslash means itself where a space of no width follows."""
    return html.escape(text).replace("\\", "\\&#8203;")


def faint(text: str, colours: Colours) -> str:
    """Return a text that stands back."""
    return f'<FONT COLOR="{colours.faint}" POINT-SIZE="10">{text}</FONT>'


def _cells(rows: Rows) -> str:
    """Return a row of numbers, or a small table of them, aligned."""
    if len(rows) == 1:
        return "&#160; ".join([as_html(cell) for cell in rows[0]])
    cells = [
        "<TR>" + "".join([f'<TD ALIGN="RIGHT">&#160;{as_html(cell)}</TD>' for cell in row]) + "</TR>"
        for row in rows
    ]
    return table("".join(cells), 1)


def _edge(
    graph: graphviz.Digraph, i: int, edge: PictureEdge, head: PictureNode, colours: Colours, *, spine: bool
) -> None:
    attributes = {"color": colours.highlight, "penwidth": "3"} if edge.highlighted else {}
    if spine:
        attributes["weight"] = "4"  # straight where it can be
    if edge.again:
        attributes.update(style="dashed", constraint="false")
    tip = _quoted(f"argument {edge.position} of {head.title} {edge.label}".strip())
    graph.edge(
        f"n{edge.tail}",
        f"n{edge.head}",
        label=f"<&#160;{as_html(edge.label)}>" if edge.label else None,
        id=f"e{i}",
        tooltip=tip,
        **attributes,
    )


def _legend(graph: graphviz.Digraph, picture: Picture, colours: Colours, *, upward: bool) -> None:
    """Add a sample of every role that occurs, in one row of its own behind the last node."""
    present = {node.role for node in picture.nodes}
    roles = [role for role in LEGEND if role in present]
    words = [as_html(word) for word in explanations(picture)]
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
