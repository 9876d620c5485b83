"""Corners where a compiler goes wrong: what is shared, written early, folded, or true of one call only."""

from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, ops, optim

X = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
Y = np.random.default_rng(3).integers(3, size=6)


def test_two_draws_are_two(twins, perceptron):
    pair = twins(lambda: perceptron(lambda: nn.Dropout(0.5), lambda: nn.Dropout(0.5)), nn.CrossEntropyLoss())
    for seed in range(4):
        pair.both(X, Y, seed)


def test_a_draw_that_nobody_needs_still_advances_the_generator():
    compiled = mg.compile(
        lambda x: (ops.uniform(shape=(3,), dtype=np.float32, rng=ops.generator()), x * 2)[1]
    )
    mg.manual_seed(1)
    for _ in range(3):
        compiled(X)
    after = ops.generator().random()
    mg.manual_seed(1)
    for _ in range(3):
        ops.generator().random(3, np.float32)
    assert ops.generator().random() == after


def test_settings_that_are_nearly_equal_are_different(same_bits):
    def f(x):
        return nn.functional.leaky_relu(x, 0.11) + nn.functional.leaky_relu(x, 0.12) + x * 0.0 + x * -0.0

    compiled = mg.compile(f)
    for x in (X, -X, X):
        assert same_bits(f(mg.Tensor(x)).data, compiled(x).data)


def test_a_sigmoid_far_out(same_bits):
    compiled = mg.compile(lambda x: ops.sigmoid(mg.Tensor(x)))
    for x in (X, X, 1e4 * X, -1e30 * X):
        assert same_bits(ops.sigmoid(x), compiled(x).data)


def test_a_check_that_comes_after_the_update_still_comes_before_it_is_stored(perceptron):
    model = perceptron()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()
        return nn.functional.cross_entropy(model(x), y)

    compiled = mg.compile(step)
    for _ in range(3):
        compiled(X, Y)
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(IndexError, match="label 7"):
        compiled(X, Y + 7 - Y)
    assert all((p.data == old).all() for p, old in zip(model.parameters(), before, strict=True))


def test_reading_what_was_updated(perceptron, same_bits):
    models = [perceptron(), perceptron()]
    steps = []
    for model in models:
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            return nn.functional.cross_entropy(model(x), y), model[0].weight, model[0].weight * 2

        steps.append(step)
    compiled = mg.compile(steps[1])
    for _ in range(4):
        for a, b in zip(steps[0](X, Y), compiled(X, Y), strict=True):
            assert same_bits(a.data, b.data)


def test_gradients_outlive_a_call_that_fails(perceptron):
    model = perceptron()

    def step(x, y):
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    compiled = mg.compile(step)
    for _ in range(2):
        compiled(X, Y)
    copies = {name: np.array(p._node.grad.array) for name, p in model.named_parameters()}
    with pytest.raises(IndexError, match="label 3"):
        compiled(10 * X, Y * 0 + 3)
    for name, p in model.named_parameters():
        assert (p.grad == copies[name]).all(), name


