"""Kernels in machine code: NumPy's bits in arithmetic, 4 units in the last place in exp, close sums."""

import gc
import itertools
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import nn, ops, optim, train
from microgradnet.compiler import fusion, machine_code
from microgradnet.compiler.errors import CompileError
from microgradnet.compiler.loops import LARGEST, UFUNCS
from tests.compiler.random_programs import bounded, programs, run

pytestmark = pytest.mark.usefixtures("needs_numba", "kernel_cache")

DTYPES = [np.float32, np.float64]
ROUGH = {np.exp, np.expm1, np.log, np.log1p, np.tanh}
X = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
Y = np.random.default_rng(3).integers(3, size=6)


def compiled(function):
    return mg.compile(function, backend="numba")


def kernels(step):
    """Return the names of the operations in each kernel."""
    found: dict[Any, list[str]] = {}
    for op in step.program.operations:
        if op.kernel is not None and op.kind != "view":
            found.setdefault(op.kernel, []).append(op.name)
    return list(found.values())


def fused(step):
    """Return the names of the operations in all kernels."""
    return [name for names in kernels(step) for name in names]


def close(a, b, units=8, scale=None):
    """Whether floats are within some units in the last place of the largest (or of ``scale``)."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    if a.dtype.kind != "f":
        return bool((a == b).all())
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    top = scale if scale is not None else np.abs(a[finite]).max(initial=0)
    return bool((np.abs(a[finite] - b[finite]) <= units * np.finfo(a.dtype).eps * max(top, 1e-30)).all())


def ulps(a, b):
    """Return by how many units in the last place finite numbers differ; infinity where others differ."""
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return np.inf
    gap = np.spacing(np.maximum(np.abs(a[finite]), np.finfo(a.dtype).smallest_normal))
    return (np.abs(a[finite] - b[finite]) / gap).max(initial=0)


def special(rng, shape, dtype):
    """Draw numbers, among them NaN, infinities, zeros, subnormal and huge ones."""
    x = rng.normal(size=shape).astype(dtype)
    some = [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        1.0,
        -1.0,
        np.finfo(dtype).max,
        np.finfo(dtype).smallest_subnormal,
    ]
    flat = x.reshape(-1)
    places = rng.permutation(flat.size)[: min(len(some), flat.size // 2)]
    flat[places] = np.array(some, dtype)[: len(places)]
    return x


# ---------------------------------------------------------------------- one operation


def primitive(function):
    return mg.Primitive(function.__name__, function)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_function_with_every_kind_of_number(dtype):
    """Each ufunc on special numbers: the bits of NumPy, or 4 units; all are in kernels."""
    functions = {f: primitive(f) for f in UFUNCS}

    def f(x, y):
        return [p(x) if f.nin == 1 else p(x, y) for f, p in functions.items()]

    step = compiled(f)
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        for _ in range(4):
            x, y = special(rng, (9, 7), dtype), special(rng, (9, 7), dtype)
            found = step(x, y)
        for function, ours in zip(functions, found, strict=True):
            theirs = function(x) if function.nin == 1 else function(x, y)
            assert ours.data.dtype == theirs.dtype, function
            if function in ROUGH:
                assert ulps(theirs, ours.data) <= 8, function  # 4 of ours, and as many of NumPy's
            else:
                assert np.array_equal(ours.data, theirs, equal_nan=theirs.dtype.kind == "f"), function
    assert sorted(fused(step)) == sorted([f.__name__ for f in functions])


def test_dtypes_that_meet():
    def f(x, y, c):
        mixed = x * y + x
        mask = (x > 0) & (y < 1) | c
        both = ops.logical_and(x, c)
        return mixed, mask, x * mask, np.where(mask, x, 0.5), ops.astype(mixed, dtype=np.float32) * 2, both

    step = compiled(f)
    rng = np.random.default_rng(1)
    for _ in range(3):
        args = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(5, 3)), rng.random((5, 3)) < 0.5
        for a, b in zip(f(*[mg.Tensor(x) for x in args]), step(*args), strict=True):
            assert a.data.dtype == b.data.dtype
            assert a.data.tobytes() == b.data.tobytes()
    assert len(fused(step)) >= 8


LAYOUTS = {
    "rows": ((4, 5), (5,)),
    "columns": ((4, 5), (4, 1)),
    "outer": ((4, 1), (1, 5)),
    "numbers": ((4, 5), ()),
    "three axes": ((2, 3, 4), (2, 3, 4)),
    "rows of three axes": ((2, 3, 4), (4,)),
    "axes of one": ((1, 5), (4, 1)),
    "single": ((1, 1), (1,)),
    "empty": ((0, 5), (5,)),
    "wide": ((3, 200), (200,)),
}


@pytest.mark.parametrize("order", ["C", "F", "gaps", "backwards"])
def test_broadcasting_and_layouts(order):
    """Chains over all shapes, in one program: bits of NumPy, except for sums."""

    def lay(x):
        if order == "F":
            return np.asfortranarray(x)
        if order == "gaps" and x.ndim:
            return np.repeat(x, 2, axis=-1)[..., ::2]
        return x[::-1] if order == "backwards" and x.ndim else x

    def chain(a, b):
        c = a * b + a
        d = ops.maximum(c, b) - ops.relu(-c)
        return c, d, d.T * 2 + 1, (d * d).reshape(-1) + 1

    def f(*arrays):
        return [chain(a, b) for a, b in zip(arrays[::2], arrays[1::2], strict=True)]

    step = compiled(f)
    rng = np.random.default_rng(3)
    for _ in range(3):
        arrays = [
            lay(rng.normal(size=shape).astype(np.float32)) for pair in LAYOUTS.values() for shape in pair
        ]
        eager, ours = f(*map(mg.Tensor, arrays)), step(*arrays)
        for name, some, others in zip(LAYOUTS, eager, ours, strict=True):
            for a, b in zip(some, others, strict=True):
                assert a.data.shape == b.data.shape
                assert a.data.tobytes() == b.data.tobytes(), name
    assert step.traces == 1
    assert kernels(step)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_and_maxima(dtype):
    def f(x, y):
        z = x * 2  # so that each runs in a kernel
        found = [
            z,
            x.sum(),
            z.sum(0),
            z.sum(1),
            z.sum(1, keepdims=True),
            x.T.sum(0),
            x.T.sum(1),
            (z.T * 3).sum(1),
        ]
        found += [
            y.sum((0, 1)),
            y.sum(0),
            y.sum(-1),
            y.sum((1, 2)),
            y.sum((0, 2)),
            z.mean(0),
            (z - z.mean(0)).sum(),
        ]
        found += [z.softmax(0), z.softmax(1), z.log_softmax(-1), y.log_softmax(1), y.softmax(2)]
        return [*found, nn.functional.mse_loss(x, z)]

    step = compiled(f)
    rng = np.random.default_rng(0)
    for i in range(4):
        x, y = rng.normal(size=(33, 70)).astype(dtype), rng.normal(size=(3, 4, 50)).astype(dtype)
        if i == 3:
            x[3, 4], x[7, 8] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            for a, b in zip(f(mg.Tensor(x), mg.Tensor(y)), step(x, y), strict=True):
                assert close(a.data, b.data, units=16, scale=x.shape[0] * 4.0)
    assert {"sum", "max"} <= set(fused(step))


def test_long_sums_of_float32_are_as_close_as_float64():
    step = compiled(lambda x: (x * 1.0).sum() + 0.0)
    x = np.random.default_rng(0).random(1_000_003).astype(np.float32)
    for _ in range(2):
        total = step(x).item()
    assert abs(total - x.sum(dtype=np.float64)) <= np.spacing(np.float32(total))


def test_a_function_that_numpy_does_faster_stays_numpys():
    step = compiled(lambda x: np.tanh(x * 2) + 1)
    for size, inside in ((64, True), (2 * LARGEST[np.tanh, "float32"], False)):
        for _ in range(2):
            step(np.ones(size, np.float32))
        assert any("tanh" in names for names in kernels(step)) == inside


# ---------------------------------------------------------------------- what lies where


def test_a_value_is_not_overwritten_before_its_transpose_is_read():
    def f(x):
        y = x @ x
        z = (y + y.T) * 2
        return z - z.T, z[::-1] + z

    step = compiled(f)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(12, 12)).astype(np.float32)
        for a, b in zip(f(mg.Tensor(x)), step(x), strict=True):
            assert close(a.data, b.data)


def test_an_argument_that_is_the_parameter():
    w = mg.Tensor(np.arange(1000.0))

    def f(x):
        with mg.no_grad():
            w[...] = w * 0.5 + x[::-1] * 0.25
        return x * 2 + 1

    step = compiled(f)
    expected = np.arange(1000.0)
    for _ in range(4):
        step(w.data.view())
        expected = expected * 0.5 + expected[::-1] * 0.25
    assert (w.data == expected).all()


def test_updates_that_read_another_parameter_across():
    """Written in its place, the last one would be read by those before it, if it joined their loops."""
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape) for shape in ((30, 30), (20, 45), (30, 30))]
    other = mg.constant(rng.normal(size=(30, 30)))

    def make(*updates):
        a, c, b = [mg.Parameter(x, dtype=float) for x in start]

        def f(x):
            b.grad = None
            (x @ b).sum().backward()
            with mg.no_grad():
                a[...] = a - updates[0](b)
                c[...] = c - b.reshape(45, 20).T
                gradient: Any = b.grad
                b[...] = b - gradient * 0.01
            return x * 2 + 1

        return a, c, b, f

    for update in (lambda b: b.T, lambda b: other.T):
        (*eager, f), (*ours, g) = make(update), make(update)
        step = compiled(g)
        for seed in range(4):
            x = np.random.default_rng(seed).normal(size=(5, 30))
            f(mg.Tensor(x))
            step(x)
            for p, q in zip(eager, ours, strict=True):
                assert close(p.data, q.data, units=50)


def test_two_parameters_swap():
    a, b = mg.Tensor(np.arange(3.0)), mg.Tensor(np.arange(3.0) * 10)

    def swap(x):
        with mg.no_grad():
            kept = a * 1.0
            a[...] = b * 1.0
            b[...] = kept
        return x * 2

    step = compiled(swap)
    for i in range(4):
        step(X)
        assert (a.tolist() == [0, 10, 20]) == (i % 2 == 0)


def test_what_a_call_makes_and_read_only_arguments():
    def f(x, i):
        rows = x[i] * 2 + 1  # a call of NumPy, whose result a kernel reads
        return rows, (rows - x[0]) * x

    step = compiled(f)
    x = np.random.default_rng(0).normal(size=(4, 4))
    x.flags.writeable = False
    for start in range(4):
        i = (np.arange(4) + start) % 4
        for a, b in zip(f(mg.Tensor(x), i), step(x, i), strict=True):
            assert a.data.tobytes() == b.data.tobytes()


def test_a_call_whose_layout_differs():
    turn = itertools.count()
    turning = mg.Primitive("turning", lambda x: x.copy() if next(turn) % 2 else np.asfortranarray(x))
    step = compiled(lambda x: turning(x * 1.0) * 2 + 1)
    x = np.arange(6.0).reshape(2, 3)
    for _ in range(4):
        assert (step(x).data == 2 * x + 1).all()


def both_backends(f, *args):
    """Compare the bits of the third call of each backend; return the one of Numba."""
    plain, step = mg.compile(f), compiled(f)
    for _ in range(3):
        a, b = plain(*args).data, step(*args).data
    assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return step


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y, _: np.concatenate([x, y], axis=1)[:, :3] * 2 + 1,
        lambda x, _, i: x[i][::-1] * 2 + 1,
        lambda x, _, i: x[i][:, ::-2] * 2 + 1,
        lambda x, _, i: np.broadcast_to(x[i][:1], (5, 4)) * 2 + 1,
    ],
    ids=["slice", "reversed", "steps back", "broadcast"],
)
def test_a_part_of_what_a_call_makes(function):
    x = np.random.default_rng(0).normal(size=(4, 4))
    assert fused(both_backends(function, x, x + 9, np.array([2, 0, 1, 3]))) == ["mul", "add"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / np.sqrt(4.0) + 1,
        lambda x: x * np.float32(2) + 1,
        lambda x: x * np.float64(0.1) + 1,
        lambda x: x * np.int64(3) - 1,
        lambda x: np.where((x > 0) & True, x, np.float32(0.1)),
        lambda x: np.where((x > 0) & np.True_, x, 0.1),
        lambda x: x * True + np.float64(0.1),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars_of_numpy_and_truth_values(function, dtype):
    assert len(fused(both_backends(function, X.astype(dtype)))) >= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_signs_of_zeros(dtype):
    def f(x, y):
        pairs = np.maximum(x, y), np.minimum(x, y), np.maximum(x, 0), np.minimum(0, x), np.maximum(0, x)
        return np.concatenate([z.reshape(-1) for z in (*pairs, np.sign(x), ops.relu(x), np.abs(x))])

    x, y = np.array([(a, b) for a in (0, -0.0, 1, -1, np.inf) for b in (0, -0.0, 1, -1, np.inf)], dtype).T
    assert {"maximum", "minimum", "sign", "relu"} & set(fused(both_backends(f, x, y)))


def test_a_failure_in_building_undoes_the_step(monkeypatch):
    def broken(*_):
        raise MemoryError

    w = mg.Tensor(np.ones(3), requires_grad=True)
    sgd = optim.SGD([w], lr=0.1)

    def f(x):
        sgd.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        sgd.step()
        return loss

    monkeypatch.setattr("microgradnet.compiler.step.optimized", broken)
    with pytest.raises(MemoryError):
        compiled(f)(np.ones(3))
    assert w.data.tolist() == [1, 1, 1]
    assert w.grad is None


# ---------------------------------------------------------------------- random programs


@settings(max_examples=6)  # each is compiled
@given(lines=programs(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 5))
def test_random_programs(lines, dtype, seed):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(4, 2)).astype(dtype)
    pair = [mg.Parameter(start, dtype=dtype) for _ in range(2)]
    steps = [
        mg.compile(lambda x, w=w: [t.detach() for t in run(lines, x, w, bounded)], backend=backend)
        for w, backend in zip(pair, ("numpy", "numba"), strict=True)
    ]
    for _ in range(3):
        x = rng.normal(size=(4, 2)).astype(dtype)
        exact, ours = [step(x) for step in steps]
        for a, b in zip(exact, ours, strict=True):
            assert close(a.data, b.data, units=2000, scale=1)
        assert close(pair[0].data, pair[1].data, units=2000, scale=1)


# ---------------------------------------------------------------------- training


class Twins:
    """Two equal trainings, one eager and one in kernels."""

    def __init__(self, make, loss_fn, settings, dtype=np.float32):
        self.models = [make(dtype), make(dtype)]
        self.optimizers = [optim.SGD(m.parameters(), **settings) for m in self.models]
        self.loss_fn = loss_fn
        self.eager, self.step = [
            self.step_of(*pair) for pair in zip(self.models, self.optimizers, strict=True)
        ]
        self.step = compiled(self.step)

    def step_of(self, model, optimizer):
        def step(x, y):
            output = model(x)
            loss = self.loss_fn(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss, output

        return step

    def both(self, x, y, seed=0):
        results = []
        for step in (self.eager, self.step):
            mg.manual_seed(seed)
            results.append((*step(x, y), ops.generator().random()))
        for a, b in zip(*results, strict=True):
            assert close(
                np.asarray(getattr(a, "data", a)), np.asarray(getattr(b, "data", b)), units=200, scale=10
            )
        self.same_state()

    def same_state(self):
        for (name, p), q in zip(self.models[0].named_parameters(), self.models[1].parameters(), strict=True):
            assert close(p.data, q.data, units=200, scale=10), name
            assert (p.grad is None) == (q.grad is None), name
            if p.grad is not None:
                assert close(p.grad, q.grad, units=200, scale=10), name
        for p, q in zip(self.models[0].buffers(), self.models[1].buffers(), strict=True):
            assert close(p.data, q.data, units=200, scale=10)


def perceptron(*middle, last=()):
    def make(dtype):
        rng = np.random.default_rng(0)
        layers = [layer() for layer in middle] or [nn.Tanh()]
        first = nn.Linear(4, 8, rng=rng, dtype=dtype)
        return nn.Sequential(
            first, *layers, nn.Linear(8, 3, rng=rng, dtype=dtype), *[layer() for layer in last]
        )

    return make


def labels(rng, dtype):
    return rng.normal(size=(6, 4)).astype(dtype), rng.integers(3, size=6)


def targets(rng, dtype):
    return rng.normal(size=(6, 4)).astype(dtype), rng.random((6, 3)).astype(dtype)


MOMENTUM = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
TRAININGS = [
    (perceptron(nn.Sigmoid, last=[nn.Sigmoid]), nn.QuadraticLoss(), targets, {"lr": 0.5}, np.float32),
    (perceptron(nn.ReLU, lambda: nn.Dropout(0.5)), nn.CrossEntropyLoss(), labels, MOMENTUM, np.float32),
    (perceptron(nn.GELU), nn.HuberLoss(), targets, {**MOMENTUM, "nesterov": True}, np.float64),
    (perceptron(nn.ELU, nn.LeakyReLU), nn.BCEWithLogitsLoss(), targets, {"lr": 0.1}, np.float32),
    (perceptron(lambda: nn.LayerNorm(8), nn.Softplus), nn.L1Loss(), targets, {"lr": 0.1}, np.float32),
    (perceptron(lambda: nn.BatchNorm1d(8), nn.Softmax), nn.MSELoss(), targets, {"lr": 0.1}, np.float32),
    (
        perceptron(nn.Tanh, last=[nn.Sigmoid]),
        nn.BCELoss(),
        targets,
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
        np.float64,
    ),
]


@pytest.mark.parametrize(("make", "loss_fn", "data", "settings", "dtype"), TRAININGS)
def test_trainings(make, loss_fn, data, settings, dtype):
    pair = Twins(make, loss_fn, settings, dtype)
    rng = np.random.default_rng(1)
    for step in range(8):
        x, y = data(rng, dtype)
        pair.both(x, y, step)
    assert len(kernels(pair.step)) >= 3
    assert "updated together" in " ".join(pair.step.program.notes)


def test_large_layers_turned_in_memory():
    """Linear layers whose product is computed the other way round: a kernel reads it across the rows."""

    def make(dtype):
        rng = np.random.default_rng(0)
        return nn.Sequential(nn.Linear(300, 256, rng=rng), nn.ReLU(), nn.Linear(256, 3, rng=rng))

    pair = Twins(make, nn.CrossEntropyLoss(), {"lr": 0.1})
    rng = np.random.default_rng(1)
    for _ in range(3):
        pair.both(rng.random((32, 300)).astype(np.float32), rng.integers(3, size=32))


def test_convolutions():
    def make(dtype):
        rng = np.random.default_rng(0)
        layers = [nn.Conv2d(1, 3, 3, rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(27, 3, rng=rng))

    pair = Twins(make, nn.CrossEntropyLoss(), {"lr": 0.1})
    rng = np.random.default_rng(1)
    for _ in range(3):
        pair.both(rng.random((4, 1, 8, 8)).astype(np.float32), rng.integers(3, size=4))


# ---------------------------------------------------------------------- guards and checks


def test_what_changes_between_calls():
    pair = Twins(perceptron(), nn.CrossEntropyLoss(), {"lr": 0.1})
    for _ in range(3):
        pair.both(X, Y)
    assert pair.step.traces == 1
    for rate in (0.5, 0.01):
        for optimizer in pair.optimizers:
            optimizer.param_groups[0]["lr"] = rate
        pair.both(X, Y)
    pair.eager(X, Y)
    pair.step_of(pair.models[1], pair.optimizers[1])(X, Y)  # eagerly, in between
    pair.same_state()
    pair.both(X, Y)
    for model in pair.models:
        model.load_state_dict({name: value * 0.5 for name, value in model.state_dict().items()})
    pair.both(X, Y)
    assert pair.step.traces == 1
    for count in (2, 6, 2):
        pair.both(X[:count], Y[:count])
    assert pair.step.traces == 2
    for model in pair.models:
        model[0].weight.data = np.ones((8, 4), np.float32)
    for _ in range(2):
        pair.both(X, Y)


def test_checks_come_before_the_update_and_before_gradients():
    pair = Twins(perceptron(), nn.CrossEntropyLoss(), {"lr": 0.1})
    for _ in range(3):
        pair.both(X, Y)
    with pytest.raises(IndexError, match="label 3"):
        pair.step(10 * X, Y * 0 + 3)
    pair.same_state()


def late_gradient(p: Any) -> Any:
    """Return the memory that `.grad` is copied from when it is read."""
    return p._node.grad.array


def test_a_loss_that_is_not_finite_stops_before_the_update():
    model = nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(2)), nn.Sigmoid())
    step = train.step.Step(
        model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), compiled="numba", gradients=True
    )
    target = np.zeros((6, 3), np.float32)
    for i in range(3):
        step(X, target, 1, i)
    before = [(p.data.copy(), np.array(late_gradient(p))) for p in model.parameters()]
    target[3, 1] = np.inf
    with pytest.raises(train.DivergedError, match=r"the loss became inf at step 7 \(epoch 1\)"):
        step(X, target, 1, 7)
    for p, (data, gradient) in zip(model.parameters(), before, strict=True):
        assert (p.data == data).all()
        assert (late_gradient(p) == gradient).all()


class Shifted(nn.Module):
    """A bias whose gradient is a view of a column sum."""

    def __init__(self) -> None:
        self.linear = nn.Linear(4, 3, bias=False, rng=np.random.default_rng(2))
        self.b = nn.Parameter(np.zeros(3, np.float32))

    def forward(self, x: Any) -> Any:
        return self.linear(x) + self.b.reshape(1, -1)


def test_gradients_that_are_views_stay_where_a_loss_is_not_finite():
    x, target = np.tile(X, (2, 1)), np.zeros((12, 3), np.float32)
    target[11, 1] = np.inf  # in the last of four batches, in the order that is drawn
    found = []
    for compile in (False, "numba"):
        model = Shifted()
        sgd = optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(train.DivergedError, match="step 4 "):
            train.fit(
                model,
                nn.MSELoss(),
                sgd,
                (x, target),
                epochs=1,
                batch_size=3,
                rng=4,
                compile=compile,
                on_batch=lambda _batch: None,  # which keeps the gradients
            )
        found.append(np.array(model.b.grad))  # read only now: what was read before is a copy
    assert np.isfinite(found[0]).all()
    assert close(*found)


def test_fit_in_machine_code():
    found = []
    for compile in (False, "numba"):
        rng = np.random.default_rng(2)
        model = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.Sigmoid(), nn.Linear(8, 3, rng=rng))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        history = train.fit(
            model, nn.CrossEntropyLoss(), optimizer, (X, Y), epochs=3, batch_size=3, rng=rng, compile=compile
        )
        found.append([record.loss for record in history])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_each_thread_has_memory_of_its_own():
    model = perceptron()(np.float32)
    step = compiled(model)
    expected = [model(X * i).data for i in range(3)]
    wrong: list[int] = []

    def work(i):
        wrong.extend([i for _ in range(50) if not close(expected[i], step(X * i).data)])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_gradients_of_gradients():
    w = mg.Parameter([0.5, -1.0, 2.0], dtype=float)

    def penalty(x):
        leaf = mg.Tensor(x, requires_grad=True)
        (slope,) = mg.grad((np.tanh(leaf * w) ** 3).sum(), leaf, create_graph=True)
        w.grad = None
        (slope * slope).sum().backward()
        return slope.detach()

    step = compiled(penalty)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=3)
        slope = step(x)
        found = w.grad
        assert close(penalty(x).data, slope.data, units=50)
        assert close(w.grad, found, units=50)


# ---------------------------------------------------------------------- program, picture, memory


def test_the_program_shows_its_kernels():
    pair = Twins(perceptron(nn.Sigmoid), nn.MSELoss(), {"lr": 0.1})
    target = np.zeros((6, 3), np.float32)
    for _ in range(2):
        pair.both(X, target)
    text = str(pair.step.program)
    assert "kernel 0:\n    v" in text
    assert "float32[6, 8] in registers" in text
    assert sum("dot" in names for names in kernels(pair.step)) == 1  # of the loss; products are calls
    nodes, edges = pair.step.nodes_and_edges()
    assert any(node.memory == "registers" for node in nodes)
    assert all(edge.tail < edge.head for edge in edges)
    assert "'0.weight' [parameter] (8, 4)" in mg.draw(pair.step, format="text")
    plain = mg.compile(pair.step_of(*[pairs[0] for pairs in (pair.models, pair.optimizers)]))
    for _ in range(2):
        plain(X, target)
    assert 0 < pair.step.memory()["compiled"] <= plain.memory()["compiled"]


def test_programs_that_are_too_long_stay_numpys(monkeypatch):
    monkeypatch.setattr(fusion, "MOST", 20)

    def chain(x):
        for _ in range(30):
            x = x * 0.999 + 0.001
        return x

    step = compiled(chain)
    with pytest.warns(UserWarning, match=r"numba.*60 operations.*more than 20.*calls of NumPy") as found:
        assert (step(np.ones(4)).data == chain(np.ones(4))).all()
    assert found[0].filename == __file__
    assert (step(np.ones(4)).data == chain(np.ones(4))).all()
    assert kernels(step) == []
    assert "too many for kernels" in " ".join(step.program.notes)


def test_the_update_of_all_parameters_counts_once(monkeypatch):
    layers = [nn.Linear(4, 4, rng=np.random.default_rng(i)) for i in range(6)]
    model = nn.Sequential(*layers)
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def f(x):
        loss = model(x).sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    monkeypatch.setattr(fusion, "MOST", 30)  # 12 parameters, of three operations each
    step = compiled(f)
    for _ in range(3):
        step(X)
    assert kernels(step)


def test_a_long_chain_of_views():
    def chain(x):
        x = x * 2 + 1
        for _ in range(1500):
            x = x.reshape(2, -1).reshape(4)
        return x * 2 + 1

    step = compiled(chain)
    for _ in range(2):
        assert step(np.ones(4)).tolist() == [7] * 4


def test_a_long_kernel_is_cut(monkeypatch):
    monkeypatch.setattr(fusion, "LONGEST", 10)

    def chain(x):
        for i in range(15):
            x = (x * 0.9 + 0.1 * i).reshape(2, -1).reshape(4)
        return x

    step = compiled(chain)
    for _ in range(2):
        assert (step(np.ones(4)).data == chain(mg.Tensor(np.ones(4))).data).all()
    assert [len(names) for names in kernels(step)][:2] <= [10, 10]
    assert len(kernels(step)) > 1


# ---------------------------------------------------------------------- asking for it


def test_other_backends_are_refused():
    with pytest.raises(ValueError, match="backend must be 'numpy' or 'numba', not 'torch'"):
        mg.compile(lambda x: x, backend="torch")


def test_a_missing_numba_says_what_to_install(monkeypatch):
    monkeypatch.setattr("microgradnet.compiler.step.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'microgradnet\[fast\]'"):
        mg.compile(lambda x: x, backend="numba")
    mg.compile(lambda x: x)


# ---------------------------------------------------------------------- the files


SCRIPT = """
import sys
import numpy as np
import microgradnet as mg
from microgradnet.compiler import machine_code
from pathlib import Path
machine_code.cache_dir = lambda: Path(sys.argv[1])
f = mg.compile(lambda x: (np.exp(x) * 2 + 1) * mg.constant(np.arange(3.0)), backend="numba")
for _ in range(3):
    y = f(np.ones(3))
