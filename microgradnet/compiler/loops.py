"""Loops: an operation as rows and columns to go through, what it reads there, computes and writes."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.labels import picked, placed
from microgradnet.compiler.lowering import finite_or_0, not_0, product
from microgradnet.compiler.program import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet.compiler.program import Operation

KINDS = {"float32", "float64", "bool"}
"""Dtypes that kernels compute with; all in the machine's own byte order."""


SCALARS = (Slot, bool, int, float, np.generic)
"""What an argument of a loop may be."""


ALL = 2
"""The axis of a sum over rows and columns."""


@dataclass(frozen=True)
class Access:
    """Where a loop reads or writes: at start + row·rows + column·columns, in elements."""

    slot: Slot
    rows: int
    columns: int

    @property
    def linear(self) -> bool:
        """Whether a loop over all elements in the order of memory can read it: it is that, or one number."""
        return (self.rows, self.columns) in {(0, 0), (0, 1)}


@dataclass(eq=False)
class Loop:
    """An operation for each row and column.

    ``axis`` is what a sum or a maximum is taken over: 0 for the rows, 1 for the columns, ``ALL`` for both.
    """

    op: Operation
    rows: int
    columns: int
    reads: list[Access | str]
    """In the order of the arguments; a string is a number as it is written."""
    write: Access
    expression: Callable[..., str]
    """Of the arguments' names."""
    kind: str
    """The dtype that it computes in."""
    axis: int | None = None

    @property
    def linear(self) -> bool:
        """Whether it may go through all elements in one row, or in any other rectangle of that size."""
        accesses = self.accesses if self.axis == ALL else [*self.accesses, self.write]
        return self.rows == 1 and self.axis in {None, ALL} and all(access.linear for access in accesses)

    @property
    def accesses(self) -> list[Access]:
        """What it reads from memory."""
        return [read for read in self.reads if isinstance(read, Access)]

    @property
    def size(self) -> int:
        """How many elements it goes through."""
        return self.rows * self.columns


# ---------------------------------------------------------------------- what each operation computes


def _chosen(condition: str, a: str, b: str) -> str:
    return f"select({condition}, {a}, {b})"


def _larger(_: str, a: str, b: str) -> str:
    # NaN wins, as in NumPy; of two zeros the second one, as in NumPy on x86.
    return _chosen(f"({a} > {b}) | ({a} != {a})", a, b)


def _smaller(_: str, a: str, b: str) -> str:
    return _chosen(f"({a} < {b}) | ({a} != {a})", a, b)


def _infix(sign: str) -> Callable[..., str]:
    return lambda _, a, b: f"{a} {sign} {b}"


def _named(name: str) -> Callable[..., str]:
    return lambda kind, a: f"{name}_{kind}({a})"


def _sign(kind: str, a: str) -> str:
    zero = f"{a} + np.{kind}(0)"  # NaN stays what it is, and -0 becomes 0
    smaller = _chosen(f"{a} < np.{kind}(0)", f"np.{kind}(-1)", zero)
    return _chosen(f"{a} > np.{kind}(0)", f"np.{kind}(1)", smaller)


UFUNCS: dict[Any, Callable[..., str]] = {
    **{
        f: _infix(sign)
        for f, sign in ((np.add, "+"), (np.subtract, "-"), (np.multiply, "*"), (np.divide, "/"))
    },
    **{f: _infix(sign) for f, sign in ((np.greater, ">"), (np.greater_equal, ">="), (np.less, "<"))},
    **{f: _infix(sign) for f, sign in ((np.less_equal, "<="), (np.equal, "=="), (np.not_equal, "!="))},
    np.logical_and: lambda kind, a, b: f"({a} != 0) & ({b} != 0)" if kind != "bool" else f"{a} & {b}",
    np.logical_or: lambda kind, a, b: f"({a} != 0) | ({b} != 0)" if kind != "bool" else f"{a} | {b}",
    np.negative: lambda _, a: f"-{a}",
    np.positive: lambda _, a: a,
    np.abs: lambda _, a: f"abs({a})",
    np.square: lambda _, a: f"{a} * {a}",
    np.sqrt: lambda _, a: f"np.sqrt({a})",
    np.reciprocal: lambda kind, a: f"np.{kind}(1) / {a}",
    np.sign: _sign,
    np.maximum: _larger,
    np.minimum: _smaller,
    **{f: _named(f.__name__) for f in (np.exp, np.expm1, np.log, np.log1p, np.tanh)},
}
"""Elementwise functions: NumPy's bits; for the last line 4 units in the last place of the exact value."""

LOGIC = {np.logical_and, np.logical_or, np.equal, np.not_equal}
"""What is the same for truth values as for numbers."""