def test_a_rule_that_reads_its_state_after_renewing_it(perceptron, same_bits):
    class Looking(optim.SGD):
        @staticmethod
        def rule(parameter, gradient, state, *, lr, momentum, **_):
            if "v" not in state:
                return lr * gradient, {"v": gradient}
            v = momentum * state["v"] + gradient
            return lr * (v + state["v"] * 0.5 + parameter * 0.01), {"v": v}

    models = [perceptron(), perceptron()]
    steps = []
    for model in models:
        optimizer = Looking(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        steps.append(step)
    compiled = mg.compile(steps[1])
    for _ in range(5):
        assert same_bits(steps[0](X, Y).data, compiled(X, Y).data)
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert same_bits(p.data, q.data)


@pytest.mark.parametrize(
    "change", [{"dampening": 0.5}, {"momentum": 0.5}, {"weight_decay": 0.1}, {"lr": 0.5}]
)
def test_hyperparameters_that_open_another_path(twins, perceptron, change):
    pair = twins(perceptron, nn.CrossEntropyLoss(), {"lr": 0.1, "momentum": 0.9})
    for _ in range(3):
        pair.both(X, Y)
    before = {key: pair.optimizers[0].param_groups[0][key] for key in change}
    for setting in (change, before, change):
        for optimizer in pair.optimizers:
            optimizer.param_groups[0].update(setting)
        pair.both(X, Y)
        pair.both(X, Y)


def test_results_are_copies():
    compiled = mg.compile(lambda x: (x * 2, x))
    first, same = [compiled(np.arange(3.0)) for _ in range(3)][2]
    compiled(np.ones(3))
    assert first.tolist() == [0, 2, 4]
    assert same.tolist() == [0, 1, 2]


def test_a_gradient_that_is_a_parameter(same_bits):
    def make():
        w, v = mg.Parameter([1.0, 2.0], name="w"), mg.Parameter([3.0, 5.0], name="v")
        optimizer = optim.SGD([w, v], lr=0.5)

        def step(x):
            optimizer.zero_grad()
            loss = (w * v).sum() + x.sum()
            loss.backward()
            optimizer.step()
            return loss

        return w, v, step

    w, v, eager = make()
    p, q, step = make()
    compiled = mg.compile(step)
    for _ in range(4):
        assert eager(mg.Tensor(X)).item() == compiled(X).item()
        for a, b in ((w, p), (v, q)):
            assert same_bits(a.data, b.data)
            assert same_bits(a.grad, b.grad)


def test_two_parameters_swap(same_bits):
    a, b = mg.Tensor(np.arange(3.0)), mg.Tensor(np.arange(3.0) * 10)

    def swap(x):
        with mg.no_grad():
            kept = a * 1.0
            a[...] = b
            b[...] = kept
        return x * 2

    compiled = mg.compile(swap)
    for i in range(4):
        compiled(X)
        assert (a.tolist(), b.tolist()) == (
            ([0, 10, 20], [0, 1, 2]) if i % 2 == 0 else ([0, 1, 2], [0, 10, 20])
        )


@pytest.fixture(params=["numpy", "numba"])
def compiled(request):
    """Return what compiles with a backend."""
    if request.param == "numba":
        for name in ("needs_numba", "kernel_cache"):
            request.getfixturevalue(name)
    return lambda function: mg.compile(function, backend=request.param)


def test_updates_that_read_each_other(compiled):
    """Both are alike, and could be one: but each reads what the other one was."""
    a, b = mg.Tensor(np.full(8, 64.0)), mg.Tensor(np.full(8, 1024.0))

    def step(x):
        with mg.no_grad():
            kept = a * 0.5
            a[...] = b * 0.5
            b[...] = kept
        return x * 2

    fast = compiled(step)
    for _ in range(6):
        expected = b.data * 0.5, a.data * 0.5
        fast(X)
        assert (a.data == expected[0]).all()
        assert (b.data == expected[1]).all()


def trained(make_step, compiled, calls=6):
    """Take steps of two equal makes, the first of them eager; return what their tensors hold after each."""
    found = []
    for turned in (lambda step: step, compiled):
        tensors, step = make_step()
        step = turned(step)
        found.append([(step(mg.Tensor(X)), [t.data.copy() for t in tensors()])[1] for _ in range(calls)])
    return found


def test_an_average_of_the_weights_as_they_were(compiled, perceptron):
    def make():
        model = perceptron()
        averages = [mg.Tensor(p.data.copy()) for p in model.parameters()]
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            with mg.no_grad():
                later = [t * 0.75 + p * 0.25 for t, p in zip(averages, model.parameters(), strict=True)]
                optimizer.step()
                for t, new in zip(averages, later, strict=True):
                    t[...] = new
            return loss

        return lambda: averages, step

    for eager, ours in zip(*trained(make, compiled), strict=True):
        assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(eager, ours, strict=True))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 0, 0)])
