"""mg.export_numpy: the script that comes out computes the same loss and gradients, with NumPy alone."""

import ast
import itertools
import os
import re
import runpy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.checking.numpy_export import SUPPORTED, SUPPORTED_LOSSES


def linear(i, o, **options):
    return nn.Linear(i, o, dtype=np.float64, rng=np.random.default_rng(i + o), **options)


def stack(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(linear(6, 5), *layers, linear(5, 3)).astype(np.float64)


# What stands between or around the linear layers; every layer that can be exported is in one of them.
STACKS = {
    "sigmoid": lambda: stack(nn.Sigmoid()),
    "tanh": lambda: stack(nn.Tanh()),
    "relu": lambda: stack(nn.ReLU()),
    "leaky relu": lambda: stack(nn.LeakyReLU(0.2)),
    "elu": lambda: stack(nn.ELU(1.5)),
    "softplus": lambda: stack(nn.Softplus()),
    "softmax": lambda: stack(nn.Softmax(), nn.Sigmoid()),
    "log softmax": lambda: stack(nn.LogSoftmax()),
    "dropout": lambda: stack(nn.Tanh(), nn.Dropout(0.4)),
    "two dropouts": lambda: stack(nn.Dropout(0.2), nn.Tanh(), nn.Dropout(0.4)),
    "dropout, eval": lambda: stack(nn.Tanh(), nn.Dropout(0.4)).eval(),
    "flatten": lambda: nn.Sequential(nn.Flatten(), *stack(nn.Flatten(), nn.Tanh())),
    "batch norm": lambda: stack(nn.BatchNorm1d(5), nn.ReLU()),
    "batch norm, eval": lambda: stack(nn.BatchNorm1d(5), nn.ReLU()).eval(),
    "batch norm first": lambda: nn.Sequential(nn.BatchNorm1d(6), *stack(nn.Tanh())).astype(np.float64),
    "layer norm": lambda: stack(nn.LayerNorm(5), nn.Tanh(), nn.LayerNorm(5)),
    "no bias": lambda: nn.Sequential(linear(6, 4, bias=False), nn.Tanh(), linear(4, 3, bias=False)),
    "one layer": lambda: nn.Sequential(linear(6, 3)),
    "deep": lambda: nn.Sequential(
        linear(6, 5), nn.Tanh(), nn.Sequential(linear(5, 4), nn.ReLU()), linear(4, 3)
    ),
    "nothing between": stack,
}
LABELS, SHARES = "labels", "shares"
LOSSES = {
    "quadratic": (nn.QuadraticLoss, {}, SHARES, None),
    "mse": (nn.MSELoss, {}, SHARES, None),
    "l1": (nn.L1Loss, {}, SHARES, None),
    "huber": (nn.HuberLoss, {"delta": 0.7}, SHARES, None),
    "bce": (nn.BCELoss, {}, SHARES, nn.Sigmoid),
    "bce with logits": (nn.BCEWithLogitsLoss, {}, SHARES, None),
    "cross-entropy": (nn.CrossEntropyLoss, {}, LABELS, None),
    "cross-entropy of shares": (nn.CrossEntropyLoss, {}, SHARES, None),
    "smoothed": (nn.CrossEntropyLoss, {"label_smoothing": 0.2}, LABELS, None),
    "nll": (nn.NLLLoss, {}, LABELS, nn.LogSoftmax),
}


def batch(kind, name, size=7):
    rng = np.random.default_rng(11)
    shape = (size, 2, 3) if name == "flatten" else (size, 6)
    y = rng.integers(3, size=size) if kind == LABELS else rng.random((size, 3))
    return rng.standard_normal(shape), y


def mask_of(given, out):
    """Return what dropout multiplied by; where 0 came in it does not matter."""
    return np.divide(out, given, out=np.zeros_like(out), where=given != 0)


def by_autograd(model, loss_fn, x, y):
    """Return the loss, the gradients in order, and the masks that dropout drew."""
    masks: list[Any] = []
    for layer in model.modules():
        if isinstance(layer, nn.Dropout) and layer.training:
            layer.rng = np.random.default_rng(5)
            layer.register_forward_hook(lambda _m, given, out: masks.append(mask_of(given[0].data, out.data)))
    loss = loss_fn(model(x), y)
    model.zero_grad()
    loss.backward()
    return float(loss), [p.grad for p in model.parameters() if p.requires_grad], masks


def assert_same(loss, gradients, expected_loss, expected):
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert len(gradients) == len(expected)
    for g, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(g, wanted, rtol=1e-12, atol=1e-14 + 1e-12 * abs(wanted).max())


@pytest.mark.parametrize(("name", "loss"), [*itertools.product(STACKS, LOSSES)])
def test_the_gradients_are_those_of_autograd(name, loss, tmp_path):
    make, options, kind, last = LOSSES[loss]
    model = STACKS[name]()
    if last is not None:
        model = nn.Sequential(*model, last()).train(model.training)
    for reduction in ("mean", "batchmean", "sum") if name == "one layer" else ("mean",):
        loss_fn = make(reduction=reduction, **options)
        x, y = batch(kind, name)
        mg.export_numpy(model, loss_fn, tmp_path / "step.py")  # before the forward moves running statistics
        expected_loss, expected, masks = by_autograd(model, loss_fn, x, y)
        script = runpy.run_path(str(tmp_path / "step.py"))
        p = dict(np.load(tmp_path / "step.npz"))
        dropped = (
            [{f"m{1 if i == 0 else '1_2'}": mask for i, mask in enumerate(masks)}, None] if masks else []
        )
        found_loss, gradients = script["gradients"](p, x, y, *dropped)
        assert_same(found_loss, gradients.values(), expected_loss, expected)
        assert all(g.shape == p[key].shape for key, g in gradients.items())
        for key, value in p.items():
            if key.startswith("running_"):
                layer = next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d))
                wanted = layer.running_mean if "mean" in key else layer.running_var
                np.testing.assert_allclose(value, wanted.data, rtol=1e-12)


