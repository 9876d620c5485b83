"""Deliberately wrong engines: each a whole backward pass on the recorded graph, with one line that is wrong.

Read beside the right one, ``backprop.sweep``. Every engine fills ``gradients`` (by node number) starting from
the loss; where its mistake makes a rule fail, what it had found until then is kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.graph import ancestors
from microgradnet.ops import sum_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microgradnet.graph import Array, Node

Gradients: TypeAlias = "dict[int, Array]"


# ---------------------------------------------------------------------- what the engines share


def newest_first(loss: Node) -> list[Node]:
    """Return the nodes that gradients flow to, in backward order: nobody comes before those that use it."""
    nodes = ancestors([loss], only_differentiable=True)
    return [nodes[number] for number in sorted(nodes, reverse=True)]


def as_computed(node: Node, g: Array) -> Iterator[tuple[Node, Array]]:
    """Yield each argument of an operation and what the rule gives it, still in the broadcast shape."""
    for i, rule in node.pulls:
        parent = node.parents[i]
        if parent is not None and parent.requires_grad:
            yield parent, np.asarray(rule(g, node.y, *node.args, **node.meta))


def handed_on(node: Node, g: Array) -> Iterator[tuple[Node, Array]]:
    """Yield each argument of an operation and what it is handed, summed to the argument's own shape."""
    for parent, contribution in as_computed(node, g):
        yield parent, sum_to(contribution, parent.shape)


def add_to(gradients: Gradients, node: Node, contribution: Array) -> None:
    """Accumulate: the paths to a node add up."""
    before = gradients.get(node.number)
    gradients[node.number] = contribution if before is None else before + contribution


# ---------------------------------------------------------------------- the engines


def recursion(loss: Node, gradients: Gradients) -> None:
    """Follow each path as soon as it is found: depth first, every node once."""
    gradients[loss.number] = np.ones_like(loss.y)
    path = [loss]  # the stack of the recursion
    while path:
        node = path.pop()  # wrong: some of those who use this value may not have been visited yet
        for parent, contribution in handed_on(node, gradients[node.number]):
            if parent.number not in gradients:
                path.append(parent)
            add_to(gradients, parent, contribution)


def overwrite(loss: Node, gradients: Gradients) -> None:
    """Store what arrives, where it should be added to what arrived by other paths."""
    gradients[loss.number] = np.ones_like(loss.y)
    for node in newest_first(loss):
        for parent, contribution in handed_on(node, gradients[node.number]):
            gradients[parent.number] = contribution  # wrong: = in place of +=


def no_unbroadcast(loss: Node, gradients: Gradients) -> None:
    """Leave gradients in the shape of the result."""
    gradients[loss.number] = np.ones_like(loss.y)
    for node in newest_first(loss):
        for parent, contribution in as_computed(node, gradients[node.number]):
            add_to(gradients, parent, contribution)  # wrong: never summed over the axes that were repeated


def stale_gradients(loss: Node, gradients: Gradients) -> None:
    """Run two backward passes, as two calls of ``backward()``, and keep every gradient in between."""
    for _ in range(2):  # wrong: the second pass begins with what the first has left on the way
        add_to(gradients, loss, np.ones_like(loss.y))
        for node in newest_first(loss):
            for parent, contribution in handed_on(node, gradients[node.number]):
                add_to(gradients, parent, contribution)


def sign_error(loss: Node, gradients: Gradients) -> None:
    """Lose the minus of a derivative: ∂(a − b)/∂b = −1, and so in what is built like it."""
    gradients[loss.number] = np.ones_like(loss.y)
    for node in newest_first(loss):
        for parent, contribution in handed_on(node, gradients[node.number]):
            sign = -1 if _carries_a_minus(node, parent) else 1
            add_to(gradients, parent, sign * contribution)  # wrong: sign is 1


def forgotten_mean(loss: Node, gradients: Gradients) -> None:
    """Give the gradient of the sum where the loss takes the mean."""
    gradients[loss.number] = np.ones_like(loss.y)
    for node in newest_first(loss):
        for parent, contribution in handed_on(node, gradients[node.number]):
            add_to(gradients, parent, contribution * _averages_over(node))  # wrong: the 1/N is undone


# ---------------------------------------------------------------------- which operations the last two mean

_MINUS = {("sub", 1), ("neg", 0), ("div", 1), ("cos", 0), ("squared_error", 0)}


def _constant(node: Node) -> float | None:
    """Return the number that a tensor is multiplied with or divided by here."""
    name = node.primitive.name if node.primitive else ""
    if name not in {"mul", "div"} or (name == "div" and node.parents[0] is None):
        return None
    numbers = [arg for arg, parent in zip(node.args, node.parents, strict=True) if parent is None]
    return float(numbers[0]) if len(numbers) == 1 and np.ndim(numbers[0]) == 0 else None


def _carries_a_minus(node: Node, parent: Node) -> bool:
    """Tell whether the derivative of an operation by one argument has a minus in its formula."""
    name = node.primitive.name if node.primitive else ""
    constant = _constant(node)
    return (constant is not None and constant < 0) or any(
        (name, i) in _MINUS for i, _ in node.pulls if node.parents[i] is parent
    )


def _averages_over(node: Node) -> float:
    """Return the number N that an operation divides a sum by: 1 where it does not."""
    name = node.primitive.name if node.primitive else ""
    first: Any = next((parent for parent in node.parents if parent is not None), None)
    if name == "mean":
        return math.prod(first.shape) / math.prod(node.shape)
    if name == "squared_error":  # scale·Σ (a − y)², where scale is 1 or ½ if nothing is averaged
        return first.shape[0] if node.meta["scale"] < 0.5 else 1
    constant = _constant(node)
    if constant and first.primitive is not None and first.primitive.name == "sum":
        return abs(constant) if name == "div" else 1 / abs(constant)
    return 1
