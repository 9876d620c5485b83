"""The losses as subjects, and a check of each by its formula in NumPy and by finite differences."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.nn import functional as F
from microgradnet.nn import losses
from microgradnet.ops.table import Case, Input, Operation, draw
from tests.mutation.campaign import Check, Subject
from tests.mutation.rules import called_by, rules
from tests.ops.test_ops_table import check_gradients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mutation.changes import Function

ANY, PROBABILITY, LABEL = Input(), Input(((0.1, 0.9),)), Input(((0, 3),), "i")
CLASS_WEIGHTS = np.array([0.5, 1.5, 2.0])
REDUCTIONS = ("mean", "batchmean", "sum", "none")
LOSSES: dict[
    Any, tuple[Any, Input, Input]
] = {  # the module, its function, and how inputs and targets are drawn
    nn.QuadraticLoss: (F.quadratic_loss, ANY, ANY),
    nn.MSELoss: (F.mse_loss, ANY, ANY),
    nn.L1Loss: (F.l1_loss, Input(((-3, -1), (1, 3))), Input(((-0.9, 0.9),))),
    nn.HuberLoss: (F.huber_loss, ANY, Input(((-0.9, 0.9),))),
    nn.BCELoss: (F.binary_cross_entropy, PROBABILITY, PROBABILITY),
    nn.BCEWithLogitsLoss: (F.binary_cross_entropy_with_logits, ANY, PROBABILITY),
    nn.NLLLoss: (F.nll_loss, Input(((-3, -0.1),)), LABEL),
    nn.CrossEntropyLoss: (F.cross_entropy, ANY, LABEL),
}


def log_softmax(z: Any) -> Any:
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def huber(d: Any, delta: float = 1.0) -> Any:
    return np.where(abs(d) <= delta, d**2 / 2, delta * (abs(d) - delta / 2))


FORMULAS: dict[Any, Any] = {  # of the losses of numbers, per element or example
    nn.QuadraticLoss: lambda a, y: 0.5 * ((a - y) ** 2).reshape(len(a), -1).sum(1),
    nn.MSELoss: lambda a, y: (a - y) ** 2,
    nn.L1Loss: lambda a, y: abs(a - y),
    nn.HuberLoss: lambda a, y, **options: huber(a - y, **options),
    nn.BCELoss: lambda a, y: -y * np.log(a) - (1 - y) * np.log(1 - a),
    nn.BCEWithLogitsLoss: lambda a, y: np.log1p(np.exp(a)) - y * a,
}


def of_classes(kind: Any, a: Any, y: Any, *, label_smoothing: float = 0.0, weight: Any = None) -> Any:
    """Return the loss of each example by the formula of the docstring."""
    rows = np.eye(a.shape[1])[y] if y.ndim == 1 else y
    rows = (1 - label_smoothing) * rows + label_smoothing / a.shape[1]
    logs = a if kind is nn.NLLLoss else log_softmax(a)
    return -((1 if weight is None else weight) * rows * logs).sum(1)


def reduced(each: Any, y: Any, reduction: str, *, weight: Any = None, **_: Any) -> Any:
    """Reduce the losses as the module's docstring says."""
    if reduction == "none":
        return each
    if reduction == "mean" and weight is not None and y.ndim == 1:
        return each.sum() / weight[y].sum()
    return each.sum() / {"mean": each.size, "batchmean": len(each), "sum": 1}[reduction]


def check_loss(kind: Any, options: dict[str, Any], reduction: str, *, soft: bool) -> None:
    """Hold the value against the formula, and the derivatives to second order against differences."""
    _, first, second = LOSSES[kind]
    shapes = ((4, 3), (4,)) if second is LABEL and not soft else ((4, 3), (4, 3))
    inputs = (first, PROBABILITY if soft else second)
    call = kind(**options, reduction=reduction)
    row = Operation(kind.__name__, "", "a y", (), "", "", inputs=inputs, call=call)
    rng = np.random.default_rng(5)
    arrays = draw(row, shapes, rng)
    formula = FORMULAS.get(kind) or functools.partial(of_classes, kind)
    each = formula(*arrays, **options)
    expected = reduced(each, arrays[1], reduction, **options)
    np.testing.assert_allclose(row(*arrays).data, expected, rtol=1e-12)
    check_gradients(row, arrays, Case(shapes), rng)


