"""Random models of every layer and loss that δ knows: autograd, δ and differences agree."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import nn

ACTIVATIONS: list[Any] = [nn.Sigmoid, nn.Tanh, nn.ReLU, lambda: nn.LeakyReLU(0.1), nn.Softmax, nn.LogSoftmax]
LOSSES: list[Any] = [
    nn.QuadraticLoss,
    nn.MSELoss,
    nn.L1Loss,
    nn.HuberLoss,
    nn.BCEWithLogitsLoss,
    nn.BCELoss,
    nn.CrossEntropyLoss,
    nn.NLLLoss,
]


def hidden_layers(rng, width, following, *, batch, depth):
    """Return the layers of one block: linear, perhaps a norm, an activation, perhaps dropout."""
    layers: list[Any] = [nn.Linear(width, following, bias=bool(rng.integers(4)), rng=rng)]
    norm = rng.integers(4)
    if norm == 0 and following >= 3:
        layers.append(nn.LayerNorm(following))
    if norm == 1:
        layers.append(nn.BatchNorm1d(following))
        if batch == 1 or rng.integers(2):
            layers[-1].eval()
    for layer in layers[1:]:  # not only ones and zeros
        layer.weight.data = rng.uniform(0.5, 1.5, following).astype(np.float32)
        layer.bias.data = rng.standard_normal(following).astype(np.float32)
    layers.append(ACTIVATIONS[rng.integers(len(ACTIVATIONS))]())
    if not rng.integers(3):
        layers.append(nn.Dropout(rng.uniform(0.1, 0.6), rng=rng))
    return layers


def drawn(rng, depth, batch):
    """Return a model, a loss and a batch; the widths are unequal and the targets are not one-hot."""
    widths = rng.permutation(np.arange(2, 9))[: depth + 1].tolist()
    layers: list[Any] = []
    x = rng.standard_normal((batch, widths[0]))
    if not rng.integers(3):
        layers.append(nn.Flatten())
        x = x.reshape(batch, 1, widths[0])
    for width, following in pairwise(widths[:-1]):
        layers += hidden_layers(rng, width, following, batch=batch, depth=depth)
    layers.append(nn.Linear(widths[-2], widths[-1], rng=rng))
    kind = LOSSES[rng.integers(len(LOSSES))]
    loss = kind(reduction=["mean", "batchmean", "sum"][rng.integers(3)])
    target = rng.random((batch, widths[-1]))
    if kind is nn.BCELoss:
        layers.append(nn.Sigmoid())
    if kind is nn.NLLLoss:
        layers.append(nn.LogSoftmax())
    if kind is nn.NLLLoss or (kind is nn.CrossEntropyLoss and rng.integers(2)):
        target = rng.integers(widths[-1], size=batch)
    return nn.Sequential(*layers), loss, x, target


def test_the_three_ways_agree_on_random_models():
    counts: Counter[str] = Counter()

    @settings(max_examples=20)
    @given(
        seed=st.integers(0, 2**32 - 1),
        depth=st.integers(1, 6),
        batch=st.integers(1, 9),
        evaluating=st.booleans(),
    )
    def agree(seed, depth, batch, evaluating):
        rng = np.random.default_rng(seed)
        for _ in range(10):
            model, loss, x, y = drawn(rng, depth, batch)
            report = mg.verify(model.eval() if evaluating else model, loss, x, y, samples=4)
            assert report.ok, f"{model}\n{loss}\n{report}"
            if not report.kinks and not report.skipped:
                break
            counts["redrawn"] += 1
        else:
            raise AssertionError(f"ten models in a row with a kink:\n{report}")
        counts["agreed"] += 1
        counts.update([type(layer).__name__ for layer in model.modules()] + [type(loss).__name__])
        event(f"{depth} layers")
        assert all(row.delta is not None for row in report.rows)
        assert report.error("autograd–δ") <= 1e-10
        assert report.error("autograd–differences") <= 1e-6
        assert report.error("δ–differences") <= 1e-6

    agree()
    assert counts["agreed"] >= 15
    assert counts["redrawn"] <= counts["agreed"], counts
    met = {type(make()).__name__ for make in [*ACTIVATIONS, *LOSSES]}
    assert len(met & set(counts)) > len(met) / 2, counts


def test_every_layer_and_loss_is_drawn():
    names = set()
    for seed in range(60):
        model, loss, _, _ = drawn(np.random.default_rng(seed), 5, 4)
        names |= {type(layer).__name__ for layer in model.modules()} | {type(loss).__name__}
    kinds = {*mg.checking.translation.LAYERS, *mg.checking.translation.LOSSES}
    images = {"Dropout2d", "BatchNorm2d", "Conv2d", "MaxPool2d", "AvgPool2d"}
    assert {kind.__name__ for kind in kinds} - images == names - {"Sequential"}