LARGEST: dict[Any, int] = {
    (np.expm1, "float32"): 1024,
    (np.log, "float32"): 512,
    (np.log1p, "float32"): 256,
    (np.tanh, "float32"): 2048,
    (np.exp, "float64"): 1024,
    (np.log, "float64"): 512,
    (np.log1p, "float64"): 256,
}
"""Elements up to which ours is the faster one (measured with AVX-512).

NumPy works on twice as many numbers at a time where the processor can, but is called for each operation.
"""

CALLS: dict[Any, Callable[..., str]] = {
    finite_or_0: lambda kind, a: _chosen(f"abs({a}) < np.{kind}(np.inf)", a, f"np.{kind}(0)"),
    not_0: lambda kind, a: _chosen(f"{a} == np.{kind}(0)", f"np.{kind}(1)", a),
    np.where: lambda _, condition, a, b: _chosen(condition, a, b),
    operator.mul: lambda _, a, b: f"{a} * {b}",
}
"""The same for what is no ufunc."""


def loop_of(op: Operation) -> Loop | None:
    """Return an operation as a loop; None where it is not one, and stays a call of NumPy."""
    out = op.out
    if out is None:
        return None
    if op.function in {picked, placed}:
        return _by_label(op, out)
    return _of_floats(op, out) if all(_known(slot) for slot in (*op.slots, out)) else None


def _of_floats(op: Operation, out: Slot) -> Loop | None:
    if op.kind == "reduce":
        return _reduction(op, out)
    if op.kind == "scalar" and op.function is product:
        return _row_by_row(op, out)
    if op.kind == "ufunc" and op.function in UFUNCS and not op.meta:
        return _ufunc(op, out)
    kinds = [out.dtype.name] * len(op.args)
    if op.kind in {"call", "scalar"} and op.function in CALLS and not op.meta:
        if op.function is np.where:
            kinds[0] = "bool"
        return _elementwise(op, out, CALLS[op.function], kinds)
    return _elementwise(op, out, _same, kinds) if op.kind == "copy" else None


def _ufunc(op: Operation, out: Slot) -> Loop | None:
    function: Any = op.function
    if not all(isinstance(arg, SCALARS) for arg in op.args):
        return None
    dtypes = [_dtype(arg) for arg in op.args]
    kinds = [kind.name for kind in function.resolve_dtypes((*dtypes, None))]
    too_many = out.size > LARGEST.get((function, kinds[0]), out.size)
    if too_many or kinds[-1] != out.dtype.name or ("bool" in kinds[:-1] and function not in LOGIC):
        return None
    return _elementwise(op, out, UFUNCS[function], kinds[:-1])


def _dtype(arg: Any) -> Any:
    """Return what NumPy promotes: the dtype of an array or a NumPy scalar, the type of a Python number."""
    if isinstance(arg, (Slot, np.generic)):
        return arg.dtype
    return np.dtype(bool) if isinstance(arg, bool) else type(arg)


def _known(slot: Slot) -> bool:
    return bool(
        slot.size
        and slot.dtype.name in KINDS
        and slot.dtype.isnative
        and all(stride % slot.dtype.itemsize == 0 for stride in slot.strides)
    )


def _elementwise(
    op: Operation, out: Slot, expression: Callable[..., str], kinds: Sequence[str]
) -> Loop | None:
    if not set(kinds) <= KINDS or not all(isinstance(arg, SCALARS) for arg in op.args):
        return None
    arrays = [arg for arg in op.args if isinstance(arg, Slot) and not _literal(arg)]
    axes = _merged(out.shape, [_steps(slot, out.shape) for slot in [out, *arrays]])
    if len(axes) > 2:
        return None
    (rows, row_steps), (columns, column_steps) = [*[(1, (0,) * (1 + len(arrays)))] * (2 - len(axes)), *axes]
    found = [
        Access(slot, *steps) for slot, *steps in zip([out, *arrays], row_steps, column_steps, strict=True)
    ]
    write, rest = found[0], iter(found[1:])
    reads: list[Access | str] = []
    for arg, kind in zip(op.args, kinds, strict=True):
        if isinstance(arg, Slot) and not _literal(arg):
            reads.append(next(rest))
        else:
            reads.append(literal(arg.source if isinstance(arg, Slot) else arg, kind))
    return Loop(op, rows, columns, reads, write, _cast(expression, reads, kinds), kinds[-1])


def _cast(
    expression: Callable[..., str], reads: list[Access | str], kinds: Sequence[str]
) -> Callable[..., str]:
    """Give arguments the dtype that the operation computes in."""

    def text(kind: str, *names: str) -> str:
        args = [
            name if isinstance(read, str) or read.slot.dtype.name == wanted else converted(name, wanted)
            for name, read, wanted in zip(names, reads, kinds, strict=True)
        ]
        return expression(kind, *args)

    return text


