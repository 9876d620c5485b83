"""Losses: every reduction against PyTorch and closed forms, the conventions of scale, and refused inputs."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import nn
from microgradnet.nn import functional as F

RNG = np.random.default_rng(11)


def leaf(data):
    return mg.Tensor(data, requires_grad=True)


REDUCTIONS = ["mean", "batchmean", "sum", "none"]


def reduced_as(losses, reduction, batch):
    """Reduce PyTorch's unreduced losses; ``batchmean`` is Σ / N."""
    if reduction == "none":
        return losses
    if reduction == "mean":
        return losses.mean()
    return losses.sum() / (batch if reduction == "batchmean" else 1)


def compare(torch, ours, theirs, arrays, rtol=1e-12):
    """Hold a loss and its gradients, by all arrays, against PyTorch's."""
    us = [leaf(a) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*us), theirs(*ts)
    assert y.shape == tuple(z.shape)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=1e-13)
    probe = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(probe)
    z.backward(torch.tensor(probe))
    for u, t in zip(us, ts, strict=True):
        np.testing.assert_allclose(u.grad, t.grad.numpy(), rtol=rtol, atol=1e-13)


# ---------------------------------------------------------------------- losses of numbers

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3)
ELEMENTWISE: list[tuple[Any, str, dict[str, float]]] = [
    (nn.MSELoss, "mse_loss", {}),
    (nn.L1Loss, "l1_loss", {}),
    (nn.HuberLoss, "huber_loss", {}),
    (nn.HuberLoss, "huber_loss", {"delta": 0.3}),
    (nn.BCELoss, "binary_cross_entropy", {}),
    (nn.BCEWithLogitsLoss, "binary_cross_entropy_with_logits", {}),
]


@pytest.mark.parametrize(("kind", "name", "options"), ELEMENTWISE)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@given(shape=SHAPES, seed=st.integers(0, 999))
@settings(max_examples=10)
def test_losses_of_numbers_as_pytorchs(torch, kind, name, options, reduction, shape, seed):
    rng = np.random.default_rng(seed)
    a, y = rng.standard_normal(shape) * 2, rng.random(shape)
    if kind is nn.BCELoss:
        a = rng.random(shape)

    def theirs(u, t):
        return reduced_as(
            getattr(torch.nn.functional, name)(u, t, reduction="none", **options), reduction, shape[0]
        )

    compare(torch, kind(reduction=reduction, **options), theirs, [a, y], rtol=1e-9)
    compare(torch, lambda u, t: getattr(F, name)(u, t, reduction, **options), theirs, [a, y], rtol=1e-9)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@given(shape=SHAPES, seed=st.integers(0, 999))
@settings(max_examples=10)
def test_quadratic_loss_is_half_the_squared_distance_per_example(reduction, shape, seed):
    rng = np.random.default_rng(seed)
    a, y = leaf(rng.standard_normal(shape)), rng.standard_normal(shape)
    d = a.data - y
    per_example = 0.5 * (d * d).reshape(shape[0], -1).sum(1)
    expected = {
        "mean": per_example.mean(),
        "batchmean": per_example.mean(),
        "sum": per_example.sum(),
        "none": per_example,
    }[reduction]
    loss = nn.QuadraticLoss(reduction)(a, y)
    np.testing.assert_allclose(loss.data, expected, rtol=1e-12)
    loss.backward(np.ones(loss.shape))
    np.testing.assert_allclose(a.grad, d / (shape[0] if "mean" in reduction else 1), rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "name", "a", "y"),
    [
        (nn.L1Loss, "l1_loss", [0.0, 1.0, -1.0], [0.0, 0.0, 0.0]),
        (nn.HuberLoss, "huber_loss", [0.0, 1.0, -1.0, 1.0000001], [0.0] * 4),
        (nn.BCELoss, "binary_cross_entropy", [0.0, 0.0, 1.0, 1.0, 1e-14], [0.0, 1.0, 0.0, 1.0, 0.5]),
        (
            nn.BCEWithLogitsLoss,
            "binary_cross_entropy_with_logits",
            [0.0, 1e4, -1e4, 1e4, -1e4, 40.0],
            [0.5, 1.0, 1.0, 0.0, 0.0, 1.0],
        ),
    ],
)
def test_kinks_and_extremes_as_pytorchs(torch, kind, name, a, y):
    u, t = leaf(a), torch.tensor(a, dtype=torch.double, requires_grad=True)
    ours = kind(reduction="none")(u, y)
    theirs = getattr(torch.nn.functional, name)(t, torch.tensor(y, dtype=torch.double), reduction="none")
    ours.sum().backward()
    theirs.sum().backward()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), atol=1e-13)
    np.testing.assert_allclose(u.grad, t.grad.numpy(), atol=1e-300)


