"""A compiled step gives eager's numbers to the last bit: layers, losses, optimizers, both dtypes."""

import numpy as np
import pytest

from microgradnet import nn

DTYPES = [np.float32, np.float64]
ACTIVATIONS = [
    nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.GELU, nn.Softplus, nn.Softmax, nn.LogSoftmax
]  # fmt: skip
SETTINGS = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.01},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01},
]


def labels(rng, dtype):
    return rng.normal(size=(6, 4)).astype(dtype), rng.integers(3, size=6)


def targets(rng, dtype):
    return rng.normal(size=(6, 4)).astype(dtype), rng.random((6, 3)).astype(dtype)


def train(twins, make, loss_fn, data=labels, dtype=np.float32, settings=None, steps=4):
    pair = twins(make, loss_fn, settings)
    rng = np.random.default_rng(1)
    for step in range(steps):
        pair.both(*data(rng, dtype), seed=step)
    return pair


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(twins, perceptron, activation, dtype):
    pair = train(twins, lambda: perceptron(activation, dtype=dtype), nn.CrossEntropyLoss(), dtype=dtype)
    assert pair.compiled.traces == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_example_at_a_time(twins, perceptron, dtype):
    def example(rng, dtype):
        return rng.normal(size=(1, 4)).astype(dtype), rng.integers(3, size=1)

    train(twins, lambda: perceptron(nn.Tanh, dtype=dtype), nn.CrossEntropyLoss(), example, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
def test_large_linear_layers(twins, bias, dtype):
    def make():
        rng = np.random.default_rng(3)
        layers = [nn.Linear(300, 400, bias, dtype=dtype, rng=rng), nn.Linear(400, 3, dtype=dtype, rng=rng)]
        return nn.Sequential(*layers)

    def data(rng, dtype):
        return rng.normal(size=(20, 300)).astype(dtype), rng.integers(3, size=20)

    pair = train(twins, make, nn.CrossEntropyLoss(), data, dtype)
    first = next(op for op in pair.compiled.program.operations if op.name == "matmul")
    assert first.out.shape == (400, 20)
    assert first.out.strides[0] > 20 * np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
@pytest.mark.parametrize(
    "loss", [nn.QuadraticLoss, nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss, nn.BCELoss]
)
def test_losses(twins, perceptron, loss, reduction, dtype):
    middle = [nn.Tanh]
    make = (
        (lambda: nn.Sequential(perceptron(*middle, dtype=dtype), nn.Sigmoid()))
        if loss is nn.BCELoss
        else (lambda: perceptron(*middle, dtype=dtype))
    )
    train(twins, make, loss(reduction=reduction), targets, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({}, labels),
        ({}, targets),
        ({"weight": [1.0, 2.0, 3.0]}, labels),
        ({"weight": [1.0, 2.0, 3.0], "label_smoothing": 0.1}, labels),
        ({"reduction": "sum"}, labels),
    ],
)
def test_cross_entropies(twins, perceptron, options, data, dtype):
    train(twins, lambda: perceptron(dtype=dtype), nn.CrossEntropyLoss(**options), data, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_optimizers(twins, perceptron, settings, dtype):
    pair = train(twins, lambda: perceptron(dtype=dtype), nn.MSELoss(), targets, dtype, settings)
    assert pair.compiled.traces == (2 if "momentum" in settings else 1)  # the first step makes the state
    assert "updated together" in " ".join(pair.compiled.program.notes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "layer", [lambda: nn.Dropout(0.5), lambda: nn.Dropout(0.5, rng=np.random.default_rng(3))]
)
def test_dropout_draws_from_the_same_generator(twins, perceptron, layer, dtype):
    train(twins, lambda: perceptron(layer, nn.ReLU, dtype=dtype), nn.CrossEntropyLoss(), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.LayerNorm])
def test_normalization_and_its_statistics(twins, perceptron, layer, dtype):
    make = lambda: perceptron(lambda: layer(8, dtype=dtype), nn.ReLU, dtype=dtype)  # noqa: E731
    train(twins, make, nn.CrossEntropyLoss(), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding(twins, dtype):
    def make():
        rng = np.random.default_rng(0)
        return nn.Sequential(
            nn.Embedding(9, 4, rng=rng, dtype=dtype), nn.Flatten(), nn.Linear(12, 3, rng=rng, dtype=dtype)
        )

    data = lambda rng, _: (rng.integers(9, size=(6, 3)), rng.integers(3, size=6))  # noqa: E731
    train(twins, make, nn.CrossEntropyLoss(), data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_convolutions(twins, dtype):
    def make():
        rng = np.random.default_rng(0)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, rng=rng, dtype=dtype),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(3, dtype=dtype),
            nn.Flatten(),
            nn.Linear(27, 3, rng=rng, dtype=dtype),
        )

    data = lambda rng, _: (rng.random((4, 1, 8, 8)).astype(dtype), rng.integers(3, size=4))  # noqa: E731
    train(twins, make, nn.CrossEntropyLoss(), data)


@pytest.mark.parametrize(
    "data",
    [
        lambda rng, dtype: (rng.normal(size=(6, 4)), rng.integers(3, size=6)),  # float64 into float32
        lambda rng, dtype: (
            np.asfortranarray(rng.normal(size=(6, 4)).astype(dtype)),
            rng.integers(3, size=6),
        ),
        lambda rng, dtype: (rng.normal(size=(12, 4)).astype(dtype)[::2], rng.integers(3, size=6)),
        lambda rng, dtype: (rng.normal(size=(1, 4)).astype(dtype), rng.integers(3, size=1)),
        lambda rng, dtype: (rng.integers(5, size=(6, 4)), rng.integers(3, size=6).astype(np.int32)),
    ],
)
def test_dtypes_and_layouts_of_the_batch(twins, perceptron, data):
    train(twins, perceptron, nn.CrossEntropyLoss(), data)


def test_more_axes(twins, perceptron):
    train(twins, perceptron, nn.MSELoss(), lambda rng, dtype: (rng.random((2, 5, 4)), rng.random((2, 5, 3))))


def test_tied_weights(twins):
    class Tied(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.random.default_rng(0).normal(size=(4, 4)))
            self.shift = nn.Parameter(np.zeros(4))

        def forward(self, x):
            return nn.functional.linear(np.tanh(x @ self.weight + self.shift), self.weight)

    train(twins, Tied, nn.MSELoss(), lambda rng, dtype: (rng.random((6, 4)), rng.random((6, 4))))


def test_parameters_larger_than_a_block_of_the_update(twins):
    def make():
        rng = np.random.default_rng(0)
        return nn.Sequential(nn.Linear(500, 300, rng=rng), nn.Tanh(), nn.Linear(300, 3, rng=rng))

    data = lambda rng, dtype: (rng.random((6, 500)).astype(dtype), rng.integers(3, size=6))  # noqa: E731
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    train(twins, make, nn.CrossEntropyLoss(), data, settings=settings)
