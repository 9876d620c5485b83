"""The confusion matrix and the decision boundary: counts and regions are the model's."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from microgradnet import nn, viz
from microgradnet.viz.plots.classes import confusion


@pytest.fixture
def ax():
    return Figure().subplots()


def test_every_pair_is_counted():
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    found = confusion(truth, said)
    for i, j in itertools.product(range(4), repeat=2):
        assert found[i, j] == sum((t, s) == (i, j) for t, s in zip(truth, said, strict=True))


def test_the_counts_are_written_in_the_cells(ax):
    outputs = np.eye(3)[[0, 1, 1, 2]]
    assert viz.plot_confusion([0, 1, 2, 2], outputs, ["a", "$b$", "c"], ax=ax) is ax
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {(0, 0): "1", (1, 1): "1", (1, 2): "1", (2, 2): "1"}, "column, row: taken for, is"
    assert ax.get_title(loc="left") == "1 of 4 wrong"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "\\$b\\$", "c"]


def test_right_is_blue_and_wrong_is_red(ax):
    viz.plot_confusion([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], ax=ax)
    red, _, blue, strength = np.moveaxis(np.asarray(ax.images[0].get_array()), -1, 0)
    assert blue[0, 0] > red[0, 0]
    assert red[0, 1] > blue[0, 1]
    assert strength[1, 0] == 0
    assert strength[0, 0] == pytest.approx(0.75)


def test_a_class_that_does_not_occur_has_a_row(ax):
    viz.plot_confusion([0, 1], [0, 1], ["a", "b", "c"], ax=ax)
    assert np.asarray(ax.images[0].get_array()).shape == (3, 3, 4)


def test_confusion_refuses_what_does_not_fit(ax):
    with pytest.raises(ValueError, match=r"predictions \(N,\) or \(N, C\) are needed, not \(2,\) and \(3,\)"):
        viz.plot_confusion([0, 1], [0, 1, 1], ax=ax)


def halves():
    """A model that says 1 where x₁ > 0."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9))
    model.load_state_dict({"0.weight": [[-1.0, 0.0], [1.0, 0.0]], "0.bias": [0.0, 0.0]})
    return model


POINTS = np.array([[-1.0, 0.0], [1.0, 1.0], [2.0, -1.0]])


def test_the_regions_are_what_the_model_says(ax):
    model = halves()
    assert viz.plot_decision_boundary(model, POINTS, [0, 1, 0], resolution=40, ax=ax) is ax
    low, high = ax.get_xlim()
    assert (low, high) == (pytest.approx(-1.3), pytest.approx(2.3))
    border = ax.collections[1].get_paths()[0].vertices  # the line between the regions
    assert np.abs(border[:, 0]).max() < 3.6 / 39, "it stands at x₁ = 0, within a point of the grid"
    assert ax.get_title(loc="left") == "1 of 3 wrong"
    ringed = ax.collections[-1].get_offsets()
    assert np.asarray(ringed).tolist() == [[2.0, -1.0]]
    assert model.training, "the model is left as it was"
    assert all(p.grad is None for p in model.parameters())


def test_one_output_decides_by_its_sign(ax):
    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": [[1.0, 0.0]], "bias": [0.0]})
    viz.plot_decision_boundary(model, POINTS, [0, 1, 1], resolution=20, ax=ax)
    assert ax.get_title(loc="left") == "0 of 3 wrong"


def test_a_model_of_one_class_everywhere_is_drawn(ax):
    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": [[0.0, 0.0]], "bias": [-1.0]})
    viz.plot_decision_boundary(model, POINTS, [0, 0, 0], resolution=5, ax=ax)
    assert ax.get_title(loc="left") == "0 of 3 wrong"


def test_examples_outside_the_plane_are_refused(ax):
    with pytest.raises(ValueError, match=r"x \(N, 2\) and y \(N,\), not \(3, 3\) and \(3,\)"):
        viz.plot_decision_boundary(halves(), np.zeros((3, 3)), [0, 1, 1], ax=ax)
