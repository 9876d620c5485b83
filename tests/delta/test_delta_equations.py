"""Every δ equation against the derivative of its forward: by complex step, by differences, mutated.

The complex step has no rounding to speak of: Im f(x + ih)/h. Central differences are asked too, because they
need nothing of the code but its real values.
"""

import ast
import copy
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from microgradnet import delta
from microgradnet.delta import convolution, costs, layers, network

PARAMETERS = {"weight": ("weight", "gamma"), "bias": ("bias", "beta")}


def by_complex_step(f: Callable[[Any], Any], at: Any) -> Any:
    """∂f/∂ every element: the imaginary part of f a tiny imaginary step aside."""
    slopes = np.empty(at.shape)
    for i in np.ndindex(*at.shape):
        aside = at.astype(complex)
        aside[i] += 1e-30j
        slopes[i] = np.asarray(f(aside)).imag / 1e-30
    return slopes


def by_differences(f: Callable[[Any], Any], at: Any, h: float = 1e-5) -> Any:
    """∂f/∂ every element: (f(x + h) − f(x − h)) / 2h."""
    slopes = np.empty(at.shape)
    for i in np.ndindex(*at.shape):
        up, down = at.copy(), at.copy()
        up[i] += h
        down[i] -= h
        slopes[i] = (f(up) - f(down)) / (2 * h)
    return slopes


def error(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest number; infinite where shapes differ."""
    if np.shape(found) != np.shape(expected):
        return np.inf
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300))


def layer_error(layer: Any, x: Any, derivative: Callable[..., Any]) -> float:
    """The largest error of ∂C/∂x and of every ∂C/∂parameter, for C = Σ g ⊙ y with a random g."""
    g = np.random.default_rng(7).normal(size=layer.forward(x).shape)
    back, gradients = layer.backward(g, x, layer.forward(x))
    errors = [error(back, derivative(lambda x: (g * layer.forward(x)).sum(), x))]
    for name, gradient in gradients.items():
        field = next(field for field in PARAMETERS[name] if hasattr(layer, field))

        def cost(values: Any, field: str = field) -> Any:
            return (g * replace(layer, **{field: values}).forward(x)).sum()

        errors.append(error(gradient, derivative(cost, getattr(layer, field))))
    return max(errors)


def cost_error(cost: Any, a: Any, target: Any, derivative: Callable[..., Any]) -> float:
    """The error of ∂C/∂a."""
    return error(cost.delta(a, target), derivative(lambda a: cost.value(a, target), a))


def network_error(module: Any) -> float:
    """The largest error of ∇b and ∇w, by the loop and by the matrix form, for both costs."""
    rng, errors = np.random.default_rng(8), []
    xs, ys = rng.normal(size=(3, 2)), rng.random((2, 2))
    for cost in (module.QuadraticCost, module.CrossEntropyCost):
        net = module.Network([3, 4, 2, 3, 2], cost, rng=9)
        loop = [net.backprop(xs[:, [i]], ys[:, [i]]) for i in (0, 1)]
        whole = net.backprop_matrix(xs, ys)
        for part, kept in enumerate((net.biases, net.weights)):
            for i, parameter in enumerate(list(kept)):

                def value(at: Any, kept: Any = kept, i: int = i, net: Any = net) -> Any:
                    kept[i] = at
                    return net.cost.fn(net.feedforward(xs), ys)

                slopes = by_complex_step(value, parameter)
                kept[i] = parameter
                errors += [error(whole[part][i], slopes), error(loop[0][part][i] + loop[1][part][i], slopes)]
    return max(errors)


def apart(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Random numbers, none nearer to 0 than 0.1, where relu and abs have their kink."""
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2.0, shape)


