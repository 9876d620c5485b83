"""Fusion: which operations run together as one kernel, between the calls of NumPy and BLAS."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from microgradnet.compiler.loops import ALL, Access, Loop, loop_of
from microgradnet.compiler.products import product_of
from microgradnet.compiler.program import owners

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microgradnet.compiler.program import Operation, Program, Slot

LONGEST = 64
"""Operations of a kernel: the compiler takes longer and longer over more."""
MOST = 400
"""Operations of a program in kernels, which take the compiler some 10 ms each."""
NARROW = 64
"""Columns up to which exp and its like go through all elements in one row."""
SLOW = {"exp", "expm1", "log", "log1p", "tanh", "divide", "div", "reciprocal", "sqrt"}


@dataclass(eq=False)
class Nest:
    """Loops over the same rows and columns, done in one go: values pass from one to the next in registers."""

    rows: int
    columns: int
    loops: list[Loop] = field(default_factory=list)

    def placed(self, loop: Loop, access: Access) -> Access:
        """Return an access of one of the loops in the rows and columns of the nest."""
        if (loop.rows, loop.columns) == (self.rows, self.columns) or (
            access is loop.write and loop.axis == ALL
        ):
            return access
        return Access(access.slot, access.columns * self.columns, access.columns)


@dataclass(eq=False)
class Kernel:
    """Operations that run in one call of machine code."""

    number: int
    nests: list[Nest] = field(default_factory=list)
    registers: set[Slot] = field(default_factory=set)
    """Results that are never in memory."""
    owners: dict[Slot, tuple[Slot, ...]] = field(default_factory=dict)
    """Whose memory a view lies in."""

    @property
    def arguments(self) -> dict[Slot, None]:
        """What its loops read from memory."""
        return dict.fromkeys(
            [read.slot for nest in self.nests for loop in nest.loops for read in loop.accesses]
        )

    def replaces(self, out: Slot, old: Slot) -> bool:
        """Whether a result may lie where an argument lies, which is read just before, and not again."""
        target: tuple[Nest, Access] | None = None
        reads: list[tuple[Nest, Access]] = []
        for nest in self.nests:
            for loop in nest.loops:
                if loop.write.slot is out and loop.axis is None:
                    target = nest, nest.placed(loop, loop.write)
                showing = [a for a in loop.accesses if old in self.owners.get(a.slot, (a.slot,))]
                reads += [(nest, nest.placed(loop, access)) for access in showing]
        return target is not None and all(
            nest is target[0]
            and (self.root(read.slot) is old or (read.slot.like(out) and out.nbytes == old.nbytes))
            and same_steps(read, target[1])
            for nest, read in reads
        )

    def root(self, slot: Slot) -> Slot:
        """Return what a view shows, where it shows all of it in the order of memory."""
        shown = self.owners.get(slot, (slot,))[0]
        return shown if shown.size == slot.size and shown.contiguous and slot.contiguous else slot


def few_enough(program: Program, operations: Iterable[Operation]) -> bool:
    """Whether the compiler would take seconds over operations of a program, not minutes; warn if not."""
    count = len([op for op in operations if loop_of(op) is not None])
    if count > MOST:
        program.notes.append(f"{count} operations are too many for kernels: they are calls of NumPy")
        message = (
            f"backend='numba' compiles nothing here: {count} operations could run in kernels, and more than "
            f"{MOST} would take minutes to compile, so that they run as calls of NumPy; compile parts of the "
            "model, or ask for backend='numpy'"
        )
        warnings.warn(message, stacklevel=6)  # where the compiled function is called
    return count <= MOST


def fused(program: Program, tail: list[Operation]) -> None:
    """Put operations together into kernels, and the program into an order in which each is one call."""
    loops = {op: loop for op in program.operations if (loop := loop_of(op)) is not None}
    after = set(tail)
    main = [op for op in program.operations if op not in after]
    groups = _schedule(program, main, loops) + _runs(tail, loops)
    program.operations = [op for group in groups for op in group]
    owned_by = owners(program.operations)
    kernels = 0
    for group in groups:
        if any(op in loops for op in group):
            kernel = Kernel(kernels)
            kernels += 1
            nesting = _Nesting(kernel, owned_by, in_order=group[0] in after)
            nesting.distribute([loops[op] for op in group if op in loops])
            for op in group:
                kernel.owners |= {slot: owned_by[slot] for slot in op.slots if slot in owned_by}
                op.kernel = kernel
                op.kind = op.kind if op.kind == "view" else "fused"
    _find_registers(program, owned_by)
    for op in program.operations:
        op.product = op.product or product_of(op)
    inside = [op for op in program.operations if op.kernel is not None and op.kind != "view"]
    program.notes.append(f"{len(inside)} operations run in {kernels} kernels")


class _Levels:
    """When an operation can run: a call at time t, then the kernel of time t, then the calls of t + 1."""

    def __init__(self, program: Program, operations: list[Operation], loops: dict[Operation, Loop]) -> None:
        self.operations, self.loops = operations, loops
        self.made = {op.out: op for op in operations if op.out is not None}
        self.kept = set(program.outputs)
        self.when: dict[Operation, int] = {}
        self.inside: set[Operation] = set()
        """What belongs to the kernel of its time, not to the calls before; also views of what it makes."""
        self.readers: dict[Operation, list[Operation]] = {op: [] for op in operations}
        owned_by = owners(operations)
        gradients = [slot for _, slot in program.gradients if slot is not None]
        lasting = {owner for slot in gradients for owner in owned_by.get(slot, (slot,))}
        barrier = 0
        for op in operations:
            makers = [self.made[slot] for slot in dict.fromkeys([*op.slots, *op.shares]) if slot in self.made]
            for maker in makers:
                self.readers[maker].append(op)
            called = op not in loops and op.kind != "view"
            if op in loops or (op.kind == "view" and any(maker in self.inside for maker in makers)):
                self.inside.add(op)
            self.when[op] = max(
                [self.when[maker] + (called and maker in self.inside) for maker in makers], default=0
            )
            if op.kind in {"check", "random"}:
                barrier = self.when[op] = max(self.when[op], barrier)
            elif op.out in lasting or (op.out is not None and op.out.storage is not None):
                self.when[op] = max(self.when[op], barrier)  # what is seen after a check that fails
        self._later()

    def _later(self) -> None:
        """Move what a later kernel needs, and can compute from what lies in memory, into that kernel."""
        for op in reversed(self.operations):
            target = self._target(op)
            if target is not None:
                for moved in self._with(op, target) or ():
                    self.when[moved] = target

    def _target(self, op: Operation) -> int | None:
        readers = self.readers[op]
        if op not in self.loops or op.out in self.kept or not readers:
            return None
        if any(reader not in self.loops for reader in readers):
            return None
        target = min([self.when[reader] for reader in readers])
        return target if target > self.when[op] else None

    def _with(self, op: Operation, target: int) -> list[Operation] | None:
        """Return the operations that move with one; None where it would need what is in no memory."""
        found = [op]
        for slot in op.slots:
            maker = self.made.get(slot)
            if maker is None or maker in found or self._in_memory(maker) or self.when[maker] >= target:
                continue
            if any(reader not in found and self.when[reader] < target for reader in self.readers[maker]):
                return None
            more = self._with(maker, target)
            if more is None:
                return None
            found += more
        return found

    def _in_memory(self, op: Operation) -> bool:
        if op.kind == "view" or op not in self.loops or op.out in self.kept:
            return True
        return any(reader not in self.loops for reader in self.readers[op])


def _schedule(
    program: Program, operations: list[Operation], loops: dict[Operation, Loop]
) -> list[list[Operation]]:
    """Return groups of operations in the order in which they run: single calls, and those of one kernel."""
    levels = _Levels(program, operations, loops)
    groups: list[list[Operation]] = []
    for time in range(max(levels.when.values(), default=-1) + 1):
        now = [op for op in operations if levels.when[op] == time]
        groups += [[op] for op in now if op not in levels.inside]
        groups += _split([op for op in now if op in levels.inside])
    return groups


def _split(operations: list[Operation]) -> list[list[Operation]]:
    """Cut what is too long for one kernel, with a view never at its beginning."""
    groups: list[list[Operation]] = []
    for op in operations:
        if not groups or (len(groups[-1]) >= LONGEST and op.kind != "view"):
            groups.append([])
        groups[-1].append(op)
    return groups


def _runs(tail: Iterable[Operation], loops: dict[Operation, Loop]) -> list[list[Operation]]:
    """Return the operations of the tail, in which memory is written again, in their order."""
    groups: list[list[Operation]] = []
    for op in tail:
        together = groups and op in loops and groups[-1][-1] in loops and len(groups[-1]) < LONGEST
        if together:
            groups[-1].append(op)
        else:
            groups.append([op])
    return groups


class _Nesting:
    """Distributes the operations of a kernel on nests: each as early as it can, beside what it needs.

    Where parameters are written to (``in_order``), none goes before an earlier one.
    """

    def __init__(self, kernel: Kernel, owned_by: dict[Slot, tuple[Slot, ...]], *, in_order: bool) -> None:
        self.nests = kernel.nests
        self.owned_by = owned_by
        self.in_order = in_order
        self.where: dict[Slot, tuple[int, Loop]] = {}

    def distribute(self, loops: list[Loop]) -> None:
        """Find or make a nest for each."""
        for loop in loops:
            last = len(self.nests) - 1
            first = max(last, 0) if self.in_order else self._earliest(loop)
            found = next((index for index in range(first, last + 1) if self._joins(loop, index)), last + 1)
            if found > last:
                self.nests.append(Nest(loop.rows, loop.columns))
            self.nests[found].loops.append(loop)
            self.where[loop.write.slot] = found, loop

    def _needed(self, access: Access) -> list[tuple[int, Loop]]:
        """Return where in this kernel what is read is made: an access to a view reads its owner."""
        slots = self.owned_by.get(access.slot, (access.slot,))
        return [self.where[slot] for slot in slots if slot in self.where]

    def _earliest(self, loop: Loop) -> int:
        """Return the first nest by which all that a loop needs is there, or is being made."""
        return max([index for read in loop.accesses for index, _ in self._needed(read)], default=0)

    def _joins(self, loop: Loop, index: int) -> bool:
        """Whether a loop can run in a nest, whose rows and columns may be chosen for it."""
        nest = self.nests[index]
        before = nest.rows, nest.columns
        if not self._fits(loop, nest):
            return False
        together = all(
            place != index or (maker.axis is None and same_place(nest.placed(maker, maker.write), wanted))
            for wanted in [nest.placed(loop, read) for read in loop.accesses]
            for place, maker in self._needed(wanted)
        ) and not (self.in_order and any(self._disturbs(nest, other, loop) for other in nest.loops))
        if not together:
            nest.rows, nest.columns = before
        return together

    def _fits(self, loop: Loop, nest: Nest) -> bool:
        """Give a nest that can go through all elements in any rectangle the one that a loop wants."""
        if (loop.rows, loop.columns) == (nest.rows, nest.columns):
            return True
        loops = [*nest.loops, loop]
        if loop.size != nest.rows * nest.columns or not (
            loop.linear or all(one.linear for one in nest.loops)
        ):
            return False
        rows, columns = (nest.rows, nest.columns) if loop.linear else (loop.rows, loop.columns)
        if rows > 1 and columns <= NARROW and any(one.linear and one.op.name in SLOW for one in loops):
            return False
        nest.rows, nest.columns = rows, columns
        return True

    def _disturbs(self, nest: Nest, a: Loop, b: Loop) -> bool:
        """Whether one of two loops may write where the other one reads or writes another element."""
        pairs = [(a.write, other) for other in (*b.accesses, b.write)]
        pairs += [(other, b.write) for other in a.accesses]
        return any(
            self._meet(x.slot, y.slot) and not _same_part(nest.placed(a, x), nest.placed(b, y))
            for x, y in pairs
        )

    def _meet(self, a: Slot, b: Slot) -> bool:
        """Whether two slots may lie in the same memory, one of them being written to."""
        if a.storage is not None and b.storage is not None:
            same = a.storage[0] is b.storage[0]
            return same and a.storage[1] < b.storage[1] + b.size and b.storage[1] < a.storage[1] + a.size
        outside = [
            owner.kind in {"state", "argument", "gradient"} or owner.storage is not None
            for slot in (a, b)
            for owner in self.owned_by.get(slot, (slot,))
        ]
        return all(outside)


def _same_part(a: Access, b: Access) -> bool:
    return (a.slot.storage, a.slot.size, a.rows, a.columns) == (
        b.slot.storage,
        b.slot.size,
        b.rows,
        b.columns,
    )


def same_place(a: Access, b: Access) -> bool:
    """Whether two accesses of a nest, b to what a wrote or to a view of it, are to the same element."""
    same = a.slot is b.slot or (a.slot.contiguous and b.slot.contiguous and a.slot.size == b.slot.size)
    return same and same_steps(a, b)


def same_steps(a: Access, b: Access) -> bool:
    """Whether two accesses go through memory alike."""
    return (a.rows, a.columns) == (b.rows, b.columns)


def _find_registers(program: Program, owned_by: dict[Slot, tuple[Slot, ...]]) -> None:
    """Find the results that only their own nest reads, each element at its own place."""
    needed = {owner for slot in program.outputs for owner in owned_by.get(slot, (slot,))}
    kernels = dict.fromkeys([op.kernel for op in program.operations if op.kernel is not None])
    nests = [nest for kernel in kernels for nest in kernel.nests]
    inside: dict[Slot, tuple[Nest, Access]] = {}

    def there(nest: Nest, owner: Slot, read: Access) -> bool:
        made = inside.get(owner)
        return made is not None and made[0] is nest and same_place(made[1], read)

    for nest, loop in [(some, loop) for some in nests for loop in some.loops]:
        inside[loop.write.slot] = nest, nest.placed(loop, loop.write)
        if loop.axis is not None or loop.write.slot.storage is not None:
            needed.add(loop.write.slot)
        for read in [nest.placed(loop, access) for access in loop.accesses]:
            owners_of = owned_by.get(read.slot, (read.slot,))
            needed.update([owner for owner in owners_of if not there(nest, owner, read)])
    for op in program.operations:
        if op.kernel is None:
            needed.update([owner for slot in op.slots for owner in owned_by.get(slot, (slot,))])
    for op in program.operations:
        slots = owned_by.get(op.out, (op.out,)) if op.out is not None else ()
        if op.kernel is not None and op.out is not None and not needed.intersection(slots):
            op.kernel.registers.add(op.out)
