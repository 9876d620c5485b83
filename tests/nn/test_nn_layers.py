"""Layers: values and gradients against closed forms, finite differences (to second order) and PyTorch."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import nn
from microgradnet.nn import functional as F

RNG = np.random.default_rng(20)


def leaf(data):
    return mg.Tensor(data, requires_grad=True)


def linear(*sizes, **options):
    return nn.Linear(*sizes, **options)


def central_difference(f, arrays, i, h=1e-6):
    """∂f/∂arrays[i] of a function to one number."""
    out = np.zeros_like(arrays[i])
    for at in np.ndindex(out.shape):
        values = []
        for step in (h, -h):
            moved = [array.copy() for array in arrays]
            moved[i][at] += step
            values.append(f(*moved))
        out[at] = (values[0] - values[1]) / (2 * h)
    return out


def check_derivatives(f, arrays):
    """Hold the first and second derivatives of f, tensors to a tensor, against finite differences."""
    rng = np.random.default_rng(1)
    probe = rng.standard_normal(f(*map(mg.Tensor, arrays)).shape)
    directions = [rng.standard_normal(array.shape) for array in arrays]

    def leaves(given):
        return [leaf(array) for array in given]

    def value(*given):
        return (f(*map(mg.Tensor, given)) * probe).sum().item()

    def slopes(xs, **options):
        return mg.grad((f(*xs) * probe).sum(), xs, **options)

    def slope_along(*given):
        return sum(np.sum(g.data * d) for g, d in zip(slopes(leaves(given)), directions, strict=True))

    for i, g in enumerate(slopes(leaves(arrays))):
        np.testing.assert_allclose(g.data, central_difference(value, arrays, i), rtol=1e-6, atol=1e-8)
    xs = leaves(arrays)
    along = sum((g * d).sum() for g, d in zip(slopes(xs, create_graph=True), directions, strict=True))
    for i, g in enumerate(mg.grad(along, xs, allow_unused=True)):
        expected = central_difference(slope_along, arrays, i)
        np.testing.assert_allclose(0 if g is None else g.data, expected, rtol=1e-5, atol=1e-7)


def against_torch(ours, theirs, x, torch, rtol=1e-12):
    """Compare output, input gradient and parameter gradients of a layer with PyTorch's, in float64."""
    theirs = theirs.double()
    if theirs.state_dict():
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    u = leaf(x)
    v = torch.tensor(x, requires_grad=True)
    y, z = ours(u), theirs(v)
    probe = np.random.default_rng(2).standard_normal(y.shape)
    y.backward(probe)
    z.backward(torch.tensor(probe))
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=1e-14)
    np.testing.assert_allclose(u.grad, v.grad.numpy(), rtol=rtol, atol=1e-12)
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=rtol, atol=1e-12, err_msg=name)


# ---------------------------------------------------------------------- Linear


def test_linear_is_x_times_w_transposed_plus_b():
    layer = linear(3, 2, dtype=float)
    x = RNG.standard_normal((4, 5, 3))
    expected = np.einsum("abi,oi->abo", x, layer.weight.data) + layer.bias.data
    np.testing.assert_allclose(layer(x).data, expected)


@pytest.mark.parametrize("rows", [1, 4])
def test_linear_gradients_have_their_closed_form(rows):
    layer, x = linear(3, 2, dtype=float), leaf(RNG.standard_normal((rows, 3)))
    g = RNG.standard_normal((rows, 2))
    layer(x).backward(g)
    np.testing.assert_allclose(x.grad, g @ layer.weight.data)
    np.testing.assert_allclose(layer.weight.grad, g.T @ x.data)
    np.testing.assert_allclose(layer.bias.grad, g.sum(0))
    assert layer.weight.grad.flags.c_contiguous


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3)])
def test_linear_derivatives(shape):
    arrays = [RNG.standard_normal(s) for s in (shape, (2, 3), (2,))]
    check_derivatives(F.linear, arrays)
    check_derivatives(F.linear, arrays[:2])


@given(
    lead=st.lists(st.integers(1, 4), min_size=0, max_size=2), n=st.integers(1, 6), m=st.integers(1, 6),
    bias=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_linear_as_pytorchs(torch, lead, n, m, bias, seed):
    x = np.random.default_rng(seed).standard_normal((*lead, n))
    against_torch(nn.Linear(n, m, bias=bias, dtype=float), torch.nn.Linear(n, m, bias=bias), x, torch)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_large_linear_layers_multiply_in_the_other_order(rows, bias, dtype):
    layer = nn.Linear(600, 1100, bias=bias, dtype=dtype)
    arrays = [p.data.astype(float) for p in layer.parameters()]
    for x in (RNG.standard_normal((rows, 600)), RNG.standard_normal((600, rows)).T):
        y = layer(x.astype(dtype))
        expected = x @ arrays[0].T + (arrays[1] if bias else 0)
        assert y.dtype == dtype
        assert y.data.flags.carray
        np.testing.assert_allclose(y.data, expected, rtol=0, atol=2000 * np.finfo(dtype).eps)


def test_linear_without_bias_has_none():
    layer = nn.Linear(2, 3, bias=False)
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-3, 2)])
def test_linear_needs_sizes_of_at_least_one(sizes):
    with pytest.raises(ValueError, match=r"Linear: (in|out)_features must be at least 1, not (0|-3)"):
        nn.Linear(*sizes)