def test_updates_that_read_tensors_that_others_read(compiled, order):
    centres = [mg.Tensor(np.full(8, float(i))) for i in range(3)]
    first = [mg.Tensor(np.zeros(8)) for _ in range(3)]
    second = [mg.Tensor(np.zeros(8)) for _ in range(3)]

    def step(x):
        with mg.no_grad():
            for i in range(3):
                first[i][...] = first[i] * 0.5 + centres[i]
            for i, k in enumerate(order):
                second[i][...] = second[i] * 0.25 - centres[k]
        return x * 2

    fast = compiled(step)
    for _ in range(5):
        expected = [t.data * 0.5 + c.data for t, c in zip(first, centres, strict=True)]
        expected += [t.data * 0.25 - centres[k].data for t, k in zip(second, order, strict=True)]
        fast(X)
        for t, right in zip(first + second, expected, strict=True):
            assert (t.data == right).all()
        with mg.no_grad():
            for c in centres:
                c[...] = c + 1.0


def test_a_gradient_that_two_updates_read(compiled, perceptron):
    def make():
        model = perceptron()
        parameters = list(model.parameters())

        class Summing(optim.SGD):
            @staticmethod
            def rule(parameter, gradient, state, *, lr, **_):
                step = lr * (gradient + parameter * 0.01)
                return step, {"sum": state["sum"] * 0.5 + gradient if state else gradient}

        optimizer = Summing(parameters, lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return lambda: [*parameters, *[s["sum"] for s in optimizer.state]], step

    for eager, ours in zip(*trained(make, compiled), strict=True):
        assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(eager, ours, strict=True))


def test_parameters_with_one_gradient(compiled):
    def make():
        parameters = [mg.Parameter(np.full((3, 4), float(i)), name=f"p{i}") for i in range(2)]
        optimizer = optim.SGD(parameters, lr=0.125)

        def step(x):
            optimizer.zero_grad()
            loss = (x @ (parameters[0] + parameters[1]).T).sum()
            loss.backward()
            optimizer.step()
            return loss

        return lambda: parameters, step

    for eager, ours in zip(*trained(make, compiled), strict=True):
        assert all(np.allclose(a, b) for a, b in zip(eager, ours, strict=True))


def test_the_layout_of_a_gradient_decides_the_order_of_its_sums(same_bits):
    def make():
        w = mg.Parameter(np.random.default_rng(0).normal(size=(40, 50)))
        optimizer = optim.SGD([w], lr=0.1)

        def step(x):
            optimizer.zero_grad()
            ((x @ w.T) * 0.3).sin().sum().backward()
            g: Any = w.grad
            total = (g * g).sum()
            w.grad = g / total**0.5
            optimizer.step()
            return mg.Tensor(g.sum()) * 1.0

        return step

    eager, compiled = make(), mg.compile(make())
    for seed in range(8):
        x = np.random.default_rng(seed).normal(size=(7, 50)).astype(np.float32)
        assert same_bits(eager(mg.Tensor(x)).data, compiled(x).data)


def test_a_number_replaced_by_an_equal_one():
    class Scale(nn.Module):
        def __init__(self):
            self.factor = nn.Parameter([2.0])

        def forward(self, x):
            return x * self.factor

    model = Scale()
    compiled = mg.compile(model)
    for _ in range(2):
        compiled(X)
    model.factor = nn.Parameter([2.0])
    with mg.no_grad():
        model.factor[0] = 3.0
    model.factor, kept = nn.Parameter([2.0]), model.factor
    compiled(X)
    with mg.no_grad():
        model.factor[...] = 3.0
    assert (compiled(X).data == 3 * X).all()
    assert kept.tolist() == [3.0]


def test_a_long_program():
    def chain(x):
        y = mg.Tensor(x)
        for _ in range(3000):
            y = (y * 0.999).reshape(2, 2).reshape(4)
        return y

    compiled = mg.compile(chain)
    x = np.ones(4)
    for _ in range(3):
        assert (compiled(x).data == chain(x).data).all()


def test_equal_numbers_are_one_object():
    """Each would be one more name in the function that is generated, and many are slow to compile."""

    def chain(x):
        y = mg.Tensor(x)
        for _ in range(5):
            y = y * 0.999 + 0.5
        return y

    compiled = mg.compile(chain)
    compiled(X)
    compiled(X)
    executor: Any = compiled._variants[0].executor
    named = executor.writer.names.values()
    numbers = [thing.item() for thing in named if isinstance(thing, np.ndarray) and not thing.shape]
    assert sorted(numbers) == pytest.approx([0.5, 0.999])
