"""A value and the call that made it: nodes, versions, the recording context, and an iterative traversal."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from microgradnet.primitive import Primitive, Pull

Array: TypeAlias = np.ndarray[Any, Any]
Recorder: TypeAlias = "Callable[[Primitive, tuple[Any, ...], dict[str, Any], Any], Any]"
Version: TypeAlias = list[int]
"""One cell per storage, holding the clock's time of the last write; views and ``detach()`` share it."""

clock = itertools.count(1)
"""Numbers the nodes and stamps the writes, so that *written after it was recorded* is one comparison."""
last_write: Version = [0]
"""The time of the last write anywhere: what was recorded since needs no look at its versions."""
last_change: Version = [0]
"""The time when a tensor last got another array or a hook, or was frozen: compiled steps look again."""
tracers: dict[int, Any] = {}
"""Per thread, what records a step that is being compiled; empty nearly always, and so a quick question."""


class Node:
    """A recorded call (a leaf where ``primitive`` is None): what the backward pass needs, and nothing else.

    It keeps arrays, never the tensor that holds it: a graph has no reference cycles and dies with its result.
    """

    __slots__ = (
        "__weakref__",
        "args",
        "freed",
        "grad",
        "hooks",
        "meta",
        "name",
        "number",
        "parents",
        "primitive",
        "pulls",
        "requires_grad",
        "retains_grad",
        "scope",
        "source",
        "version",
        "versions",
        "y",
    )

    def __init__(
        self,
        y: Array,
        version: Version,
        primitive: Primitive | None,
        meta: dict[str, Any],
        parents: Sequence[Node | None],
        args: Sequence[Any],
        versions: Sequence[Version | None],
        pulls: tuple[Pull, ...],
        scope: Scope | None,
    ) -> None:
        self.y = y
        self.version = version
        self.primitive = primitive
        self.meta = meta
        self.parents = parents  # per argument: the node it came from, None for a constant
        self.args = args  # per argument: its array where a rule reads it, else its node, which has the shape
        self.versions = versions  # per argument that a rule reads: its storage's version cell
        self.pulls = pulls  # the gradients to compute: position and rule
        self.scope = scope
        self.requires_grad = True
        self.retains_grad = self.freed = False
        self.grad: Array | None = None
        self.hooks: dict[int, Callable[[Any], Any]] | None = None
        self.name: str | None = None
        self.source: str | None = None  # the line of the program, where it was asked for
        self.number = next(clock)

    @classmethod
    def leaf(cls, array: Array, version: Version, *, requires_grad: bool = True) -> Node:
        """Make the node of a tensor that was not computed: where gradients are stored."""
        node = cls(array, version, None, {}, (), (), (), (), None)
        node.requires_grad, node.retains_grad = requires_grad, True
        return node

    def free(self) -> None:
        """Drop everything that the backward pass needs."""
        self.parents = self.args = self.versions = ()
        self.freed = True

    def gradient(self) -> Array | None:
        """Return the stored gradient; what a compiled step has left is copied now, when it is read."""
        g = self.grad
        if g is not None and type(g) is not np.ndarray:
            self.grad = g = g.copy()
        return g

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.y.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the value."""
        return self.y.dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the value."""
        return self.y.ndim

    def describe(self, scope: Scope | None = None) -> str:
        """Return the name that messages use: ``mul#7`` or ``leaf#3 'w'``, with the shape and the module.

        ``scope`` is that of a call that used the value: a parameter gets its path in the called model.
        """
        kind = self.primitive.name if self.primitive else "leaf"
        path = self.name or next((name for name, node in named_leaves(scope) if node is self), None)
        name = f" '{path}'" if path else ""
        module = f" in {type(self.scope.module).__name__}" if self.scope and self.scope.module else ""
        return f"{kind}#{self.number}{name} of shape {self.shape}{module}"

    def __repr__(self) -> str:
        return f"<Node {self.describe()}>"

    def __reduce__(self) -> Any:
        message = "a recorded graph cannot be copied or pickled; copy `tensor.detach()` or save `tensor.data`"
        raise TypeError(message)


class Value:
    """Anything a primitive records: an array, the node that made it (None: a constant), its version cell."""

    __slots__ = ("_array", "_node", "_version")

    _array: Array
    _node: Node | None
    _version: Version
    _is_array = False
    """Whether it stands for an ndarray that was given to a compiled step, and is cast where that would be."""

    @staticmethod
    def _box(array: Array, node: Node | None, version: Version) -> Any:
        """Wrap the result of a primitive (the class of its last value decides how)."""
        raise NotImplementedError