def test_bce_in_float32_at_zero_and_one_is_finite():
    p = leaf(np.array([0, 0, 1, 1], np.float32))
    loss = nn.BCELoss(reduction="none")(p, [0, 1, 0, 1])
    loss.sum().backward()
    assert loss.tolist() == [0, 100, 100, 0]
    np.testing.assert_allclose(p.grad, [0, -1e12, 1e12, 0], rtol=1e-6)


# ---------------------------------------------------------------------- losses of classes

CLASSES = {"n": st.integers(1, 5), "c": st.integers(1, 5), "seed": st.integers(0, 999)}
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@WEIGHTED
@given(**CLASSES)
@settings(max_examples=10)
def test_nll_as_pytorchs(torch, reduction, weighted, n, c, seed):
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((n, c)), rng.integers(0, c, n)
    weight = rng.random(c) + 0.1 if weighted else None

    def theirs(t):
        options = {"weight": torch.tensor(weight) if weighted else None}
        if reduction == "batchmean":
            return torch.nn.functional.nll_loss(t, torch.tensor(labels), reduction="sum", **options) / n
        return torch.nn.functional.nll_loss(t, torch.tensor(labels), reduction=reduction, **options)

    compare(torch, lambda u: nn.NLLLoss(weight, reduction)(u, labels), theirs, [x])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("soft", [False, True])
@WEIGHTED
@given(**CLASSES)
@settings(max_examples=5)
def test_cross_entropy_as_pytorchs(torch, reduction, smoothing, soft, weighted, n, c, seed):
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((n, c)) * 3, rng.integers(0, c, n)
    probabilities = rng.dirichlet(np.ones(c), n)
    weight = rng.random(c) + 0.1 if weighted else None
    ours = nn.CrossEntropyLoss(weight, reduction, smoothing)

    def theirs(t, y):
        options = {"weight": torch.tensor(weight) if weighted else None, "label_smoothing": smoothing}
        summed = "sum" if reduction == "batchmean" else reduction
        loss = torch.nn.functional.cross_entropy(t, y, reduction=summed, **options)
        return loss / n if reduction == "batchmean" else loss

    if soft:
        compare(torch, ours, theirs, [x, probabilities], rtol=1e-9)
    else:
        compare(torch, lambda u: ours(u, labels), lambda t: theirs(t, torch.tensor(labels)), [x], rtol=1e-9)


def test_cross_entropy_is_the_negative_logarithm_of_the_softmax():
    x, labels = RNG.standard_normal((4, 3)), np.array([0, 2, 1, 1])
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(4), labels])
    np.testing.assert_allclose(nn.CrossEntropyLoss(reduction="none")(x, labels).data, expected)
    np.testing.assert_allclose(nn.CrossEntropyLoss()(x, F.one_hot(labels, 3)).item(), expected.mean())
    np.testing.assert_allclose(nn.NLLLoss()(nn.LogSoftmax()(x), labels).item(), expected.mean())


