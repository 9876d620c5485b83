"""grad and what is built on it: any order, any inputs and outputs, against closed forms."""

import math
from typing import Any

import numpy as np
import pytest

from microgradnet import Tensor, grad, hessian, hvp, jacobian, jvp, no_grad, vjp

X = np.array([0.3, -0.7, 1.1])
A = np.array([[1.0, 2.0, 0.5], [-1.0, 0.3, 2.0], [0.7, 0.1, -0.4]])


def leaf(data: Any, dtype: Any = None) -> Any:
    return Tensor(data, requires_grad=True, dtype=dtype)


# --------------------------------------------------------------------- grad


def test_nested_derivatives_of_a_power_to_fourth_order():
    x = leaf(1.5)
    y, expected = x**5, []
    for k in range(1, 5):
        (y,) = grad(y, x, create_graph=True)
        expected.append(math.perm(5, k) * 1.5 ** (5 - k))
        assert y.item() == pytest.approx(expected[-1], rel=1e-14)


@pytest.mark.parametrize(
    ("f", "derivatives"),
    [
        (np.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]),
        (np.exp, [np.exp] * 4),
        (np.log, [lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4]),
        (lambda x: 1 / x, [lambda x, k=k: (-1) ** k * math.factorial(k) / x ** (k + 1) for k in range(1, 5)]),
    ],
    ids=["sin", "exp", "log", "1/x"],
)
def test_four_orders_against_closed_forms(f, derivatives):
    x = leaf([0.7, 1.9])
    y = f(x)
    for derivative in derivatives:
        (y,) = grad(y, x, np.ones(2), create_graph=True)
        np.testing.assert_allclose(y.data, derivative(x.data), rtol=1e-13)


def test_the_result_of_create_graph_can_go_backward():
    x = leaf(3.0)
    (slope,) = grad(x**3, x, create_graph=True)
    assert x.grad is None
    slope.backward()
    assert x.grad == 18
    assert not grad(x**3, x)[0].requires_grad


def test_a_gradient_penalty():
    w = leaf([1.0, 2.0])
    x = leaf([3.0, 4.0])
    (gx,) = grad((w * x * x).sum(), x, create_graph=True)  # 2wx
    (gx * gx).sum().backward()  # Σ4w²x²
    assert w.grad.tolist() == [8 * 1 * 9, 8 * 2 * 16]
    assert x.grad.tolist() == [8 * 1 * 3, 8 * 4 * 4]


def test_with_respect_to_an_intermediate():
    x = leaf([1.0, 2.0])
    h = x * x
    y = (h * h * 3).sum()
    gh, gx = grad(y, [h, x])
    assert gh.tolist() == [6.0, 24.0]
    assert gx.tolist() == [12.0, 96.0]
    assert grad(y, h)[0].tolist() == [6.0, 24.0]
    assert x.grad is None
    assert grad(h, h, [5.0, 6.0])[0].tolist() == [5.0, 6.0]