class Scope:
    """One frame of the recording context: is recording on, and inside which module call are we.

    ``enabled`` may also be a recorder, to which a primitive hands the call: ``recorder(primitive, args, meta,
    y)`` returns the result in the place of the ordinary recording. Symbols come about that way.
    """

    __slots__ = ("enabled", "module", "outer")

    def __init__(self, enabled: bool | Recorder, module: Any = None, outer: Scope | None = None) -> None:
        self.enabled = enabled
        self.module = module
        self.outer = outer


_outermost = Scope(enabled=True)
current_scope: ContextVar[Scope] = ContextVar("microgradnet_scope", default=_outermost)
"""Per thread and per async task; every change is undone by its token, also after an exception."""


class no_grad(contextlib.ContextDecorator):  # noqa: N801 - a context manager that reads as a keyword, as in PyTorch
    """Record nothing inside; as a ``with`` block or a decorator.

    Recording is restored on the way out, after an exception too, and other threads are not affected.

    >>> import microgradnet as mg
    >>> w = mg.Parameter([1.0, 2.0])
    >>> with mg.no_grad():
    ...     w -= 0.5
    >>> w.data.tolist()
    [0.5, 1.5]
    """

    def __init__(self) -> None:
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        scope = current_scope.get()
        self._tokens.append(current_scope.set(Scope(enabled=False, module=scope.module, outer=scope)))

    def __exit__(self, *exc: object) -> None:
        current_scope.reset(self._tokens.pop())

    def __call__(self, function: Any) -> Any:
        """Decorate a function: nothing is recorded while it runs."""
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            message = (
                f"@no_grad() on {function.__name__} would do nothing: its body runs after the call returns; "
                "write `with no_grad():` inside it, around what is not to be recorded"
            )
            raise TypeError(message)
        return super().__call__(function)

    def _recreate_cm(self) -> no_grad:
        """Give each decorated call its own manager, so that recursion and threads do not share tokens."""
        return no_grad()


def is_recording() -> bool:
    """Whether operations on tensors that require a gradient are recorded here and now."""
    return bool(current_scope.get().enabled)


def tracer() -> Any:
    """Return what records this thread's operations for ``compile``, or None."""
    return tracers.get(get_ident()) if tracers else None


def fixed(array: Array) -> Array:
    """Make an array read-only: a value that never varies, which a compiled step may keep."""
    array.flags.writeable = False
    return array


def assign(target: Value, new: Any, index: Any = ...) -> None:
    """Write ``new`` into the storage of ``target`` and stamp its version: the one door for every mutation."""
    if tracers and (recorder := tracer()) is not None:
        recorder.assign(target, new, index)
        return
    target._array[index] = new._array if isinstance(new, Value) else new
    stamp(target)


def stamp(target: Value) -> None:
    """Note that the storage of ``target`` has just been written to."""
    target._version[0] = last_write[0] = next(clock)


def require_floating(dtype: np.dtype[Any]) -> None:
    """Refuse a dtype in which derivatives cannot be written down."""
    if dtype.kind != "f":
        message = f"only floating-point tensors have gradients, not {dtype}; write Tensor(data, dtype=float)"
        raise TypeError(message)


def ancestors(roots: Iterable[Node], *, only_differentiable: bool = False) -> dict[int, Node]:
    """All nodes that the roots are computed from, themselves included, by number.

    Numbers grow with time, so that descending numbers are a reverse topological order.
    """
    found = {root.number: root for root in roots}
    stack = list(found.values())
    while stack:
        for parent in stack.pop().parents:
            if parent is None or parent.number in found:
                continue
            if parent.requires_grad or not only_differentiable:
                found[parent.number] = parent
                stack.append(parent)
    return found


def enclosing_modules(scope: Scope | None) -> Iterator[Any]:
    """Yield the modules whose calls surround a node, innermost first."""
    while scope is not None:
        if scope.module is not None and (scope.outer is None or scope.outer.module is not scope.module):
            yield scope.module
        scope = scope.outer


def named_leaves(scope: Scope | None) -> Iterator[tuple[str, Node | None]]:
    """Yield the parameters of the outermost model that a call was made in, by path."""
    *_, model = [None, *enclosing_modules(scope)]
    if model is not None:
        for name, parameter in model.named_parameters():
            yield name, parameter._node
