"""Small operations that are alike, done side by side: one NumPy call in place of several.

For arrays of a few thousand numbers a call costs more than what it computes. Elementwise operations that do
the same to different arrays, none of which needs another's result, are one operation where the arrays lie one
after another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.compiler.flat import MAKES_MEMORY
from microgradnet.compiler.program import Operation, Program, Slot, Storage, leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 1 << 13
"""Bytes of all results together up to which it pays."""
MOST = 2000
"""Operations of a program that are looked at."""


def side_by_side(program: Program, tail: list[Operation]) -> None:
    """Merge what is alike among the operations before the tail."""
    after = set(tail)
    main = [op for op in program.operations if op not in after]
    if len(main) > MOST:
        return
    merger = _Merger(program, main)
    groups: dict[Any, list[Operation]] = {}
    for op in main:
        key = merger.key(op)
        if key is not None:
            groups.setdefault(key, []).append(op)
    for group in groups.values():
        for some in merger.neighbours(group):
            if len(some) > 1:
                merger.merge(some)
    program.operations = merger.main + [op for op in program.operations if op in after]
    if merger.merged:
        program.notes.append(f"{merger.merged} operations run beside one that is alike")


class _Merger:
    def __init__(self, program: Program, main: list[Operation]) -> None:
        self.main = main
        self.makers = {op.out: op for op in main if op.out is not None}
        self.kept = {slot for _, slot in program.gradients} | {slot for _, slot in program.stores}
        self.kept |= set(leaves(program.result))
        self.laid: dict[tuple[Slot, ...], Storage] = {}
        self.merged = 0

    def key(self, op: Operation) -> Any:
        """Return what operations that are alike have in common; None where an operation stays alone."""
        out = op.out
        if not op.elementwise or out is None or not out.shape or not out.contiguous or out in self.kept:
            return None
        parts: list[Any] = []
        for arg in op.args:
            if not isinstance(arg, Slot):
                return None
            if not arg.shape and arg.kind == "constant":
                parts.append(arg.source.tobytes())
            elif not arg.shape and arg.kind == "number":
                parts.append(arg)
            elif (arg.shape, arg.dtype) == (out.shape, out.dtype) and arg.contiguous and self._movable(arg):
                parts.append("array")
            else:
                return None
        return (op.function, out.dtype, *parts) if "array" in parts else None

    def _movable(self, slot: Slot) -> bool:
        maker = self.makers.get(slot)
        return maker is not None and maker.kind in MAKES_MEMORY and slot not in self.kept

    def neighbours(self, group: list[Operation]) -> list[list[Operation]]:
        """Split a group by where the arguments lie already, in the order in which they lie there."""
        places = {slot: (column, i) for column in self.laid for i, slot in enumerate(column)}
        found: dict[Any, list[tuple[int, Operation]]] = {}
        for op in group:
            lies = [places.get(slot, ((), 0)) for slot in op.slots if slot.shape]
            found.setdefault(tuple([column for column, _ in lies]), []).append((lies[0][1], op))
        return [[op for _, op in sorted(some, key=lambda entry: entry[0])] for some in found.values()]

    def merge(self, group: Sequence[Operation]) -> None:
        """Put operations into one, where their arguments can lie side by side and the order allows it."""
        outs = tuple([op.out for op in group if op.out is not None])
        if sum([out.nbytes for out in outs]) > LARGEST:
            return
        columns = [column for column in zip(*[op.args for op in group], strict=True) if column[0].shape]
        new: dict[tuple[Slot, ...], Storage] = {}
        for column in [*columns, outs]:
            if column in self.laid or column in new:
                continue
            if len(set(column)) < len(column) or any(slot.storage is not None for slot in column):
                return
            if any(slot in other for other in new for slot in column):
                return
            new[column] = Storage(sum([slot.size for slot in column]), column[0].dtype)
        place = self._place(group, columns, outs)
        if place is None:
            return
        for column, storage in new.items():
            position = 0
            for slot in column:
                slot.storage = (storage, position)
                position += slot.size
        self.laid.update(new)
        args = [
            _whole(self.laid[column], "part") if column[0].shape else column[0]
            for column in zip(*[op.args for op in group], strict=True)
        ]
        first = group[0]
        merged = Operation(
            first.name, first.kind, first.function, tuple(args), {}, _whole(self.laid[outs], "result")
        )
        self.main.insert(place, merged)
        self.main = [op for op in self.main if op not in set(group)]
        for out in outs:
            self.makers[out] = merged
        self.merged += len(group) - 1

    def _place(
        self, group: Sequence[Operation], columns: list[tuple[Slot, ...]], outs: tuple[Slot, ...]
    ) -> int | None:
        """Return where all arguments are there and no result is needed yet."""
        where = {op: i for i, op in enumerate(self.main)}
        ready = max([where[self.makers[slot]] for column in columns for slot in column]) + 1
        early = any(slot in outs for op in self.main[:ready] for slot in op.slots)
        return None if early else ready


def _whole(storage: Storage, kind: str) -> Slot:
    return Slot(kind, (storage.size,), storage.dtype, (storage.dtype.itemsize,), storage=(storage, 0))
