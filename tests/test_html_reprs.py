"""What notebooks show of a Tensor, a Module and a History: small tables, escaped, without colours."""

import re

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.html_table import array_rows, table
from microgradnet.train import History, Record


def texts(html):
    """Return the texts of the cells, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def caption(html):
    return re.findall(r"<caption[^>]*>(.*?)</caption>", html)


def test_a_tensor_shows_its_numbers_and_its_gradient():
    w = mg.Tensor([[1.0, 2.0], [3.0, 4.5]], requires_grad=True, name="w")
    assert caption(w._repr_html_()) == ["Tensor · &#x27;w&#x27; · (2, 2) · float64 · requires a gradient"]
    assert texts(w._repr_html_()) == [["1", "2"], ["3", "4.5"]]
    loss = (w * w).sum()
    loss.backward()
    assert caption(loss._repr_html_()) == ["Tensor · () · float64 · made by sum"]
    assert caption(w._repr_html_())[1] == "gradient"
    assert texts(w._repr_html_()) == [["1", "2"], ["3", "4.5"], ["2", "4"], ["6", "9"]]


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros(()), (1, 1)),
        (np.zeros(3), (1, 3)),
        (np.zeros((100, 100)), (7, 9)),
        (np.zeros((0, 4)), (0, 0)),
    ],
)
def test_large_arrays_are_shown_by_their_corner(array, shape):
    rows = array_rows(array)
    assert (len(rows), max(map(len, rows), default=0)) == shape


def test_more_than_two_axes_are_shown_by_their_first_entries():
    assert array_rows(np.arange(24).reshape(2, 3, 4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert array_rows(np.zeros((0, 2, 2))) == []


def test_a_huge_tensor_has_a_small_table():
    assert len(mg.Tensor(np.zeros((1000, 1000)))._repr_html_()) < 20_000


def test_a_module_shows_its_layers_and_parameters():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    html = model._repr_html_()
    assert caption(html) == ["8 parameters"]
    assert texts(html)[1:] == [
        ["(model)", "Sequential()", "", "0"],
        ["0", "Linear(in_features=3, out_features=2, bias=True)", "(2, 3), (2,)", "8"],
        ["1", "ReLU()", "", "0"],
    ]


def test_names_cannot_inject_a_script():
    nasty = "<script>alert(1)</script>"

    class Model(nn.Module):
        def __init__(self):
            self.parts = {nasty: nn.Linear(1, 1)}

    model = Model()
    for html in (
        mg.Tensor(1.0, requires_grad=True, name=nasty)._repr_html_(),
        model._repr_html_(),
        table([[nasty]]),
    ):
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_a_history_shows_its_epochs_and_marks_the_best():
    records = [
        Record(epoch, epoch, 1 / epoch, {"accuracy": 0.5}, {"loss": 2.0, "accuracy": 0.25})
        for epoch in (1, 2)
    ]
    html = History(records, best=records[1])._repr_html_()
    assert texts(html) == [
        ["epoch", "loss", "accuracy", "validation loss", "validation accuracy", ""],
        ["1", "1", "0.5", "2", "0.25", ""],
        ["2", "0.5", "0.5", "2", "0.25", "best"],
    ]
    assert texts(History()._repr_html_()) == [["epoch", "loss", ""]]


def test_a_long_history_shows_both_ends():
    rows = texts(History([Record(epoch, epoch, 0.5) for epoch in range(1, 101)])._repr_html_())
    assert [row[0] for row in rows[1:]] == [*map(str, range(1, 11)), "⋮", *map(str, range(91, 101))]


def test_no_colour_is_fixed_but_the_lines():
    html = mg.Tensor([1.0])._repr_html_()
    assert re.findall(r"(?<!-)color\s*:", html) == []
    assert "background" not in html
