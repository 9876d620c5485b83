"""draw(): golden files, the same bytes each time, its forms, what it refuses; files with and without dot."""

import os
import shutil
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.viz import draw, render
from microgradnet.viz.dot import SHAPES
from microgradnet.viz.render import INSTALL_COMMANDS, install_command
from microgradnet.viz.style import LEGEND, THEMES

GOLDEN = Path(__file__).parent / "golden"
NASTY = '<b>&"x"</b>\\N\n`end`]}"]; alert(1) <script>'


def neuron():
    """Return tanh(x·w + b), with its gradients."""
    x, w, b = [mg.Tensor(v, requires_grad=True, name=n) for v, n in ((2.0, "x"), (-3.0, "w"), (6.5, "b"))]
    y: Any = np.tanh(x * w + b)
    y.backward()
    return y


def square():
    """Return x·x, without a gradient yet."""
    x = leaf("x")
    return x * x


def leaf(name):
    return mg.Tensor(2.0, requires_grad=True, name=name)


# ---------------------------------------------------------------------- golden files


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("square.dot", lambda: draw(square()).source),
        ("neuron.dot", lambda: draw(neuron(), show=("value", "grad", "backward"), direction="LR").source),
        ("neuron.txt", lambda: draw(neuron(), format="text")),
    ],
)
def test_golden_without_modules(name, make):
    check_golden(name, make())


def test_golden_net(net):
    _, _, loss = net
    loss.backward()
    check_golden("net.dot", draw(loss, theme="dark", highlight=("0.weight", loss)).source)
    check_golden("net.mmd", draw(loss, format="mermaid", highlight=("0.weight", loss)))
    check_golden("net.txt", draw(loss, format="text", show=("shape", "value", "backward")))
    check_golden("net_closed.dot", draw(loss, depth=1, legend=False).source)


