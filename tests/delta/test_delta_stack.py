"""A stack of layers: whole gradients, published numbers, conventions of scale, large numbers, messages."""

import ast
import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import delta, nn

ROOT = Path(__file__).resolve().parent.parent.parent


def mazur() -> tuple[delta.Stack, Any, Any]:
    """M. Mazur, "A step by step backpropagation example", https://mattmazur.com/2015/03/17/."""
    stack = delta.Stack(
        [
            delta.Linear(np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([0.35, 0.35])),
            delta.Sigmoid(),
            delta.Linear(np.array([[0.40, 0.45], [0.50, 0.55]]), np.array([0.60, 0.60])),
            delta.Sigmoid(),
        ],
        delta.QuadraticCost(),
    )
    return stack, np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])


def digits(values: Any, *published: str) -> None:
    """Hold values against published numbers, digit for digit."""
    for value, text in zip(np.ravel(values), published, strict=True):
        places = len(text.partition(".")[2])
        assert f"{value:.{places}f}" == text


def test_mazurs_numbers_digit_for_digit():
    stack, x, target = mazur()
    found = stack.backprop(x, target)
    digits(found.activations[2], "0.593269992", "0.596884378")
    digits(found.activations[4], "0.75136507", "0.772928465")
    digits(found.cost, "0.298371109")
    digits(found.gradients[2]["weight"], "0.0821670406", "0.0826676278", "-0.0226025405", "-0.0227402422")
    digits(found.deltas[2][0, 0], "0.138498562")  # δ_o1 of the article
    after = [stack.layers[i].weight - 0.5 * found.gradients[i]["weight"] for i in (0, 2)]  # type: ignore[attr-defined]
    digits(after[1], "0.35891648", "0.408666186", "0.51130127", "0.561370121")
    digits(after[0], "0.149780716", "0.19956143", "0.24975114", "0.29950229")


def test_the_network_of_the_book_gives_the_same():
    stack, x, target = mazur()
    net = delta.Network([2, 2, 2])
    net.weights = [stack.layers[i].weight for i in (0, 2)]  # type: ignore[attr-defined]
    net.biases = [stack.layers[i].bias.reshape(2, 1) for i in (0, 2)]  # type: ignore[attr-defined]
    nabla_b, nabla_w = net.backprop(x.T, target.T)
    found = stack.backprop(x, target)
    for i in (0, 1):
        np.testing.assert_allclose(nabla_w[i], found.gradients[2 * i]["weight"], rtol=1e-13)
        np.testing.assert_allclose(nabla_b[i][:, 0], found.deltas[2 * i][0], rtol=1e-13)


def test_what_backprop_returns_has_one_entry_per_layer():
    stack, x, target = mazur()
    found = stack.backprop(x, target)
    assert [len(part) for part in (found.activations, found.deltas, found.gradients)] == [5, 4, 4]
    assert [d.shape for d in found.deltas] == [a.shape for a in found.activations[1:]]
    assert [sorted(g) for g in found.gradients] == [["bias", "weight"], [], ["bias", "weight"], []]
    assert found.input_gradient.shape == x.shape
    assert isinstance(found.cost, float)
    assert found.cost == stack.value(x, target)


def test_a_stack_without_layers_is_its_cost():
    found = delta.Stack([], delta.QuadraticCost()).backprop(np.array([[1.0, 3.0]]), [[0.0, 1.0]])
    assert (found.cost, found.deltas, found.input_gradient.tolist()) == (2.5, [], [[1.0, 2.0]])


# ---------------------------------------------------------------------- random stacks

KINDS = ("Linear", "Sigmoid", "Tanh", "ReLU", "LeakyReLU", "Softmax", "LogSoftmax", "Dropout", "BatchNorm",
         "BatchNorm in evaluation", "LayerNorm")  # fmt: skip


