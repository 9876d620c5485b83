"""The program: a plain list of operations on numbered slots, which can be read, printed and rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microgradnet.compiler.fusion import Kernel
    from microgradnet.compiler.products import Product
    from microgradnet.graph import Array, Node, Value


@dataclass(eq=False)
class Storage:
    """Memory that several slots lie in, one after another: all parameters of a group, or their gradients."""

    size: int
    dtype: np.dtype[Any]
    tensors: list[Value] = field(default_factory=list)
    """The tensors that are to live in it, in order; none for gradients."""


@dataclass(eq=False)
class Slot:
    """A value of the program: where it comes from, and the shape, dtype and strides that eager gives it."""

    kind: str
    """argument, state (a tensor's array), constant, number (a hyperparameter), gradient (one that was there
    at the beginning), or result (of an operation)."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    source: Any = None
    """The argument's position, the tensor, the array, the ``Number`` or the node; of a result, nothing."""
    value: Any = None
    """The array of the traced call, while the program is being built."""
    storage: tuple[Storage, int] | None = None
    """Where it has to lie: a storage and the position of its first element."""
    name: str = ""

    @classmethod
    def of(cls, kind: str, array: Array, source: Any = None) -> Slot:
        """Make the slot of an array."""
        return cls(kind, array.shape, array.dtype, array.strides, source, array)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def nbytes(self) -> int:
        """The memory of its elements, and of the gaps between them."""
        gaps = [(n - 1) * abs(stride) for n, stride in zip(self.shape, self.strides, strict=True)]
        return sum(gaps) + self.dtype.itemsize if self.size else 0

    @property
    def first(self) -> int:
        """Where its memory begins, in bytes from its first element: before it where a stride is negative."""
        return sum([(n - 1) * min(stride, 0) for n, stride in zip(self.shape, self.strides, strict=True)])

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in C order, without gaps."""
        expected, strides = self.dtype.itemsize, []
        for n in reversed(self.shape):
            strides.append(expected)
            expected *= n
        pairs = zip(self.shape, self.strides, reversed(strides), strict=True)
        return all(n == 1 or stride == right for n, stride, right in pairs)

    def lay_out(self, memory: Array) -> None:
        """Give the slot the layout of an array of its shape, which takes over its value."""
        memory[...] = self.value
        self.value, self.strides = memory, memory.strides

    def like(self, other: Slot) -> bool:
        """Whether both have the same shape, dtype and strides."""
        return (self.shape, self.dtype, self.strides) == (other.shape, other.dtype, other.strides)


@dataclass(eq=False)
class Operation:
    """One call: what is called with which slots and static values, and the slot of the result."""

    name: str
    kind: str
    """ufunc, reduce, dot, copy and product write to memory that is given to them; a view needs none, a scalar
    is a NumPy number, a call makes its own; random is a call that draws numbers; check may raise, and has no
    result."""
    function: Callable[..., Any]
    args: tuple[Any, ...]
    meta: dict[str, Any]
    out: Slot | None
    shares: tuple[Slot, ...] = ()
    """The arguments whose memory the result of a call or a view lies in."""
    backward: bool = False
    """Whether it belongs to the sweep or the update, whose values eager lets go of."""
    kernel: Kernel | None = None
    """The kernel of machine code that it runs in, with its neighbours of the same kernel."""
    product: Product | None = None
    """The call of BLAS that it is in machine code."""

    @property
    def slots(self) -> Iterator[Slot]:
        """The arguments that are slots."""
        return (arg for arg in self.args if isinstance(arg, Slot))

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result depends on the elements at its own place."""
        return self.kind == "ufunc" and getattr(self.function, "signature", "") is None

    @property
    def in_registers(self) -> bool:
        """Whether the result is in no memory."""
        return self.kernel is not None and self.out in self.kernel.registers

    def __call__(self, *arrays: Any) -> Any:
        """Compute it as eager does: the result is a new array, or a view."""
        if self.kind == "reduce":
            return self.function(arrays[0], self.meta["axis"], keepdims=self.meta["keepdims"])
        return self.function(*arrays, **self.meta)


