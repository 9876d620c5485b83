"""The random draws: their distributions, dtypes and seeds."""

import threading

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import ops
from microgradnet.ops import random
from microgradnet.ops.random import MANY


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


@pytest.mark.parametrize("source", [np.random.PCG64, np.random.Philox, np.random.MT19937])
@pytest.mark.parametrize("p", [0.5, 0.3, 2.5 / 65536, 1 - 0.5 / 65536])
@pytest.mark.parametrize("count", [MANY - 1, 1_000_001])
def test_bernoulli_has_the_chance_that_was_asked_for(source, p, count):
    drawn = ops.bernoulli(p=p, shape=(count,), dtype=np.float64, rng=np.random.Generator(source(7)))
    deviation = (p * (1 - p) * count) ** 0.5
    assert abs(drawn.sum() - p * count) < 4 * deviation + 2
    assert set(drawn) <= {0.0, 1.0}


def test_the_fraction_of_p_is_decided_by_another_draw(monkeypatch):
    monkeypatch.setattr(random, "_bits_16", lambda count, _rng: np.full(count, 3, np.uint16))
    shares = [
        ops.bernoulli(p=p / 65536, shape=(100_000,), dtype=float, rng=np.random.default_rng(0)).mean()
        for p in (3.0, 3.25, 3.75, 4.0)
    ]
    assert shares == pytest.approx([0, 0.25, 0.75, 1], abs=0.01)


@pytest.mark.parametrize("source", [np.random.PCG64, np.random.MT19937])
def test_all_16_bits_are_random(source):
    bits = random._bits_16(400_001, np.random.Generator(source(3)))
    assert bits.shape == (400_001,)
    for bit in range(16):
        assert ((bits >> bit) & 1).mean() == pytest.approx(0.5, abs=0.005)


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
