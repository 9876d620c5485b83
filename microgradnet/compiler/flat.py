"""One update for all parameters: those with the same update lie in one memory, and so do their gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.compiler.program import Operation, Program, Slot, Storage, leaves
from microgradnet.optim.optimizer import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microgradnet.graph import Value

MAKES_MEMORY = {"ufunc", "reduce", "dot", "copy"}
"""Kinds of operations that write where they are told to."""


def flatten_updates(program: Program, tail: list[Operation]) -> list[Operation]:
    """Replace elementwise operations that are alike, one for each parameter, by operations on all at once.

    They go through the memory block by block, all operations on a block before the next: it stays in the
    cache. Returns the new tail.
    """
    groups: dict[Any, list[tuple[Value, Slot]]] = {}
    plan = _Plan(program, tail)
    for tensor, slot in program.stores:
        key = plan.signature(tensor, slot)
        if key is not None:
            groups.setdefault((slot.dtype, key), []).append((tensor, slot))
    for stores in _together(groups, plan):
        plan.merge(stores)
    replaced = plan.replaced
    rest = [op for op in tail if op not in replaced]
    program.operations = [op for op in program.operations if op not in set(tail)] + rest + plan.operations
    if plan.operations:
        program.notes.append(f"{len(plan.tensors)} tensors are updated together, in {plan.blocks} blocks")
    return rest + plan.operations


def _together(
    groups: dict[Any, list[tuple[Value, Slot]]], plan: _Plan
) -> Iterator[list[list[tuple[Value, Slot]]]]:
    """Yield lists of groups that share operations (a velocity and the parameter that it moves)."""
    pending = list(groups.values())
    while pending:
        first = pending.pop(0)
        joined, found = [first], True
        inside = {op for _, slot in first for op in plan.lane(slot)}
        while found:
            found = False
            for other in list(pending):
                operations = {op for _, slot in other for op in plan.lane(slot)}
                if operations & inside:
                    joined.append(other)
                    pending.remove(other)
                    inside |= operations
                    found = True
        if len({len(group) for group in joined}) == 1:
            yield joined


class _Plan:
    def __init__(self, program: Program, tail: list[Operation]) -> None:
        self.program = program
        self.made = {op.out: op for op in tail}
        self.makers = {op.out: op for op in program.operations if op.out is not None}
        self.readers = program.readers()
        self.gradients = {slot for _, slot in program.gradients if slot is not None}
        self.returned = set(leaves(program.result))
        self.operations: list[Operation] = []
        self.replaced: set[Operation] = set()
        self.tensors: dict[int, Storage] = {}
        self.laid: dict[Slot, tuple[Storage, int]] = {}
        self.blocks = 0

    def inner(self, slot: Slot, root: Slot) -> Operation | None:
        """Return the elementwise operation in the tail that makes a slot of the root's shape."""
        op = self.made.get(slot)
        if op is None or slot in self.gradients or not op.elementwise or op.out is None:
            return None
        return op if (slot.shape, slot.dtype) == (root.shape, root.dtype) and slot.contiguous else None

    def lane(self, root: Slot) -> list[Operation]:
        """Return the operations of one update, each after those that it needs."""
        found: dict[Operation, None] = {}

        def visit(slot: Slot) -> None:
            op = self.inner(slot, root)
            if op is not None and op not in found:
                for arg in op.slots:
                    visit(arg)
                found[op] = None

        visit(root)
        return list(found)

    def signature(self, tensor: Value, root: Slot) -> Any:
        """Describe an update, so that equal ones are equal; None where it cannot be merged."""
        array = tensor._array
        if self.inner(root, root) is None or not array.flags.carray or array.shape != root.shape:
            return None
        memo: dict[Slot, Any] = {}

        def of(slot: Any) -> Any:
            if not isinstance(slot, Slot):
                return None
            if slot not in memo:
                memo[slot] = found(slot)
            return memo[slot]

        def found(slot: Slot) -> Any:
            op = self.inner(slot, root)
            if op is not None:
                if slot in self.returned:
                    return None
                parts = [of(arg) for arg in op.args]
                return None if None in parts else (op.function, *parts)
            if not slot.shape and slot.kind in {"number", "constant"}:
                return slot if slot.kind == "number" else ("constant", slot.dtype, slot.source.tobytes())
            if (slot.shape, slot.dtype) != (root.shape, root.dtype) or not slot.contiguous:
                return None
            if slot.kind == "state":
                same = slot.source is tensor
                return ("own",) if same else ("state",) if slot.source._array.flags.carray else None
            maker = self.makers.get(slot)
            fits = slot.kind == "result" and slot in self.gradients
            return ("gradient",) if fits and maker is not None and maker.kind in MAKES_MEMORY else None

        return of(root)

    def merge(self, groups: list[list[tuple[Value, Slot]]]) -> None:
        """Merge the lanes of groups that belong together: the k-th entries of all are one parameter's."""
        lanes = [{op for group in groups for op in self.lane(group[k][1])} for k in range(len(groups[0]))]
        inside = set().union(*lanes)
        roots = {slot for group in groups for _, slot in group}
        for op in inside:  # nobody else may read what is computed only block by block
            users = self.readers.get(op.out, [])
            if any(user not in inside for user in users):
                return
        if sum(map(len, lanes)) != len(inside):
            return
        flat: dict[tuple[Slot, ...], Storage] = {}
        for group in groups:
            self._storage(flat, tuple([self._old(tensor, slot) for tensor, slot in group]), group)
        order = self._order([tuple([slot for _, slot in group]) for group in groups], flat, groups[0][0][1])
        if order is None:
            return
        size = sum([slot.size for _, slot in groups[0]])
        for start in range(0, size, BLOCK):
            stop = min(start + BLOCK, size)
            self._block(order, flat, groups, start, stop)
            self.blocks += 1
        for group in groups:
            storage = flat[tuple([self._old(tensor, slot) for tensor, slot in group])]
            position = 0
            for tensor, slot in group:
                self.tensors[id(tensor)] = storage
                slot.storage = (storage, position)
                position += slot.size
        for slots, storage in flat.items():
            position = 0
            for slot in slots:
                if slot.kind == "result":
                    slot.storage = (storage, position)
                position += slot.size
        self.replaced |= inside
        _ = roots

    def _old(self, tensor: Value, root: Slot) -> Slot:
        """Return the slot of what a tensor holds before its update."""
        for op in self.lane(root):
            for slot in op.slots:
                if slot.kind == "state" and slot.source is tensor:
                    return slot
        key = id(tensor)
        if key not in self._unread:
            self._unread[key] = Slot("state", root.shape, root.dtype, root.strides, tensor)
        return self._unread[key]

    @property
    def _unread(self) -> dict[int, Slot]:
        return self.__dict__.setdefault("_unread_slots", {})

    def _storage(
        self, flat: dict[tuple[Slot, ...], Storage], slots: tuple[Slot, ...], group: list[tuple[Value, Slot]]
    ) -> None:
        if slots not in flat:
            size = sum([slot.size for slot in slots])
            flat[slots] = Storage(size, slots[0].dtype, [tensor for tensor, _ in group])

    def _order(
        self, roots: list[tuple[Slot, ...]], flat: dict[tuple[Slot, ...], Storage], root: Slot
    ) -> list[tuple[Slot, ...]] | None:
        """List the merged operations by their results, each after those that it needs; find their leaves."""
        order: dict[tuple[Slot, ...], None] = {}
        used: set[Slot] = {slot for slots in flat for slot in slots}

        def visit(slots: tuple[Slot, ...], firsts: tuple[Slot, ...]) -> bool:
            if slots in order or slots in flat or not slots[0].shape and slots[0].kind != "result" and (
                slots[0].kind in {"number", "constant"}
            ):
                return True
            op = self.inner(slots[0], firsts[0])
            if op is None:
                if used & set(slots):
                    return False
                used.update(slots)
                tensors = [slot.source for slot in slots] if slots[0].kind == "state" else []
                flat[slots] = Storage(sum([slot.size for slot in slots]), slots[0].dtype, tensors)
                return True
            makers = [self.inner(slot, first) for slot, first in zip(slots, firsts, strict=True)]
            for args in zip(*[maker.args for maker in makers if maker is not None], strict=True):
                if not visit(args, firsts):
                    return False
            order[slots] = None
            return True

        _ = root
        return list(order) if all([visit(slots, slots) for slots in roots]) else None

    def _block(
        self,
        order: list[tuple[Slot, ...]],
        flat: dict[tuple[Slot, ...], Storage],
        groups: list[list[tuple[Value, Slot]]],
        start: int,
        stop: int,
    ) -> None:
        """Append the operations on one block."""
        shape, itemsize = (stop - start,), order[0][0].dtype.itemsize
        parts: dict[tuple[Slot, ...], Slot] = {}
        targets = {
            tuple([slot for _, slot in group]): tuple([self._old(*entry) for entry in group])
            for group in groups
        }

        def part(slots: tuple[Slot, ...]) -> Slot:
            if slots not in parts:
                first = slots[0]
                if slots not in flat:
                    return first  # a number, the same for all
                storage = flat[slots]
                parts[slots] = Slot("part", shape, first.dtype, (itemsize,), storage=(storage, start))
            return parts[slots]

        late: list[tuple[Slot, Slot]] = []
        for i, slots in enumerate(order):
            op = self.made[slots[0]]
            makers = [self.made[slot] for slot in slots]
            args = [part(args) for args in zip(*[maker.args for maker in makers], strict=True)]
            out = Slot("result", shape, slots[0].dtype, (itemsize,))
            if slots in targets:
                old = targets[slots]
                rest = [a for later in order[i + 1 :] for a in self.made[later[0]].args]
                if old[0] in rest:
                    late.append((part(old), out))
                else:
                    out.storage = (flat[old], start)
            parts[slots] = out
            self.operations.append(Operation(op.name, op.kind, op.function, tuple(args), {}, out))
        for target, slot in late:
            copy = Slot("result", shape, target.dtype, (itemsize,), storage=target.storage)
            self.operations.append(Operation("copy", "copy", _same, (slot,), {}, copy))


def _same(x: Any) -> Any:
    return x
