"""User-defined operations: one line or a decorator, what they remember, and the messages for wrong ones."""

from typing import Any

import numpy as np
import pytest

from microgradnet import Primitive, Tensor, grad, no_grad
from microgradnet.graph import Node


def leaf(data: Any, dtype: Any = None) -> Any:
    return Tensor(data, requires_grad=True, dtype=dtype)


def test_one_line_is_enough_for_any_order():
    cube = Primitive("cube", lambda x: x**3, lambda g, _y, x: g * 3 * x**2)
    x = leaf([1.0, 2.0])
    y = cube(x)
    assert (y.tolist(), repr(cube), repr(y)) == (
        [1.0, 8.0],
        "<Primitive cube>",
        "Tensor([1., 8.], made_by=cube)",
    )
    for expected in ([3.0, 12.0], [6.0, 12.0], [6.0, 6.0]):
        (y,) = grad(y, x, np.ones(2), create_graph=True)
        assert y.tolist() == expected


def test_a_decorator_is_enough():
    @Primitive.define(lambda g, _y, _a, b: g * b, lambda g, _y, a, _b: g * a, broadcasts=0)
    def product(a, b):
        return a * b

    a, b = leaf([1.0, 2.0]), leaf([[3.0], [4.0]])
    product(a, b).sum().backward()
    assert isinstance(product, Primitive)
    assert product.name == "product"
    assert a.grad.tolist() == [7.0, 7.0]
    assert b.grad.tolist() == [[3.0], [3.0]]


def test_arrays_in_array_out():
    double = Primitive("double", lambda x: 2 * x, lambda g, _y, _x: 2 * g)
    assert type(double(np.ones(2))) is np.ndarray
    constant = double(Tensor([1.0]))
    assert (type(constant), constant._node) == (Tensor, None)
    with no_grad():
        assert double(leaf([1.0]))._node is None


def test_arrays_without_a_gradient_and_metadata_by_keyword():
    def forward(x, mask, *, scale):
        return np.where(mask, x * scale, 0)

    masked = Primitive("masked", forward, lambda g, _y, _x, mask, *, scale: g * mask * scale, None)
    x = leaf([1.0, 2.0])
    for mask in (np.array([True, False]), Tensor([True, False]), [True, False]):
        x.grad = None
        y = masked(x, mask, scale=3.0)
        assert y.tolist() == [3.0, 0.0]
        y.sum().backward()
        assert x.grad.tolist() == [3.0, 0.0]


def test_an_open_number_of_arguments():
    total = Primitive("total", lambda *xs: sum(xs), rule_for=lambda i: lambda g, _y, *_xs: (i + 1) * g)
    xs = [leaf([1.0]) for _ in range(4)]
    total(*xs).backward()
    assert [x.grad.item() for x in xs] == [1.0, 2.0, 3.0, 4.0]
    total(*xs[:2]).backward()
    assert [x.grad.item() for x in xs] == [2.0, 4.0, 3.0, 4.0]


def test_only_what_the_rules_read_is_kept():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    assert [isinstance(x, Node) for x in (a * b)._node.args] == [False, False]
    assert [isinstance(x, Node) for x in (a + b)._node.args] == [True, True]
    assert [isinstance(x, Node) for x in (a * Tensor([1.0, 1.0]))._node.args] == [True, False]
    assert [isinstance(x, Node) for x in np.exp(a)._node.args] == [True]
    everything = Primitive("everything", lambda a, b: a + b, lambda g, *rest: g, lambda g, *rest: g)
    assert [isinstance(x, Node) for x in everything(a, b)._node.args] == [False, False]


