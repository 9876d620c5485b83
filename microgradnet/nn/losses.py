"""Losses as modules: loss_fn(prediction, target) → a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.nn import functional as F
from microgradnet.nn.module import Module

if TYPE_CHECKING:
    from microgradnet.tensor import Operand

REDUCTIONS = ("mean", "batchmean", "sum", "none")


class Loss(Module):
    """What all losses share: ``reduction``.

    ``mean`` averages over all elements (over the batch for QuadraticLoss and the cross-entropies of classes),
    ``batchmean`` sums over the outputs and averages over the batch (the book's C), ``sum`` adds up, ``none``
    returns every loss.
    """

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in REDUCTIONS:
            message = f"{type(self).__name__}: reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}"
            raise ValueError(message)
        self.reduction = reduction

    def extra_repr(self) -> str:
        """Return the reduction."""
        return f"reduction={self.reduction!r}"


class QuadraticLoss(Loss):
    """C = ½ Σⱼ (aⱼ − yⱼ)² per example, averaged over the batch: δ = (a − y)/N at the output.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 1, eq. 6.

    >>> from microgradnet import Tensor, nn
    >>> nn.QuadraticLoss()(Tensor([[1.0, 0.0], [0.0, 0.0]]), [[0.0, 0.0], [0.0, 2.0]]).item()
    1.25
    """

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.quadratic_loss(input, target, self.reduction)


class MSELoss(Loss):
    """(a − y)², averaged over all elements.

    >>> from microgradnet import Tensor, nn
    >>> nn.MSELoss()(Tensor([1.0, 2.0]), [0.0, 0.0]).item()
    2.5
    """

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """|a − y|, averaged over all elements."""

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.l1_loss(input, target, self.reduction)


class HuberLoss(Loss):
    """½d² where |d| ≤ delta, else delta·(|d| − ½ delta), with d = a − y; averaged over all elements."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if delta <= 0:
            message = f"HuberLoss: delta must be positive, not {delta}"
            raise ValueError(message)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.huber_loss(input, target, self.reduction, self.delta)

    def extra_repr(self) -> str:
        """Return the reduction and delta."""
        return f"{super().extra_repr()}, delta={self.delta}"


class BCELoss(Loss):
    """−y·ln p − (1 − y)·ln(1 − p) for probabilities p, averaged over all elements."""

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.binary_cross_entropy(input, target, self.reduction)


class BCEWithLogitsLoss(Loss):
    """The cross-entropy of σ(z) for raw outputs z, averaged over all elements; δ = (σ(z) − y)/size.

    With ``reduction="batchmean"`` it is the cost of Nielsen's chapter 3, eq. 63, with δ = (a − y)/N.
    """

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.binary_cross_entropy_with_logits(input, target, self.reduction)


class _ClassLoss(Loss):
    """A loss over classes, which may be weighted."""

    def __init__(self, weight: Operand | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if weight is not None:
            self.register_buffer("weight", np.asarray(weight, float))
        else:
            self.weight = None


class NLLLoss(_ClassLoss):
    """−wₜ·xₜ for log-probabilities x (N, C) and integer labels t (N,), averaged over the batch (over Σ wₜ)."""

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.nll_loss(input, target, self.weight, self.reduction)


class CrossEntropyLoss(_ClassLoss):
    """−ln softmax(x)ₜ for logits x (N, C) and integer labels t (N,) or probabilities (N, C).

    Averaged over the batch (over the sum of the labels' weights where classes are weighted).

    >>> from microgradnet import Tensor, nn
    >>> round(nn.CrossEntropyLoss()(Tensor([[0.0, 0.0, 0.0, 0.0]]), [3]).item(), 4)  # ln 4
    1.3863
    """

    def __init__(
        self, weight: Operand | None = None, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, reduction)
        if not 0 <= label_smoothing <= 1:
            message = f"CrossEntropyLoss: label_smoothing must lie in [0, 1], not {label_smoothing}"
            raise ValueError(message)
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.cross_entropy(input, target, self.weight, self.reduction, self.label_smoothing)

    def extra_repr(self) -> str:
        """Return the reduction and the smoothing."""
        return f"{super().extra_repr()}, label_smoothing={self.label_smoothing}"