def test_linear_keeps_float32():
    layer, x = linear(3, 2), leaf(np.ones((4, 3), np.float32))
    layer(x).sum().backward()
    assert {layer.weight.grad.dtype, layer.bias.grad.dtype, x.grad.dtype} == {np.dtype(np.float32)}


# ---------------------------------------------------------------------- activations

KINKS = np.array([[-1e4, -30.0, -2.0, -1e-9, 0.0], [1e-9, 0.5, 1.0, 30.0, 1e4]])
ACTIVATIONS = [
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("ReLU", {}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.4}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("Softplus", {}),
    ("Softmax", {"dim": -1}),
    ("Softmax", {"dim": 0}),
    ("LogSoftmax", {"dim": -1}),
    ("LogSoftmax", {"dim": 0}),
]


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
@given(rows=st.integers(1, 4), columns=st.integers(1, 5), seed=st.integers(0, 999))
@settings(max_examples=10)
def test_activations_as_pytorchs(torch, name, options, rows, columns, seed):
    x = np.random.default_rng(seed).standard_normal((rows, columns)) * 3
    against_torch(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), x, torch, rtol=1e-9)


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations_as_pytorchs_at_kinks_and_extremes(torch, name, options):
    # torch's softplus is linear above 20, an approximation that is off by 2e-9
    rtol = 1e-8 if name == "Softplus" else 1e-9
    against_torch(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), KINKS, torch, rtol)


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activation_derivatives(name, options):
    x = RNG.standard_normal((3, 4)) + 0.05  # away from the kinks
    check_derivatives(getattr(nn, name)(**options), [x])


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations_keep_float32(name, options):
    x = leaf(KINKS.astype(np.float32))
    y = getattr(nn, name)(**options)(x)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    ("layer", "formula"),
    [
        (nn.Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
        (nn.Tanh(), math.tanh),
        (nn.ReLU(), lambda x: max(x, 0)),
        (nn.LeakyReLU(0.1), lambda x: x if x > 0 else 0.1 * x),
        (nn.ELU(2.0), lambda x: x if x > 0 else 2 * (math.exp(x) - 1)),
        (nn.GELU(), lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
        (nn.Softplus(), lambda x: math.log(1 + math.exp(x))),
    ],
)
def test_activations_are_their_formulas(layer, formula):
    x = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(layer(x).data, [formula(v) for v in x], rtol=1e-12, atol=1e-15)


def test_softmax_sums_to_one_along_its_dim_and_log_softmax_is_its_logarithm():
    x = RNG.standard_normal((3, 4))
    for dim in (0, 1, -1):
        p = nn.Softmax(dim)(x).data
        np.testing.assert_allclose(p.sum(dim), 1)
        np.testing.assert_allclose(np.log(p), nn.LogSoftmax(dim)(x).data)
    np.testing.assert_allclose(nn.Softmax()(x).data, nn.Softmax(1)(x).data)


# ---------------------------------------------------------------------- BatchNorm1d

BATCHES = st.one_of(
    st.tuples(st.integers(2, 6), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(2, 4)),
)


@given(
    shape=BATCHES,
    momentum=st.sampled_from([0.1, 0.5, 1.0]),
    eps=st.sampled_from([1e-5, 1e-2]),
    seed=st.integers(0, 999),
)
def test_batch_norm_as_pytorchs(torch, shape, momentum, eps, seed):
    rng = np.random.default_rng(seed)
    ours = nn.BatchNorm1d(shape[1], eps=eps, momentum=momentum, dtype=float)
    theirs = torch.nn.BatchNorm1d(shape[1], eps=eps, momentum=momentum).double()
    theirs.load_state_dict(
        {
            **theirs.state_dict(),
            "weight": torch.tensor(rng.standard_normal(shape[1])),
            "bias": torch.tensor(rng.standard_normal(shape[1])),
        }
    )
    for _ in range(3):
        against_torch(ours, theirs, rng.standard_normal(shape) * 2 + 1, torch, rtol=1e-8)
        ours.zero_grad()
        theirs.zero_grad()
        for name, array in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], array.numpy(), rtol=1e-12, err_msg=name)
    assert ours.num_batches_tracked.item() == 3
    ours.eval()
    theirs.eval()
    against_torch(ours, theirs, rng.standard_normal(shape), torch)
    against_torch(ours, theirs, rng.standard_normal((1, *shape[1:])), torch)