def layer_of(kind: str, batch: int, width: int, rng: np.random.Generator) -> Any:
    """A layer of random parameters for (batch, width) inputs."""
    draw = rng.normal
    match kind:
        case "Linear":
            return delta.Linear(draw(size=(int(rng.integers(3, 7)), width)))
        case "Dropout":
            return delta.Dropout(0.4, rng.random((batch, width)) < 0.6)
        case "BatchNorm":
            return delta.BatchNorm(draw(size=width), draw(size=width), 0.1)
        case "BatchNorm in evaluation":
            gamma, beta, mean = draw(size=(3, width))
            return delta.BatchNorm(gamma, beta, 0.1, mean, rng.random(width))
        case "LayerNorm":
            return delta.LayerNorm(draw(size=width), draw(size=width), 0.1)
        case _:
            return getattr(delta, kind)()


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_random_stacks_agree_with_the_complex_step(kinds, batch, seed):
    rng = np.random.default_rng(seed)
    x, width, layers = rng.normal(size=(batch, 4)), 4, []
    for kind in kinds:
        layers.append(layer_of(kind, batch, width, rng))
        width = layers[-1].forward(np.zeros((batch, width))).shape[1]
    cost = (delta.QuadraticCost, delta.SigmoidCrossEntropyCost, delta.SoftmaxCrossEntropyCost)[seed % 3]()
    stack, target = delta.Stack(layers, cost), rng.random((batch, width))
    direction = rng.normal(size=x.shape)
    expected = stack.value(x + 1e-30j * direction, target).imag / 1e-30
    found = stack.backprop(x, target)
    largest = max(np.abs(d).max() for d in [*found.deltas, found.input_gradient])
    assert abs((found.input_gradient * direction).sum() - expected) <= 1e-11 * largest
    for i, layer in enumerate(layers):
        if "weight" in found.gradients[i]:
            field = "weight" if isinstance(layer, delta.Linear) else "gamma"
            along = rng.normal(size=getattr(layer, field).shape)
            moved = [*stack.layers[:i], replaced(layer, field, along), *stack.layers[i + 1 :]]
            expected = delta.Stack(moved, cost).value(x, target).imag / 1e-30
            assert abs((found.gradients[i]["weight"] * along).sum() - expected) <= 1e-11 * largest


def replaced(layer: Any, field: str, along: Any) -> Any:
    """The layer, one of its arrays moved by a tiny imaginary step."""
    return dataclasses.replace(layer, **{field: getattr(layer, field) + 1e-30j * along})


# ---------------------------------------------------------------------- scale

A = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
ZERO = np.zeros((2, 3))
LN = np.log
# Σ of all terms, by hand; N = 2 examples of K = 3 outputs.
SCALES = [
    (delta.QuadraticCost, A, ZERO, 10.5, {"mean": 2, "batchmean": 2, "sum": 1}),
    (delta.MSECost, A, ZERO, 21.0, {"mean": 6, "batchmean": 2, "sum": 1}),
    (delta.L1Cost, A, ZERO, 7.0, {"mean": 6, "batchmean": 2, "sum": 1}),
    (delta.HuberCost, A, ZERO, 0.5 + 1.5 + 3.5, {"mean": 6, "batchmean": 2, "sum": 1}),
    (delta.BCECost, np.full((2, 3), 0.25), ZERO, 6 * LN(4 / 3), {"mean": 6, "batchmean": 2, "sum": 1}),
    (delta.SigmoidCrossEntropyCost, ZERO, A / 4, 6 * LN(2), {"mean": 6, "batchmean": 2, "sum": 1}),
    (delta.SoftmaxCrossEntropyCost, ZERO, A, 7 * LN(3), {"mean": 2, "batchmean": 2, "sum": 1}),
    (delta.SoftmaxCrossEntropyCost, ZERO, [2, 0], 2 * LN(3), {"mean": 2, "batchmean": 2, "sum": 1}),
    (delta.NLLCost, -A, [2, 0], 4.0, {"mean": 2, "batchmean": 2, "sum": 1}),
]


@pytest.mark.parametrize(("cost", "a", "target", "total", "divisors"), SCALES)
def test_the_scale_of_every_cost(cost, a, target, total, divisors):
    for reduction, divisor in divisors.items():
        assert cost(reduction).value(a, target) == pytest.approx(total / divisor, rel=1e-14)
        np.testing.assert_allclose(
            cost(reduction).delta(a, target), cost("sum").delta(a, target) / divisor, rtol=1e-14
        )


def test_class_weights_divide_the_mean_of_labels_only():
    weight, z = np.array([0.5, 2.0, 1.5]), np.zeros((2, 3))
    for labels, total in (([2, 0], 2.0), ([1, 1], 4.0)):
        cost = delta.SoftmaxCrossEntropyCost("mean", weight)
        summed = delta.SoftmaxCrossEntropyCost("sum", weight)
        assert cost.value(z, labels) == pytest.approx(summed.value(z, labels) / total)
        assert cost.value(z, np.eye(3)[labels]) == pytest.approx(summed.value(z, labels) / 2)


