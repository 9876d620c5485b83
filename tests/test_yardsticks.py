"""Numbers that other people computed and published, each with its source."""

import numpy as np
import pytest

from microgradnet import Tensor, delta, grad, no_grad


def leaf(data):
    return Tensor(data, requires_grad=True)


def agrees(values, published):
    """Compare with what was published, to the last digit of each number."""
    numbers = published.split()
    decimals = [len(number.partition(".")[2]) for number in numbers]
    assert [f"{v:.{n}f}" for v, n in zip(np.ravel(values), decimals, strict=True)] == numbers


def test_micrograd_readme():
    """The expression of the README of https://github.com/karpathy/micrograd ("Example usage")."""
    a, b = leaf(-4.0), leaf(2.0)
    c = a + b
    d = a * b + b**3
    c = c + (c + 1)
    c = c + (1 + c + (-a))
    d = d + (d * 2 + (b + a).relu())
    d = d + (3 * d + (b - a).relu())
    e = c - d
    f = e**2
    g = f / 2.0
    g = g + 10.0 / f
    g.backward()
    agrees([g.data, a.grad, b.grad], "24.7041 138.8338 645.5773")


def test_micrograd_issue_53():
    """A reused graph: https://github.com/karpathy/micrograd/issues/53."""
    a, b, d = leaf(3.0), leaf(2.0), leaf(1.0)
    c = a + b
    e = c * d
    e.backward()
    assert a.grad == 1
    e.backward()
    assert a.grad == 2


@pytest.mark.parametrize("order", ["scalars", "matrices"])
def test_mazur(order):
    """M. Mazur, "A step by step backpropagation example", https://mattmazur.com/2015/03/17/."""
    x, t = np.array([0.05, 0.10]), np.array([0.01, 0.99])
    w = np.array([0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55])
    b1, b2 = 0.35, 0.60
    if order == "matrices":
        first, second = leaf(w[:4].reshape(2, 2)), leaf(w[4:].reshape(2, 2))
        hidden = (first @ x + b1).sigmoid()
        out = (second @ hidden + b2).sigmoid()
        error = 0.5 * ((t - out) ** 2).sum()
        parameters = [first, second]
    else:
        parameters = [leaf(v) for v in w]
        w1, w2, w3, w4, w5, w6, w7, w8 = parameters
        h1 = (w1 * x[0] + w2 * x[1] + b1).sigmoid()
        h2 = (w3 * x[0] + w4 * x[1] + b1).sigmoid()
        o1 = (w5 * h1 + w6 * h2 + b2).sigmoid()
        o2 = (w7 * h1 + w8 * h2 + b2).sigmoid()
        error = 0.5 * (t[0] - o1) ** 2 + 0.5 * (t[1] - o2) ** 2
        hidden, out = np.stack([h1, h2]), np.stack([o1, o2])
    error.backward()

    gradients = np.concatenate([p.grad.ravel() for p in parameters])
    with no_grad():
        for p in parameters:
            p[...] = p.data - 0.5 * p.grad
    updated = np.concatenate([p.data.ravel() for p in parameters])
    agrees(hidden.data, "0.593269992 0.596884378")
    agrees(out.data, "0.75136507 0.772928465")
    agrees(error.data, "0.298371109")
    agrees(gradients[4:], "0.0821670406 0.0826676278 -0.0226025405 -0.0227402422")
    agrees(updated[4:], "0.35891648 0.408666186 0.51130127 0.561370121")
    agrees(updated[:4], "0.149780716 0.19956143 0.24975114 0.29950229")


def test_cs231n_circuit():
    """f = (x + y)·z, CS231n notes, https://cs231n.github.io/optimization-2/."""
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    f = (x + y) * z
    f.backward()
    assert f.item() == -12
    assert (x.grad, y.grad, z.grad) == (-4, -4, 3)


def test_cs231n_neuron():
    """A sigmoid neuron of two inputs, https://cs231n.github.io/optimization-2/."""
    w, x = leaf([2.0, -3.0, -3.0]), leaf([-1.0, -2.0])
    (w[0] * x[0] + w[1] * x[1] + w[2]).sigmoid().backward()
    agrees(x.grad, "0.3932238665 -0.5898357997")
    agrees(w.grad, "-0.1966119332 -0.3932238665 0.1966119332")


def test_cs231n_neuron_by_delta():
    """The same neuron by the hand-derived equations, from δ = 1 at its output."""
    x, neuron = np.array([[-1.0, -2.0]]), delta.Linear(np.array([[2.0, -3.0]]), np.array([-3.0]))
    z = neuron.forward(x)
    a = delta.Sigmoid().forward(z)
    back, _ = delta.Sigmoid().backward(np.ones((1, 1)), z, a)
    back, gradients = neuron.backward(back, x, z)
    agrees(back, "0.3932238665 -0.5898357997")
    agrees(np.append(gradients["weight"], gradients["bias"]), "-0.1966119332 -0.3932238665 0.1966119332")


@pytest.mark.parametrize(
    "square", [lambda x: x * x, lambda x: x**2, np.square], ids=["x*x", "x**2", "np.square"]
)
def test_four_derivatives_of_a_gaussian(square):
    """exp(−x²) at 0, https://github.com/HIPS/autograd/issues/116."""
    x = leaf(0.0)
    y = np.exp(-square(x))
    orders = []
    for _ in range(4):
        (y,) = grad(y, x, create_graph=True)
        orders.append(y.item())
    assert orders == [0, -2, 0, 12]
