"""Matrix products in machine code: BLAS called by address, layouts, and updates that products are part of."""

import ctypes
import itertools
import platform
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import nn, ops, optim, train
from microgradnet.compiler import blas
from microgradnet.compiler.memory import Memory
from microgradnet.compiler.products import Matrix
from microgradnet.compiler.program import Slot
from microgradnet.nn.functional import linear
from microgradnet.ops import linalg

pytestmark = pytest.mark.usefixtures("needs_numba", "kernel_cache")

X = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
LABELS = np.random.default_rng(3).integers(3, size=6)
TARGETS = np.random.default_rng(4).random((6, 3)).astype(np.float32)
ADDED = "add themselves to what they update"


def compiled(function):
    return mg.compile(function, backend="numba")


def notes(step):
    return " ".join(step.program.notes)


def calls_of_blas(step):
    return [op for op in step.program.operations if op.product is not None]


def close(a, b, units=200):
    limit = units * np.finfo(np.asarray(a).dtype).eps * max(1, np.abs(a).max())
    return np.asarray(a).dtype == np.asarray(b).dtype and bool(np.abs(np.asarray(a) - b).max() <= limit)


# ---------------------------------------------------------------------- the library


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"},
    reason="where NumPy's wheels keep OpenBLAS is known for Linux",
)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_numpys_library_is_found(kind):
    assert blas.gemm(kind) is not None


@pytest.fixture
def new_search():
    blas.gemm.cache_clear()
    yield
    blas.gemm.cache_clear()


@pytest.mark.usefixtures("new_search")
def test_a_function_with_other_results_is_refused(monkeypatch):
    numbers: list[Any] = [*[ctypes.c_int] * 3, *[ctypes.c_int64] * 3, ctypes.c_float]
    numbers += [ctypes.c_void_p, ctypes.c_int64] * 2 + [ctypes.c_float, ctypes.c_void_p, ctypes.c_int64]
    called = []
    wrong = ctypes.CFUNCTYPE(None, *numbers)(lambda *given: called.append(len(given)))

    class Library:
        scipy_cblas_sgemm64_ = wrong

    monkeypatch.setattr(ctypes, "CDLL", lambda _path: Library())
    assert blas.gemm("float32") is None
    assert called == [14]


@pytest.mark.usefixtures("new_search")
@pytest.mark.parametrize("error", [OSError, None])
def test_without_a_library_numpy_is_called(monkeypatch, error):
    def library(_path):
        if error is not None:
            raise error
        return object()

    monkeypatch.setattr(ctypes, "CDLL", library)
    pair = Pair()
    for _ in range(3):
        pair.both(X, LABELS)
    assert calls_of_blas(pair.step) == []
    assert ADDED not in notes(pair.step)
    assert "updated together" in notes(pair.step)


# ---------------------------------------------------------------------- products


def layouts(array):
    """Return arrays with the same elements, each in another place in memory."""
    padded = np.zeros((array.shape[0] + 2, array.shape[1] + 3), array.dtype)
    padded[1:-1, 2:-1] = array
    spread = np.zeros((array.shape[0], 2 * array.shape[1]), array.dtype)
    spread[:, ::2] = array
    return {
        "rows": array.copy(),
        "columns": np.asfortranarray(array),
        "a part": padded[1:-1, 2:-1],
        "a part, turned": np.asfortranarray(padded)[1:-1, 2:-1],
        "every second": spread[:, ::2],
        "backwards": array[::-1].copy()[::-1],
        "all rows the same": np.broadcast_to(array[:1], array.shape),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_any_layout(dtype):
    rng = np.random.default_rng(0)
    a = layouts(rng.integers(-4, 5, (3, 5)).astype(dtype))
    b = layouts(rng.integers(-4, 5, (5, 4)).astype(dtype))

    def f(*given):
        products = [x @ y for x in given[: len(a)] for y in given[len(a) :]]
        return [*products, *[product.T * 1 for product in products]]

    step = compiled(f)
    given = [*a.values(), *b.values()]
    expected = f(*given)
    for _ in range(3):
        assert all((x == y.data).all() for x, y in zip(expected, step(*given), strict=True))
    assert len(calls_of_blas(step)) == 4 * 4


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 3),
    dtypes=st.tuples(*[st.sampled_from([np.float32, np.float64, np.int64])] * 2),
)
def test_products_of_any_size_and_dtype(sizes, dtypes):
    n, m, k = sizes
    rng = np.random.default_rng(0)
    a = rng.integers(-4, 5, (n, k)).astype(dtypes[0])
    b = rng.integers(-4, 5, (k, m)).astype(dtypes[1])
    step = compiled(lambda a, b: (a @ b) * 1.0)
    for _ in range(3):
        found = step(a, b).data
        assert found.dtype == ((a @ b) * 1.0).dtype
        assert (found == a @ b).all()
    assert len(calls_of_blas(step)) == (min(sizes) > 1 and dtypes[0] == dtypes[1] != np.int64)


