"""`microgradnet derive` and `microgradnet explain`: what they print, and one line for what is wrong."""

import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.cli import main

FILE = """
import numpy as np
from microgradnet import nn

def job():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.ReLU(), nn.Linear(4, 2, rng=rng)).astype(float)
    return model, nn.CrossEntropyLoss(), rng.random((2, 3)), np.array([0, 1])

bare = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "network.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def printed(capsys, *arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_derive_prints_the_equations(capsys):
    model = nn.Sequential(nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3), nn.Sigmoid())
    found = mg.derive(model, nn.QuadraticLoss())
    assert printed(capsys, "derive", "--model", "5-4-3") == f"{found}\n"
    assert printed(capsys, "derive", "--model", "5-4-3", "--latex") == f"{found.latex()}\n"
    assert printed(capsys, "derive", "--model", "5-4-3", "--markdown") == f"{found.markdown()}\n"
    assert "(30, 784)" in printed(capsys, "derive")


def test_derive_of_a_file(capsys, file):
    assert "δ² = ∂C/∂z² = (softmax(z²) − y) / N" in printed(capsys, "derive", "--model", f"{file}:job")
    assert "a¹ = tanh(z¹)" in printed(capsys, "derive", "--model", f"{file}:bare")


def test_explain_without_a_model_is_the_published_example(capsys):
    out = printed(capsys, "explain", "--parameter", "2.weight", "--index", "0,0")
    assert "= δ²[0, 0] · a¹[0, 0] = 0.13850 · 0.59327 = 0.08217" in out
    assert printed(capsys, "explain") == out, "the last weight, its first entry"
    assert r"0.13850 \cdot 0.59327 = 0.08217" in printed(capsys, "explain", "--latex")
    assert "$" in printed(capsys, "explain", "--markdown")


def test_explain_of_a_model(capsys, file):
    assert "∂C/∂0.weight[1, 0] = δ¹[0, 1] · x[0, 0]" in printed(
        capsys, "explain", "--model", "2-2-1", "--parameter", "0.weight", "--index", "1,0"
    )
    out = printed(capsys, "explain", "--model", f"{file}:job", "--parameter", "2.bias", "--index=-1")
    assert "∂C/∂2.bias[1] = " in out
    assert "equal up to rounding" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["derive", "--model", "5"], "derive: '5' names no model"),
        (["explain", "--parameter", "1.weight"], "the model has no parameter '1.weight'; it has 0.weight, "),
        (["explain", "--index", "2,0"], "explain: index (2, 0) does not lead to one entry"),
        (["explain", "--model", "FILE:nothing"], "has no nothing; its models are bare"),
    ],
)
def test_bad_input(capsys, file, arguments, message):
    assert main([argument.replace("FILE", str(file)) for argument in arguments]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert said.count("explain: ") <= 1


@pytest.mark.parametrize("arguments", [["explain", "--index", "a,b"], ["derive", "--latex", "--markdown"]])
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error: argument" in capsys.readouterr().err
