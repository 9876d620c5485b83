"""Layouts: values that machine code alone sees lie column after column, where a product makes them so.

A large layer computes W·xᵀ. Whatever is made of it element by element can stay in that order, so that nothing
is read across rows; BLAS takes matrices either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microgradnet.compiler.loops import CALLS, loop_of
from microgradnet.compiler.products import product_of
from microgradnet.compiler.program import owners

if TYPE_CHECKING:
    from microgradnet.compiler.program import Operation, Program, Slot


def keep_columns(program: Program) -> None:
    """Lay out by columns what is made, element by element, of products that are."""
    finder = _Layouts(program)
    turned = [group for group in finder.groups() if any(finder.by_columns(slot) for slot in group)]
    for group in turned:
        for slot in group:
            finder.turn(slot)
    if turned:
        count = sum([slot in finder.free for group in turned for slot in group])
        program.notes.append(f"{count} values lie column after column")


class _Layouts:
    def __init__(self, program: Program) -> None:
        self.operations = program.operations
        self.made: dict[Slot, Operation] = {op.out: op for op in program.operations if op.out is not None}
        self.readers = program.readers()
        owned_by = owners(program.operations)
        self.kept = {owner for slot in program.outputs for owner in owned_by.get(slot, (slot,))}
        self.views: dict[Slot, list[Slot]] = {}
        for op in program.operations:
            if op.kind == "view" and op.out is not None:
                self.views.setdefault(op.args[0], []).append(op.out)
        self.free = {slot for slot in self.made if self._free(slot)}
        """Results whose layout nobody but machine code can tell."""

    def _free(self, slot: Slot) -> bool:
        plain = slot.contiguous and len(slot.shape) == 2 and min(slot.shape) > 1 and slot not in self.kept
        return (
            plain
            and self._either_way(self.made[slot])
            and all(
                self._either_way(reader) or (_transposes(reader) and self._only_products(reader.out))
                for reader in self.readers.get(slot, [])
            )
        )

    def _only_products(self, view: Slot | None) -> bool:
        return view not in self.kept and all(
            product_of(reader) is not None for reader in self.readers.get(view, [])
        )

    def _either_way(self, op: Operation) -> bool:
        """Whether an operation reads and writes its matrices in any layout."""
        alike = op.elementwise or (op.function in CALLS and loop_of(op) is not None)
        return alike or op.kind == "reduce" or product_of(op) is not None

    def by_columns(self, slot: Slot) -> bool:
        """Whether a slot is a product, turned."""
        op = self.made.get(slot)
        if op is None or not _transposes(op) or slot.contiguous or len(self.readers[op.args[0]]) > 1:
            return False
        maker = self.made.get(op.args[0])
        return maker is not None and product_of(maker) is not None and op.args[0] not in self.kept

    def groups(self) -> list[set[Slot]]:
        """Return the matrices that are read and made together, element by element."""
        group_of: dict[Slot, set[Slot]] = {}
        for op in self.operations:
            if op.out is not None and op.out in self.free and self._either_way(op) and product_of(op) is None:
                together = [slot for slot in (*op.slots, op.out) if slot.shape == op.out.shape]
                merged: set[Slot] = set().union(*[group_of.get(slot, {slot}) for slot in together])
                group_of.update(dict.fromkeys(merged, merged))
        return list({id(group): group for group in group_of.values()}.values())

    def turn(self, slot: Slot) -> None:
        """Lay a slot out by columns, without gaps."""
        size = slot.dtype.itemsize
        if self.by_columns(slot):
            whole = self.made[slot].args[0]
            whole.strides = (whole.shape[1] * size, size)
        elif slot not in self.free:
            return
        slot.strides = (size, slot.shape[0] * size)
        for view in self.views.get(slot, []):
            view.strides = slot.strides[::-1]


def _transposes(op: Operation) -> bool:
    return op.kind == "view" and op.name == "transpose" and len(op.args[0].shape) == 2
