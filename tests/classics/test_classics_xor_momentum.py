"""XOR with momentum: the update against plain NumPy, starts that learn it, and one that does not."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(classic):
    return classic("xor_momentum")


def in_numpy(nets, rounds):
    """Train the nets with tanh and tanh by the δ equations, and return their outputs."""
    w, b, v, c = (p.data.copy() for p in nets.parameters())
    last = [0.0, 0.0, 0.0, 0.0]
    for _ in range(rounds):
        for x, t in (([0, 0], 0), ([0, 1], 1), ([1, 0], 1), ([1, 1], 0)):
            column = np.reshape(x, (2, 1))
            h = np.tanh(w @ column + b)
            a = np.tanh(v @ h + c)
            delta = (a - t) * (1 - a * a)
            hidden = v.transpose(0, 2, 1) * delta * (1 - h * h)
            gradients = hidden @ column.T, hidden, delta @ h.transpose(0, 2, 1), delta
            last = [-0.05 * g + 0.1 * change for g, change in zip(gradients, last, strict=True)]
            w, b, v, c = (p + change for p, change in zip((w, b, v, c), last, strict=True))
    return np.tanh(v @ np.tanh(w @ np.array([[0, 0, 1, 1], [0, 1, 0, 1]]) + b) + c)


def test_the_starts_have_the_ranges_that_were_asked_for(example):
    nets = example.Nets(*example.PAIRS["tanh, tanh"], seeds=200)
    hidden, output = (np.abs(p.data).reshape(3, -1).max(1) for p in (nets.w, nets.v))
    assert hidden == pytest.approx([0.2, 2, 0.2], rel=0.02)
    assert output == pytest.approx([0.2, 2, 2], rel=0.02)
    assert nets.w.shape[1:] == (5, 2)
    assert nets.v.shape[1:] == (1, 5)


def test_rate_and_momentum_are_those_of_the_textbook(example):
    outputs, errors = example.train("tanh, tanh", rounds=30, seeds=2)
    wanted = in_numpy(example.Nets(*example.PAIRS["tanh, tanh"], 2), 30).reshape(3, 2, 4)
    np.testing.assert_allclose(outputs, wanted, atol=1e-12)
    np.testing.assert_allclose(errors[-1], ((wanted - [0, 1, 1, 0]) ** 2).mean(-1) / 2, atol=1e-12)


def test_small_and_large_starts_learn_xor_and_it_draws(example, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"), rounds=1600, seeds=1)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    lines = {line[:27].rstrip(): line for line in capsys.readouterr().out.splitlines()}
    for start in example.STARTS:
        assert " 1 of 1 nets round to the truth" in lines[f"{'tanh, tanh':11} {start}"]
    assert " 0 of 1 nets" in lines[f"{'σ, σ':11} ±0.2"]


def test_the_gallery_shows_who_learns_and_who_does_not(gallery, example):
    counts = {line[:26].strip(): int(line[27:29]) for line in gallery("xor_momentum")}
    assert len(counts) == len(example.PAIRS) * len(example.STARTS)
    assert {pair: counts[f"{pair:11} ±2"] for pair in example.PAIRS} == dict.fromkeys(example.PAIRS, 10)
    assert counts[f"{'tanh, tanh':11} ±0.2, then ±2"] == 10
    assert counts[f"{'σ, σ':11} ±0.2"] == 0
