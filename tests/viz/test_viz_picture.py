"""From a graph to plain nodes and edges: every edge, roles, names, values, modules, folding."""

import time

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.viz.picture import MOST_PARALLEL, Wishes, build
from microgradnet.viz.values import array_line, number_text


def leaf(value, name=None):
    return mg.Tensor(value, requires_grad=True, name=name)


def picture(*roots, **wishes):
    return build(roots, Wishes(**wishes))


def titled(drawn, title):
    (node,) = [node for node in drawn.nodes if node.title == title]
    return node


def facts(node):
    return {line.key: line.rows for line in node.lines}


def ends(drawn):
    titles = {node.number: node.title for node in drawn.nodes}
    return [(titles[edge.tail], titles[edge.head], edge.position) for edge in drawn.edges]


# ---------------------------------------------------------------------- edges and order


def test_an_argument_that_is_used_twice_has_two_edges():
    x = leaf(3.0, "x")
    assert ends(picture(x * x)) == [("x", "mul", 0), ("x", "mul", 1)]


def test_diamonds_keep_every_edge():
    a = leaf(1.0, "a")
    b = a + a
    b.name = "b"
    assert ends(picture(b * b)) == [
        ("a", "b = add", 0),
        ("a", "b = add", 1),
        ("b = add", "mul", 0),
        ("b = add", "mul", 1),
    ]


def test_numbers_start_at_one_and_follow_the_program():
    for _ in range(2):  # the second time, the engine's numbers are others
        x, y = leaf(1.0, "x"), leaf(2.0, "y")
        drawn = picture((x + y) * x)
        assert [(node.number, node.title) for node in drawn.nodes] == [
            (1, "x"),
            (2, "y"),
            (3, "add"),
            (4, "mul"),
        ]


def test_edges_carry_shapes():
    w = leaf(np.ones((2, 3)), "w")
    drawn = picture((w @ np.ones(3)).sum())
    assert drawn.edges[0].label == "(2, 3)"
    assert [edge.label for edge in picture(leaf(2.0) * 3).edges] == ["", ""]


def test_very_many_equal_edges_are_one_that_counts():
    x = leaf([1.0], "x")
    few = picture(np.concatenate([x] * MOST_PARALLEL))
    many = picture(np.concatenate([x] * 40))
    assert len(few.edges) == MOST_PARALLEL
    assert [edge.label for edge in many.edges] == ["40 edges"]


def test_several_roots_share_one_picture():
    x = leaf(2.0, "x")
    drawn = picture(x * x, x + x)
    assert [(node.title, node.role) for node in drawn.nodes] == [
        ("x", "parameter"),
        ("mul", "loss"),
        ("add", "loss"),
    ]


def test_a_gradient_that_is_a_graph_is_drawn():
    x = leaf(3.0, "x")
    (slope,) = mg.grad(x * x * x, x, create_graph=True)
    drawn = picture(slope)
    assert facts(drawn.nodes[-1])["value"] == (("27",),)
    assert drawn.nodes[-1].role == "loss"
    assert len([tail for tail, _, _ in ends(drawn) if tail == "x"]) == 5


# ---------------------------------------------------------------------- roles and constants


def test_roles():
    w, x = leaf([1.0, 2.0], "w"), np.array([3.0, 4.0])
    t = mg.Tensor([5.0, 6.0], name="t")
    drawn = picture((w * x * 2.0 - t) * 1.0)
    roles = {node.title: node.role for node in drawn.nodes}
    assert roles == {
        "w": "parameter",
        "input": "input",
        "mul": "output",
        "2": "constant",
        "t": "input",
        "sub": "operation",
        "1": "constant",
    }
    assert picture((w * x).sum()).nodes[-1].role == "loss"


def test_one_array_is_one_input_and_numbers_are_each_their_own():
    w, x = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    roles = [node.role for node in picture((w * x * 2.0) + (w * x * 2.0)).nodes]
    assert roles.count("input") == 1
    assert roles.count("constant") == 2


def test_a_constant_that_no_rule_reads_says_so():
    drawn = picture(leaf([1.0], "w") + np.array([5.0]))
    constant = titled(drawn, "constant")
    assert facts(constant) == {"": (("value not kept",),)}
    assert [edge.label for edge in drawn.edges] == ["(1,)", "?"]


def test_hidden_constants_leave_positions_as_they_are():
    drawn = picture(2.0 * leaf(3.0, "w"), constants=False)
    assert ends(drawn) == [("w", "mul", 1)]
    assert [node.title for node in picture(leaf([1.0], "w") * np.ones(1), constants=False).nodes] == [
        "w",
        "input",
        "mul",
    ]


def test_a_freed_graph_says_so():
    y = leaf(2.0) * 3
    y.backward(retain_graph=False)
    assert picture(y).notes == ("a part of the graph was freed by backward(retain_graph=False)",)


# ---------------------------------------------------------------------- names


