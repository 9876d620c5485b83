"""Kinks, ties, edges and extreme values: the conventions of the table, and what must stay finite."""

import math

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import ops
from microgradnet.ops.table import SPECIAL_POINTS

INF = math.inf


def leaf(data, dtype=float):
    return mg.Tensor(np.array(data, dtype), requires_grad=True)


def gradient(f, *xs, v=None):
    """Return the gradients of f at arrays; the same in array mode and as graphs."""
    leaves = [leaf(x) for x in xs]
    y = f(*leaves)
    v = np.ones(y.shape) if v is None else v
    fast = mg.grad(y, leaves, v)
    graph = mg.grad(y, leaves, v, create_graph=True)
    for g, h in zip(fast, graph, strict=True):
        np.testing.assert_array_equal(g.data, h.data)
    return fast[0].data if len(xs) == 1 else [g.data for g in fast]


# ------------------------------------------------------------------------ the table's points


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("point", SPECIAL_POINTS, ids=lambda point: f"{point.expression} at {point.at}")
def test_special_point(point, dtype):
    leaves = [leaf(x, dtype) for x in point.at]
    with np.errstate(divide="ignore" if point.warns else "raise"):
        y = point.call(*leaves)
    np.testing.assert_allclose(y.data, np.array(point.value), rtol=1e-7, atol=1e-37)
    for create_graph in (False, True):
        gradients = mg.grad(y, leaves, np.ones(y.shape), create_graph=create_graph)
        for g, expected in zip(gradients, point.gradients, strict=True):
            assert g.dtype == dtype
            np.testing.assert_allclose(g.data, np.array(expected), rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("point", [p for p in SPECIAL_POINTS if p.warns], ids=lambda point: point.expression)
def test_numpy_warns_where_the_table_says_so(point):
    with pytest.raises(FloatingPointError):
        point.call(*[leaf(x) for x in point.at])


# -------------------------------------------------------------------------------------- ties


def test_max_shares_evenly_among_ties_on_several_axes():
    x = np.array([[[3.0, 1.0], [3.0, 0.0]], [[0.0, 2.0], [1.0, 2.0]]])
    assert gradient(lambda t: t.max(axis=(1, 2)), x).tolist() == [[[0.5, 0], [0.5, 0]], [[0, 0.5], [0, 0.5]]]
    assert gradient(lambda t: t.max(axis=(0, -1), keepdims=True), x).tolist() == [
        [[1, 0], [1, 0]],
        [[0, 0], [0, 0]],
    ]
    assert gradient(lambda t: t.min(), np.zeros((2, 2))).tolist() == [[0.25, 0.25], [0.25, 0.25]]


def test_ties_through_broadcasting_add_up():
    a, b = gradient(ops.maximum, np.array([[1.0, 2.0]]), np.array([[1.0], [0.0]]))
    assert a.tolist() == [[1.5, 2.0]]
    assert b.tolist() == [[0.5], [0.0]]


def test_clip_with_open_sides():
    x = [-5.0, 0.0, 5.0]
    assert gradient(lambda t: t.clip(-1, None), x).tolist() == [0, 1, 1]
    assert gradient(lambda t: t.clip(None, 1), x).tolist() == [1, 1, 0]
    assert ops.clip(mg.Tensor([-INF, 0.0]), None, 1).tolist() == [-INF, 0.0]
    assert mg.Tensor([-5, 5]).clip(0).tolist() == [0, 5]
    assert mg.Tensor([-5, 5]).clip(0).dtype == int


# ------------------------------------------------------------------------------------- edges


@pytest.mark.parametrize(
    "f",
    [
        ops.sqrt,
        lambda x: x**0.5,
        lambda x: x**0.25,
        lambda x: ops.power(x, mg.Tensor(0.5)),
        lambda x: ops.power(x, mg.Tensor(0.5, requires_grad=True)),
        lambda x: ops.log(ops.where(x > 0, x, 1)),
        lambda x: ops.norm(ops.expand_dims(x, 1), axis=1),
        lambda x: ops.std(ops.stack([x, -x], 1), axis=1),
    ],
)
def test_the_unselected_side_of_where_is_silent_to_second_order(f):
    x = leaf([0.0, 4.0])
    y = ops.where(x > 0, f(x), x)
    (slope,) = mg.grad(y.sum(), x, create_graph=True)
    (curvature,) = mg.grad((slope * slope).sum(), x)
    one = leaf([4.0])
    (alone,) = mg.grad(f(one).sum(), one, create_graph=True)
    (alone_again,) = mg.grad((alone * alone).sum(), one)
    np.testing.assert_allclose(slope.data, [1.0, alone.item()])
    np.testing.assert_allclose(curvature.data, [0.0, alone_again.item()], atol=1e-14)


def test_division_by_zero_on_the_unselected_side():
    a, b = leaf([1.0, 1.0]), leaf([0.0, 2.0])
    with np.errstate(divide="ignore"):
        y = ops.where(b > 0, a / b, 0)
    assert y.tolist() == [0.0, 0.5]
    for create_graph in (False, True):
        g, h = mg.grad(y.sum(), [a, b], create_graph=create_graph)
        assert g.tolist() == [0.0, 0.5]
        assert h.tolist() == [0.0, -0.25]


@pytest.mark.parametrize("f", [ops.norm, ops.std])
def test_second_derivatives_at_the_origin_are_zero(f):
    assert mg.hessian(f, mg.Tensor([0.0, 0.0, 0.0])).data.tolist() == np.zeros((3, 3)).tolist()


def test_std_of_equal_elements_is_exactly_zero_whatever_the_mean_rounds_to():
    x = leaf(np.full((4, 7), 0.1), np.float32)
    assert x.std(axis=1).tolist() == [0, 0, 0, 0]
    assert x.var().item() == 0
    (g,) = mg.grad(x.std(axis=1).sum(), x)
    assert not g.data.any()


@pytest.mark.parametrize("square", [lambda x: x * x, lambda x: x**2], ids=["x*x", "x**2"])
def test_derivatives_of_the_bell_curve_at_zero(square):
    x = leaf(0.0)
    y = ops.exp(-square(x))
    found = []
    for _ in range(4):
        (y,) = mg.grad(y, x, create_graph=True)
        found.append(y.item())
    assert found == [0, -2, 0, 12]


def test_powers_have_all_their_derivatives_at_zero():
    for n, expected in [(0, [1, 0, 0]), (1, [0, 1, 0]), (2, [0, 0, 2]), (3, [0, 0, 0, 6])]:
        x = leaf(0.0)
        y = x**n
        found = [y.item()]
        for _ in expected[1:]:
            (slope,) = mg.grad(y, x, create_graph=True, allow_unused=True)
            y = x * 0 if slope is None else slope  # a constant: its derivative is 0
            found.append(y.item())
        assert found == expected, n


def test_powers_of_negative_numbers():
    assert gradient(lambda x: x**3, [-2.0]).tolist() == [12.0]
    assert gradient(lambda x: x**-2, [-2.0]).tolist() == [0.25]


def test_mixed_second_derivatives_of_a_tensor_power():
    (mixed,) = mg.grad(mg.grad((a := leaf(3.0)) ** (b := leaf(0.0)), a, create_graph=True), b)
    assert mixed.item() == pytest.approx(1 / 3)
    a, b = leaf(3.0), leaf(1.0)  # b = 1 is where the rule changes its form
    (da,) = mg.grad(a**b, a, create_graph=True)
    daa, dab = mg.grad(da, [a, b], allow_unused=True)
    assert daa.item() == pytest.approx(0, abs=1e-12)
    assert dab.item() == pytest.approx(1 + math.log(3))
    (db,) = mg.grad(a**b, b, create_graph=True)
    dba, dbb = mg.grad(db, [a, b])
    assert dba.item() == pytest.approx(1 + math.log(3))
    assert dbb.item() == pytest.approx(3 * math.log(3) ** 2)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_product_with_zeros_to_second_order(zeros):
    values = np.array([0.0] * zeros + [2.0, 3.0, 5.0, 7.0][zeros:])
    n = len(values)
    others = [math.prod(values[j] for j in range(n) if j != i) for i in range(n)]
    pairs = [
        [0.0 if i == k else math.prod(values[j] for j in range(n) if j not in {i, k}) for k in range(n)]
        for i in range(n)
    ]
    assert gradient(ops.prod, values).tolist() == others
    assert mg.hessian(ops.prod, mg.Tensor(values)).data.tolist() == pairs


# -------------------------------------------------------------------------- far out and −inf


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "f", [ops.sigmoid, ops.softplus, ops.tanh, ops.logsumexp, ops.softmax, ops.log_softmax]
)
def test_far_out_everything_is_finite_to_second_order(f, dtype):
    x = leaf([-1e4, -100, 0.0, 100, 1e4], dtype)
    y = f(x)
    assert y.dtype == dtype
    assert np.isfinite(y.data).all()
    (slope,) = mg.grad(y.sum(), x, create_graph=True)
    (curvature,) = mg.grad((slope * slope).sum(), x)
    assert np.isfinite(slope.data).all()
    assert np.isfinite(curvature.data).all()


