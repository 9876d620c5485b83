"""The δ equations as subjects, and a check of each against the automatic gradients."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import delta, nn
from microgradnet.delta import convolution, costs, functions, layers, network, stack
from tests.mutation.campaign import Check, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSE: Any = {"rtol": 1e-10, "atol": 1e-12}
NOT_EQUATIONS = {"__repr__", "__str__", "__init__", "__post_init__", "_hold", "floats", "SGD", "evaluate"}
"""Texts, storage, random numbers and loops around the equations."""


def compare(model: Any, hand: list[Any], loss: Any, cost: Any, x: Any, y: Any) -> None:
    """Compare what a stack finds with what the engine finds: the cost, every δ and every gradient."""
    start: Any = mg.Tensor(x, requires_grad=True)
    outputs: list[Any] = [start]
    for layer in model:
        outputs.append(layer(outputs[-1]))
        outputs[-1].retain_grad()
    value = loss(outputs[-1], y)
    model.zero_grad()
    value.backward()
    found: Any = delta.Stack(hand, cost).backprop(x, y)
    np.testing.assert_allclose(found.cost, value.item(), **CLOSE)
    np.testing.assert_allclose(delta.Stack(hand, cost).value(x, y), value.item(), **CLOSE)
    np.testing.assert_allclose(found.input_gradient, start.grad, **CLOSE)
    for output, activation, error in zip(outputs[1:], found.activations[1:], found.deltas, strict=True):
        np.testing.assert_allclose(activation, output.data, **CLOSE)
        np.testing.assert_allclose(error, output.grad, **CLOSE)
    for layer, gradients in zip(model, found.gradients, strict=True):
        expected = {name: parameter.grad for name, parameter in layer.named_parameters()}
        assert expected.keys() == gradients.keys()
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, expected[name], **CLOSE)


def linear(n: int, m: int, rng: Any, *, bias: bool = True) -> tuple[Any, Any]:
    """Return a linear layer of the engine and its twin."""
    layer = nn.Linear(n, m, bias, dtype=float, rng=rng)
    return layer, delta.Linear(layer.weight.data, None if layer.bias is None else layer.bias.data)


def check_layer(name: str) -> None:
    """Compare a network with that layer in its middle: 4 examples, 5 inputs, 6 in between, 3 outputs."""
    rng = np.random.default_rng(8)
    ours, hand = MIDDLE[name](rng)
    first, last = linear(5, 6, rng), linear(6, 3, rng, bias=False)
    model = nn.Sequential(first[0], *ours, last[0])
    x, y = rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
    compare(model, [first[1], *hand, last[1]], nn.MSELoss(), delta.MSECost(), x, y)


def _norm(kind: Any, rng: Any, size: Any = 6) -> Any:
    layer = kind(size, dtype=float)
    layer.weight.data, layer.bias.data = rng.standard_normal(size), rng.standard_normal(size)
    return layer


def _batch_norm(rng: Any, *, training: bool, size: int = 6) -> tuple[list[Any], list[Any]]:
    ours = _norm(nn.BatchNorm1d, rng, size)
    ours.running_mean.data, ours.running_var.data = rng.standard_normal(size), rng.random(size) + 0.5
    statistics = () if training else (ours.running_mean.data, ours.running_var.data)
    return [ours.train(training)], [delta.BatchNorm(ours.weight.data, ours.bias.data, ours.eps, *statistics)]


def _layer_norm(rng: Any) -> tuple[list[Any], list[Any]]:
    ours = _norm(nn.LayerNorm, rng)
    return [ours], [delta.LayerNorm(ours.weight.data, ours.bias.data, ours.eps)]


def _dropout(rng: Any) -> tuple[list[Any], list[Any]]:
    mask = np.random.default_rng(2).random((4, 6), np.float32) < 0.75
    return [nn.Dropout(0.25, rng=np.random.default_rng(2))], [delta.Dropout(0.25, mask)]


MIDDLE: dict[str, Any] = {
    "Linear": lambda rng: ([], []),
    "Sigmoid": lambda rng: ([nn.Sigmoid()], [delta.Sigmoid()]),
    "Tanh": lambda rng: ([nn.Tanh()], [delta.Tanh()]),
    "ReLU": lambda rng: ([nn.ReLU()], [delta.ReLU()]),
    "LeakyReLU": lambda rng: ([nn.LeakyReLU(0.1)], [delta.LeakyReLU(0.1)]),
    "Softmax": lambda rng: ([nn.Softmax()], [delta.Softmax()]),
    "LogSoftmax": lambda rng: ([nn.LogSoftmax()], [delta.LogSoftmax()]),
    "Dropout": _dropout,
    "Dropout in eval": lambda rng: ([nn.Dropout(0.25).eval()], [delta.Dropout(0.25)]),
    "BatchNorm": functools.partial(_batch_norm, training=True),
    "BatchNorm in eval": functools.partial(_batch_norm, training=False),
    "LayerNorm": _layer_norm,
}


def check_higher(name: str) -> None:
    """Compare layers that take an input of three axes."""
    rng = np.random.default_rng(10)
    x = rng.standard_normal((4, 3, 5))
    if name == "Flatten":
        first, hand = linear(15, 2, rng)
        model, stacked = nn.Sequential(nn.Flatten(), first), [delta.Flatten(), hand]
    elif name == "Linear":
        first, hand = linear(5, 2, rng)
        model, stacked = nn.Sequential(first), [hand]
    elif name.startswith("BatchNorm"):
        (batch,), hand_made = _batch_norm(rng, training=name.endswith("training"), size=3)
        model, stacked = nn.Sequential(batch), hand_made
    else:
        over = _norm(nn.LayerNorm, rng, (3, 5))
        model, stacked = nn.Sequential(over), [delta.LayerNorm(over.weight.data, over.bias.data, over.eps)]
    y = rng.standard_normal(model(x).shape)
    compare(model, stacked, nn.QuadraticLoss(), delta.QuadraticCost(), x, y)


def _conv(rng: Any, *options: Any, bias: bool = True) -> tuple[Any, Any]:
    stride, padding, dilation, groups = options
    layer = nn.Conv2d(4, 6, (3, 2), stride, padding, dilation, groups, bias, dtype=float, rng=rng)
    sides: Any = tuple([(n, n) for n in padding])
    offset = None if layer.bias is None else layer.bias.data
    return layer, delta.Conv2d(layer.weight.data, offset, stride, sides, dilation, groups)


IMAGES: dict[str, Any] = {  # of four channels
    "Conv2d": lambda rng: _conv(rng, (1, 1), (0, 0), (1, 1), 1),
    "Conv2d with everything": lambda rng: _conv(rng, (2, 1), (1, 0), (1, 2), 2, bias=False),
    "MaxPool2d": lambda rng: (nn.MaxPool2d((2, 3)), delta.MaxPool2d((2, 3), (2, 3))),
    "MaxPool2d with everything": lambda rng: (
        nn.MaxPool2d((2, 3), (1, 2), (1, 1), (2, 1)),
        delta.MaxPool2d((2, 3), (1, 2), ((1, 1), (1, 1)), (2, 1)),
    ),
    "AvgPool2d": lambda rng: (
        nn.AvgPool2d((2, 3), (1, 2), (1, 0)),
        delta.AvgPool2d((2, 3), (1, 2), ((1, 1), (0, 0))),
    ),
    "AvgPool2d without its border": lambda rng: (
        nn.AvgPool2d((2, 3), (1, 2), (1, 0), count_include_pad=False),
        delta.AvgPool2d((2, 3), (1, 2), ((1, 1), (0, 0)), counts_padding=False),
    ),
}


def check_image(name: str) -> None:
    """Compare a layer of images: 2 of them, with 4 channels of 6 × 7 pixels."""
    rng = np.random.default_rng(12)
    layer, hand = IMAGES[name](rng)
    x = rng.standard_normal((2, 4, 6, 7))
    y = rng.standard_normal(layer(x).shape)
    compare(nn.Sequential(layer), [hand], nn.MSELoss(), delta.MSECost(), x, y)


LABELS, WEIGHTS = np.array([0, 2, 1, 2]), np.array([0.5, 1.5, 2.0])


def check_cost(name: str, reduction: str) -> None:
    """Compare a cost behind one linear layer and what it asks for."""
    rng = np.random.default_rng(9)
    ours, hand, before, y = COSTS[name](reduction, rng)
    first = linear(5, 3, rng)
    layers_before = [kind() for kind in before]
    model = nn.Sequential(first[0], *[getattr(nn, type(layer).__name__)() for layer in layers_before])
    x = 3 * rng.standard_normal((4, 5))
    compare(model, [first[1], *layers_before], ours, hand, x, y)


COSTS: dict[str, Any] = {
    "quadratic": lambda r, rng: (
        nn.QuadraticLoss(r), delta.QuadraticCost(r), [], rng.standard_normal((4, 3))),
    "MSE": lambda r, rng: (nn.MSELoss(r), delta.MSECost(r), [delta.Sigmoid], rng.random((4, 3))),
    "L1": lambda r, rng: (nn.L1Loss(r), delta.L1Cost(r), [], rng.standard_normal((4, 3))),
    "Huber": lambda r, rng: (
        nn.HuberLoss(r, 0.8), delta.HuberCost(r, 0.8), [], rng.standard_normal((4, 3))),
    "BCE": lambda r, rng: (nn.BCELoss(r), delta.BCECost(r), [delta.Sigmoid], rng.random((4, 3))),
    "sigmoid and cross-entropy": lambda r, rng: (
        nn.BCEWithLogitsLoss(r), delta.SigmoidCrossEntropyCost(r), [], rng.random((4, 3))),
    "softmax and cross-entropy of labels": lambda r, rng: (
        nn.CrossEntropyLoss(WEIGHTS, r), delta.SoftmaxCrossEntropyCost(r, WEIGHTS), [], LABELS),
    "softmax and smoothed cross-entropy of labels": lambda r, rng: (
        nn.CrossEntropyLoss(None, r, 0.2), delta.SoftmaxCrossEntropyCost(r, None, 0.2), [], LABELS),
    "softmax and cross-entropy of numbers": lambda r, rng: (
        nn.CrossEntropyLoss(WEIGHTS, r, 0.2), delta.SoftmaxCrossEntropyCost(r, WEIGHTS, 0.2), [],
        rng.random((4, 3))),
    "NLL": lambda r, rng: (nn.NLLLoss(WEIGHTS, r), delta.NLLCost(r, WEIGHTS), [delta.LogSoftmax], LABELS),
}  # fmt: skip


def check_network(cost: str) -> None:
    """Compare the book's network, one example at a time and as a matrix, and its step, with the engine's."""
    net = delta.Network([5, 4, 3], getattr(network, cost), rng=3)
    rng = np.random.default_rng(4)
    xs, ys = rng.standard_normal((6, 5)), rng.random((6, 3))
    model = nn.Sequential(linear(5, 4, rng)[0], nn.Sigmoid(), linear(4, 3, rng)[0], nn.Sigmoid())
    for layer, w, b in zip((model[0], model[2]), net.weights, net.biases, strict=True):
        layer.weight.data, layer.bias.data = w.copy(), b[:, 0].copy()
    loss_fn = {"QuadraticCost": nn.QuadraticLoss(), "CrossEntropyCost": nn.BCELoss("batchmean")}[cost]
    loss = loss_fn(model(xs), ys)
    loss.backward()
    expected = [(layer.weight.grad, layer.bias.grad[:, None]) for layer in (model[0], model[2])]
    examples = [(x[:, None], y[:, None]) for x, y in zip(xs, ys, strict=True)]
    singly = [net.backprop(x, y) for x, y in examples]
    together = net.backprop_matrix(xs.T, ys.T)
    np.testing.assert_allclose(net.total_cost(examples), loss.item(), **CLOSE)
    squares = sum((w**2).sum() for w in net.weights)
    np.testing.assert_allclose(net.total_cost(examples, 0.6), loss.item() + 0.05 * squares, **CLOSE)
    before = [(w.copy(), b.copy()) for w, b in zip(net.weights, net.biases, strict=True)]
    for i, (by_w, by_b) in enumerate(expected):
        np.testing.assert_allclose(sum(found[1][i] for found in singly) / 6, by_w, **CLOSE)
        np.testing.assert_allclose(sum(found[0][i] for found in singly) / 6, by_b, **CLOSE)
        np.testing.assert_allclose(together[1][i] / 6, by_w, **CLOSE)
        np.testing.assert_allclose(together[0][i] / 6, by_b, **CLOSE)
    net.update_mini_batch(examples, 0.5, 0.3, 20)
    for (w, b), (by_w, by_b), new_w, new_b in zip(before, expected, net.weights, net.biases, strict=True):
        np.testing.assert_allclose(new_w, (1 - 0.5 * 0.3 / 20) * w - 0.5 * by_w, **CLOSE)
        np.testing.assert_allclose(new_b, b - 0.5 * by_b, **CLOSE)


def check_edges() -> None:
    """Hold the δ room's own functions to their values far out, at 0 and 1, and in rows that are all −∞."""
    far = np.array([[-1e4, 0.0, 1e4]])
    np.testing.assert_allclose(functions.sigmoid(far), [[0, 0.5, 1]])
    np.testing.assert_allclose(functions.softplus(far), [[0, np.log(2), 1e4]])
    np.testing.assert_allclose(functions.softmax(far), [[0, 0, 1]])
    np.testing.assert_allclose(functions.log_softmax(far), [[-2e4, -1e4, 0]])
    np.testing.assert_allclose(functions.softmax(np.full((1, 2), -np.inf)), [[0, 0]])
    np.testing.assert_allclose(functions.log_softmax(np.full((1, 2), -np.inf)), [[-np.inf, -np.inf]])
    np.testing.assert_allclose(functions.log(np.array([0.0, 1.0])), [-100, 0])
    half, certain = np.array([0.0, 1.0]), np.array([1.0, 1.0])
    np.testing.assert_allclose(delta.BCECost("sum").delta(half, certain), [-1e12, 0])
    masked = delta.SoftmaxCrossEntropyCost().value(np.array([[0.0, -np.inf]]), np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(masked, 0)
    np.testing.assert_allclose(delta.NLLCost().value(np.array([[0.0, -np.inf]]), [0]), 0)
    pool, tied = delta.MaxPool2d((1, 3), (1, 3)), np.array([[[[1.0, 5.0, 5.0]]]])
    back, _ = pool.backward(np.ones((1, 1, 1, 1)), tied, pool.forward(tied))
    assert back.tolist() == [[[[0, 1, 0]]]], "of those that tie, the first"
    for label in (-1, 2):
        with pytest.raises(IndexError, match=f"label {label} at position 0 is out of range"):
            delta.NLLCost().value(np.zeros((1, 2)), [label])


def check_verify(model: Any, loss: Any, x: Any, y: Any) -> None:
    """Ask ``verify`` about a model."""
    report = mg.verify(model, loss, x, y, samples=1)
    assert report.ok, report
    assert not report.notes[1:], "verify does not know a layer or loss: the check would not look at it"


def by_verify() -> list[Check]:
    """Return ``verify`` of a network with each layer in its middle, and of each cost behind a linear one."""
    rng = np.random.default_rng(11)
    found = []
    for name, make in MIDDLE.items():
        model = nn.Sequential(linear(5, 6, rng)[0], *make(rng)[0], linear(6, 3, rng)[0])
        x, y = rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
        found.append(Check(f"verify of {name}", functools.partial(check_verify, model, nn.MSELoss(), x, y)))
    image = nn.Sequential(nn.Flatten(), linear(6, 3, rng)[0])
    x, y = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 3))
    found.append(Check("verify of Flatten", functools.partial(check_verify, image, nn.MSELoss(), x, y)))
    for name, make in IMAGES.items():
        small = nn.Sequential(nn.Conv2d(1, 4, 1, dtype=float, rng=rng), make(rng)[0])
        x = rng.standard_normal((2, 1, 5, 6))
        y = rng.standard_normal(small(x).shape)
        found.append(Check(f"verify of {name}", functools.partial(check_verify, small, nn.MSELoss(), x, y)))
    for name, make in COSTS.items():
        loss, _, before, y = make("mean", rng)
        model = nn.Sequential(linear(5, 3, rng)[0], *[getattr(nn, kind.__name__)() for kind in before])
        x = 3 * rng.standard_normal((4, 5))
        found.append(Check(f"verify of {name}", functools.partial(check_verify, model, loss, x, y)))
    return found


