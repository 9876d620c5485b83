"""Repeated layers drawn once; source lines."""

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.viz import draw, source_lines
from microgradnet.viz.picture import Wishes, build


def rolled(loss, **wishes):
    return build([loss], Wishes(roll=True, **wishes))


def block():
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh())


def titles(drawn):
    return [cluster.title for cluster in drawn.clusters]


def test_equal_blocks_are_drawn_once_with_a_way_back():
    model = nn.Sequential(nn.Linear(2, 3), block(), block(), block(), nn.Linear(3, 1))
    loss = nn.MSELoss()(model(np.ones((1, 2))), [[1.0]])
    drawn = rolled(loss)
    assert "1 · Sequential … 3 · Sequential (3×)" in titles(drawn)
    assert [node.title for node in drawn.nodes if node.role == "parameter"] == [
        "0.weight",
        "0.bias",
        "1.0.weight",
        "1.0.bias",
        "4.weight",
        "4.bias",
    ]
    (back,) = [edge for edge in drawn.edges if edge.again]
    assert back.label == "(1, 3) again, 2×"
    ends = [drawn.nodes[number - 1].title for number in (back.tail, back.head)]
    assert ends == ["tanh", "linear"]
    tanh = back.tail
    after = [drawn.nodes[e.head - 1].cluster for e in drawn.edges if e.tail == tanh and not e.again]
    assert [drawn.clusters[[c.number for c in drawn.clusters].index(c)].title for c in after if c] == [
        "4 · Linear"
    ]
    assert drawn.notes == ("repeated layers are drawn once, with the numbers of the first",)


def test_layers_that_repeat_in_turn_are_rolled_together():
    layers = [layer for _ in range(4) for layer in (nn.Linear(3, 3), nn.ReLU())]
    loss = nn.MSELoss()(nn.Sequential(*layers)(np.ones((1, 3))), np.zeros((1, 3)))
    drawn = rolled(loss)
    assert titles(drawn)[1:3] == ["0 · Linear … 6 · Linear (4×)", "1 · ReLU … 7 · ReLU (4×)"]
    assert [node.title for node in drawn.nodes].count("relu") == 1


def test_a_roll_inside_a_roll():
    inner = [nn.Sequential(block(), block()) for _ in range(3)]
    loss = nn.MSELoss()(nn.Sequential(*inner)(np.ones((1, 3))), np.zeros((1, 3)))
    drawn = rolled(loss)
    assert "0 · Sequential … 2 · Sequential (3×)" in titles(drawn)
    assert "0.0 · Sequential … 0.1 · Sequential (2×)" in titles(drawn)
    assert [node.title for node in drawn.nodes].count("tanh") == 1


def test_a_single_operation_that_repeats_has_an_edge_to_itself():
    model = nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Tanh())
    drawn = rolled(nn.MSELoss()(model([1.0]), [0.0]))
    assert [(e.tail == e.head, e.label) for e in drawn.edges if e.again] == [(True, "(1,) again, 1×")]


def test_what_differs_is_not_rolled():
    sizes = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    assert not any("×" in title for title in titles(rolled(sizes(np.ones((1, 2))).sum())))

    class Residual(nn.Module):
        def __init__(self):
            self.blocks = [nn.Linear(3, 3), nn.Linear(3, 3)]

        def forward(self, x):
            for layer in self.blocks:
                x = x + layer(x)  # computed between the layers
            return x

    assert not any("×" in title for title in titles(rolled(Residual()(np.ones((1, 3))).sum())))


def test_a_result_inside_the_last_block_keeps_it_apart():
    model = nn.Sequential(block(), block(), block())
    drawn = rolled(model(np.ones((1, 3))))
    assert "0 · Sequential … 1 · Sequential (2×)" in titles(drawn)
    assert drawn.nodes[-1].role == "output"


def test_closed_and_rolled():
    model = nn.Sequential(block(), block(), block(), nn.Linear(3, 1))
    drawn = rolled(model(np.ones((1, 3))).sum(), depth=1)
    boxes = [node.title for node in drawn.nodes if node.role == "module"]
    assert boxes == ["0 · Sequential … 2 · Sequential (3×)", "3 · Linear"]
    half = rolled(model(np.ones((1, 3))).sum(), depth=2)
    assert [edge.label for edge in half.edges if edge.again] == ["(1, 3) again, 2×"]


def test_dot_draws_a_roll():
    model = nn.Sequential(block(), block(), nn.Linear(3, 1))
    source = draw(model(np.ones((1, 3))).sum(), roll=True).source
    assert "again, 1×" in source
    assert "constraint=false" in source
    assert "again" not in draw(model(np.ones((1, 3))).sum()).source


# ---------------------------------------------------------------------- source lines


def source(tensor: mg.Tensor) -> str | None:
    assert tensor._node is not None
    return tensor._node.source


def test_source_lines_are_recorded_only_on_request():
    w = mg.Tensor(2.0, requires_grad=True)
    before = w * 3
    with source_lines():
        inside = w * 4
        model = nn.Linear(1, 1)(mg.Tensor([[1.0]], dtype=np.float32))
    after = w * 5
    assert source(before) is None
    assert str(source(inside)).endswith(": inside = w * 4")
    assert str(source(inside)).startswith("test_viz_rolling.py:")
    assert "nn.Linear(1, 1)" in str(source(model))  # not a line of the library
    assert source(after) is None


def test_source_lines_leave_the_numbers_and_the_modules_as_they_are(net):
    model, x, loss = net
    with source_lines():
        again = nn.QuadraticLoss()(model(x), mg.Tensor([[1.0]], name="target"))
    assert draw(again).source == draw(loss).source
    assert "test_viz_rolling.py:" in draw(again, show=("source",), format="text")


def test_source_lines_respect_no_grad_and_exceptions():
    w = mg.Tensor(2.0, requires_grad=True)
    with mg.no_grad(), source_lines():
        assert (w * 2)._node is None
    with pytest.raises(TypeError), source_lines():
        nn.Linear(1, 1)()
    assert source(w * 2) is None


def test_a_drawn_model_shows_its_own_lines():
    class Square(nn.Module):
        def forward(self, x):
            return x * x

    assert ": return x * x" in draw(Square(), [2.0], show="source", format="text")
