"""Launches: loops and products as text for the compiler, over memory whose addresses stand in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.loops import ALL, Access, Loop, literal
from microgradnet.compiler.program import Slot

if TYPE_CHECKING:
    from microgradnet.compiler.fusion import Kernel, Nest
    from microgradnet.compiler.products import Product
    from microgradnet.graph import Array


class Table:
    """The addresses that a program's machine code reads; it keeps the arrays alive."""

    def __init__(self) -> None:
        self._arrays: list[Array] = []
        self._places: dict[int, int] = {}

    def place(self, array: Array) -> int:
        """Return where in the table the address of an array stands."""
        self._arrays.append(array)
        return self.place_of(array.ctypes.data)

    def place_of(self, address: int) -> int:
        """Return where in the table an address stands."""
        return self._places.setdefault(address, len(self._places))

    def filled(self) -> Array:
        """Return the addresses."""
        return np.array(list(self._places), np.int64)


class Launch:
    """Kernels and matrix products, one after another, as one function in Python.

    Its arguments are the address of the table, and the arrays that differ by call. It returns 0; 1, at once,
    where a number is out of its range, or where it would write to what it is given.
    """

    def __init__(self, number: int, arrays: dict[Slot, Any], starts: dict[Slot, Slot], table: Table) -> None:
        self.name = f"launch{number}"
        self.arrays, self.starts, self.table = arrays, starts, table
        self.varying: list[Slot] = []
        """What is given at each call, in this order."""
        self.parts = 0
        self.updates: dict[Slot, None] = {}
        """Parameters that products write to."""
        self._count = 0
        self._pointers: dict[Any, str] = {}
        self._head: list[str] = []
        self._body: list[str] = []

    def __str__(self) -> str:
        kinds = [_NUMBA.get(slot.dtype.name, slot.dtype.name) for slot in self.varying]
        types = [
            f"types.Array(types.{kind}, {len(slot.shape)}, 'A')"
            for kind, slot in zip(kinds, self.varying, strict=True)
        ]
        names = ["table", *[f"x{i}" for i in range(len(self.varying))]]
        head = f"@kernel(types.int64({', '.join(['types.int64', *types])}))"
        apart = [self._apart(i, slot) for i, slot in enumerate(self.varying) if self.updates]
        lines = [f"def kernel_name({', '.join(names)}):", *apart, *self._head, *self._body, "return 0"]
        return f"{head}\n" + "\n    ".join(lines) + "\n"

    def add(self, kernel: Kernel) -> None:
        """Append the loops of a kernel."""
        regions = _Regions(kernel, self.arrays, self.parts)
        for nest in kernel.nests:
            _NestText(self, kernel, regions, nest).write(self._body)
        self.parts += 1

    def add_product(self, product: Product) -> None:
        """Append a matrix product."""
        kind = product.c.slot.dtype.name
        alpha, beta = [self._scale(scale, kind) for scale in (product.alpha, product.beta)]
        alpha = f"-{alpha}" if product.negative else alpha
        matrices = product.a, product.b, product.c
        layout = [product.a.turn, product.b.turn, *product.sizes, *[matrix.step for matrix in matrices]]
        places = [self.pointer(matrix.slot) for matrix in matrices]
        if product.beta != 0:
            self.updates[product.c.slot] = None
        self._body.append(
            f"gemm_{kind}(address(table, {self.table.place_of(product.function)}), {tuple(layout)}, "
            f"({alpha}, {beta}), ({', '.join(places)}))"
        )
        self.parts += 1

    def _apart(self, i: int, slot: Slot) -> str:
        """Return the line that gives up where an argument lies in the memory of a parameter."""
        given = f"types.int64(x{i}.ctypes.data)"
        first, end = f"{given} + {slot.first}", f"{given} + {slot.first + slot.nbytes}"
        places = [(self.table.place_of(self.arrays[out].ctypes.data), out.nbytes) for out in self.updates]
        updated = [(f"address(table, {place})", size) for place, size in places]
        overlaps = [f"({first} < {start} + {size}) & ({start} < {end})" for start, size in updated]
        return f"if {' | '.join([f'({overlap})' for overlap in overlaps])}: return 1"

    def add_check(self, slot: Slot, count: int) -> None:
        """Append the question whether all integers of an array lie in 0 … count − 1."""
        step = 1 if slot.contiguous else slot.strides[0] // slot.dtype.itemsize
        number = f"types.int64(load({self.pointer(slot)}, j * {step}, 0, 1, {self.parts}))"
        found, value = self.new_name("b"), self.new_name("v")
        self._body += [f"{found} = False", f"for j in range({slot.size}):", f"    {value} = {number}"]
        self._body += [f"    {found} |= ({value} < 0) | ({value} >= {count})", f"if {found}:", "    return 1"]
        self.parts += 1

    def _scale(self, scale: Any, kind: str) -> str:
        if isinstance(scale, Slot):
            return f"load({self.pointer(scale)}, 0, 0, 1, {self.parts})"
        return literal(scale, kind)

    def new_name(self, letter: str) -> str:
        """Return a new name."""
        self._count += 1
        return f"{letter}{self._count}"

    def pointer(self, slot: Slot) -> str:
        """Return the name of the pointer to the first element."""
        slot = self.starts.get(slot, slot)
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
            self._pointers[key] = name = self.new_name("p")
            self._head.append(f"{name} = pointer_{slot.dtype.name}({source})")
        return self._pointers[key]


