"""Perceptron: its output, its criterion and its learning rule, against the formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import nn


def perceptron(weight, bias, dtype=np.float64):
    weight = np.array(weight, dtype)
    layer = nn.Perceptron(weight.shape[1], weight.shape[0], dtype=dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def test_it_fires_above_zero_and_not_at_zero():
    layer = perceptron([[1.0, -2.0], [0.0, 1.0]], [0.5, -1.0])
    assert layer([[1.5, 1.0], [1.6, 1.0], [0.0, 1.5]]).tolist() == [[0, 0], [1, 0], [0, 1]]


def test_the_output_has_the_dtype_of_the_weights_and_no_history():
    assert nn.Perceptron(2)(np.ones((1, 2))).dtype == np.float32
    y = perceptron([[1.0]], [0.0])(mg.Tensor([[2.0]], requires_grad=True))
    assert y.dtype == np.float64
    assert not y.requires_grad


def test_the_gradient_of_the_criterion_is_the_learning_rule():
    rng = np.random.default_rng(3)
    layer = perceptron(rng.normal(size=(3, 4)), rng.normal(size=3))
    x, t = rng.normal(size=(6, 4)), rng.integers(2, size=(6, 3)).astype(float)
    y = layer(x).data
    z = x @ layer.weight.data.T + layer.bias.data
    loss = layer.criterion(x, t)
    assert loss.item() == pytest.approx(np.abs(z)[y != t].sum())
    by_weight, by_bias = mg.grad(loss, [layer.weight, layer.bias])
    np.testing.assert_allclose(-by_weight.data, (t - y).T @ x, rtol=1e-12)
    np.testing.assert_allclose(-by_bias.data, (t - y).sum(0), rtol=1e-12)


@given(st.integers(0, 2**31))
def test_a_pass_is_the_rule_one_example_at_a_time(seed):
    rng = np.random.default_rng(seed)
    w, b = rng.integers(-3, 4, (2, 3)).astype(float), rng.integers(-3, 4, 2).astype(float)
    x, t = rng.integers(-2, 3, (7, 3)).astype(float), rng.integers(2, size=(7, 2))
    layer = perceptron(w, b)
    mistakes = layer.learn(x, t)
    wrong = 0
    for one, wanted in zip(x, t, strict=True):
        error = wanted - (w @ one + b > 0)
        w, b, wrong = w + np.outer(error, one), b + error, wrong + int(np.count_nonzero(error))
    assert mistakes == wrong
    np.testing.assert_array_equal(layer.weight.data, w)
    np.testing.assert_array_equal(layer.bias.data, b)


@given(st.integers(0, 2**31))
def test_novikoffs_theorem_bounds_the_mistakes(seed):
    rng = np.random.default_rng(seed)
    truth, b = rng.normal(size=2), rng.normal()
    x = rng.normal(size=(30, 2))
    x = x[np.abs(x @ truth + b) > 0.3]  # a margin
    t = (x @ truth + b > 0).astype(float).reshape(-1, 1)
    layer, total, last = nn.Perceptron(2, dtype=np.float64), 0, 1
    if len(x) == 0:
        return
    margin = np.abs(x @ truth + b).min() / np.hypot(np.linalg.norm(truth), b)
    bound = (np.linalg.norm(np.c_[x, np.ones(len(x))], axis=1).max() / margin) ** 2
    while last and total <= bound:
        last = layer.learn(x, t)
        total += last
    assert last == 0
    assert total <= bound
    assert (layer(x).data == t).all()


def test_it_is_saved_and_loaded(tmp_path):
    layer = perceptron([[1.0, -2.0]], [0.5], np.float32)
    mg.save(nn.Sequential(layer), tmp_path / "model.npz")
    again = mg.load(tmp_path / "model.npz")
    assert isinstance(again[0], nn.Perceptron)
    assert again[0].weight.tolist() == [[1.0, -2.0]]


def test_messages():
    layer = nn.Perceptron(2, 1)
    for sizes, name in (((0, 1), "in_features"), ((2, 0), "out_features")):
        with pytest.raises(ValueError, match=f"Perceptron: {name} must be at least 1, not 0"):
            nn.Perceptron(*sizes)
    name = r"Perceptron\(in_features=2, out_features=1\): "
    with pytest.raises(ValueError, match=r"(?s)Perceptron.*\(4, 3\).*2"):
        layer(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=name + r"learn takes examples \(N, 2\), not shape \(2,\)"):
        layer.learn([1.0, 2.0], [1.0])
    advice = r"; write np.reshape\(target, \(2, 1\)\)"
    with pytest.raises(
        ValueError, match=name + r"the targets have shape \(2,\), the outputs \(2, 1\)" + advice
    ):
        layer.learn([[1.0, 2.0], [3.0, 4.0]], [0, 1])
    with pytest.raises(ValueError, match=name + r"the targets have shape \(1, 1\), the outputs \(2, 1\)$"):
        layer.criterion([[1.0, 2.0], [3.0, 4.0]], [[0]])
    with pytest.raises(ValueError, match=name + r"targets are 0 or 1, found -1"):
        layer.learn([[1.0, 2.0], [3.0, 4.0]], [[1], [-1]])