def backward_subjects() -> Iterator[Subject]:
    """Yield the δ equations alone: how each layer goes back, and where each cost begins."""
    for subject in subjects():
        if subject.name.endswith((".backward", "._slopes", "_through_statistics")):
            yield subject


def checks() -> list[Check]:
    """Return the comparisons of every layer, every cost with every reduction, and the book's network."""
    found = [Check(f"a network with {name}", functools.partial(check_layer, name)) for name in MIDDLE]
    found += [
        Check(f"{name} on three axes", functools.partial(check_higher, name))
        for name in ("Flatten", "Linear", "BatchNorm in training", "BatchNorm in eval", "LayerNorm")
    ]
    found += [Check(f"{name} of images", functools.partial(check_image, name)) for name in IMAGES]
    found += [
        Check(f"{name}, {reduction}", functools.partial(check_cost, name, reduction))
        for name in COSTS
        for reduction in costs.REDUCTIONS
    ]
    found += [
        Check(f"the book's network with {cost}", functools.partial(check_network, cost))
        for cost in ("QuadraticCost", "CrossEntropyCost")
    ]
    return [*found, Check("edges", check_edges)]


def subjects() -> Iterator[Subject]:
    """Yield every function and method of the δ room that computes something."""
    for module in (layers, convolution, costs, functions, stack, network):
        owners: list[Any] = [module, *[kind for _, kind in inspect.getmembers(module, inspect.isclass)]]
        for owner in owners:
            for name, member in vars(owner).items():
                function = member.__func__ if isinstance(member, staticmethod) else member
                if not isinstance(function, FunctionType) or function.__module__ != module.__name__:
                    continue
                made = function.__code__.co_filename != module.__file__  # by a dataclass
                if made or name in NOT_EQUATIONS or "check" in name or "initializer" in name:
                    continue
                if getattr(function, "__isabstractmethod__", False) or owner is network.NetworkCost:
                    continue
                lead = "" if owner is module else f"{owner.__name__}."
                yield Subject(f"{module.__name__.rpartition('.')[2]}.{lead}{name}", function)
