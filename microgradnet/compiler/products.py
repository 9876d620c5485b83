"""Products: matrix products as calls of BLAS, and gradients that nobody keeps as part of an update.

Where the gradient of a weight is a product that only the update reads, the product adds it to the weight:
W ← β·W + α·A·B is one call of BLAS, which takes no longer than A·B alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.blas import AS_IT_IS, LETTERS, TURNED, gemm
from microgradnet.compiler.program import Operation, Program, Slot, Storage, owners

if TYPE_CHECKING:
    from microgradnet.graph import Value


@dataclass(frozen=True)
class Matrix:
    """A matrix as BLAS is told of it: whether it is turned in memory, and the step from row to row there."""

    slot: Slot
    turn: int
    step: int

    @classmethod
    def of(cls, slot: Slot) -> Matrix | None:
        """Return a slot as a matrix, None where its rows have gaps between their elements."""
        (n, m), size = slot.shape, slot.dtype.itemsize
        down, right = slot.strides
        if right == size and down % size == 0 and down >= m * size:
            return cls(slot, AS_IT_IS, down // size)
        if down == size and right % size == 0 and right >= n * size:
            return cls(slot, TURNED, right // size)
        return None

    def turned(self) -> Matrix:
        """Return the transpose."""
        return Matrix(self.slot, AS_IT_IS if self.turn == TURNED else TURNED, self.step)


@dataclass(frozen=True)
class Product:
    """C ← α·A·B + β·C, where the rows of C are rows in memory."""

    function: int
    """The address of BLAS's function."""
    a: Matrix
    b: Matrix
    c: Matrix
    sizes: tuple[int, int, int]
    """Rows and columns of C, and how many products each element is the sum of."""
    alpha: Any = 1.0
    beta: Any = 0.0
    negative: bool = False
    """Whether A·B is subtracted."""


def product_of(op: Operation) -> Product | None:
    """Return an operation as a call of BLAS; None where it is no product of two matrices, or of others."""
    out = op.out
    if out is None or (op.kind != "dot" and op.function is not np.matmul):
        return None
    return _product(op.args[0], op.args[1], out)


def _product(a: Slot, b: Slot, c: Slot) -> Product | None:
    slots = (a, b, c)
    if any(len(slot.shape) != 2 or min(slot.shape) < 2 or slot.dtype != c.dtype for slot in slots):
        return None  # a vector is multiplied by another function of BLAS
    function = gemm(c.dtype.name) if c.dtype.name in LETTERS and c.dtype.isnative else None
    matrices = [Matrix.of(slot) for slot in slots]
    if function is None or None in matrices:
        return None
    x, y, z = [matrix for matrix in matrices if matrix is not None]
    if z.turn == TURNED:  # Cᵀ = Bᵀ·Aᵀ
        x, y, z = y.turned(), x.turned(), z.turned()
        return Product(function, x, y, z, (c.shape[1], c.shape[0], a.shape[1]))
    return Product(function, x, y, z, (c.shape[0], c.shape[1], a.shape[1]))


def add_products(program: Program, tail: list[Operation]) -> list[Operation]:
    """Have products that only an update reads add themselves to what is updated; return the new tail."""
    finder = _Updates(program, tail)
    for tensor, slot in program.stores:
        finder.look_at(tensor, slot)
    gone = finder.gone
    tail = [finder.added.get(op, op) for op in tail if op in finder.added or op not in gone]
    after = set(tail)
    main = [op for op in program.operations if op not in gone and op not in after and op not in finder.added]
    program.operations = main + tail
    if finder.added:
        program.notes.append(f"{len(finder.added)} products add themselves to what they update")
    return tail


