"""Changes in place: which are allowed, and that backward() never uses a value that has changed."""

from typing import Any

import numpy as np
import pytest

from microgradnet import Parameter, Primitive, Tensor, grad, no_grad
from microgradnet.graph import assign


def leaf(data: Any, dtype: Any = None, name: str | None = None) -> Any:
    return Tensor(data, requires_grad=True, dtype=dtype, name=name)


def without_gradient(t):
    return t.grad is None


def _index(t):
    t[0] = 5.0


def _mask(t):
    t[t > 0] = 5.0


def _slice(t):
    t[1:][...] = 5.0


def _transpose(t):
    t.T[0] = 5.0


def _reshape(t):
    t.reshape(-1)[0] = 5.0


def _detach(t):
    d = t.detach()
    d += 1


def _view_of_detach(t):
    t.detach().reshape(2, 1)[0] = 5.0


def _add(t):
    t += 1


def _data(t):
    t.data -= 1


def _same_memory(t):
    u = Tensor(t.detach())
    u *= 2


def _first_or_last(t):
    y = Primitive("last", lambda a, b: b, None, None)(Tensor(1.0), t)
    y += 1


CHANGES = {
    "t[i] = v": _index,
    "t[mask] = v": _mask,
    "slice": _slice,
    "transpose": _transpose,
    "reshape": _reshape,
    "detach": _detach,
    "view of detach": _view_of_detach,
    "+=": _add,
    ".data -=": _data,
    "Tensor(t)": _same_memory,
    "returned argument": _first_or_last,
    "assign": lambda t: assign(t, np.zeros(2)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_backward_notices_a_change_of_a_saved_argument(name):
    w = leaf([2.0, 3.0], name="w")
    y = (w * w).sum()
    with no_grad():
        CHANGES[name](w)
    with pytest.raises(
        RuntimeError, match=r"argument 0 \(leaf#\d+ 'w' of shape \(2,\)\) of mul#\d+"
    ) as error:
        y.backward()
    assert "changed in place after it had been saved" in str(error.value)
    assert "call backward() before the change, change a copy (`t = t + …`), or compute the loss again" in str(
        error.value
    )
    assert without_gradient(w)
    for create_graph in (False, True):
        with pytest.raises(RuntimeError, match="changed in place"):
            grad(y, w, create_graph=create_graph)
    (w * w).sum().backward()
    assert w.grad.tolist() == (2 * w.data).tolist()


@pytest.mark.parametrize("name", CHANGES)
def test_backward_does_not_mind_where_no_rule_reads_the_value(name):
    w = leaf([2.0, 3.0])
    h = w + 1
    y = (-(h - w * 2).reshape(2, 1).T).sum() * 3
    with no_grad():
        CHANGES[name](w)
        CHANGES[name](h)
    y.backward()
    assert w.grad.tolist() == [3.0, 3.0]


def test_backward_notices_a_change_of_a_saved_result():
    x = leaf([1.0, 2.0])
    y = np.exp(x)
    with no_grad():
        y += 1
    with pytest.raises(RuntimeError, match=r"the result of exp#\d+ of shape \(2,\) was changed in place"):
        y.sum().backward()


def test_backward_notices_a_change_of_a_constant():
    x, c = leaf([1.0, 2.0]), Tensor([3.0, 4.0])
    y = (x * c).sum()
    c += 1  # a constant may be changed anywhere
    with pytest.raises(RuntimeError, match=r"argument 1 \(a constant\) of mul#\d+"):
        y.backward()


def test_backward_notices_a_view_that_was_taken_before_and_written_through_after():
    w = leaf([[1.0, 2.0], [3.0, 4.0]])
    row = w.detach()[0]
    y = (w * w).sum()
    row += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_change_before_recording_is_no_change():
    w = leaf([2.0, 3.0])
    with no_grad():
        w += 1
    y = (w * w).sum()
    y.backward()
    assert w.grad.tolist() == [6.0, 8.0]


def test_only_the_rules_that_run_are_asked_what_they_read():
    a, b = leaf([2.0]), leaf([3.0])
    h = a * b
    y = (h * 5).sum()
    with no_grad():
        a += 1
    assert grad(y, a)[0].item() == 15  # reads b
    assert grad(y, h)[0].item() == 5  # runs no rule of mul
    with pytest.raises(RuntimeError, match=r"argument 0 .* of mul"):
        grad(y, b)
    with pytest.raises(RuntimeError, match=r"argument 0 .* of mul"):
        y.backward()


def test_copies_have_a_version_of_their_own():
    w = leaf([2.0, 3.0])
    y = (w * w).sum()
    for other in (w[[0, 1]], w.astype(float), w * 1, Parameter(w.detach())):
        with no_grad():
            other[...] = 9.0
    y.backward()
    assert w.grad.tolist() == [4.0, 6.0]


# --------------------------------------------------------------------- rebinding .data


def test_rebinding_data_leaves_what_was_recorded_valid():
    w = leaf([2.0, 3.0], name="w")
    y = (w * w).sum()
    w.data = np.array([10.0, 20.0])
    y.backward()
    assert w.grad.tolist() == [4.0, 6.0]
    assert grad(y, w)[0].tolist() == [4.0, 6.0]
    (w * w).sum().backward()
    assert w.grad.tolist() == [24.0, 46.0]
    assert w.name == "w"


def test_rebinding_data_separates_the_storage():
    w = leaf([2.0, 3.0])
    view = w.detach()
    w.data = np.array([10.0, 20.0])
    y = (w * w).sum()
    view += 1
    y.backward()
    assert w.grad.tolist() == [20.0, 40.0]
    assert w.data.tolist() == [10.0, 20.0]


def test_rebinding_data_to_another_shape_drops_the_gradient_and_keeps_name_and_hooks():
    w = leaf([2.0, 3.0], name="w")
    old = (w * w).sum()
    w.register_hook(lambda g: g * 10)
    old.backward()
    w.data = np.array([1.0, 2.0, 3.0])
    assert without_gradient(w)
    (w * w).sum().backward()
    assert w.grad.tolist() == [20.0, 40.0, 60.0]
    assert w.name == "w"
    old.backward()
    assert w.grad.tolist() == [20.0, 40.0, 60.0]


def test_data_of_a_result_or_of_integers_is_refused():
    w = leaf([2.0])
    y = w * 2
    with pytest.raises(
        RuntimeError, match=r"mul#\d+ .* was computed; assign \.data of a leaf, or take t\.detach\(\)"
    ):
        y.data = np.zeros(1)
    with pytest.raises(TypeError, match="only floating-point tensors have gradients, not int64"):
        w.data = np.array([1])
    constant = Tensor([1.0])
    constant.data = np.array([1, 2])
    assert constant.dtype == np.int64


# --------------------------------------------------------------------- in-place operators


def test_in_place_operators_update_the_parameter_that_trains():
    w = leaf([2.0, 4.0])
    first, array = w, w.data
    (w * w).sum().backward()
    with no_grad():
        w -= 0.5 * w.grad
        w += np.array([4.0, 4.0])
        w *= 3
        w /= Tensor([2.0, 4.0])
        w **= 2
        w[0] = w[1] - 1
    assert w is first
    assert w.data is array
    assert w.requires_grad
    assert w.data.tolist() == [8.0, 9.0]
    with no_grad():
        m = leaf(np.eye(2))
        n = m
        m @= np.array([[1.0, 2.0], [3.0, 4.0]])
    assert m is n
    assert m.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def _in_place(sign, t, other):
    if sign == "+":
        t += other
    elif sign == "-":
        t -= other
    elif sign == "*":
        t *= other
    elif sign == "/":
        t /= other
    elif sign == "**":
        t **= other
    else:
        t[0] = other


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "**", "[…]"])
@pytest.mark.parametrize("case", ["leaf", "result", "joins"])
def test_in_place_outside_no_grad_teaches(sign, case):
    w = leaf([2.0, 4.0])
    target, other = {"leaf": (w, 1.0), "result": (w * 1, 1.0), "joins": (Tensor([1.0, 2.0]), w[0])}[case]
    before = target.data.copy()
    with pytest.raises(
        RuntimeError, match=r"changes a tensor in place .* under `with no_grad\(\):`.* write `t = "
    ) as error:
        _in_place(sign, target, other)
    assert str(error.value).startswith("`t[…] = …`" if sign == "[…]" else f"`t {sign}= …`")
    assert target.data.tolist() == before.tolist()


