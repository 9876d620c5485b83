"""Kernels: the text of loops in Python, for the compiler, over memory whose addresses stand in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.loops import ALL, Access, Loop

if TYPE_CHECKING:
    from microgradnet.compiler.fusion import Kernel, Nest
    from microgradnet.compiler.program import Slot
    from microgradnet.graph import Array


class Table:
    """The addresses that the kernels of a program read; it keeps the arrays alive."""

    def __init__(self) -> None:
        self._arrays: list[Array] = []
        self._places: dict[int, int] = {}

    def place(self, array: Array) -> int:
        """Return where in the table the address of an array stands."""
        address = array.ctypes.data
        if address not in self._places:
            self._places[address] = len(self._arrays)
            self._arrays.append(array)
        return self._places[address]

    def filled(self) -> Array:
        """Return the addresses."""
        return np.array([array.ctypes.data for array in self._arrays], np.int64)


class KernelText:
    """A kernel as a function in Python, of the address of the table and the arrays that differ by call."""

    def __init__(self, kernel: Kernel, arrays: dict[Slot, Any], table: Table) -> None:
        self.kernel, self.arrays, self.table = kernel, arrays, table
        self.varying: list[Slot] = []
        """What is given at each call, in this order."""
        self.count = 0
        self._pointers: dict[Any, str] = {}
        self._head: list[str] = []
        self._regions = _Regions(kernel, arrays)
        self._body: list[str] = []
        for nest in kernel.nests:
            _NestText(self, nest).write(self._body)

    def __str__(self) -> str:
        types = [f"types.Array(types.{_NUMBA[s.dtype.name]}, {len(s.shape)}, 'A')" for s in self.varying]
        names = ["table", *[f"x{i}" for i in range(len(self.varying))]]
        head = f"@kernel(types.void({', '.join(['types.int64', *types])}))"
        lines = [f"def kernel_name({', '.join(names)}):", *self._head, *self._body]
        return f"{head}\n" + "\n    ".join(lines) + "\n"

    def name(self, letter: str) -> str:
        """Return a new name."""
        self.count += 1
        return f"{letter}{self.count}"

    def pointer(self, slot: Slot) -> str:
        """Return the name of the pointer to the first element."""
        array = self.arrays.get(slot)
        if array is None:
            if slot not in self.varying:
                self.varying.append(slot)
            key: Any = slot
            source = f"types.int64(x{self.varying.index(slot)}.ctypes.data)"
        else:
            key = (array.ctypes.data, slot.dtype)
            source = f"address(table, {self.table.place(array)})"
        if key not in self._pointers:
            self._pointers[key] = name = self.name("p")
            self._head.append(f"{name} = pointer_{slot.dtype.name}({source})")
        return self._pointers[key]

    def region(self, slot: Slot) -> str:
        """Return the last two arguments of a load or a store."""
        return f"{self._regions.number(slot)}, {self._regions.count}"


_NUMBA = {"float32": "float32", "float64": "float64", "bool": "boolean"}


class _Regions:
    """Numbers for parts of memory that do not overlap: the compiler need not look whether they do."""

    def __init__(self, kernel: Kernel, arrays: dict[Slot, Any]) -> None:
        accesses = [a for nest in kernel.nests for loop in nest.loops for a in (*loop.accesses, loop.write)]
        slots = [slot for slot in dict.fromkeys([a.slot for a in accesses]) if slot not in kernel.registers]
        spans = sorted([(*_span(arrays[slot]), i) for i, slot in enumerate(slots) if slot in arrays])
        self._numbers: dict[Slot, int] = {}
        self.count, end = 0, -1
        for start, stop, i in spans:
            self.count += start >= end
            end = max(end, stop)
            self._numbers[slots[i]] = self.count - 1
        # An array that is given may be a parameter that is written to: it shares a number with all of those.
        self._given = self.count
        own = {self._numbers[s] for s in self._numbers if s.storage is not None and s.storage[0].tensors}
        self._numbers = {slot: self.count if n in own else n for slot, n in self._numbers.items()}
        # In the order of the text, not of the addresses: the same kernel has the same text in every process.
        order: dict[int, int] = {}
        self._numbers = {
            slot: order.setdefault(self._numbers[slot], len(order)) for slot in slots if slot in self._numbers
        }
        self._given = order.setdefault(self._given, len(order))
        self.count = len(order)

    def number(self, slot: Slot) -> int:
        """Return the number of what a slot lies in."""
        return self._numbers.get(slot, self._given)


def _span(array: Array) -> tuple[int, int]:
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high


class _NestText:
    """The loops of a nest: what stays the same is read before them, and results are stored last."""

    def __init__(self, kernel: KernelText, nest: Nest) -> None:
        self.kernel, self.nest = kernel, nest
        self.rows, self.columns = nest.rows, nest.columns
        if self.rows > 1 and all(loop.axis in {None, ALL} for loop in nest.loops):
            places = [nest.placed(loop, access) for loop in nest.loops for access in self._touched(loop)]
            if all(place.rows == place.columns * self.columns for place in places):  # row after row
                self.rows, self.columns = 1, self.rows * self.columns
        self._before: list[str] = []
        self._row: list[str] = []
        self._inner: list[str] = []
        self._stores: list[str] = []
        self._after_row: list[str] = []
        self._after: list[str] = []
        self._values: dict[tuple[Slot, int, int], str] = {}

    def _touched(self, loop: Loop) -> list[Access]:
        return loop.accesses if loop.axis == ALL else [*loop.accesses, loop.write]

    def write(self, lines: list[str]) -> None:
        """Append the lines of the nest."""
        for loop in self.nest.loops:
            names = [read if isinstance(read, str) else self._read(loop, read) for read in loop.reads]
            value = self.kernel.name("v")
            self._inner.append(f"{value} = {loop.expression(loop.kind, *names)}")
            if loop.axis is None:
                self._keep(self.nest.placed(loop, loop.write), value)
            else:
                self._reduce(loop, value)
        lines += self._before
        deep = inner = ""
        if self.rows > 1:
            lines.append(f"for i in range({self.rows}):")
            deep = inner = "    "
        lines += [deep + line for line in self._row]
        if self.columns > 1:
            lines.append(f"{deep}for j in range({self.columns}):")
            inner = deep + "    "
        lines += [inner + line for line in self._inner + self._stores]
        lines += [deep + line for line in self._after_row] + self._after

    def _element(self, access: Access) -> str:
        parts = [(access.rows, "i", self.rows), (access.columns, "j", self.columns)]
        terms = [name if step == 1 else f"{name} * {step}" for step, name, n in parts if step and n > 1]
        return f"{self.kernel.pointer(access.slot)}, {' + '.join(terms) or '0'}"

    def _load(self, access: Access) -> str:
        return f"load({self._element(access)}, {self.kernel.region(access.slot)})"

    def _store(self, access: Access, value: str) -> str:
        return f"store({self._element(access)}, {value}, {self.kernel.region(access.slot)})"

    def _key(self, access: Access) -> tuple[Slot, int, int]:
        return self.kernel.kernel.root(access.slot), access.rows, access.columns

    def _read(self, loop: Loop, read: Access) -> str:
        place = self.nest.placed(loop, read)
        key = self._key(place)
        if key not in self._values:
            self._values[key] = name = self.kernel.name("r")
            lines = self._before
            if place.columns and self.columns > 1:
                lines = self._inner
            elif place.rows and self.rows > 1:
                lines = self._row
            lines.append(f"{name} = {self._load(place)}")
        return self._values[key]

    def _keep(self, place: Access, value: str) -> None:
        self._values[self._key(place)] = value
        if place.slot not in self.kernel.kernel.registers:
            self._stores.append(self._store(place, value))

    def _reduce(self, loop: Loop, value: str) -> None:
        """Add up, or look for the largest; float32 is added up in float64."""
        largest = loop.op.function is np.maximum.reduce
        start = "-np.inf" if largest else "-0.0"
        place = self.nest.placed(loop, loop.write)
        if loop.axis == 0:  # row after row, as NumPy does it
            first = self._store(place, f"np.{loop.kind}({start})")
            self._before += [f"for j in range({self.columns}):", f"    {first}"]
            total = self.kernel.name("s")
            self._stores += [f"{total} = {self._load(place)}"]
            self._stores += [self._store(place, self._step(largest, total, value))]
            return
        kind = loop.kind if largest else "float64"
        total = self.kernel.name("s")
        begin, end = (self._row, self._after_row) if loop.axis == 1 else (self._before, self._after)
        begin.append(f"{total} = np.{kind}({start})")
        added = value if kind == loop.kind else f"np.{kind}({value})"
        step = self._step(largest, total, added) if largest else f"reordered_add({total}, {added})"
        self._inner.append(f"{total} = {step}")
        end.append(self._store(place, f"np.{loop.kind}({total})"))

    def _step(self, largest: bool, total: str, value: str) -> str:
        if largest:
            return f"select(({total} > {value}) | ({total} != {total}), {total}, {value})"
        return f"{total} + {value}"
