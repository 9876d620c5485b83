"""frames(): a pass as numbered pictures for slides, and as an animated one."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradnet.viz.dot import as_html, miniature, table
from microgradnet.viz.picture import Wishes
from microgradnet.viz.render import need_dot
from microgradnet.viz.stage import is_image, page_grid, room, staged
from microgradnet.viz.steps import record
from microgradnet.viz.style import DIRECTIONS, THEMES, check_option
from microgradnet.viz.values import array_line, is_small, number_text

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import graphviz

    from microgradnet.graph import Array, Value
    from microgradnet.viz.grids import Grid
    from microgradnet.viz.steps import Pass, Step
    from microgradnet.viz.style import Colours

ANIMATION = "animation.gif"
GRID = (28, 44)  # cells of the largest grid
LINES = 4  # of the text under the picture
WIDE_LETTER = 9  # points, at the size of that text
RESOLUTION = 96  # pixels per inch, of the animation


def frames(
    loss: Value,
    folder: str | os.PathLike[str],
    *,
    names: Mapping[str, Any] | None = None,
    depth: int | None = None,
    direction: str = "TB",
    theme: str = "light",
    limit: int = 60,
    seconds: float = 1.2,
) -> list[Path]:
    """Write one SVG per step of a pass, ``frame-000.svg`` …, all laid out alike; returns the files.

    Where Pillow is installed (``pip install 'microgradnet[images]'``), the last file is ``animation.gif``,
    which shows each step for so many ``seconds``. The steps are those of ``player``. Options as for ``draw``.

    Raises
    ------
    ValueError
        Where the tensor has no history or more than one number, or an option is unknown.
    FileNotFoundError
        Where Graphviz's ``dot`` is missing.
    NotADirectoryError
        Where the folder is a file.

    Examples
    --------
    >>> import microgradnet as mg
    >>> w = mg.Tensor(3.0, requires_grad=True, name="w")
    >>> [path.name for path in mg.viz.frames(w * w, "slides")]  # doctest: +SKIP
    ['frame-000.svg', 'frame-001.svg', 'frame-002.svg', 'frame-003.svg', 'animation.gif']
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        message = f"frames(): '{target}' is a file; give a folder"
        raise NotADirectoryError(message)
    check_option("frames", "theme", theme, tuple(THEMES))
    check_option("frames", "direction", direction, DIRECTIONS)
    need_dot("frames()")
    wishes = Wishes(show=("shape", "value"), depth=depth, names=names or {}, limit=limit)
    film = _Film(record(loss, wishes, "frames()"), direction, theme)
    target.mkdir(parents=True, exist_ok=True)
    pictures = [film.frame(number) for number in range(len(film.recorded.steps))]
    written = []
    for number, picture in enumerate(pictures):
        path = target / f"frame-{number:03}.svg"
        path.write_bytes(picture.pipe(format="svg"))
        written.append(path)
    if importlib.util.find_spec("PIL"):
        written.append(_animated(pictures, target / ANIMATION, seconds))
    return written


