"""Random small graphs with reuse: backward equals finite differences, and runs are equal to the bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from microgradnet import Tensor, grad, hvp

UNARY: list[Callable[..., Any]] = [
    np.tanh,
    np.sin,
    np.cos,
    lambda x: -x,
    lambda x: np.exp(-x * x),
    lambda x: x * x,
    lambda x: 1 / (1 + x * x),
]
BINARY: list[Callable[..., Any]] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: np.tanh(a) * b,
    lambda a, b: a / (2 + np.sin(b)),
]
SHAPED: list[Callable[..., Any]] = [
    lambda a: a.T.reshape(a.shape),
    lambda a: a.sum(0, keepdims=True),
    lambda a: a[:, ::-1],
    lambda a: np.concatenate([a[:, 1:], a[:, :1]], axis=1),
    lambda a: a.mean(1, keepdims=True),
    lambda a: np.swapaxes(a, 0, 1) @ a if a.shape[0] > 1 and a.shape[1] == 2 else a,
]
OPERATIONS: dict[str, list[Callable[..., Any]]] = {"unary": UNARY, "shaped": SHAPED, "binary": BINARY}
SHAPES = [(2, 2), (1, 2), (2, 1), (1, 1)]

step = st.one_of(
    st.tuples(st.just("unary"), st.integers(0, len(UNARY) - 1), st.integers(0, 99)),
    st.tuples(st.just("shaped"), st.integers(0, len(SHAPED) - 1), st.integers(0, 99)),
    st.tuples(st.just("binary"), st.integers(0, len(BINARY) - 1), st.integers(0, 99), st.integers(0, 99)),
)
programs = st.tuples(
    st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3),
    st.lists(step, min_size=1, max_size=10),
    st.integers(0, 2**32 - 1),
)


def run(steps, inputs):
    """Evaluate on arrays or tensors alike. Any value may be used again, and the result uses them all."""
    values = list(inputs)
    for kind, which, *positions in steps:
        operands = [values[p % len(values)] for p in positions]
        values.append(OPERATIONS[kind][which](*operands))
    total = values[0].sum()
    for i, value in enumerate(values[1:]):
        total = total + (value * (0.5 + i)).mean()
    return total


def directional(f, points, directions, h):
    """Return the derivative of f along the directions, by a central difference of fourth order."""

    def at(t):
        return f([p + t * d for p, d in zip(points, directions, strict=True)])

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def prepared(program):
    shapes, steps, seed = program
    rng = np.random.default_rng(seed)
    points = [rng.uniform(-1, 1, shape) for shape in shapes]
    directions = [rng.choice([-1.0, 1.0], shape) for shape in shapes]
    return steps, points, directions


@given(programs)
def test_backward_equals_finite_differences(program):
    steps, points, directions = prepared(program)
    leaves: list[Any] = [Tensor(p, requires_grad=True) for p in points]
    run(steps, leaves).backward()
    mine = sum(np.sum(x.grad * d) for x, d in zip(leaves, directions, strict=True))
    size = sum(np.abs(x.grad).sum() for x in leaves)
    with np.errstate(all="ignore"):
        numeric = directional(lambda inputs: run(steps, inputs), points, directions, 1e-3)
    assert abs(mine - numeric) <= 1e-6 * (1 + size)


@given(programs)
def test_hessian_vector_products_equal_differences_of_gradients(program):
    steps, points, directions = prepared(program)
    constants = points[1:]
    _, product = hvp(lambda x: run(steps, [x, *constants]), Tensor(points[0]), directions[0])

    def slope(inputs):
        x = Tensor(inputs[0], requires_grad=True)
        return grad(run(steps, [x, *constants]), x)[0].data

    numeric = directional(slope, points[:1], directions[:1], 1e-3)
    assert np.abs(product.data - numeric).max() <= 1e-5 * (1 + np.abs(product.data).max())


@given(programs)
def test_twice_the_same_program_is_the_same_to_the_bit(program):
    steps, points, _ = prepared(program)
    results = []
    for _ in range(2):
        leaves: list[Any] = [Tensor(p, requires_grad=True) for p in points]
        y = run(steps, leaves)
        y.backward()
        graphs = grad(y, leaves, create_graph=True)
        results.append([a.tobytes() for a in (y.data, *[x.grad for x in leaves], *[g.data for g in graphs])])
        for x, g in zip(leaves, graphs, strict=True):
            assert x.grad is not None
            assert x.grad.tobytes() == g.data.tobytes()  # the same rules, fed with tensors
    assert results[0] == results[1]


@given(programs)
def test_forward_on_tensors_equals_forward_on_arrays_and_changes_no_input(program):
    steps, points, _ = prepared(program)
    before = [p.copy() for p in points]
    y = run(steps, [Tensor(p, requires_grad=True) for p in points])
    y.backward()
    assert y.item() == run(steps, points)
    assert [p.tobytes() for p in points] == [p.tobytes() for p in before]
