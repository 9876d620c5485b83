"""The sweep: reuse, repeated and deep backward passes, memory, and gradients that nobody shares."""

import copy
import gc
import pickle
import sys
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

from microgradnet import Parameter, Primitive, Tensor, grad, no_grad, ops
from microgradnet.backprop import visits
from microgradnet.graph import Node

DEEP = 100_000


def leaf(data: Any, dtype: Any = None) -> Any:
    return Tensor(data, requires_grad=True, dtype=dtype)


# --------------------------------------------------------------------- reuse


def test_both_edges_of_a_square_are_kept():
    x = leaf([3.0, -1.0])
    y = x * x
    assert y._node.parents == [x._node, x._node]
    y.sum().backward()
    assert x.grad.tolist() == [6.0, -2.0]


def test_diamonds_add_up():
    a = leaf(1.0)
    b = a + a
    (b + b).backward()
    assert a.grad == 4


def test_a_late_contribution_arrives_before_the_node_is_visited():
    x = leaf(2.0)
    early = x * 3.0
    late = early * early
    (late + early).backward()  # ∂/∂x = (2·6 + 1)·3
    assert x.grad == 39


@pytest.mark.parametrize("between", ["nothing", "forward", "no_grad", "other graph", "grad()", "retain_grad"])
def test_n_backwards_add_n_gradients(between):
    x = leaf([0.1, 0.7])
    h = x * x
    y = (h * x).sum()
    y.backward()
    once = x.grad.copy()
    expected = once.copy()
    for _ in range(4):
        if between == "forward":
            (x * y).sum()
        elif between == "no_grad":
            with no_grad():
                (x * 2).sum()
        elif between == "other graph":
            leaf([1.0]).sum().backward()
        elif between == "grad()":
            grad(y, x, create_graph=True)
        elif between == "retain_grad":
            h.retain_grad()
        y.backward()
        expected = expected + once
        assert x.grad.tolist() == expected.tolist()


def test_a_computed_tensor_has_a_gradient_only_where_it_retains_it():
    x = leaf([1.0, 2.0])
    plain, kept = x * 2, x * 3
    kept.retain_grad()
    for n in (1, 2):
        (plain + kept * kept).sum().backward()
        assert plain.grad is None
        assert kept.grad.tolist() == [6.0 * n, 12.0 * n]


# --------------------------------------------------------------------- what the sweep shows


def test_the_sweep_shows_gradients_contributions_and_running_sums():
    x = leaf(3.0)
    square = x * x
    y = square + x
    seen = visits({y._node: np.ones(())})
    assert [node for node, _, _ in seen] == [y._node, square._node, x._node]
    (_, g_y, from_y), (_, g_square, from_square), (_, g_x, from_x) = seen
    assert (g_y, g_square, g_x) == (1, 1, 7)
    assert from_x == []
    assert [(i, node, float(c), float(total)) for i, node, c, total in from_y] == [
        (0, square._node, 1, 1),
        (1, x._node, 1, 1),
    ]
    assert [(i, node, float(c), float(total)) for i, node, c, total in from_square] == [
        (0, x._node, 3, 4),
        (1, x._node, 3, 7),
    ]


def test_every_node_is_visited_once_and_every_rule_runs_once_however_many_paths_there_are():
    runs = []

    def rule(g, _y, _a, _b):
        runs.append(1)
        return g

    add = Primitive("add", np.add, rule, rule)
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2⁶⁰ paths
        y = add(y, y)
    assert len(visits({y._node: np.ones(())})) == 61
    assert len(runs) == 120
    y.backward()
    assert x.grad == 2.0**60


def test_visits_grow_linearly_with_a_chain():
    x = leaf(1.0)
    y, counts = x, []
    for n in range(1, 2001):
        y = y + 1
        if n in (500, 1000, 2000):
            counts.append(sum(1 + len(handed) for _, _, handed in visits({y._node: np.ones(())})))
    assert counts == [1001, 2001, 4001]


# --------------------------------------------------------------------- deep graphs