def check_class_weights(function: Callable[..., Any]) -> None:
    """Hold the derivatives by class weights, which a loss may be asked for too, against differences."""
    inputs = (Input(((-3, -0.1),)), LABEL, Input(((0.5, 2),)))
    row = Operation(function.__name__, "", "a y w", (), "", "", inputs=inputs, call=function)
    rng = np.random.default_rng(6)
    shapes = ((4, 3), (4,), (3,))
    check_gradients(row, draw(row, shapes, rng), Case(shapes), rng)


def check_edges() -> None:
    """Hold losses to their docstrings at the edges: probabilities 0 and 1, masked classes, no weight."""
    p = mg.Tensor([0.0, 0.0, 1.0, 1.0, 1e-14], requires_grad=True)
    each = F.binary_cross_entropy(p, [0.0, 1.0, 0.0, 1.0, 0.5], "none")
    np.testing.assert_allclose(each.data[:4], [0, 100, 100, 0])
    np.testing.assert_allclose(mg.grad(each.sum(), p)[0].data, [0, -1e12, 1e12, 0, -0.5e12], rtol=1e-6)
    masked = F.cross_entropy(np.array([[0.0, -np.inf, 0.0]]), np.array([[0.5, 0.0, 0.5]]))
    np.testing.assert_allclose(masked, np.log(2))
    np.testing.assert_allclose(F.cross_entropy([[0.0, 0.0]], [0]), np.log(2))
    np.testing.assert_allclose(F.nll_loss([[-1.0, -2.0]], [1]), 2)
    with pytest.raises(ValueError, match="weights of this batch's labels sum to 0"):
        F.nll_loss(np.zeros((1, 2)), [0], np.array([0.0, 1.0]))


def checks() -> list[Check]:
    """Return the checks of every loss, with every reduction and option."""
    found = []
    for kind in LOSSES:
        variants: list[tuple[dict[str, Any], bool]] = [({}, False)]
        if kind is nn.HuberLoss:
            variants.append(({"delta": 0.6}, False))
        if issubclass(kind, losses.ClassLoss):
            variants.append(({"weight": CLASS_WEIGHTS}, False))
        if kind is nn.CrossEntropyLoss:
            smoothed = {"weight": CLASS_WEIGHTS, "label_smoothing": 0.2}
            variants += [({}, True), (smoothed, False), (smoothed, True), ({"label_smoothing": 0.2}, False)]
        found += [
            Check(
                f"{kind.__name__}({options}, {reduction!r}), soft={soft}",
                functools.partial(check_loss, kind, options, reduction, soft=soft),
            )
            for (options, soft), reduction in itertools.product(variants, REDUCTIONS)
        ]
    found.append(Check("edges", check_edges))
    for function in (F.nll_loss, F.cross_entropy):
        name = f"{function.__name__} by class weights"
        found.append(Check(name, functools.partial(check_class_weights, function)))
    return found


CHECKING = {"_pair", "_valued", "_labels", "_weights", "_checked_total", "_in_range", "_not_zero"}
"""They look at shapes and dtypes, and compute nothing."""


def subjects() -> Iterator[Subject]:
    """Yield the losses, what they call, the rules of their operations, and their modules' forward."""
    functions: dict[str, Function] = {}
    for kind, (function, _, _) in LOSSES.items():
        functions |= {function.__name__: function, **called_by(function)}
        functions[f"{kind.__name__}.forward"] = kind.forward
    for primitive in (F._squared_error, F._bce, F._probability_times, F._not_zero):
        functions |= {f"{primitive.name}, forward": primitive.forward}
        functions |= {f"{primitive.name}, argument {i}": rule for i, rule, _ in rules(primitive)}
    for name, function in functions.items():
        if name not in CHECKING:
            yield Subject(name, function)
