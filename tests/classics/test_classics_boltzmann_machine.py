"""Bernoulli RBM: shifted images, features that beat raw pixels beside scikit-learn's, reconstructions."""

import re

import numpy as np
import pytest

from microgradnet import datasets


@pytest.fixture(scope="module")
def example(classic):
    pytest.importorskip("sklearn", reason="the digits and BernoulliRBM come with scikit-learn")
    return classic("boltzmann_machine")


def test_images_are_shifted_by_a_pixel_each_way(example):
    image = np.zeros((8, 8), np.float32)
    image[3, 4] = 1.0
    x, y = example.shifted(datasets.Dataset(image.reshape(1, 64), np.array([7]), num_classes=10))
    found = {tuple(int(i) for i in np.argwhere(one.reshape(8, 8))[0]) for one in x}
    assert found == {(3, 4), (4, 4), (2, 4), (3, 5), (3, 3)}
    assert y.tolist() == [7] * 5


def test_features_are_better_than_raw_pixels_and_it_draws(example, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(example, "RATE", 0.15)  # sooner there
    example.main(str(tmp_path / "picture.png"), epochs=5)
    *lines, cd, persistent = capsys.readouterr().out.splitlines()
    raw, theirs, *ours = (float(re.findall(r"([\d.]+)%", line)[0]) for line in lines)
    assert min(ours) > raw
    assert min(ours) > theirs - 3
    for line in (cd, persistent):
        error, mean = (float(n) for n in re.findall(r"\d\.\d+", line))
        assert error < mean / 2
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_gallery_shows_features_that_are_better(gallery):
    raw, theirs, *ours = (
        float(re.findall(r"([\d.]+)%", line)[0]) for line in gallery("boltzmann_machine")[:4]
    )
    assert len(ours) == 2
    assert min(ours) > raw + 5
    assert min(ours) > theirs - 2
