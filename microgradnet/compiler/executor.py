"""Executor: the program as one straight-line Python function over memory that is allocated once."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import ops
from microgradnet.compiler.launches import Launches, counts
from microgradnet.compiler.memory import LINE, STATIC, Memory, bound
from microgradnet.compiler.program import Operation, Program, Slot, Storage
from microgradnet.graph import clock, last_write
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.graph import Array


SMALL = 1 << 14
"""Bytes up to which NumPy takes longer to broadcast a row than to copy it and to add two whole arrays."""


class LateGradient:
    """What ``.grad`` of a parameter is after a compiled step, copied when it is read."""

    __slots__ = ("array",)

    def __init__(self, array: Array | None) -> None:
        self.array = array

    def copy(self) -> Array:
        """Return it as an array that nobody else holds."""
        return np.array(self.array, order="C")

    def __add__(self, other: Any) -> Any:
        return self.array + other


class Writer:
    """Collects the lines of a function, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self._known: dict[int, str] = {}

    def name(self, thing: Any, letter: str) -> str:
        """Return the name of an object, always the same one."""
        if id(thing) not in self._known:
            self._known[id(thing)] = name = f"{letter}{len(self.names)}"
            self.names[name] = thing
        return self._known[id(thing)]

    def function(self, parameters: str) -> Callable[..., Any]:
        """Compile the lines into a function whose objects are its closure."""
        body = "\n        ".join(self.lines)
        head = f"def make({', '.join(self.names)}):\n    def run({parameters}):"
        source = f"{head}\n        {body}\n    return run\n"
        scope: dict[str, Any] = {}
        exec(compile(source, "<compiled step>", "exec"), scope)  # noqa: S102 - our own text: names and calls
        made: Callable[..., Any] = scope["make"](*self.names.values())  # by name it would be quadratic
        made.__doc__ = source
        return made