@pytest.fixture(scope="module")
def deep():
    x = leaf(1.0)
    y = x
    for _ in range(DEEP):
        y = y + 1
    return x, y


def test_a_deep_chain_goes_backward_to_any_order(deep):
    x, y = deep
    x.grad = None
    y.backward()
    assert x.grad == 1
    assert grad(y * y, x, create_graph=True)[0].item() == 2 * (DEEP + 1)


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_recorded_graph_refuses_to_be_copied(deep, copier):
    _, y = deep
    with pytest.raises(TypeError, match=r"add#\d+ .* has a history.* use t\.detach\(\) for its value alone"):
        copier(y)
    with pytest.raises(TypeError, match="a recorded graph cannot be copied or pickled"):
        copier(y._node)


def test_a_deep_chain_is_freed_without_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(DEEP):
        y = y * 1.0
    first = weakref.ref(x._node)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        del x, y
    finally:
        sys.setrecursionlimit(limit)
    assert first() is None


def test_leaves_are_copied_with_everything_that_is_theirs():
    w = Parameter([1.0, 2.0], name="w")
    w.sum().backward()
    for twin in (copy.copy(w), copy.deepcopy(w), pickle.loads(pickle.dumps(w))):  # noqa: S301 - our own bytes
        assert type(twin) is Parameter
        assert (twin.name, twin.requires_grad, twin.dtype.name) == ("w", True, "float32")
        assert twin.data.tolist() == [1.0, 2.0]
        assert twin.grad is not None
        assert twin.grad.tolist() == [1.0, 1.0]
        assert not np.shares_memory(twin.data, w.data)
        assert not np.shares_memory(twin.grad, w.grad)
        assert twin._node is not w._node


# --------------------------------------------------------------------- memory


@pytest.fixture
def no_gc():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_gc")
def test_dropping_the_result_frees_the_graph():
    x = leaf([1.0, 2.0])
    h = x * x
    h.retain_grad()
    remove = h.register_hook(lambda g: g * 1)
    y = (h * x).sum()
    y.backward()
    (gx,) = grad(y, x, create_graph=True)
    grad(gx.sum(), x)
    dying = [weakref.ref(t) for t in (h, y, gx)] + [weakref.ref(t._node) for t in (h, y, gx)]
    del h, y, gx
    assert [ref() for ref in dying] == [None] * 6
    remove()
    assert x.grad is not None


@pytest.mark.usefixtures("no_gc")
def test_a_tensor_dies_while_its_graph_lives():
    x = leaf([1.0, 2.0])
    h = x * x
    y = h.sum()
    tensor, node = weakref.ref(h), weakref.ref(h._node)
    del h
    assert tensor() is None
    assert node() is not None
    del y
    assert node() is None


@pytest.mark.usefixtures("no_gc")
def test_retain_graph_false_frees_the_arrays_at_once():
    x = leaf([1.0, 2.0])
    h = x * x
    y = h.sum()
    node = weakref.ref(h._node)
    del h
    y.backward(retain_graph=False)
    assert node() is None
    assert x.grad.tolist() == [2.0, 4.0]
    with pytest.raises(
        RuntimeError, match=r"sum#\d+ .* was freed by an earlier backward\(retain_graph=False\); keep"
    ):
        y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_graph_that_leads_into_a_freed_one_says_so_and_changes_nothing():
    x = leaf([1.0])
    h = x * x
    h.sum().backward(retain_graph=False)
    w = leaf([5.0])  # newer than h, and so visited before it
    with pytest.raises(RuntimeError, match=r"mul#\d+ .* was freed"):
        (h * w).sum().backward()
    assert w.grad is None
    assert x.grad.tolist() == [2.0]