def run(script, *arguments, cwd):
    """Run the script where neither the package nor anything of this project can be imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-W", "error", str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("name", ["sigmoid", "two dropouts", "batch norm", "flatten"])
def test_the_script_alone(name, tmp_path):
    model, loss_fn = STACKS[name](), nn.CrossEntropyLoss()
    x, y = batch(LABELS, name)
    mg.export_numpy(model, loss_fn, tmp_path / "step.py")
    expected_loss, expected, masks = by_autograd(model, loss_fn, x, y)
    names = ["m1", "m1_2"] if masks else []
    np.savez(tmp_path / "data.npz", x=x, y=y, **dict(zip(names, masks, strict=True)))
    result = run(tmp_path / "step.py", tmp_path / "data.npz", tmp_path / "out.npz", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    before, after = map(float, re.findall(r"\d+\.\d+", result.stdout))
    assert after < before
    assert before == pytest.approx(expected_loss, abs=1e-6)
    out = dict(np.load(tmp_path / "out.npz"))
    assert_same(out.pop("loss"), out.values(), expected_loss, expected)


def test_the_script_begins_by_seed_where_no_parameters_lie_beside_it(tmp_path):
    (tmp_path / "alone.py").write_text(mg.export_numpy(STACKS["dropout"](), nn.MSELoss()), encoding="utf-8")
    first, second = [run(tmp_path / "alone.py", cwd=tmp_path) for _ in range(2)]
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert re.fullmatch(r"loss 0\.\d{6}, after one step 0\.\d{6}\n", first.stdout)


def test_the_update_is_sgd(tmp_path):
    mg.export_numpy(STACKS["sigmoid"](), nn.MSELoss(), tmp_path / "step.py")
    script = runpy.run_path(str(tmp_path / "step.py"))
    p = {"W1": np.ones((2, 2))}
    script["update"](p, {"W1": np.full((2, 2), 3.0)})
    assert np.allclose(p["W1"], 1 - 3 * script["LEARNING_RATE"])


def test_it_reads_as_written_by_hand():
    text = mg.export_numpy(STACKS["sigmoid"](), nn.QuadraticLoss())
    lines = [
        "z1 = x @ W1.T + b1",
        "a1 = sigmoid(z1)",
        "z2 = a1 @ W2.T + b2",
        "loss = 0.5 * np.sum((z2 - y) ** 2) / N",
        "delta2 = (z2 - y) / N                     # (BP1)",
        "dW2 = delta2.T @ a1                       # (BP4)",
        "db2 = delta2.sum(axis=0)                  # (BP3)",
        "delta1 = (delta2 @ W2) * a1 * (1 - a1)    # (BP2)",
    ]
    positions = [text.index(line) for line in lines]
    assert positions == sorted(positions)
    assert "da0" not in text, "nothing needs the derivative by x"


@pytest.mark.parametrize("name", STACKS)
def test_it_needs_numpy_alone_and_holds_nothing_unused(name):
    text = mg.export_numpy(STACKS[name](), nn.CrossEntropyLoss())
    tree = ast.parse(text)
    imports = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imports == {"numpy", "sys", "pathlib"}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            assert len(re.findall(rf"\b{node.name}\(", text)) >= 2, node.name
    assert max(len(line) for line in text.splitlines()) <= 110
    assert "\n\n\n\n" not in text


def test_float32_stays_float32(tmp_path):
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))
    mg.export_numpy(model, nn.CrossEntropyLoss(), tmp_path / "step.py")
    script = runpy.run_path(str(tmp_path / "step.py"))
    p = script["initialise"]()
    assert {value.dtype for value in p.values()} == {np.dtype(np.float32)}
    x, y = batch(LABELS, "dropout")
    loss, gradients = script["gradients"](p, x.astype(np.float32), y, {}, np.random.default_rng(1))
    assert loss.dtype == np.float32
    assert {g.dtype for g in gradients.values()} == {np.dtype(np.float32)}


def test_frozen_parameters_get_no_gradient(tmp_path):
    model = STACKS["tanh"]()
    model[0].weight.requires_grad = False
    x, y = batch(SHARES, "tanh")
    mg.export_numpy(model, nn.MSELoss(), tmp_path / "step.py")
    _, expected, _ = by_autograd(model, nn.MSELoss(), x, y)
    script = runpy.run_path(str(tmp_path / "step.py"))
    loss, gradients = script["gradients"](dict(np.load(tmp_path / "step.npz")), x, y)
    assert list(gradients) == ["b1", "W2", "b2"]
    assert_same(loss, gradients.values(), loss, expected)


def test_the_model_stays_as_it_was():
    model = STACKS["batch norm"]()
    before = model.state_dict()
    mg.export_numpy(model, nn.MSELoss())
    assert all((before[key] == value).all() for key, value in model.state_dict().items())


class Own(nn.Module):
    def forward(self, x):
        return x


TIED = linear(3, 3)
BAD: dict[str, tuple[nn.Module, Any, str]] = {
    "a layer": (
        nn.Sequential(linear(6, 5), nn.Sequential(nn.Tanh(), nn.GELU()), linear(5, 3)),
        nn.MSELoss(),
        f"layer '1.1' GELU(approximate='none') cannot be exported; these can: {SUPPORTED}",
    ),
    "a model": (Own(), nn.MSELoss(), "the model Own() cannot be exported"),
    "no parameters": (nn.Sequential(nn.Tanh()), nn.MSELoss(), "Sequential has no parameters that train"),
    "a loss": (
        stack(),
        lambda p, t: p - t,
        f"the loss <lambda> cannot be exported; these can: {SUPPORTED_LOSSES}",
    ),
    "a module as loss": (stack(), Own(), "the loss Own cannot be exported"),
    "no reduction": (
        stack(),
        nn.MSELoss(reduction="none"),
        "MSELoss with reduction='none' is no single number",
    ),
    "class weights": (stack(), nn.CrossEntropyLoss(np.ones(3)), "CrossEntropyLoss with class weights"),
    "another axis": (stack(nn.Softmax(0)), nn.MSELoss(), "layer '1' Softmax(dim=0): only dim=1"),
    "two axes": (stack(nn.LayerNorm((2, 5))), nn.MSELoss(), "LayerNorm((2, 5), eps=1e-05): only one axis"),
    "tied": (nn.Sequential(TIED, nn.Tanh(), TIED), nn.MSELoss(), "'2.weight' is shared by two layers"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_exported(name):
    model, loss_fn, message = BAD[name]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        mg.export_numpy(model, loss_fn)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_python_file(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.py, not 'step\.txt'"):
        mg.export_numpy(stack(), nn.MSELoss(), tmp_path / "step.txt")
    assert list(tmp_path.iterdir()) == []