def layer_cases(module: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every layer, with unequal sizes and an input: (name, layer, x)."""
    draw = np.random.default_rng(1).normal
    yield "Linear", module.Linear(draw(size=(3, 4)), draw(size=3)), draw(size=(5, 4))
    yield "Linear without bias", module.Linear(draw(size=(3, 4))), draw(size=(5, 4))
    yield "Linear, more axes", module.Linear(draw(size=(3, 4)), draw(size=3)), draw(size=(5, 2, 4))
    yield "Linear, one vector", module.Linear(draw(size=(3, 4)), draw(size=3)), draw(size=4)
    for kind in ("Sigmoid", "Tanh", "ReLU", "Softmax", "LogSoftmax"):
        yield kind, getattr(module, kind)(), apart((5, 3))
    yield "Softmax, more axes", module.Softmax(), apart((2, 3, 4))
    yield "LogSoftmax, more axes", module.LogSoftmax(), apart((2, 3, 4))
    yield "LeakyReLU", module.LeakyReLU(0.2), apart((5, 3))
    yield "Dropout", module.Dropout(0.3, np.array([[1, 0, 1, 1], [0, 1, 1, 0]])), apart((2, 4))
    yield "Dropout, all kept", module.Dropout(0.3), apart((2, 4))
    yield "Flatten", module.Flatten(), apart((2, 3, 2))
    gamma, beta, mean, var = draw(size=3), draw(size=3), draw(size=3), draw(size=3) ** 2
    for x in (draw(size=(5, 3)), draw(size=(2, 3, 4)), draw(size=(2, 3, 2, 2))):
        yield f"BatchNorm {x.shape}", module.BatchNorm(gamma, beta, 0.1), x
        yield f"BatchNorm in evaluation {x.shape}", module.BatchNorm(gamma, beta, 0.1, mean, var), x
    yield "LayerNorm", module.LayerNorm(draw(size=4), draw(size=4), 0.1), draw(size=(5, 4))
    yield "LayerNorm, two axes", module.LayerNorm(draw(size=(2, 4)), draw(size=(2, 4))), draw(size=(5, 2, 4))
    yield "LayerNorm between", module.LayerNorm(draw(size=4), draw(size=4)), draw(size=(3, 2, 4))


def image_cases(module: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every layer of images, with unequal strides and borders: (name, layer, x)."""
    draw = np.random.default_rng(3).normal
    x, sides = draw(size=(2, 4, 5, 6)), ((1, 0), (2, 1))
    yield "Conv2d", module.Conv2d(draw(size=(3, 4, 2, 3)), draw(size=3)), x
    yield "Conv2d without bias", module.Conv2d(draw(size=(2, 4, 1, 2)), stride=(2, 1), padding=sides), x
    yield (
        "Conv2d in groups",
        module.Conv2d(draw(size=(6, 2, 2, 2)), draw(size=6), dilation=(2, 3), groups=2),
        x,
    )
    yield "Conv2d, all", module.Conv2d(draw(size=(4, 1, 3, 2)), draw(size=4), (2, 3), sides, (1, 2), 4), x
    yield "MaxPool2d", module.MaxPool2d((2, 3), (2, 3)), x
    yield "MaxPool2d, overlapping", module.MaxPool2d((3, 2), (1, 1), ((1, 0), (1, 1)), (1, 2)), x
    yield "AvgPool2d", module.AvgPool2d((2, 3), (2, 3)), x
    yield "AvgPool2d, overlapping", module.AvgPool2d((3, 2), (1, 2), ((1, 0), (1, 1))), x
    yield "AvgPool2d, border uncounted", module.AvgPool2d((3, 2), (2, 1), ((1, 0), (1, 1)), False), x


def cost_cases(module: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Every cost and reduction, targets that are no unit vectors: (name, cost, a, target)."""
    rng = np.random.default_rng(2)
    a, y = apart((4, 3)), rng.uniform(0.1, 0.9, (4, 3))
    aim = 2 * rng.normal(size=(4, 3))
    far = aim + apart((4, 3), 3)  # on both sides of the kinks at 0 and at Huber's threshold
    labels, weight = np.array([2, 0, 1, 2]), np.array([0.5, 2.0, 1.5])
    for reduction in module.REDUCTIONS:
        for kind in ("QuadraticCost", "MSECost", "L1Cost", "HuberCost"):
            yield f"{kind} {reduction}", getattr(module, kind)(reduction), far, aim
        yield f"HuberCost 0.7 {reduction}", module.HuberCost(reduction, 0.7), far, aim
        yield f"BCECost {reduction}", module.BCECost(reduction), rng.uniform(0.1, 0.9, (4, 3)), y
        yield f"SigmoidCrossEntropyCost {reduction}", module.SigmoidCrossEntropyCost(reduction), a, y
        for smoothing in (0.0, 0.2):
            for w in (None, weight):
                cost = module.SoftmaxCrossEntropyCost(reduction, w, smoothing)
                yield f"{cost} labels", cost, a, labels
                yield f"{cost} probabilities", cost, a, y
        for w in (None, weight):
            cost = module.NLLCost(reduction, w)
            yield f"{cost}", cost, a, labels


LAYERS = [*layer_cases(layers), *image_cases(convolution)]
COSTS = list(cost_cases(costs))


@pytest.mark.parametrize(("layer", "x"), [case[1:] for case in LAYERS], ids=[case[0] for case in LAYERS])
def test_a_layer_goes_back_as_its_forward_says(layer, x):
    assert layer_error(layer, x, by_complex_step) < 1e-13
    assert layer_error(layer, x, by_differences) < 1e-8


@pytest.mark.parametrize(
    ("cost", "a", "target"), [case[1:] for case in COSTS], ids=[case[0] for case in COSTS]
)
def test_a_cost_begins_as_its_value_says(cost, a, target):
    assert cost_error(cost, a, target, by_complex_step) < 1e-13
    assert cost_error(cost, a, target, by_differences) < 1e-8


def test_every_layer_and_every_cost_is_among_the_cases():
    public = {
        thing
        for name in delta.__all__
        if isinstance(thing := getattr(delta, name), type) and not inspect.isabstract(thing)
    }
    tried = {type(case[1]) for case in [*LAYERS, *COSTS]}
    assert {kind for kind in public if issubclass(kind, delta.Layer | delta.Cost)} == tried


def test_kinks_have_their_documented_value():
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    assert delta.ReLU().backward(one, zero, zero)[0] == 0
    assert delta.LeakyReLU(0.2).backward(one, zero, zero)[0] == 0.2
    assert delta.L1Cost("sum").delta(zero, zero) == 0
    assert delta.HuberCost("sum").delta(one, zero) == 1
    pool, ties = delta.MaxPool2d((2, 2), (2, 2)), np.ones((1, 1, 2, 2))
    assert pool.backward(one[None, None], ties, pool.forward(ties))[0].tolist() == [
        [[[1.0, 0.0], [0.0, 0.0]]]
    ]


# ---------------------------------------------------------------------- mutants

BACKWARD = {
    "backward",
    "_slopes",
    "_through_statistics",
    "backprop",
    "backprop_matrix",
    "delta",
    "sigmoid_prime",
}
OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.MatMult: ast.Mult}
COMPARED = {ast.Gt: ast.Lt, ast.LtE: ast.Gt}
# Mutants that compute the same, each with its reason.
SAME = {
    "L1Cost: a - y -> 1.001 * (a - y)": "only the sign is read",
    "HuberCost: self.threshold * np.sign(d) -> self.threshold / np.sign(d)": "a sign is its own inverse",
    "SoftmaxCrossEntropyCost: -1 -> 1": "the last axis of (N, C) is axis 1",
    "Network: delta @ activations[-2].T -> delta * activations[-2].T": "a column times a row",
    "Network: delta @ activations[-l - 1].T -> delta * activations[-l - 1].T": "a column times a row",
}


def mutations(node: ast.AST) -> Iterator[Callable[[Any], ast.AST]]:
    """What may go wrong at one node of a formula: functions from the node to what stands there instead."""
    match node:
        case ast.BinOp(op=op) if type(op) in OTHER:
            yield lambda n: ast.BinOp(n.left, OTHER[type(n.op)](), n.right)
            yield lambda n: ast.BinOp(ast.Constant(1.001), ast.Mult(), n)
            yield lambda n: n.left
            yield lambda n: n.right
        case ast.UnaryOp(op=ast.USub()):
            yield lambda n: n.operand
        case ast.Compare(ops=[op]) if type(op) in COMPARED:
            yield lambda n: ast.Compare(n.left, [COMPARED[type(n.ops[0])]()], n.comparators)
        case ast.Call(func=ast.Attribute(attr="sum" | "mean" as name)):
            other = "mean" if name == "sum" else "sum"
            yield lambda n: ast.Call(ast.Attribute(n.func.value, other, ast.Load()), n.args, n.keywords)
        case ast.Attribute(attr="T"):
            yield lambda n: n.value
        case ast.Call(func=ast.Name(id="sigmoid" | "softmax")):
            yield lambda n: n.args[0]


@functools.cache
def mutants(module: types.ModuleType) -> list[tuple[str, types.ModuleType]]:
    """Every backward formula of a module with one thing changed: (what is changed, the changed module)."""
    made = []
    tree = ast.parse(inspect.getsource(module))
    for place in tree.body:
        functions = [node for node in ast.walk(place) if isinstance(node, ast.FunctionDef)]
        formulas = [function for function in functions if function.name in BACKWARD]
        for parent in [node for formula in formulas for node in ast.walk(formula)]:
            for field, index, child in places(parent):
                for change in mutations(child):
                    new = change(copy.deepcopy(child))
                    what = f"{getattr(place, 'name', '')}: {ast.unparse(child)} -> {ast.unparse(new)}"
                    put(parent, field, index, new)
                    changed = types.ModuleType(module.__name__)
                    exec(compile(ast.fix_missing_locations(tree), what, "exec"), vars(changed))  # noqa: S102
                    put(parent, field, index, child)
                    made.append((what, changed))
    return made


def places(parent: ast.AST) -> list[tuple[str, int | None, Any]]:
    """Where the children of a node stand."""
    found: list[tuple[str, int | None, Any]] = []
    for field, value in ast.iter_fields(parent):
        if isinstance(value, list):
            found += [(field, i, child) for i, child in enumerate(value) if isinstance(child, ast.expr)]
        elif isinstance(value, ast.expr):
            found.append((field, None, value))
    return found


def put(parent: ast.AST, field: str, index: int | None, child: ast.AST) -> None:
    """Put a child where another stood."""
    if index is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[index] = child


def is_caught(changed: types.ModuleType) -> bool:
    """Whether a case of a changed module disagrees with its own forward, or breaks."""
    try:
        if hasattr(changed, "Network"):
            errors = iter([network_error(changed)])
        elif hasattr(changed, "Conv2d"):
            errors = (layer_error(layer, x, by_complex_step) for _, layer, x in image_cases(changed))
        elif hasattr(changed, "Linear"):
            errors = (layer_error(layer, x, by_complex_step) for _, layer, x in layer_cases(changed))
        else:
            errors = (cost_error(*case[1:], by_complex_step) for case in cost_cases(changed))
        return any(found > 1e-6 for found in errors)
    except (ValueError, FloatingPointError, AttributeError, TypeError, IndexError):
        return True


@pytest.mark.parametrize(
    ("module", "least"),
    [(layers, 50), (costs, 50), (network, 50), (convolution, 3)],
    ids=["layers", "costs", "network", "convolution"],
)
def test_every_mutated_equation_is_caught(module, least):
    assert len(mutants(module)) > least
    survivors = [what for what, changed in mutants(module) if not is_caught(changed)]
    assert [what for what in survivors if what not in SAME] == []


def test_the_mutants_that_compute_the_same_do_exist():
    """A reason that excuses nothing would hide a mutant of tomorrow."""
    made = {what for module in (layers, costs, network) for what, _ in mutants(module)}
    assert set(SAME) <= made