@pytest.mark.parametrize("f", [ops.logsumexp, ops.softmax, ops.log_softmax])
def test_masked_logits_have_finite_gradients(f):
    x = np.array([[1e4, -INF, 0.0], [-INF, -INF, 2.0], [-1e4, 1e4, -INF]])
    seen = np.isfinite(x)
    leaves = leaf(x)
    y = f(leaves, axis=1)
    loss = ops.where(seen if y.ndim == 2 else True, y, 0).sum()
    (slope,) = mg.grad(loss, leaves, create_graph=True)
    (curvature,) = mg.grad((slope * slope).sum(), leaves)
    assert np.isfinite(loss.item())
    assert np.isfinite(slope.data).all()
    assert np.isfinite(curvature.data).all()
    assert not slope.data[~seen].any()


def test_infinite_logits():
    assert ops.logsumexp(mg.Tensor([INF, 0.0])).item() == INF
    assert ops.sigmoid(mg.Tensor([-INF, INF])).tolist() == pytest.approx([0.0, 1.0], abs=1e-300)
    assert ops.softplus(mg.Tensor([-INF, INF])).tolist() == [0.0, INF]


def test_sigmoid_is_accurate_on_both_sides():
    x = np.array([-700.0, -40.0, -1.0, 0.0, 1.0, 40.0])
    expected = [math.exp(v) / (1 + math.exp(v)) for v in x]
    np.testing.assert_allclose(ops.sigmoid(x), expected, rtol=1e-14)


