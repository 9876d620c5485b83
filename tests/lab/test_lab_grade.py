"""Marks for hand-written backward passes: the right ones pass, and each slip gets its own hint."""

import numpy as np
import pytest

from microgradnet import Tensor, lab, nn, ops
from microgradnet.nn import functional as F

LINEAR = nn.Linear(3, 2)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def hints(student, layer, **options):
    return {mark.name: (mark.points, mark.hint) for mark in lab.grade(student, layer, **options).marks}


def hint(student, layer, **options):
    (only,) = hints(student, layer, **options).values()
    return only


# ---------------------------------------------------------------------- what is right passes


def norm_backward(axis):
    def backward(x, weight, bias, grad_output):
        centred = x - x.mean(axis, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis, keepdims=True) + 1e-5)
        normal = centred / deviation
        inner = grad_output * weight
        by_x = (
            inner - inner.mean(axis, keepdims=True) - normal * (inner * normal).mean(axis, keepdims=True)
        ) / deviation
        return by_x, (grad_output * normal).sum(0), grad_output.sum(0)

    return backward


def scatter(indices, weight, grad_output):
    found = np.zeros_like(weight)
    np.add.at(found, indices, grad_output)
    return found


RIGHT = [
    (lambda x, w, b, g: (g @ w, g.T @ x, g.sum(0)), nn.Linear(4, 2)),
    (lambda x, w, g: (g @ w, g.T @ x), nn.Linear(4, 2, bias=False)),
    (lambda x, w, b, g: {"bias": g.sum(0), "weight": g.T @ x, "x": g @ w}, nn.Linear(4, 2)),
    (lambda x, g: g * sigmoid(x) * (1 - sigmoid(x)), nn.Sigmoid()),
    (lambda x, g: (g * (1 - np.tanh(x) ** 2),), nn.Tanh()),
    (lambda x, g: g * (x > 0), nn.ReLU()),
    (lambda x, g: g * (x > 0), F.relu),
    (lambda x, g: g * (x > 0), ops.relu),
    (lambda x, g: softmax(x) * (g - (g * softmax(x)).sum(-1, keepdims=True)), nn.Softmax()),
    (lambda x, g: g.reshape(x.shape), nn.Flatten()),
    (lambda x, g: g, nn.Dropout(0.5).eval()),
    (norm_backward(0), nn.BatchNorm1d(3)),
    (norm_backward(-1), nn.LayerNorm(4)),
    (scatter, nn.Embedding(4, 2)),
    (lambda a, y, g: g * 2 * (a - y) / a.size, nn.MSELoss()),
    (lambda a, y, g: g * (a - y) / len(a), nn.QuadraticLoss()),
    (lambda p, y, g: g * (p - y) / (p * (1 - p)) / p.size, nn.BCELoss()),
    (lambda z, y, g: g * (softmax(z) - np.eye(3)[y]) / len(z), nn.CrossEntropyLoss()),
]


@pytest.mark.parametrize(("student", "layer"), RIGHT)
def test_the_right_program_gets_every_mark(student, layer):
    report = lab.grade(student, layer)
    assert report.passed, report
    assert report.points == len(report.marks)
    assert {mark.hint for mark in report.marks} == {"right"}


def test_functions_of_several_tensors_and_inputs_of_ones_own():
    report = lab.grade(
        lambda a, b, g: (g * b, g * a), lambda a, b: a * b, inputs=(np.full((2, 3), 2.0), np.ones((2, 3)))
    )
    assert report.passed
    assert [mark.name for mark in report.marks] == ["x0", "x1"]


def test_a_convolution_is_asked_with_images():
    report = lab.grade(lambda x, w, b, g: (x * 0, w * 0, g.sum((0, 2, 3))), nn.Conv2d(2, 3, 3))
    assert [mark.points for mark in report.marks] == [0, 0, 1]
    assert report.marks[0].hint == "zero: the whole term is missing"


# ---------------------------------------------------------------------- each slip has its hint


