"""A picture as a stage: every node has places for its value and its gradient, which are filled later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microgradnet.viz.dot import as_html, faint, table, title_html, to_digraph
from microgradnet.viz.grids import Grid, grid_of
from microgradnet.viz.values import is_small

if TYPE_CHECKING:
    from collections.abc import Callable

    import graphviz

    from microgradnet.graph import Array
    from microgradnet.viz.picture import PictureNode
    from microgradnet.viz.steps import Facts, Pass
    from microgradnet.viz.style import Colours

KEYS = {"value": "value", "gradient": "∂L"}
WIDEST, HIGHEST = 132, 84  # points, of a grid on the stage
NUMBER = (46, 14)  # points, of one number of a small array


def page_grid(array: Array, rows: int, columns: int, *, image: bool) -> Grid:
    """Return the grid of an array: all numbers of a small one."""
    if image:  # whole pixels, as many images as there is room for
        return grid_of(array, max(rows, 28), max(columns, 28), image=True)
    return grid_of(array, rows, columns)


def is_image(node: PictureNode, array: Array) -> bool:
    """Whether an array is looked at as images: data that enter, without negative numbers."""
    return node.role == "input" and array.size > 0 and bool((array >= 0).all())


def room(grid: Grid, array: Array) -> tuple[int, int]:
    """Return width and height, in points, of the place for an array."""
    if is_small(array):
        rows, columns = grid.cells.shape
        return max(1, columns) * NUMBER[0] + (20 if array.ndim == 0 else 0), max(1, rows) * NUMBER[1]
    rows, columns = grid.cells.shape
    size = min(WIDEST / max(columns, 1), HIGHEST / max(rows, 1), 10)
    return max(24, round(columns * size)), max(8, round(rows * size))


def staged(
    recorded: Pass,
    place: Callable[[int, str, tuple[int, int]], str],
    rooms: dict[tuple[int, str], tuple[int, int]],
    *,
    direction: str,
    theme: str,
) -> graphviz.Digraph:
    """Return the picture with ``place(number, kind, room)`` at every place that there is."""

    def label(node: PictureNode, colours: Colours) -> str:
        facts: Facts = recorded.facts[node.number - 1]
        rows = [f'<TR><TD COLSPAN="2">{title_html(node, colours)}</TD></TR>']
        rows += [
            f'<TR><TD COLSPAN="2">{faint(as_html(line), colours)}</TD></TR>'
            for line in [facts.settings, *box_lines(node)]
            if line
        ]
        for kind, key in KEYS.items():
            if (size := rooms.get((node.number, kind))) is not None:
                rows.append(
                    f'<TR><TD ALIGN="LEFT">{faint(key, colours)}</TD>{place(node.number, kind, size)}</TR>'
                )
        return f"<{table(''.join(rows), 1, 2)}>" if len(rows) > 1 else f"<{title_html(node, colours)}>"

    return to_digraph(recorded.picture, direction=direction, theme=theme, legend=False, label=label)


def box_lines(node: PictureNode) -> list[str]:
    """Return what a box says of its inside, and a node of what was not kept."""
    if node.role in {"module", "fold"}:
        return [" ".join(row) for line in node.lines for row in line.rows]
    return [
        " ".join(row) for line in node.lines for row in line.rows if row in {("value not kept",), ("frozen",)}
    ]
