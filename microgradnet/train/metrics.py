"""What is measured besides the loss: metrics by name, and their means over batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.train.batches import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet.graph import Array

Metric: TypeAlias = "Callable[[Array, Array], float]"
Metrics: TypeAlias = "Sequence[str] | Mapping[str, Metric]"


def accuracy(prediction: Array, target: Array) -> float:
    """Return the share of rows whose largest output is at the target.

    ``prediction`` is (N, C) for C ≥ 2 classes, ``target`` the labels (N,) or one row of C numbers each, whose
    largest is the class. Anything else is a ValueError.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    if (
        prediction.ndim != 2
        or prediction.shape[1] < 2
        or target.shape not in {prediction.shape[:1], prediction.shape}
    ):
        raise ValueError(
            "accuracy needs one output per class, (N, C) with C ≥ 2, and targets (N,) or (N, C); got "
            f"{prediction.shape} and {target.shape}. Give a metric of your own: metrics={{'name': function}}"
        )
    truth = target.argmax(1) if target.ndim == 2 else target
    return float(np.count_nonzero(prediction.argmax(1) == truth)) / len(truth)


METRICS: dict[str, Metric] = {"accuracy": accuracy}
"""Metrics by name; larger is better in all of them."""


def resolve(metrics: Metrics) -> dict[str, Metric]:
    """Return the functions that names stand for, by name."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics takes a list of names or {{name: function}}: write metrics=[{metrics!r}]")
    if not isinstance(metrics, Mapping):
        for name in metrics:
            if name not in METRICS:
                choices = ", ".join(METRICS)
                raise ValueError(
                    f"there is no metric {name!r}; there is {choices}, or give {{name: function}}"
                )
        metrics = {name: METRICS[name] for name in metrics}
    if "loss" in metrics:
        raise ValueError("a metric cannot be called 'loss', which is the name of the loss; choose another")
    return dict(metrics)


class Totals:
    """Sums of the loss and the metrics over batches, weighted by the number of examples."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.sums = dict.fromkeys(["loss", *metrics], 0.0)
        self.count = 0

    def add(self, count: int, loss: float, output: Any, target: Any) -> None:
        """Take in a batch of ``count`` examples."""
        self.count += count
        self.sums["loss"] += count * loss
        for name, metric in self.metrics.items():
            self.sums[name] += count * float(metric(plain(output), plain(target)))

    def means(self) -> dict[str, float]:
        """Return the means until now."""
        return {name: value / self.count for name, value in self.sums.items()}