def check_golden(name, text):
    """Hold a text against its file; MICROGRADNET_GOLDEN=write writes the file instead, to be looked at."""
    path = GOLDEN / name
    text = text.rstrip("\n") + "\n"
    if os.environ.get("MICROGRADNET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_the_same_program_gives_the_same_bytes():
    first = [draw(neuron(), format=form) for form in ("text", "mermaid")] + [draw(neuron()).source]
    leaf("other") * 2  # moves the engine's numbers on
    second = [draw(neuron(), format=form) for form in ("text", "mermaid")] + [draw(neuron()).source]
    assert first == second


# ---------------------------------------------------------------------- how it looks


def test_every_role_differs_without_colour():
    looks = [tuple(sorted(attributes.items())) for role, attributes in SHAPES.items() if role != "output"]
    assert len(set(looks)) == len(looks)
    assert SHAPES["output"] == SHAPES["loss"]  # both are the result
    assert set(SHAPES) == set(LEGEND)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_fill(theme):
    def luminance(colour):  # WCAG 2, relative luminance
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    colours = THEMES[theme]
    for text in (colours.text, colours.faint):
        for fill in [colours.page, *colours.fill.values()]:
            dark, light = sorted([luminance(text), luminance(fill)])
            assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_legend_lists_what_is_there_and_nothing_else():
    source = draw(neuron()).source
    assert "legend_parameter" in source
    assert "legend_loss" in source
    assert "legend_input" not in source
    assert "an edge without a shape carries one number" in source
    assert "∂L" not in source
    assert "legend" not in draw(neuron(), legend=False).source


def test_direction_and_theme_are_obeyed():
    source = draw(neuron(), direction="LR", theme="dark").source
    assert "rankdir=LR" in source
    assert f'bgcolor="{THEMES["dark"].page}"' in source
    assert draw(neuron(), direction="LR", format="mermaid").startswith("flowchart LR")


def test_notes_are_written_under_every_form():
    y = leaf("x")
    for _ in range(20):
        y = -y
    note = "21 nodes are more than limit=4: the 17 in the middle are one box"
    assert note in draw(y, limit=4).source
    assert draw(y, limit=4, format="text").endswith(f"({note})")
    assert f"%% {note}" in draw(y, limit=4, format="mermaid")


# ---------------------------------------------------------------------- text


def test_text_points_at_what_was_written_before():
    x = leaf("x")
    h = np.sin(x)
    assert draw(h * h, format="text", show=()).splitlines() == [
        "#3 mul [loss]",
        "├─ #2 sin",
        "│  └─ #1 x [parameter]",
        "└─ #2 sin ↑",
    ]


def test_text_of_a_deep_graph_stays_narrow_and_complete():
    y = leaf("x")
    for _ in range(500):
        y = y * 1.5 if y.data < 1 else y * 0.5
    lines = draw(y, format="text").splitlines()
    assert max(len(line) for line in lines) < 130
    written = [int(line.split("#")[1].split()[0]) for line in lines if not line.endswith(("↑", "↓"))]
    assert sorted(written) == list(range(1, 1002))


# ---------------------------------------------------------------------- names that mean something elsewhere


def test_dot_shows_nasty_names_as_they_are(needs_dot, tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            return x * leaf(NASTY)

    Odd.__name__ = NASTY
    path = render(draw(Odd(), np.ones(1)), tmp_path / "nasty.svg")
    root = ET.parse(path).getroot()  # noqa: S314 - our own file
    texts = ["".join(e.itertext()).replace("\N{ZERO WIDTH SPACE}", "") for e in root.findall(".//{*}text")]
    shown = NASTY.replace("\n", "�")[:48]
    assert sum(text == shown for text in texts) == 2, texts  # the module and the parameter
    assert not root.findall(".//{*}script")


def test_mermaid_escapes_nasty_names():
    text = draw(leaf(NASTY) * 1, format="mermaid")
    (line,) = [line for line in text.splitlines() if line.startswith("  n1[[")]
    label = line.removeprefix('  n1[["').removesuffix('"]]').replace("<br/>", "")
    assert not set(label) & set('<>"`[]{}|\\')
    assert "#60;b#62;#38;#34;x" in label


# ---------------------------------------------------------------------- models


def test_a_model_is_drawn_from_an_example(net):
    model, x, _ = net
    text = draw(model, x.astype(np.float32), format="text")
    assert text.startswith("#8 linear [output] (1, 1)")
    assert "input [input] (1, 2) = [1 0.5]" in text
    assert all(p.grad is None for p in model.parameters())


def test_a_model_is_recorded_under_no_grad_and_without_parameters():
    with mg.no_grad():
        assert draw(nn.Tanh(), [1.0, 2.0], format="text").splitlines()[0].startswith("#2 tanh [output]")
        assert not mg.Tensor([1.0]).requires_grad


def test_a_loss_is_drawn_from_two_examples():
    text = draw(nn.MSELoss(), np.ones((2, 1)), np.zeros((2, 1)), format="text")
    assert "input 0 [input]" in text
    assert "input 1 [input]" in text


def test_indices_stay_integers():
    text = draw(nn.Embedding(5, 2), [[1, 2]], format="text")
    assert "weight [parameter] (5, 2)" in text


# ---------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: draw(nn.Tanh()), TypeError, r"draw\(Tanh\): .* give an example input: draw\(model, x\)"),
        (
            lambda: draw(mg.Tensor(1.0)),
            ValueError,
            "this tensor has no history; compute it from tensors with",
        ),
        (lambda: draw(3), TypeError, "it was given a int; it takes a tensor, a list of tensors, or a model"),
        (lambda: draw([]), TypeError, "it was given nothing"),
        (lambda: draw(leaf("x"), 3), TypeError, "example inputs go with a model; a Tensor is drawn alone"),
        (
            lambda: draw(leaf("x"), format="svg"),  # type: ignore[call-overload]  # on purpose
            ValueError,
            "format='svg' is unknown; it may be 'graphviz', ",
        ),
        (
            lambda: draw(leaf("x"), direction="up"),
            ValueError,
            "direction='up' is unknown; it may be 'TB', 'LR'",
        ),
        (
            lambda: draw(leaf("x"), theme="red"),
            ValueError,
            "theme='red' is unknown; it may be 'light', 'dark'",
        ),
        (
            lambda: draw(leaf("x"), show="size"),
            ValueError,
            "show='size' is unknown; it may be 'shape', 'dtype'",
        ),
        (lambda: draw(leaf("x"), limit=1), ValueError, "limit must be at least 2"),
        (lambda: draw(leaf("x"), depth=-1), ValueError, "depth at least 0, not limit=2000 and depth=-1"),
    ],
)
def test_errors_teach(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_model_that_returns_something_else():
    class Odd(nn.Module):
        def forward(self, x):
            return {"y": x}

    with pytest.raises(TypeError, match="draw: Odd returned a dict; it takes a tensor"):
        draw(Odd(), np.ones(1))


# ---------------------------------------------------------------------- files


def test_svg_keeps_every_node_and_edge(needs_dot, tmp_path, net):
    _, _, loss = net
    root = ET.parse(render(draw(loss), tmp_path / "net.svg")).getroot()  # noqa: S314 - our own file
    ids = {element.get("id") for element in root.iter()}
    assert {f"n{n}" for n in range(1, 11)} <= ids
    assert {f"e{n}" for n in range(1, 10)} <= ids
    assert render(draw(loss), tmp_path / "net.png").read_bytes()[:4] == b"\x89PNG"


def test_dot_text_needs_no_dot(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    graph = draw(neuron())
    assert render(graph, tmp_path / "n.dot").read_text(encoding="utf-8") == graph.source


@pytest.mark.parametrize("manager", INSTALL_COMMANDS)
def test_without_dot_the_right_command_is_named(monkeypatch, tmp_path, manager):
    monkeypatch.setattr(shutil, "which", lambda name: name if name == manager else None)
    with pytest.raises(FileNotFoundError) as raised:
        render(draw(neuron()), tmp_path / "n.svg")
    assert str(raised.value) == (
        f"Graphviz's dot is not installed, and .svg needs it: {INSTALL_COMMANDS[manager]} "
        "(without it: n.dot, or draw(…, format='text'))"
    )
    assert not (tmp_path / "n.svg").exists()


@pytest.mark.parametrize(
    ("platform", "command"),
    [
        ("darwin", "brew install graphviz"),
        ("win32", "winget install graphviz"),
        ("linux", "see https://graphviz.org/download/"),
    ],
)
def test_without_any_package_manager(monkeypatch, platform, command):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.platform", platform)
    assert install_command() == command


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'n.jpeg' must end in one of .svg, .png, .pdf, .dot, .gv"):
        render(draw(neuron()), tmp_path / "n.jpeg")


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    graph = draw(neuron())
    with pytest.raises(
        FileNotFoundError, match=r"render\(\): the folder '.*none' does not exist; create it first"
    ):
        render(graph, tmp_path / "none" / "n.dot")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        render(graph, tmp_path)


# ---------------------------------------------------------------------- large graphs


def test_a_gradient_graph_is_laid_out(needs_dot, tmp_path):
    x = leaf("x")
    (slope,) = mg.grad(np.tanh(x * x), x, create_graph=True)
    graph = draw(slope, show=("value", "backward"))
    root = ET.parse(render(graph, tmp_path / "slope.svg")).getroot()  # noqa: S314 - our own file
    assert {"n1", "e1"} <= {element.get("id") for element in root.iter()}
    (curvature,) = mg.grad(slope, x)
    assert f"{curvature.item():.4g}" in "".join(root.itertext())


@pytest.mark.parametrize("far", [False, True])
def test_2000_nodes_are_laid_out_in_seconds(needs_dot, tmp_path, far):
    x = leaf("x")
    y = x
    for i in range(1990):
        y = y + x if far and i % 20 == 0 else -y  # edges from x to everywhere are the hard case
    start = time.perf_counter()
    graph = draw(y)
    render(graph, tmp_path / "large.svg")
    assert time.perf_counter() - start < 30
    assert ("have edges too long to be laid out soon" in graph.source) == far
    assert len(draw(y, format="text").splitlines()) >= 1991  # text is laid out at once