@pytest.mark.parametrize("factor", [np.float64(0.1), np.ones(2), 0.1, Tensor([1.0, 2.0])])
def test_in_place_keeps_the_dtype(factor):
    w = Parameter([1.0, 2.0])
    with no_grad():
        w -= factor
        w *= factor
    assert w.dtype == np.float32


def test_in_place_results_must_fit():
    t = Tensor([1, 2])
    with pytest.raises(
        TypeError, match=r"t /= …: the result is float64, which a tensor of int64 cannot hold; write t = t /"
    ):
        t /= 2
    t += 1
    assert t.tolist() == [2, 3]
    with pytest.raises(ValueError, match=r"the result has shape \(3, 2\), the tensor \(2,\); write t = t \+"):
        t += np.ones((3, 2), int)


# --------------------------------------------------------------------- freezing


def test_freezing_and_unfreezing_a_leaf():
    w, v = leaf([2.0], name="w"), leaf([3.0])
    w.register_hook(lambda g: 10 * g)
    w.requires_grad = False
    assert not w.requires_grad
    frozen = (w * v).sum()
    frozen.backward()
    assert without_gradient(w)
    assert v.grad.tolist() == [2.0]
    assert np.asarray(w).tolist() == [2.0]
    w.requires_grad = True
    frozen.backward()  # recorded without w
    assert without_gradient(w)
    (w * v).sum().backward()
    assert w.grad.tolist() == [30.0]
    assert w.name == "w"


