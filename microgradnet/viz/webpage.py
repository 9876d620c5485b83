"""player(): a pass as one HTML file that plays it, forward and backward, node by node."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.viz.picture import Wishes
from microgradnet.viz.render import need_dot, target_file
from microgradnet.viz.stage import box_lines, is_image, page_grid, room, staged
from microgradnet.viz.steps import record
from microgradnet.viz.style import (
    BLUE,
    DIRECTIONS,
    LEGEND,
    NOT_A_NUMBER,
    ORANGE,
    SKY,
    THEMES,
    VERMILLION,
    check_option,
)
from microgradnet.viz.values import is_small

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from microgradnet.graph import Array, Value
    from microgradnet.viz.grids import Grid
    from microgradnet.viz.picture import PictureNode
    from microgradnet.viz.steps import Contribution, Pass
    from microgradnet.viz.style import Colours

# Where a value and a gradient go: colours that nothing else in the SVG has.
MARKS = {"value": "#fe0001", "gradient": "#fe0002"}

# Rows and columns of the largest grid, by how many arrays there may be, so that the file stays small.
GRIDS = ((300, (48, 64)), (1500, (16, 24)), (10_000, (6, 10)))
SMALLEST = (3, 4)
EXACT = 256  # numbers of an array that are written in full


def player(
    loss: Value,
    path: str | os.PathLike[str],
    *,
    names: Mapping[str, Any] | None = None,
    depth: int | None = None,
    title: str = "Backpropagation, step by step",
    direction: str = "TB",
    limit: int = 300,
) -> Path:
    """Write one HTML file that plays the pass of a loss: forward, then backward, node by node.

    Every step shows the operation and its rule, the gradient that arrives, the local derivative, what is
    handed to each argument, and the running sum where several contributions meet, with all the numbers. The
    backward steps are those of the one sweep; no ``.grad`` is changed. The file loads nothing from anywhere,
    and ``file.html#step=5&node=3&theme=dark`` opens at a step. The same program gives the same bytes.

    An array of more than 3,072 numbers (fewer in a large graph) is shown as the means of blocks, and says so.
    Lines of the program are shown for what was computed inside ``viz.source_lines()``.

    Parameters
    ----------
    loss
        A tensor of one number that was computed from something that requires a gradient.
    path
        The file to write.
    names, depth, direction, limit
        As for ``draw``: names for tensors, levels of modules that are opened, where values flow, and the
        most nodes that are shown, beyond which modules are closed and the middle is one box.
    title
        The headline of the page.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError
        Where ``loss`` is no tensor.
    ValueError
        Where it has no history, or more than one number.
    FileNotFoundError
        Where Graphviz's ``dot`` is missing, which lays the graph out, or the folder.

    Examples
    --------
    >>> import microgradnet as mg
    >>> w = mg.Tensor(3.0, requires_grad=True, name="w")
    >>> mg.viz.player(w * w, "square.html")  # doctest: +SKIP
    PosixPath('square.html')
    """
    target = target_file(path, "player()")
    need_dot("the player")
    check_option("player", "direction", direction, DIRECTIONS)
    wishes = Wishes(show=("shape", "value"), depth=depth, names=names or {}, limit=limit)
    recorded = record(loss, wishes, "player()")
    target.write_text(page(recorded, title, direction), encoding="utf-8", newline="\n")
    return target


def page(recorded: Pass, title: str, direction: str) -> str:
    """Return the page's text."""
    arrays = _Arrays(_largest_grid(recorded))
    data = _data(recorded, arrays, title)
    svg = _svg(recorded, arrays, direction)
    script = _file("player.js")
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    parts = {
        "title": html.escape(title),
        "script-hash": f"sha256-{digest}",
        "style": _colour_rules() + _file("player.css"),
        "graph": svg,
        "data": _json(data),
        "script": script,
    }
    # One pass over the template: what is put in is not looked at again.
    return re.sub(r"{{([a-z-]+)}}", lambda match: parts[match[1]], _file("player.html"))