# ----------------------------------------------------------------------------------- indices


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ([0, 0, 1], [2, 1, 0]),
        (np.array([2, 2, 2]), [0, 0, 3]),
        (mg.Tensor([0, 0, 1]), [2, 1, 0]),
        ([-1, 2], [0, 0, 2]),
        ([True, False, True], [1, 0, 1]),
        (mg.Tensor([True, False, True]), [1, 0, 1]),
        ([[0, 1], [1, 0]], [2, 2, 0]),
        (((0, 0),), [2, 0, 0]),
        (range(2), [1, 1, 0]),
        (np.int64(1), [0, 1, 0]),
        (np.array(1), [0, 1, 0]),
        (mg.Tensor(1), [0, 1, 0]),
        (([0, 0], None), [2, 0, 0]),
        ([], [0, 0, 0]),
        (False, [0, 0, 0]),
        (True, [1, 1, 1]),
    ],
    ids=str,
)
def test_indices_accumulate(key, counts):
    x = leaf([1.0, 2.0, 3.0])
    assert mg.grad(x[key].sum(), x)[0].tolist() == counts
    (slope,) = mg.grad((x[key] * x[key]).sum(), x, create_graph=True)
    assert slope.tolist() == [2 * n * v for n, v in zip(counts, [1, 2, 3], strict=True)]
    assert mg.grad(slope.sum(), x, allow_unused=True)[0].tolist() == [2 * n for n in counts]


def test_mixed_indices_accumulate():
    x = leaf(np.arange(6.0).reshape(3, 2))
    assert mg.grad(x[[0, 0, 2], :1].sum(), x)[0].tolist() == [[2, 0], [0, 0], [1, 0]]
    assert mg.grad(x[[True, False, True], [1, 1]].sum(), x)[0].tolist() == [[0, 1], [0, 0], [0, 1]]
    assert mg.grad(x[mg.Tensor([1, 1]), mg.Tensor([0, 0])].sum(), x)[0].tolist() == [[0, 0], [2, 0], [0, 0]]
    assert mg.grad(x[x > 2].sum(), x)[0].tolist() == [[0, 0], [0, 1], [1, 1]]


