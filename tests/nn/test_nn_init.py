"""Initialisers: their distributions within statistical tolerance, seeds, and what has no fan-in."""

import math
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn

OUT, IN = 300, 200
INITIALISERS = [name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")]
RANDOM = [name for name in INITIALISERS if name not in {"constant_", "zeros_", "ones_"}]


def drawn(name, shape=(OUT, IN), **options):
    tensor = nn.Parameter(np.full(shape, np.nan), dtype=float)
    return getattr(nn.init, name)(tensor, rng=np.random.default_rng(4), **options).data


def distance(values, distribution):
    """Kolmogorov–Smirnov: the largest distance between the empirical distribution and the expected one."""
    x = np.sort(values.ravel())
    expected = np.array([distribution(v) for v in x])
    steps = np.arange(x.size + 1) / x.size
    return max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())


def assert_drawn_from(values, distribution):
    assert distance(values, distribution) < 1.95 / math.sqrt(
        values.size
    )  # one true sample in a thousand fails


def normal(std, mean=0.0):
    return lambda v: 0.5 * (1 + math.erf((v - mean) / (std * math.sqrt(2))))


def uniform(low, high):
    return lambda v: (v - low) / (high - low)


@pytest.mark.parametrize(
    ("name", "options", "std"),
    [
        ("normal_", {}, 1.0),
        ("normal_", {"std": 0.1}, 0.1),
        ("nielsen_large_", {}, 1.0),
        ("nielsen_", {}, 1 / math.sqrt(IN)),
        ("xavier_normal_", {}, math.sqrt(2 / (IN + OUT))),
        ("xavier_normal_", {"gain": 3.0}, 3 * math.sqrt(2 / (IN + OUT))),
        ("kaiming_normal_", {}, math.sqrt(2 / IN)),
        ("kaiming_normal_", {"a": 0.5}, math.sqrt(2 / (1.25 * IN))),
    ],
)
def test_normal_initialisers(name, options, std):
    assert_drawn_from(drawn(name, **options), normal(std))


def test_normal_around_a_mean():
    assert_drawn_from(drawn("normal_", mean=5.0, std=2.0), normal(2.0, 5.0))


@pytest.mark.parametrize(
    ("name", "options", "low", "high"),
    [
        ("uniform_", {}, 0.0, 1.0),
        ("uniform_", {"a": -3.0, "b": 2.0}, -3.0, 2.0),
        ("xavier_uniform_", {}, -math.sqrt(6 / (IN + OUT)), math.sqrt(6 / (IN + OUT))),
        ("xavier_uniform_", {"gain": 2.0}, -2 * math.sqrt(6 / (IN + OUT)), 2 * math.sqrt(6 / (IN + OUT))),
        ("kaiming_uniform_", {}, -math.sqrt(6 / IN), math.sqrt(6 / IN)),
        ("kaiming_uniform_", {"a": math.sqrt(5)}, -1 / math.sqrt(IN), 1 / math.sqrt(IN)),
    ],
)
def test_uniform_initialisers(name, options, low, high):
    values = drawn(name, **options)
    assert low <= values.min()
    assert values.max() < high
    assert_drawn_from(values, uniform(low, high))


def test_the_distance_sees_a_wrong_distribution():
    assert distance(drawn("normal_"), normal(1.05)) > 1.95 / math.sqrt(OUT * IN)
    assert distance(drawn("uniform_"), uniform(-0.02, 1.0)) > 1.95 / math.sqrt(OUT * IN)


def test_constants():
    tensor = nn.Parameter(np.full(3, np.nan))
    assert nn.init.zeros_(tensor).tolist() == [0.0] * 3
    assert nn.init.ones_(tensor).tolist() == [1.0] * 3
    assert nn.init.constant_(tensor, 0.5).tolist() == [0.5] * 3


def test_fans_of_a_kernel_count_its_field():
    assert_drawn_from(drawn("kaiming_normal_", (100, 5, 3, 3)), normal(math.sqrt(2 / 45)))
    assert_drawn_from(drawn("xavier_normal_", (100, 5, 3, 3)), normal(math.sqrt(2 / (45 + 900))))


def test_nielsens_biases_are_standard_normal():
    assert_drawn_from(drawn("nielsen_", (5000,)), normal(1.0))
    assert_drawn_from(drawn("nielsen_large_", (5000,)), normal(1.0))


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
def test_a_bias_has_no_fan_in(name, shape):
    with pytest.raises(
        ValueError, match=r"a weight of shape \((3,)?\) has no fan-in and fan-out; give a matrix"
    ):
        drawn(name, shape)


@pytest.mark.parametrize("name", RANDOM)
def test_initialisers_write_in_place_and_follow_the_seed(name):
    tensor, twin = (nn.Parameter(np.zeros((4, 3))) for _ in range(2))
    array, initialise = tensor.data, getattr(nn.init, name)
    assert initialise(tensor, rng=np.random.default_rng(1)) is tensor
    assert tensor.data is array
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor.data, initialise(twin, rng=np.random.default_rng(1)).data)
    assert (tensor.data != initialise(twin, rng=np.random.default_rng(2)).data).any()
    mg.manual_seed(8)
    first = initialise(tensor).data.copy()
    mg.manual_seed(8)
    np.testing.assert_array_equal(first, initialise(twin).data)


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialising_between_forward_and_backward_is_noticed(name):
    w, x = nn.Parameter(np.ones((2, 2))), mg.Tensor(np.ones((2, 2), np.float32), requires_grad=True)
    y = (w * x).sum()
    getattr(nn.init, name)(w, *([0.5] if name == "constant_" else []))
    with pytest.raises(RuntimeError, match="was changed in place"):
        y.backward()


def test_linear_starts_with_pytorchs_distribution(torch):
    layer: Any = nn.Linear(IN, OUT, rng=np.random.default_rng(0))
    bound = 1 / math.sqrt(IN)
    assert_drawn_from(layer.weight.data, uniform(-bound, bound))
    assert_drawn_from(layer.bias.data, uniform(-bound, bound))
    torch.manual_seed(0)
    theirs = torch.nn.Linear(IN, OUT)
    assert_drawn_from(theirs.weight.detach().numpy(), uniform(-bound, bound))
    assert_drawn_from(theirs.bias.detach().numpy(), uniform(-bound, bound))


def test_embedding_starts_standard_normal():
    assert_drawn_from(nn.Embedding(100, 50, rng=np.random.default_rng(0)).weight.data, normal(1.0))


def test_layers_follow_the_seed():
    first, second = list[Any](nn.Linear(3, 2, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.weight.data, second.weight.data)
    np.testing.assert_array_equal(first.bias.data, second.bias.data)
    mg.manual_seed(5)
    third = nn.Linear(3, 2)
    np.testing.assert_array_equal(first.weight.data, third.weight.data)