def _file(name: str) -> str:
    return (resources.files("microgradnet.viz") / "page" / name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# ---------------------------------------------------------------------- the data of the page


class _Arrays:
    """The arrays of the page, each written once."""

    def __init__(self, most: tuple[int, int]) -> None:
        self.most = most
        self.written: list[dict[str, Any]] = []
        self.rooms: dict[int, tuple[int, int]] = {}
        self._places: dict[str, int] = {}

    def add(self, array: Array | None, *, image: bool = False) -> int | None:
        """Return the place of an array among those of the page."""
        if array is None:
            return None
        small = is_small(array)
        grid = page_grid(array, *self.most, image=image and not small)
        facts = {
            "shape": array.shape,
            "grid": grid.cells.shape,
            "cells": _numbers(grid, array),
            "block": grid.block,
            "image": grid.image,
            "note": grid.note,
            "statistics": _statistics(array),
        }
        place = self._places.setdefault(_json(facts), len(self.written))
        if place == len(self.written):
            self.written.append(facts)
            self.rooms[place] = room(grid, array)
        return place


def _largest_grid(recorded: Pass) -> tuple[int, int]:
    count = 2 * len(recorded.facts) + 3 * sum(len(step.contributions) for step in recorded.steps)
    return next((most for limit, most in GRIDS if count <= limit), SMALLEST)


def _numbers(grid: Grid, array: Array) -> list[Any]:
    """Return the cells row by row: in full where they are few, else with five digits."""
    digits = 5 if grid.cells.size > EXACT else 17 if array.dtype.itemsize > 4 else 9
    return [_number(value, digits) for value in grid.cells.ravel().tolist()]


def _number(value: float, digits: int) -> Any:
    """Return a number for JSON, which has no word for nan and the infinities."""
    if value != value:  # noqa: PLR0124 - nan
        return "NaN"
    if abs(value) == float("inf"):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value == int(value) and abs(value) < 2**53 else float(f"{value:.{digits}g}")


def _statistics(array: Array) -> list[Any]:
    """Return least, mean and greatest number."""
    if not array.size:
        return [0, 0, 0]
    with np.errstate(all="ignore"):  # huge numbers may have an infinite mean
        found = [array.min(), np.mean(array, dtype=np.float64), array.max()]
    return [_number(float(value), 6) for value in found]


def _data(recorded: Pass, arrays: _Arrays, title: str) -> dict[str, Any]:
    nodes = [_node(node, recorded, arrays) for node in recorded.picture.nodes]
    steps = [
        {
            "phase": step.phase,
            "node": step.place,
            "gradient": arrays.add(step.gradient),
            "parts": [_part(part, arrays) for part in step.contributions],
        }
        for step in recorded.steps
    ]
    notes = [
        *recorded.picture.notes,
        *(
            ["Large arrays are shown as the means of blocks."]
            if any(a["note"] for a in arrays.written)
            else []
        ),
    ]
    present = {node.role for node in recorded.picture.nodes}
    return {
        "title": title,
        "marks": MARKS,
        "loss": next(step.place for step in recorded.steps if step.phase == "backward"),
        "legend": [[role, words] for role, words in LEGEND.items() if role in present],
        "notes": notes,
        "nodes": nodes,
        "edges": [[edge.tail, edge.head, edge.position] for edge in recorded.picture.edges],
        "steps": steps,
        "arrays": arrays.written,
    }


def _node(node: PictureNode, recorded: Pass, arrays: _Arrays) -> dict[str, Any]:
    facts = recorded.facts[node.number - 1]
    image = facts.value is not None and is_image(node, facts.value)
    return {
        "number": node.number,
        "title": node.title,
        "shape": node.shape,
        "role": node.role,
        "given": node.role in {"input", "parameter", "constant"},
        "boxed": node.role in {"module", "fold"},
        "differentiable": facts.gradient is not None,
        "operation": facts.operation,
        "formula": facts.formula,
        "settings": facts.settings,
        "arguments": [{"name": a.name, "node": a.place} for a in facts.arguments],
        "modules": facts.modules,
        "layer": facts.layer,
        "source": facts.source,
        "stores": facts.stores,
        "lines": box_lines(node),
        "value": arrays.add(facts.value, image=image),
    }


def _part(part: Contribution, arrays: _Arrays) -> dict[str, Any]:
    return {
        "node": part.place,
        "position": part.position,
        "argument": part.argument,
        "rule": part.rule,
        "derivative": part.derivative,
        "local": arrays.add(part.local),
        "handed": arrays.add(part.handed),
        "before": arrays.add(part.before),
        "total": arrays.add(part.total),
        "order": part.order,
        "count": part.count,
    }


# ---------------------------------------------------------------------- the graph and the colours of the page


def _svg(recorded: Pass, arrays: _Arrays, direction: str) -> str:
    """Return Graphviz's layout, with marked places, without what the page does not use."""
    rooms: dict[tuple[int, str], tuple[int, int]] = {}
    for node, facts in zip(recorded.picture.nodes, recorded.facts, strict=True):
        image = facts.value is not None and is_image(node, facts.value)
        for kind, array in (("value", facts.value), ("gradient", facts.gradient)):
            place = arrays.add(array, image=image and kind == "value")
            if place is not None and not (node.role == "constant" and kind == "value"):
                rooms[node.number, kind] = arrays.rooms[place]

    def marked(_number: int, kind: str, size: tuple[int, int]) -> str:
        return f'<TD FIXEDSIZE="TRUE" WIDTH="{size[0]}" HEIGHT="{size[1]}" BGCOLOR="{MARKS[kind]}"></TD>'

    graph = staged(recorded, marked, rooms, direction=direction, theme="light")
    text: str = graph.pipe(format="svg", encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\n?|<title>.*?</title>\n?", "", text, flags=re.DOTALL)
    text = re.sub(r' xlink:title="[^"]*"', "", text)
    return re.sub(r'<svg width="[^"]*" height="[^"]*"', "<svg", text, count=1).strip()


def _colour_rules() -> str:
    """Return the themes as variables, and rules that put them in the place of Graphviz's colours."""
    light, dark = [_variables(THEMES[name]) for name in ("light", "dark")]
    light |= {"forward": BLUE, "backward": VERMILLION, "surface": "#F6F7F8", "line": "#DDE0E3"}
    dark |= {"forward": SKY, "backward": ORANGE, "surface": "#1D2125", "line": "#343A40"}
    rules = [
        f":root {{ color-scheme: light; {_declared(light)} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {_declared(dark)} }} }}",
        f":root[data-theme=light] {{ color-scheme: light; {_declared(light)} }}",
        f":root[data-theme=dark] {{ color-scheme: dark; {_declared(dark)} }}",
    ]
    seen: dict[str, str] = {}
    for name, colour in _variables(THEMES["light"]).items():
        seen.setdefault(colour.lower(), name)
    for colour, name in seen.items():
        rules += [f'svg [{what}="{colour}"] {{ {what}: var(--{name}); }}' for what in ("fill", "stroke")]
    return "\n".join([*rules, "svg .graph > polygon { fill: none; }", ""])


def _variables(colours: Colours) -> dict[str, str]:
    """Return a theme's colours by the names that the page has for them."""
    low, zero, high = colours.heat
    plain = {"text": colours.text, "faint": colours.faint, "cluster": colours.cluster, "page": colours.page}
    return {
        **plain,
        **{f"{role}-border": colour for role, colour in colours.border.items()},
        **{f"{role}-fill": colour for role, colour in colours.fill.items()},
        "low": low,
        "zero": zero,
        "high": high,
        "nan": NOT_A_NUMBER,
    }


def _declared(variables: dict[str, str]) -> str:
    return " ".join([f"--{name}: {colour};" for name, colour in variables.items()])
