"""Perceptron: the neuron that fires or does not, and the rule by which it learns from its mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.backprop import grad
from microgradnet.graph import assign, no_grad
from microgradnet.nn import functional as F
from microgradnet.nn.module import Module, layer_name
from microgradnet.ops import astype, greater
from microgradnet.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Perceptron(Module):
    """y = 1 where w·x + b > 0, else 0, for x (…, in_features), weight (out_features, in_features), bias.

    Weights and biases start at 0. The step has no slope, so that no gradient passes through y; ``learn``
    corrects the weights by Rosenblatt's rule, which ends without mistakes wherever a plane parts the classes.
    It has no learning rate: from a start at 0 that would scale all weights and biases, and y would be the
    same.

    A wrong number of features is a ValueError that names the layer and both shapes.

    Source: Rosenblatt, *The Perceptron*, Psychological Review 65, 1958; Nielsen, *Neural Networks and Deep
    Learning*, chapter 1, eq. 1 and 2.

    >>> from microgradnet import nn
    >>> corners = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> gate = nn.Perceptron(2, 1)
    >>> [gate.learn(corners, [[1], [1], [1], [0]]) for _ in range(6)]  # NAND: mistakes of each pass
    [2, 3, 3, 2, 1, 0]
    >>> gate(corners).tolist(), gate.weight.tolist(), gate.bias.tolist()
    ([[1.0], [1.0], [1.0], [0.0]], [[-2.0, -1.0]], [3.0])
    """

    def __init__(self, in_features: int, out_features: int = 1, *, dtype: DTypeLike = np.float32) -> None:
        for name, size in {"in_features": in_features, "out_features": out_features}.items():
            if size < 1:
                raise ValueError(f"Perceptron: {name} must be at least 1, not {size}")
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(np.zeros((out_features, in_features)), dtype=dtype)
        self.bias = Parameter(np.zeros(out_features), dtype=dtype)

    def forward(self, x: Any) -> Any:
        """Return 1 or 0 for every neuron, in the dtype of the weights, without a history."""
        fires = greater(F.linear(x, self.weight, self.bias), 0)
        return astype(fires, dtype=self.weight.dtype)

    def criterion(self, x: Any, target: Any) -> Any:
        """Return C = Σ (y − t)·(w·x + b) over examples and neurons, for targets t of 0 or 1 shaped as y.

        A neuron that is right adds 0, one that is wrong |w·x + b|. −∂C/∂w = (t − y)·x and −∂C/∂b = t − y are
        the steps of the learning rule. Targets of another shape, or that are neither 0 nor 1, are a
        ValueError.

        Source: Bishop, *Pattern Recognition and Machine Learning*, eq. 4.54.

        >>> import numpy as np
        >>> from microgradnet import nn
        >>> neuron = nn.Perceptron(2)
        >>> _ = neuron.load_state_dict({"weight": [[1.0, -1.0]], "bias": [0.5]})
        >>> neuron.criterion([[2.0, 0.0], [0.0, 2.0]], [[0.0], [1.0]]).item()  # wrong twice: 2.5 and |−1.5|
        4.0
        """
        (x,) = self._received([x])
        z = F.linear(x, self.weight, self.bias)
        return ((self(x) - self._checked(target, z.shape)) * z).sum()

    def learn(self, x: Any, target: Any) -> int:
        """Go once through x (N, in_features), and return how often a neuron was wrong.

        After each example, w ← w + (t − y)·x and b ← b + (t − y), in place, for targets t of 0 or 1 (N,
        out_features); other targets are a ValueError. If some w*, b* part the classes, ‖(w*, b*)‖ = 1 and
        every |w*·x + b*| ≥ γ, all passes together make at most (R/γ)² mistakes, R the longest ‖(x, 1)‖.

        Source: Novikoff, *On convergence proofs on perceptrons*, 1962.
        """
        (x,) = self._received([x])
        if x.ndim != 2:
            raise ValueError(
                f"{layer_name(self)}: learn takes examples (N, {self.in_features}), not shape {x.shape}"
            )
        target = self._checked(target, (len(x), self.out_features))
        mistakes = 0
        for i in range(len(x)):
            one, wanted = x[i : i + 1], target[i : i + 1]
            with no_grad():
                wrong = int((self(one) != wanted).sum())
            if wrong:
                mistakes += wrong
                slopes = grad(self.criterion(one, wanted), [self.weight, self.bias])
                for parameter, slope in zip((self.weight, self.bias), slopes, strict=True):
                    assign(parameter, parameter.data - slope.data)
        return mistakes

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _checked(self, target: Any, shape: tuple[int, ...]) -> Any:
        """Return the targets as an array of the weights' dtype, or say what is wrong with them."""
        array = np.asarray(target.data if isinstance(target, Tensor) else target, self.weight.dtype)
        if array.shape != shape:
            advice = f"; write np.reshape(target, {shape})" if array.size == np.prod(shape) else ""
            raise ValueError(
                f"{layer_name(self)}: the targets have shape {array.shape}, the outputs {shape}{advice}"
            )
        strange = array[(array != 0) & (array != 1)]
        if strange.size:
            raise ValueError(f"{layer_name(self)}: targets are 0 or 1, found {strange[0]:g}")
        return array
