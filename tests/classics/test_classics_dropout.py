"""Dropout: where the images come from, and that it keeps training and validation closer together."""

import re

import numpy as np
import pytest

from microgradnet import datasets


@pytest.fixture(scope="module")
def example(classic):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return classic("dropout")


@pytest.fixture
def no_mnist(monkeypatch, tmp_path):
    monkeypatch.setenv("MICROGRADNET_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_thousand_images_and_others_for_validation(example, no_mnist):
    name, (x, y), (others, labels) = example.images()
    assert name == "digits"
    assert x.shape == (1000, 64)
    assert others.shape == (437, 64)
    assert len(y) == 1000
    everything = datasets.load("digits", rng=0)
    np.testing.assert_array_equal(labels[-180:], everything.validation.y)
    assert not {row.tobytes() for row in x} & {row.tobytes() for row in others}


def test_mnist_is_taken_where_it_is(example, mnist_dir):
    name, (x, _), (others, _) = example.images()
    assert (name, x.shape, others.shape) == ("mnist", (1000, 784), (2000, 784))


def test_dropout_narrows_the_gap_and_it_draws(example, no_mnist, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"), epochs=30)
    lines = capsys.readouterr().out.splitlines()
    apart = [float(re.findall(r"apart ([\d.]+)", line)[0]) for line in lines if "apart" in line]
    assert apart[3] < apart[1]  # accuracy
    assert apart[2] < apart[0]  # loss
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_gallery_shows_the_gap(gallery):
    lines = gallery("dropout")
    assert "1,000 images for training" in lines[0]
    apart = [float(re.findall(r"apart ([\d.]+)", line)[0]) for line in lines if "apart" in line]
    assert apart[2] < apart[0]
    assert apart[3] < apart[1]
