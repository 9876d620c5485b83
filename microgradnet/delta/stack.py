"""A stack of layers with a cost at its end: forward, and backward by the hand-derived δ equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microgradnet.delta.costs import Cost
from microgradnet.delta.functions import Array, floats
from microgradnet.delta.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgradnet.delta.layers import Gradients


@dataclass(frozen=True, eq=False)
class Backprop:
    """What one pass forward and back through a stack of L layers found.

    Attributes
    ----------
    cost : float
        C.
    activations : list of L + 1 arrays
        The input, then the output of every layer.
    deltas : list of L arrays
        ∂C/∂output of every layer, of the shape of that output. For a Linear layer it is the δ of Nielsen's
        book, ∂C/∂z; for the activation behind it, ∂C/∂a.
    input_gradient : array
        ∂C/∂input.
    gradients : list of L dicts
        ∂C/∂parameter by name, "weight" and "bias" (γ and β of the norms have these names too); {} for a
        layer without parameters.
    """

    cost: float
    activations: list[Array]
    deltas: list[Array]
    input_gradient: Array
    gradients: list[Gradients]


class Stack:
    """Layers applied one after the other, and the cost of what comes out.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the forward pass.
    cost : Cost
        Of the last output and the target.

    Raises
    ------
    TypeError
        If a layer is no `Layer` or the cost no `Cost`.
    ValueError
        From ``forward``, ``value`` and ``backprop``, where a layer does not fit what the layer before it
        gives (the message names the number of the layer, from 0, and both shapes), or the target the
        output.

    Examples
    --------
    >>> import numpy as np
    >>> from microgradnet import delta
    >>> stack = delta.Stack(
    ...     [delta.Linear(np.array([[1.0, -1.0]]), np.array([0.5])), delta.Sigmoid()], delta.QuadraticCost()
    ... )
    >>> found = stack.backprop(np.array([[2.0, 2.5]]), np.array([[1.0]]))
    >>> found.cost, found.deltas[1].tolist(), found.deltas[0].tolist()  # C, ∂C/∂a = a − y, δ = ∂C/∂z
    (0.125, [[-0.5]], [[-0.125]])
    >>> found.gradients[0]["weight"].tolist(), found.gradients[0]["bias"].tolist()
    ([[-0.25, -0.3125]], [-0.125])
    """

    def __init__(self, layers: Sequence[Layer], cost: Cost) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"Stack: layer {i} must be a layer of delta, such as delta.Linear, not {layer!r}"
                )
        if not isinstance(cost, Cost):
            raise TypeError(f"Stack: the cost must be one of delta, such as delta.MSECost(), not {cost!r}")
        self.layers = list(layers)
        self.cost = cost

    def __repr__(self) -> str:
        layers = ", ".join(repr(layer) for layer in self.layers)
        return f"Stack([{layers}], {self.cost!r})"

    def forward(self, x: Array) -> list[Array]:
        """Return the input and the output of every layer."""
        activations = [floats(x)]
        for i in range(len(self.layers)):
            activations.append(self._output(i, activations[-1]))
        return activations

    def value(self, x: Array, target: Any) -> Any:
        """Return the cost alone."""
        return self.cost.value(self.forward(x)[-1], target)

    def backprop(self, x: Array, target: Any) -> Backprop:
        """Return the cost, every δ and the gradient of every parameter, in one pass forward and back."""
        activations = self.forward(x)
        delta = self.cost.delta(activations[-1], target)  # where it begins: (C1) … (C8)
        deltas: list[Array] = []
        gradients: list[Gradients] = []
        for layer, a_in, a_out in zip(
            reversed(self.layers), activations[-2::-1], activations[:0:-1], strict=True
        ):
            deltas.append(delta)
            delta, gradient = layer.backward(
                delta, a_in, a_out
            )  # from δ of an output to δ of its input: (L0)
            gradients.append(gradient)
        cost = float(self.cost.value(activations[-1], target))
        return Backprop(cost, activations, deltas[::-1], delta, gradients[::-1])

    def _output(self, i: int, x: Array) -> Array:
        """Apply layer i, and say which it is where x does not fit."""
        try:
            return self.layers[i].forward(x)
        except ValueError as error:
            source = f"layer {i - 1} ({type(self.layers[i - 1]).__name__})" if i else "the caller"
            raise ValueError(f"layer {i}, which gets its input from {source}: {error}") from error