def update_early(program: Program) -> None:
    """Let a product add itself to a parameter as soon as nothing else reads the parameter any more.

    What it reads and writes is then still in the processor's cache, and its memory is free earlier. It goes
    before no check, so that nothing has changed where one fails; and all that follows it is one launch of
    machine code, which looks whether its arguments lie in the memory of parameters.
    """
    owned_by = owners(program.operations)
    foreign: set[Slot] = set()  # what NumPy makes
    barriers: set[Operation] = set()
    for op in program.operations:
        launched = op.kernel is not None or op.product is not None or op.kind == "view"
        reads_foreign = any(slot in foreign for slot in op.slots)
        if not launched or reads_foreign:
            barriers.add(op)
        if op.out is not None and (not launched or (reads_foreign and op.kind == "view")):
            foreign.add(op.out)
    for update in [op for op in program.operations if op.function is product_added]:
        at = program.operations.index(update)
        x, needed = update.args[0], set(update.slots)
        before = program.operations[:at]
        while before and not (
            before[-1] in barriers
            or before[-1].out in needed
            or any(x in (slot, *owned_by.get(slot, ())) for slot in before[-1].slots)
        ):
            before.pop()
        kernel = before[-1].kernel if before else None
        while kernel is not None and program.operations[len(before)].kernel is kernel:
            before.append(program.operations[len(before)])
        program.operations.insert(len(before), program.operations.pop(at))


class _Updates:
    """Looks for updates of the form β·X ± α·A·B."""

    def __init__(self, program: Program, tail: list[Operation]) -> None:
        self.tail = set(tail)
        self.made = {op.out: op for op in program.operations if op.out is not None}
        self.readers = program.readers()
        self.kept = set(program.outputs)
        self.owned_by = owners(program.operations)
        self.added: dict[Operation, Operation] = {}
        self.gone: set[Operation] = set()

    def look_at(self, tensor: Value, slot: Slot) -> None:
        """Replace the update of a tensor where it is of that form."""
        op = self.made.get(slot)
        if op is None or op not in self.tail or not tensor._array.flags.carray or not slot.size:
            return
        for base, term in self._sides(op):
            added = self._replacement(tensor, slot, base, term, negative=op.function is np.subtract)
            if added is not None:
                self.added[op] = added
                return

    def _sides(self, op: Operation) -> list[tuple[Any, Any]]:
        if op.function is np.add:
            return [op.args, op.args[::-1]]
        return [op.args] if op.function is np.subtract else []

    def _replacement(
        self, tensor: Value, slot: Slot, base: Any, term: Any, *, negative: bool
    ) -> Operation | None:
        """Return β·X ± α·A·B as one operation; None where the sides of the update are something else."""
        x, beta, scaled_x = self._scaled(base)
        gradient, alpha, scaled_gradient = self._scaled(term)
        maker = self.made.get(gradient)
        own = isinstance(x, Slot) and x.kind == "state" and x.source is tensor and x.like(slot)
        if not own or maker is None or not self._alone(gradient) or not gradient.like(slot):
            return None
        # What reads X later would find it changed; of what is before the tail everything has run.
        if len([op for op in self.readers[x] if op in self.tail]) != 1:
            return None
        product = product_of(maker)
        if product is None or any(self._may_change(arg) for arg in maker.slots):
            return None
        slot.storage = (Storage(slot.size, slot.dtype, [tensor]), 0)
        args = (x, *maker.args, alpha, beta)
        added = Operation(
            "add_product", "product", product_added, args, {"negative": negative}, slot, backward=True
        )
        matrices = (product.a, product.b, Matrix(slot, AS_IT_IS, product.c.step))
        added.product = Product(product.function, *matrices, product.sizes, alpha, beta, negative)
        self.gone.update([maker, *scaled_x, *scaled_gradient])
        return added

    def _scaled(self, value: Any) -> tuple[Any, Any, list[Operation]]:
        """Return what is multiplied by a number, the number, and the multiplication where there is one."""
        op = self.made.get(value) if isinstance(value, Slot) else None
        if op is not None and op.function is np.multiply and op in self.tail and self._alone(value):
            for number, other in (op.args, op.args[::-1]):
                if isinstance(number, Slot) and not number.shape and number.kind in {"number", "constant"}:
                    scale = number if number.kind == "number" else number.source.item()
                    return other, scale, [op]
        return value, 1.0, []

    def _alone(self, slot: Slot) -> bool:
        """Whether one operation reads a value, and nothing else does."""
        return len(self.readers.get(slot, [])) == 1 and slot not in self.kept

    def _may_change(self, slot: Slot) -> bool:
        """Whether an update may write to what a product reads."""
        return any(
            owner.kind not in {"result", "argument", "constant"} for owner in self.owned_by.get(slot, (slot,))
        )


def product_added(x: Any, a: Any, b: Any, alpha: Any, beta: Any, *, negative: bool) -> Any:
    """Return β·x ± α·a·b."""
    return beta * x - alpha * (a @ b) if negative else beta * x + alpha * (a @ b)