def test_three_pairs_of_output_and_cost_begin_alike():
    z, y = np.array([[0.5, -1.0, 2.0], [0.0, 1.0, -1.0]]), np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    for layer, cost in (
        (delta.Sigmoid(), delta.SigmoidCrossEntropyCost("batchmean")),
        (delta.Softmax(), delta.SoftmaxCrossEntropyCost()),
        (delta.Dropout(0.0), delta.QuadraticCost()),
    ):
        np.testing.assert_allclose(cost.delta(z, y), (layer.forward(z) - y) / 2, rtol=1e-13)


def test_softmax_begins_otherwise_where_targets_do_not_sum_to_one():
    z, y = np.array([[0.5, -1.0, 2.0]]), np.array([[0.9, 0.5, 0.3]])
    a = delta.Softmax().forward(z)
    np.testing.assert_allclose(delta.SoftmaxCrossEntropyCost().delta(z, y), 1.7 * a - y, rtol=1e-13)


PAIRS = [
    (nn.QuadraticLoss, delta.QuadraticCost),
    (nn.MSELoss, delta.MSECost),
    (nn.L1Loss, delta.L1Cost),
    (nn.HuberLoss, delta.HuberCost),
    (nn.BCELoss, delta.BCECost),
    (nn.BCEWithLogitsLoss, delta.SigmoidCrossEntropyCost),
    (nn.CrossEntropyLoss, delta.SoftmaxCrossEntropyCost),
]


def agree(loss_fn: Any, cost: Any, a: Any, target: Any) -> None:
    """Value and gradient of a loss of nn and of a cost are the same."""
    tensor = mg.Tensor(a, requires_grad=True)
    loss = loss_fn(tensor, target)
    assert cost.value(a, target) == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(cost.delta(a, target), mg.grad(loss, tensor)[0].data, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
@pytest.mark.parametrize(("loss_fn", "cost"), PAIRS)
def test_costs_are_those_of_nn(loss_fn, cost, reduction):
    rng = np.random.default_rng(3)
    agree(loss_fn(reduction=reduction), cost(reduction), rng.random((4, 3)), rng.random((4, 3)))


@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.5]])
def test_costs_over_classes_are_those_of_nn(reduction, weight):
    rng = np.random.default_rng(4)
    z, labels, y = rng.normal(size=(4, 3)), np.array([2, 0, 1, 2]), rng.random((4, 3))
    agree(nn.NLLLoss(weight, reduction), delta.NLLCost(reduction, weight), z, labels)
    for target in (labels, y):
        for smoothing in (0.0, 0.2):
            loss_fn = nn.CrossEntropyLoss(weight, reduction, smoothing)
            agree(loss_fn, delta.SoftmaxCrossEntropyCost(reduction, weight, smoothing), z, target)


@pytest.mark.parametrize("p", [0.0, 1e-14, 1e-3, 1.0])
def test_probabilities_at_the_edge_are_those_of_nn(p):
    for y in (0.0, 0.3, 1.0):
        agree(nn.BCELoss(), delta.BCECost(), np.array([p, 0.5]), np.array([y, 0.5]))


# ---------------------------------------------------------------------- large numbers


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_large_inputs_stay_finite_and_silent(size):
    x = np.array([[size, -size, 0.0], [0.0, size, size]])
    for layer in (delta.Sigmoid(), delta.Tanh(), delta.Softmax(), delta.LogSoftmax(), delta.ReLU()):
        y = layer.forward(x)
        back, _ = layer.backward(np.ones_like(x), x, y)
        assert np.isfinite(y).all()
        assert np.isfinite(back).all()
    target = np.array([[1.0, 0.0, 0.5], [0.2, 0.3, 0.5]])
    for cost in (delta.SigmoidCrossEntropyCost(), delta.SoftmaxCrossEntropyCost(), delta.HuberCost()):
        found = delta.Stack([], cost).backprop(x, target)
        assert np.isfinite(found.cost)
        assert np.isfinite(found.input_gradient).all()
    saturated = delta.Stack([delta.Sigmoid()], delta.BCECost()).backprop(x, np.round(target))
    assert np.isfinite(saturated.cost)
    assert delta.SigmoidCrossEntropyCost("sum").value(x[:1, :1], [[float(size < 0)]]) == 1e4


def test_small_probabilities_keep_their_digits():
    assert delta.Sigmoid().forward(np.array([-700.0]))[0] == pytest.approx(np.exp(-700.0), rel=1e-12)
    assert delta.SigmoidCrossEntropyCost().value(np.array([40.0]), [1.0]) == pytest.approx(np.exp(-40.0))