class _Film:
    """Draws the stage as it is after each step; places keep their size, so that nothing moves."""

    def __init__(self, recorded: Pass, direction: str, theme: str) -> None:
        self.recorded, self.direction, self.theme = recorded, direction, theme
        lines = [line for number in range(len(recorded.steps)) for line in _words(recorded, number)]
        self.caption = WIDE_LETTER * max(map(len, lines))  # points: as wide in every frame
        self.rooms: dict[tuple[int, str], tuple[int, int]] = {}
        for node, facts in zip(recorded.picture.nodes, recorded.facts, strict=True):
            for kind, array in (("value", facts.value), ("gradient", facts.gradient)):
                if array is None or node.role == "constant":
                    continue
                grid = self._grid(node.number, kind, array)
                width, height = room(grid, array)
                # More than any content needs, so that no place grows when it is filled.
                line = 18 * grid.cells.shape[0] if is_small(array) else height + 4
                self.rooms[node.number, kind] = (width + 8, line)

    def _grid(self, number: int, kind: str, array: Array) -> Grid:
        image = kind == "value" and is_image(self.recorded.picture.nodes[number - 1], array)
        return page_grid(array, *GRID, image=image and not is_small(array))

    def frame(self, number: int) -> graphviz.Digraph:
        """Return the picture after a step."""
        step = self.recorded.steps[number]
        shown = self._shown(number)
        colours = THEMES[self.theme]

        def filled(node: int, kind: str, size: tuple[int, int]) -> str:
            frame = f'WIDTH="{size[0]}" HEIGHT="{size[1]}"'
            array = shown.get((node, kind))
            if array is None:
                return f'<TD {frame} BGCOLOR="{colours.page}"></TD>'
            return f"<TD {frame}>{self._content(node, kind, array, size, colours)}</TD>"

        graph = staged(self.recorded, filled, self.rooms, direction=self.direction, theme=self.theme)
        self._emphasise(graph, step, colours)
        words = [as_html(line) for line in _words(self.recorded, number)]
        words += ["&#160;"] * (LINES - len(words))
        rows = "".join(
            [f'<TR><TD ALIGN="LEFT" WIDTH="{self.caption}">{line}</TD></TR>' for line in words[:LINES]]
        )
        graph.attr(label=f"<{table(rows, 1)}>", labelloc="b", fontsize="13")
        return graph

    def _shown(self, number: int) -> dict[tuple[int, str], Array]:
        """Return what is known after a step: values, and gradients as far as they are summed up."""
        given = {"input", "parameter", "constant"}
        computed = {step.place for step in self.recorded.steps[: number + 1] if step.phase == "forward"}
        shown: dict[tuple[int, str], Array] = {}
        for node, facts in zip(self.recorded.picture.nodes, self.recorded.facts, strict=True):
            if facts.value is not None and (node.role in given or node.number in computed):
                shown[node.number, "value"] = facts.value
        for step in self.recorded.steps[: number + 1]:
            if step.gradient is not None:
                shown[step.place, "gradient"] = step.gradient
            shown.update({(part.place, "gradient"): part.total for part in step.contributions})
        return shown

    def _content(self, number: int, kind: str, array: Array, size: tuple[int, int], colours: Colours) -> str:
        if not is_small(array):
            return miniature(self._grid(number, kind, array), colours, (size[1] - 4, size[0] - 8))
        rows = array_line(kind, array).rows
        cells = [
            "<TR>" + "".join([f'<TD ALIGN="RIGHT">{as_html(cell)}</TD>' for cell in row]) + "</TR>"
            for row in rows
        ]
        return f'<FONT POINT-SIZE="10">{table("".join(cells), 0, 2)}</FONT>'

    def _emphasise(self, graph: graphviz.Digraph, step: Step, colours: Colours) -> None:
        """Draw the node of the step thick, and the edges that it uses."""
        if step.phase == "given":
            return
        graph.node(f"n{step.place}", color=colours.highlight, penwidth="4")
        used = {(part.place, part.position) for part in step.contributions}
        for i, edge in enumerate(self.recorded.picture.edges, 1):
            if edge.head != step.place:
                continue
            if step.phase == "forward" or (edge.tail, edge.position) in used:
                back = "back" if step.phase == "backward" else "forward"
                graph.body = [
                    line.replace("]\n", f' color="{colours.highlight}" penwidth=3 dir={back}]\n')
                    if f"id=e{i} " in line or f"id=e{i}]" in line
                    else line
                    for line in graph.body
                ]


def _words(recorded: Pass, number: int) -> list[str]:
    """Say in a few lines what a step does."""
    step = recorded.steps[number]
    head = f"step {number} of {len(recorded.steps) - 1}"
    if step.phase == "given":
        return [f"{head}: what is given"]
    node, facts = recorded.picture.nodes[step.place - 1], recorded.facts[step.place - 1]
    lines = [f"{head}, {step.phase}: {node.title}"]
    if step.phase == "forward":
        return [*lines, f"{facts.formula} = {_short(facts.value)}"] if facts.formula else lines
    if not step.contributions and step.gradient is not None:
        return [*lines, f"its gradient is complete: {_short(step.gradient)}"]
    for part in step.contributions:
        name = recorded.picture.nodes[part.place - 1].title
        rule = f"∂L/∂{part.argument} = {part.rule} = " if part.rule else ""
        total = f" ({part.order} of {part.count}, sum {_short(part.total)})" if part.count > 1 else ""
        lines.append(f"to {name}: {rule}{_short(part.handed)}{total}")
    return lines


def _short(array: Array | None) -> str:
    if array is None:
        return "…"
    if array.size == 1:
        return number_text(array.reshape(-1)[0])
    return f"array of shape {tuple([int(n) for n in array.shape])}"


def _animated(pictures: list[graphviz.Digraph], path: Path, seconds: float) -> Path:
    """Write all pictures as one GIF that runs for ever."""
    from PIL import Image

    images = []
    for picture in pictures:
        picture.attr(dpi=str(RESOLUTION))
        images.append(Image.open(io.BytesIO(picture.pipe(format="png"))).convert("RGB"))
    size = (max(image.width for image in images), max(image.height for image in images))
    sheets = []
    for image in images:  # a caption may have made a picture wider
        sheet = Image.new("RGB", size, image.getpixel((0, 0)))
        sheet.paste(image, ((size[0] - image.width) // 2, 0))
        sheets.append(sheet.quantize(128))
    sheets[0].save(
        path, save_all=True, append_images=sheets[1:], duration=round(1000 * seconds), loop=0, optimize=True
    )
    return path