@dataclass(eq=False)
class Program:
    """What one signature of a step does: operations, and what becomes of their results."""

    operations: list[Operation] = field(default_factory=list)
    arguments: list[Slot] = field(default_factory=list)
    stores: list[tuple[Value, Slot]] = field(default_factory=list)
    """What is written to at the end: a tensor (parameter, state, buffer) and its new value."""
    gradients: list[tuple[Node, Slot | None]] = field(default_factory=list)
    """What ``.grad`` of a leaf is afterwards."""
    result: Any = None
    """What is returned: slots in tuples, lists and dicts."""
    names: dict[int, str] = field(default_factory=dict)
    """What tensors and their nodes are called, by identity."""
    eager_bytes: int = 0
    """What eager's values take at their peak."""
    notes: list[str] = field(default_factory=list)
    """What the passes did, for people."""

    @property
    def outputs(self) -> list[Slot]:
        """All slots that must be computed."""
        kept = [slot for _, slot in self.stores] + [slot for _, slot in self.gradients if slot is not None]
        return kept + list(leaves(self.result))

    def readers(self) -> dict[Slot | None, list[Operation]]:
        """Return the operations that read each slot."""
        found: dict[Slot | None, list[Operation]] = {}
        for op in self.operations:
            for slot in dict.fromkeys(op.slots):
                found.setdefault(slot, []).append(op)
        return found

    def called(self, thing: Any) -> str:
        """Return what a tensor or node is called: its path in the model, or its shape."""
        name = self.names.get(id(thing)) or getattr(getattr(thing, "_node", thing), "name", None)
        return repr(name) if name else f"a tensor of shape {thing.shape}"

    def __str__(self) -> str:
        numbers: dict[Slot, str] = {}
        memories: dict[Storage, int] = {}
        made = {op.out for op in self.operations}

        def name(x: Any) -> str:
            if not isinstance(x, Slot):
                return _short(x)
            if x.kind == "constant" and not x.shape:
                return _short(x.source.item())
            if x.storage is not None and (x.kind == "part" or x not in made):
                storage, start = x.storage
                kind = "parameters" if storage.tensors else "values"
                memory = memories.setdefault(storage, len(memories))
                numbers.setdefault(x, f"{kind}{memory}[{start}:{start + x.size}]")
            if x not in numbers:
                numbers[x] = f"{_LETTERS[x.kind]}{len(numbers)}"
            return numbers[x]

        lines = [f"{name(slot)} = argument {slot.source}: {_typed(slot)}" for slot in self.arguments]
        kernel = None
        for op in self.operations:
            if op.kernel is not kernel and op.kernel is not None:
                lines.append(f"kernel {op.kernel.number}:")
            kernel = op.kernel
            args = [name(arg) for arg in op.args]
            args += [f"{key}={_short(value)}" for key, value in op.meta.items()]
            call = f"{op.name}({', '.join(args)})"
            if op.out is None:
                lines.append(f"check {call}")
                continue
            inside = "" if kernel is None else "    "
            where = " in registers" if op.in_registers else ""
            lines.append(f"{inside}{name(op.out)} = {call}: {_typed(op.out)}{where}")
        for tensor, slot in self.stores:
            lines.append(f"store {name(slot)} in {self.called(tensor)}")
        lines += [f"gradient of {self.called(node)}: {name(slot)}" for node, slot in self.gradients]
        lines.append(f"return {', '.join([name(slot) for slot in leaves(self.result)])}".rstrip())
        return "\n".join(lines)


_LETTERS = {"argument": "x", "state": "w", "constant": "c", "number": "h", "gradient": "g", "result": "v"}


def owners(operations: list[Operation]) -> dict[Slot, tuple[Slot, ...]]:
    """Return, for each view, the slots whose memory it lies in."""
    found: dict[Slot, tuple[Slot, ...]] = {}
    for op in operations:
        if op.out is not None and op.shares:
            whole = [owner for slot in op.shares for owner in found.get(slot, (slot,))]
            found[op.out] = tuple(dict.fromkeys(whole))
    return found


def leaves(structure: Any) -> Iterator[Slot]:
    """Yield the slots inside tuples, lists and dicts, in order."""
    if isinstance(structure, Slot):
        yield structure
    elif isinstance(structure, (tuple, list)):
        for item in structure:
            yield from leaves(item)
    elif isinstance(structure, dict):
        for item in structure.values():
            yield from leaves(item)


def replaced(structure: Any, new: Callable[[Slot], Any]) -> Any:
    """Put something in the place of every slot inside tuples, lists and dicts."""
    if isinstance(structure, Slot):
        return new(structure)
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*[replaced(item, new) for item in structure])
    if isinstance(structure, (tuple, list)):
        return type(structure)([replaced(item, new) for item in structure])
    if isinstance(structure, dict):
        return {key: replaced(item, new) for key, item in structure.items()}
    return structure


def renamed(program: Program, new: dict[Slot, Slot]) -> None:
    """Have everything in the program that reads a slot read another one in its place."""

    def of(slot: Slot) -> Slot:
        while slot in new:
            slot = new[slot]
        return slot

    for op in program.operations:
        op.args = tuple([of(arg) if isinstance(arg, Slot) else arg for arg in op.args])
        op.shares = tuple([of(slot) for slot in op.shares])
    program.stores = [(tensor, of(slot)) for tensor, slot in program.stores]
    program.gradients = [(node, None if slot is None else of(slot)) for node, slot in program.gradients]
    program.result = replaced(program.result, of)


def _typed(slot: Slot) -> str:
    return f"{slot.dtype}{list(slot.shape)}"


def _short(value: Any, limit: int = 40) -> str:
    if isinstance(value, np.dtype):
        return str(value)
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