@pytest.mark.usefixtures("no_gc")
def test_ten_thousand_training_steps_leave_memory_flat():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((4, 3)), rng.standard_normal((4, 1))
    w, b = leaf(rng.standard_normal((1, 3))), leaf(np.zeros(1))

    def steps(n):
        for _ in range(n):
            difference = ops.linear(x, w, b).tanh() - t
            loss = (difference * difference).mean()
            loss.backward()
            with no_grad():
                w.__isub__(0.1 * w.grad)
                b.__isub__(0.1 * b.grad)
            w.grad = b.grad = None

    steps(100)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    steps(10_000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 5_000  # half a byte a step: less than one object each thousand steps


# --------------------------------------------------------------------- gradients belong to one tensor alone

ALIASING: dict[str, Any] = {
    "leaf": lambda x, _: x,
    "add": lambda x, z: x + z,
    "sub": lambda x, z: x - z,
    "reshape": lambda x, z: (x.reshape(-1) + 0).reshape(2, 3) + z,
    "transpose": lambda x, z: x.T.reshape(3, 2).T + z,
    "direct transpose": lambda x, z: x.T,
    "direct reshape": lambda x, z: x.reshape(6),
    "slice": lambda x, z: x[:] + z,
    "broadcast": lambda x, z: np.broadcast_to(x, (4, 2, 3)),
    "broadcast itself": lambda x, z: np.broadcast_to(x, (2, 3)) + z,
    "expand": lambda x, z: np.expand_dims(x, 0),
    "squeeze": lambda x, z: np.squeeze(np.expand_dims(x, 0)),
    "concatenate": lambda x, z: np.concatenate([x, z]),
    "stack": lambda x, z: np.stack([x, z, x]),
    "where": lambda x, z: np.where(np.ones((2, 3), bool), x, z),
    "mul": lambda x, z: x * z,
    "matmul": lambda x, z: x @ z.T,
    "linear": ops.linear,
    "sum": lambda x, z: x.sum(0) + z.sum(0),
    "flip": lambda x, z: np.flip(x),
    "astype": lambda x, z: x.astype(float) + z.astype(np.float32),
    "einsum": lambda x, z: np.einsum("ij->ji", x),
}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ALIASING)
def test_scaling_a_gradient_in_place_changes_nothing_else(name, order):
    rng = np.random.default_rng(1)
    x, z = leaf(np.asarray(rng.standard_normal((2, 3)), order=order)), leaf(rng.standard_normal((2, 3)))
    y = ALIASING[name](x, z)
    y.retain_grad()
    seed = np.asarray(rng.standard_normal(y.shape), order=order)
    y.backward(seed)
    tensors = {"x": x, "z": z} | ({} if y is x else {"y": y})
    arrays = {"seed": seed} | {
        f"saved {i}": a for i, a in enumerate(y._node.args) if isinstance(a, np.ndarray)
    }
    arrays |= {label: t.data for label, t in tensors.items()}
    arrays |= {f"{label}.grad": t.grad for label, t in tensors.items() if t.grad is not None}
    assert "x.grad" in arrays
    for label in [label for label in arrays if label.endswith(".grad")]:
        gradient = arrays[label]
        assert gradient.flags.c_contiguous
        assert gradient.flags.writeable
        others = {other: a for other, a in arrays.items() if other != label}
        before = {other: a.copy() for other, a in others.items()}
        gradient *= 7
        assert [other for other, a in others.items() if (a != before[other]).any()] == []
        assert [other for other, a in others.items() if np.shares_memory(a, gradient)] == []


def test_add_of_two_leaves_gives_each_its_own_array():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    seed = np.array([5.0, 6.0])
    (a + b).backward(seed)
    a.grad *= 100
    assert b.grad.tolist() == [5.0, 6.0]
    assert seed.tolist() == [5.0, 6.0]


def test_accumulating_does_not_write_into_an_array_that_was_taken_before():
    x = leaf([1.0, 2.0])
    y = x.sum()
    y.backward()
    taken = x.grad
    y.backward()
    assert taken.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


def test_an_assigned_gradient_is_copied():
    x, given = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    x.grad = given
    x.grad *= 2
    assert given.tolist() == [3.0, 4.0]
    assert x.grad.tolist() == [6.0, 8.0]


