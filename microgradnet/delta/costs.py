"""The costs at the end of a stack: their value, and ∂C/∂a, where the backward pass begins.

``reduction`` says what the sum over all terms is divided by: ``mean`` by the number of terms, ``batchmean``
by the number N of examples (the book's C), ``sum`` by nothing. It enters here and nowhere else: everything
behind the cost only adds up. The tags (C1), (C2), … are the equations of docs/delta.md, where each is
derived.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from microgradnet.delta.functions import Array, floats, log, log_softmax, one_hot, sigmoid, softmax, softplus

REDUCTIONS = ("mean", "batchmean", "sum")


@dataclass(frozen=True, eq=False)
class Cost(ABC):
    """What every cost has: ``value`` and ``delta``.

    A cost of one's own is a subclass that gives the terms and their derivatives. Raises ValueError for an
    unknown reduction, for targets of another shape than the outputs and for an empty batch.
    """

    reduction: str = "mean"

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise ValueError(
                f"{type(self).__name__}: reduction must be one of {', '.join(REDUCTIONS)}, "
                f"not {self.reduction!r}"
            )

    def value(self, a: Array, target: Any) -> Any:
        """Return C, one number, for the outputs a and their targets."""
        a, y, divisor = self._prepared(floats(a), np.asarray(target))
        return self._terms(a, y).sum() / divisor

    def delta(self, a: Array, target: Any) -> Array:
        """Return ∂C/∂a, of the shape of a."""
        a, y, divisor = self._prepared(floats(a), np.asarray(target))
        return self._slopes(a, y) / divisor

    @abstractmethod
    def _terms(self, a: Array, y: Array) -> Array:
        """Return the terms of the sum."""

    @abstractmethod
    def _slopes(self, a: Array, y: Array) -> Array:
        """Return the derivative of the sum by each element of a."""

    def _prepared(self, a: Array, target: Array) -> tuple[Array, Array, float]:
        """Return outputs, targets of their shape, and what the sum is divided by; nothing may broadcast."""
        self._check_not_empty(a)
        if a.shape != target.shape:
            raise ValueError(
                f"{type(self).__name__}: the outputs have shape {a.shape}, the targets {target.shape}; "
                "they must be equal"
            )
        return a, target.astype(a.real.dtype), self._divisor(a)

    def _check_not_empty(self, a: Array) -> None:
        if not a.size:
            raise ValueError(
                f"{type(self).__name__}: the batch is empty (shape {a.shape}), its cost is undefined"
            )

    def _divisor(self, a: Array) -> float:
        """What the sum over all terms is divided by."""
        if self.reduction == "mean":
            return a.size
        return len(a) if self.reduction == "batchmean" and a.ndim else 1


class QuadraticCost(Cost):
    """C = ½ Σⱼ (aⱼ − yⱼ)² per example, averaged over the N examples by ``mean`` and ``batchmean`` alike.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 1, eq. 6.

    >>> a, y = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 2.0]])
    >>> float(QuadraticCost().value(a, y)), QuadraticCost().delta(a, y).tolist()
    (1.25, [[0.5, 0.0], [0.0, -1.0]])
    """

    def _terms(self, a: Array, y: Array) -> Array:
        return (a - y) ** 2 / 2

    def _slopes(self, a: Array, y: Array) -> Array:
        return a - y  # (C1)

    def _divisor(self, a: Array) -> float:
        return 1 if self.reduction == "sum" or not a.ndim else len(a)


class MSECost(Cost):
    """(a − y)² per element; ``mean`` divides by all elements, so that it is 2/K of the quadratic cost.

    >>> a, y = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 2.0]])
    >>> float(MSECost().value(a, y)), MSECost().delta(a, y).tolist()
    (1.25, [[0.5, 0.0], [0.0, -1.0]])
    """

    def _terms(self, a: Array, y: Array) -> Array:
        return (a - y) ** 2

    def _slopes(self, a: Array, y: Array) -> Array:
        return 2 * (a - y)  # (C2)


class L1Cost(Cost):
    """|a − y| per element; the derivative at 0 is 0.

    >>> L1Cost("sum").delta(np.array([1.0, 0.0, -3.0]), np.zeros(3)).tolist()
    [1.0, 0.0, -1.0]
    """

    def _terms(self, a: Array, y: Array) -> Array:
        return np.sign((a - y).real) * (a - y)

    def _slopes(self, a: Array, y: Array) -> Array:
        return np.sign(a - y)  # (C3)


@dataclass(frozen=True, eq=False)
class HuberCost(Cost):
    """½d² where |d| ≤ threshold, else threshold·(|d| − ½ threshold), d = a − y, per element.

    Raises ValueError where the threshold is not positive.

    Source: Huber, *Robust Estimation of a Location Parameter*, 1964.

    >>> HuberCost("sum").delta(np.array([0.5, -3.0]), np.zeros(2)).tolist()
    [0.5, -1.0]
    """

    threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.threshold > 0:
            raise ValueError(f"HuberCost: the threshold must be positive, not {self.threshold}")

    def _terms(self, a: Array, y: Array) -> Array:
        d = a - y
        far = self.threshold * (np.sign(d.real) * d - self.threshold / 2)
        return np.where(abs(d.real) <= self.threshold, d**2 / 2, far)

    def _slopes(self, a: Array, y: Array) -> Array:
        d = a - y
        return np.where(abs(d) <= self.threshold, d, self.threshold * np.sign(d))  # (C4)


class BCECost(Cost):
    """−y ln a − (1 − y) ln(1 − a) per element, for outputs a in [0, 1], such as those of a Sigmoid layer.

    The logarithms are at least −100 and the denominator a(1 − a) of the derivative at least 10⁻¹², so that a
    may be 0 or 1; outside [0, 1] it is a ValueError. Where a = σ(z) saturates, ``SigmoidCrossEntropyCost`` of
    z is exact and this is not.

    >>> round(float(BCECost().value(np.array([0.5, 0.5]), np.array([0.0, 1.0]))), 4)  # ln 2
    0.6931
    >>> BCECost("sum").delta(np.array([0.5]), np.array([1.0])).tolist()
    [-2.0]
    """

    def _prepared(self, a: Array, target: Array) -> tuple[Array, Array, float]:
        a, y, divisor = super()._prepared(a, target)
        if not (a.real.min() >= 0 and a.real.max() <= 1):
            raise ValueError(
                f"BCECost: the outputs must lie in [0, 1], got values from {a.real.min():g} to "
                f"{a.real.max():g}; for raw outputs use SigmoidCrossEntropyCost"
            )
        return a, y, divisor

    def _terms(self, a: Array, y: Array) -> Array:
        return -y * log(a) - (1 - y) * log(1 - a)

    def _slopes(self, a: Array, y: Array) -> Array:
        return (a - y) / np.maximum(a * (1 - a), 1e-12)  # (C5)


class SigmoidCrossEntropyCost(Cost):
    """−y ln σ(z) − (1 − y) ln(1 − σ(z)) per element, for raw outputs z of any size.

    With ``batchmean`` it is the cost of the book's chapter 3, whose ∂C/∂z is (σ(z) − y)/N: σ′ has cancelled.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 3, eq. 63.

    >>> cost, z, y = SigmoidCrossEntropyCost("sum"), np.array([0.0, 1e4]), np.array([1.0, 0.0])
    >>> round(float(cost.value(z, y)), 4), cost.delta(z, y).tolist()
    (10000.6931, [-0.5, 1.0])
    """

    def _terms(self, a: Array, y: Array) -> Array:
        return y * softplus(-a) + (1 - y) * softplus(a)

    def _slopes(self, a: Array, y: Array) -> Array:
        return sigmoid(a) - y  # (C6)


@dataclass(frozen=True, eq=False)
class _ClassCost(Cost):
    """What the costs over classes share: ``weight``, one number per class, and integer labels (N,)."""

    weight: Array | None = None

    def _labelled(self, a: Array, labels: Array) -> tuple[Array, float]:
        """Return the labels as rows with a 1, and what the sum is divided by."""
        name = type(self).__name__
        if a.ndim != 2 or labels.shape != a.shape[:1]:
            raise ValueError(
                f"{name}: outputs (N, C) and labels (N,) expected, got shapes {a.shape} and {labels.shape}"
            )
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{name}: each label must be an integer, not {labels.dtype}")
        wrong = np.flatnonzero((labels < 0) | (labels >= a.shape[1]))
        if wrong.size:
            raise IndexError(
                f"{name}: label {labels[wrong[0]]} at position {wrong[0]} is out of range "
                f"for {a.shape[1]} classes (0 to {a.shape[1] - 1})"
            )
        divisor: float = {"mean": self._weights(a)[labels].sum(), "batchmean": len(a), "sum": 1}[
            self.reduction
        ]
        if divisor == 0:
            raise ValueError(f"{name}: the weights of this batch's labels sum to 0, their mean is undefined")
        return one_hot(labels, a.shape[1]).astype(a.real.dtype), divisor

    def _weights(self, a: Array) -> Array:
        """The weight of each class, 1 where none were given."""
        classes = a.shape[1]
        weights = np.ones(classes) if self.weight is None else np.asarray(self.weight)
        if weights.shape != (classes,):
            raise ValueError(
                f"{type(self).__name__}: the class weights have shape {weights.shape}, "
                f"expected ({classes},): one per class"
            )
        return weights.astype(a.real.dtype)


@dataclass(frozen=True, eq=False)
class SoftmaxCrossEntropyCost(_ClassCost):
    """−Σ_c w_c·y_c·ln softmax(z)_c per example, for raw outputs z (N, C).

    The targets are integer labels (N,) or probabilities y (N, C), which need not sum to 1: with t = w ⊙ y
    the slope is softmax(z)·Σ_c t_c − t, and softmax(z) − y only where that sum is 1. ``label_smoothing`` ε
    replaces y by (1 − ε)·y + ε/C. ``mean`` averages over the N examples; for labels it divides by the sum
    of their weights. A z of −inf masks its class, which then must have no probability.

    Raises TypeError for labels that are no integers, IndexError for one out of range, and ValueError where
    shapes do not fit, the weights of a batch sum to 0 or ε is outside [0, 1].

    Source for smoothing: Szegedy et al., *Rethinking the Inception Architecture*, 2016, section 7.

    >>> cost, z = SoftmaxCrossEntropyCost(), np.zeros((1, 4))
    >>> round(float(cost.value(z, [3])), 4), cost.delta(z, [3]).tolist()  # ln 4
    (1.3863, [[0.25, 0.25, 0.25, -0.75]])
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(
                f"SoftmaxCrossEntropyCost: label_smoothing must lie in [0, 1], not {self.label_smoothing}"
            )

    def _prepared(self, a: Array, target: Array) -> tuple[Array, Array, float]:
        self._check_not_empty(a)
        if target.ndim == 2 and (target.dtype.kind == "f" or target.shape == a.shape):
            a, y, _ = super()._prepared(a, target)
            divisor: float = 1 if self.reduction == "sum" else len(a)
        else:
            y, divisor = self._labelled(a, target)
        smooth = self.label_smoothing
        return a, self._weights(a) * ((1 - smooth) * y + smooth / a.shape[1]), divisor

    def _terms(self, a: Array, y: Array) -> Array:
        return -_times(y, log_softmax(a))

    def _slopes(self, a: Array, y: Array) -> Array:
        return softmax(a) * y.sum(-1, keepdims=True) - y  # (C7)


@dataclass(frozen=True, eq=False)
class NLLCost(_ClassCost):
    """−w_t·x_t per example, for log-probabilities x (N, C), such as those of LogSoftmax, and labels t (N,).

    ``mean`` divides by the sum of the labels' weights, the number of examples where there are none. Raises
    what ``SoftmaxCrossEntropyCost`` does.

    >>> NLLCost().delta(np.log([[0.5, 0.5], [0.25, 0.75]]), [0, 1]).tolist()
    [[-0.5, -0.0], [-0.0, -0.5]]
    """

    def _prepared(self, a: Array, target: Array) -> tuple[Array, Array, float]:
        self._check_not_empty(a)
        y, divisor = self._labelled(a, target)
        return a, self._weights(a) * y, divisor

    def _terms(self, a: Array, y: Array) -> Array:
        return -_times(y, a)

    def _slopes(self, a: Array, y: Array) -> Array:
        return -y  # (C8)


def _times(y: Array, x: Array) -> Array:
    """y ⊙ x, and 0 where y is 0, also for x = −inf: a class without probability costs nothing."""
    return np.multiply(y, x, out=np.zeros_like(x), where=y != 0)
