"""The network of the book: its gradients, the loop beside the matrix form, one update, training, MNIST."""

import math
import re
from typing import Any

import numpy as np
import pytest

from microgradnet import delta
from microgradnet.datasets import mnist_loader
from microgradnet.delta import network
from microgradnet.delta.network import CrossEntropyCost, Epoch, Network, QuadraticCost

COSTS = [QuadraticCost, CrossEntropyCost]
SIZES = [4, 5, 3, 2]


def examples(count: int, seed: int = 0, sizes: Any = SIZES) -> list[tuple[Any, Any]]:
    """Random pairs of columns; the targets are no unit vectors."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(sizes[0], 1)), rng.random((sizes[-1], 1))) for _ in range(count)]


def columns(pairs: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """The pairs side by side."""
    return np.hstack([x for x, _ in pairs]), np.hstack([y for _, y in pairs])


@pytest.mark.parametrize("cost", COSTS)
def test_backprop_is_the_slope_of_the_cost(cost):
    net, ((x, y),) = Network(SIZES, cost, rng=0), examples(1)
    nabla_b, nabla_w = net.backprop(x, y)
    for parameters, gradients in ((net.biases, nabla_b), (net.weights, nabla_w)):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            slopes = np.empty(parameter.shape)
            for i in np.ndindex(*parameter.shape):
                value, found = parameter[i], []
                for shift in (1e-5, -1e-5):
                    parameter[i] = value + shift
                    found.append(net.cost.fn(net.feedforward(x), y))
                parameter[i] = value
                slopes[i] = (found[0] - found[1]) / 2e-5
            np.testing.assert_allclose(gradient, slopes, rtol=0, atol=1e-9 * max(1, np.abs(slopes).max()))
            assert np.abs(slopes).max() > 1e-3


@pytest.mark.parametrize("cost", COSTS)
def test_the_matrix_form_is_the_sum_of_the_loop(cost):
    net, pairs = Network(SIZES, cost, rng=1), examples(7)
    whole = net.backprop_matrix(*columns(pairs))
    one_by_one = [net.backprop(x, y) for x, y in pairs]
    for part in (0, 1):
        for layer in range(3):
            loop = sum(gradients[part][layer] for gradients in one_by_one)
            np.testing.assert_allclose(whole[part][layer], loop, rtol=1e-12, atol=1e-15)
            assert whole[part][layer].shape == (net.biases, net.weights)[part][layer].shape


@pytest.mark.parametrize(
    ("cost", "stacked"),
    [
        (QuadraticCost, (delta.Sigmoid(), delta.QuadraticCost())),
        (CrossEntropyCost, (delta.Dropout(0.0), delta.SigmoidCrossEntropyCost("batchmean"))),
    ],
)
def test_the_network_is_a_stack(cost, stacked):
    """Columns of the book, rows of the stack: the same mean gradients and the same cost."""
    net, pairs = Network(SIZES, cost, rng=2), examples(6)
    layers: list[Any] = []
    for w, b in zip(net.weights, net.biases, strict=True):
        layers += [delta.Linear(w, b[:, 0]), delta.Sigmoid()]
    xs, ys = columns(pairs)
    found = delta.Stack([*layers[:-1], stacked[0]], stacked[1]).backprop(xs.T, ys.T)
    nabla_b, nabla_w = net.backprop_matrix(xs, ys)
    for i in range(3):
        np.testing.assert_allclose(nabla_w[i] / 6, found.gradients[2 * i]["weight"], rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(
            nabla_b[i][:, 0] / 6, found.gradients[2 * i]["bias"], rtol=1e-11, atol=1e-15
        )
    assert net.total_cost(pairs) == pytest.approx(found.cost, rel=1e-13)


def test_one_update_is_the_formula_of_the_book():
    net, pairs = Network([2, 3, 1], rng=3), examples(4, sizes=[2, 1])
    weights, biases = [w.copy() for w in net.weights], [b.copy() for b in net.biases]
    nabla_b, nabla_w = net.backprop_matrix(*columns(pairs))
    net.update_mini_batch(pairs, 0.5, 2.0, n=100)
    for i in (0, 1):
        np.testing.assert_allclose(net.weights[i], (1 - 0.5 * 2.0 / 100) * weights[i] - 0.5 * nabla_w[i] / 4)
        np.testing.assert_allclose(net.biases[i], biases[i] - 0.5 * nabla_b[i] / 4)


@pytest.mark.parametrize("cost", COSTS)
def test_a_small_step_lowers_the_cost_by_its_gradient(cost):
    """The regularised cost falls by η‖∇C‖²: the scale of λ, of the batch and of η are right together."""
    net, pairs, eta, lmbda = Network(SIZES, cost, rng=4), examples(5), 1e-6, 3.0
    nabla_b, nabla_w = net.backprop_matrix(*columns(pairs))
    nabla_w = [nw / 5 + lmbda / 5 * w for nw, w in zip(nabla_w, net.weights, strict=True)]
    squares = sum((g**2).sum() for g in [*[nb / 5 for nb in nabla_b], *nabla_w])
    before = net.total_cost(pairs, lmbda)
    net.update_mini_batch(pairs, eta, lmbda, n=5)
    assert before - net.total_cost(pairs, lmbda) == pytest.approx(eta * squares, rel=1e-4)


def test_the_initial_weights():
    net = Network([400, 300, 100], rng=0)
    assert [np.std(w) * math.sqrt(w.shape[1]) for w in net.weights] == pytest.approx([1, 1], abs=0.02)
    net.large_weight_initializer()
    assert [np.std(w) for w in net.weights] == pytest.approx([1, 1], abs=0.02)
    assert np.std(np.concatenate(net.biases)) == pytest.approx(1, abs=0.1)
    net.default_weight_initializer()
    assert np.std(net.weights[0]) == pytest.approx(0.05, abs=0.001)


def blobs(count: int) -> tuple[list[Any], list[Any]]:
    """Points around three corners, as training pairs and as test pairs."""
    rng = np.random.default_rng(5)
    corners = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    test = [(corners[k][:, None] + 0.5 * rng.normal(size=(2, 1)), k) for k in rng.integers(3, size=count)]
    return [(x, np.eye(3)[:, [k]]) for x, k in test], test


@pytest.mark.parametrize(("cost", "eta"), [(QuadraticCost, 3.0), (CrossEntropyCost, 0.5)])
def test_training_reports_every_epoch_and_learns(cost, eta, capsys):
    training, test = blobs(300)
    net = Network([2, 8, 3], cost, rng=0)
    reported: list[Epoch] = []
    records = net.SGD(training, 10, 10, eta, lmbda=0.01, test_data=test, report=reported.append)
    assert records == reported
    assert [record.number for record in records] == list(range(10))
    assert records[-1].correct == net.evaluate(test) == net.evaluate(training) > 285
    assert str(records[-1]) == f"Epoch 9: {records[-1].correct} / 300"
    assert capsys.readouterr().out == ""


def test_without_test_data_an_epoch_is_only_complete():
    training, _ = blobs(5)
    assert Network([2, 3], rng=0).SGD(training, 1, 2, 1.0) == [Epoch(0)]
    assert str(Epoch(0)) == "Epoch 0 complete"


def test_a_seed_gives_the_same_network_and_the_data_stay_in_order():
    training, _ = blobs(20)
    first = [x.copy() for x, _ in training]
    nets = [Network([2, 4, 3], rng=seed) for seed in (7, 7, 8)]
    for net in nets:
        net.SGD(training, 2, 3, 1.0)
    same = [[bool((a == b).all()) for a, b in zip(nets[0].weights, net.weights, strict=True)] for net in nets]
    assert same == [[True, True], [True, True], [False, False]]
    assert all((x == before).all() for (x, _), before in zip(training, first, strict=True))


def test_every_example_is_used_once_in_an_epoch(monkeypatch):
    training, _ = blobs(11)
    seen: list[Any] = []
    net = Network([2, 3], rng=0)
    monkeypatch.setattr(net, "update_mini_batch", lambda batch, *_: seen.append(batch))
    net.SGD(training, 1, 4, 1.0)
    assert [len(batch) for batch in seen] == [4, 4, 3]
    assert {id(x) for batch in seen for x, _ in batch} == {id(x) for x, _ in training}


def test_saturated_neurons_stay_finite_and_silent():
    net = Network([2, 2], CrossEntropyCost, rng=0)
    net.weights = [np.array([[1e4, 0.0], [0.0, 1e4]])]
    x, y = np.array([[1.0], [-1.0]]), np.array([[0.0], [1.0]])
    assert net.total_cost([(x, y)]) == 200.0
    for cost, expected in ((CrossEntropyCost, [1.0, -1.0]), (QuadraticCost, [0.0, 0.0])):
        net.cost = cost
        nabla_b, nabla_w = net.backprop(x, y)
        np.testing.assert_allclose(nabla_b[0][:, 0], expected)
        assert np.isfinite(nabla_w[0]).all()


def test_the_saturated_quadratic_cost_learns_slower():
    """The point of the book's chapter 3: σ′ is a factor of one δ and has cancelled in the other."""
    z, y = np.array([[5.0]]), np.array([[0.0]])
    a = delta.Sigmoid().forward(z)
    assert QuadraticCost.delta(z, a, y) / CrossEntropyCost.delta(z, a, y) == pytest.approx(
        network.sigmoid_prime(z)
    )