def test_freezing_after_recording_keeps_gradients_away_until_it_is_undone():
    w, v = leaf([2.0]), leaf([3.0])
    y = (w * v).sum()
    w.requires_grad = False
    y.backward()
    assert without_gradient(w)
    assert v.grad.tolist() == [2.0]
    with pytest.raises(ValueError, match="input 0 requires no gradient"):
        grad(y, w)
    w.requires_grad = True
    y.backward()
    assert w.grad.tolist() == [3.0]


def test_a_constant_can_become_a_leaf():
    w: Any = Tensor([2.0], name="w")
    before = w * leaf([1.0])
    w.requires_grad = True
    before.sum().backward()
    assert without_gradient(w)
    (w * 5).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [5.0]
    w.requires_grad = True
    assert w.grad.tolist() == [5.0]


def test_a_result_cannot_be_frozen():
    y = leaf([2.0]) * 2
    y.requires_grad = True
    with pytest.raises(RuntimeError, match=r"mul#\d+ .* was computed from others; take t\.detach\(\)"):
        y.requires_grad = False


@pytest.mark.parametrize(
    "make", [lambda: Tensor([1, 2], requires_grad=True), lambda: Tensor([True], requires_grad=True)]
)
def test_integers_have_no_gradient(make):
    with pytest.raises(
        TypeError,
        match=r"only floating-point tensors have gradients, not .*; write Tensor\(data, dtype=float\)",
    ):
        make()


def test_a_cast_to_integers_ends_the_gradient():
    x = leaf([1.5, 2.5])
    assert not x.astype(int).requires_grad
    assert not x.astype(bool).requires_grad
    assert x.astype(np.float32).requires_grad
