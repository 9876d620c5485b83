"""One update for all parameters: those with the same update lie in one memory, and so do their gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.compiler.program import Operation, Program, Slot, Storage, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from microgradnet.graph import Value

BLOCK = 1 << 16
"""Elements that are updated at a time: what is computed in between stays in the cache."""
LONGEST = 64
"""Operations in the update of one tensor; what has more is no optimizer's rule."""
MAKES_MEMORY = {"ufunc", "reduce", "dot", "copy"}
"""Kinds of operations that write where they are told to."""


def flatten_updates(program: Program, tail: list[Operation], block: int = BLOCK) -> list[Operation]:
    """Replace elementwise operations that are alike, one for each parameter, by operations on all at once.

    They go through the memory block by block, all operations on a block before the next: it stays in the
    cache. Returns the new tail.
    """
    groups: dict[Any, list[tuple[Value, Slot]]] = {}
    plan = _Plan(program, tail, block)
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
        program.notes.append(f"{plan.tensors} tensors are updated together, in {plan.blocks} blocks")
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
    def __init__(self, program: Program, tail: list[Operation], block: int) -> None:
        self.program, self.block = program, block
        self.made = {op.out: op for op in tail}
        self.makers = {op.out: op for op in program.operations if op.out is not None}
        self.readers = program.readers()
        self.gradients = {slot for _, slot in program.gradients if slot is not None}
        self.returned = set(leaves(program.result))
        self.operations: list[Operation] = []
        self.replaced: set[Operation] = set()
        self.tensors = self.blocks = 0
        self._stored = {id(tensor) for tensor, _ in program.stores}
        self._placed: set[Slot] = set()
        self._unread: dict[int, Slot] = {}

    def inner(self, slot: Slot, root: Slot) -> Operation | None:
        """Return the elementwise operation in the tail that makes a slot of the root's shape."""
        op = self.made.get(slot)
        if op is None or slot in self.gradients or not op.elementwise or op.out is None:
            return None
        return op if (slot.shape, slot.dtype) == (root.shape, root.dtype) and slot.contiguous else None

    def lane(self, root: Slot) -> list[Operation]:
        """Return the operations of one update."""
        found: dict[Operation, None] = {}
        waiting = [root]
        while waiting and len(found) <= LONGEST:
            op = self.inner(waiting.pop(), root)
            if op is not None and op not in found:
                found[op] = None
                waiting.extend(op.slots)
        return list(found)

    def signature(self, tensor: Value, root: Slot) -> Any:
        """Describe an update, so that equal ones are equal; None where it cannot be merged."""
        array = tensor._array
        if not 0 < len(self.lane(root)) <= LONGEST or not array.flags.carray or array.shape != root.shape:
            return None
        memo: dict[Slot, Any] = {}

        def of(slot: Any) -> Any:
            if slot not in memo:
                op = self.inner(slot, root) if isinstance(slot, Slot) else None
                if op is None:
                    memo[slot] = self._leaf(slot, tensor, root) if isinstance(slot, Slot) else None
                else:
                    parts = [of(arg) for arg in op.args]
                    hidden = slot in self.returned or None in parts
                    memo[slot] = None if hidden else (op.function, *parts)
            return memo[slot]

        return of(root)

    def _leaf(self, slot: Slot, tensor: Value, root: Slot) -> Any:
        """Describe what an update starts from: a number, its own tensor, another one, a gradient."""
        if not slot.shape and slot.kind == "number":
            return slot
        if not slot.shape and slot.kind == "constant":
            return ("constant", slot.dtype, slot.source.tobytes())
        if (slot.shape, slot.dtype) != (root.shape, root.dtype) or not slot.contiguous:
            return None
        if slot.kind == "state":
            return (
                ("own",) if slot.source is tensor else ("state",) if slot.source._array.flags.carray else None
            )
        if slot.storage is not None:
            return slot  # a product has been added to it, in memory of its own
        maker = self.makers.get(slot) if slot not in self.made else None
        return ("gradient",) if maker is not None and maker.kind in MAKES_MEMORY else None

    def merge(self, groups: list[list[tuple[Value, Slot]]]) -> None:
        """Merge the lanes of groups that belong together: the k-th entries of all are one parameter's."""
        lanes = [{op for group in groups for op in self.lane(group[k][1])} for k in range(len(groups[0]))]
        inside = set().union(*lanes)
        shared = sum(map(len, lanes)) != len(inside)
        if shared or any(user not in inside for op in inside for user in self.readers.get(op.out, [])):
            return  # what is computed only block by block is there for nobody else
        flat: dict[tuple[Slot, ...], Storage] = {}
        for group in groups:
            old = self._olds(group)
            flat[old] = Storage(
                sum([slot.size for slot in old]), old[0].dtype, [tensor for tensor, _ in group]
            )
        order = self._order([tuple([slot for _, slot in group]) for group in groups], flat)
        if order is None:
            return
        size = sum([slot.size for _, slot in groups[0]])
        for start in range(0, size, self.block):
            self._block(order, flat, groups, start, min(start + self.block, size))
            self.blocks += 1
        for slots, storage in flat.items():
            if slots[0].kind == "result":
                _lay(slots, storage)
        for group in groups:
            _lay([slot for _, slot in group], flat[self._olds(group)])
            self.tensors += len(group)
        self.replaced |= inside

    def _olds(self, group: list[tuple[Value, Slot]]) -> tuple[Slot, ...]:
        """Return the slots of what the tensors of a group hold before their update."""
        return tuple([self._old(tensor, slot) for tensor, slot in group])

    def _old(self, tensor: Value, root: Slot) -> Slot:
        for op in self.lane(root):
            for slot in op.slots:
                if slot.kind == "state" and slot.source is tensor:
                    return slot
        key = id(tensor)
        if key not in self._unread:
            self._unread[key] = Slot("state", root.shape, root.dtype, root.strides, tensor)
        return self._unread[key]

    def _order(
        self, roots: list[tuple[Slot, ...]], flat: dict[tuple[Slot, ...], Storage]
    ) -> list[tuple[Slot, ...]] | None:
        """List the merged operations by their results, each after those that it needs; find their leaves."""
        order: dict[tuple[Slot, ...], None] = {}
        placed = self._placed.union(*flat)

        def visit(slots: tuple[Slot, ...], firsts: tuple[Slot, ...]) -> bool:
            first = slots[0]
            if slots in order or slots in flat or (not first.shape and first.kind in {"number", "constant"}):
                return True
            if self.inner(first, firsts[0]) is None:  # a leaf
                if len({*slots, *placed}) < len(slots) + len(placed):
                    return False  # nothing can lie in two places
                if first.kind == "state" and any(id(slot.source) in self._stored for slot in slots):
                    return False  # another update writes it, before or after
                placed.update(slots)
                tensors = [slot.source for slot in slots] if first.kind == "state" else []
                new = Storage(sum([slot.size for slot in slots]), first.dtype, tensors)
                flat[slots] = new if first.storage is None else first.storage[0]
                return True
            columns = zip(*[self.made[slot].args for slot in slots], strict=True)
            if not all(visit(column, firsts) for column in columns):
                return False
            order[slots] = None
            return True

        if not all(visit(slots, slots) for slots in roots):
            return None
        self._placed = placed
        return list(order)

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
        targets = {tuple([slot for _, slot in group]): self._olds(group) for group in groups}

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


def _lay(slots: Iterable[Slot], storage: Storage) -> None:
    """Put slots into a storage, one after another."""
    position = 0
    for slot in slots:
        slot.storage = (storage, position)
        position += slot.size


def _same(x: Any) -> Any:
    return x