def test_several_outputs_and_inputs_and_one_of_them_twice():
    a, b = leaf(2.0), leaf(3.0)
    results = grad([a * b, a * a], [a, b, a], [1.0, 10.0])
    assert isinstance(results, tuple)
    assert [g.item() for g in results] == [43.0, 2.0, 43.0]
    y = a * b
    assert [g.item() for g in grad([y, y], [a])] == [6.0]
    assert [g.item() for g in grad([y, y], [a], create_graph=True)] == [6.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_results_do_not_share_memory(create_graph):
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    start = Tensor([5.0, 6.0])
    ga, again, gb = grad(a + b, [a, a, b], start, create_graph=create_graph)
    with no_grad():
        ga *= 100
    assert again.tolist() == gb.tolist() == start.tolist() == [5.0, 6.0]


def test_the_gradient_that_arrives_may_be_a_graph():
    x, v = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (g,) = grad(x * x, x, v, create_graph=True)  # 2xv
    gx, gv = grad(g.sum(), [x, v])
    assert gx.tolist() == [6.0, 8.0]
    assert gv.tolist() == [2.0, 4.0]


def test_what_does_not_depend_is_an_error_by_position_and_name():
    x, other = leaf([1.0]), Tensor([2.0], requires_grad=True, name="bias")
    y = (x * x).sum()
    with pytest.raises(
        ValueError, match=r"do not depend on input 1 'bias'.*leave it out, or .*allow_unused=True"
    ):
        grad(y, [x, other])
    with pytest.raises(ValueError, match=r"do not depend on input 0, or not outside no_grad\(\);"):
        grad(5.0, x)
    gx, unused = grad(y, [x, other], allow_unused=True)
    assert gx.tolist() == [2.0]
    assert unused is None


def test_a_comparison_and_a_detach_cut_the_dependence():
    x = leaf([1.0, 2.0])
    for y in ((x > 1) * 3.0, x.detach() * 2, (x * 1.0).argmax()):
        assert grad(y, x, np.ones(y.shape), allow_unused=True) == (None,)


@pytest.mark.parametrize("x", [Tensor([1.0]), Tensor([1.0], name="c"), np.ones(1), 1.0])
def test_an_input_must_require_a_gradient(x):
    with pytest.raises(
        ValueError, match=r"grad\(\): input 0.* requires no gradient; create it with requires_grad=True"
    ):
        grad(leaf([1.0]).sum(), x)


def test_wrong_gradients_that_arrive():
    x = leaf([1.0, 2.0])
    with pytest.raises(
        ValueError, match=r"grad\(\): the output has shape \(2,\), so there is no single derivative"
    ):
        grad(x * 2, x)
    with pytest.raises(ValueError, match=r"the gradient has shape \(3,\), the output it belongs to \(2,\)"):
        grad(x * 2, x, np.ones(3))
    with pytest.raises(ValueError, match=r"2 outputs but 1 grad_outputs; give one for each"):
        grad([x.sum(), x.sum()], x, [1.0])


# --------------------------------------------------------------------- products and matrices


def f(x):
    return np.sin(A @ x) * x


def f_jacobian(x):
    return np.diag(np.sin(A @ x)) + (np.cos(A @ x) * x)[:, None] * A


def scalar(x):
    return np.exp(-(x * x).sum()) + (A @ x * x).sum()


def scalar_gradient(x):
    return -2 * x * np.exp(-x @ x) + (A + A.T) @ x


def scalar_hessian(x):
    return np.exp(-x @ x) * (4 * np.outer(x, x) - 2 * np.eye(3)) + A + A.T


@pytest.mark.parametrize("make", [Tensor, leaf], ids=["constant", "leaf"])
def test_products_and_matrices_against_closed_forms(make):
    x, v = make(X.copy()), np.array([0.2, -1.0, 3.0])
    y, (row,) = vjp(f, x, v)
    np.testing.assert_allclose(y.data, f(X), rtol=1e-14)
    np.testing.assert_allclose(row.data, v @ f_jacobian(X), rtol=1e-13)
    for tangent in (v, Tensor(v), v.tolist()):
        y, column = jvp(f, [x], [tangent])
        np.testing.assert_allclose(y.data, f(X), rtol=1e-14)
        np.testing.assert_allclose(column.data, f_jacobian(X) @ v, rtol=1e-13)
    np.testing.assert_allclose(jacobian(f, x).data, f_jacobian(X), rtol=1e-13)
    np.testing.assert_allclose(hessian(scalar, x).data, scalar_hessian(X), rtol=1e-12)
    slope, product = hvp(scalar, x, v)
    np.testing.assert_allclose(slope.data, scalar_gradient(X), rtol=1e-13)
    np.testing.assert_allclose(product.data, scalar_hessian(X) @ v, rtol=1e-12)
    assert x.grad is None


def test_several_inputs():
    a, b = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    y, (ga, gb) = vjp(lambda a, b: a * b, (a, b), [1.0, 10.0])
    assert (y.tolist(), ga.tolist(), gb.tolist()) == ([3.0, 8.0], [3.0, 40.0], [1.0, 20.0])
    y, t = jvp(lambda a, b: a * b, (a, b), ([1.0, 0.0], [0.0, 1.0]))
    assert (y.tolist(), t.tolist()) == ([3.0, 8.0], [3.0, 2.0])


def test_zeros_where_nothing_depends_or_everything_is_affine():
    x = Tensor(X)
    assert vjp(lambda x: Tensor([1.0]), x)[1][0].tolist() == [0.0] * 3
    assert jvp(lambda x: Tensor([1.0, 2.0]), x, X)[1].tolist() == [0.0, 0.0]
    assert jacobian(lambda x: Tensor([1.0, 2.0]), x).tolist() == [[0.0] * 3] * 2
    for affine in (
        lambda x: x.sum(),
        lambda x: (2 * x + 1).sum(),
        lambda x: (A @ x)[0],
        lambda x: Tensor(1.0),
    ):
        assert hessian(affine, x).tolist() == [[0.0] * 3] * 3
        assert hvp(affine, x, X)[1].tolist() == [0.0] * 3
    partly = hessian(lambda x: x[0] * x[0] + x[1], x)
    assert partly.tolist() == [[2.0, 0.0, 0.0], [0.0] * 3, [0.0] * 3]
    assert jvp(lambda x: A @ x, x, X)[1].tolist() == pytest.approx((A @ X).tolist())


def test_shapes_and_dtypes():
    x = Tensor(np.ones((2, 3), np.float32))
    assert jacobian(lambda x: x.sum(0), x).shape == (3, 2, 3)
    assert hessian(lambda x: (x * x).sum(), x).shape == (2, 3, 2, 3)
    assert hessian(lambda x: (x * x).sum(), x).dtype == np.float32
    assert jacobian(lambda x: x[:, :0], x).shape == (2, 0, 2, 3)
    assert hessian(lambda x: x * x * x, Tensor(2.0)).item() == 12
    assert jacobian(lambda x: x.reshape(6), x).tolist() == np.eye(6).reshape(6, 2, 3).tolist()


def test_a_jacobian_is_a_graph_where_it_is_asked_to_be():
    x = leaf([1.0, 2.0])
    j = jacobian(lambda x: x * x * x, x, create_graph=True)
    assert grad(j.sum(), x)[0].tolist() == [6.0, 12.0]
    assert not jacobian(lambda x: x * x, x).requires_grad


def test_the_caller_s_graph_goes_on_through_a_product():
    x = leaf([1.0, 2.0])
    _, (g,) = vjp(lambda x: (x * x * x).sum(), x, create_graph=True)
    g.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vjp(f, X), "input 0 is ndarray; give a Tensor"),
        (lambda: jacobian(f, Tensor([1, 2, 3])), "only floating-point tensors have gradients, not int64"),
        (lambda: jacobian(f, (Tensor(X), Tensor(X))), r"jacobian\(\): takes a function of one tensor, and 2"),
        (lambda: hvp(scalar, (Tensor(X), Tensor(X)), X), r"hvp\(\): takes a function of one tensor, and 2"),
        (lambda: vjp(lambda x: 1.0, Tensor(X)), "returned float; return one Tensor"),
        (lambda: jvp(f, [Tensor(X)], (X, X)), "1 inputs but 2 tangents; give one for each"),
        (lambda: jvp(f, Tensor(X), X[:2]), r"the gradient has shape \(2,\), the output it belongs to \(3,\)"),
        (lambda: hessian(f, Tensor(X)), r"the output has shape \(3,\), so there is no single derivative"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