def test_an_index_of_floats_is_refused():
    with pytest.raises(IndexError, match="integers or booleans, not float64"):
        leaf([1.0])[mg.Tensor([0.0])]


def test_embedding_rows_accumulate():
    x = leaf(np.ones((3, 2)))
    assert mg.grad(x[np.array([[0, 1], [0, 0]])].sum(), x)[0].tolist() == [[3, 3], [1, 1], [0, 0]]


# ------------------------------------------------------------------ products, shapes, dtypes


def test_einsum_letters():
    x = leaf(np.arange(4.0).reshape(2, 2))
    assert gradient(lambda t: ops.einsum("ii", t), np.ones((2, 2))).tolist() == [[1, 0], [0, 1]]
    assert gradient(lambda t: ops.einsum("ij->", t), np.ones((2, 3))).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert np.einsum("ba", x).tolist() == [[0, 2], [1, 3]]
    assert np.einsum("i j , j k", x, x).tolist() == (x.data @ x.data).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.einsum("...i->i", x), "ellipsis; write one letter per axis"),
        (lambda x: ops.einsum("ijk->i", x), "one letter per axis; the shapes are"),
        (lambda x: ops.einsum("ij,ij->i", x), "one letter per axis; the shapes are"),
        (lambda x: ops.einsum("ij,j->i", x, np.ones(1)), r"'j' of 'ij,j->i' stands for lengths 3 and 1"),
        (lambda x: x @ 2, r"write a \* b"),
        (lambda x: ops.dot(x, np.ones((2, 3, 4))), "for stacks of matrices write a @ b"),
        (lambda x: ops.split(x, 2, axis=1), "3 elements on axis 1 do not make 2 equal sections"),
        (lambda x: ops.concatenate([]), "needs at least one array"),
        (lambda x: ops.norm(x, 3), "ord must be None, 1, 2 or inf, not 3"),
        (lambda x: ops.gelu(x, approximate="no"), "'none' or 'tanh', not 'no'"),
        (lambda x: ops.mean(x[:0]), "nothing to average"),
    ],
)
def test_errors_teach(call, message):
    with pytest.raises(ValueError, match=message):
        call(leaf(np.ones((2, 3))))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ops.concatenate([x, x], axis=2),
        lambda x: ops.stack([x, x], axis=3),
        lambda x: ops.split(x, 1, axis=-3),
        lambda x: ops.flip(x, 2),
        lambda x: ops.repeat(x, 2, axis=5),
        lambda x: ops.transpose(x, (0, 2)),
        lambda x: ops.sum(x, 2),
        lambda x: ops.mean(x, 2),
        lambda x: ops.std(x, 2),
        lambda x: ops.prod(x, 2),
        lambda x: ops.softmax(x, 2),
    ],
)
def test_an_axis_that_is_not_there_is_numpys_error(call):
    with pytest.raises(np.exceptions.AxisError):
        call(leaf(np.ones((2, 3))))


def test_integers_become_floats_where_they_must():
    x = mg.Tensor([0, 1, 2])
    for f in (
        ops.sigmoid,
        ops.softplus,
        ops.mean,
        ops.softmax,
        ops.log_softmax,
        ops.logsumexp,
        ops.erf,
        ops.gelu,
        ops.std,
    ):
        y = f(x)
        assert y.dtype == np.float64
        np.testing.assert_array_equal(y.data, f(np.array([0.0, 1.0, 2.0])))


def test_a_cast_has_a_gradient_only_between_floats():
    x = leaf([1.5, 2.5])
    assert x.astype(np.float32).requires_grad
    (g,) = mg.grad((x.astype(np.float32) * 3).sum(), x)
    assert (g.dtype, g.tolist()) == (np.float64, [3.0, 3.0])
    assert not x.astype(int).requires_grad
    assert not ops.astype(x, dtype=int).requires_grad
    assert x.astype(int).tolist() == [1, 2]


def test_python_numbers_keep_float32():
    x = leaf([1.0, 2.0], np.float32)
    for y in (
        x + 1.5,
        2 - x,
        x * 2,
        1 / x,
        x**1.5,
        2**x,
        ops.maximum(x, 1.5),
        ops.where(x > 1, x, 0.5),
        x.clip(0.5, 1.5),
    ):
        assert y.dtype == np.float32
        assert mg.grad(y.sum(), x)[0].dtype == np.float32
