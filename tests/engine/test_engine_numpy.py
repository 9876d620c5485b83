"""NumPy meeting Tensor: operators and functions record, or teach; Python's protocols behave as on arrays."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from microgradnet import Parameter, Tensor, no_grad


def leaf(data: Any, dtype: Any = None) -> Any:
    return Tensor(data, requires_grad=True, dtype=dtype)


BINARY = {
    "+": (operator.add, lambda a, b: (1 + 0 * a, 1 + 0 * b)),
    "-": (operator.sub, lambda a, b: (1 + 0 * a, -1 + 0 * b)),
    "*": (operator.mul, lambda a, b: (b, a)),
    "/": (operator.truediv, lambda a, b: (1 / b, -a / b**2)),
    "**": (operator.pow, lambda a, b: (b * a ** (b - 1), a**b * np.log(a))),
}
OTHERS = {
    "int": 2,
    "float": 1.5,
    "np.float64": np.float64(1.5),
    "np.int64": np.int64(2),
    "0-d array": np.array(1.5),
    "array": np.array([1.5, 2.5]),
    "column": np.array([[1.5], [2.5]]),
    "list": [1.5, 2.5],
    "nested list": [[1.5, 2.5], [3.5, 4.5]],
    "tuple": (1.5, 2.5),
    "constant": Tensor([1.5, 2.5]),
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("sign", BINARY)
def test_arithmetic_with_anything_on_either_side_records(sign, other, side):
    operation, derivatives = BINARY[sign]
    t, o = leaf([0.5, 3.0]), OTHERS[other]
    y = operation(t, o) if side == "left" else operation(o, t)
    array = np.asarray(o)
    a, b = np.broadcast_arrays(*((t.data, array) if side == "left" else (array, t.data)))
    assert type(y) is Tensor
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y.data, operation(a, b))
    y.sum().backward()
    expected = np.broadcast_to(derivatives(a, b)[side == "right"], y.shape)
    np.testing.assert_allclose(t.grad, expected.reshape(-1, 2).sum(0), rtol=1e-14)


@pytest.mark.parametrize(
    "other", [np.array([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]], np.array([1.0, 2.0]), [1.0, 2.0]]
)
def test_matrix_products_with_anything_on_either_side_record(other):
    w = leaf([[1.0, 2.0], [3.0, 4.0]])
    array = np.asarray(other)
    for y, expected in ((w @ other, w.data @ array), (other @ w, array @ w.data)):
        assert type(y) is Tensor
        assert y.tolist() == expected.tolist()
        w.grad = None
        y.sum().backward()
        assert w.grad is not None
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
    w.grad = None
    (matrix @ w).sum().backward()
    assert w.grad.tolist() == (matrix.T @ np.ones((2, 2))).tolist()


@pytest.mark.parametrize(
    "compare", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
)
@pytest.mark.parametrize(
    "other", [2.0, np.float64(2), np.array(2.0), np.array([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]]
)
def test_comparisons_are_elementwise_on_either_side(compare, other):
    t = leaf([3.0, 2.0, 1.0])
    for y, expected in (
        (compare(t, other), compare(t.data, np.asarray(other))),
        (compare(other, t), compare(np.asarray(other), t.data)),
    ):
        assert type(y) is Tensor
        assert (y.dtype.name, y.requires_grad) == ("bool", False)
        assert y.tolist() == expected.tolist()


def test_logic_on_comparisons():
    t = Tensor([1.0, 2.0, 3.0])
    assert ((t > 1) & (t < 3)).tolist() == [False, True, False]
    assert ((t < 2) | ~(t < 3)).tolist() == [True, False, True]


UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: lambda x: np.add(x, 1),
    np.subtract: lambda x: np.subtract(1, x),
    np.multiply: lambda x: np.multiply(x, x),
    np.divide: lambda x: np.divide(1, x),
    np.power: lambda x: np.power(x, 3),
    np.float_power: lambda x: np.float_power(x, 3),
    np.maximum: lambda x: np.maximum(x, 1),
    np.minimum: lambda x: np.minimum(x, 1),
    np.matmul: lambda x: np.matmul(x, x),
}
UNARY: list[Any] = [
    np.negative, np.positive, np.square, np.absolute, np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.sin,
    np.cos, np.tanh, np.sign,
]  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "sum axis": lambda x: np.sum(x, axis=0),
    "sum keepdims": lambda x: np.sum(x, 1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=1),
    "max": lambda x: np.max(x, axis=0),
    "amax": np.amax,
    "min": np.min,
    "amin": np.amin,
    "var": lambda x: np.var(x, ddof=1),
    "std": lambda x: np.std(x, axis=0),
    "prod": lambda x: np.prod(x, axis=1),
    "norm": np.linalg.norm,
    "cumsum": lambda x: np.cumsum(x, axis=0),
    "clip": lambda x: np.clip(x, 0.8, 1.2),
    "where": lambda x: np.where(np.array([True, False]), x, 3 * x),
    "reshape": lambda x: np.reshape(x, (4,)) * np.arange(4),
    "ravel": lambda x: np.ravel(x) * np.arange(4),
    "transpose": lambda x: np.transpose(x) * np.arange(2),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1) * np.arange(2),
    "expand_dims": lambda x: np.expand_dims(x, 0),
    "squeeze": lambda x: np.squeeze(np.expand_dims(x, 0)),
    "broadcast_to": lambda x: np.broadcast_to(x, (3, 2, 2)),
    "concatenate": lambda x: np.concatenate([x, [[1.0, 2.0]], 2 * x]),
    "stack": lambda x: np.stack([x, 2 * x], axis=1),
    "split": lambda x: np.split(x, 2)[1],
    "pad": lambda x: np.pad(x, 1),
    "flip": lambda x: np.flip(x, 0) * np.arange(2),
    "repeat": lambda x: np.repeat(x, 3, axis=0),
    "dot": lambda x: np.dot(x, x),
    "outer": lambda x: np.outer(x, [1.0, 2.0]),
    "einsum": lambda x: np.einsum("ij,jk->ik", x, x),
}
CALLS: dict[str, Callable[..., Any]] = (
    {f"np.{u.__name__}": f for u, f in UFUNCS.items()} | {f"np.{u.__name__}": u for u in UNARY} | FUNCTIONS
)


@pytest.mark.parametrize("name", CALLS)
def test_numpy_functions_record_and_have_the_right_gradient(name):
    call, data = CALLS[name], np.array([[0.3, 0.9], [1.1, 1.7]])
    x = leaf(data.copy())
    y = call(x)
    assert type(y) is Tensor
    assert y.requires_grad
    np.testing.assert_allclose(y.data, call(data), rtol=1e-15)
    y.sum().backward()
    step, numeric = 1e-6, np.empty((2, 2))
    for i in np.ndindex(2, 2):
        up, down = data.copy(), data.copy()
        up[i] += step
        down[i] -= step
        numeric[i] = (np.sum(call(up)) - np.sum(call(down))) / (2 * step)
    np.testing.assert_allclose(x.grad, numeric, rtol=1e-7, atol=1e-9)


def test_questions_about_values_and_shapes_are_answered():
    x = leaf([[1.0, np.inf], [np.nan, 2.0]])
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 2), 2, 4)
    assert np.isnan(x).tolist() == [[False, False], [True, False]]
    assert np.isfinite(x).tolist() == [[True, False], [False, True]]
    assert (np.argmax(leaf([1.0, 3.0])).item(), np.argmin(leaf([1.0, 3.0])).item()) == (1, 0)
    assert np.any(leaf([1.0, 3.0]) > 2)


REFUSED: dict[str, Callable[..., Any]] = {
    "np.arctan": np.arctan,
    "np.floor_divide": lambda x: np.array([1.0]) // x,
    "np.sort": np.sort,
    "np.linalg.inv": np.linalg.inv,
    "np.vstack": lambda x: np.vstack([x, x]),
    "np.add.reduce": np.add.reduce,
    "np.multiply.outer": lambda x: np.multiply.outer(x, x),
    "np.add with out=": lambda x: np.add(x, 1, out=np.zeros(2)),
    "np.exp with where=": lambda x: np.exp(x, where=np.array([True, False])),
    "np.sum with dtype=": lambda x: np.sum(x, dtype=np.float32),
    "np.max with initial=": lambda x: np.max(x, initial=0),
    "np.concatenate with axis=, dtype=": lambda x: np.concatenate([x, x], axis=0, dtype=np.float32),
    "np.zeros_like": np.zeros_like,
    "np.copyto": lambda x: np.copyto(np.zeros(2), x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numpy_functions_without_a_gradient_teach(name):
    with pytest.raises(TypeError) as error:
        REFUSED[name](leaf([1.0, 2.0]))
    assert str(error.value) == f"{name} has no gradient here; take `t.data` to compute on the values alone"


def test_an_array_cannot_take_a_tensor_in_place():
    array = np.zeros(2)
    for t in (leaf([1.0, 2.0]), Tensor([1.0, 2.0])):
        with pytest.raises(TypeError, match=r"np\.add with out= has no gradient here"):
            array += t
    assert array.tolist() == [0.0, 0.0]


def test_other_mistakes_keep_their_own_message():
    with pytest.raises(TypeError, match=r"np\.where\(condition\) without two values has no gradient"):
        np.where(leaf([1.0]) > 0)
    with pytest.raises(TypeError, match=r"np\.pad with mode='edge' has no gradient here"):
        np.pad(leaf([1.0]), 1, mode="edge")
    with pytest.raises(TypeError, match="unsupported operand"):
        leaf([1.0]) % 2


def test_constants_may_meet_every_numpy_function():
    c = Tensor([3.0, 1.0])
    assert np.sort(c).tolist() == [1.0, 3.0]
    assert np.arctan(c).tolist() == np.arctan([3.0, 1.0]).tolist()
    assert np.add.reduce(c) == 4
    assert np.vstack([c, c]).shape == (2, 2)
    assert np.allclose(c, [3.0, 1.0])
    assert np.asarray(c) is c.data
    assert np.array(c) is not c.data
    assert np.asarray(c, np.float32).dtype == np.float32
    assert c.numpy() is c.data
    with pytest.raises(ValueError, match="copy"):
        np.asarray(c, np.float32, copy=False)


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "np.asarray": np.asarray,
    "np.array": np.array,
    "np.asarray of a list": lambda t: np.asarray([t, t]),
    "numpy": lambda t: t.numpy(),
    "assignment": lambda t: np.zeros((2, 2)).__setitem__(..., t),
    "Tensor": Tensor,
    "list operand": lambda t: 1.0 * Tensor([1.0, 2.0]) + [t, t],
    "generator": lambda t: np.random.default_rng(0).normal(t),
}


@pytest.mark.parametrize("name", CONVERSIONS)
@pytest.mark.parametrize(
    "make", [lambda: leaf([1.0, 2.0]), lambda: leaf([1.0, 2.0]) * 2, lambda: Parameter([1.0, 2.0])]
)
def test_a_conversion_that_would_lose_the_gradient_is_refused(name, make):
    with pytest.raises(
        TypeError, match=r"would lose this tensor's gradient; write `t\.data` or `t\.detach\(\)`"
    ):
        CONVERSIONS[name](make())
    t = make()
    with no_grad(), pytest.raises(TypeError, match="would lose"):
        CONVERSIONS[name](t)
    CONVERSIONS[name](make().detach())


def test_a_tensor_of_a_list_of_tensors_is_refused():
    s = leaf(1.0)
    with pytest.raises(TypeError, match=r"a list of tensors would lose their history; write np\.stack"):
        Tensor([s, s])
    y = np.stack([s, s])
    y.sum().backward()
    assert s.grad == 2


@pytest.mark.parametrize("data", ["a", [1j], None, [object()]])
def test_a_tensor_needs_real_numbers(data):
    with pytest.raises(TypeError, match="Tensor: needs real numbers, got dtype"):
        Tensor(data)


# --------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_python_numbers_leave_the_dtype_alone(dtype):
    x = leaf([0.5, 2.0], dtype)
    for y in (
        2 * x,
        x + 1.5,
        1 - x,
        x / 3,
        2 / x,
        x**2,
        x**0.5,
        2**x,
        x * True,
        np.maximum(x, 0),
        np.clip(x, 0, 1),
        np.where(x > 1, x, 0.0),
    ):
        assert y.dtype == dtype
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == dtype


def test_tensors_keep_numpys_dtype_and_share_memory():
    array = np.arange(3, dtype=np.float32)
    assert Tensor(array).data is array
    assert Tensor(array, dtype=np.float64).dtype == np.float64
    assert [Tensor(data).dtype.name for data in ([1, 2], [1.0], True)] == ["int64", "float64", "bool"]
    assert not np.shares_memory(Parameter(array).data, array)
    assert Parameter([1.0]).dtype == np.float32
    assert Parameter(np.ones((2, 3)).T, dtype=np.float64).data.flags.c_contiguous


# --------------------------------------------------------------------- Python's protocols


def test_identity_decides_in_dicts_and_sets():
    a, b = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    assert {a: 1, b: 2}[b] == 2
    assert len({a, b, a}) == 2
    assert hash(a) != hash(b)
    assert any(t is b for t in [a, b])
    with pytest.raises(
        ValueError, match=r"truth value of a tensor of shape \(2,\) is ambiguous.*any\(t is u for u in …\)"
    ):
        assert b in [a, b]


def test_truth():
    assert bool(leaf(1.0))
    assert not Tensor([[0.0]])
    for t in (leaf([1.0, 2.0]), Tensor([])):
        with pytest.raises(ValueError, match=r"write t\.data\.any\(\) or t\.data\.all\(\)"):
            bool(t)


def test_membership_of_a_value():
    assert 2.0 in leaf([1.0, 2.0])
    assert 3.0 not in leaf([1.0, 2.0])
    assert Tensor(2.0) in leaf([1.0, 2.0])


def test_iteration_sum_and_length():
    x = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(x) == 3
    rows = list(x)
    assert [row.tolist() for row in rows] == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    y = sum([rows[0], rows[2]])
    assert type(y) is Tensor
    assert y.tolist() == [6.0, 8.0]
    y.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    a, b = leaf([1.0, 2.0])
    assert (a.item(), b.item()) == (1.0, 2.0)
    with pytest.raises(TypeError, match=r"cannot be iterated over; its value is t\.item\(\)"):
        list(leaf(1.0))
    with pytest.raises(TypeError, match="unsized"):
        len(leaf(1.0))


def test_numbers():
    assert (float(leaf(1.5)), int(leaf([1.5])), leaf([[1.5]]).item()) == (1.5, 1, 1.5)
    assert [10, 20, 30][Tensor(1)] == 20
    assert list(range(Tensor(3))) == [0, 1, 2]
    for convert in (float, int):
        with pytest.raises(ValueError, match="size"):
            convert(leaf([1.0, 2.0]))
    with pytest.raises(TypeError, match="integer"):
        operator.index(Tensor(1.0))


def test_formats():
    assert f"{leaf(1.23456):.4f}" == "1.2346"
    assert f"{leaf([1.23456]):>8.2f}" == "    1.23"
    assert f"{leaf([1.0, 2.0])}" == "Tensor([1., 2.], requires_grad=True)"
    assert repr(leaf([1.0, 2.0], np.float32) * 2) == "Tensor([2., 4.], dtype=float32, made_by=mul)"
    assert repr(Parameter([1.0])) == "Parameter([1.], dtype=float32, requires_grad=True)"
    assert repr(Tensor([[1, 2], [3, 4]])) == "Tensor([[1, 2],\n        [3, 4]])"
    assert repr(Tensor(2.0)) == "Tensor(2.)"
    assert repr(Tensor([True])) == "Tensor([ True])"
    assert eval(repr(leaf([1.0])), {"Tensor": Tensor}).requires_grad  # noqa: S307 - our own text


def test_none_is_equal_to_nothing():
    assert (leaf([1.0, 2.0]) == None).tolist() == [False, False]  # noqa: E711 - what is tested


METHODS = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(axis=(0, 1), keepdims=True),
    "max": lambda x: x.max(1),
    "min": lambda x: x.min(),
    "var": lambda x: x.var(0, ddof=1),
    "std": lambda x: x.std(),
    "prod": lambda x: x.prod(1),
    "cumsum": lambda x: x.cumsum(1),
    "clip": lambda x: x.clip(0.5, 1.5),
    "reshape": lambda x: x.reshape(3, -1),
    "reshape tuple": lambda x: x.reshape((3, 2)),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "transpose": lambda x: x.transpose(),
    "transpose axes": lambda x: x.transpose(1, 0),
    "transpose tuple": lambda x: x.transpose((1, 0)),
    "T": lambda x: x.T,
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "repeat": lambda x: x.repeat(2, axis=1),
    "dot": lambda x: x.dot(x.T),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(),
    "astype": lambda x: x.astype(np.float32),
    "size": lambda x: np.asarray(x.size),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_follow_numpy(name):
    data = np.array([[0.3, 2.0, 1.1], [0.9, 0.1, 1.6]])
    mine, theirs = METHODS[name](leaf(data)), METHODS[name](data)
    assert mine.shape == theirs.shape
    assert mine.dtype == theirs.dtype
    np.testing.assert_allclose(mine.data if isinstance(mine, Tensor) else mine, theirs, rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("exp", np.exp), ("expm1", np.expm1), ("log", np.log), ("log1p", np.log1p), ("sqrt", np.sqrt),
        ("sin", np.sin), ("cos", np.cos), ("tanh", np.tanh), ("abs", np.abs), ("sign", np.sign),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("relu", lambda x: np.maximum(x, 0)),
        ("norm", lambda x: np.sqrt((x * x).sum())), ("logsumexp", lambda x: np.log(np.exp(x).sum())),
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum()),
        ("log_softmax", lambda x: x - np.log(np.exp(x).sum())),
    ],
)  # fmt: skip
def test_methods_compute_their_formula(name, formula):
    data = np.array([0.3, 2.0, 1.1])
    y = getattr(leaf(data), name)()
    assert y.requires_grad
    np.testing.assert_allclose(y.data, formula(data), rtol=1e-14)