def test_a_product_with_itself_and_of_stacks():
    step = compiled(lambda a, b: (a @ a.T + 1, b @ b + 1))
    stack = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    for _ in range(2):
        square, stacked = step(X, stack)
        assert close(X @ X.T + 1, square.data)
        assert close(stack @ stack + 1, stacked.data)
    assert len(calls_of_blas(step)) == 1


# ---------------------------------------------------------------------- updates


class Pair:
    """Two equal trainings, eager and in machine code, that leave no gradients behind."""

    def __init__(self, sizes=(4, 8, 3), loss_fn=None, activation=nn.Tanh, dtype=np.float32, **given):
        self.sides = []
        for wrap in (lambda step: step, compiled):
            rng = np.random.default_rng(0)
            layers = [nn.Linear(n, m, rng=rng, dtype=dtype) for n, m in itertools.pairwise(sizes)]
            model = nn.Sequential(*[part for layer in layers for part in (layer, activation())][:-1])
            optimizer = optim.SGD(model.parameters(), **{"lr": 0.1, **given})
            self.sides.append((model, optimizer, wrap(self._step(model, optimizer, loss_fn))))
        self.step = self.sides[1][2]

    def _step(self, model, optimizer, loss_fn):
        loss_fn = loss_fn or nn.CrossEntropyLoss()

        def step(x, y):
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        return step

    def set(self, **given):
        for _, optimizer, _ in self.sides:
            optimizer.param_groups[0].update(given)

    def both(self, x, y, units=200):
        losses = []
        for _, _, step in self.sides:
            mg.manual_seed(0)
            losses.append(step(x, y).data)
        assert close(losses[0], losses[1], units)
        self.same(units)

    def same(self, units=200):
        (a, first, _), (b, second, _) = self.sides
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            assert close(p.data, q.data, units)
            assert p.grad is None
            assert q.grad is None
        for ours, others in zip(first.state, second.state, strict=True):
            for name in ours:
                assert close(ours[name].data, others[name].data, units)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 2),
        ({"lr": 1.0}, 2),
        ({"momentum": 0.9}, 2),
        ({"momentum": 0.9, "dampening": 0.5}, 2),
        ({"weight_decay": 0.1}, 0),
        ({"momentum": 0.9, "nesterov": True}, 0),
    ],
)
def test_products_are_part_of_the_update(given, count, dtype):
    pair = Pair(dtype=dtype, **given)
    for _ in range(6):
        pair.both(X.astype(dtype), LABELS)
    together = 6 if "momentum" in given else 2
    expected = (
        f"{count} products {ADDED}; {together} tensors are" if count else "tensors are updated together"
    )
    assert expected in "; ".join(pair.step.program.notes)
    assert len([op for op in calls_of_blas(pair.step) if op.kind == "product"]) == count


def test_hyperparameters_are_read_at_each_call():
    pair = Pair(momentum=0.9)
    for i in range(8):
        pair.set(lr=0.1 / (i + 1), momentum=0.9 - 0.1 * (i % 3))
        pair.both(X, LABELS)
    assert pair.step.traces == 2  # without velocities, and with them
    assert ADDED in notes(pair.step)


def test_gradients_that_are_kept_are_made():
    model = nn.Linear(4, 3, rng=np.random.default_rng(0))
    sgd = optim.SGD(model.parameters(), lr=0.1)

    def f(x, y):
        sgd.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        sgd.step()
        return loss

    step = compiled(f)
    for _ in range(3):
        before = model.weight.data.copy()
        step(X, LABELS)
        gradient: Any = model.weight.grad
        assert np.abs(gradient).max() > 0.01
        assert close(before - 0.1 * gradient, model.weight.data)
    assert ADDED not in notes(step)


def averaged(w, mean, rate):
    """A step that also keeps an average of the old weights, and gives back the new ones."""

    def f(x):
        (linear(x, w) ** 2).sum().backward()
        with mg.no_grad():
            old = w.detach() * 1
            mean[...] = mean * 0.9 + w * 0.1
            gradient: Any = w.grad
            w[...] = w - rate * gradient
        w.grad = None
        return (old * mean).sum(), (w * 2).sum()

    return f


