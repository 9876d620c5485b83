"""Hopfield networks: weights by either rule, an energy that never rises, cycles, recall; refused patterns."""

from itertools import pairwise

import numpy as np
import pytest

from microgradnet import nn, no_grad


def patterns(count, units, seed=0):
    return np.random.default_rng(seed).choice([-1.0, 1.0], (count, units))


def network(stored, rule="hebb"):
    net = nn.Hopfield(stored.shape[1], dtype=np.float64)
    net.store(stored, rule)
    return net


@pytest.mark.parametrize("rule", ["hebb", "pseudo-inverse"])
def test_weights_are_symmetric_with_a_zero_diagonal(rule):
    weight = network(patterns(5, 30), rule).weight.data
    np.testing.assert_array_equal(weight, weight.T)
    np.testing.assert_array_equal(np.diag(weight), 0)


def test_hebbs_rule_adds_up_products():
    stored = patterns(4, 10)
    wanted = np.sum([np.outer(p, p) for p in stored], axis=0) / 10
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(network(stored).weight.data, wanted, atol=1e-15)


def test_the_pseudo_inverse_keeps_patterns_that_hebbs_rule_loses():
    stored = np.where(np.random.default_rng(0).random((10, 40)) < 0.8, 1.0, -1.0)  # alike
    np.testing.assert_array_equal(network(stored, "pseudo-inverse")(stored).data, stored)
    assert (network(stored)(stored).data != stored).any()


def test_the_field_is_the_slope_of_the_energy():
    net, s = network(patterns(3, 12)), patterns(2, 12, seed=1)
    np.testing.assert_allclose(net.field(s).data, s @ net.weight.data, atol=1e-14)
    with no_grad():  # asked for, it is had here too
        np.testing.assert_allclose(net.field(s).data, s @ net.weight.data, atol=1e-14)
    s_energy = [-0.5 * row @ net.weight.data @ row for row in s]
    np.testing.assert_allclose(net.energy(s).data, s_energy, atol=1e-14)


@pytest.mark.parametrize("rule", ["hebb", "pseudo-inverse"])
@pytest.mark.parametrize("count", [2, 8, 30])
def test_the_energy_never_rises_one_by_one(rule, count):
    net = network(patterns(count, 40), rule)
    for seed in range(5):
        states = list(net.recall(patterns(1, 40, seed=9 + seed)[0], rng=np.random.default_rng(seed)))
        energies = [net.energy(s).item() for s in states]
        assert all(after <= before + 1e-12 for before, after in pairwise(energies))
        changed = [np.count_nonzero(a.data != b.data) for a, b in pairwise(states)]
        assert changed == [1] * len(changed)
        np.testing.assert_array_equal(net(states[-1]).data, states[-1].data)  # at rest


def test_all_at_once_it_may_cycle():
    net = network(np.array([[1.0, -1.0]]))
    states = [s.tolist() for s in net.recall([1, 1], synchronous=True)]
    assert states == [[1, 1], [-1, -1], [1, 1]]
    at_rest = [s.tolist() for s in net.recall([1, -1], synchronous=True)]
    assert at_rest == [[1, -1], [1, -1]]


def test_a_unit_without_a_field_stays():
    net = nn.Hopfield(3)
    assert net([1, -1, 1]).tolist() == [1, -1, 1]


def test_one_unit_is_updated_in_every_state():
    net = network(np.array([[1.0, 1.0, 1.0, 1.0]]))
    after = net.update([[1, 1, 1, -1], [-1, 1, 1, -1]], 3)
    assert after.tolist() == [[1, 1, 1, 1], [-1, 1, 1, 1]]


def test_corrupted_patterns_are_recalled():
    stored = patterns(5, 100)
    net = network(stored)
    for i, pattern in enumerate(stored):
        start = pattern * np.where(np.arange(100) % 7 == 0, -1, 1)
        *_, end = net.recall(start, rng=np.random.default_rng(i))
        np.testing.assert_array_equal(end.data, pattern)


def test_the_capacity_is_about_0138_of_the_units():
    wrong = []
    for count in (11, 22, 50):  # of 200 units
        stored = patterns(count, 200, seed=count)
        net, s = network(stored), stored
        for unit in np.tile(np.arange(200), 4):
            s = net.update(s, unit).data
        wrong.append(np.mean(s != stored))
    below, near, above = wrong
    assert below < 0.005
    assert near < 0.02
    assert above > 0.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[1, 0, 1]], r"1 of 3 values are neither −1 nor 1, the first 0; for 0 and 1 write 2 \* s - 1"),
        ([[1, 0.5, -3]], r"2 of 3 values are neither −1 nor 1, the first 0.5$"),
        ([[1, np.nan, 1]], r"1 of 3 values are neither −1 nor 1, the first nan"),
        ([[1, -1]], r"shape \(1, 2\), expected \(3,\) or \(N, 3\)"),
    ],
)
@pytest.mark.parametrize("method", ["store", "energy", "field", "__call__", "recall"])
def test_what_is_no_pattern_is_refused(method, given, said):
    with pytest.raises(ValueError, match=r"Hopfield\(units=3\): .*" + said):
        getattr(nn.Hopfield(3), method)(given)


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="'hebb' or 'pseudo-inverse', not 'oja'"):
        nn.Hopfield(2).store([[1, 1]], "oja")
    with pytest.raises(ValueError, match="Hopfield: units must be at least 1, not 0"):
        nn.Hopfield(0)
    with pytest.raises(ValueError, match=r"recall takes one state \(2,\), not shape \(1, 2\)"):
        nn.Hopfield(2).recall([[1, 1]])
    with pytest.raises(ValueError, match="beta must be positive, not -1"):
        nn.ModernHopfield([[1.0]], beta=-1)
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(P, units\)"):
        nn.ModernHopfield([1.0, 2.0])
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(2,\) or \(N, 2\)"):
        nn.ModernHopfield([[1.0, 2.0]])([1.0, 2.0, 3.0])


def test_the_modern_update_is_attention_and_lowers_its_energy():
    rng = np.random.default_rng(0)
    stored, s = rng.normal(size=(6, 8)), rng.normal(size=(3, 8))
    net = nn.ModernHopfield(stored, beta=2.0, dtype=np.float64)
    scores = np.exp(2 * s @ stored.T)
    np.testing.assert_allclose(net(s).data, scores / scores.sum(1, keepdims=True) @ stored, atol=1e-12)
    energies = [net.energy(s).data]
    for _ in range(20):
        s = net(s)
        energies.append(net.energy(s).data)
    assert (np.diff(energies, axis=0) <= 1e-12).all()


def test_weights_are_saved_with_the_network():
    stored = patterns(2, 10)
    other = nn.Hopfield(10, dtype=np.float64)
    other.load_state_dict(network(stored).state_dict())
    np.testing.assert_array_equal(other(stored).data, stored)