@pytest.mark.parametrize(
    ("name", "slip", "points", "expected"),
    [
        ("x", lambda x, w, g: -(g @ w), 0.5, "−1 × the true gradient: the sign is wrong"),
        ("x", lambda x, w, g: 2 * g @ w, 0.5, "2 × the true gradient: a factor 2 too much"),
        ("x", lambda x, w, g: g @ w * 0, 0, "zero: the whole term is missing"),
        ("x", lambda x, w, g: None, 0, "no gradient was returned for it"),
        ("x", lambda x, w, g: "g @ w", 0, "no gradient was returned for it"),
        ("x", lambda x, w, g: g, 0, "shape (5, 2); expected (5, 3), that of x"),
        (
            "x",
            lambda x, w, g: np.tile((g @ w)[:1], (len(x), 1)),
            0,
            "right for one example, wrong for a batch of 5; ",
        ),
        ("x", lambda x, w, g: (g @ w) * np.nan, 0, "not finite"),
        ("weight", lambda x, w, g: x.T @ g, 0.5, "transposed"),
        ("weight", lambda x, w, g: g.T @ x / 5, 0.5, "5 is the batch size N: divided by it once too often"),
        ("weight", lambda x, w, g: np.ones_like(g).T @ x, 0.5, "grad_output is not used"),
        ("weight", lambda x, w, g: np.outer(g[-1], x[-1]), 0.5, "only the last example counts: add"),
        ("weight", lambda x, w, g: np.outer(g[0], x[0]), 0.5, "only the first example counts: add"),
        (
            "weight",
            lambda x, w, g: g[:, :, None] * x[:, None],
            0.5,
            "one for each example: sum them over the batch",
        ),
        ("bias", lambda x, w, g: g, 0.5, "one for each example: sum them over the batch, axis 0"),
        ("bias", lambda x, w, g: g.sum(), 0.5, "summed over the axes (0,), which the argument has"),
        (
            "bias",
            lambda x, w, g: g.sum(0, keepdims=True),
            0.5,
            "the numbers are right, but their shape is (1, 2)",
        ),
        ("bias", lambda x, w, g: g.sum(0) + np.array([0, 1]), 0, "1 of 2 entries are wrong"),
    ],
)
def test_the_slips_of_a_linear_layer(name, slip, points, expected):
    right = {"x": lambda x, w, g: g @ w, "weight": lambda x, w, g: g.T @ x, "bias": lambda x, w, g: g.sum(0)}

    def student(x, weight, bias, grad_output):
        programs = {**right, name: slip}
        return tuple(program(x, weight, grad_output) for program in programs.values())

    report = lab.grade(student, LINEAR)
    for mark in report.marks:
        if mark.name == name:
            assert mark.points == points
            assert expected in mark.hint
        else:
            assert mark.hint == "right"
    assert not report.passed
    assert f"Linear: {2 + points:g} of 3" in str(report)


@pytest.mark.parametrize(
    ("student", "layer", "points", "expected"),
    [
        (
            lambda x, g: g,
            nn.Sigmoid(),
            0.5,
            "the layer's own derivative is missing: grad_output is passed on",
        ),
        (lambda x, g: sigmoid(x) * (1 - sigmoid(x)), nn.Sigmoid(), 0.5, "grad_output is not used"),
        (
            lambda x, g: g * sigmoid(sigmoid(x)) * (1 - sigmoid(sigmoid(x))),
            nn.Sigmoid(),
            0.5,
            "the derivative is taken at the output y, where it must be taken at x",
        ),
        (lambda x, g: g * sigmoid(x), nn.Sigmoid(), 0, "all entries differ"),
        (
            lambda x, g: g * softmax(x) * (1 - softmax(x)),
            nn.Softmax(),
            0.5,
            "only the diagonal of the Jacobian",
        ),
        (
            lambda x, g: softmax(x) * (g - (g * softmax(x)).sum()),
            nn.Softmax(),
            0,
            "right for one example, wrong for a batch of 5; all entries differ",
        ),
        (
            lambda a, y, g: g * 2 * (a - y),
            nn.MSELoss(),
            0.5,
            "15 is the number of elements: a division by it",
        ),
        (lambda a, y, g: g * (a - y) / a.size, nn.MSELoss(), 0.5, "a factor 2 is missing"),
        (lambda a, y, g: g * (y - a) / len(a), nn.QuadraticLoss(), 0.5, "the sign is wrong"),
        (
            lambda z, y, g: softmax(z) - np.eye(3)[y],
            nn.CrossEntropyLoss(),
            0.5,
            "grad_output is not used; with 1 in its place: 5 × the true gradient, and 5 is the batch size N",
        ),
    ],
)
def test_the_slips_of_activations_and_losses(student, layer, points, expected):
    given, said = hint(student, layer)
    assert expected in said
    assert given == points


