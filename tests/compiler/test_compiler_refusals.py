"""What cannot be compiled is refused with a message that says what, where, and what to write instead."""

import gc
import re
import weakref
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, optim

X = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
Y = np.random.default_rng(3).integers(3, size=6)


@pytest.mark.parametrize(
    ("function", "how"),
    [
        (lambda x: x if x.sum() > 0 else -x, "its truth value"),
        (lambda x: x * float(x.sum()), "float()"),
        (lambda x: x * x.sum().item(), ".item()"),
        (lambda x: x.tolist(), ".tolist()"),
        (lambda x: x[int(x[0, 0])], "int()"),
        (lambda x: x * x.data.max(), ".data"),
        (np.linalg.inv, "a plain array"),
        (lambda x: np.asarray(x) + 1, "a plain array"),
        (lambda x: 1.0 in x, "`in`"),
    ],
)
def test_values_that_leave_the_recording(function, how):
    message = rf"^{re.escape(how)} of a tensor of shape .* \(at test_compiler_refusals.py:\d+\): it differs"
    with pytest.raises(mg.CompileError, match=message) as raised:
        mg.compile(function)(X)
    assert "write np.where(condition, a, b) in place of `if`" in str(raised.value)


@pytest.mark.parametrize("wrap", [lambda a: a, mg.Tensor])
def test_stray_arrays(wrap):
    def f(x):
        return x * wrap(np.ones((6, 4), np.float32))

    with pytest.raises(mg.CompileError, match=r"shape \(6, 4\) enters mul \(at test_compiler_refusals"):
        mg.compile(f)(X)


def test_constants_and_literals_are_no_strays():
    table = mg.constant(np.arange(4, dtype=np.float32))
    compiled = mg.compile(lambda x: (x * table + [1.0, 2.0, 3.0, 4.0])[[0, 2]])
    for x in (X, 2 * X):
        assert (compiled(x).data == (x * table.data + [1.0, 2.0, 3.0, 4.0])[[0, 2]]).all()
    with pytest.raises(ValueError, match="read-only"):
        table.data[0] = 1


def test_writing_into_an_argument():
    def f(x):
        with mg.no_grad():
            x += 1
        return x

    with pytest.raises(mg.CompileError, match="the step writes into its argument of shape"):
        mg.compile(f)(X.copy())


def test_histories_do_not_leave():
    x = mg.Tensor(X, requires_grad=True)
    with pytest.raises(mg.CompileError, match=r"argument 0 requires a gradient.*give x.detach\(\)"):
        mg.compile(lambda x: (x * x).sum())(x)
    compiled = mg.compile(lambda x: (x * x).sum())
    for _ in range(2):
        compiled(x.detach())
    with pytest.raises(mg.CompileError, match="argument 0 requires a gradient"):
        compiled(x)


def test_what_was_traced_is_let_go(perceptron):
    model = perceptron()
    kept: list[Any] = []
    remove = model.register_forward_hook(lambda _module, _inputs, y: kept.append(weakref.ref(y._node)))
    compiled = mg.compile(lambda x: model(x).sum())
    compiled(X)
    remove()
    gc.collect()
    assert len(kept) == 1
    assert kept[0]() is None


def test_results_of_other_kinds():
    with pytest.raises(mg.CompileError, match="the step returns a set; return tensors"):
        mg.compile(lambda x: {1})(X)


def test_what_is_compiled_and_the_fallback_are_checked():
    with pytest.raises(TypeError, match="compile takes a function or a module, not int"):
        mg.compile(3)
    with pytest.raises(ValueError, match="fallback must be 'error' or 'eager', not 'no'"):
        mg.compile(abs, fallback="no")
    with pytest.raises(RuntimeError, match="has not been called yet"):
        _ = mg.compile(abs).program


def test_the_fallback_is_visible_and_eager():
    compiled = mg.compile(lambda x: x if x.sum().item() > 0 else -x, fallback="eager")
    with pytest.warns(UserWarning, match=r"runs eagerly: \.item\(\) of a tensor") as warned:
        assert (compiled(X) == X).all() or (compiled(X) == -X).all()
    assert len(warned) == 1
    assert (np.asarray(compiled(-X)) == np.asarray(compiled(X))).all()


def test_errors_of_the_step_itself_pass_and_all_is_as_before(perceptron):
    model = perceptron(lambda: nn.Dropout(0.5))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x, y, fail):
        loss = nn.CrossEntropyLoss()(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if fail:
            raise KeyError("afterwards")
        return loss

    compiled = mg.compile(step)

    def everything():
        return [
            *[p.data.tobytes() for p in model.parameters()],
            *[None if p.grad is None else p.grad.tobytes() for p in model.parameters()],
            *[{k: t.data.tobytes() for k, t in state.items()} for state in optimizer.state],
            str(mg.ops.generator().bit_generator.state),
        ]

    for _ in range(2):
        before = everything()
        with pytest.raises(KeyError, match="afterwards"):
            compiled(X, Y, fail=True)
        assert everything() == before
        compiled(X, Y, fail=False)


@pytest.mark.parametrize("bad", [3, -1])
def test_labels_are_checked_at_each_replay(twins, perceptron, bad):
    pair = twins(perceptron, nn.CrossEntropyLoss())
    for _ in range(2):
        pair.both(X, Y)
    wrong = Y.copy()
    wrong[4] = bad
    with pytest.raises(IndexError, match=f"label {bad} at position 4 is out of range for 3 classes"):
        pair.compiled(X, wrong)
    pair.same_state()
    pair.both(X, Y)
    assert pair.compiled.traces == 1


def test_probabilities_are_checked_at_each_replay():
    compiled = mg.compile(nn.functional.binary_cross_entropy)
    for _ in range(2):
        compiled(np.full(3, 0.5), np.ones(3))
    with pytest.raises(ValueError, match=r"probabilities must lie in \[0, 1\], got values from 2"):
        compiled(np.full(3, 2.0), np.ones(3))


def test_an_optimizer_with_a_step_of_its_own(perceptron):
    class Odd(optim.SGD):
        def step(self):
            super().step()

    model = perceptron()
    optimizer = Odd(model.parameters(), lr=0.1)

    def step(x):
        model(x).sum().backward()
        optimizer.step()

    with pytest.raises(mg.CompileError, match=r"Odd has a step\(\) of its own"):
        mg.compile(step)(X)


def test_hyperparameters_that_a_rule_turns_into_plain_numbers(perceptron):
    class Root(optim.SGD):
        @staticmethod
        def rule(_parameter, gradient, _state, *, lr, **_):  # type: ignore[override]
            return gradient * np.sqrt(float(lr)), {}

    model = perceptron()
    optimizer = Root(model.parameters(), lr=0.1)

    def step(x):
        model(x).sum().backward()
        optimizer.step()

    with pytest.raises(mg.CompileError, match=r"x \*\* 0.5 in place of math.sqrt"):
        mg.compile(step)(X)