def test_batch_norm_running_statistics_by_hand():
    layer = nn.BatchNorm1d(1, momentum=0.25, dtype=float)
    y = layer([[1.0], [3.0], [8.0]])
    np.testing.assert_allclose(y.data.ravel(), np.array([-3, -1, 4]) / math.sqrt(26 / 3 + 1e-5))
    assert layer.running_mean.tolist() == [0.25 * 4]
    np.testing.assert_allclose(layer.running_var.data, [0.75 + 0.25 * 13])
    assert layer.num_batches_tracked.item() == 1
    before = layer.state_dict()
    np.testing.assert_allclose(layer.eval()([[2.0]]).data, [[1 / math.sqrt(4 + 1e-5)]])
    assert layer.state_dict() == before


@pytest.mark.parametrize("shape", [(4, 2), (3, 2, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_derivatives(shape, training):
    mean, variance = mg.Tensor([0.5, -0.5]), mg.Tensor([2.0, 0.5])
    check_derivatives(
        lambda x, w, b: F.batch_norm(x, mean, variance, w, b, training, momentum=0.0),
        [RNG.standard_normal(s) for s in (shape, (2,), (2,))],
    )


def test_batch_norm_refuses_a_batch_of_one_in_training_and_keeps_its_statistics():
    model = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="training needs more than one value per feature") as error:
        model(np.ones((1, 3)))
    assert str(error.value) == (
        "batch_norm in layer '0' BatchNorm1d(3, eps=1e-05, momentum=0.1): training needs more than one value "
        "per feature, the input has shape (1, 3); give a larger batch, or call model.eval()"
    )
    assert model[0].running_mean.tolist() == [0.0] * 3
    assert model[0].num_batches_tracked.item() == 0
    assert model.eval()(np.ones((1, 3))).shape == (1, 3)


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 3, 2, 2)])
def test_batch_norm_names_the_shapes_that_it_takes(shape):
    with pytest.raises(ValueError, match=r"BatchNorm1d\(3, .*expected \(N, 3\) or \(N, 3, L\)"):
        nn.BatchNorm1d(3)(np.ones(shape))


def test_batch_norm_statistics_do_not_join_the_graph_and_stay_float32():
    layer = nn.BatchNorm1d(2)
    layer(leaf(np.ones((3, 2), np.float32) * [[1], [2], [4]]).astype(np.float32))
    assert not layer.running_mean.requires_grad
    assert {layer.running_mean.dtype, layer.running_var.dtype} == {np.dtype(np.float32)}


def test_two_training_batches_can_wait_for_their_backward():
    layer: Any = nn.BatchNorm1d(2, dtype=float)
    x = RNG.standard_normal((4, 2))
    (layer(x).sum() + (layer(2 * x) ** 2).sum()).backward()
    assert np.isfinite(layer.weight.grad).all()


# ---------------------------------------------------------------------- LayerNorm


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    count=st.integers(1, 4),
    seed=st.integers(0, 999),
)
def test_layer_norm_as_pytorchs(torch, shape, count, seed):
    rng = np.random.default_rng(seed)
    wanted = tuple(shape[-count:])
    theirs = torch.nn.LayerNorm(wanted).double()
    theirs.load_state_dict({k: torch.tensor(rng.standard_normal(wanted)) for k in ("weight", "bias")})
    against_torch(nn.LayerNorm(wanted, dtype=float), theirs, rng.standard_normal(shape), torch, rtol=1e-7)


def test_layer_norm_derivatives():
    check_derivatives(
        lambda x, w, b: F.layer_norm(x, (2, 3), w, b),
        [RNG.standard_normal(s) for s in ((2, 2, 3), (2, 3), (2, 3))],
    )


def test_layer_norm_of_a_number_and_of_a_wrong_shape():
    assert nn.LayerNorm(3).normalized_shape == (3,)
    with pytest.raises(ValueError, match=r"LayerNorm\(\(3,\), .*the input has shape \(2, 4\), .*axes \(3,\)"):
        nn.LayerNorm(3)(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"expected to end in the axes \(2, 3\)"):
        nn.LayerNorm((2, 3))(np.ones(3))


# ---------------------------------------------------------------------- Embedding


@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=3),
    count=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_embedding_as_pytorchs(torch, shape, count, seed):
    rng = np.random.default_rng(seed)
    ours: Any = nn.Embedding(count, 3, dtype=float)
    theirs = torch.nn.Embedding(count, 3).double()
    ours.load_state_dict({"weight": theirs.weight.detach().numpy()})
    indices = rng.integers(0, count, shape)
    y, z = ours(indices), theirs(torch.tensor(indices))
    probe = rng.standard_normal(y.shape)
    y.backward(probe)
    z.backward(torch.tensor(probe))
    np.testing.assert_array_equal(y.data, z.detach().numpy())
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-12)