_NUMBA = {"bool": "boolean"}
"""The names of dtypes that Numba knows by another one."""


class _Regions:
    """Numbers for parts of memory that do not overlap: the compiler need not look whether they do."""

    def __init__(self, kernel: Kernel, arrays: dict[Slot, Any], part: int) -> None:
        self._part = part
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

    def text(self, slot: Slot) -> str:
        """Return the last three arguments of a load or a store: the region, of how many, in which part."""
        return f"{self._numbers.get(slot, self._given)}, {self.count}, {self._part}"


def _span(array: Array) -> tuple[int, int]:
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high


class _NestText:
    """The loops of a nest: what stays the same is read before them, and results are stored last."""

    def __init__(self, launch: Launch, kernel: Kernel, regions: _Regions, nest: Nest) -> None:
        self.launch, self.kernel, self.regions, self.nest = launch, kernel, regions, nest
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
            value = self.launch.new_name("v")
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
        return f"{self.launch.pointer(access.slot)}, {' + '.join(terms) or '0'}"

    def _load(self, access: Access) -> str:
        return f"load({self._element(access)}, {self.regions.text(access.slot)})"

    def _store(self, access: Access, value: str) -> str:
        return f"store({self._element(access)}, {value}, {self.regions.text(access.slot)})"

    def _key(self, access: Access) -> tuple[Slot, int, int]:
        return self.kernel.root(access.slot), access.rows, access.columns

    def _read(self, loop: Loop, read: Access) -> str:
        place = self.nest.placed(loop, read)
        key = self._key(place)
        if key not in self._values:
            self._values[key] = name = self.launch.new_name("r")
            lines = self._before
            if place.columns and self.columns > 1:
                lines = self._inner
            elif place.rows and self.rows > 1:
                lines = self._row
            lines.append(f"{name} = {self._load(place)}")
        return self._values[key]

    def _keep(self, place: Access, value: str) -> None:
        self._values[self._key(place)] = value
        if place.slot not in self.kernel.registers:
            self._stores.append(self._store(place, value))

    def _reduce(self, loop: Loop, value: str) -> None:
        """Add up, or look for the largest; float32 is added up in float64."""
        largest = loop.op.function is np.maximum.reduce
        start = "-np.inf" if largest else "-0.0"
        place = self.nest.placed(loop, loop.write)
        if loop.axis == 0:  # row after row, as NumPy does it
            first = self._store(place, f"np.{loop.kind}({start})")
            self._before += [f"for j in range({self.columns}):", f"    {first}"]
            total = self.launch.new_name("s")
            self._stores += [f"{total} = {self._load(place)}"]
            self._stores += [self._store(place, self._step(largest, total, value))]
            return
        kind = loop.kind if largest else "float64"
        total = self.launch.new_name("s")
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
