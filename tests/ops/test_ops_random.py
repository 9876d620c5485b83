"""The random draws: their distributions, dtypes and seeds."""

import threading

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import ops


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("draw", "mean", "deviation"),
    [
        (ops.uniform, 0.5, 12**-0.5),
        (ops.normal, 0.0, 1.0),
        (lambda **given: ops.bernoulli(p=0.3, **given), 0.3, 0.21**0.5),
    ],
    ids=["uniform", "normal", "bernoulli"],
)
def test_distribution_shape_dtype_and_seed(draw, mean, deviation, dtype):
    x = draw(shape=(200, 100), dtype=dtype, rng=np.random.default_rng(5))
    assert (x.shape, x.dtype) == ((200, 100), dtype)
    assert x.mean(dtype=float) == pytest.approx(mean, abs=5 * deviation / 20_000**0.5)
    assert x.std(dtype=float) == pytest.approx(deviation, rel=0.03)
    np.testing.assert_array_equal(x, draw(shape=(200, 100), dtype=dtype, rng=np.random.default_rng(5)))
    assert (x != draw(shape=(200, 100), dtype=dtype, rng=np.random.default_rng(6))).any()


def test_uniform_and_bernoulli_stay_in_range():
    x = ops.uniform(shape=1000, dtype=np.float32, rng=np.random.default_rng(0))
    assert 0 <= x.min() < x.max() < 1
    for p in (0.0, 1.0):
        assert set(ops.bernoulli(p=p, shape=1000, dtype=np.float32, rng=np.random.default_rng(0))) == {p}


def test_manual_seed_restarts_the_default_generator():
    mg.manual_seed(3)
    first = ops.generator().random(4).tolist()
    assert ops.generator().random(4).tolist() != first
    mg.manual_seed(3)
    assert ops.generator().random(4).tolist() == first


def test_a_given_generator_is_used():
    rng = np.random.default_rng(0)
    assert ops.generator(rng) is rng


def test_each_thread_has_its_own_default_generator():
    mg.manual_seed(3)
    first = ops.generator().random(4).tolist()
    mg.manual_seed(3)
    thread = threading.Thread(target=mg.manual_seed, args=(9,))
    thread.start()
    thread.join()
    assert ops.generator().random(4).tolist() == first
