"""source_lines(): remember, while a graph is recorded, which line of the program made each node."""

from __future__ import annotations

import contextlib
import linecache
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradnet.graph import Scope, current_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microgradnet.primitive import Primitive

PACKAGE = str(Path(__file__).resolve().parent.parent)


@contextlib.contextmanager
def source_lines() -> Iterator[None]:
    """Record, for every node that is made inside, the line of the program; pictures and the player show it.

    It is the innermost line outside this package, as ``file.py:12: y = w * x``. Every operation is computed
    twice meanwhile, so it is not for training.

    >>> import microgradnet as mg
    >>> w = mg.Tensor(2.0, requires_grad=True, name="w")
    >>> with mg.viz.source_lines():
    ...     y = w * w
    >>> y._node.source
    '<doctest microgradnet.viz.source.source_lines[2]>:2: y = w * w'
    """
    outer = current_scope.get()
    token = current_scope.set(Scope(_recorded if outer.enabled else False, outer.module, outer))
    try:
        yield
    finally:
        current_scope.reset(token)


def _recorded(primitive: Primitive, args: tuple[Any, ...], meta: dict[str, Any], _y: Any) -> Any:
    """Record a call in the ordinary way, inside the same module, and note the line."""
    scope = current_scope.get()
    token = current_scope.set(Scope(enabled=True, module=scope.module, outer=scope))
    try:
        result = primitive(*args, **meta)
    finally:
        current_scope.reset(token)
    if result._node is not None and result._node.source is None:
        result._node.source = _line()
    return result


def _line() -> str:
    """Return the innermost line outside the package, with the file's name but not its folder."""
    frame = sys._getframe(1)  # noqa: SLF001 - the cheap way to one line of the stack
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    path, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(path, number, frame.f_globals).strip()
    name = path if path.startswith("<") else Path(path).name
    return f"{name}:{number}: {text}" if text else f"{name}:{number}"
