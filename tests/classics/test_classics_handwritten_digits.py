"""Handwritten digits: as good as MLPClassifier with its settings, and a confusion matrix that adds up."""

import re

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(classic):
    pytest.importorskip("sklearn", reason="the digits and MLPClassifier come with scikit-learn")
    return classic("handwritten_digits")


def test_both_learn_the_digits_and_it_draws(example, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"), epochs=12, seeds=1)
    first, second, _, *table = capsys.readouterr().out.splitlines()
    ours, theirs = (float(re.findall(r"mean ([\d.]+)%", line)[0]) for line in (first, second))
    assert min(ours, theirs) > 93
    assert abs(ours - theirs) < 3
    counts = np.array([re.findall(r"\d+", row) for row in table], int)
    assert counts.shape == (10, 10)
    assert counts.sum() == 360
    assert 100 * np.trace(counts) / 360 == pytest.approx(ours, abs=0.06)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_gallery_shows_accuracies_that_belong_together(gallery):
    ours, theirs = (
        [float(n) for n in re.findall(r"([\d.]+)%", line)] for line in gallery("handwritten_digits")[:2]
    )
    assert len(ours) == len(theirs) == 6
    assert np.mean(ours[:-1]) == pytest.approx(ours[-1], abs=0.06)
    assert abs(ours[-1] - theirs[-1]) < 1.0
