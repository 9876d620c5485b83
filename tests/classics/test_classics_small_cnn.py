"""Small CNN: its architecture, δ against the equations and against arithmetic by hand; ≥ 98 % on MNIST."""

import re

import numpy as np
import pytest

from microgradnet import datasets, nn


@pytest.fixture(scope="module")
def example(classic):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return classic("small_cnn")


@pytest.fixture
def no_mnist(monkeypatch, tmp_path):
    monkeypatch.setenv("MICROGRADNET_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def untrained(example):
    splits = datasets.load("digits", rng=0, images=True)
    return example.trained(splits, 0).astype(np.float64), splits


def test_the_net_is_the_classic_one(untrained):
    model, splits = untrained
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.MaxPool2d, nn.Sigmoid, nn.Flatten, nn.Linear]
    assert model[0].weight.shape == (10, 1, 5, 5)
    assert model(splits.test.x[:2]).shape == (2, 10)


def test_both_ways_agree_and_the_kernels_are_turned(example, untrained):
    model, splits = untrained
    x, y = splits.test.x[:3].astype(np.float64), splits.test.y[:3]
    steps, found, by_hand = example.both_ways(model, x, y)
    assert list(found) == ["pooled", "maps", "image", "kernels"]
    for name, slope in found.items():
        np.testing.assert_allclose(slope, by_hand[name], atol=1e-14, err_msg=name)
    kernels = model[0].weight.data
    np.testing.assert_allclose(example.rotated(found["maps"], kernels), found["image"], atol=1e-14)
    assert abs(example.rotated(found["maps"], kernels[..., ::-1, ::-1]) - found["image"]).max() > 1e-5
    for (n, o, i, j), delta in np.ndenumerate(found["pooled"]):  # routing, by arithmetic
        window = np.s_[n, o, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        routed = np.zeros(4)
        routed[steps[1].data[window].argmax()] = delta
        np.testing.assert_allclose(found["maps"][window].ravel(), routed, atol=1e-15)


def checked(lines):
    """Hold the lines after the training: four agreements, the turned kernels, and δ at one pixel of four."""
    assert all(line.endswith("equal to 1e-12: True") for line in lines[:5])
    window = [float(n) for n in re.findall(r"-?\d+\.\d+", lines[5])]
    pool, routed = lines[6].split(";")
    slopes = [float(n) for n in routed[routed.index("[") + 1 : routed.index("]")].split()]
    assert len(window) == len(slopes) == 4
    assert np.flatnonzero(slopes).tolist() == [int(np.argmax(window))]
    assert sum(slopes) == pytest.approx(float(re.findall(r"-?\d.*", pool)[0]), rel=0.01)


def test_it_learns_the_digits_where_there_is_no_mnist_and_draws(example, no_mnist, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"), epochs=9)
    lines = capsys.readouterr().out.splitlines()
    assert lines[9].startswith("digits: accuracy on the 360 test images")
    assert float(re.findall(r"([\d.]+)%", lines[9])[0]) > 80
    checked(lines[10:])
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_it_gets_98_percent_of_mnist(example, mnist_dir, capsys):
    example.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[9].startswith("mnist: accuracy on the 10,000 test images")
    assert float(re.findall(r"([\d.]+)%", lines[9])[0]) >= 98
    checked(lines[10:])


def test_the_gallery_shows_98_percent_of_mnist(gallery):
    lines = gallery("small_cnn")
    assert lines[9].startswith("mnist: accuracy on the 10,000 test images")
    assert float(re.findall(r"([\d.]+)%", lines[9])[0]) >= 98
    checked(lines[10:])