def test_cross_entropy_takes_a_one_hot_matrix_of_integers_as_probabilities():
    x = RNG.standard_normal((2, 2))
    one_hot = np.array([[0, 1], [1, 0]])
    assert nn.CrossEntropyLoss()(x, one_hot).item() == nn.CrossEntropyLoss()(x, [1, 0]).item()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_derivatives_by_probabilities_that_are_zero(smoothing):
    x, y = RNG.standard_normal((2, 3)), leaf([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    logs = x - np.log(np.exp(x).sum(1, keepdims=True))
    nn.CrossEntropyLoss(reduction="sum", label_smoothing=smoothing)(x, y).backward()
    np.testing.assert_allclose(y.grad, -(1 - smoothing) * logs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_any_size(dtype):
    x = leaf(np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4]], dtype))
    loss = nn.CrossEntropyLoss(reduction="none")(x, [1, 1, 0])
    np.testing.assert_allclose(loss.data, [2e4, 0, math.log(2)], rtol=1e-6)
    loss.sum().backward()
    assert x.grad.tolist() == [[1, -1], [0, 0], [-0.5, 0.5]]
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("targets", [[0, 2], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
def test_logits_under_a_mask(targets):
    x = leaf([[1.0, -math.inf, 2.0], [-math.inf, 0.0, 0.0]])
    loss = nn.CrossEntropyLoss(reduction="none")(x, targets)
    np.testing.assert_allclose(loss.data, [math.log1p(math.e), math.log(2)])
    loss.sum().backward()
    p = 1 / (1 + math.e)
    np.testing.assert_allclose(x.grad, [[p - 1, 0, 1 - p], [0, 0.5, -0.5]], atol=1e-15)


def test_a_masked_class_that_was_the_right_one_costs_infinitely_much():
    assert nn.CrossEntropyLoss()(mg.Tensor([[0.0, -math.inf]]), [1]).item() == math.inf


def test_weights_are_a_buffer_in_the_dtype_of_the_predictions():
    loss_fn = nn.CrossEntropyLoss(weight=[1.0, 3.0])
    assert list(loss_fn.state_dict()) == ["weight"]
    assert list(loss_fn.parameters()) == []
    x = leaf(np.zeros((2, 2), np.float32))
    for targets in ([0, 1], [[1.0, 0.0], [0.0, 1.0]]):
        loss = loss_fn(x, targets)
        assert loss.dtype == np.float32
        loss.backward()
    assert list(nn.NLLLoss().state_dict()) == []


# ---------------------------------------------------------------------- one convention of scale

N, D, K = 5, 4, 3
X = RNG.standard_normal((N, D))
W, B = RNG.standard_normal((K, D)), RNG.standard_normal(K)
Z = X @ W.T + B
Y = RNG.random((N, K))  # neither one-hot nor of sum 1
SIGMOID = 1 / (1 + np.exp(-Z))
SOFTMAX = np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
LABELS = np.array([0, 2, 1, 1, 0])
ONE_HOT = np.eye(K)[LABELS]
CLASS_WEIGHTS = np.array([0.5, 2.0, 3.0])
ENTROPY = -(Y * np.log(SIGMOID) + (1 - Y) * np.log(1 - SIGMOID))

# what: activation, loss, targets, the value, and δ = ∂C/∂z, both written out by hand
SCALES: dict[str, tuple[Any, Any, Any, float, Any]] = {
    "identity, quadratic": (None, nn.QuadraticLoss(), Y, ((Z - Y) ** 2).sum() / 2 / N, (Z - Y) / N),
    "identity, quadratic batchmean": (
        None,
        nn.QuadraticLoss("batchmean"),
        Y,
        ((Z - Y) ** 2).sum() / 2 / N,
        (Z - Y) / N,
    ),
    "identity, quadratic sum": (None, nn.QuadraticLoss("sum"), Y, ((Z - Y) ** 2).sum() / 2, Z - Y),
    "sigmoid, quadratic": (
        nn.Sigmoid(),
        nn.QuadraticLoss(),
        Y,
        ((SIGMOID - Y) ** 2).sum() / 2 / N,
        (SIGMOID - Y) * SIGMOID * (1 - SIGMOID) / N,
    ),
    "identity, MSE": (None, nn.MSELoss(), Y, ((Z - Y) ** 2).mean(), 2 * (Z - Y) / (N * K)),
    "identity, MSE batchmean": (
        None,
        nn.MSELoss("batchmean"),
        Y,
        ((Z - Y) ** 2).sum() / N,
        2 * (Z - Y) / N,
    ),
    "sigmoid, BCE batchmean": (
        nn.Sigmoid(),
        nn.BCELoss("batchmean"),
        Y,
        ENTROPY.sum() / N,
        (SIGMOID - Y) / N,
    ),
    "sigmoid, BCE mean": (nn.Sigmoid(), nn.BCELoss(), Y, ENTROPY.mean(), (SIGMOID - Y) / (N * K)),
    "BCE with logits batchmean": (
        None,
        nn.BCEWithLogitsLoss("batchmean"),
        Y,
        ENTROPY.sum() / N,
        (SIGMOID - Y) / N,
    ),
    "BCE with logits mean": (None, nn.BCEWithLogitsLoss(), Y, ENTROPY.mean(), (SIGMOID - Y) / (N * K)),
    "cross-entropy of probabilities": (
        None,
        nn.CrossEntropyLoss(),
        Y,
        -(Y * np.log(SOFTMAX)).sum() / N,
        (SOFTMAX * Y.sum(1, keepdims=True) - Y) / N,
    ),
    "cross-entropy of labels": (
        None,
        nn.CrossEntropyLoss(),
        LABELS,
        -np.log(SOFTMAX[np.arange(N), LABELS]).mean(),
        (SOFTMAX - ONE_HOT) / N,
    ),
    "log-softmax, NLL": (
        nn.LogSoftmax(),
        nn.NLLLoss(),
        LABELS,
        -np.log(SOFTMAX[np.arange(N), LABELS]).mean(),
        (SOFTMAX - ONE_HOT) / N,
    ),
    "cross-entropy with class weights": (
        None,
        nn.CrossEntropyLoss(CLASS_WEIGHTS),
        LABELS,
        -(CLASS_WEIGHTS[LABELS] * np.log(SOFTMAX[np.arange(N), LABELS])).sum() / CLASS_WEIGHTS[LABELS].sum(),
        CLASS_WEIGHTS[LABELS][:, None] * (SOFTMAX - ONE_HOT) / CLASS_WEIGHTS[LABELS].sum(),
    ),
    "cross-entropy with class weights, batchmean": (
        None,
        nn.CrossEntropyLoss(CLASS_WEIGHTS, "batchmean"),
        LABELS,
        -(CLASS_WEIGHTS[LABELS] * np.log(SOFTMAX[np.arange(N), LABELS])).sum() / N,
        CLASS_WEIGHTS[LABELS][:, None] * (SOFTMAX - ONE_HOT) / N,
    ),
}


@pytest.mark.parametrize("what", SCALES)
def test_one_convention_of_scale(what):
    """Compare loss, δ, ∂W and ∂b together, for unequal sizes and targets that are not one-hot."""
    activation, loss_fn, targets, value, delta = SCALES[what]
    layer: Any = nn.Linear(D, K, dtype=float)
    layer.load_state_dict({"weight": W, "bias": B})
    z = layer(X)
    z.retain_grad()
    loss = loss_fn(z if activation is None else activation(z), targets)
    loss.backward()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-12)
    np.testing.assert_allclose(z.grad, delta, rtol=1e-10)
    np.testing.assert_allclose(layer.weight.grad, delta.T @ X, rtol=1e-10)
    np.testing.assert_allclose(layer.bias.grad, delta.sum(0), rtol=1e-10)


@pytest.mark.parametrize("name", ["quadratic", "mse", "l1", "huber"])
def test_second_derivatives_of_losses(name):
    a, y = mg.Tensor([0.3, -2.0, 0.4]), np.array([0.1, 0.5, 0.2])
    hessian = mg.hessian(lambda a: getattr(F, f"{name}_loss")(a, y, "sum"), a).data
    expected = {"quadratic": [1, 1, 1], "mse": [2, 2, 2], "l1": [0, 0, 0], "huber": [1, 0, 1]}[name]
    np.testing.assert_allclose(hessian, np.diag(expected).astype(float))


def test_second_derivatives_of_entropies():
    z, y = np.array([[0.3, -1.0, 0.2]]), np.array([[0.2, 0.0, 0.8]])
    s = 1 / (1 + np.exp(-z[0]))
    p = np.exp(z[0]) / np.exp(z[0]).sum()

    def hessian(loss):
        return mg.hessian(lambda z: loss(z, y), mg.Tensor(z)).data[0, :, 0, :]

    np.testing.assert_allclose(hessian(nn.BCEWithLogitsLoss("sum")), np.diag(s * (1 - s)))
    np.testing.assert_allclose(
        hessian(lambda z, y: F.binary_cross_entropy(F.sigmoid(z), y, "sum")), np.diag(s * (1 - s)), atol=1e-15
    )
    np.testing.assert_allclose(hessian(nn.CrossEntropyLoss()), np.diag(p) - np.outer(p, p), atol=1e-15)
    np.testing.assert_allclose(
        hessian(lambda z, y: F.cross_entropy(z, [1])), np.diag(p) - np.outer(p, p), atol=1e-15
    )


# ---------------------------------------------------------------------- dtypes and containers


@pytest.mark.parametrize(
    "kind", [nn.QuadraticLoss, nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss]
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_targets_take_the_dtype_of_the_predictions(kind, reduction):
    a = leaf(np.full((2, 3), 0.5, np.float32))
    loss_fn = kind(reduction=reduction)
    targets: Any
    for targets in (
        np.zeros((2, 3)),
        np.zeros((2, 3), int),
        [[0, 0, 0], [1, 1, 1]],
        mg.Tensor(np.zeros((2, 3), int)),
    ):
        loss = loss_fn(a, targets)
        assert isinstance(loss, mg.Tensor)
        assert loss.dtype == np.float32
        loss.sum().backward()
        assert a.grad.dtype == np.float32
    with pytest.raises(
        TypeError, match=r"predictions are float32, the target tensor float64; write y\.astype\('float32'\)"
    ):
        loss_fn(a, mg.Tensor(np.zeros((2, 3))))


def test_integer_predictions_are_not_truncated_with_their_targets():
    assert nn.MSELoss()(np.array([1, 2]), np.array([0.5, 1.5])).item() == 0.25
    assert nn.L1Loss()([1, 2], [0, 0]).item() == 1.5


def test_losses_leave_their_inputs_alone():
    a, y = RNG.random((3, 2)), RNG.random((3, 2))
    before = a.copy(), y.copy()
    for kind in (nn.QuadraticLoss, nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.BCELoss, nn.CrossEntropyLoss):
        kind()(leaf(a), y).backward()
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_dtype_as_array_list_or_tensor(kind):
    x, labels = RNG.standard_normal((3, 4)), np.array([3, 0, 1], kind)
    expected = nn.CrossEntropyLoss()(x, labels.astype(int)).item()
    for given_labels in (labels, labels.tolist(), mg.Tensor(labels)):
        assert nn.CrossEntropyLoss()(x, given_labels).item() == expected


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "name",
    [
        "quadratic_loss",
        "mse_loss",
        "l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    ],
)
@pytest.mark.parametrize(
    ("a", "y", "advice"),
    [
        ((3,), (3, 1), r"; write targets\.reshape\(\(3,\)\)"),  # pytorch issue 16413: it returned 1.3333
        ((3, 1), (3,), r"; write targets\.reshape\(\(3, 1\)\)"),
        ((3, 2), (2,), "$"),
        ((3, 2), (), "$"),
        ((3, 2), (1, 2), "$"),
    ],
)
def test_silent_broadcasts_are_refused(name, a, y, advice):
    message = r"^{}: predictions have shape \({}.*\), targets \(.*\); they must be equal{}"
    with pytest.raises(ValueError, match=message.format(name, a[0], advice)):
        getattr(F, name)(np.zeros(a), np.zeros(y))


def test_integer_labels_given_to_a_loss_of_numbers_need_one_hot():
    message = (
        r"quadratic_loss: predictions have shape \(2, 10\), targets \(2,\); they must be equal; "
        r"integer labels go through nn\.functional\.one_hot\(y, 10\)"
    )
    with pytest.raises(ValueError, match=message):
        nn.QuadraticLoss()(np.zeros((2, 10)), np.array([3, 4]))


CLASS_LOSSES = pytest.mark.parametrize(
    ("loss", "name"),
    [
        (nn.CrossEntropyLoss(), "cross_entropy"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "cross_entropy"),
        (nn.NLLLoss(), "nll_loss"),
    ],
)


@CLASS_LOSSES
@pytest.mark.parametrize(
    ("shape", "labels", "error", "message"),
    [
        ((4, 3), [0, 1, 3, 7], IndexError, r"label 3 at position 2 is out of range for 3 classes \(0 to 2"),
        ((2, 3), [0, -1], IndexError, "label -1 at position 1 is out of range"),
        ((2, 3), [0.0, 1.0], TypeError, r"label must be an integer, not float64; write y\.astype\(int\)"),
        ((2, 3), [True, False], TypeError, "each label must be an integer, not bool"),
        ((2, 3), [[0], [1]], ValueError, r"got \(2, 3\) and \(2, 1\); write y\.reshape\(-1\)"),
        ((2, 3), [0, 1, 2], ValueError, r"predictions \(N, C\) and labels \(N,\) expected, got \(2, "),
        ((3,), [0, 1, 2], ValueError, r"got \(3,\) and \(3,\); bring classes to axis 1"),
        ((2, 3, 4), [[0] * 4] * 2, ValueError, r"got \(2, 3, 4\) and \(2, 4\); bring classes to axis 1"),
    ],
)  # fmt: skip
def test_wrong_labels_say_what_is_wrong(loss, name, shape, labels, error, message):
    with pytest.raises(error, match=f"^{name}: .*{message}"):
        loss(np.zeros(shape), labels)


def test_probabilities_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"cross_entropy: predictions have shape \(2, 3\), targets \(2, 1\)"):
        nn.CrossEntropyLoss()(np.zeros((2, 3)), np.zeros((2, 1)))


@CLASS_LOSSES
def test_class_weights_of_a_wrong_shape_or_sum_are_refused(loss, name):
    kind = type(loss)
    with pytest.raises(
        ValueError, match=rf"{name}: class weights have shape \(2,\), expected \(3,\): one per class"
    ):
        kind(weight=[1.0, 2.0])(np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match=f"{name}: the weights of this batch's labels sum to 0"):
        kind(weight=[0.0, 0.0, 1.0])(np.zeros((2, 3)), [0, 1])


ALL = [
    (F.quadratic_loss, np.zeros((0, 3)), np.zeros((0, 3))),
    (F.mse_loss, np.zeros((0, 3)), np.zeros((0, 3))),
    (F.l1_loss, np.zeros((0, 3)), np.zeros((0, 3))),
    (F.huber_loss, np.zeros((0, 3)), np.zeros((0, 3))),
    (F.binary_cross_entropy, np.zeros((0, 3)), np.zeros((0, 3))),
    (F.binary_cross_entropy_with_logits, np.zeros((0, 3)), np.zeros((0, 3))),
    (F.nll_loss, np.zeros((0, 3)), np.zeros(0, int)),
    (F.cross_entropy, np.zeros((0, 3)), np.zeros(0, int)),
    (F.cross_entropy, np.zeros((0, 3)), np.zeros((0, 3))),
]


@pytest.mark.parametrize(("loss", "a", "y"), ALL)
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
def test_an_empty_batch_has_no_loss(loss, a, y, reduction):
    with pytest.raises(ValueError, match=rf"{loss.__name__}: the batch is empty \(shape \(0(, 3|,)\)\)"):
        loss(a, y, reduction=reduction)


@pytest.mark.parametrize(("loss", "a", "y"), ALL)
@pytest.mark.parametrize("reduction", ["None", "non", "average", None])
def test_an_unknown_reduction_is_refused(loss, a, y, reduction):
    a, y = np.zeros((2, 3)), np.zeros((2, *y.shape[1:]), y.dtype)
    message = f"{loss.__name__}: reduction must be one of mean, batchmean, sum, none, not {reduction!r}"
    with pytest.raises(ValueError, match=message):
        loss(a, y, reduction=reduction)


@pytest.mark.parametrize("kind", [nn.QuadraticLoss, nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.BCELoss,
                                  nn.BCEWithLogitsLoss, nn.NLLLoss, nn.CrossEntropyLoss])  # fmt: skip
def test_an_unknown_reduction_is_refused_at_once(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}: reduction must be one of .*, not 'average'"):
        kind(reduction="average")


@pytest.mark.parametrize("delta", [0.0, -1.0, math.nan])
def test_huber_needs_a_positive_delta(delta):
    for make in (lambda: nn.HuberLoss(delta=delta), lambda: F.huber_loss([1.0], [0.0], delta=delta)):
        with pytest.raises(ValueError, match=f"delta must be positive, not {delta}"):
            make()


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_label_smoothing_lies_between_0_and_1(smoothing):
    for make in (
        lambda: nn.CrossEntropyLoss(label_smoothing=smoothing),
        lambda: F.cross_entropy([[0.0]], [0], label_smoothing=smoothing),
    ):
        with pytest.raises(ValueError, match=rf"label_smoothing must lie in \[0, 1\], not {smoothing}"):
            make()


@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan])
def test_bce_needs_probabilities(p):
    message = (
        r"binary_cross_entropy: probabilities must lie in \[0, 1\], .*use binary_cross_entropy_with_logits"
    )
    with pytest.raises(ValueError, match=message):
        nn.BCELoss()([0.5, p], [0.0, 1.0])