def test_the_shape_of_what_is_not_read_is_known():
    spread = Primitive(
        "spread", lambda x: x.sum(), lambda g, _y, _x: np.broadcast_to(g, _x.shape) * _x.dtype.type(_x.ndim)
    )
    x = leaf(np.ones((2, 3)))
    spread(x).backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_the_rule_of_what_needs_no_gradient_does_not_run():
    def fail(g, y, a, b):
        raise AssertionError

    first = Primitive("first", np.multiply, lambda g, _y, _a, b: g * b, fail)
    a = leaf([1.0])
    first(a, np.array([2.0])).backward()
    first(a, Tensor([2.0])).backward()
    b = leaf([2.0])
    b.requires_grad = False
    first(a, b).backward()
    assert a.grad.tolist() == [6.0]
    assert grad(first(a, leaf([2.0])), a)[0].tolist() == [2.0]


# --------------------------------------------------------------------- wrong rules


def test_a_rule_that_returns_another_shape_is_named():
    wrong = Primitive("wrong", lambda x: x * 2, lambda g, _y, _x: g.sum())
    x = leaf([1.0, 2.0])
    message = (
        r"the gradient rule of wrong#\d+ of shape \(2,\) for argument 0 returned shape \(\); "
        r"expected \(2,\) \(an operation that broadcasts says so: Primitive\(…, broadcasts=0\)\)"
    )
    for ask in (lambda: wrong(x).sum().backward(), lambda: grad(wrong(x).sum(), x, create_graph=True)):
        with pytest.raises(ValueError, match=message):
            ask()
    assert x.grad is None


def test_broadcasting_must_be_declared():
    rules = (lambda g, _y, _a, _b: g, lambda g, _y, _a, _b: g)
    a, b = leaf([1.0, 2.0]), leaf([[1.0], [2.0], [3.0]])
    with pytest.raises(
        ValueError, match=r"for argument 0 returned shape \(3, 2\); expected \(2,\) .*broadcasts=0"
    ):
        Primitive("plus", lambda a, b: a + b, *rules)(a, b).sum().backward()
    Primitive("plus", lambda a, b: a + b, *rules, broadcasts=0)(a, b).sum().backward()
    Primitive("plus", np.add, *rules)(a, b).sum().backward()
    assert a.grad.tolist() == [6.0, 6.0]
    assert b.grad.tolist() == [[4.0]] * 3


def test_an_operation_that_broadcasts_must_return_the_broadcast_shape():
    wrong = Primitive("wrong", np.add, lambda g, _y, _a, _b: g.sum(0, keepdims=True), lambda g, _y, _a, _b: g)
    with pytest.raises(ValueError, match=r"for argument 0 returned shape \(1, 2\); expected \(3, 2\)$"):
        wrong(leaf([1.0, 2.0]), np.ones((3, 1))).sum().backward()


def test_the_last_axes_may_belong_to_the_operation():
    product = Primitive(
        "product",
        lambda a, b: a @ b,
        lambda g, _y, _a, b: g @ b.swapaxes(-1, -2),
        lambda g, _y, a, _b: a.swapaxes(-1, -2) @ g,
        broadcasts=2,
    )
    a, b = leaf(np.ones((2, 3))), leaf(np.ones((5, 3, 4)))
    product(a, b).sum().backward()
    assert a.grad.tolist() == [[20.0] * 3] * 2
    assert b.grad.shape == (5, 3, 4)
    assert Primitive("m", np.matmul, None, None).broadcasts == 2


@pytest.mark.parametrize("arguments", [1, 3])
def test_the_number_of_rules_must_fit(arguments):
    rule = lambda g, *_: g  # noqa: E731 - the rule is what is tested
    two = Primitive("two", lambda *xs: sum(xs), rule, rule)
    with pytest.raises(
        TypeError,
        match=rf"two: called with {arguments} positional arguments, but it has 2 gradient rules; give",
    ):
        two(*[leaf([1.0]) for _ in range(arguments)])


def test_rules_are_given_in_one_way():
    with pytest.raises(
        TypeError, match="Primitive 'both': give one rule per argument or rule_for=, not both"
    ):
        Primitive("both", np.negative, lambda g, _y, _x: -g, rule_for=lambda i: None)