def used_twice(w, _mean, rate):
    def f(x):
        ((linear(x, w) ** 2).sum() + linear(x[:3] * 2.0, w).sum()).backward()
        with mg.no_grad():
            w[...] = w - rate * w.grad
        w.grad = None
        return w.sum()

    return f


def multiplied_by_the_other(w, other, rate):
    """Each gradient is a product with the other parameter, which is updated, too."""

    def f(x):
        ((other @ w) ** 2 * x[:4].sum()).sum().backward()
        with mg.no_grad():
            gradients: Any = w.grad, other.grad
            w[...] = w - rate * gradients[0]
            other[...] = other - rate * gradients[1]
        w.grad = other.grad = None
        return w.sum() + other.sum()

    return f


def decayed_first(w, _mean, rate):
    def f(x):
        (linear(x, w) ** 2).sum().backward()
        with mg.no_grad():
            w[...] = 0.5 * w - rate * w.grad
        w.grad = None
        return w.sum()

    return f


@pytest.mark.parametrize("make", [averaged, used_twice, multiplied_by_the_other, decayed_first])
def test_updates_of_our_own(make):
    found = []
    for wrap in (lambda step: step, compiled):
        rng = np.random.default_rng(0)
        product = make is multiplied_by_the_other
        shapes = (3, 4), (4, 3) if product else (3, 4)
        w, other = [mg.Parameter(rng.normal(size=shape), dtype=float) for shape in shapes]
        step = wrap(make(w, other, 0.01))
        values = []
        for i in range(4):
            result = step(X.astype(float) * (i + 1) / 4)
            values += [part.item() for part in (result if isinstance(result, tuple) else (result,))]
        found.append([*values, *w.data.ravel(), *other.data.ravel()])
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_a_weight_that_is_multiplied_by_a_number_first():
    w = mg.Parameter(np.random.default_rng(0).normal(size=(3, 4)), dtype=float)
    step = compiled(decayed_first(w, None, 0.01))
    for _ in range(3):
        step(X.astype(float))
    assert f"1 products {ADDED}" in notes(step)


def test_an_argument_that_is_the_parameter():
    """Large enough for BLAS to read its arguments again after it has begun to write."""
    found = []
    for wrap in (lambda step: step, compiled):
        w = mg.Parameter(np.random.default_rng(0).normal(size=(900, 900)) / 30, dtype=float)

        def f(x, w=w):
            linear(x, w).tanh().sum().backward()
            with mg.no_grad():
                w[...] = w - 0.001 * w.grad
            w.grad = None
            return w.sum()

        step = wrap(f)
        for i in range(4):
            step(w.data if i else np.eye(900))
        found.append(w.data)
    assert ADDED in notes(step)
    assert close(*found)


@pytest.mark.parametrize(("step", "count"), [(1, 2), (-1, 1)])
def test_an_argument_that_is_the_parameter_of_another_layer(step, count):
    """It is read for the gradient of the first layer, when the second one has been updated."""
    pair = Pair((4, 8, 4))
    labels = np.arange(8) % 4
    for i in range(4):
        for model, _, run in pair.sides:
            run(model[2].weight.data.reshape(8, 4)[::step] if i else np.eye(8, 4, dtype="f4")[::step], labels)
    pair.same()
    assert f"{count} products {ADDED}" in notes(pair.step)


def test_a_parameter_is_updated_as_soon_as_nothing_else_reads_it():
    pair = Pair((4, 8, 8, 3))
    for _ in range(3):
        pair.both(X, LABELS)
    program = pair.step.program
    weights = {id(p): i for i, p in enumerate(pair.sides[1][0].parameters())}
    order = []
    for op in program.operations:
        read = [weights.get(id(slot.source)) for slot in op.slots if slot.kind == "state"]
        order += [f"{'-=' if op.name == 'add_product' else 'reads'} {i}" for i in read if i in (0, 2, 4)]
    backwards = [entry for entry in order if order.index(entry) >= order.index("-= 4")]
    assert order.index("-= 4") < order.index("-= 2") < order.index("-= 0")
    assert backwards.count("reads 4") == 0
    assert order[-3:] == ["reads 2", "-= 2", "-= 0"]