@pytest.mark.parametrize("value", [np.ones(3), np.ones(2, np.float32), 1.0], ids=["shape", "dtype", "number"])
def test_an_assigned_gradient_must_fit(value):
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"\.grad must be float64 of shape \(2,\), not float"):
        x.grad = value


def test_grad_of_a_tensor_without_gradient():
    x = Tensor([1.0])
    x.grad = None
    assert x.grad is None
    with pytest.raises(RuntimeError, match="set requires_grad=True first"):
        x.grad = np.ones(1)


# --------------------------------------------------------------------- dtype and shape


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gradient_has_the_shape_and_dtype_of_its_tensor(shape, dtype):
    x = leaf(np.ones(shape, dtype))
    for y in (x, x + 1, x * x, x.sum(), (x * x).sum(), x + np.ones((2, 1, 1, 1)), np.tanh(x) * 2):
        x.grad = None
        y.backward(np.ones(y.shape))
        y.backward(np.ones(y.shape))
        assert type(x.grad) is np.ndarray
        assert (x.grad.shape, x.grad.dtype) == (shape, dtype)
        (g,) = grad(y, x, np.ones(y.shape), create_graph=True)
        assert type(g.data) is np.ndarray
        assert (g.shape, g.dtype) == (shape, dtype)


def test_results_and_gradients_of_single_numbers_stay_arrays():
    x = leaf(2.0)
    for y in (x, x + 1, x * x, -x, x.sum(), np.exp(x), x**2, x**0.5, abs(x), x.reshape(1)[0], x > 1):
        assert type(y.data) is np.ndarray, y
        assert y.shape == ()
    assert type(grad([x, x], x)[0].data) is np.ndarray
    assert grad([x, x], x)[0].item() == 2


def test_mixed_precision_gives_each_tensor_its_own():
    a, b = leaf([1.5, 2.0], np.float32), leaf([[2.0], [3.0]], np.float64)
    y = (a * b).sum()
    assert y.dtype == np.float64
    y.backward()
    assert (a.grad.dtype, a.grad.tolist()) == (np.float32, [5.0, 5.0])
    assert (b.grad.dtype, b.grad.tolist()) == (np.float64, [[3.5], [3.5]])


# --------------------------------------------------------------------- where to start


def test_a_leaf_is_its_own_derivative():
    x = leaf([2.0])
    x.backward()
    assert x.grad.tolist() == [1.0]


@pytest.mark.parametrize("gradient", [np.array([1.0, 10.0]), [1, 10], Tensor([1.0, 10.0], dtype=np.float32)])
def test_the_gradient_that_arrives_may_be_given(gradient):
    x = leaf([3.0, 4.0])
    (x * x).backward(gradient)
    assert x.grad.tolist() == [6.0, 80.0]


def test_where_there_is_no_single_derivative_the_message_says_what_to_do():
    with pytest.raises(
        ValueError, match=r"backward\(\): the output has shape \(2,\).* reduce it .* or give the gradient"
    ):
        (leaf([1.0, 2.0]) * 2).backward()


@pytest.mark.parametrize("gradient", [1.0, np.ones(3), np.ones((1, 2))])
def test_the_gradient_that_arrives_must_have_the_shape_of_the_output(gradient):
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"the gradient has shape .*, the output it belongs to \(2,\)"):
        (x * 2).backward(gradient)
    assert x.grad is None


@pytest.mark.parametrize(
    "make", [lambda: Tensor([1.0]).sum(), lambda: leaf([1.0]).detach(), lambda: leaf([1.0]) > 0]
)
def test_backward_of_a_constant_says_what_is_missing(make):
    with pytest.raises(
        RuntimeError, match=r"not computed from anything that requires a gradient.*requires_grad=True"
    ):
        make().backward()


# --------------------------------------------------------------------- hooks and names


def test_hooks_run_in_order_on_the_whole_gradient_and_may_replace_it():
    x = leaf([1.0, 2.0])
    h = x * 1
    seen = []
    h.register_hook(lambda g: seen.append(("first", g.tolist())))
    h.register_hook(lambda g: 10 * g)
    h.register_hook(lambda g: seen.append(("third", g.tolist())))
    (h + h).sum().backward()
    assert seen == [("first", [2.0, 2.0]), ("third", [20.0, 20.0])]
    assert x.grad.tolist() == [20.0, 20.0]


