"""Every row of the table of operations, and random programs: compiled as eager, with their gradients."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import ops
from microgradnet.compiler.lowering import LOWERINGS, lowered
from microgradnet.compiler.program import Operation, Program, Slot
from microgradnet.ops import table
from microgradnet.ops.table import OPERATIONS
from tests.compiler.random_programs import programs, run

SHAPES = [((),) * 3, ((2, 1), (1, 3), (2, 3)), ((2, 3), (3,), ())]
CASES = [
    pytest.param(row, shapes, case.keywords, id=f"{row.title}-{shapes}-{len(case.keywords)}-{i}")
    for row in OPERATIONS
    for i, case in enumerate(row.cases)
    for shapes in (
        [case.shapes] if case.shapes is not None else [some[: len(row.arguments.split())] for some in SHAPES]
    )
]


def with_gradients(row, keywords):
    """Return a function of arrays: the operation's values, and the gradients of their squares."""

    def f(*arrays):
        tensors = [mg.Tensor(x, requires_grad=x.dtype.kind == "f" and row.differentiable) for x in arrays]
        y = row(*tensors, **keywords)
        results = list(y) if isinstance(y, (list, tuple)) else [y]
        leading = [(t * t).sum() for t in results if t.requires_grad]
        wanted = [t for t in tensors if t.requires_grad]
        found = mg.grad(leading, wanted, allow_unused=True) if leading else ()
        return [t.detach() for t in [*results, *[g for g in found if g is not None]]]

    return f


@pytest.mark.parametrize(("row", "shapes", "keywords"), CASES)
def test_every_operation(row, shapes, keywords, same_bits):
    for dtype in (np.float32, np.float64):
        f = with_gradients(row, keywords)
        compiled = mg.compile(f)
        for seed in range(3):
            arrays = table.draw(row, shapes, np.random.default_rng(seed), dtype)
            for a, b in zip(f(*arrays), compiled(*arrays), strict=True):
                assert same_bits(a.data, b.data), seed
        assert compiled.traces == 1


def equal(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


@given(lines=programs(), dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 5))
def test_random_programs(lines, dtype, seed):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(4, 2)).astype(dtype)
    w, v = mg.Parameter(start, dtype=dtype), mg.Parameter(start, dtype=dtype)
    compiled = mg.compile(lambda x: [t.detach() for t in run(lines, x, v)])
    for _ in range(4):
        x = rng.normal(size=(4, 2)).astype(dtype)
        try:
            eager = run(lines, x, w)
        except FloatingPointError:
            reject()  # the program's own numbers are too large
        for a, b in zip(eager, compiled(x), strict=True):
            assert equal(a.data, b.data)
        assert equal(w.data, v.data)
        assert equal(w.grad, v.grad)


PRIMITIVES: dict[str, Any] = {
    "sigmoid": ops.sigmoid,
    "softplus": ops.softplus,
    "relu": ops.relu,
    "sum": lambda x: ops.sum(x, 0),
    "mean": lambda x: ops.mean(x, (0, 1), keepdims=True),
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "astype": lambda x: ops.astype(x, dtype=np.float64),
    "pow": lambda x: x**2,
    "dot": lambda x: x.dot(x.T),
    "matmul": lambda x: x[:3].T @ x[:3, :5],
    "linear": lambda x: ops.linear(x, x, x[:, 0]),
    "squared_error": lambda x: mg.nn.functional.mse_loss(x, x * 0.5),
    "sum_rows": lambda x: mg.nn.functional.linear(x, x, x[:, 0]).sum(),
}


@pytest.mark.parametrize("name", sorted(LOWERINGS))
def test_kernels_give_the_bits_of_the_primitive(name, same_bits):
    """A kernel sequence that differs would be dropped at tracing; here each must be in use, and be right."""
    if name in {"copy", "sum_rows"}:
        return
    f = PRIMITIVES[name]
    for dtype in (np.float32, np.float64):
        compiled = mg.compile(lambda x: f(mg.Tensor(x)))
        for seed in range(40):
            x = np.random.default_rng(seed).normal(size=(7, 7)).astype(dtype) * 3
            assert same_bits(f(mg.Tensor(x)).data, compiled(x).data), seed
        assert name not in [op.name for op in compiled.program.operations if op.kind == "call"]


def test_a_kernel_sequence_with_other_bits_is_not_used():
    x = Slot.of("argument", np.array([1.0, 2.0]), 0)
    out = Slot.of("result", np.array([1.0, 2.0]))
    op = Operation("sigmoid", "call", lambda x: x, (x,), {}, out)
    program = Program([op])
    lowered(program)
    assert program.operations == [op]
