"""One neuron by hand: the numbers on paper, the automatic ones, and what explain tells."""

import numpy as np
import pytest

import microgradnet as mg


@pytest.fixture(scope="module")
def example(classic):
    return classic("by_hand")


def test_the_example_has_the_inputs_that_were_asked_for(example):
    assert example.X.tolist() == [0.1, 0.2, 0.4]
    assert example.Y == 1


def test_every_derivative_by_hand_is_a_small_shift_and_backward(example):
    a, errors = example.by_hand()
    assert a == pytest.approx(0.3)
    assert [error for error, _ in errors.values()] == pytest.approx([0.7, 0.49])
    leaves, losses = example.forward()
    shift = 1e-6
    for name, loss in losses.items():
        measure = {"|a − y|": np.abs, "(a − y)²": np.square}[name]
        assert loss.item() == pytest.approx(errors[name][0], rel=1e-12)
        for leaf in ("w", "b", "x"):
            slopes = np.ravel(errors[name][1][leaf])
            (automatic,) = mg.grad(loss, leaves[leaf])
            np.testing.assert_allclose(automatic.data.ravel(), slopes, rtol=1e-12)
            for i, slope in enumerate(slopes):
                values = []
                for h in (shift, -shift):
                    parts = {"w": example.W, "b": np.array([example.B]), "x": example.X}
                    parts[leaf] = parts[leaf] + h * (np.arange(parts[leaf].size) == i)
                    values.append(measure(parts["w"] @ parts["x"] + parts["b"][0] - example.Y))
                assert (values[0] - values[1]) / (2 * shift) == pytest.approx(slope, abs=1e-8)


def test_explain_agrees_with_every_number_by_hand(example):
    leaves, losses = example.forward()
    _, errors = example.by_hand()
    for name, loss in losses.items():
        for leaf, tensor in leaves.items():
            for i, slope in enumerate(np.ravel(errors[name][1][leaf])):
                told = mg.explain(loss, tensor, (i,) * tensor.ndim)
                assert told.agrees
                assert told.gradient == pytest.approx(slope, rel=1e-12)


def test_it_prints_what_the_gallery_shows_and_draws(example, gallery, same, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"))
    same(capsys.readouterr().out.splitlines(), gallery("by_hand"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
