"""`microgradnet check`: sizes or a file, text or JSON, status 1 where gradients disagree or input is bad."""

import json

import pytest

from microgradnet.cli import main

MODELS = """
import numpy as np
import microgradnet as mg
from microgradnet import nn

model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
normed = nn.Sequential(nn.LayerNorm(3), nn.ReLU(), nn.Linear(3, 2))
wrong_tanh = mg.Primitive("wrong_tanh", np.tanh, lambda g, y, _x: g)

class Wrong(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return wrong_tanh(self.layer(x))

def everything():
    return Wrong(), nn.MSELoss(), np.ones((2, 3)), np.zeros((2, 2))

whole = (model, nn.CrossEntropyLoss(), np.ones((2, 3)), np.array([0, 1]))
number = 3
silent = nn.Sequential(nn.Tanh())
"""


@pytest.fixture
def models(tmp_path):
    path = tmp_path / "models.py"
    path.write_text(MODELS, encoding="utf-8")
    return path


@pytest.mark.parametrize("source", ["6-5-3", "{}:model", "{}:normed", "{}:whole"])
def test_what_is_right(source, models, capsys):
    assert main(["check", "--model", source.format(models)]) == 0
    assert "all three ways agree" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Wrong", "everything"])
def test_what_is_wrong_has_status_1(name, models, capsys):
    assert main(["check", "--model", f"{models}:{name}"]) == 1
    out = capsys.readouterr().out
    assert "first disagreement at `wrong_tanh#" in out
    assert "it hands g on as it came: the derivative of wrong_tanh is missing" in out


def test_json(models, capsys):
    assert main(["check", "--json", "--model", f"{models}:everything"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_it_prints_the_same_twice(capsys):
    main(["check", "--model", "4-3"])
    first = capsys.readouterr().out
    main(["check", "--model", "4-3"])
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("784", "'784' names no model; write sizes such as 784-30-10, or FILE.py:name"),
        ("no.py:model", "there is no file no.py"),
        ("notes.txt:model", "notes.txt is no Python file; write FILE.py:name"),
        ("{}:mdl", "models.py has no mdl; its models are model, normed, silent"),
        ("{}:number", "models.py:number is int; it should be a model, (model, loss, x, y), or a function"),
        ("{}:silent", "what input the model takes cannot be seen from its layers"),
    ],
)
def test_bad_input_is_one_line(source, message, models, capsys):
    assert main(["check", "--model", source.format(models)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("microgradnet check: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_a_file_that_is_no_program(tmp_path, capsys):
    path = tmp_path / "broken.py"
    path.write_text("def (", encoding="utf-8")
    assert main(["check", "--model", f"{path}:model"]) == 1
    assert "broken.py is no Python program: " in capsys.readouterr().err
