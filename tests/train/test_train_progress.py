"""The progress bar: shown in a terminal, not elsewhere, and never in the way of other lines."""

import builtins
import contextlib
import io
import re
import sys
import types

import numpy as np
import pytest

from microgradnet import nn, optim, train
from microgradnet.train import progress

X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)


class Terminal(io.StringIO):
    """Keeps what is written to it, and says that somebody is watching."""

    encoding = "utf-8"

    def isatty(self):
        return True


def fit(**options):
    model = nn.Sequential(nn.Linear(2, 2))
    sgd = optim.SGD(model.parameters(), lr=0.1)
    return train.fit(
        model, nn.CrossEntropyLoss(), sgd, (X, Y), **{"epochs": 3, "metrics": ["accuracy"], **options}
    )


@pytest.fixture(autouse=True)
def every_batch_is_drawn(monkeypatch):
    monkeypatch.setattr(progress.Bar, "PAUSE", 0.0)


@pytest.fixture
def terminal():
    return Terminal()


def seen(stream, **options):
    """Fit where `stream` is the standard error stream; return what is written to it."""
    with contextlib.redirect_stderr(stream):
        fit(**options)
    return stream.getvalue()


def screen(text):
    """Return the lines that a terminal shows: after a carriage return, what follows is written over."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_in_a_terminal_it_shows_loss_accuracy_and_time_left(terminal):
    bars = [part.strip() for part in seen(terminal, batch_size=20).split("\r") if "epoch" in part]
    pattern = r"epoch 2/3  loss \d\.\d{4}  accuracy \d\.\d{4} \|[█▏▎▍▌▋▊▉ ]{24}\| +44 %, \d\d:\d\d left"
    assert any(re.fullmatch(pattern, bar) for bar in bars), bars


def test_it_is_wiped_off_at_the_end(terminal):
    assert screen(seen(terminal)) == [""]


def test_lines_between_epochs_are_whole(terminal):
    text = seen(terminal, batch_size=20, on_epoch=lambda history: terminal.write(f"line {len(history)}\n"))
    assert screen(text) == ["line 1", "line 2", "line 3", ""]


def test_on_batch_is_called_beside_the_bar(terminal):
    steps: list[int] = []
    assert "epoch" in seen(terminal, batch_size=20, on_batch=lambda batch: steps.append(batch.step))
    assert steps == list(range(1, 10))


def test_where_it_is_not_wanted_or_nobody_watches_there_is_none(terminal):
    assert seen(terminal, progress=False) == ""
    assert seen(io.StringIO()) == ""
    with contextlib.redirect_stderr(None):  # as under pythonw
        assert len(fit()) == 3


def test_it_can_be_asked_for():
    assert "epoch 1/3" in seen(io.StringIO(), progress=True)


def test_without_tqdm_training_goes_on_unless_a_bar_is_asked_for(monkeypatch, terminal):
    ordinary = builtins.__import__

    def without_tqdm(name, *args, **kwargs):
        if name.startswith("tqdm"):
            raise ModuleNotFoundError(name)
        return ordinary(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tqdm)
    assert seen(terminal) == ""
    with pytest.raises(ModuleNotFoundError) as error:
        fit(progress=True)
    assert str(error.value) == "a progress bar needs tqdm: pip install 'microgradnet[progress]'"


def test_an_error_wipes_it_off_too(terminal):
    def stop(batch):
        if batch.step == 5:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        seen(terminal, batch_size=20, on_batch=stop)
    assert screen(terminal.getvalue()) == [""]


def test_in_the_kernel_of_a_notebook_there_is_one(monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert "epoch" in seen(io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert seen(io.StringIO()) == ""