def test_parameters_have_their_paths_and_others_their_names(net):
    _, _, loss = net
    assert [node.title for node in picture(loss).nodes if node.role in {"parameter", "input"}] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
        "input",
        "target",
    ]


def test_the_callers_names_come_first():
    x, unnamed = leaf(3.0, "x"), leaf(4.0)
    y = x * unnamed
    drawn = picture(y, names={"other": 1, "price": x, "amount": unnamed, "cost": y})
    assert [node.title for node in drawn.nodes] == ["price", "amount", "cost = mul"]


def test_two_models_are_told_apart():
    encoder, decoder = nn.Linear(2, 2), nn.Linear(2, 2)
    drawn = picture(decoder(encoder(np.ones((1, 2)))))
    assert [node.title for node in drawn.nodes if node.role == "parameter"] == [
        "Linear.weight",
        "Linear.bias",
        "Linear 2.weight",
        "Linear 2.bias",
    ]
    assert [cluster.title for cluster in drawn.clusters] == ["Linear", "Linear 2"]


def test_long_and_unprintable_names_are_tamed():
    long, bell = leaf(1.0, "n" * 500), leaf(1.0, "a\0\nb")
    titles = [node.title for node in picture(long * bell).nodes]
    assert titles == ["n" * 47 + "…", "a��b", "mul"]


# ---------------------------------------------------------------------- values and gradients


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (-0.0, "0"), (1e-12, "1e-12"), (60000, "60000"), (True, "True"), (np.inf, "inf")],
)
def test_numbers(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("array", "rows"),
    [
        (np.array(0.5), (("0.5",),)),
        (np.array([1.0, 2.5]), (("1", "2.5"),)),
        (np.eye(2), (("1", "0"), ("0", "1"))),
        (np.zeros((0, 3)), (("empty",),)),
        (np.arange(100.0), (("min", "0"), ("mean", "49.5"), ("max", "99"))),
        (np.full(20, np.nan), (("nan", "20 of 20"),)),
        (
            np.array([np.inf, -np.inf, 1.0] * 5),
            (("min", "1"), ("mean", "1"), ("max", "1"), ("inf", "10 of 15")),
        ),
        (np.full(20, 1e308), (("min", "1e+308"), ("mean", "inf"), ("max", "1e+308"))),
        (np.arange(20) > 4, (("15 of 20 true",),)),
        (np.ones((2, 2, 2)), (("min", "1"), ("mean", "1"), ("max", "1"))),
    ],
)
def test_arrays(array, rows):
    assert array_line("value", array).rows == rows


def test_no_gradient_yet_is_not_zero():
    w = leaf(2.0, "w")
    loss = w * 0.0
    assert facts(titled(picture(loss), "w"))["grad"] == (("no gradient yet",),)
    w.grad = 0.0
    assert facts(titled(picture(loss), "w"))["grad"] == (("0",),)


def test_intermediates_show_a_gradient_where_they_keep_one():
    w = leaf(2.0, "w")
    h = w * 3.0
    h.name = "h"
    y = h * h
    assert "grad" not in facts(titled(picture(y), "h = mul"))
    h.retain_grad()
    y.backward()
    assert facts(titled(picture(y), "h = mul"))["grad"] == (("12",),)


def test_the_backward_pass_is_shown_at_every_node_and_stores_nothing():
    w = leaf(2.0, "w")
    h = w * 3.0
    drawn = picture(h * h, show=("backward",))
    assert [facts(node).get("∂L") for node in drawn.nodes] == [(("36",),), None, (("12",),), (("1",),)]
    assert w.grad is None


def test_a_backward_pass_needs_a_number_to_start_from():
    with pytest.raises(ValueError, match=r"draw\(show=\['backward'\]\): the output has shape \(2,\)"):
        picture(leaf([1.0, 2.0]) * 2, show=("backward",))
    with pytest.raises(ValueError, match="nothing that is drawn requires a gradient"):
        picture(mg.Tensor(1.0, name="c"), show=("backward",))


def test_what_is_shown_can_be_chosen():
    w = leaf(np.ones(2, np.float32), "w")
    full = titled(picture(w * 1, show=("shape", "dtype", "value", "grad")), "w")
    assert (full.shape, sorted(facts(full))) == ("(2,) float32", ["grad", "value"])
    bare = titled(picture(w * 1, show=()), "w")
    assert (bare.shape, bare.lines) == ("", ())


def test_settings_of_an_operation_are_shown():
    drawn = picture(leaf(np.ones((2, 3))).sum(axis=1))
    assert facts(titled(drawn, "sum"))[""] == (("axis=1",),)


def test_a_frozen_parameter_says_so(net):
    model, x, _ = net
    model[0].weight.requires_grad = False
    frozen = titled(picture(model(x)), "0.weight")
    assert frozen.role == "parameter"
    assert facts(frozen)[""] == (("frozen",),)


# ---------------------------------------------------------------------- modules