def test_a_hook_is_removed_alone_even_if_it_was_registered_twice():
    x = leaf(1.0)

    def double(g):
        return 2 * g

    first, second = x.register_hook(double), x.register_hook(double)
    for remove, expected in ((None, 4), (first, 2), (first, 2), (second, 1)):
        if remove:
            remove()
        x.grad = None
        (x * 1).backward()
        assert x.grad == expected


def test_a_hook_may_remove_itself():
    x = leaf(1.0)
    removers: list[Any] = []

    def once(g):
        removers[0]()
        return 5 * g

    removers.append(x.register_hook(once))
    (x * 1).backward()
    (x * 1).backward()
    assert x.grad == 6


def test_a_hook_cannot_write_into_a_gradient_that_others_hold():
    x, z = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    h = x * 1

    def scale(g):
        g *= 2

    h.register_hook(scale)
    with pytest.raises(ValueError, match="read-only"):
        (h + z).sum().backward()
    assert x.grad is None
    assert z.grad is None


def test_what_a_hook_saw_or_returned_is_not_the_gradient_that_is_stored():
    x, mine = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    seen: list[Any] = []
    x.register_hook(seen.append)
    x.register_hook(lambda g: mine)
    x.sum().backward()
    x.grad *= 100
    assert mine.tolist() == [3.0, 4.0]
    assert seen[0].tolist() == [1.0, 1.0]


def test_what_a_hook_returns_is_made_to_fit_or_refused():
    x = leaf([1.0, 2.0], np.float32)
    remove = x.register_hook(lambda g: [2.0, 3.0])
    x.sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [2.0, 3.0])
    remove()
    x.register_hook(lambda g: g.sum())
    with pytest.raises(
        ValueError, match=r"a hook of leaf#\d+ of shape \(2,\) returned shape \(\); expected \(2,\), or None"
    ):
        x.sum().backward()


def test_hooks_act_on_gradients_that_are_graphs_too():
    x = leaf(3.0)
    h = x * x
    h.register_hook(lambda g: g * 2)
    h.register_hook(lambda g: np.full(g.shape, 6.0) if isinstance(g, np.ndarray) else None)
    (slope,) = grad(h * h, x, create_graph=True)  # 2·(2h)·2x = 8x³
    assert slope.item() == 216
    (curvature,) = grad(slope, x)
    assert isinstance(curvature, Tensor)
    first = leaf(3.0)
    first.register_hook(lambda g: np.asarray(7.0))
    assert grad(first * first, first, create_graph=True)[0].item() == 7


@pytest.mark.parametrize("ask", ["retain_grad", "register_hook"])
def test_no_gradient_arrives_at_a_constant(ask):
    call = getattr(Tensor([1.0]), ask)
    with pytest.raises(
        RuntimeError, match=f"{ask}: no gradient arrives at this tensor; set requires_grad=True"
    ):
        call(*([print] if ask == "register_hook" else []))


def test_names_are_used_in_messages():
    w = Tensor([1.0, 2.0], requires_grad=True, name="w")
    constant = Tensor([1.0], name="c")
    assert (w.name, constant.name, Tensor([1.0]).name, constant.requires_grad) == ("w", "c", None, False)
    assert w._node is not None
    assert w._node.describe() == f"leaf#{w._node.number} 'w' of shape (2,)"
    y = w * constant
    y.name = "y"
    assert y._node is not None
    assert repr(y._node) == f"<Node mul#{y._node.number} 'y' of shape (2,)>"
    constant.name = None
    assert constant.name is None


def test_leaves_and_results():
    x = leaf([1.0])
    y = x * 2
    assert (x.is_leaf, y.is_leaf, y.detach().is_leaf) == (True, False, True)
    assert (x.requires_grad, y.requires_grad, y.detach().requires_grad) == (True, True, False)
    assert isinstance(x._node, Node)
