"""Random straight-line programs of tensor operations, which every executor has to run like eager."""

import numpy as np
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import ops

UNARY = [ops.neg, ops.tanh, ops.sigmoid, ops.relu, ops.softplus, ops.sin, np.abs]
UNARY += [
    lambda x: x * 0.5,
    lambda x: 1 - x,
    lambda x: x**2,
    lambda x: x.T,
    lambda x: x.reshape(-1, 2),
    lambda x: x[::-1],
    lambda x: x.softmax(-1),
    lambda x: x - x.mean(0),
    lambda x: x - x.max(1, keepdims=True),
]
BINARY = [ops.add, ops.sub, ops.mul, ops.maximum, lambda a, b: a @ b.T, lambda a, b: np.where(a > b, a, b)]


@st.composite
def programs(draw):
    """Draw a program: which operation on which earlier values."""
    lines = []
    for count in range(2, draw(st.integers(4, 16))):
        table = draw(st.sampled_from([UNARY, BINARY]))
        which = draw(st.integers(0, len(table) - 1))
        lines.append((table is BINARY, which, draw(st.tuples(*[st.integers(0, count - 1)] * 2))))
    return lines


def bounded(y):
    """Scale a value below 1, so that differences in the last places do not grow."""
    return y / (1 + np.abs(y.detach()).max())


def run(lines, x, w, scaled=lambda y: y):
    """Run a program on x and w, and step w down its gradient.

    Where shapes do not fit, an operation is left out.
    """
    values = [mg.Tensor(x, requires_grad=True), w]
    for binary, which, (i, j) in lines:
        a, b = values[i % len(values)], values[j % len(values)]
        if binary and a.shape != b.shape:
            continue
        values.append(scaled(BINARY[which](a, b) if binary else UNARY[which](a)))
    last = values[-1] * 1.0  # no view of w, which changes
    loss = sum([(v * v).mean() for v in values])
    (g,) = mg.grad(loss, values[0])
    w.grad = None
    loss.backward()
    with mg.no_grad():
        w -= w.grad * 0.01
    return loss, g, last