def test_a_rule_that_returns_nothing_is_named():
    silent = Primitive("silent", lambda x: x * 2, lambda g, _y, _x: None)
    with pytest.raises(
        TypeError,
        match=r"the gradient rule of silent#\d+ .* for argument 0 returned None; give None in place",
    ):
        silent(leaf(1.0)).backward()


def test_what_a_rule_returns_is_made_an_array_of_the_argument_s_dtype():
    x = leaf([1.0, 2.0], np.float32)
    for returned in ([1.0, 2.0], np.array([1, 2]), np.array([1.0, 2.0], np.float16), Tensor([1.0, 2.0])):
        x.grad = None
        Primitive("odd", lambda x: x * 2, lambda g, _y, _x, r=returned: r)(x).sum().backward()
        assert type(x.grad) is np.ndarray
        assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [1.0, 2.0])


# --------------------------------------------------------------------- aliasing

RETURNED = {
    "g": lambda g, y, x: g,
    "a view of g": lambda g, y, x: g[:],
    "y": lambda g, y, x: y,
    "x": lambda g, y, x: x,
    "a view of x": lambda g, y, x: x.reshape(2),
    "read-only": lambda g, y, x: np.broadcast_to(g, (2,)),
    "strided": lambda g, y, x: np.repeat(g, 2)[::2],
}


@pytest.mark.parametrize(
    "forward", [lambda x: x * 2, lambda x: x, lambda x: x[:]], ids=["new", "itself", "view"]
)
@pytest.mark.parametrize("name", RETURNED)
def test_a_rule_that_returns_what_it_was_given_shares_no_gradient(name, forward):
    rule = RETURNED[name]
    op = Primitive(
        "op", lambda a, b: forward(a), lambda g, y, a, b: rule(g, y, a), lambda g, y, a, b: rule(g, y, b)
    )
    a, b, seed = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.array([5.0, 6.0])
    y = op(a, b)
    y.retain_grad()
    y.backward(seed)
    arrays = [a.grad, b.grad, y.grad, a.data, b.data, y.data, seed]
    for i, array in enumerate(arrays[:3]):
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert [k for k, other in enumerate(arrays) if k != i and np.shares_memory(other, array)] == []


def _read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("make", [np.asfortranarray, _read_only], ids=["F-ordered", "read-only"])
def test_a_stored_gradient_is_writable_and_c_ordered_whatever_a_rule_returns(make):
    x = leaf(np.ones((2, 3)))
    Primitive("op", lambda x: x * 2, lambda g, _y, _x: make(g * 2))(x).sum().backward()
    assert x.grad.flags.writeable
    assert x.grad.flags.c_contiguous
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_what_to_remember_is_decided_once_for_each_pattern_of_arguments():
    asked = []

    def rule_for(i):
        asked.append(i)
        return lambda g, _y, *_xs: g

    op = Primitive("op", lambda *xs: sum(xs), rule_for=rule_for)
    a, b = leaf(1.0), leaf(2.0)
    for _ in range(3):
        assert op(a, b)._node.pulls[-1][0] == 1
        assert op(a, 2.0)._node.pulls[-1][0] == 0
        assert len(op(1.0, b)._node.pulls) == 1
    assert asked == [0, 1] * 3


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: x[::-1], lambda x: x.reshape(1, 2)], ids=["itself", "view", "reshape"]
)
def test_a_forward_that_returns_its_argument_shares_the_version(form, which):
    op = Primitive("op", lambda *xs: form(xs[which]), rule_for=lambda i: None)
    args = [leaf([1.0, 2.0]), leaf([3.0, 4.0])]
    y = op(*args)
    assert y._version is args[which]._version
    assert y._version is not args[1 - which]._version
    loss = (args[which] * args[which]).sum()
    y += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_forward_that_returns_a_new_array_has_a_version_of_its_own():
    x = leaf([1.0, 2.0])
    y = Primitive("new", lambda x: x + 0, None)(x)
    loss = (x * x).sum()
    y += 1
    loss.backward()
    assert x.grad.tolist() == [2.0, 4.0]
