"""Passes: each makes a program shorter or cheaper, without changing a bit of what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.program import Operation, Program, Slot, leaves, owners, renamed, replaced

if TYPE_CHECKING:
    from microgradnet.compiler.number import Number


def optimized(program: Program) -> None:
    """Run all passes, in the order in which each finds the most."""
    fold_constants(program)
    merge_equal(program)
    drop_ones(program)
    drop_dead(program)


def drop_dead(program: Program) -> None:
    """Remove what nobody needs; checks and random draws are needed for themselves."""
    needed = set(program.outputs)
    kept: list[Operation] = []
    for op in reversed(program.operations):
        if op.kind in {"check", "random"} or op.out in needed:
            kept.append(op)
            needed.update(op.slots)
    program.operations = kept[::-1]


def fold_constants(program: Program) -> None:
    """Replace what is computed from constants alone by its value."""
    kept: list[Operation] = []
    for op in program.operations:
        foldable = op.kind not in {"check", "random"} and op.out is not None
        if foldable and op.out is not None and all(slot.kind == "constant" for slot in op.slots):
            op.out.kind, op.out.source = "constant", op.out.value.copy(order="K")
        else:
            kept.append(op)
    program.operations = kept


def merge_equal(program: Program) -> None:
    """Compute once what is computed twice: the same call of the same slots, unless it draws numbers."""
    first: dict[Any, Slot] = {}
    new: dict[Slot, Slot] = {}
    kept: list[Operation] = []
    for op in program.operations:
        op.args = tuple([_followed(arg, new) for arg in op.args])
        op.shares = tuple([_followed(slot, new) for slot in op.shares])
        if op.kind in {"check", "random"} or op.out is None:
            kept.append(op)
            continue
        key = (op.kind, op.function, *[_key(arg) for arg in op.args], _key(op.meta))
        if key in first:
            new[op.out] = first[key]
        else:
            first[key] = op.out
            kept.append(op)
    program.operations = kept
    renamed(program, new)


def _followed(arg: Any, new: dict[Slot, Slot]) -> Any:
    return new.get(arg, arg) if isinstance(arg, Slot) else arg


def _key(value: Any) -> Any:
    """Return what equal arguments have in common, and different ones have not."""
    key: Any = (type(value), value)
    if isinstance(value, Slot):
        key = value
        if value.kind == "constant" and value.size < 64:
            key = ("constant", value.dtype.str, value.shape, value.strides, value.source.tobytes())
    elif isinstance(value, (tuple, list)):
        key = (type(value), *[_key(item) for item in value])
    elif isinstance(value, dict):
        key = tuple([(name, _key(item)) for name, item in sorted(value.items())])
    elif isinstance(value, slice):
        key = ("slice", value.start, value.stop, value.step)
    elif isinstance(value, float):
        key = (float, value.hex())  # 0.0 is not −0.0
    elif type(value).__hash__ is None:
        key = ("object", id(value))
    return key


def drop_ones(program: Program) -> None:
    """Leave out multiplications by a hyperparameter that is 1, on the condition that it stays 1."""
    new: dict[Slot, Slot] = {}
    kept: list[Operation] = []
    conditions: dict[Number, None] = {}
    for op in program.operations:
        op.args = tuple([_followed(arg, new) for arg in op.args])
        other = _times_one(op)
        if other is not None and op.out is not None and other.like(op.out):
            new[op.out] = other
            conditions.update({arg.source: None for arg in op.slots if arg.kind == "number"})
        else:
            kept.append(op)
    program.operations = kept
    renamed(program, new)
    for number in conditions:
        _ = number == 1  # which it keeps as a condition


def _times_one(op: Operation) -> Slot | None:
    if op.function is not np.multiply or len(op.args) != 2:
        return None
    a, b = op.args
    for one, other in ((a, b), (b, a)):
        numeric = isinstance(one, Slot) and one.kind in {"number", "constant"} and not one.shape
        if numeric and isinstance(other, Slot) and one.value.item() == 1:
            return other
    return None


def detach_outputs(program: Program) -> None:
    """Copy what is given back or stored but lies in memory that the program, or its caller, writes to."""
    owned_by = owners(program.operations)
    new: dict[Slot, Slot] = {}
    for slot in dict.fromkeys(program.outputs):
        if any(owner.kind in {"state", "argument", "gradient"} for owner in owned_by.get(slot, (slot,))):
            copy = Slot("result", slot.shape, slot.dtype, slot.strides, value=slot.value)
            new[slot] = copy
            program.operations.append(Operation("copy", "call", np.copy, (slot,), {"order": "K"}, copy))
    program.stores = [(tensor, new.get(slot, slot)) for tensor, slot in program.stores]
    program.gradients = [(node, new.get(slot, slot) if slot else None) for node, slot in program.gradients]
    program.result = replaced(program.result, lambda slot: new.get(slot, slot))


def order_of_writes(program: Program) -> list[Operation]:
    """Move the operations that make what is stored to the end, and return them: the tail.

    Nothing in the tail may raise a check, and nothing before it reads what the tail writes. So every check
    has passed when the first parameter is written to, and each may be written in its place.
    """
    roots = {slot for _, slot in program.stores}
    made = {op.out: op for op in program.operations if op.out is not None}
    tail = {made[slot] for slot in roots if slot in made and made[slot].kind in {"ufunc", "copy"}}
    moved: set[Slot] = {op.out for op in tail if op.out is not None}
    for op in program.operations:
        if op not in tail and any(slot in moved for slot in op.slots):
            if op.kind in {"check", "random"}:
                return []
            tail.add(op)
            if op.out is not None:
                moved.add(op.out)
    # What only the tail needs moves with it, so that its intermediate results live no longer than needed.
    given = {slot for _, slot in program.gradients if slot is not None} | set(leaves(program.result))
    readers = program.readers()
    for op in reversed(program.operations):
        if op not in tail and op.elementwise and op.out not in given:
            users = readers.get(op.out, [])
            if users and all(user in tail for user in users):
                tail.add(op)
    main = [op for op in program.operations if op not in tail]
    last = [op for op in program.operations if op in tail]
    program.operations = main + last
    return last
