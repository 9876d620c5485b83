"""Hopfield network: recall of digits by either rule, the synchronous cycle, and the capacity."""

import re

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(classic):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return classic("hopfield")


def test_recall_refuses_an_energy_that_rises(example):
    net = example.network(np.array([[1.0, 1, -1, -1], [1.0, -1, 1, -1]]))
    downhill = net.field
    net.field = lambda s: -downhill(s)  # a bug: each unit turns uphill
    with pytest.raises(AssertionError):
        example.recalled(net, np.array([1.0, 1, -1, -1]), 0, np.random.default_rng(0))


def test_random_patterns_are_lost_beyond_the_capacity(example):
    rng = np.random.default_rng(0)
    few, many = (example.errors(100, load, rng, rounds=4) for load in (0.05, 0.3))
    assert few < 0.01
    assert many > 0.1


def test_it_prints_and_draws(example, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"), units=60)
    lines = capsys.readouterr().out.splitlines()
    recalled = [int(re.findall(r"(\d+) of", line)[0]) for line in lines[:4]]
    assert recalled[0] == 20
    assert recalled[1] < 5
    assert recalled[2] == 30
    assert recalled[3] > 90
    assert "[1.0, 1.0] [-1.0, -1.0] [1.0, 1.0] … a cycle" in lines[4]
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_gallery_shows_the_capacity(gallery):
    found = [re.findall(r"([\d.]+)·N: +([\d.]+)%", line) for line in gallery("hopfield")]
    wrong = {float(load): float(percent) for pairs in found for load, percent in pairs}
    assert len(wrong) == 8
    assert all(percent < 2 for load, percent in wrong.items() if load < 0.138)
    assert all(percent > 2 for load, percent in wrong.items() if load > 0.138)
