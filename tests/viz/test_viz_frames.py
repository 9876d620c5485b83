"""frames(): one SVG per step, all of one size, with the running sums; an animation; what it refuses."""

import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.viz import frames


def fan_out():
    w = mg.Tensor(3.0, requires_grad=True, name="w")
    return w, w * w


def words(path):
    texts = ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - our own file
    return ["".join(text.itertext()).strip() for text in texts]


def test_one_picture_per_step_all_of_one_size(needs_dot, tmp_path):
    w, loss = fan_out()
    written = frames(loss, tmp_path / "slides")
    assert [path.name for path in written] == [
        *[f"frame-{n:03}.svg" for n in range(4)],
        "animation.gif",
    ]
    texts = [path.read_text(encoding="utf-8") for path in written[:-1]]
    assert len({box for text in texts for box in re.findall(r'viewBox="([^"]*)"', text)}) == 1
    given, forward, backward, complete = [words(path) for path in written[:-1]]
    assert given.count("3") == 1
    assert "9" not in given
    assert "9" in forward
    assert "step 1 of 3, forward: mul" in forward
    assert "to w: ∂L/∂a = g·b = 3 (1 of 2, sum 3)" in backward
    assert "to w: ∂L/∂b = g·a = 3 (2 of 2, sum 6)" in backward
    assert "its gradient is complete: 6" in complete
    assert w.grad is None


def test_the_animation_shows_every_step(needs_dot, tmp_path):
    images = pytest.importorskip("PIL.Image", reason="Pillow, which makes the animation, is not installed")
    path = frames(fan_out()[1], tmp_path, theme="dark", seconds=0.5)[-1]
    with images.open(path) as animation:
        assert animation.n_frames == 4
        assert animation.info["duration"] == 500


def test_without_pillow_there_are_only_pictures(needs_dot, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [path.suffix for path in frames(fan_out()[1], tmp_path)] == [".svg"] * 4


def test_large_arrays_are_heat_maps(needs_dot, tmp_path):
    x = np.random.default_rng(0).random((1, 64))
    loss = nn.MSELoss()(nn.Linear(64, 5)(x), np.zeros((1, 5)))
    first = frames(loss, tmp_path)[0].read_text(encoding="utf-8")
    assert first.count("<polygon") > 64


def test_errors_teach(needs_dot, tmp_path, monkeypatch):
    _, loss = fan_out()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"'.*file' is a file; give a folder"):
        frames(loss, tmp_path / "file")
    with pytest.raises(ValueError, match="frames: theme='red' is unknown; it may be 'light', 'dark'"):
        frames(loss, tmp_path, theme="red")
    with pytest.raises(ValueError, match=r"frames\(\): this tensor has no history"):
        frames(mg.Tensor(1.0), tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"Graphviz's dot is not installed, and frames\(\) needs it"):
        frames(loss, tmp_path)
