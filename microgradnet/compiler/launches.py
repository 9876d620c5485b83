"""Launches: which operations of a program are machine code, and the lines of the executor that call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.kernels import Launch, Table
from microgradnet.compiler.machine_code import compiled
from microgradnet.compiler.program import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from microgradnet.compiler.executor import Writer
    from microgradnet.compiler.fusion import Kernel
    from microgradnet.compiler.program import Operation, Program
    from microgradnet.graph import Array


class Launches:
    """Collects what runs in machine code, one after another, until a line of Python comes between."""

    def __init__(
        self, program: Program, writer: Writer, arrays: dict[Slot, Any], text: Callable[[Slot], str]
    ) -> None:
        self._writer, self._arrays, self._text = writer, arrays, text
        self._makers = {op.out: op for op in program.operations}
        self._readers = program.readers()
        self._table = Table()
        self._launches: list[Launch] = []
        self._open: Launch | None = None
        self._checks: list[str] = []
        """What says what is wrong with a number that the open launch does not take."""
        self._starts: dict[Slot, Slot] = {}
        """Arguments whose transposes only machine code reads: by these."""
        self._any = any(self._inside(op) for op in program.operations)

    def takes(self, op: Operation) -> bool:
        """Append a product, or have machine code read a transposed argument itself; False for all others."""
        if op.product is not None and (op.kind == "product" or self._inside(op)):
            self._launch(op.slots).add_product(op.product)
            return True
        if op.out is not None and op.kind == "view" and self._only_turned(op):
            self._starts[op.out] = op.args[0]
            return True
        return False

    def takes_check(self, op: Operation, call: str) -> bool:
        """Append a check of integers, where there is machine code; ``call`` raises where it fails."""
        if not self._any or not counts(op):
            return False
        self._launch(op.slots).add_check(op.args[0], op.meta["count"])
        self._checks.append(call)
        return True

    def add(self, kernel: Kernel) -> None:
        """Append a kernel."""
        self._launch([slot for slot in kernel.arguments if slot not in kernel.registers]).add(kernel)

    def close(self) -> None:
        """Write the call of what is open; what differs by call is given to it."""
        if self._open is not None:
            launch, self._open = self._open, None
            self._writer.names |= {launch.name: None, "table": None}
            given = [self._text(slot) for slot in launch.varying]
            call = f"{launch.name}({', '.join(['table', *given])})"
            if launch.updates and given:  # which it may have been given: then it is given copies
                copy = self._writer.name(_copy, "f")
                again = f"{launch.name}({', '.join(['table', *[f'{copy}({array})' for array in given]])})"
                call = f"{call} and {again}"
            self._writer.lines.append(f"if {call}: {'; '.join(self._checks)}" if self._checks else call)
            self._checks = []

    def load(self) -> tuple[Array, Table]:
        """Put the machine code in the place of its names; return the memory that it needs."""
        addresses = self._table.filled()
        if self._launches:
            self._writer.names["table"] = int(addresses.ctypes.data)
            functions = compiled(tuple([str(launch) for launch in self._launches]))
            for launch, function in zip(self._launches, functions, strict=True):
                self._writer.names[launch.name] = function
        return addresses, self._table

    def _launch(self, slots: Iterable[Slot]) -> Launch:
        """Return the launch that goes on, with slots to read whose layout is certain."""
        for slot in slots:
            if not self._certain(slot):
                made = self._text(slot)
                self._arrays[slot] = _memory(slot)
                copy = self._writer.name(np.copyto, "f")
                self.close()
                self._writer.lines.append(f"{copy}({self._text(slot)}, {made}, 'unsafe')")
        if self._open is None:
            self._open = Launch(len(self._launches), self._arrays, self._starts, self._table)
            self._launches.append(self._open)
        return self._open

    def _inside(self, op: Operation) -> bool:
        """Whether an operation runs in machine code, wherever its arguments are."""
        return op.kernel is not None or (op.product is not None and all(map(self._certain, op.slots)))

    def _only_turned(self, op: Operation) -> bool:
        """Whether an operation shows an argument from its beginning on, for machine code alone."""
        if op.args[0].kind != "argument" or op.name != "transpose":
            return False
        return all(self._inside(reader) and reader.kind != "view" for reader in self._readers.get(op.out, []))

    def _certain(self, slot: Slot) -> bool:
        """Whether an array has the slot's strides in every call: of arguments they are compared."""
        if slot in self._arrays:
            return True
        maker = self._makers.get(slot)
        if maker is None:
            return slot.kind == "argument"
        if maker.kind == "view":
            return all(self._certain(owner) for owner in maker.slots)
        return maker.kind == "random" and slot.contiguous


def counts(op: Operation) -> bool:
    """Whether a check asks for integers in 0 … n − 1."""
    slot = op.args[0]
    if op.name != "in_range" or "count" not in op.meta or slot.dtype.kind not in "iu":
        return False
    in_line = slot.contiguous or (len(slot.shape) == 1 and slot.strides[0] % slot.dtype.itemsize == 0)
    return bool(slot.size and slot.dtype.isnative and in_line)


def _memory(slot: Slot) -> Array:
    """Return an uninitialised array with the strides of a slot, with all their gaps and directions."""
    return np.ndarray(slot.shape, slot.dtype, np.empty(slot.nbytes, np.uint8), -slot.first, slot.strides)


def _copy(array: Array) -> Array:
    """Return a copy of an argument, with its strides."""
    copy = _memory(Slot.of("argument", array))
    copy[...] = array
    return copy