NET = Network([2, 3], rng=0)
PAIR = (np.zeros((2, 1)), np.zeros((3, 1)))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Network([5]), ValueError, "sizes must be two or more positive numbers"),
        (lambda: Network([5, 0]), ValueError, "such as [784, 30, 10], not [5, 0]"),
        (
            lambda: Network([2, 3], delta.QuadraticCost()),  # type: ignore[arg-type]
            TypeError,
            "Network: the cost must be network.QuadraticCost or network.CrossEntropyCost of this module",
        ),
        (
            lambda: NET.feedforward(np.zeros(2)),
            ValueError,
            (
                "Network [2, 3]: the input has shape (2,), expected (2, m): examples are columns; "
                "write values.reshape(2, 1)"
            ),
        ),
        (
            lambda: NET.backprop(np.zeros((2, 1)), np.zeros((1, 3))),
            ValueError,
            "the target has shape (1, 3), expected (3, 1): examples are columns; write values.reshape(3, 1)",
        ),
        (
            lambda: NET.backprop(np.zeros((2, 4)), np.zeros((3, 1))),
            ValueError,
            "the input has shape (2, 4), expected (2, 1)",
        ),
        (
            lambda: NET.backprop_matrix(np.zeros((2, 4)), np.zeros((3, 1))),
            ValueError,
            "the target has shape (3, 1), expected (3, 4)",
        ),
        (lambda: NET.total_cost([(PAIR[0], 1)]), ValueError, "the target has shape (), expected (3, 1)"),
        (lambda: NET.total_cost([]), ValueError, "total_cost: the data are empty"),
        (lambda: NET.update_mini_batch([], 1.0), ValueError, "the mini-batch is empty"),
        (lambda: NET.update_mini_batch([PAIR], 1.0, 0.1), ValueError, "lmbda=0.1 is divided by the number"),
        (
            lambda: NET.update_mini_batch([PAIR, (np.zeros((4, 1)), PAIR[1])], 1.0),
            ValueError,
            "the examples of a mini-batch have different shapes: [((2, 1), (3, 1)), ((4, 1), (3, 1))]",
        ),
        (lambda: NET.SGD([], 1, 1, 1.0), ValueError, "SGD: the training data are empty"),
        (lambda: NET.SGD([PAIR], 0, 1, 1.0), ValueError, "SGD: epochs must be at least 1, not 0"),
        (lambda: NET.SGD([PAIR], 1, 0, 1.0), ValueError, "SGD: mini_batch_size must be at least 1, not 0"),
        (lambda: NET.SGD([PAIR], 1, 1, math.nan), ValueError, "SGD: eta must be positive, not nan"),
        (lambda: NET.SGD([PAIR], 1, 1, 1.0, -1.0), ValueError, "SGD: lmbda must be at least 0, not -1.0"),
    ],
)
def test_messages(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_one_epoch_of_mnist(mnist_dir):
    """784-30-10 with the η and the batches of chapter 1; docs/delta.md has all 30 epochs."""
    training, _, test = mnist_loader.load_data_wrapper(mnist_dir.parent, download=False)
    net = Network([784, 30, 10], rng=0)
    (record,) = net.SGD(training, 1, 10, 3.0, test_data=test)
    assert record.total == 10_000
    assert record.correct is not None
    assert record.correct >= 9_200
