"""Layers and losses that are recorded as several operations and read as one: their hand-made rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import nn, ops
from microgradnet.graph import Node
from microgradnet.primitive import Primitive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgradnet.graph import Array
    from microgradnet.nn import Module


def _normalised_rule(g: Any, y: Any, _x: Any, _mean: Any, variance: Any, *, axis: Any, eps: float) -> Any:
    """Mean and variance depend on x too: what g has in common with 1 and with x̂ is taken out of it."""
    along = ops.mean(g, axis, keepdims=True)
    turned = ops.mean(g * y, axis, keepdims=True)
    return (g - along - y * turned) / ops.sqrt(variance + eps)


def _normalised(x: Any, mean: Any, variance: Any, *, eps: float, **_axis: Any) -> Any:
    return (x - mean) / np.sqrt(variance + eps)


NORMALISE = Primitive("normalise", _normalised, _normalised_rule, None, None)
"""x̂ = (x − μ) / √(v + ε) with the mean and variance of x itself, along ``axis``."""
STANDARDISE = Primitive(
    "standardise",
    _normalised,
    lambda g, _y, _x, _mean, variance, *, eps: g / ops.sqrt(variance + eps),
    None,
    None,
)
"""x̂ = (x − m) / √(v + ε) with running statistics, which are constants."""
SCALE_SHIFT = Primitive(
    "scale_shift",
    lambda x, weight, bias: x * weight + bias,
    lambda g, _y, _x, weight, _bias: g * weight,
    lambda g, _y, x, _weight, _bias: g * x,
    lambda g, _y, _x, _weight, _bias: g,
    broadcasts=0,
)
"""γ ⊙ x̂ + β."""
CROSS_ENTROPY = Primitive(
    "cross_entropy",
    lambda z, y, *, scale: -scale * np.sum(y * ops.log_softmax(z, 1)),
    lambda g, _c, z, y, *, scale: g * scale * (ops.softmax(z, 1) - y),
    None,
)
"""−scale·Σ y ⊙ ln softmax(z), for rows of y that sum to 1."""
BCE_WITH_LOGITS = Primitive(
    "bce_with_logits",
    lambda z, y, *, scale: scale * np.sum(ops.softplus(z) - y * z),
    lambda g, _c, z, y, *, scale: g * scale * (ops.sigmoid(z) - y),
    None,
)
"""−scale·Σ (y ⊙ ln σ(z) + (1 − y) ⊙ ln(1 − σ(z)))."""


def collapse(nodes: dict[int, Node], loss_fn: Any, target: Array) -> dict[int, Node]:
    """Replace the calls of layers and losses known here by one or two nodes each; returns the new graph.

    The nodes are changed in place, and keep their numbers: a graph that nobody else needs.
    """
    groups: dict[int, list[Node]] = {}
    for number in sorted(nodes):
        scope = nodes[number].scope
        if nodes[number].primitive is not None and scope is not None and scope.module is not None:
            groups.setdefault(id(scope), []).append(nodes[number])
    kept = dict(nodes)
    for group in groups.values():
        scope = group[0].scope
        module = scope.module if scope else None
        inside = {node.number for node in group}
        inputs: list[Node] = []
        for node in group:
            inputs += [
                p
                for p in node.parents
                if p is not None and p.number not in inside | {x.number for x in inputs}
            ]
        replaced = _replaced(module, group, inputs, module is loss_fn, target)
        if replaced:
            for node in group:
                kept.pop(node.number)
            kept.update({node.number: node for node in replaced})
    return kept


def _replaced(
    module: Any, group: Sequence[Node], inputs: Sequence[Node], is_loss: bool, target: Array
) -> list[Node]:
    if type(module) in (nn.BatchNorm1d, nn.LayerNorm):
        return _normalisation(module, group, inputs)
    if not is_loss or module.reduction == "none":
        return []
    (z, *_), c = inputs, group[-1]
    if type(module) is nn.BCEWithLogitsLoss:
        share = {"mean": 1 / z.y.size, "batchmean": 1 / max(len(z.y), 1), "sum": 1.0}[module.reduction]
        _become(c, BCE_WITH_LOGITS, [z], (target.astype(z.dtype),), scale=share)
        return [c]
    if type(module) is nn.CrossEntropyLoss and module.weight is None and target.dtype.kind in "iu":
        share = 1.0 if module.reduction == "sum" else 1 / len(z.y)
        classes = z.shape[1]
        smooth = module.label_smoothing
        rows = (1 - smooth) * np.eye(classes)[target] + smooth / classes
        _become(c, CROSS_ENTROPY, [z], (rows,), scale=share)
        return [c]
    return []


def _normalisation(module: Module, group: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    weight, bias = module.weight._node, module.bias._node  # type: ignore[attr-defined]
    x = next(node for node in inputs if node is not weight and node is not bias)
    first, last = group[0], group[-1]
    eps: float = module.eps  # type: ignore[attr-defined]
    if isinstance(module, nn.BatchNorm1d):
        if x.ndim != 2:
            return []
        axis: Any = (0,)
    else:
        axis = tuple(range(-len(module.normalized_shape), 0))  # type: ignore[attr-defined]
    if isinstance(module, nn.BatchNorm1d) and not module.training:
        mean, variance = module.running_mean.data, module.running_var.data
        primitive, meta = STANDARDISE, {"eps": eps}
    else:
        mean = x.y.mean(axis, keepdims=True)
        variance = x.y.var(axis, keepdims=True)
        primitive, meta = NORMALISE, {"axis": axis, "eps": eps}
    hat = primitive.forward(x.y, mean, variance, **meta)
    node = Node(hat, [0], primitive, meta, [], [], [], (), first.scope)
    node.number = first.number
    _become(node, primitive, [x], (mean, variance), **meta)
    _become(last, SCALE_SHIFT, [node, weight, bias], ())
    return [node, last]


def _become(
    node: Node, primitive: Primitive, parents: Sequence[Node], constants: Sequence[Array], **meta: Any
) -> None:
    """Make the node a call of another primitive, on the parents and then the constants."""
    node.primitive, node.meta = primitive, meta
    node.parents = [*parents, *[None for _ in constants]]
    node.args = [*[parent.y for parent in parents], *constants]
    node.versions = [*[[0] for _ in parents], *[None for _ in constants]]
    node.pulls = tuple(
        [
            (i, rule)
            for i, rule in enumerate(primitive.rules)
            if rule is not None and (parent := node.parents[i]) is not None and parent.requires_grad
        ]
    )
