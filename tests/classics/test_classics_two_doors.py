"""network.py's recipe through both doors: the same weights after every epoch."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(classic):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return classic("two_doors")


def test_it_is_the_recipe_of_the_book(example):
    assert (example.BATCH, example.ETA) == (10, 3.0)
    net = example.book(3)
    draws = np.random.default_rng(3)  # biases first, then weights, all from N(0, 1)
    for drawn in (*net.biases, *net.weights):
        np.testing.assert_array_equal(drawn, draws.standard_normal(drawn.shape))


@pytest.mark.parametrize("seed", [1, 2])
def test_equal_seeds_give_equal_weights_after_an_epoch(example, seed):
    start, first = example.train(epochs=1, seed=seed)
    assert start[2] == 0
    assert first[2] <= 1e-10
    assert first[0] == first[1]
    assert first[0] > start[0] + 0.3  # they did learn


def test_another_seed_is_seen(example):
    assert example.apart(example.book(1), example.layers(np.random.default_rng(2))) > 0.1


def test_it_prints_what_the_gallery_shows_and_draws(example, gallery, same, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"), epochs=2)
    printed, shown = capsys.readouterr().out.splitlines(), gallery("two_doors")
    same(printed, [*shown[:3], shown[-1]])
    assert printed[-1].endswith("True")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