def test_embedding_accumulates_repeated_indices():
    layer: Any = nn.Embedding(4, 2, dtype=float)
    layer([[1, 1], [3, 1]]).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [3, 3], [0, 0], [1, 1]]


def test_embedding_derivatives():
    check_derivatives(lambda w: F.embedding([0, 2, 0], w) ** 3, [RNG.standard_normal((3, 2))])


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 5], IndexError, r"index 5 at position 1 is out of range for 4 rows \(0 to 3\)"),
        ([[0], [-1]], IndexError, r"index -1 at position \(1, 0\) is out of range"),
        ([0.0], TypeError, r"each index must be an integer, not float(32|64); write y\.astype\(int\)"),
    ],
)
def test_embedding_says_which_index_is_wrong(indices, error, message):
    with pytest.raises(error, match=r"embedding in layer '0' Embedding\(4, 2\): " + message):
        nn.Sequential(nn.Embedding(4, 2))(indices)


# ---------------------------------------------------------------------- Dropout


def test_dropout_is_the_identity_in_eval_gradients_too():
    layer, x = nn.Dropout(0.9).eval(), leaf(RNG.standard_normal((5, 5)))
    y = layer(x)
    g = RNG.standard_normal((5, 5))
    y.backward(g)
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(x.grad, g)


def test_dropout_of_zero_is_the_identity_in_training():
    x = leaf(RNG.standard_normal(5))
    assert nn.Dropout(0.0)(x) is x


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_zeroes_with_probability_p_and_preserves_the_mean(p):
    y = nn.Dropout(p, rng=np.random.default_rng(3))(np.ones((400, 250))).data
    n = y.size
    assert abs((y == 0).mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    assert abs(y.mean() - 1) < 5 * math.sqrt(p / (1 - p) / n)
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)])


def test_dropout_keeps_its_mask_for_every_backward():
    x = leaf(np.ones(1000))
    y = nn.Dropout(0.5, rng=np.random.default_rng(0))(x)
    y.sum().backward()
    first = x.grad.copy()
    np.testing.assert_array_equal(first, y.data)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * first)


def test_dropout_draws_anew_at_every_call_and_alike_from_one_seed():
    layer, twin = (nn.Dropout(0.5, rng=np.random.default_rng(7)) for _ in range(2))
    x = np.ones(100)
    first, second = layer(x).data, layer(x).data
    assert (first != second).any()
    np.testing.assert_array_equal(first, twin(x).data)
    np.testing.assert_array_equal(second, twin(x).data)
    mg.manual_seed(5)
    third = nn.Dropout()(x).data
    mg.manual_seed(5)
    np.testing.assert_array_equal(third, nn.Dropout()(x).data)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, math.nan])
def test_dropout_needs_a_probability_below_one(p):
    for make in (lambda: nn.Dropout(p), lambda: F.dropout(np.ones(3), p)):
        with pytest.raises(ValueError, match=f"ropout: p must be at least 0 and below 1, not {p}"):
            make()


def test_dropout_keeps_float32():
    assert nn.Dropout()(np.ones(3, np.float32)).dtype == np.float32


def test_dropout_derivatives():
    check_derivatives(
        lambda x: F.dropout(x, 0.5, rng=np.random.default_rng(0)) ** 3, [RNG.standard_normal((3, 4))]
    )


# ---------------------------------------------------------------------- Flatten, one_hot


def test_flatten_keeps_the_batch():
    x = leaf(RNG.standard_normal((2, 3, 4)))
    y = nn.Flatten()(x)
    g = RNG.standard_normal((2, 12))
    y.backward(g)
    np.testing.assert_array_equal(y.data, x.data.reshape(2, 12))
    np.testing.assert_array_equal(x.grad, g.reshape(2, 3, 4))
    assert nn.Flatten()(np.ones(3)).shape == (3, 1)
    assert nn.Flatten()(np.ones((0, 2, 3))).shape == (0, 6)


def test_one_hot():
    np.testing.assert_array_equal(F.one_hot(np.array([[1], [0]]), 2), [[[0, 1]], [[1, 0]]])
    assert F.one_hot([0], 2).dtype == np.float32
    assert F.one_hot([0], 2, dtype=int).dtype == int
    assert isinstance(F.one_hot(mg.Tensor([1]), 3), mg.Tensor)
    with pytest.raises(IndexError, match=r"one_hot: label 3 at position 1 is out of range for 3 classes"):
        F.one_hot([0, 3], 3)
    with pytest.raises(TypeError, match=r"one_hot: each label must be an integer, not float64"):
        F.one_hot([0.0], 3)
