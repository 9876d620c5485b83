"""summary(): the layers of a model as a table of shapes, parameters, multiply-adds and kept memory."""

from __future__ import annotations

import contextlib
import math
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import Scope, Value, ancestors, assign, current_scope, enclosing_modules
from microgradnet.graph import clock as node_clock
from microgradnet.html_table import table
from microgradnet.primitive import reads
from microgradnet.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from microgradnet.graph import Array, Node

Shape = tuple[int, ...]

HEAD = ("layer", "input", "output", "parameters", "multiply-adds", "kept for backward")


@dataclass
class Row:
    """One call of a module, with what it does itself: without the modules inside it, which have their own."""

    path: str
    """Its name in the model, such as ``layers.0``; empty for the model itself."""
    kind: str
    depth: int
    """How many modules are around it."""
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    """Nothing where it failed."""
    parameters: int = 0
    """Numbers that it trains or keeps frozen, and that no row before it has counted."""
    shared: int = 0
    """Numbers of its parameters that a row before it has counted."""
    multiply_adds: int = 0
    kept_bytes: int = 0

    def texts(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        name = f"{self.path}  {self.kind}" if self.path else self.kind
        count = f"{self.parameters:,}" if self.parameters else ""
        shared = f"({self.shared:,} shared)" if self.shared else ""
        return (
            "  " * self.depth + name,
            _shapes(self.inputs),
            _shapes(self.outputs) if self.outputs else "fails",
            " ".join(filter(None, [count, shared])),
            f"{self.multiply_adds:,}" if self.multiply_adds else "",
            size_text(self.kept_bytes) if self.kept_bytes else "",
        )


@dataclass(frozen=True)
class Failure:
    """Why a model could not be called on the example: where, what was said, and what to try."""

    layer: str
    message: str
    suggestion: str


@dataclass
class Summary:
    """What ``summary`` returns: ``str`` and notebooks show it as a table.

    ``failure`` is None where the model could be called to the end.
    """

    rows: list[Row]
    parameters: int
    """All parameters of the model, each once, those of layers that were not called included."""
    frozen: int
    """Those of them that require no gradient."""
    parameter_bytes: int
    failure: Failure | None = field(default=None)

    @property
    def multiply_adds(self) -> int:
        """Of the whole call."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def kept_bytes(self) -> int:
        """The memory that the graph of the call keeps for the backward pass."""
        return sum(row.kept_bytes for row in self.rows)

    def _closing(self) -> list[str]:
        frozen = f", of which {self.frozen:,} are frozen" if self.frozen else ""
        lines = [f"parameters: {self.parameters:,}{frozen} ({size_text(self.parameter_bytes)})"]
        if self.failure is None:
            lines.append(f"multiply-adds: {self.multiply_adds:,}")
            lines.append(f"kept for backward: {size_text(self.kept_bytes)}, the input included")
            return lines
        return [
            f"fails in {self.failure.layer}: {self.failure.message}",
            f"try: {self.failure.suggestion}",
            *lines,
        ]

    def __str__(self) -> str:
        rows = [HEAD, *[row.texts() for row in self.rows]]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [
                    cell.rjust(width) if i > 2 else cell.ljust(width)
                    for i, (cell, width) in enumerate(zip(row, widths, strict=True))
                ]
            ).rstrip()
            for row in rows
        ]
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([lines[0], rule, *lines[1:], rule, *self._closing()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table([row.texts() for row in self.rows], HEAD) + table([[line] for line in self._closing()])


def summary(model: Any, *inputs: Any) -> Summary:
    """Return the layers of a model as a table, from one call on an example: ``print(summary(model, x))``.

    Parameters
    ----------
    model
        A Module. It is called once, with recording on, in the mode that it is in; running statistics are put
        back afterwards, but dropout draws from its generator.
    inputs
        What it takes: a batch, whose size the counts are for.

    Returns
    -------
    Summary
        One row for every call of a module, in order, inner ones indented, each with what it does itself:

        - *parameters*: numbers, shared ones where they are met first;
        - *multiply-adds*: a·b + c as one, of matrix products, einsum and convolutions, in the forward pass
          (a backward pass takes about twice as many); elementwise work is not counted;
        - *kept for backward*: bytes of the arrays that the graph holds until it is dropped, each memory once,
          parameters and buffers left out. This is the input, the values, and what gradient rules read.

        Where a layer refuses its input, the rows end with that layer, and ``failure`` holds its message,
        with the shapes, and a suggestion.

    Raises
    ------
    TypeError
        Without a module, or without an example.

    Examples
    --------
    >>> import numpy as np
    >>> from microgradnet import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> print(summary(model, np.zeros((10, 3))))
    layer        input    output   parameters  multiply-adds  kept for backward
    ───────────────────────────────────────────────────────────────────────────
    Sequential   (10, 3)  (10, 2)
      0  Linear  (10, 3)  (10, 4)          16            120              280 B
      1  ReLU    (10, 4)  (10, 4)                                         160 B
      2  Linear  (10, 4)  (10, 2)          10             80               80 B
    ───────────────────────────────────────────────────────────────────────────
    parameters: 26 (104 B)
    multiply-adds: 200
    kept for backward: 520 B, the input included
    >>> summary(model, np.zeros((10, 5))).failure.suggestion
    'write Linear(in_features=5, …), or give it an input whose last axis is 3'
    """
    if not (callable(model) and hasattr(model, "named_modules")):
        message = f"summary: takes a module and an example input, not a {type(model).__name__}"
        raise TypeError(message)
    if not inputs:
        kind = type(model).__name__
        message = f"summary({kind}): shapes come from one call; give an example input: summary(model, x)"
        raise TypeError(message)
    examples, made = _recordable(model, inputs)
    calls = _Calls(model)
    output, failure = None, None
    with _buffers_restored(model), calls.watching():
        token = current_scope.set(Scope(enabled=True))
        try:
            output = model(*examples)
        except (ValueError, IndexError, TypeError) as error:
            failure = calls.fail(error)
            if failure is None:
                raise
        finally:
            current_scope.reset(token)
    rows = calls.rows()
    _count_parameters(rows)
    _count_work(calls, output, model, {x._node.number for x in made})
    parameters = [parameter for _, parameter in model.named_parameters()]
    return Summary(
        [row for row, _ in rows],
        sum(p.size for p in parameters),
        sum(p.size for p in parameters if not p.requires_grad),
        sum(p.data.nbytes for p in parameters),
        failure,
    )


def size_text(count: int) -> str:
    """Return a number of bytes in the largest unit that keeps it above 1.

    >>> size_text(100), size_text(4096), size_text(3 * 1024**2)
    ('100 B', '4.0 KiB', '3.0 MiB')
    """
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min(int(math.log(count, 1024)), len(units) - 1) if count >= 1 else 0
    return f"{count / 1024**power:,.1f} {units[power]}" if power else f"{count} B"


def _shapes(shapes: tuple[Shape, ...]) -> str:
    return ", ".join([str(shape) for shape in shapes])


def _shapes_of(value: Any) -> tuple[Shape, ...]:
    """Return the shapes of the arrays and tensors in a value, in order."""
    if isinstance(value, (Value, np.ndarray)):
        return (value.shape if isinstance(value, np.ndarray) else value._array.shape,)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return tuple([shape for item in items for shape in _shapes_of(item)])


def _recordable(model: Any, inputs: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    """Make leaves of floating-point inputs, so that frozen layers are counted too; return all, and those."""
    dtype = next((p.dtype for _, p in model.named_parameters()), None)
    examples: list[Any] = []
    made: list[Any] = []
    for x in inputs:
        array = x._array if isinstance(x, Value) else np.asarray(x)
        if array.dtype.kind != "f" or (isinstance(x, Value) and x._node is not None):
            examples.append(x)
            continue
        leaf = Tensor(array if isinstance(x, Value) else np.asarray(array, dtype), requires_grad=True)
        examples.append(leaf)
        made.append(leaf)
    return examples, made


@contextlib.contextmanager
def _buffers_restored(model: Any) -> Iterator[None]:
    before = [(buffer, buffer.data.copy()) for _, buffer in model.named_buffers()]
    try:
        yield
    finally:
        for buffer, array in before:
            assign(buffer, array)


class _Calls:
    """The calls of a model's modules as forward hooks see them: once they are over, inner ones first."""

    def __init__(self, model: Any) -> None:
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.modules = [module for _, module in model.named_modules()]
        self.done: list[tuple[Row, Any, int]] = []
        """Row, module, and the clock's time when the call was over."""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        removers = [module.register_forward_hook(self.over) for module in self.modules]
        try:
            yield
        finally:
            for remove in removers:
                remove()

    def over(self, module: Any, inputs: Any, output: Any) -> None:
        depth = len(list(enclosing_modules(current_scope.get())))
        self.done.append((self.row(module, depth, inputs, _shapes_of(output)), module, next(node_clock)))

    def row(self, module: Any, depth: int, inputs: Any, outputs: tuple[Shape, ...]) -> Row:
        return Row(self.paths[id(module)], type(module).__name__, depth, _shapes_of(inputs), outputs)

    def fail(self, error: Exception) -> Failure | None:
        """Add the calls that an error broke off, and say why; None where it came from no call."""
        broken = [
            (module, inputs)
            for module, inputs in _broken_off(error.__traceback__)
            if id(module) in self.paths
        ]
        if not broken:
            return None
        for depth, (module, inputs) in reversed(list(enumerate(broken))):
            self.done.append((self.row(module, depth, inputs, ()), module, next(node_clock)))
        module, inputs = broken[-1]
        path = self.paths[id(module)]
        layer = f"layer '{path}' {type(module).__name__}" if path else type(module).__name__
        before = [row for row, _, _ in self.done if row.outputs]
        words = " ".join(str(error).split()) or type(error).__name__
        return Failure(layer, words, _suggestion(module, _shapes_of(inputs), before))

    def row_of(self, node: Node) -> Row:
        """Return the row of the innermost call that a node was recorded in."""
        module = next(enclosing_modules(node.scope))
        return next(row for row, called, over in self.done if called is module and over > node.number)

    def rows(self) -> list[tuple[Row, Any]]:
        """Return the rows in the order in which the calls began: each before those inside it."""
        begun: list[list[tuple[Row, Any]]] = []  # each a row and all that is inside it
        for row, module, _ in self.done:
            inside = []
            while begun and begun[-1][0][0].depth > row.depth:
                inside.append(begun.pop())
            begun.append([(row, module), *[entry for group in reversed(inside) for entry in group]])
        return [entry for group in begun for entry in group]


def _broken_off(trace: TracebackType | None) -> Iterator[tuple[Any, Any]]:
    """Yield the modules whose calls an error passed through, outermost first, with their inputs."""
    for frame, _ in traceback.walk_tb(trace):
        module = frame.f_locals.get("self")
        called = frame.f_code.co_name == "__call__" and hasattr(module, "named_modules")
        if called and type(module).__call__.__code__ is frame.f_code:
            yield module, frame.f_locals.get("inputs")


def _suggestion(module: Any, shapes: tuple[Shape, ...], before: list[Row]) -> str:
    """Say what to write instead, where the layer's sizes tell."""
    kind = type(module).__name__
    for name, axis in (("in_features", -1), ("num_features", 1), ("in_channels", 1)):
        wanted = getattr(module, name, None)
        if not isinstance(wanted, int) or not shapes or len(shapes[0]) < 2:
            continue
        shape = shapes[0]
        if name == "in_features" and len(shape) > 2 and math.prod(shape[1:]) == wanted:
            return f"put a Flatten() before it: {shape} has {wanted} numbers per example"
        if shape[axis] != wanted:
            where = "whose last axis is" if axis == -1 else "whose axis 1 is"
            return f"write {kind}({name}={shape[axis]}, …), or give it an input {where} {wanted}"
    last = (
        f"; the layer before it, '{before[-1].path}' {before[-1].kind}, gave {_shapes(before[-1].outputs)}"
        if before
        else ""
    )
    return f"compare what {kind} takes with its input {_shapes(shapes)}{last}"


# ---------------------------------------------------------------------- counting


def _count_parameters(rows: list[tuple[Row, Any]]) -> None:
    """Give every row the parameters that its module holds itself."""
    counted: set[int] = set()
    for row, module in rows:
        for _, value in module._walk(deep=False):  # noqa: SLF001 - what the module itself holds
            if isinstance(value, Parameter):
                if id(value) in counted:
                    row.shared += value.size
                else:
                    counted.add(id(value))
                    row.parameters += value.size


def _count_work(calls: _Calls, output: Any, model: Any, made: set[int]) -> None:
    """Give every call its multiply-adds, and the memory that its nodes keep.

    ``made`` are the leaves that only the summary asks a gradient of.
    """
    nodes = ancestors([tensor._node for tensor in _tensors(output) if tensor._node is not None])
    held = [*model.named_parameters(), *model.named_buffers()]
    counted = {id(_storage(tensor.data)) for _, tensor in held}
    recorded: set[int] = set()  # without those leaves
    for number in sorted(nodes):
        node = nodes[number]
        if node.primitive is None:
            if node.requires_grad and number not in made:
                recorded.add(number)
            continue
        row = calls.row_of(node)
        row.multiply_adds += multiply_adds(node)
        pulls = [
            (i, rule) for i, rule in node.pulls if (parent := node.parents[i]) and parent.number in recorded
        ]
        if pulls:
            recorded.add(number)
        for array in _kept(node, pulls):
            storage = _storage(array)
            if id(storage) not in counted:
                counted.add(id(storage))
                row.kept_bytes += storage.nbytes


def _tensors(value: Any) -> list[Value]:
    if isinstance(value, Value):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in items for tensor in _tensors(item)]


