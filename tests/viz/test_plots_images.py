"""Weights and mistakes as pictures: every pixel is a number of the model or of the data."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from microgradnet import nn, viz
from microgradnet.viz.plots import worst_mistakes


@pytest.fixture
def ax():
    return Figure().subplots()


def tile(ax, row, column, shape, gap=1, below=0):
    """Return one picture of the mosaic that was drawn."""
    height, width = shape
    top, left = row * (height + gap + below), column * (width + gap)
    return np.asarray(ax.images[0].get_array())[top : top + height, left : left + width]


def test_every_unit_is_a_picture_of_its_weights(ax):
    layer = nn.Linear(12, 5)
    assert viz.plot_weights(layer, shape=(3, 4), ax=ax) is ax
    weight = layer.weight.data.reshape(5, 3, 4)
    for i in range(5):
        assert (tile(ax, i // 3, i % 3, (3, 4)) == weight[i]).all()
    assert ax.get_title(loc="left") == "weights of 5 units"
    low, high = ax.images[0].get_clim()
    assert -low == high == np.abs(weight).max(), "0 has the colour in the middle"


def test_a_model_a_tensor_and_an_array_are_taken(ax):
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 2))
    for source in (model, model[1].weight, model[1].weight.data):
        ax = Figure().subplots()
        viz.plot_weights(source, ax=ax)
        assert (tile(ax, 0, 1, (3, 3)) == model[1].weight.data[1].reshape(3, 3)).all()


def test_kernels_of_a_convolution_are_pictures(ax):
    kernels = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    viz.plot_weights(kernels, most=4, ax=ax)
    assert (tile(ax, 1, 1, (5, 5)) == kernels[1, 0]).all()
    assert ax.get_title(loc="left") == "weights of 4 of 6 units"


def test_weights_that_are_no_picture_are_refused(ax):
    with pytest.raises(
        ValueError, match=r"12 inputs cannot be shown as a square; give shape=\(height, width\)"
    ):
        viz.plot_weights(nn.Linear(12, 2), ax=ax)
    with pytest.raises(ValueError, match=r"12 inputs cannot be shown with shape=\(5, 2\)"):
        viz.plot_weights(nn.Linear(12, 2), shape=(5, 2), ax=ax)
    with pytest.raises(ValueError, match=r"plot_weights: ReLU has no weight of two or four axes"):
        viz.plot_weights(nn.ReLU(), ax=ax)
    with pytest.raises(
        ValueError, match=r"a weight has two axes, or four of a convolution; got shape \(3,\)"
    ):
        viz.plot_weights(np.ones(3), ax=ax)


SHARES = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9], [0.3, 0.4, 0.3]])
TRUTH = np.array([0, 0, 1, 2])  # 1, 2 and 3 are wrong; the truth of 2 is the least probable


def test_mistakes_are_ordered_by_the_probability_of_the_truth():
    assert worst_mistakes(TRUTH, SHARES) == [2, 1, 3]
    assert worst_mistakes(TRUTH, SHARES, 1) == [2]
    assert worst_mistakes(SHARES.argmax(1), SHARES) == []


def test_the_worst_mistakes_are_drawn_with_what_was_said(ax):
    images = np.random.default_rng(0).random((4, 1, 3, 4))
    viz.plot_mistakes(images, TRUTH, SHARES, classes=["a", "<b>", "$c$"], ax=ax)
    for column, example in enumerate([2, 1, 3]):
        assert (tile(ax, 0, column, (3, 4)) == images[example, 0]).all()
    texts = [text.get_text() for text in ax.texts]
    assert texts == [
        "said \\$c\\$ (90%)\nis <b> (5%)",
        "said <b> (70%)\nis a (20%)",
        "said <b> (40%)\nis \\$c\\$ (30%)",
    ]


def test_rows_of_pixels_are_squares_unless_told(ax):
    images = np.random.default_rng(0).random((4, 12))
    with pytest.raises(
        ValueError, match=r"an example of shape \(12,\) is no grey picture of \(3, 3\); give shape="
    ):
        viz.plot_mistakes(images, TRUTH, SHARES, ax=ax)
    viz.plot_mistakes(images, TRUTH, SHARES, shape=(3, 4), ax=ax)
    assert (tile(ax, 0, 0, (3, 4)) == images[2].reshape(3, 4)).all()


def test_without_mistakes_it_says_so(ax):
    viz.plot_mistakes(np.zeros((4, 9)), SHARES.argmax(1), SHARES, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["no mistakes"]


def test_what_does_not_belong_together_is_refused(ax):
    with pytest.raises(ValueError, match=r"3 images, but 4 targets; give one of each"):
        viz.plot_mistakes(np.zeros((3, 9)), TRUTH, SHARES, ax=ax)
    with pytest.raises(
        ValueError, match=r"targets \(N,\) and probabilities \(N, C\) are needed, not \(4,\) and \(3, 3\)"
    ):
        worst_mistakes(TRUTH, SHARES[:3])
