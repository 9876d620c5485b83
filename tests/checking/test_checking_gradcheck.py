"""gradcheck: right rules pass, wrong ones are found and diagnosed; kinks are named; bad input."""

import json

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import Primitive, Tensor, gradcheck, ops
from microgradnet.checking import GradientMismatch
from microgradnet.checking.differences import by_complex_step, derivative, sampled
from microgradnet.ops.table import OPERATIONS, draw

RNG = np.random.default_rng(1)
X = RNG.standard_normal((3, 4))
SQUARE = RNG.standard_normal((3, 3))


def wrong(rule, forward=np.tanh):
    return Primitive("wrong", forward, rule)


def found(f, inputs, **options):
    report = gradcheck(f, inputs, raise_exception=False, **options)
    assert not report
    return report


# ---------------------------------------------------------------------- right rules


ROWS = [row for row in OPERATIONS if row.differentiable and row.cases[0].shapes is None]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_every_elementwise_operation_passes_to_second_order(row):
    arrays = draw(row, ((2, 3),) * len(row.arguments.split()), np.random.default_rng(2), np.float64)
    report = gradcheck(lambda *xs: row(*xs, **row.cases[0].keywords), arrays)
    assert report.ok
    assert not report.kinks
    assert report.error < 1e-6


def test_an_analytic_function_is_checked_by_the_complex_step():
    report = gradcheck(lambda x: (x * x).exp() / (1 + x), Tensor([0.3, 0.7]), order=1)
    assert report.method == "complex step"
    assert report.error < 1e-12
    assert gradcheck(ops.absolute, X).method == "differences"


def test_the_complex_step_is_refused_where_it_contradicts_the_differences():
    known = derivative(lambda t: abs(1.0 + t), magnitude=1.0)
    assert by_complex_step(lambda t: np.abs(1.0 + t), known, 1.0) is known


def test_third_order():
    assert gradcheck(lambda x: x**4, Tensor([1.0, 2.0]), order=3).order == 3


def test_integers_and_several_outputs():
    def f(x, labels, w):
        return [ops.take_rows(x @ w, labels), x.sum()]

    assert gradcheck(f, [X, np.array([0, 2, 1]), RNG.standard_normal((4, 3))])


def test_the_inputs_stay_as_they_are():
    x = Tensor(X, requires_grad=True)
    before = x.data.copy()
    gradcheck(ops.tanh, x)
    assert x.grad is None
    assert np.array_equal(x.data, before)


# ---------------------------------------------------------------------- wrong rules


@pytest.mark.parametrize(
    ("rule", "diagnosis"),
    [
        (lambda g, y, _x: 2 * g * (1 - y * y), "it is 2 × the true gradient: a factor 2 too much"),
        (lambda g, y, _x: 0.5 * g * (1 - y * y), "it is ½ × the true gradient: a factor 2 is missing"),
        (lambda g, y, _x: -g * (1 - y * y), "it is −1 × the true gradient: the sign is wrong"),
        (lambda g, y, _x: 1.001 * g * (1 - y * y), "it is 1.001 × the true gradient: a constant factor"),
        (lambda g, y, _x: 0 * g * y, "it is zero: the whole term is missing"),
        (lambda g, y, _x: g * (1 - y), ""),
    ],
)
def test_a_wrong_rule_is_found_and_diagnosed(rule, diagnosis):
    report = found(wrong(rule), X)
    assert report.failed == "gradcheck failed at order 1"
    assert report.diagnosis == diagnosis
    assert report.wrong == X.size


def test_the_worst_index_and_both_values_are_reported():
    def rule(g, y, _x):
        scale = np.ones((3, 4))
        scale[1, 2] = 3.0
        return g * (1 - y * y) * scale

    with pytest.raises(GradientMismatch) as caught:
        gradcheck(wrong(rule), Tensor(X, requires_grad=True, name="z"))
    worst = caught.value.report.worst
    assert (worst.index, worst.input, caught.value.report.wrong) == ((1, 2), "input 0 'z'", 1)
    assert worst.rules == pytest.approx(3 * worst.differences)
    assert "worst of 1: input 0 'z'[1, 2]: by the rules" in str(caught.value)
    assert isinstance(caught.value, AssertionError)


def test_a_plain_sum_would_not_see_it():
    """Rows of a softmax add up to 1, so the sum of all has no gradient: a rule that gives 0 would pass."""
    softmax = Primitive("softmax", lambda x: ops.softmax(x, -1), lambda g, _y, _x: 0 * g)
    assert gradcheck(lambda x: softmax(x).sum(), X, order=1)
    assert found(softmax, X, order=1).diagnosis == "it is zero: the whole term is missing"


def test_a_rule_that_is_right_once_but_has_no_derivative():
    cut = wrong(lambda g, y, _x: g * Tensor(1 - (y.data if isinstance(y, Tensor) else y) ** 2))
    report = found(cut, X)
    assert report.failed == "gradcheck failed at order 2"


def test_a_transposed_gradient():
    product = Primitive("product", lambda a, b: a * b, lambda g, _y, _a, b: (g * b).T, None)
    report = found(lambda a: product(a, SQUARE), RNG.standard_normal((3, 3)), order=1)
    assert report.diagnosis == "it is the transpose of the true gradient"