def test_a_masked_class_costs_nothing():
    z = np.array([[1.0, -np.inf, 0.0], [-np.inf, -np.inf, -np.inf]])
    assert delta.Softmax().forward(z)[0, 1] == 0
    assert (delta.Softmax().forward(z)[1] == 0).all()
    cost = delta.SoftmaxCrossEntropyCost()
    assert cost.value(z[:1], [0]) == pytest.approx(np.log(1 + np.exp(-1)))
    assert cost.delta(z[:1], [0])[0, 1] == 0


def test_single_precision_stays_single():
    ones = np.ones((2, 3), np.float32)
    layers = [delta.Linear(ones), delta.BatchNorm(ones[0, :2], ones[1, :2]), delta.LeakyReLU()]
    for cost, target in (
        (delta.SoftmaxCrossEntropyCost(weight=[1.0, 2.0]), [0, 1]),  # type: ignore[arg-type]
        (delta.SigmoidCrossEntropyCost(), np.zeros((2, 2))),
        (delta.BCECost(), np.zeros((2, 2))),
    ):
        stack = delta.Stack(layers, cost)
        found = stack.backprop(ones * np.float32(0.5), target)
        kinds = {array.dtype for array in [*found.activations, *found.deltas, found.input_gradient]}
        kinds |= {g.dtype for gradients in found.gradients for g in gradients.values()}
        assert kinds == {np.dtype(np.float32)}


# ---------------------------------------------------------------------- messages

LINEAR = delta.Linear(np.zeros((2, 4)))


def stack_of(*layers: Any) -> delta.Stack:
    """Layers with a cost that is not reached."""
    return delta.Stack(layers, delta.MSECost())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: stack_of(delta.Linear(np.zeros((3, 4))), delta.Sigmoid(), LINEAR).forward(
                np.zeros((5, 4))
            ),
            ValueError,
            (
                "layer 2, which gets its input from layer 1 (Sigmoid): Linear: the input has shape (5, 3), "
                "the weight (2, 4) expects 4 features on the last axis"
            ),
        ),
        (
            lambda: stack_of(LINEAR).forward(np.zeros((5, 2, 2))),
            ValueError,
            (
                "layer 0, which gets its input from the caller: Linear: the input has shape (5, 2, 2), "
                "the weight (2, 4) expects 4 features on the last axis; put Flatten() before it"
            ),
        ),
        (
            lambda: delta.Linear(np.zeros(3)),
            ValueError,
            "Linear: the weight has shape (3,), expected (out, in)",
        ),
        (
            lambda: delta.Linear(np.zeros((2, 3)), np.zeros((2, 1))),
            ValueError,
            "the bias has shape (2, 1), the weight (2, 3); expected one bias per row of the weight, (2,)",
        ),
        (lambda: delta.Dropout(1.0), ValueError, "Dropout: p must be at least 0 and below 1, not 1.0"),
        (lambda: delta.Dropout(0.5, np.array([2.0])), ValueError, "the mask must hold 0 and 1 only"),
        (
            lambda: delta.Dropout(0.5, np.ones((1, 3))).forward(np.ones((2, 3))),
            ValueError,
            "Dropout: the input has shape (2, 3), the mask (1, 3)",
        ),
        (lambda: delta.Flatten().forward(np.ones(())), ValueError, "the input is a single number"),
        (
            lambda: delta.BatchNorm(np.ones(3), np.ones(3)).forward(np.ones((1, 3))),
            ValueError,
            "BatchNorm: the input has shape (1, 3), one value per feature",
        ),
        (
            lambda: delta.BatchNorm(np.ones(3), np.ones(3)).forward(np.ones((2, 4))),
            ValueError,
            "BatchNorm: the input has shape (2, 4), expected (N, 3) or (N, 3, …)",
        ),
        (
            lambda: delta.BatchNorm(np.ones(3), np.ones(3), mean=np.ones(3)),
            ValueError,
            "give mean and var both, for evaluation, or neither",
        ),
        (
            lambda: delta.BatchNorm(np.ones(3), np.ones(2)),
            ValueError,
            "BatchNorm: beta has shape (2,), gamma (3,)",
        ),
        (
            lambda: delta.LayerNorm(np.ones(3), np.ones(2)),
            ValueError,
            "LayerNorm: gamma has shape (3,), beta (2,)",
        ),
        (
            lambda: delta.LayerNorm(np.ones(3), np.ones(3)).forward(np.ones((3, 2))),
            ValueError,
            "LayerNorm: the input has shape (3, 2), expected to end in the axes (3,)",
        ),
        (
            lambda: delta.MSECost("none"),
            ValueError,
            "MSECost: reduction must be one of mean, batchmean, sum, not 'none'",
        ),
        (
            lambda: delta.MSECost().value(np.zeros((3, 1)), np.zeros(3)),
            ValueError,
            "MSECost: the outputs have shape (3, 1), the targets (3,); they must be equal",
        ),
        (
            lambda: delta.L1Cost().delta(np.zeros((0, 3)), np.zeros((0, 3))),
            ValueError,
            "L1Cost: the batch is empty (shape (0, 3)), its cost is undefined",
        ),
        (lambda: delta.HuberCost(threshold=0.0), ValueError, "the threshold must be positive, not 0.0"),
        (
            lambda: delta.BCECost().value(np.array([1.5]), [1.0]),
            ValueError,
            (
                "BCECost: the outputs must lie in [0, 1], got values from 1.5 to 1.5; "
                "for raw outputs use SigmoidCrossEntropyCost"
            ),
        ),
        (
            lambda: delta.SoftmaxCrossEntropyCost().value(np.zeros((2, 3)), [0, 3]),
            IndexError,
            "SoftmaxCrossEntropyCost: label 3 at position 1 is out of range for 3 classes (0 to 2)",
        ),
        (
            lambda: delta.SoftmaxCrossEntropyCost().value(np.zeros((2, 3)), [0]),
            ValueError,
            "SoftmaxCrossEntropyCost: outputs (N, C) and labels (N,) expected, got shapes (2, 3) and (1,)",
        ),
        (
            lambda: delta.NLLCost().value(np.zeros((2, 3)), [0.0, 1.0]),
            TypeError,
            "NLLCost: each label must be an integer, not float64",
        ),
        (
            lambda: delta.NLLCost(weight=np.ones(2)).value(np.zeros((2, 3)), [0, 1]),
            ValueError,
            "NLLCost: the class weights have shape (2,), expected (3,): one per class",
        ),
        (
            lambda: delta.NLLCost(weight=np.array([0.0, 1.0])).value(np.zeros((1, 2)), [0]),
            ValueError,
            "NLLCost: the weights of this batch's labels sum to 0, their mean is undefined",
        ),
        (
            lambda: delta.SoftmaxCrossEntropyCost(label_smoothing=2),
            ValueError,
            "label_smoothing must lie in [0, 1], not 2",
        ),
        (
            lambda: stack_of(nn.Linear(2, 2)),
            TypeError,
            "Stack: layer 0 must be a layer of delta, such as delta.Linear, not Linear(",
        ),
        (
            lambda: delta.Stack([], delta.MSECost),  # type: ignore[arg-type]
            TypeError,
            "Stack: the cost must be one of delta, such as delta.MSECost(), not <class",
        ),
    ],
)
def test_messages(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_a_repr_shows_shapes():
    stack = delta.Stack([LINEAR, delta.LeakyReLU(0.1)], delta.MSECost("sum"))
    assert repr(stack) == (
        "Stack([Linear(weight=(2, 4), bias=None), LeakyReLU(slope=0.1)], MSECost(reduction='sum'))"
    )


class Doubling(delta.Layer):
    """A layer of one's own: y = 2x."""

    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, delta: Any, x: Any, y: Any) -> Any:
        return 2 * delta, {}


