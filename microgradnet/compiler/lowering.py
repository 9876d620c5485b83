"""From primitives to kernels: what an operation computes, as the NumPy calls that can write to given memory.

Each kernel sequence is run once on the values of the traced call. Where it does not give the primitive's own
result to the last bit, the primitive is called as it is: a changed forward costs speed.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.compiler.program import Operation, Slot
from microgradnet.ops.linalg import w_first, with_gaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.compiler.program import Program

Lowering: TypeAlias = "Callable[..., Any]"


class Builder:
    """Collects kernels, and computes what each gives for the values of the traced call."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def constant(self, value: Any) -> Slot:
        """Return the slot of an array that never changes."""
        array = np.asarray(value)
        return Slot.of("constant", array, array)

    def add(self, name: str, kind: str, function: Any, *args: Any, **meta: Any) -> Slot:
        """Append a kernel and return the slot of its result."""
        if kind == "ufunc":
            args = self._numbers_as_arrays(args)
        shares = tuple([arg for arg in args if isinstance(arg, Slot)]) if kind == "view" else ()
        op = Operation(name, kind, function, args, meta, None, shares)
        values = [arg.value if isinstance(arg, Slot) else arg for arg in args]
        op.out = Slot.of("result", np.asarray(op(*values)))
        self.operations.append(op)
        return op.out

    def ufunc(self, function: Any, *args: Any) -> Slot:
        """Append a ufunc."""
        return self.add(function.__name__, "ufunc", function, *args)

    def _numbers_as_arrays(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give Python numbers, which ufuncs convert slowly, the dtype that they take beside the arrays."""
        dtypes = [arg.dtype for arg in args if isinstance(arg, Slot) and arg.kind != "number"]
        if not dtypes:
            return args
        found = []
        for arg in args:
            number = isinstance(arg, (int, float)) and not isinstance(arg, (bool, np.generic))
            if number:
                kind = np.result_type(*dtypes, arg)
                found.append(self.constant(np.asarray(arg, kind)))
            elif isinstance(arg, Slot) and arg.kind == "number":
                kind = np.result_type(*dtypes, arg.value.item())
                found.append(cast_number(arg, kind))
            else:
                found.append(arg)
        return tuple(found)


def cast_number(slot: Slot, kind: np.dtype[Any]) -> Slot:
    """Return the slot of a hyperparameter as an array of that dtype, always the same one."""
    casts = slot.source.casts
    if kind not in casts:
        casts[kind] = Slot("number", (), kind, (), slot.source, np.asarray(slot.value.item(), kind))
    found: Slot = casts[kind]
    return found


# ---------------------------------------------------------------------- kernels that are no ufunc


def _turned(x: Any) -> Any:
    return x.T


def _flat(x: Any) -> Any:
    return x.reshape(-1)


def product(x: Any, w: Any) -> Any:
    """Return x·w, of matrices or of two rows."""
    return x.dot(w)


def finite_or_0(x: Any) -> Any:
    """Return x, 0 where it is infinite or NaN."""
    return np.where(np.isfinite(x), x, 0.0)


def not_0(x: Any) -> Any:
    """Return x, 1 where it is 0."""
    return np.where(x == 0, 1.0, x)


def _cast(x: Any, *, dtype: Any) -> Any:
    return x.astype(dtype)


def _copied(x: Any) -> Any:
    return x.copy()


# ---------------------------------------------------------------------- one function per primitive


def _sigmoid(b: Builder, x: Slot) -> Slot:
    y = b.ufunc(np.negative, x)
    y = b.ufunc(np.minimum, y, b.constant(largest_exponent(x.dtype)))
    y = b.ufunc(np.exp, y)
    y = b.ufunc(np.add, y, 1.0)
    return b.ufunc(np.reciprocal, y)


def largest_exponent(dtype: np.dtype[Any]) -> Any:
    """Return the last number whose exp does not overflow."""
    return np.asarray(np.nextafter(np.log(np.finfo(dtype).max), dtype.type(0)), dtype)


def _softplus(b: Builder, x: Slot) -> Slot:
    tail = b.ufunc(np.log1p, b.ufunc(np.exp, b.ufunc(np.negative, b.ufunc(np.abs, x))))
    return b.ufunc(np.add, b.ufunc(np.maximum, x, 0), tail)


def _relu(b: Builder, x: Slot) -> Slot:
    return b.ufunc(np.maximum, x, 0)


def _linear(b: Builder, x: Slot, w: Slot, *bias: Slot) -> Slot:
    if w_first(x, w):
        y = b.ufunc(np.matmul, w, b.add("transpose", "view", _turned, x))
        y.lay_out(with_gaps(w.shape[0], x.shape[0], y.dtype))
        turned = b.add("transpose", "view", _turned, y)
        y = b.ufunc(np.add, turned, bias[0]) if bias else b.ufunc(np.positive, turned)
        y.lay_out(np.empty(y.shape, y.dtype))
        return y
    turned = b.add("transpose", "view", _turned, w)
    y = _dot(b, x, turned) if len(x.shape) == 2 else b.ufunc(np.matmul, x, turned)
    return b.ufunc(np.add, y, bias[0]) if bias else y


def _dot(b: Builder, x: Slot, w: Slot) -> Slot:
    return b.add("dot", "dot", product, x, w)


def _sum(b: Builder, x: Slot, *, axis: Any, keepdims: bool) -> Slot:
    return b.add("sum", "reduce", np.add.reduce, x, axis=axis, keepdims=keepdims)


def _mean(b: Builder, x: Slot, *, axis: Any, keepdims: bool) -> Slot:
    count = x.size // max(np.zeros(x.shape).sum(axis=axis).size, 1) if x.shape else 1
    return b.ufunc(np.divide, _sum(b, x, axis=axis, keepdims=keepdims), count)


def _squared_error(b: Builder, a: Any, y: Any, *, scale: float) -> Slot:
    d = b.ufunc(np.subtract, a, y)
    row = b.add("reshape", "view", _flat, d)
    return b.add("mul", "scalar", operator.mul, b.add("dot", "scalar", product, row, row), scale)


def _sum_rows(b: Builder, x: Slot) -> Slot:
    return _sum(b, x, axis=0, keepdims=False)


def _finite_max(b: Builder, x: Slot, axis: Any) -> Slot:
    top = b.add("max", "reduce", np.maximum.reduce, x, axis=axis, keepdims=True)
    return b.add("finite_or_0", "call", finite_or_0, top)


def _not_zero(b: Builder, total: Slot) -> Slot:
    return b.add("not_0", "call", not_0, total)


def _softmax(b: Builder, x: Slot, *, axis: Any) -> Slot:
    y = b.ufunc(np.exp, b.ufunc(np.subtract, x, _finite_max(b, x, axis)))
    return b.ufunc(np.divide, y, _not_zero(b, _sum(b, y, axis=axis, keepdims=True)))


def _log_softmax(b: Builder, x: Slot, *, axis: Any) -> Slot:
    shifted = b.ufunc(np.subtract, x, _finite_max(b, x, axis))
    total = _sum(b, b.ufunc(np.exp, shifted), axis=axis, keepdims=True)
    return b.ufunc(np.subtract, shifted, b.ufunc(np.log, _not_zero(b, total)))


def _astype(b: Builder, x: Slot, *, dtype: Any) -> Slot:
    return b.add("astype", "copy", _cast, x, dtype=dtype)


def _copy(b: Builder, x: Slot) -> Slot:
    return b.add("copy", "copy", _copied, x)


def _power(b: Builder, x: Slot, *, n: float) -> Slot | None:
    return b.ufunc(np.square, x) if n == 2 else None


def _matmul(b: Builder, x: Slot, w: Slot) -> Slot | None:
    """Take dot for a small product of matrices: the same call of BLAS, which it reaches sooner.

    (It clears the result first, which is too much for a large one. BLAS is called differently for vectors.)
    """
    if len(x.shape) != 2 or len(w.shape) != 2 or min(*x.shape, *w.shape) < 2:
        return None
    return _dot(b, x, w) if 4 * x.shape[0] * w.shape[1] <= SMALL_PRODUCT else None


SMALL_PRODUCT = 1 << 14
"""Bytes of a result."""
LOWERINGS: dict[str, Lowering] = {
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "relu": _relu,
    "linear": _linear,
    "dot": _dot,
    "sum": _sum,
    "sum_rows": _sum_rows,
    "matmul": _matmul,
    "mean": _mean,
    "squared_error": _squared_error,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "astype": _astype,
    "copy": _copy,
    "pow": _power,
}
"""By a primitive's name; that a user's own primitive of that name is another one is seen by its bits."""


def lowered(program: Program) -> None:
    """Replace every primitive that is known by kernels."""
    found: list[Operation] = []
    with np.errstate(all="ignore"):  # the traced call has said what there was to say
        for op in program.operations:
            kernels = _kernels(op)
            found += [op] if kernels is None else kernels
    program.operations = found


def _kernels(op: Operation) -> list[Operation] | None:
    if op.kind not in {"ufunc", "call"} or op.out is None:
        return None
    for rule in (LOWERINGS.get(op.name), _ufunc_itself if op.kind == "ufunc" and not op.meta else None):
        builder = Builder()
        if rule is not None and _fits(rule, builder, op):
            builder.operations[-1].out = op.out
            return builder.operations
    return None


def _ufunc_itself(b: Builder, *args: Any, function: Any, name: str) -> Slot:
    return b.add(name, "ufunc", function, *args)


def _fits(rule: Lowering, builder: Builder, op: Operation) -> bool:
    """Build the kernels, and tell whether they give the primitive's result."""
    options = {"function": op.function, "name": op.name} if rule is _ufunc_itself else op.meta
    try:
        made: Slot | None = rule(builder, *op.args, **options)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        return False  # another primitive of that name, or numbers where arrays are usual
    wanted = op.out
    if made is None or wanted is None or made is not builder.operations[-1].out:
        return False
    return bool(made.like(wanted)) and made.value.tobytes() == wanted.value.tobytes()
