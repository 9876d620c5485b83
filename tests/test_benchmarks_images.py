"""Benchmarks on images: the networks are the published ones, and their loss is the one that is meant."""

import numpy as np
import pytest

from benchmarks.implementations import EAGER, reference
from benchmarks.workloads import IMAGES, Workload

SMALL = Workload("small", (4 * 4 * 4, 6, 10), "relu", "cross-entropy", 5, 0.1, 2, maps=(3, 4))


def test_the_loss_is_the_one_that_is_meant():
    """Computed pixel by pixel for the first batch, in float64."""
    trainer = EAGER.trainer()(SMALL)
    x, labels = (np.asarray(part) for part in trainer.batches[0])
    a, weights = x.astype(float), [array.astype(float) for array in SMALL.weights()]
    for w, b in zip(weights[:4:2], weights[1:4:2], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(a, w.shape[2:], (2, 3))
        z = np.einsum("ncijkl,ockl->noij", windows, w) + b[:, None, None]
        half = z.shape[2] // 2
        a = np.maximum(z.reshape(*z.shape[:2], half, 2, half, 2).max((3, 5)), 0)
    a = a.reshape(len(a), -1)
    a = np.maximum(a @ weights[4].T + weights[5], 0)
    z = a @ weights[6].T + weights[7]
    expected = (np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels]).mean()
    assert trainer.step(*trainer.batches[0]).item() == pytest.approx(expected, rel=1e-5)


def test_the_networks_are_the_published_ones():
    lenet, book = IMAGES[0], IMAGES[2]
    assert [w.shape for w in lenet.weights()[::2]] == [
        (6, 1, 5, 5),
        (16, 6, 5, 5),
        (120, 256),
        (84, 120),
        (10, 84),
    ]
    assert [w.shape for w in book.weights()[::2]] == [
        (20, 1, 5, 5),
        (40, 20, 5, 5),
        (1000, 640),
        (1000, 1000),
        (10, 1000),
    ]
    assert lenet.title == ("lenet-10: 6-16 maps of 5×5, 256-120-84-10, relu, cross-entropy loss, batch 10")


def test_each_convolution_is_pooled_before_its_relu():
    assert [kind for kind, *_ in SMALL.layers()] == [
        *["conv", "pool", "relu"] * 2,
        "flatten",
        "linear",
        "relu",
        "linear",
    ]


def test_the_eager_step_is_the_measure():
    assert {reference(workload) for workload in IMAGES} == {EAGER}