@pytest.mark.parametrize(("layer", "axis"), [(nn.BatchNorm1d(3), 0), (nn.LayerNorm(4), -1)])
def test_statistics_that_are_taken_for_constants(layer, axis):
    def student(x, w, b, g):
        _, by_w, by_b = norm_backward(axis)(x, w, b, g)
        return g * w / np.sqrt(x.var(axis, keepdims=True) + 1e-5), by_w, by_b

    assert hints(student, layer)["x"] == (0.5, "μ and σ are taken for constants: they depend on x too")


# ---------------------------------------------------------------------- programs that fail


def test_an_error_of_the_program_is_reported():
    report = lab.grade(lambda x, w, b, g: g @ w.T, LINEAR)
    assert report.points == 0
    assert report.notes[0].startswith("it raised ValueError: matmul")
    assert report.notes[0].endswith("(called with arrays of shape (5, 3), (2, 3), (2,), (5, 2))")
    assert "it raised ZeroDivisionError" in str(lab.grade(lambda x, g: 1 / 0, nn.ReLU()))
    assert "it raised TypeError" in str(lab.grade(lambda x: x, nn.ReLU()))


def test_too_few_and_unknown_gradients():
    report = lab.grade(lambda x, w, b, g: (g @ w, g.T @ x), LINEAR)
    assert report.notes == ("it returned 2 gradients; expected 3, of x, weight, bias",)
    assert [mark.points for mark in report.marks] == [1, 1, 0]
    report = lab.grade(lambda x, w, b, g: {"x": g @ w, "w": g.T @ x}, LINEAR)
    assert report.notes == ("it returned gradients of w; the names are x, weight, bias",)


def test_writing_into_arguments_costs_the_pass_but_no_numbers():
    def student(x, weight, bias, grad_output):
        grads = grad_output @ weight, grad_output.T @ x, grad_output.sum(0)
        x *= 0
        return grads

    report = lab.grade(student, LINEAR)
    assert report.points == 3
    assert not report.passed
    assert report.notes[0].startswith("it writes into its arguments")


def test_the_layer_is_left_alone():
    layer = nn.BatchNorm1d(3)
    lab.grade(norm_backward(0), layer)
    assert layer.running_mean.tolist() == [0, 0, 0]
    assert layer.weight.dtype == np.float32
    assert layer.weight.grad is None


def test_other_inputs_other_numbers_the_same_marks():
    for seed in range(3):
        assert lab.grade(lambda x, w, b, g: (g @ w, g.T @ x, g.sum(0)), LINEAR, seed=seed).passed
    x = Tensor(np.ones((4, 2, 3)))
    assert not lab.grade(lambda x, w, b, g: (g @ w, g.T @ x, g.sum(0)), LINEAR, inputs=(x,)).passed


def test_the_notebook_shows_the_marks():
    page = lab.grade(lambda x, w, b, g: (g @ w, x.T @ g, g), LINEAR)._repr_html_()
    assert "Linear: 2 of 3" in page
    assert "transposed" in page


def test_what_cannot_be_marked_is_refused():
    with pytest.raises(ValueError, match=r"Dropout gives other numbers when it is run again; put it in eval"):
        lab.grade(lambda x, g: g, nn.Dropout(0.5))
    with pytest.raises(ValueError, match="gives other numbers when it is run again"):
        lab.grade(lambda x, g: g, nn.Dropout(0.5, rng=np.random.default_rng(0)))
    with pytest.raises(
        ValueError, match=r"Linear does not take inputs of shape \(4, 4\) .*; give arrays that it"
    ):
        lab.grade(lambda x, w, b, g: g, LINEAR, inputs=(np.ones((4, 4)),))
