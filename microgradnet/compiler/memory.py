"""Memory: which slots share a buffer, by when they are needed, and the arrays that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.program import Operation, Program, Slot, Storage, leaves

if TYPE_CHECKING:
    from microgradnet.graph import Array, Value

STATIC = {"ufunc", "reduce", "dot", "copy"}
"""Kinds of operations whose result lies where we say."""
SMALL = 1 << 15
"""Bytes up to which two buffers taken in turn are quicker than one that is updated in place: NumPy then has no
overlap to think about."""
LINE = 64
"""Buffers begin at multiples of a cache line."""


class Memory:
    """The buffers of a program: shared by slots that are not needed at the same time."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.homes: dict[Slot, Slot] = {}
        """Per slot: the slot whose memory it lies in (itself, or what it is a view or an update in place of)."""
        self.offsets: dict[Slot, int] = {}
        self.size = 0
        self.reused = 0
        self._plan()

    def home(self, slot: Slot) -> Slot:
        """Return the slot that owns the memory in which a slot lies."""
        while self.homes.get(slot, slot) is not slot:
            slot = self.homes[slot]
        return slot

    def _plan(self) -> None:
        program, views = self.program, {}
        for op in program.operations:
            if op.kind in {"view", "call"} and op.out is not None and op.shares:
                views[op.out] = op.shares
        last: dict[Slot, int] = {}
        owners = {}

        def owning(slot: Slot) -> tuple[Slot, ...]:
            if slot not in owners:
                shared = views.get(slot)
                owners[slot] = (slot,) if not shared else tuple([o for s in shared for o in owning(s)])
            return owners[slot]

        for i, op in enumerate(program.operations):
            for slot in op.slots:
                for owner in owning(slot):
                    last[owner] = i
        end = len(program.operations)
        kept = [slot for _, slot in program.stores] + list(leaves(program.result))
        kept += [slot for _, slot in program.gradients if slot is not None]
        for slot in kept:
            for owner in owning(slot):
                last[owner] = end
        dying: dict[int, list[Slot]] = {}
        for slot, i in last.items():
            dying.setdefault(i, []).append(slot)
        self._last = last
        free: dict[int, list[int]] = {}
        lasting = {slot for _, slot in program.gradients if slot is not None}
        held: dict[Slot, tuple[int, int]] = {}
        for i, op in enumerate(program.operations):
            out = op.out
            if out is not None and op.kind in STATIC and out.storage is None:
                taken = self._in_place(op, i, held)
                if taken is not None:
                    held[out] = held.pop(taken)
                    self.offsets[out] = held[out][0]
                    self.homes[out] = taken
                    self.reused += 1
                else:
                    room = max(-(-out.nbytes // LINE) * LINE, LINE)
                    usable = [] if out in lasting else free.get(room, [])
                    offset = usable.pop() if usable else self.size
                    if offset == self.size:
                        self.size += room
                    else:
                        self.reused += 1
                    held[out] = (offset, room)
                    self.offsets[out] = offset
                if out not in last:
                    dying.setdefault(i, []).append(out)
            for slot in dying.get(i, []):
                if slot in held and slot not in lasting:
                    offset, room = held.pop(slot)
                    free.setdefault(room, []).append(offset)

    def _in_place(self, op: Operation, i: int, held: dict[Slot, tuple[int, int]]) -> Slot | None:
        """Return the argument whose memory an elementwise operation may take over."""
        if not op.elementwise or op.out is None or op.out.nbytes <= SMALL:
            return None
        for arg in op.slots:
            if arg in held and self._last.get(arg) == i and arg.like(op.out):
                others = [slot for slot in op.slots if slot is not arg and self.home(slot) is self.home(arg)]
                if not others:
                    return arg
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
