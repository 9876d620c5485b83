"""Learning slowdown: one neuron by hand, saturation, starts, and gradients that vanish with depth."""

import re

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(classic):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return classic("learning_slowdown")


@pytest.mark.parametrize("cost", ["quadratic", "cross-entropy"])
def test_one_neuron_learns_as_by_hand(example, cost):
    w = b = 2.0
    outputs = []
    for _ in range(300):
        a = 1 / (1 + np.exp(-(w + b)))
        outputs.append(a)
        delta = a * a * (1 - a) if cost == "quadratic" else a
        w, b = w - 0.15 * delta, b - 0.15 * delta
    np.testing.assert_allclose(example.neuron(cost), outputs, atol=1e-12)


def test_the_starts_have_the_spread_they_are_named_after(example):
    large, small = (example.net([1024, 30, 10], start)[0].weight.data.std() for start in example.STARTS)
    assert large == pytest.approx(1, rel=0.02)
    assert small == pytest.approx(1 / 32, rel=0.02)


def checked(lines):
    """Hold what is printed: σ′, accuracy and lengths for both starts, and the steps of one neuron."""
    numbers = [[float(n) for n in re.findall(r"\d\.\d+(?:e[+-]\d+)?", line)] for line in lines]
    (slope, first, _), lengths = numbers[0], numbers[1]
    (other_slope, other_first, _), other_lengths = numbers[2], numbers[3]
    assert slope < 0.05
    assert 0.2 < other_slope <= 0.25
    assert other_first > first + 0.2
    assert len(lengths) == len(other_lengths) == 5
    assert lengths == sorted(lengths)
    assert other_lengths == sorted(other_lengths)
    assert other_lengths[0] < other_lengths[-1] / 100  # vanishing
    steps = [int(re.findall(r"(\d+) steps", line)[0]) for line in lines[4:]]
    assert steps == [232, 17]


def test_it_prints_what_slows_down_and_draws(example, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"), epochs=2)
    checked(capsys.readouterr().out.splitlines())
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_gallery_shows_the_same(gallery):
    checked(gallery("learning_slowdown"))