print(y.tolist())
"""


def run_script(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, check=True
    )
    return done.stdout


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()}


def test_machine_code_is_kept_and_mended(tmp_path):
    first = run_script(tmp_path)
    kept = state(tmp_path / "kernels")
    assert len(kept) == 3  # the text, Numba's index, the code
    assert run_script(tmp_path) == first
    assert state(tmp_path / "kernels") == kept  # nothing was compiled again
    for path in (tmp_path / "kernels").rglob("*.nb*"):
        path.write_bytes(b"not what Numba wrote")
    next((tmp_path / "kernels").glob("*.py")).write_text("raise RuntimeError", encoding="utf-8")
    assert run_script(tmp_path) == first
    assert state(tmp_path / "kernels").keys() == kept.keys()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("no folder", encoding="utf-8")
    monkeypatch.setattr(machine_code, "cache_dir", lambda: blocked)
    step = compiled(lambda x: x * 12.5 + 3.25)
    for _ in range(2):
        assert step(np.ones(3)).tolist() == [15.75] * 3
    assert kernels(step)


def test_a_folder_in_which_numba_cannot_write(needs_numba, monkeypatch):
    monkeypatch.setattr(needs_numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])
    step = compiled(lambda x: x * 13.5 + 3.25)
    for _ in range(2):
        assert step(np.ones(3)).tolist() == [16.75] * 3


def test_a_disk_that_fails_while_numba_keeps_the_code(needs_numba, tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine_code, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(needs_numba.core.caching.Cache, "save_overload", full)
    step = compiled(lambda x: x * 14.5 + 3.25)
    for _ in range(2):
        assert step(np.ones(3)).tolist() == [17.75] * 3
    assert kernels(step)


def test_a_file_that_vanishes_after_a_damaged_one(tmp_path, monkeypatch):
    """The first attempt finds damage, the second one no file: a third one keeps nothing."""
    run, found = machine_code._run, []

    def failing(text: str, name: str, *, keep: bool) -> Any:
        found.append(keep)
        if len(found) < 3:
            raise [EOFError, FileNotFoundError][len(found) - 1]
        return run(text, name, keep=keep)

    monkeypatch.setattr(machine_code, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(machine_code, "_run", failing)
    step = compiled(lambda x: x * 15.5 + 3.25)
    for _ in range(2):
        assert step(np.ones(3)).tolist() == [18.75] * 3
    assert found == [True, True, False]


def test_nothing_is_left_of_a_file_that_cannot_be_put_in_its_place(tmp_path, monkeypatch):
    def refused(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(machine_code, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(Path, "replace", refused)
    step = compiled(lambda x: x * 16.5 + 3.25)
    for _ in range(2):
        assert step(np.ones(3)).tolist() == [19.75] * 3
    assert list((tmp_path / "kernels").iterdir()) == []


def test_a_compiler_that_is_switched_off(needs_numba, monkeypatch):
    monkeypatch.setattr(needs_numba.config, "DISABLE_JIT", 1)
    step = compiled(lambda x: x * 17.5 + 3.25)
    step(np.ones(3))
    with pytest.raises(CompileError, match=r"NUMBA_DISABLE_JIT.*unset it, or compile with backend='numpy'"):
        step(np.ones(3))


def test_the_memory_of_a_kernel_lives_as_long_as_the_function_that_calls_it():
    step = compiled(lambda x: x * 2 + 1)
    for _ in range(2):
        step(np.ones(3))
    table = weakref.ref(step._latest.executor._launches._table)
    run = step._quick[1]
    del step
    gc.collect()
    assert table() is not None
    assert run(np.ones(3)).tolist() == [3] * 3


def test_old_programs_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_code, "PROGRAMS", 1)
    monkeypatch.setattr(machine_code, "cache_dir", lambda: tmp_path)
    for number in (11.5, 12.5):
        step = compiled(lambda x, number=number: x * number + 1)
        for _ in range(2):
            step(np.ones(3))
        assert len(list((tmp_path / "kernels").glob("*.py"))) == 1
    assert len({path.name.split(".")[0] for path in (tmp_path / "kernels").rglob("*.*")}) == 1
