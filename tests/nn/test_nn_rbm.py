"""The RBM against what can be counted out: its gradients, its distribution, its samples; and refused data."""

import itertools

import numpy as np
import pytest

from microgradnet import grad, nn, optim


@pytest.fixture
def small():
    """Return an RBM of 4 and 3 units with weights that matter, in float64."""
    rng = np.random.default_rng(3)
    rbm = nn.RBM(4, 3, dtype=np.float64, rng=rng)
    rbm.load_state_dict({name: rng.normal(size=value.shape) for name, value in rbm.state_dict().items()})
    return rbm


def states(units):
    return np.array(list(itertools.product([0.0, 1.0], repeat=units)))


def probabilities(rbm):
    """Return p(v) of all v, counted out over v and h from the energy −v·b − h·c − h·W·v."""
    v, h = states(rbm.visible), states(rbm.hidden)
    w, b, c = (p.data.astype(np.float64) for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    joint = np.exp(v @ b + (h @ c)[:, None] + h @ w @ v.T)
    return joint.sum(0) / joint.sum()


def test_the_free_energy_gives_the_distribution(small):
    boltzmann = np.exp(-small.free_energy(states(4)).data)
    np.testing.assert_allclose(boltzmann / boltzmann.sum(), probabilities(small), rtol=1e-12)


def test_the_gradient_is_data_minus_samples(small):
    data = np.array([[1.0, 0.0, 0.5, 1.0], [0.0, 1.0, 1.0, 0.0]])
    loss, samples = small.contrastive_divergence(data)
    slopes = grad(loss, list(small.parameters()))
    h, h_samples = small(data).data, small(samples).data
    by_hand = [
        -(h.T @ data - h_samples.T @ samples.data) / 2,
        -(data - samples.data).mean(0),
        -(h - h_samples).mean(0),
    ]
    for slope, wanted in zip(slopes, by_hand, strict=True):
        np.testing.assert_allclose(slope.data, wanted, atol=1e-12)


def test_samples_are_bits_without_a_history_and_follow_the_distribution(small):
    samples = small.gibbs(np.zeros((20_000, 4)), steps=30)
    assert samples._node is None
    assert set(np.unique(samples.data)) == {0.0, 1.0}
    counts = np.bincount(samples.data.astype(int) @ [8, 4, 2, 1], minlength=16)
    np.testing.assert_allclose(counts / 20_000, probabilities(small), atol=0.015)


@pytest.mark.parametrize("persistent", [False, True])
def test_learning_raises_the_likelihood(persistent):
    rng = np.random.default_rng(0)
    rbm = nn.RBM(4, 4, rng=rng)
    data = np.repeat([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]], 10, axis=0)
    sgd, chains = optim.SGD(rbm.parameters(), lr=0.1), None
    before = _likelihood(rbm, data)
    for _ in range(1500):
        loss, samples = rbm.contrastive_divergence(data, start=chains)
        chains = samples if persistent else None
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    after = _likelihood(rbm, data)
    assert before == pytest.approx(-4 * np.log(2), abs=0.05)
    assert after > -1.5  # of at most −log 3 = −1.10


def _likelihood(rbm, data):
    return float(np.log(probabilities(rbm)[data.astype(int) @ [8, 4, 2, 1]]).mean())


def test_chains_start_where_they_are_told_to(small):
    small.load_state_dict(
        {"weight": np.zeros((3, 4)), "visible_bias": [50.0, -50, 50, -50], "hidden_bias": np.zeros(3)}
    )
    _, samples = small.contrastive_divergence(np.zeros((1, 4)), start=np.zeros((5, 4)))
    np.testing.assert_array_equal(samples.data, [[1, 0, 1, 0]] * 5)


def test_equal_seeds_draw_equal_samples():
    one, two = (nn.RBM(6, 3, rng=np.random.default_rng(5)) for _ in range(2))
    start = np.full((4, 6), 0.5)
    np.testing.assert_array_equal(one.gibbs(start, 3).data, two.gibbs(start, 3).data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([[0.0, 1.5, -0.25]], r"must lie in \[0, 1\], found -0.25 … 1.5"),
        ([[0.0, np.nan, 1.0]], r"must lie in \[0, 1\], found nan"),
        ([[0.0, 255.0, 1.0]], r"found 0 … 255; scale them, as by \(v − 0\) / 255"),
        ([[0.0, 1.0]], r"shape \(1, 2\), expected \(N, 3\)"),
        ([0.0, 1.0, 1.0], r"shape \(3,\), expected \(N, 3\)"),
    ],
)
@pytest.mark.parametrize(
    "method", ["__call__", "free_energy", "contrastive_divergence", "gibbs", "reconstruct"]
)
def test_data_that_cannot_be_are_refused(method, data, said):
    with pytest.raises(ValueError, match=r"RBM\(visible=3, hidden=2\): .*" + said):
        getattr(nn.RBM(3, 2), method)(np.array(data))


def test_sizes_and_steps_are_checked():
    with pytest.raises(ValueError, match="RBM: hidden must be at least 1, not 0"):
        nn.RBM(3, 0)
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        nn.RBM(3, 2).gibbs(np.zeros((1, 3)), 0)
