"""What changes between two calls of a compiled step is noticed: nothing is ever computed with what was."""

import threading

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn

X = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
Y = np.random.default_rng(3).integers(3, size=6)


@pytest.fixture
def pair(twins, perceptron):
    made = twins(lambda: perceptron(nn.Tanh, lambda: nn.Dropout(0.2)), nn.CrossEntropyLoss())
    for seed in range(3):
        made.both(X, Y, seed)
    assert made.compiled.traces == 1
    return made


def test_the_last_partial_batch_is_another_program(pair):
    for count in (2, 6, 2, 6):
        pair.both(X[:count], Y[:count])
    assert pair.compiled.traces == 2


def test_an_eager_step_in_between(pair):
    for model, optimizer in zip(pair.models, pair.optimizers, strict=True):
        mg.manual_seed(5)
        pair.step_of(model, optimizer)(X, Y)
    pair.same_state()
    pair.both(X, Y)
    assert pair.compiled.traces == 1


@pytest.mark.parametrize(
    ("change", "traces"),
    [
        (lambda m, o: o.param_groups[0].update(lr=0.5), 1),
        (lambda m, o: o.param_groups[0].update(lr=np.float64(0.25)), 1),
        (lambda m, o: o.param_groups[0].update(weight_decay=0.5), 2),
        (lambda m, o: m.load_state_dict({k: v * 0.5 for k, v in m.state_dict().items()}), 1),
        (lambda m, o: m.eval(), 2),
        (lambda m, o: m.layers.append(nn.Tanh()), 2),
        (lambda m, o: m.layers.pop(1), 2),
        (lambda m, o: setattr(m[2], "p", 0.7), 2),
        (lambda m, o: setattr(m[0], "weight", nn.Parameter(np.ones((8, 4)))), 2),
        (lambda m, o: setattr(m[0], "bias", None), 2),
        (lambda m, o: setattr(m[0].weight, "data", np.ones((8, 4), np.float32)), 2),
        (lambda m, o: setattr(m[0].weight, "requires_grad", False), 2),
        (lambda m, o: m[0].weight.register_hook(lambda g: 2 * g), 2),
        (lambda m, o: m.register_forward_hook(lambda module, inputs, output: output * 2), 2),
        (lambda m, o: o.load_state_dict(o.state_dict()), 1),
    ],
)
def test_changes_of_model_and_optimizer(pair, change, traces):
    for model, optimizer in zip(pair.models, pair.optimizers, strict=True):
        change(model, optimizer)
    if traces == 2:
        for model in pair.models:
            model.zero_grad()
    for seed in range(3):
        pair.both(X, Y, seed)
    assert pair.compiled.traces >= traces
    assert pair.compiled.traces <= traces + 1  # where `.grad` of a replaced parameter comes into being


def test_a_new_optimizer_state_is_noticed(twins, perceptron):
    pair = twins(perceptron, nn.CrossEntropyLoss(), {"lr": 0.1, "momentum": 0.9})
    for _ in range(3):
        pair.both(X, Y)
    saved = [optimizer.state_dict() for optimizer in pair.optimizers]
    pair.both(X, Y)
    for optimizer, state in zip(pair.optimizers, saved, strict=True):
        optimizer.load_state_dict(state)
    for _ in range(2):
        pair.both(X, Y)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_arrays_of_buffers_and_states_that_are_replaced(twins, perceptron, batch_norm):
    """They are read in the update of all parameters together alone."""
    middle = [lambda: nn.BatchNorm1d(8)] if batch_norm else []
    pair = twins(lambda: perceptron(*middle), nn.CrossEntropyLoss(), {"lr": 0.1, "momentum": 0.9})
    for _ in range(4):
        pair.both(X, Y)
    for model, optimizer in zip(pair.models, pair.optimizers, strict=True):
        (state, *_) = optimizer.state
        for tensor in [*state.values(), *model.buffers()]:
            tensor.data = np.zeros_like(tensor.data)
    for _ in range(3):
        pair.both(X, Y)


def test_the_array_of_a_tensor_that_is_only_written():
    t = mg.Tensor(np.zeros((6, 4), np.float32))

    def f(x):
        with mg.no_grad():
            t[...] = x * 3
        return x * 2

    compiled = mg.compile(f)
    for _ in range(3):
        compiled(X)
    t.data = np.zeros((6, 4), np.float32)
    compiled(X)
    assert (t.data == X * 3).all()


def test_hyperparameters_are_checked_at_each_call(pair):
    pair.optimizers[1].param_groups[0]["lr"] = -1.0
    before = [p.data.copy() for p in pair.models[1].parameters()]
    with pytest.raises(ValueError, match="the learning rate must not be negative"):
        pair.compiled(X, Y)
    assert all((p.data == old).all() for p, old in zip(pair.models[1].parameters(), before, strict=True))


def test_what_a_closure_holds():
    scale = 2.0
    w = mg.Tensor([1.0, 2.0])

    def f(x):
        return x * w * scale

    compiled = mg.compile(f)
    x = np.ones(2)
    for value in (2.0, 2.0, 3.0, 2.0):
        scale = value
        assert compiled(x).tolist() == [value, 2 * value]
    assert compiled.traces == 2
    w = mg.Tensor([5.0, 5.0])
    assert compiled(x).tolist() == [10.0, 10.0]
    with mg.no_grad():
        w += 1  # the same tensor with another value is read, not kept
    assert compiled(x).tolist() == [12.0, 12.0]


def test_a_tensor_replaced_by_an_equal_one(perceptron):
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
    compiled(X)
    model.factor.data[0] = 3.0
    assert (compiled(X).data == 3 * X).all()


def test_numbers_as_arguments_choose_the_program():
    compiled = mg.compile(lambda x, scale, flip=False: -x * scale if flip else x * scale)
    x = np.ones(2)
    assert [compiled(x, s).tolist() for s in (1.0, 2.0, 1.0)] == [[1, 1], [2, 2], [1, 1]]
    assert compiled(x, 1.0, flip=True).tolist() == [-1, -1]
    assert compiled.traces == 3


def test_gradients_that_are_there_are_added_to(twins, perceptron):
    pair = twins(perceptron, nn.CrossEntropyLoss())
    models = pair.models

    def accumulate(model):
        def step(x, y):
            loss = pair.loss_fn(model(x), y)
            loss.backward()
            return loss

        return step

    eager, compiled = accumulate(models[0]), mg.compile(accumulate(models[1]))
    for change in (None, None, None, nn.Module.zero_grad, lambda m: m[0].weight.grad.fill(3.0)):
        for model in models:
            if change:
                change(model)
        assert eager(X, Y).item() == compiled(X, Y).item()
        pair.same_state()


def test_a_gradient_is_a_copy(pair):
    weight = pair.models[1][0].weight
    first = weight.grad
    kept = first.copy()
    assert weight.grad is first
    pair.both(X[::-1].copy(), Y)
    assert (first == kept).all()
    first[...] = 7
    assert not (weight.grad == 7).any()


def test_no_grad_is_part_of_the_signature(perceptron):
    model = perceptron()

    compiled = mg.compile(lambda x: (model(x), model(x).requires_grad))
    assert compiled(X)[1]
    with mg.no_grad():
        assert not compiled(X)[1]
    assert compiled(X)[1]


def test_each_thread_has_memory_of_its_own(perceptron):
    model = perceptron()
    compiled = mg.compile(model)
    expected = [model(X * i).data for i in range(4)]
    wrong: list[int] = []

    def work(i):
        wrong.extend([i for _ in range(50) if (compiled(X * i).data != expected[i]).any()])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