def test_modules_are_nested_clusters(net):
    _, _, loss = net
    drawn = picture(loss)
    assert [(c.number, c.parent, c.title) for c in drawn.clusters] == [
        (1, None, "Sequential"),
        (2, 1, "0 · Linear"),
        (3, 1, "1 · Tanh"),
        (4, 1, "2 · Linear"),
        (5, None, "QuadraticLoss"),
    ]
    places = {node.title: node.cluster for node in drawn.nodes}
    assert (places["0.weight"], places["tanh"], places["input"], places["squared_error"]) == (2, 3, None, 5)


def test_each_call_of_a_module_is_a_cluster_and_tied_weights_lie_around_both():
    class Twice(nn.Module):
        def __init__(self):
            self.cell = nn.Linear(2, 2)

        def forward(self, x):
            return self.cell(self.cell(x))

    drawn = picture(Twice()(np.ones((1, 2))))
    assert [(c.parent, c.title) for c in drawn.clusters] == [
        (None, "Twice"),
        (1, "cell · Linear"),
        (1, "cell · Linear (call 2)"),
    ]
    assert titled(drawn, "cell.weight").cluster == 1


def test_no_grad_inside_a_module_opens_no_further_cluster():
    class Square(nn.Module):
        def forward(self, x):
            with mg.no_grad():
                y, _ = mg.vjp(lambda t: t * t, x)  # records wherever it is
            return y

    drawn = picture(Square()(leaf(3.0, "x")))
    assert [cluster.title for cluster in drawn.clusters] == ["Square"]
    assert [node.title for node in drawn.nodes] == ["x", "mul"]


def test_depth_closes_modules(net):
    _, _, loss = net
    one = picture(loss, depth=1)
    assert [(node.title, node.role) for node in one.nodes] == [
        ("0 · Linear", "module"),
        ("2 · Linear", "module"),
        ("input", "input"),
        ("1 · Tanh", "module"),
        ("target", "input"),
        ("squared_error", "loss"),
    ]
    none = picture(loss, depth=0)
    assert ends(none) == [
        ("input", "Sequential", 0),
        ("Sequential", "squared_error", 0),
        ("target", "squared_error", 1),
    ]
    assert none.clusters == ()
    assert titled(none, "Sequential").lines[0].rows == (("3 operations",), ("4 parameters (9 numbers)",))


# ---------------------------------------------------------------------- paths


def test_all_paths_between_two_nodes_are_highlighted():
    a, b = leaf(1.0, "a"), leaf(2.0, "b")
    left, right = np.sin(a), np.cos(a)
    y = left * right + b
    drawn = picture(y, highlight=(a, y))
    assert [node.title for node in drawn.nodes if not node.highlighted] == ["b"]
    assert sum(edge.highlighted for edge in drawn.edges) == 5
    one = picture(y, highlight=("a", left))
    assert [node.title for node in one.nodes if node.highlighted] == ["a", "sin"]


def test_a_highlight_that_cannot_be_says_why():
    a = leaf(1.0, "a")
    y = np.sin(a)
    with pytest.raises(ValueError, match="no path leads from sin to a; give the earlier one first"):
        picture(y, highlight=(y, a))
    with pytest.raises(ValueError, match="nothing is called 'z' here; the names are: a"):
        picture(y, highlight=("z", y))
    with pytest.raises(ValueError, match="a tensor that is not part of this graph"):
        picture(y, highlight=(leaf(1.0), y))


# ---------------------------------------------------------------------- large graphs


def chain(length):
    y = x = leaf(1.0, "x")
    for _ in range(length):
        y = -y
    return x, y


def test_a_large_graph_has_its_middle_folded():
    _, y = chain(100)
    drawn = picture(y, limit=10)
    assert [node.number for node in drawn.nodes] == list(range(1, 12))
    assert drawn.nodes[5].title == "… 91 nodes …"
    assert drawn.notes == ("101 nodes are more than limit=10: the 91 in the middle are one box",)
    assert [(edge.tail, edge.head) for edge in drawn.edges] == [(n, n + 1) for n in range(1, 11)]


def test_a_root_in_the_folded_middle_stays():
    _, middle = chain(50)
    end = middle
    for _ in range(50):
        end = -end
    drawn = picture(middle, end, limit=10)
    assert [node.role for node in drawn.nodes].count("loss") == 2


def test_a_chain_of_100_000_operations_is_drawn_soon():
    _, y = chain(100_000)
    start = time.perf_counter()
    drawn = picture(y)
    assert len(drawn.nodes) == 2001
    assert time.perf_counter() - start < 30


def test_modules_are_closed_before_anything_is_folded():
    model = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for _ in range(4)])
    drawn = picture(model(np.ones((1, 2))), limit=8)
    assert [node.role for node in drawn.nodes] == ["module", "module", "module", "module", "input", "output"]
    assert drawn.notes == ("the graph has 17 nodes, more than limit=8: modules are closed (depth=1)",)
