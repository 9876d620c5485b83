"""Labels: an element of each row that a label picks, found by comparing the label with every column.

Indexing by arrays is a call of NumPy; a comparison is one more operation in a kernel. It is used where a
check has the labels in range, as cross-entropy's does: out of range, indexing would raise or count from the
end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microgradnet.compiler.program import Operation, Program, Slot

if TYPE_CHECKING:
    from microgradnet.graph import Array


def compare_labels(program: Program) -> None:
    """Replace indexing with one checked label per row by comparisons."""
    counts = {
        op.args[0]: op.meta["count"]
        for op in program.operations
        if op.kind == "check" and op.name == "in_range" and "count" in op.meta
    }
    program.operations = [_compared(op, counts) or op for op in program.operations]


def _compared(op: Operation, counts: dict[Slot, int]) -> Operation | None:
    """Return an operation on matrices as a comparison; None where it is another one, or nobody checks."""
    if op.name not in {"index", "index_add"} or op.out is None or len(op.args) != 3:
        return None
    x, rows, labels = op.args
    shape = x.shape if op.name == "index" else op.meta["shape"]
    if len(op.meta["spec"]) != 2 or len(shape) != 2 or min(shape) < 2:
        return None
    count = (shape[0],)
    in_turn = rows.kind == "constant" and rows.shape == count and (rows.source == np.arange(*count)).all()
    in_range = labels.dtype.kind in "iu" and counts.get(labels, np.inf) <= shape[1]
    if not in_turn or not in_range or labels.shape != count:
        return None
    if op.name == "index":
        return Operation("pick", "call", picked, (x, labels), {}, op.out, backward=op.backward)
    if x.shape != count:
        return None
    meta = {"columns": shape[1]}
    return Operation("place", "call", placed, (x, labels), meta, op.out, backward=op.backward)


def picked(x: Array, labels: Array) -> Array:
    """Return xᵢ with j = labelᵢ of each row i."""
    found: Array = x[np.arange(len(x)), labels]
    return found


def placed(values: Array, labels: Array, *, columns: int) -> Array:
    """Return rows of zeros, but for valueᵢ where j = labelᵢ."""
    rows = np.zeros((len(values), columns), values.dtype)
    rows[np.arange(len(values)), labels] = values
    return rows
