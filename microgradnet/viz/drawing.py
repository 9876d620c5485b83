"""draw(): one call from a tensor or a model to its picture, in the form that is asked for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from microgradnet.graph import Scope, Value, current_scope
from microgradnet.tensor import Tensor
from microgradnet.viz.dot import to_digraph
from microgradnet.viz.mermaid import to_mermaid
from microgradnet.viz.picture import SHOWABLE, Wishes, build
from microgradnet.viz.program import program_picture
from microgradnet.viz.source import source_lines
from microgradnet.viz.style import DIRECTIONS, THEMES, check_option
from microgradnet.viz.text import to_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import graphviz

FORMATS = ("graphviz", "text", "mermaid")


@overload
def draw(
    target: Any,
    *inputs: Any,
    format: Literal["graphviz"] = "graphviz",
    show: Sequence[str] = ...,
    direction: str = ...,
    depth: int | None = ...,
    constants: bool = ...,
    highlight: tuple[Any, Any] | None = ...,
    names: Mapping[str, Any] | None = ...,
    theme: str = ...,
    legend: bool = ...,
    limit: int = ...,
    roll: bool = ...,
) -> graphviz.Digraph: ...
@overload
def draw(
    target: Any,
    *inputs: Any,
    format: Literal["text", "mermaid"],
    show: Sequence[str] = ...,
    direction: str = ...,
    depth: int | None = ...,
    constants: bool = ...,
    highlight: tuple[Any, Any] | None = ...,
    names: Mapping[str, Any] | None = ...,
    theme: str = ...,
    legend: bool = ...,
    limit: int = ...,
    roll: bool = ...,
) -> str: ...
def draw(
    target: Any,
    *inputs: Any,
    format: str = "graphviz",
    show: Sequence[str] = ("shape", "value", "grad"),
    direction: str = "TB",
    depth: int | None = None,
    constants: bool = True,
    highlight: tuple[Any, Any] | None = None,
    names: Mapping[str, Any] | None = None,
    theme: str = "light",
    legend: bool = True,
    limit: int = 2000,
    roll: bool = False,
) -> Any:
    """Draw how a tensor was computed, or what a model computes: ``draw(loss)``, ``draw(model, x)``.

    Every edge is drawn and carries the shape of its value (none: a single number), so that ``x * x`` has two.
    Modules are nested clusters. Names are the caller's ``names``, the paths of parameters, or the tensors'
    own. A model is called once, with recording on, in the mode that it is in (call ``model.eval()`` first
    where running statistics must not move). The same program gives the same picture, byte for byte.

    Parameters
    ----------
    target, inputs
        A tensor or a list of tensors that have a history; a model and its example inputs; or a compiled
        step, whose latest program is drawn, with the memory that each result lies in.
    format
        ``"graphviz"`` (a ``graphviz.Digraph``: ``.source``, ``.render()``, shown by notebooks), ``"text"``
        (a tree for terminals), ``"mermaid"`` (for Markdown).
    show
        Any of ``"shape"``, ``"dtype"``, ``"value"``, ``"grad"`` (what is stored in ``.grad``),
        ``"backward"`` (∂L: the derivative of the result by every node, from one backward pass that is made
        for the picture and stores nothing) and ``"source"`` (the line of the program; of a tensor, where it
        was computed inside ``viz.source_lines()``).
    direction
        Where the values flow: ``"TB"`` (down), ``"LR"``, ``"BT"``, ``"RL"``.
    depth
        How many levels of modules are opened; deeper ones are one box each. None: all.
    constants
        False hides single numbers, and constants whose value no gradient rule reads.
    highlight
        ``(from, to)``: emphasises every path between two tensors, or between two names.
    names
        Names for tensors, such as ``locals()``.
    theme
        ``"light"`` or ``"dark"``.
    legend
        Whether the kinds of nodes are explained.
    limit
        The most nodes that are drawn: a larger graph has its modules closed, then its middle folded into one
        box, and says so.
    roll
        Draws layers that repeat one after another once, and says how often.

    Raises
    ------
    TypeError
        Where there is nothing that can be drawn, or a model without an example input.
    ValueError
        Where a tensor has no history, or an option is unknown.

    Examples
    --------
    >>> import microgradnet as mg
    >>> x = mg.Tensor(3.0, requires_grad=True, name="x")
    >>> print(draw(x * x, format="text"))
    #2 mul [loss] = 9
    ├─ #1 x [parameter] = 3, no gradient yet
    └─ #1 x ↑
    """
    check_option("draw", "format", format, FORMATS)
    check_option("draw", "direction", direction, DIRECTIONS)
    check_option("draw", "theme", theme, tuple(THEMES))
    for word in [show] if isinstance(show, str) else show:
        check_option("draw", "show", word, SHOWABLE)
    if limit < 2 or (depth is not None and depth < 0):
        message = f"draw: limit must be at least 2 and depth at least 0, not limit={limit} and depth={depth}"
        raise ValueError(message)
    if hasattr(target, "nodes_and_edges"):
        picture = program_picture(*target.nodes_and_edges())
    else:
        roots, examples = _roots(target, inputs, source="source" in show)
        picture = build(
            roots,
            Wishes(
                show=(show,) if isinstance(show, str) else tuple(show),
                depth=depth,
                constants=constants,
                highlight=highlight,
                names=names or {},
                inputs=examples,
                limit=limit,
                roll=roll,
                ranked=format == "graphviz",
            ),
        )
    if format == "text":
        return to_text(picture)
    if format == "mermaid":
        return to_mermaid(picture, direction=direction, theme=theme, legend=legend)
    return to_digraph(picture, direction=direction, theme=theme, legend=legend)


def _roots(target: Any, inputs: tuple[Any, ...], *, source: bool) -> tuple[list[Value], tuple[int, ...]]:
    """Return the tensors to draw, and the node numbers of the example inputs."""
    if callable(target) and hasattr(target, "named_parameters"):
        return _called(target, inputs, source=source)
    if inputs:
        message = f"draw: example inputs go with a model; {_kind(target)} is drawn alone: draw(tensor)"
        raise TypeError(message)
    return _tensors(target, "it was given"), ()


def _tensors(value: Any, origin: str) -> list[Value]:
    """Return the tensors in a value, all of which have something to draw."""
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    for tensor in found or [None]:
        if not isinstance(tensor, Value):
            message = (
                f"draw: {origin} {_kind(tensor)}; it takes a tensor, a list of tensors, or a model with an "
                "example input: draw(model, x)"
            )
            raise TypeError(message)
        if tensor._node is None:
            message = (
                "draw: this tensor has no history; compute it from tensors with requires_grad=True, "
                "outside no_grad(), and before detach()"
            )
            raise ValueError(message)
    return found


def _called(model: Any, inputs: tuple[Any, ...], *, source: bool) -> tuple[list[Value], tuple[int, ...]]:
    """Call a model on its example inputs, with recording on wherever we are."""
    kind = type(model).__name__
    if not inputs:
        message = f"draw({kind}): a model is drawn from one call; give an example input: draw(model, x)"
        raise TypeError(message)
    dtype = next((p.dtype for _, p in model.named_parameters()), None)
    named = [_example(x, dtype, "input" if len(inputs) == 1 else f"input {i}") for i, x in enumerate(inputs)]
    token = current_scope.set(Scope(enabled=True))
    try:
        with source_lines() if source else contextlib.nullcontext():
            output = model(*named)
    finally:
        current_scope.reset(token)
    numbers = [x._node.number for x in named if isinstance(x, Value) and x._node is not None]
    return _tensors(output, f"{kind} returned"), tuple(numbers)


def _example(x: Any, dtype: Any, name: str) -> Any:
    """Make a named leaf of floating-point numbers, so that a model without parameters is recorded too."""
    if isinstance(x, Value) and x._node is not None:
        return x
    array = x._array if isinstance(x, Value) else np.asarray(x)
    if array.dtype.kind != "f":
        return x
    if not isinstance(x, Value):
        array = np.asarray(array, dtype)
    return Tensor(array, requires_grad=True, name=name)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
