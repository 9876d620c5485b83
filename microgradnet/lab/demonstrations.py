"""The smallest graphs on which each misconception shows: what ``demonstrate`` runs, and prints."""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradnet import nn
from microgradnet.tensor import Tensor


def diamond() -> Tensor:
    """x feeds a, and a feeds the result by two paths, one of them longer."""
    x = Tensor(2.0, requires_grad=True, name="x")
    a = 3 * x
    return a.exp().log() + a * a


def square() -> Tensor:
    """x is used twice."""
    x = Tensor(3.0, requires_grad=True, name="x")
    return x * x


def bias() -> Tensor:
    """One bias is added to every row of a batch."""
    x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    w = Tensor([[0.5, -1.0], [0.25, 2.0]], requires_grad=True, name="w")
    b = Tensor([0.1, 0.2], requires_grad=True, name="b")
    return ((x @ w + b) ** 2).mean()


def chain() -> Tensor:
    """Two operations, one after the other; the engines go back along it twice."""
    x = Tensor(2.0, requires_grad=True, name="x")
    return (5 * x) ** 2


def error() -> Tensor:
    """The target minus the output, squared."""
    w = Tensor(2.0, requires_grad=True, name="w")
    t = Tensor(1.0, requires_grad=True, name="t")
    return (t - 3 * w) ** 2


def average() -> Tensor:
    """The mean over a batch of four."""
    x = np.array([1.0, 2.0, 3.0, 4.0])
    w = Tensor(0.5, requires_grad=True, name="w")
    return ((w * x - 1) ** 2).mean()


def network() -> tuple[Any, Any, Any, Any]:
    """Give a network with dropout, its loss, an input and a target."""
    rng = np.random.default_rng(3)
    model = nn.Sequential(
        nn.Linear(3, 4, dtype=float, rng=rng),
        nn.Tanh(),
        nn.Dropout(0.5, rng=rng),
        nn.Linear(4, 2, dtype=float, rng=rng),
    )
    return model, nn.QuadraticLoss(), rng.standard_normal((2, 3)), rng.standard_normal((2, 2))
