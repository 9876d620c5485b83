"""A picture as Mermaid text, which Markdown viewers draw."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from microgradnet.viz.style import LEGEND, THEMES

if TYPE_CHECKING:
    from microgradnet.viz.picture import Picture, PictureNode

# The brackets of each role's shape.
BRACKETS = {
    "input": ("[/", "/]"),
    "parameter": ("[[", "]]"),
    "constant": ("([", "])"),
    "operation": ("(", ")"),
    "module": ("[", "]"),
    "fold": ("[", "]"),
    "output": ("{{", "}}"),
    "loss": ("{{", "}}"),
}


def to_mermaid(picture: Picture, *, direction: str = "TB", theme: str = "light", legend: bool = True) -> str:
    """Return a flowchart; put it between ```` ```mermaid ```` and ```` ``` ```` in Markdown."""
    colours = THEMES[theme]
    inside: dict[int | None, list[str]] = {None: []}
    for cluster in picture.clusters:
        inside[cluster.number] = [f'subgraph m{cluster.number}["{_escaped(cluster.title)}"]']
    for node in picture.nodes:
        inside[node.cluster].append(f"n{node.number}{_shaped(node.role, _label(node))}")
    for cluster in reversed(picture.clusters):  # a cluster's number is greater than that of the one around it
        lines = inside[cluster.number]
        block = [lines[0], *["  " + line for line in lines[1:]], "end"]
        around = inside[cluster.parent]
        start = 0 if cluster.parent is None else 1  # before the later ones, behind the headline
        around[start:start] = block
    lines = inside[None]
    thick = []
    for i, edge in enumerate(picture.edges):
        label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
        lines.append(f"n{edge.tail} -->{label} n{edge.head}")
        if edge.highlighted:
            thick.append(str(i))
    present = {node.role for node in picture.nodes}
    roles = [role for role in LEGEND if role in present]
    if legend:
        lines.append('subgraph legend["Legend"]')
        lines.extend([f"  legend_{role}{_shaped(role, LEGEND[role])}" for role in roles])
        lines.append("end")
    for role in roles:
        width = ",stroke-width:3px" if role in {"output", "loss"} else ""
        dashes = ",stroke-dasharray:4" if role in {"constant", "fold"} else ""
        lines.append(
            f"classDef {role} fill:{colours.fill[role]},stroke:{colours.border[role]},"
            f"color:{colours.text}{width}{dashes}"
        )
        members = [f"n{node.number}" for node in picture.nodes if node.role == role]
        members += [f"legend_{role}"] if legend else []
        lines.append(f"class {','.join(members)} {role}")
    emphasis = f"stroke:{colours.highlight},stroke-width:4px"
    if thick:
        lines.append(f"linkStyle {','.join(thick)} {emphasis}")
    lines.extend([f"style n{node.number} {emphasis}" for node in picture.nodes if node.highlighted])
    lines.extend([f"%% {note}" for note in picture.notes])
    return "\n".join([f"flowchart {direction}", *["  " + line for line in lines]])


def _shaped(role: str, label: str) -> str:
    left, right = BRACKETS[role]
    return f'{left}"{label}"{right}'


def _label(node: PictureNode) -> str:
    """Return the title with the shape, then one line per fact."""
    lines = [_escaped(f"{node.title} {node.shape}".strip())]
    for line in node.lines:
        text = "<br/>".join([_escaped("  ".join(row)) for row in line.rows])
        lines.append(f"{line.key}: {text}" if line.key else text)
    return "<br/>".join(lines)


def _escaped(text: str) -> str:
    """Write every character that could mean something to Mermaid or HTML by its number."""
    return re.sub(r"[^\w\s.,:()=+/·…∂-]", lambda match: f"#{ord(match.group())};", text)