def _kept(node: Node, pulls: list[tuple[int, Any]]) -> Iterator[Array]:
    """Yield the arrays that a node keeps where only some of its rules will run."""
    if not pulls:
        return
    yield node.y
    count = len(node.parents)
    read = {position - 2 for _, rule in pulls for position in reads(rule, 2 + count)}
    for i, arg in enumerate(node.args):
        if i in read and isinstance(arg, np.ndarray):
            yield arg


def _storage(array: Array) -> Array:
    """Return the array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def multiply_adds(node: Node) -> int:
    """Return how many times a recorded product multiplies and adds; 0 for anything else.

    A sum of K products per element of the result has K of them: K is in_features for ``linear``, the inner
    length for ``matmul``, in_channels times the kernel for a convolution.
    """
    name = node.primitive.name if node.primitive else ""
    shapes: list[Shape] = [getattr(arg, "shape", ()) for arg in node.args]
    if name == "linear":
        return node.y.size * shapes[1][-1]
    if name == "matmul":
        return node.y.size * shapes[0][-1]
    if name.startswith("conv"):
        return node.y.size * math.prod(shapes[1][1:])
    if name == "einsum":
        terms = node.meta["terms"]
        lengths = {
            k: n for term, shape in zip(terms, shapes, strict=True) for k, n in zip(term, shape, strict=True)
        }
        return math.prod(lengths.values())
    return 0
