"""A picture as a tree for terminals: the result at the top, what it was computed from below."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microgradnet.viz.picture import Picture, PictureNode
    from microgradnet.viz.values import Line

DEEPEST = 24  # levels of indentation; what lies deeper continues in a tree of its own below


def to_text(picture: Picture) -> str:
    """Return the trees of all results; what is written elsewhere is only pointed at (↑ above, ↓ below)."""
    arguments: dict[int, list[int]] = {node.number: [] for node in picture.nodes}
    for edge in picture.edges:
        arguments[edge.head].append(edge.tail)
    used = {edge.tail for edge in picture.edges}
    titles = {cluster.number: cluster.title for cluster in picture.clusters}
    written: set[int] = set()
    lines: list[str] = []
    waiting = [node.number for node in picture.nodes[::-1] if node.number not in used]
    waiting.extend([node.number for node in picture.nodes[::-1]])  # so that nothing is left out
    place = 0
    while place < len(waiting):
        start = waiting[place]
        place += 1
        if start in written:
            continue
        stack: list[tuple[int, str, str, int]] = [(start, "", "", 0)]  # number, own lead, lead below, level
        while stack:
            number, lead, below, level = stack.pop()
            node = picture.nodes[number - 1]
            if number in written:
                lines.append(f"{lead}#{number} {node.title} ↑")
                continue
            if level == DEEPEST and arguments[number]:
                lines.append(f"{lead}#{number} {node.title} ↓")
                waiting.insert(place, number)
                continue
            written.add(number)
            lines.append(lead + _line(node, titles.get(node.cluster or 0, "")))
            inside = arguments[number]
            children = [
                (child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), level + 1)
                for i, child in enumerate(inside)
                for last in [i == len(inside) - 1]
            ]
            stack.extend(reversed(children))
    return "\n".join([*lines, *[f"({note})" for note in picture.notes]])


def _line(node: PictureNode, module: str) -> str:
    """Return one node: its number, name, role, shape, facts and module."""
    head = f"#{node.number} {node.title}"
    if node.role != "operation":
        head += f" [{node.role}]"
    if node.shape:
        head += f" {node.shape}"
    facts = []
    for line in node.lines:
        text = _flat(line)
        if line.key == "value":
            head += f" = {text}"
        else:
            facts.append(text if not line.key or text == "no gradient yet" else f"{line.key} {text}")
    where = f"  — {module}" if module else ""
    return ", ".join([head, *facts]) + where


def _flat(line: Line) -> str:
    """Return a small table in one line."""
    texts = [" ".join(row) for row in line.rows]
    if line.worded or not line.key:
        return ", ".join(texts)
    if len(texts) > 1:
        return f"[{' '.join([f'[{text}]' for text in texts])}]"
    return f"[{texts[0]}]" if len(line.rows[0]) > 1 else texts[0]
