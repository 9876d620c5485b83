"""Every example runs, prints what it promises, twice the same; every page's Python is run as a doctest."""

import doctest
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
CLASSICS = sorted((ROOT / "examples" / "classics").glob("*.py"))
QUICK = {"by_hand", "gradient_descent", "perceptron", "predictor_classifier", "two_layers"}  # below a second
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

# What the output must contain: the published, exact or learnt result that the example is about.
EXPECTED = {
    "compile_step": ["all bits are equal: True", "8 tensors are updated together", "eager's: True"],
    "draw_graph": ["#7 mul [loss] = 1.562", "├─ #6 add = -1.25", "└─ #6 add ↑", "grad [-2.5 -5]"],
    "explain_mazur": [
        "∂E/∂w5 = δ_o1 · out_h1 = 0.13850 · 0.59327 = 0.08217",
        "∂E/∂w1 = δ_h1 · 0.05 = 0.0087714 · 0.05000 = 0.00043857",
        "δ¹ = ∂C/∂z¹ = (δ² W²) ⊙ σ′(z¹)",
        "delta1 = (delta2 @ W2) * a1 * (1 - a1)    # (BP2)",
    ],
    "higher_order": [
        *[f"derivative {order} of exp(−x²) at 0: {d}" for order, d in enumerate((0, -2, 0, 12), 1)],
        "Newton 6: f = 3.433e-20 at [1.0, 1.0]",
    ],
    "hooks": ["layer 1", "layer 6", "399 ×", " 1 ×"],
    "mazur": [
        "0.298371109     published 0.298371109",
        "0.082167041     published 0.082167041",
        "0.35891648      published 0.35891648",
        "0.149780716     published 0.149780716",
        "after 1,000 steps: error 0.00",
    ],
    "micrograd_readme": ["g     = 24.7041", "∂g/∂a = 138.8338", "∂g/∂b = 645.5773"],
    "nielsen_network": [
        "by (BP1) … (BP4) 0.001643668, by a small shift 0.001643668",
        "Epoch 9: ",
        "after 10 epochs",
    ],
    "one_neuron": [
        f"by hand {value}   microgradnet {value}"
        for value in (" 0.731059", "-0.196612", " 0.393224", "-0.393224", "-0.589836", " 0.196612")
    ],
    "own_module": ["blocks.1.second.weight   (24, 24)", "test accuracy on the spirals:"],
    "own_operation": [
        "hypot(a, b) = [[5.0, 12.3693], [6.4031, 13.0]]",
        "by the rule 0.842536, by a small shift 0.842536",
        "0.128000, and b²/y³ = 0.128000",
    ],
    "play_backprop": [
        "hands -0.7107 to w, in sum -0.7107",
        "hands -0.6047 to w, in sum -1.3154",
        "w.grad = -1.3154",
    ],
    "train_digits": ["1,257 train, 180 validation, 360 test", "test accuracy"],
    "misconceptions": [
        "x                6      3  ½ × the true gradient: a factor 2 is missing",
        "chain: hidden",
        "They part at linear#5 (first), with what add#8 (Residual) and linear#6 (second) hand it",
        "Linear: 2 of 3",
        "gradient of weight: transposed",
    ],
    "verify_network": [
        "the network: agrees",
        "autograd–δ: the largest error is below 1e-14",
        "first disagreement at `add_bias#7` in layer '0' (OwnLayer), parameter '0.shift'",
        "it is 1/8 × the true gradient, and 8 is the batch size N: divided by it once too often",
        "gradcheck failed at order 1",
    ],
    "xor": ["0 xor 0 = 0", "0 xor 1 = 1", "1 xor 0 = 1", "1 xor 1 = 0"],
}
# What is learnt must be learnt: the least accuracy that the last line may show, in percent.
LEARNT = {"nielsen_network": 92.0, "own_module": 97.0, "train_digits": 96.0}


def run(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> str:
    """Run an example as `python examples/x.py` does, and return what it prints."""
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")
    return capsys.readouterr().out


def test_every_example_is_expected_to_say_something():
    assert {path.stem for path in EXAMPLES} == set(EXPECTED)
    assert all(EXPECTED.values())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, capsys, monkeypatch):
    output = run(path, capsys, monkeypatch)
    assert [piece for piece in EXPECTED[path.stem] if piece not in output] == [], output
    if path.stem in LEARNT:
        accuracy = re.findall(r"accuracy.*?([\d.]+)%", output)[-1]
        assert float(accuracy) >= LEARNT[path.stem], output
    assert run(path, capsys, monkeypatch) == output, "a second run prints something else"


def test_every_classic_is_run_by_its_own_test():
    """Their results are held in tests/classics, with smaller settings for those that take long."""
    tests = ROOT / "tests" / "classics"
    assert CLASSICS
    assert [p.stem for p in CLASSICS if not (tests / f"test_classics_{p.stem}.py").is_file()] == []


@pytest.mark.parametrize("path", [p for p in CLASSICS if p.stem in QUICK], ids=lambda path: path.stem)
def test_a_quick_classic_prints_the_same_as_a_program_twice(path, capsys, monkeypatch):
    output = run(path, capsys, monkeypatch)
    assert output.strip()
    assert run(path, capsys, monkeypatch) == output, "a second run prints something else"


def test_the_picture_of_draw_graph_is_written(needs_dot, tmp_path, capsys, monkeypatch):
    picture = tmp_path / "graph.svg"
    output = run(ROOT / "examples" / "draw_graph.py", capsys, monkeypatch, str(picture))
    assert f"written: {picture}" in output
    assert picture.read_text(encoding="utf-8").count('class="edge"') >= 7


def test_the_pages_of_play_backprop_are_written(needs_dot, tmp_path, capsys, monkeypatch):
    output = run(ROOT / "examples" / "play_backprop.py", capsys, monkeypatch, str(tmp_path))
    assert "written: digit.html player.html slides" in output
    assert (tmp_path / "slides" / "frame-000.svg").exists()


def blocks(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    return re.findall(r"^[ ]*```(?:python|pycon)\n(.*?)^[ ]*```", page, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_of_a_page_is_run(path):
    unrun = [
        block
        for block in blocks(path.read_text(encoding="utf-8"))
        if not doctest.DocTestParser().get_examples(block)
    ]
    assert unrun == [], f"{path.name}: write these blocks as doctests (>>>), so that they are checked"


def test_a_block_without_a_prompt_is_found():
    page = "```python\nx = 1\n```\n\n```\nno Python\n```\n\n```python\n>>> 1 + 1\n2\n```\n"
    assert [bool(doctest.DocTestParser().get_examples(block)) for block in blocks(page)] == [False, True]


def test_the_walk_throughs_are_right():
    """The doctests of README.md and docs/ are collected by pytest; CONTRIBUTING.md is run here."""
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    page = str(ROOT / "CONTRIBUTING.md")
    result = doctest.testfile(page, module_relative=False, optionflags=flags, encoding="utf-8")
    assert result.attempted
    assert not result.failed
