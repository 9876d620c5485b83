"""Gradient descent on a valley: the linear prediction, the steepest direction, and three learning rates."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(classic):
    return classic("gradient_descent")


def test_the_linear_prediction_is_off_by_the_square_of_the_step(example):
    step = np.array([0.3, -0.7])
    gaps = [
        example.valley(example.START + h * step)
        - example.valley(example.START)
        - h * example.slope(example.START) @ step
        for h in (1e-1, 1e-2, 1e-3)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=1e-3)
    assert gaps[1] / gaps[2] == pytest.approx(100, rel=1e-3)


def test_no_direction_is_steeper_than_minus_the_gradient(example):
    angles = [example.steepest(length) for length in (1.0, 0.1, 0.001)]
    assert angles == sorted(angles, reverse=True)
    assert angles[-1] <= 0.05 + 1e-6  # half of the tenth of a degree between directions


def test_the_cost_never_rises_below_the_largest_rate_and_does_above(example):
    for name, rate in example.RATES.items():
        points = example.descent(rate)
        costs = np.array([example.valley(v) for v in points])
        factors = np.array([1 - rate, 1 - 10 * rate])  # of v₁ and v₂ in each step: C is a parabola in both
        np.testing.assert_allclose(points, example.START * factors ** np.arange(41)[:, None], atol=1e-12)
        assert (np.diff(costs) <= 0).all() == (name != "too large")
    ends = {name: example.valley(example.descent(rate)[-1]) for name, rate in example.RATES.items()}
    assert ends["right"] < 1e-3 < ends["too small"] < ends["too large"]


def test_it_prints_what_the_gallery_shows(example, gallery, same, capsys):
    example.main()
    same(capsys.readouterr().out.splitlines(), gallery("gradient_descent"))


def test_it_draws_an_animation(example, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="the animation needs Pillow (pip install pillow)")
    example.draw(str(tmp_path / "picture.gif"), frames=2)
    with image.open(tmp_path / "picture.gif") as picture:
        assert (picture.format, picture.n_frames) == ("GIF", 2)