def test_no_parameter_is_updated_before_a_check():
    model = nn.Linear(4, 3, rng=np.random.default_rng(0))
    sgd = optim.SGD(model.parameters(), lr=0.1)

    @compiled
    def step(x, p):
        model(x).tanh().sum().backward()
        sgd.step()
        sgd.zero_grad()
        return nn.BCELoss()(p, mg.constant(np.zeros((2, 2), "f4")))

    good = np.full((2, 2), 0.5, np.float32)
    for _ in range(3):
        step(X, good)
    assert f"1 products {ADDED}" in notes(step)
    before = model.weight.data.copy()
    with pytest.raises(ValueError, match="probabilities"):
        step(X, 3 * good)
    assert (model.weight.data == before).all()


def test_parameters_in_other_layouts():
    found = []
    for wrap in (lambda step: step, compiled):
        model = nn.Linear(4, 3, rng=np.random.default_rng(0))
        model.weight.data = np.asfortranarray(model.weight.data)
        sgd = optim.SGD(model.parameters(), lr=0.1)

        def f(x, y, model=model, sgd=sgd):
            nn.CrossEntropyLoss()(model(x), y).backward()
            sgd.step()
            sgd.zero_grad()

        step = wrap(f)
        for _ in range(4):
            step(X, LABELS)
        found.append(model.weight.data)
    assert close(*found)


def test_numpys_executor_updates_together_what_nobody_keeps():
    """Without gradients left behind, as with them: to the bit."""
    found = []
    for compile in (False, True):
        model = nn.Sequential(nn.Linear(4, 8, rng=np.random.default_rng(0)), nn.ReLU())
        sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def f(x, model=model, sgd=sgd):
            (model(x) ** 2).sum().backward()
            sgd.step()
            sgd.zero_grad()

        step = mg.compile(f) if compile else f
        for _ in range(4):
            step(X)
        found.append([p.data.tobytes() for p in model.parameters()])
    assert found[0] == found[1]
    assert "4 tensors are updated together" in notes(step)


@pytest.mark.parametrize("compile", [False, True, "numba"])
def test_fit_leaves_no_gradients_where_nobody_looks(compile):
    seen = []

    def trained(*, look):
        rng = np.random.default_rng(2)
        model = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.Sigmoid(), nn.Linear(8, 3, rng=rng))
        sgd = optim.SGD(model.parameters(), lr=0.1)

        def record(_batch):
            seen.append([p.grad is not None for p in model.parameters()])

        given: Any = {"epochs": 3, "rng": rng, "compile": compile, "on_batch": record if look else None}
        train.fit(model, nn.CrossEntropyLoss(), sgd, (X, LABELS), **given)
        return [p.grad is not None for p in model.parameters()]

    assert trained(look=False) == [False] * 4
    assert trained(look=True) == [True] * 4
    assert seen == [[True] * 4] * 3


# ---------------------------------------------------------------------- values column after column


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(linalg, "LARGE_WEIGHT", 4)
    monkeypatch.setattr(linalg, "LARGE_PRODUCT", 4)


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize(
    ("activation", "least"),
    [
        *[(nn.Tanh, 4), (nn.ReLU, 4), (nn.Sigmoid, 4), (nn.GELU, 4), (nn.Softplus, 4)],
        *[(nn.ELU, 1), (nn.LeakyReLU, 1), (lambda: nn.Dropout(0.5), 4)],
    ],
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_layers_that_stay_column_after_column(activation, least, momentum):
    pair = Pair((4, 8, 7, 3), activation=activation, momentum=momentum)
    for _ in range(4):
        pair.both(X, LABELS)
    assert "column after column" in notes(pair.step)
    hidden = [op.out for op in pair.step.program.operations if op.out is not None and op.out.shape == (6, 8)]
    assert sum(not slot.contiguous for slot in hidden) >= least


@pytest.mark.usefixtures("all_are_large")
def test_a_kernel_may_write_where_it_reads_a_transpose():
    pair = Pair((4, 8, 3), activation=nn.ReLU)
    for _ in range(3):
        pair.both(X, LABELS)
    places = Memory(pair.step.program).offsets
    made = {op.name: op.out for op in reversed(pair.step.program.operations)}
    assert places[made["matmul"]] == places[made["maximum"]]


@pytest.mark.usefixtures("all_are_large")
def test_a_product_of_what_a_call_makes_beside_a_large_layer():
    """NumPy multiplies it, and is told to write column after column, which dot does not."""
    rng = np.random.default_rng(0)
    w, v = mg.Parameter(rng.normal(size=(5, 4))), mg.Parameter(rng.normal(size=(4, 5)))

    def f(x):
        return (linear(x, w) * (ops.cumsum(x, 1) @ v)).sum(1)

    step = compiled(lambda x: f(x).detach())
    for _ in range(3):
        assert close(f(mg.Tensor(X)).data, step(X).data)


class Odd(nn.Module):
    """Hidden values that are seen from outside, in another shape, and by a call of NumPy."""

    def __init__(self):
        self.first = nn.Linear(4, 8, rng=np.random.default_rng(0))
        self.second = nn.Linear(8, 8, rng=np.random.default_rng(1))

    def forward(self, x):
        h = self.first(x).relu()
        k = self.second(h).tanh()
        flat = (h * k).reshape(12, 4)
        return h, ops.cumsum(k, 1), flat, h.sum(1) + k.max(1), k.T * 2


@pytest.mark.usefixtures("all_are_large")
def test_values_that_others_see_keep_their_layout():
    model = Odd().eval()
    step = mg.compile(model, backend="numba")
    for _ in range(3):
        for expected, found in zip(model(X), step(X), strict=True):
            assert close(expected.data, found.data)


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "int64", ">i4"])
@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_labels_of_any_kind(dtype, loss_fn):
    pair = Pair(loss_fn=loss_fn)
    for _ in range(3):
        pair.both(X, LABELS.astype(dtype))
    spread = np.zeros(18, dtype)
    spread[::3] = LABELS
    for _ in range(3):
        pair.both(X, spread[::3])
    names = {op.name for op in pair.step.program.operations}
    assert ("pick" in names) is not ("index" in names or bool(loss_fn.label_smoothing))