def converted(name: str, kind: str) -> str:
    """Write a conversion."""
    return f"({name} != 0)" if kind == "bool" else f"np.{kind}({name})"


def _literal(slot: Slot) -> bool:
    return slot.kind == "constant" and slot.size == 1


def literal(value: Any, kind: str) -> str:
    """Write a number."""
    number = np.asarray(value).reshape(()).astype(kind).item()
    if kind == "bool":
        return repr(number)
    text = repr(number)
    if not np.isfinite(number):
        text = "np.nan" if np.isnan(number) else "np.inf" if number > 0 else "-np.inf"
    return f"np.{kind}({text})"


def _by_label(op: Operation, out: Slot) -> Loop | None:
    """Return what compares each row's label with the columns."""
    x, labels = op.args
    whole = labels.dtype.isnative and labels.strides[0] % labels.dtype.itemsize == 0
    if not (whole and out.contiguous and out.dtype == x.dtype and out.dtype.name != "bool" and _known(x)):
        return None
    rows, columns = x.shape if op.function is picked else out.shape
    wanted = Access(labels, labels.strides[0] // labels.dtype.itemsize, 0)
    steps = [stride // x.dtype.itemsize for stride in x.strides]
    reads: list[Access | str] = [Access(x, steps[0], steps[1] if op.function is picked else 0), wanted]
    write, axis = (Access(out, 1, 0), 1) if op.function is picked else (Access(out, columns, 1), None)
    zero = "-0.0" if op.function is picked else "0.0"  # which leaves the sign of a zero that is picked

    def expression(kind: str, value: str, label: str) -> str:
        return _chosen(f"types.int64({label}) == j", value, f"np.{kind}({zero})")

    return Loop(op, rows, columns, reads, write, expression, out.dtype.name, axis)


def _row_by_row(op: Operation, out: Slot) -> Loop | None:
    """Return the scalar product of a row with another."""
    if out.dtype.name == "bool" or any(slot.dtype != out.dtype or len(slot.shape) != 1 for slot in op.slots):
        return None
    reads: list[Access | str] = [Access(slot, 0, slot.strides[0] // slot.dtype.itemsize) for slot in op.slots]
    return Loop(op, 1, op.args[0].size, reads, Access(out, 0, 0), _infix("*"), out.dtype.name, ALL)


def _reduction(op: Operation, out: Slot) -> Loop | None:
    """Return a sum or maximum over all, over the rows or over the columns."""
    x, axis = op.args[0], op.meta["axis"]
    if op.function not in {np.add.reduce, np.maximum.reduce} or x.dtype != out.dtype or x.dtype.kind != "f":
        return None
    named = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    over = {a % len(x.shape) for a in named}
    step, kept = 1, [0] * len(x.shape)  # the steps of the result, which is contiguous
    for a in reversed(range(len(x.shape))):
        if a not in over:
            kept[a] = step
            step *= x.shape[a]
    axes = _merged(x.shape, [_steps(x, x.shape), tuple(kept)])
    # Which axes are left and kept, to the axis of the loop and the steps of the result.
    known: dict[Any, Any] = {(False,): (ALL, 0, 0), (True,): (None, 0, 1)}
    known |= {(True, False): (1, 1, 0), (False, True): (0, 0, 1)}
    found = known.get(tuple([bool(steps[1]) for _, steps in axes]))
    if found is None or not out.contiguous or any(steps[1] > 1 for _, steps in axes):
        return None
    rows, columns = [*[1] * (2 - len(axes)), *[n for n, _ in axes]]
    down, right = [*[0] * (2 - len(axes)), *[steps[0] for _, steps in axes]]
    axis, *steps = found
    read, write = Access(x, down, right), Access(out, *steps)
    return Loop(op, rows, columns, [read], write, _same, x.dtype.name, axis)


def _same(_: str, a: str) -> str:
    return a


def _steps(slot: Slot, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return by how many elements each axis of a shape leads on, 0 where the slot is broadcast."""
    own = [0 if n == 1 else s // slot.dtype.itemsize for n, s in zip(slot.shape, slot.strides, strict=True)]
    return (*[0] * (len(shape) - len(own)), *own)


def _merged(shape: tuple[int, ...], steps: Sequence[tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
    """Return the axes in the order of the first one's memory, neighbours joined where all can go on."""
    axes = [(n, tuple([some[a] for some in steps])) for a, n in enumerate(shape) if n != 1]
    axes.sort(key=lambda axis: -abs(axis[1][0]))
    found: list[tuple[int, tuple[int, ...]]] = []
    for n, inner in axes:
        if found:
            m, outer = found[-1]
            if all(a == b * n for a, b in zip(outer, inner, strict=True)):
                found[-1] = (m * n, inner)
                continue
        found.append((n, inner))
    return found or [(1, (0,) * len(steps))]
