"""Losses as modules: loss_fn(prediction, target) → a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.nn import functional as F
from microgradnet.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microgradnet.tensor import Operand, Tensor


class Loss(Module):
    """What all losses share: ``reduction``.

    ``mean`` averages over all elements (over the batch for QuadraticLoss and the cross-entropies of classes),
    ``batchmean`` sums over the outputs and averages over the batch (the book's C), ``sum`` adds up, ``none``
    returns every loss.

    Predictions and targets have one shape: what would broadcast is a ValueError. Targets that are not
    tensors are cast to the dtype of the predictions; a tensor of another floating dtype is a TypeError.
    """

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in F.REDUCTIONS:
            choices = ", ".join(F.REDUCTIONS)
            raise ValueError(f"{type(self).__name__}: reduction must be one of {choices}, not {reduction!r}")
        self.reduction = reduction

    def _received(self, inputs: Iterable[Any]) -> tuple[Any, ...]:
        """Leave arrays as they are: the dtype that targets take is that of the predictions."""
        return tuple(inputs)

    def extra_repr(self) -> str:
        """Return the reduction."""
        return f"reduction={self.reduction!r}"


class QuadraticLoss(Loss):
    """C = ½ Σⱼ (aⱼ − yⱼ)² per example, averaged over the batch: ∂C/∂a = (a − y)/N.

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
    """|a − y|, averaged over all elements; the derivative at 0 is 0.

    >>> from microgradnet import Tensor, nn
    >>> nn.L1Loss()(Tensor([1.0, -2.0]), [0.0, 0.0]).item()
    1.5
    """

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.l1_loss(input, target, self.reduction)


class HuberLoss(Loss):
    """½d² where |d| ≤ delta, else delta·(|d| − ½ delta), with d = a − y; averaged over all elements.

    Source: Huber, *Robust Estimation of a Location Parameter*, 1964.

    >>> from microgradnet import Tensor, nn
    >>> nn.HuberLoss()(Tensor([1.0, 3.0]), [0.0, 0.0]).item()
    1.5
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta must be positive, not {delta}")
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.huber_loss(input, target, self.reduction, self.delta)

    def extra_repr(self) -> str:
        """Return the reduction and delta."""
        return f"{super().extra_repr()}, delta={self.delta}"


class BCELoss(Loss):
    """−y·ln p − (1 − y)·ln(1 − p) for probabilities p, averaged over all elements.

    The logarithms are at least −100, so that p may be 0 or 1; outside [0, 1] it is a ValueError.

    >>> from microgradnet import Tensor, nn
    >>> round(nn.BCELoss()(Tensor([0.5, 0.5]), [0.0, 1.0]).item(), 4)  # ln 2
    0.6931
    """

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.binary_cross_entropy(input, target, self.reduction)


class BCEWithLogitsLoss(Loss):
    """The cross-entropy of σ(z) for raw outputs z, averaged over all elements: ∂C/∂z = (σ(z) − y)/size.

    With ``reduction="batchmean"`` it is the cost of Nielsen's chapter 3, eq. 63, and ∂C/∂z = (a − y)/N.

    >>> from microgradnet import Tensor, nn
    >>> nn.BCEWithLogitsLoss()(Tensor([1000.0, -1000.0]), [1.0, 1.0]).item()
    500.0
    """

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.binary_cross_entropy_with_logits(input, target, self.reduction)


class ClassLoss(Loss):
    """What the losses over classes share: ``weight``, one number per class, a buffer."""

    weight: Tensor | None

    def __init__(self, weight: Operand | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = None
        if weight is not None:
            self.register_buffer("weight", np.array(weight, float))


class NLLLoss(ClassLoss):
    """−wₜ·xₜ for log-probabilities x (N, C) and integer labels t (N,), averaged over the batch (over Σ wₜ).

    >>> from microgradnet import Tensor, nn
    >>> nn.NLLLoss()(Tensor([[-1.0, -2.0], [-3.0, -4.0]]), [0, 1]).item()
    2.5
    """

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.nll_loss(input, target, self.weight, self.reduction)


class CrossEntropyLoss(ClassLoss):
    """−Σ_c y_c·ln softmax(x)_c for logits x (N, C) and integer labels (N,) or probabilities y (N, C).

    Averaged over the batch, with labels and class weights over the sum of the labels' weights.
    ``label_smoothing`` ε replaces y by (1 − ε)·y + ε/C.

    >>> from microgradnet import Tensor, nn
    >>> round(nn.CrossEntropyLoss()(Tensor([[0.0, 0.0, 0.0, 0.0]]), [3]).item(), 4)  # ln 4
    1.3863
    """

    def __init__(
        self, weight: Operand | None = None, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must lie in [0, 1], not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.cross_entropy(input, target, self.weight, self.reduction, self.label_smoothing)

    def extra_repr(self) -> str:
        """Return the reduction and the smoothing."""
        return f"{super().extra_repr()}, label_smoothing={self.label_smoothing}"