def test_one_row_and_reductions():
    for reduction in ("mean", "sum", "none"):
        for rows in (1, 6):
            step = compiled(lambda x, y, r=reduction: nn.functional.cross_entropy(x, y, reduction=r))
            x, y = X[:rows, :3], LABELS[:rows]
            for _ in range(3):
                expected = nn.functional.cross_entropy(x, y, reduction=reduction)
                assert close(expected.data, step(x, y).data)


@pytest.mark.parametrize("wrong", [-1, 3, 100])
def test_a_label_out_of_range_changes_nothing(wrong):
    pair = Pair(activation=lambda: nn.Dropout(0.5))
    for _ in range(3):
        pair.both(X, LABELS)
    bad = LABELS.copy()
    bad[4] = wrong
    before = [p.data.copy() for p in pair.sides[1][0].parameters()]
    messages = []
    for _, _, step in pair.sides:
        with pytest.raises(IndexError) as error:
            step(X, bad)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert all((p.data == q).all() for p, q in zip(pair.sides[1][0].parameters(), before, strict=True))
    pair.both(X, LABELS)


def test_picks_that_nobody_has_checked_are_numpys():
    rows = mg.constant(np.arange(6))
    step = compiled(lambda x, y: x[rows, y] * 2)
    for y in (LABELS, LABELS - 4, LABELS):
        assert (step(X, y).data == X[np.arange(6), y] * 2).all()
    with pytest.raises(IndexError):
        step(X, LABELS + 4)
    assert "index" in {op.name for op in step.program.operations}


def test_rows_in_another_order():
    rows = mg.constant(np.arange(6)[::-1].copy())

    def f(x, y):
        return nn.functional.cross_entropy(x, y) + x[rows, y] * 2

    step = compiled(f)
    for _ in range(3):
        assert close(f(mg.Tensor(X), LABELS).data, step(X, LABELS).data)


def test_the_sign_of_a_zero_that_is_picked():
    x = np.array([[0.0, -0.0], [-0.0, 0.0]])
    target = np.array([1, 1])

    def f(x, y):
        return -nn.functional.nll_loss(x, y, reduction="none")

    step = compiled(f)
    for _ in range(3):
        assert np.signbit(step(x, target).data).tolist() == np.signbit(f(mg.Tensor(x), target).data).tolist()


def test_a_matrix_in_memory():
    slot = Slot("result", (3, 4), np.dtype("f4"), (16, 4))
    assert Matrix.of(slot) == Matrix(slot, blas.AS_IT_IS, 4)
    slot.strides = (4, 12)
    assert Matrix.of(slot) == Matrix(slot, blas.TURNED, 3) == Matrix(slot, blas.AS_IT_IS, 3).turned()
    slot.strides = (16, 8)
    assert Matrix.of(slot) is None