class Executor:
    """Memory and code of a program."""

    def __init__(self, program: Program, guards: Callable[[Writer, dict[Slot, Array]], None]) -> None:
        self.program = program
        self.memory = Memory(program)
        raw = np.empty(self.memory.size + LINE, np.uint8)
        shift = -raw.ctypes.data % LINE
        self._arena = raw[shift : shift + self.memory.size]
        self._storages: dict[Storage, Array] = {}
        self._places: dict[Any, Array] = {}
        self.arrays: dict[Slot, Any] = {}
        self.writer = Writer()
        for slot in self._given():
            self._array(slot)
        self._shells = {node: LateGradient(None) for node, _ in program.gradients}
        self.numbers = {slot: array for slot, array in self.arrays.items() if slot.kind == "number"}
        guards(self.writer, self.arrays)
        self._entry()
        self._launches = Launches(program, self.writer, self.arrays, self._text)
        last = {op.kernel: op for op in program.operations}
        for op in program.operations:
            if op.kind != "fused" and not op.in_registers:
                self._emit(op)
            if op.kernel is not None and last[op.kernel] is op:
                self._launches.add(op.kernel)
        self._launches.close()
        self._exit()
        kept = self._launches.load()
        self.run = self.writer.function(", ".join([f"t{slot.source}" for slot in program.arguments]) or "")
        vars(self.run)["memory"] = kept  # which no object that it names may hold

    def _given(self) -> list[Slot]:
        """Return every slot whose memory is known before the program runs, storages with tensors first."""
        program = self.program
        slots: dict[Slot, None] = {}
        for op in program.operations:
            slots.update(dict.fromkeys(op.slots))
            if op.out is not None and op.kind in STATIC:
                slots[op.out] = None
        slots.update(dict.fromkeys(program.outputs))
        for slot in slots:
            if slot.storage is not None:
                self._flat(slot.storage[0])
        return [
            slot for slot in slots if slot.kind != "result" or slot.storage or slot in self.memory.offsets
        ]

    def _flat(self, storage: Storage) -> Array:
        if storage not in self._storages:
            self._storages[storage] = bound(storage)
        return self._storages[storage]

    def _array(self, slot: Slot) -> Any:
        """Bind a slot to its array."""
        if slot.storage is not None:
            storage, start = slot.storage
            array: Any = self._same_object(
                (storage, start, slot.shape),
                lambda: self._flat(storage)[start : start + slot.size].reshape(slot.shape),
            )
        elif slot.kind == "state":
            array = slot.source._array
        elif slot.kind == "constant":
            array = slot.source
            if not array.shape:  # a name for each of many equal numbers would make Python's compiler slow
                array = self._same_object((array.dtype, array.tobytes()), lambda: slot.source)
        elif slot.kind == "number":
            array = np.array(slot.value, slot.dtype)
        elif slot.kind in {"argument", "gradient"}:
            return
        else:
            offset = self.memory.offsets[slot]
            array = self._same_object(
                (offset, slot.shape, slot.dtype, slot.strides),
                lambda: np.ndarray(slot.shape, slot.dtype, self._arena, offset, strides=slot.strides),
            )
        self.arrays[slot] = array

    def _same_object(self, key: Any, make: Callable[[], Array]) -> Array:
        """Return one array object for one place: NumPy sees at once that an update in place is one."""
        if key not in self._places:
            self._places[key] = make()
        return self._places[key]

    def _text(self, x: Any) -> str:
        """Return how an argument is written."""
        if isinstance(x, Slot):
            if x in self.arrays:
                return self.writer.name(self.arrays[x], "a")
            return f"x{x.source}" if x.kind == "argument" else self._local(x)
        if x is None or isinstance(x, (bool, int, str)):
            return repr(x)
        if type(x) is float and np.isfinite(x):  # np.float64 is a float, too, which takes part in promotion
            return repr(x)
        return self.writer.name(x, "s")

    def _local(self, slot: Slot) -> str:
        if not slot.name.startswith("v"):
            slot.name = f"v{len(self.writer.lines)}"
        return slot.name

    def _entry(self) -> None:
        for slot in self._read("gradient"):
            node = self.writer.name(slot.source, "n")
            copy = self.writer.name(np.array, "f")
            grad = f"{node}.grad"
            self.writer.lines.append(
                f"{self._local(slot)} = {grad}.copy() if {grad} is not None else {copy}(0)"
            )

    def _read(self, kind: str) -> list[Slot]:
        found = {slot: None for op in self.program.operations for slot in op.slots if slot.kind == kind}
        found.update({slot: None for slot in self.program.outputs if slot.kind == kind})
        return list(found)

    def _line(self, line: str) -> None:
        """Append a line, after what machine code has to do before."""
        self._launches.close()
        self.writer.lines.append(line)

    def _emit(self, op: Operation) -> None:
        text = self._text
        if self._launches.takes(op):
            return
        args = [text(arg) for arg in op.args]
        if op.kind == "view" and all(slot in self.arrays for slot in op.slots) and op.out is not None:
            self.arrays[op.out] = op(
                *[self.arrays.get(arg, arg) if isinstance(arg, Slot) else arg for arg in op.args]
            )
            return
        if op.kind in STATIC and op.out is not None:
            self._line(self._kernel(op, args, text(op.out)))
            return
        if op.kind == "scalar" and op.out is not None:
            self._line(f"{self._local(op.out)} = {self._scalar(op, args)}")
            return
        function = self.writer.name(op.function, "f")
        meta = dict(op.meta)
        if op.kind == "random" and meta.get("rng") is None:
            del meta["rng"]
            args.append(f"rng={self.writer.name(ops.generator, 'f')}()")
        args += [f"{key}={text(value)}" for key, value in meta.items()]
        call = f"{function}({', '.join(args)})"
        if op.out is None:
            if not self._launches.takes_check(op, call):
                self._line(f"{self._suspicion(op, args[0])}{call}")
        elif op.out.shape and op.out.size:
            self._line(f"{self._local(op.out)} = {call}")
        else:
            self._line(f"{self._local(op.out)} = {self.writer.name(np.asarray, 'f')}({call})")

    def _suspicion(self, op: Operation, arg: str) -> str:
        """Return a quick question before a check: of integers that must lie in 0 … n − 1, one is too large.

        As unsigned numbers the negative ones are the largest of all.
        """
        slot = op.args[0]
        if not counts(op):
            return ""
        unsigned = self.writer.name(np.dtype(f"u{slot.dtype.itemsize}"), "T")
        largest = f"{self.writer.name(np.maximum.reduce, 'f')}({arg}.view({unsigned}), None)"
        return f"if {largest} >= {op.meta['count']}: "

    def _scalar(self, op: Operation, args: list[str]) -> str:
        if op.function is operator.mul:
            return " * ".join(args)
        array = self.arrays.get(op.args[0])
        return f"{self.writer.name(array.dot, 'd') if array is not None else args[0] + '.dot'}({args[1]})"

    def _kernel(self, op: Operation, args: list[str], out: str) -> str:
        name = self.writer.name
        if op.kind == "dot" and op.out is not None and not op.out.contiguous:  # which dot does not write to
            return f"{name(np.matmul, 'f')}({', '.join([*args, out])})"
        if op.kind == "dot":
            array = self.arrays.get(op.args[0])
            return f"{name(array.dot, 'd') if array is not None else args[0] + '.dot'}({args[1]}, {out})"
        if op.kind == "copy":
            return f"{name(np.copyto, 'f')}({out}, {args[0]}, 'unsafe')"
        row = self._row(op)
        if row is not None:
            tile = name(np.empty(op.out.shape, op.out.dtype), "a")  # type: ignore[union-attr]
            self._line(f"{tile}[...] = {args[row]}")
            args[row] = tile
        function = name(op.function, "f")
        if op.kind == "reduce":
            keep = ", True" if op.meta["keepdims"] else ""
            return f"{function}({args[0]}, {self._text(op.meta['axis'])}, None, {out}{keep})"
        if op.function in {np.maximum, np.minimum}:  # which want it by name
            return f"{function}({', '.join(args)}, out={out})"
        return f"{function}({', '.join([*args, out])})"

    def _row(self, op: Operation) -> int | None:
        """Return which argument is a row that is copied to every row first, which is the quicker way."""
        out = op.out
        if (
            not op.elementwise
            or out is None
            or len(out.shape) != 2
            or len(op.args) != 2
            or not out.contiguous
        ):
            return None
        shapes = [arg.shape if isinstance(arg, Slot) else None for arg in op.args]
        if (
            out.nbytes > SMALL
            or shapes.count(out.shape) != 1
            or any(arg.dtype != out.dtype for arg in op.slots)
        ):
            return None
        row = 1 - shapes.index(out.shape)
        return row if shapes[row] == out.shape[1:] and out.shape[0] > 1 else None

    def _exit(self) -> None:
        lines, program, name = self.writer.lines, self.program, self.writer.name
        for tensor, slot in program.stores:
            target = tensor._array
            made = self.arrays.get(slot)
            in_place = (
                made is not None and made.ctypes.data == target.ctypes.data and made.size == target.size
            )
            if not in_place:
                lines.append(f"{name(np.copyto, 'f')}({name(target, 'a')}, {self._text(slot)}, 'unsafe')")
        if program.stores:
            cells = " = ".join([f"{name(cell, 'c')}[0]" for cell in self._cells()])
            lines.append(f"{cells} = {name(clock, 'k')}.__next__()")
        for node, found in program.gradients:
            if found is None:
                lines.append(f"{name(node, 'n')}.grad = None")
                continue
            slot, shell = found, self._shells[node]
            if slot in self.arrays:
                shell.array = self.arrays[slot]
            else:
                lines.append(f"{name(shell, 'g')}.array = {self._text(slot)}")
            lines.append(f"{name(node, 'n')}.grad = {name(shell, 'g')}")
        lines.append(f"return {self._returned(program.result)}")

    def _cells(self) -> list[Any]:
        cells = {id(tensor._version): tensor._version for tensor, _ in self.program.stores}
        return [*cells.values(), last_write]

    def _returned(self, result: Any) -> str:
        name = self.writer.name
        if isinstance(result, Slot):
            made = self.arrays.get(result)
            copy = f"{self._text(result)}.copy()"
            if result.kind == "result" and made is None and not result.shape:
                copy = f"{name(np.array, 'f')}({self._text(result)})"
            return f"{name(Tensor._box, 'f')}({copy}, None, [0])"
        if isinstance(result, tuple) and hasattr(result, "_fields"):
            return f"{name(type(result), 'f')}({', '.join([self._returned(item) for item in result])})"
        if isinstance(result, tuple):
            return f"({''.join([self._returned(item) + ', ' for item in result])})"
        if isinstance(result, list):
            return f"[{', '.join([self._returned(item) for item in result])}]"
        if isinstance(result, dict):
            return "{" + ", ".join([f"{self._text(k)}: {self._returned(v)}" for k, v in result.items()]) + "}"
        return self._text(result)