def test_a_layer_of_ones_own():
    found = delta.Stack([Doubling(), Doubling()], delta.QuadraticCost()).backprop(np.ones((1, 1)), [[1.0]])
    assert (found.cost, found.input_gradient.tolist(), repr(Doubling())) == (4.5, [[12.0]], "Doubling()")


# ---------------------------------------------------------------------- independence and the page


def imported(path: Path) -> list[str]:
    """The modules that a file imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return found


def test_delta_imports_numpy_and_itself_alone():
    files = sorted((ROOT / "microgradnet" / "delta").glob("*.py"))
    foreign = [
        f"{path.name}: {name}"
        for path in files
        for name in imported(path)
        if name.split(".")[0] not in {"numpy", *sys.stdlib_module_names}
        and not f"{name}.".startswith("microgradnet.delta.")
    ]
    assert files
    assert foreign == []


def tags(text: str) -> set[str]:
    """The equation numbers in a text: (C1), (L12), (BP4)."""
    return set(re.findall(r"\((?:C|L|BP)\d+\)", text))


def test_every_equation_of_the_code_is_derived_on_the_page_and_every_one_of_the_page_is_in_the_code():
    page = (ROOT / "docs" / "delta.md").read_text(encoding="utf-8")
    numbered = set(re.findall(r"\\tag\{((?:C|L|BP)\d+)\}", page))
    code = set().union(
        *(tags(path.read_text(encoding="utf-8")) for path in (ROOT / "microgradnet" / "delta").glob("*.py"))
    )
    assert {f"({number})" for number in numbered} == code
