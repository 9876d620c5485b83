"""The perceptron classic: gates that are learnt, XOR that is not, scaling, and sigmoids on their way."""

import itertools

import numpy as np
import pytest

from microgradnet import nn


@pytest.fixture(scope="module")
def example(classic):
    return classic("perceptron")


@pytest.mark.parametrize("truth", [t for t in itertools.product((0, 1), repeat=4) if sum(t[1:3]) != 1])
def test_every_gate_that_a_line_parts_is_learnt_and_no_other(example, truth):
    parted = truth not in {(0, 1, 1, 0), (1, 0, 0, 1)}
    neuron, mistakes = example.learnt(list(truth), passes=60)
    assert (mistakes[-1] == 0) is parted
    assert (neuron(example.CORNERS).data.ravel().tolist() == list(truth)) is parted
    assert parted or min(mistakes) > 0


def test_the_separating_lines_bound_the_mistakes(example):
    for gate, (*w, b) in example.PARTING.items():
        z = example.CORNERS @ w + b
        assert ((z > 0) == example.GATES[gate]).all()
        bound = 3 * np.dot([*w, b], [*w, b]) / np.abs(z).min() ** 2
        assert sum(example.learnt(example.GATES[gate])[1]) <= bound


def test_scaling_changes_no_perceptron_and_hardens_sigmoids(example):
    points = np.random.default_rng(5).uniform(-3, 3, (500, 2))
    hard = example.network()(points).data
    assert 0 < hard.mean() < 1
    assert all((example.network(c)(points).data == hard).all() for c in (0.25, 7.0, 1e4))
    truth = np.reshape(example.GATES["XOR"], (4, 1))
    gaps = [abs(example.network(c, soft=True)(example.CORNERS).data - truth).max() for c in (1, 3, 10, 30)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-12


def test_it_prints_what_the_gallery_shows_and_draws(example, gallery, same, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"))
    same(capsys.readouterr().out.splitlines(), gallery("perceptron"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_uses_the_library_neuron(example):
    assert isinstance(example.network()[0], nn.Perceptron)