def test_an_error_as_small_as_a_hundred_thousandth_is_found():
    found(wrong(lambda g, y, _x: 1.00001 * g * (1 - y * y)), X)
    found(Primitive("wrong", lambda x: np.maximum(x, 0), lambda g, _y, x: 1.00001 * g * (x > 0)), X)


def test_rounding_is_no_mistake():
    """f adds a large constant, and loses digits by it."""
    report = gradcheck(lambda x: (1e3 + ops.softplus(x)) - 1e3, X, order=1)
    assert report.ok
    assert report.method == "differences"


# ---------------------------------------------------------------------- kinks


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (ops.relu, [0.0, 1.0, -1.0]),
        (ops.absolute, [1.0, 0.0]),
        (lambda x: ops.leaky_relu(x, slope=0.1), [0.0, 2.0]),
        (lambda x: ops.max(x, -1), [[1.0, 1.0, 0.5]]),
        (lambda x: ops.clip(x, -1.0, 1.0), [1.0, 0.0, -1.0]),
        (lambda x: ops.maximum(x, 0.5), [0.5, 3.0]),
        (ops.sign, [0.0, 1.0]),
        (ops.sqrt, [0.0, 1.0]),
    ],
)
def test_a_kink_is_named_and_no_mistake(f, x):
    report = gradcheck(f, Tensor(x))
    assert report.ok
    assert report.kinks
    assert "not differentiable: input 0[" in str(report)


def test_a_kink_says_what_both_sides_say():
    report = gradcheck(ops.absolute, Tensor([2.0, 0.0]), order=1)
    assert list(report.kinks) == ["input 0[1] = 0"]
    left, right, rule = [float(word.split()[-1]) for word in report.kinks["input 0[1] = 0"].split(", ")]
    assert left == pytest.approx(-right)
    assert rule == 0


def test_beside_a_kink_the_derivative_is_found():
    assert not gradcheck(ops.relu, Tensor([1e-5, -1e-5])).kinks


def test_a_value_at_a_kink_that_belongs_to_neither_side_is_a_mistake():
    relu = Primitive(
        "relu", lambda x: np.maximum(x, 0), lambda g, _y, x: g * (ops.greater(x, 0) + 5 * ops.equal(x, 0))
    )
    report = found(relu, Tensor([0.0, 1.0]), order=1)
    assert report.worst is not None
    assert report.worst.index == (0,)


def test_a_wrong_rule_beside_a_kink_is_found():
    relu = Primitive("relu", lambda x: np.maximum(x, 0), lambda g, y, _x: 2 * g * ops.greater(y, 0))
    report = found(relu, Tensor([0.0, 1.0, -1.0]), order=1)
    assert report.diagnosis == "it is 2 × the true gradient: a factor 2 too much"


# ---------------------------------------------------------------------- what is reported


def test_the_report_as_json():
    content = json.loads(gradcheck(ops.tanh, X).to_json())
    assert content["ok"] is True
    content = json.loads(found(wrong(lambda g, y, _x: g), X).to_json())
    assert content["ok"] is False
    assert len(content["worst"]["index"]) == 2


def test_the_seed_decides_everything():
    f = wrong(lambda g, y, _x: g * (1 - y))
    assert str(found(f, X, seed=3)) == str(found(f, X, seed=3))


def test_a_large_input_is_sampled_and_says_so(monkeypatch):
    monkeypatch.setattr("microgradnet.checking.gradient_check.SAMPLE", 50)
    report = found(wrong(lambda g, y, _x: g), np.linspace(-1, 1, 2000), order=1)
    assert report.notes == ["input 0: 50 of 2,000 entries were looked at"]


def test_a_sample_holds_the_largest():
    sizes = np.zeros(1000)
    sizes[7] = 5.0
    assert 7 in sampled(1000, 8, np.random.default_rng(0), sizes)


# ---------------------------------------------------------------------- bad input


def changing():
    rng = np.random.default_rng(0)
    return lambda x: x * rng.standard_normal()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: gradcheck(ops.exp, Tensor([1.0], dtype=np.float32)),
            TypeError,
            "whose rounding hides any error below about 1%; give float64, x.astype(float)",
        ),
        (
            lambda: gradcheck(lambda x: x.astype(np.float32), X),
            TypeError,
            "gradcheck: f returned float32; something in it is not float64",
        ),
        (
            lambda: gradcheck(ops.exp, np.array([1, 2])),
            ValueError,
            "gradcheck: no input is floating-point, there is nothing to differentiate",
        ),
        (
            lambda: gradcheck(changing(), X),
            ValueError,
            "f called twice with the same inputs gives two values",
        ),
        (
            lambda: gradcheck(lambda x: x.data, X),
            TypeError,
            "f returned ndarray; return a Tensor, or several",
        ),
        (lambda: gradcheck(ops.exp, X, order=0), ValueError, "gradcheck: order must be at least 1, not 0"),
        (
            lambda: gradcheck(lambda x: mg.Tensor(np.full(2, np.inf)) * x, np.ones(2)),
            ValueError,
            "gradcheck: output 0 of f is not finite at this point",
        ),
    ],
)
def test_bad_input(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
