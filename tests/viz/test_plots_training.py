"""Curves, norms over time and gradient flow: the drawn numbers are those of the training."""

import builtins
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from microgradnet import nn, viz
from microgradnet.train import History, Record
from microgradnet.train.watch import Norms, Sample

mpl.use("Agg")


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def history():
    records = [
        Record(
            epoch,
            10 * epoch,
            1.0 / epoch,
            {"accuracy": 0.5 + epoch / 10},
            {"loss": 2.0 / epoch, "accuracy": 0.6},
        )
        for epoch in (1, 2, 3)
    ]
    return History(records, best=records[1])


def test_curves_are_those_of_the_history(history, ax):
    assert viz.plot_history(history, ax=ax) is ax
    training, validation, best = ax.lines
    assert training.get_xdata().tolist() == [1, 2, 3]
    assert training.get_ydata().tolist() == [1.0, 1 / 2, 1 / 3]
    assert validation.get_ydata().tolist() == [2.0, 1.0, 2 / 3]
    assert (best.get_xdata(), best.get_ydata()) == ([2], [1.0])
    assert [text.get_text() for text in ax.get_legend().get_texts()][2] == "best: epoch 2"


def test_a_metric_is_plotted_by_name_and_accuracy_in_percent(history, ax):
    viz.plot_history(history, "accuracy", ax=ax)
    assert ax.lines[0].get_ydata().tolist() == [0.6, 0.7, 0.8]
    assert ax.yaxis.get_major_formatter()(0.975, 0) == "97.5 %"


def test_without_validation_there_is_one_curve(ax):
    viz.plot_history(History([Record(1, 5, 0.5)]), ax=ax)
    assert len(ax.lines) == 1


def test_what_a_history_has_not_is_an_error(history, ax):
    with pytest.raises(
        ValueError, match=r"the history has no metrics\.recall: instead of 'recall' there is accuracy"
    ):
        viz.plot_history(history, "recall", ax=ax)
    with pytest.raises(ValueError, match=r"plot_history: the history is empty; train for an epoch first"):
        viz.plot_history(History(), ax=ax)


def test_without_an_axes_pyplot_makes_one(history):
    ax = viz.plot_history(history)
    assert plt.get_fignums() == [ax.figure.number]
    plt.close(ax.figure)


def test_something_else_than_an_axes_is_refused(history):
    with pytest.raises(TypeError, match=r"ax: a matplotlib Axes is needed, not a Figure; take one of plt"):
        viz.plot_history(history, ax=Figure())


def test_without_matplotlib_one_line_says_what_to_install(history, monkeypatch):
    ordinary = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name)
        return ordinary(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError) as error:
        viz.plot_history(history)
    assert str(error.value) == "plots need matplotlib: pip install 'microgradnet[plots]'"


@pytest.fixture
def watch():
    layers = [{"a": Norms(2.0, 0.5, 10.0, 4), "$b$": Norms(0.0, 0.1, 0.0, 9)} for _ in range(2)]
    return SimpleNamespace(samples=[Sample(i, i / 2, norms) for i, norms in enumerate(layers, 1)])


@pytest.mark.parametrize(("what", "expected"), [("gradient", 1.0), ("update", 0.05)])
def test_norms_are_per_parameter_and_relative(watch, ax, what, expected):
    viz.plot_norms(watch, what, ax=ax)
    assert ax.lines[0].get_xdata().tolist() == [0.5, 1.0]
    assert ax.lines[0].get_ydata().tolist() == [expected] * 2
    assert np.isnan(ax.lines[1].get_ydata().astype(float)).all(), "zero has no place on a logarithmic scale"
    assert ax.get_yscale() == "log"


def test_norms_refuse_what_there_is_not(watch, ax):
    with pytest.raises(
        ValueError, match=r"plot_norms: what='weight' is unknown; it may be 'gradient' or 'update'"
    ):
        viz.plot_norms(watch, "weight", ax=ax)
    with pytest.raises(ValueError, match=r"the watch has seen no step; give it to fit: on_batch=watch"):
        viz.plot_norms(SimpleNamespace(samples=[]), ax=ax)


def test_gradient_flow_is_the_size_of_every_gradient(ax):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    (model(np.ones((5, 3))) ** 2).sum().backward()
    model[0].bias.grad = None
    model[2].bias.grad = np.zeros(2, np.float32)
    viz.plot_gradient_flow(model, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    ]
    widths = [bar.get_width() for bar in ax.patches]
    for i, parameter in ((0, model[0].weight), (2, model[2].weight)):
        assert widths[i] == pytest.approx(np.linalg.norm(parameter.grad) / np.sqrt(parameter.size), rel=1e-6)
    assert [text.get_text().strip() for text in ax.texts] == ["no gradient", "all zeros"]
    assert ax.yaxis_inverted(), "the input is at the top"


def test_gradient_flow_needs_a_gradient(ax):
    with pytest.raises(ValueError, match=r"no parameter has a gradient; call loss.backward\(\) first"):
        viz.plot_gradient_flow(nn.Linear(2, 2), ax=ax)
