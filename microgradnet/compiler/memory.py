"""Memory: which slots share a buffer, by when they are needed, and the arrays that come of it."""

from __future__ import annotations

from bisect import bisect, insort
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.program import owners
from microgradnet.graph import clock, last_change

if TYPE_CHECKING:
    from microgradnet.compiler.fusion import Kernel
    from microgradnet.compiler.program import Operation, Program, Slot, Storage
    from microgradnet.graph import Array, Value

STATIC = {"ufunc", "reduce", "dot", "copy", "product", "fused"}
"""Kinds of operations whose result lies where we say."""
LINE = 64
"""Buffers begin at multiples of a cache line."""


class Memory:
    """The buffers of a program: shared by slots that are not needed at the same time."""

    def __init__(self, program: Program) -> None:
        self.offsets: dict[Slot, int] = {}
        """Where in the buffer a result lies."""
        self.size = 0
        self._free: list[tuple[int, int]] = []  # offset and length, by offset; no two touch
        self._held: dict[Slot, tuple[int, int]] = {}
        self._owned_by = owners(program.operations)
        spans = lifetimes(program.operations, program.outputs)
        self._last = {slot: stop for _, stop, slot in spans}
        over: dict[int, list[Slot]] = {}
        for _, stop, slot in spans:
            over.setdefault(stop, []).append(slot)
        given = [slot for _, slot in program.gradients if slot is not None]
        lasting = {owner for slot in given for owner in self._owned_by.get(slot, (slot,))}
        ends = _ends(program.operations)
        for i, op in enumerate(program.operations):
            if op.out is not None and op.kind in STATIC and op.out.storage is None and not op.in_registers:
                taken = self._in_place(op, ends[i])
                place = self._held.pop(taken) if taken else self._place(op.out, own=op.out in lasting)
                self._held[op.out] = place
                self.offsets[op.out] = place[0]
            for slot in over.get(i, []):
                if slot in self._held and slot not in lasting:
                    self._release(*self._held.pop(slot))

    def _place(self, out: Slot, *, own: bool) -> tuple[int, int]:
        """Return offset and length of memory for a result: the smallest free piece, or more at the end."""
        room = max(-(-out.nbytes // LINE) * LINE, LINE)
        fitting = [] if own else [piece for piece in self._free if piece[1] >= room]
        if fitting:
            offset, length = min(fitting, key=lambda piece: piece[1])
            self._free.remove((offset, length))
            if length > room:
                insort(self._free, (offset + room, length - room))
            return offset, room
        last = self._free[-1] if self._free and not own else (0, 0)
        offset = self._free.pop()[0] if sum(last) == self.size > 0 else self.size
        self.size = offset + room
        return offset, room

    def _release(self, offset: int, length: int) -> None:
        """Take memory back, and join it with what is free on either side."""
        i = bisect(self._free, (offset, length))
        if i < len(self._free) and self._free[i][0] == offset + length:
            length += self._free.pop(i)[1]
        if i and sum(self._free[i - 1]) == offset:
            offset, before = self._free.pop(i - 1)
            length += before
        insort(self._free, (offset, length))

    def _in_place(self, op: Operation, i: int) -> Slot | None:
        """Return the argument whose memory an elementwise operation may take over."""
        if op.out is None or not (op.elementwise or op.kernel is not None):
            return None
        if op.kernel is not None:
            return self._in_kernel(op.out, op.kernel, i)
        for arg in op.slots:
            if arg in self._held and self._last[arg] == i and arg.like(op.out):
                return arg
        return None

    def _in_kernel(self, out: Slot, kernel: Kernel, i: int) -> Slot | None:
        """Return whose memory a kernel may write a result to; it may read it as a transpose."""
        for arg in kernel.arguments:
            old = self._owned_by.get(arg, (arg,))[0]
            whole = arg.like(out) and arg.nbytes == old.nbytes
            if whole and old in self._held and self._last[old] == i and kernel.replaces(out, old):
                return old
        return None


def bound(storage: Storage) -> Array:
    """Return the flat array of a storage; its tensors' arrays become parts of it, holding what they held.

    Where they are consecutive parts of one array already, as another program has left them, they stay.
    """
    if not storage.tensors:
        return np.zeros(storage.size, storage.dtype)
    if len(storage.tensors) == 1:
        return storage.tensors[0]._array.reshape(-1)
    flat = _consecutive(storage)
    if flat is not None:
        return flat
    flat = np.empty(storage.size, storage.dtype)
    position = 0
    for tensor in storage.tensors:
        array = tensor._array
        part = flat[position : position + array.size].reshape(array.shape)
        part[...] = array
        _rebind(tensor, part)
        position += array.size
    return flat


def _rebind(tensor: Value, array: Array) -> None:
    """Give a tensor other memory with the same numbers: the same leaf, and the same version."""
    tensor._array = array
    last_change[0] = next(clock)
    if tensor._node is not None:
        tensor._node.y = array


def _consecutive(storage: Storage) -> Array | None:
    arrays = [tensor._array for tensor in storage.tensors]
    base: Any = arrays[0].base
    if not isinstance(base, np.ndarray) or base.ndim != 1 or not base.flags.carray:
        return None
    if any(array.base is not base or array.dtype != storage.dtype for array in arrays):
        return None
    start = address = arrays[0].ctypes.data
    for array in arrays:
        if array.ctypes.data != address or not array.flags.c_contiguous:
            return None
        address += array.nbytes
    first = (start - base.ctypes.data) // storage.dtype.itemsize
    found: Array = base[first : first + storage.size]
    return found if found.size == storage.size and found.dtype == storage.dtype else None


def lifetimes(operations: list[Operation], kept: list[Slot]) -> list[tuple[int, int, Slot]]:
    """Return, for each result with memory of its own, when it is made, when it is read last, and its slot."""
    owned_by = owners(operations)
    last: dict[Slot, int] = {}
    ends = _ends(operations)
    for i, op in enumerate(operations):
        for slot in op.slots:
            last.update(dict.fromkeys(owned_by.get(slot, (slot,)), ends[i]))
    for slot in kept:
        last.update(dict.fromkeys(owned_by.get(slot, (slot,)), len(operations)))
    return [
        (i, last.get(op.out, ends[i]), op.out)
        for i, op in enumerate(operations)
        if op.out is not None and op.out not in owned_by
    ]


def _ends(operations: list[Operation]) -> list[int]:
    """Return when each operation has ended: those of a kernel end with its last one."""
    last = {op.kernel: i for i, op in enumerate(operations)}
    return [i if op.kernel is None else last[op.kernel] for i, op in enumerate(operations)]


def _peak(spans: list[tuple[int, int, Slot]], end: int) -> int:
    change = [0] * (end + 2)
    for start, stop, slot in spans:
        change[start] += slot.nbytes
        change[stop + 1] -= slot.nbytes
    level = most = 0
    for step in change:
        level += step
        most = max(most, level)
    return most


def eager_peak(program: Program) -> int:
    """Return the most bytes that eager holds at a time: the graph keeps what the forward pass made."""
    end = len(program.operations)
    backward = {op.out for op in program.operations if op.backward}
    spans = lifetimes(program.operations, program.outputs)
    return _peak([(i, j if slot in backward else end, slot) for i, j, slot in spans], end)


def measured(program: Program) -> dict[str, int]:
    """Return the bytes of a program's buffers, values and calls, their sum, and eager's peak."""
    plan = Memory(program)
    storages = {
        slot.storage[0]
        for op in program.operations
        for slot in [*op.slots, *([op.out] if op.out is not None else [])]
        if slot.storage is not None
    }
    values = sum([s.size * s.dtype.itemsize for s in storages if not s.tensors])
    calls = {op.out for op in program.operations if op.kind in {"call", "random"} and not op.shares}
    spans = [span for span in lifetimes(program.operations, program.outputs) if span[2] in calls]
    found = {"buffers": plan.size, "values": values, "calls": _peak(spans, len(program.operations))}
    return {**found, "compiled": sum(found.values()), "eager": program.eager_bytes}
