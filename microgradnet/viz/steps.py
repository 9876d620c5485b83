"""The steps of a pass through a drawn graph: forward as the program went, backward as the sweep goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.backprop import seed, visits
from microgradnet.graph import Value
from microgradnet.viz.formulas import (
    Formula,
    argument_name,
    derivative_text,
    formula_of,
    layer_equation,
    rule_text,
)
from microgradnet.viz.picture import Builder, Wishes, settings_text

if TYPE_CHECKING:
    from microgradnet.graph import Array, Node
    from microgradnet.viz.picture import Picture


@dataclass(frozen=True)
class Argument:
    """What an operation computes with: the formula's name, and the node of the picture (None: not drawn)."""

    name: str
    place: int
    position: int


@dataclass
class Facts:
    """What is known of one node of the picture, beside what the picture says."""

    value: Array | None = None
    gradient: Array | None = None
    operation: str = ""
    formula: str = ""
    settings: str = ""
    arguments: list[Argument] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    layer: str = ""
    source: str = ""
    stores: bool = False


@dataclass(frozen=True)
class Contribution:
    """What a visit hands to one argument: its place in the picture, the rule, the numbers.

    ``before`` and ``total`` are the running sum there, ``order`` of ``count`` contributions.
    """

    place: int
    position: int
    argument: str
    rule: str
    derivative: str
    local: Array | None
    handed: Array
    before: Array | None
    total: Array
    order: int
    count: int


@dataclass(frozen=True)
class Step:
    """One moment: ``given`` (nothing is computed yet), ``forward`` at a node, ``backward`` at a node."""

    phase: str
    place: int
    gradient: Array | None = None
    contributions: tuple[Contribution, ...] = ()


@dataclass(frozen=True)
class Pass:
    """A picture, what is known of its nodes (by number − 1), and the steps."""

    picture: Picture
    facts: tuple[Facts, ...]
    steps: tuple[Step, ...]


def record(loss: Value, wishes: Wishes, caller: str) -> Pass:
    """Run the sweep from a loss and keep what happens at the nodes that are drawn; nothing is stored."""
    root = _root(loss, caller)
    builder = Builder([loss], wishes)
    picture = builder.picture()
    facts = _facts(builder, picture)
    forward = [
        Step("forward", node.number)
        for node in picture.nodes
        if node.role not in {"input", "parameter", "constant"}
    ]
    backward = _backward({root: seed(loss, None, caller)}, builder, facts)
    return Pass(picture, tuple(facts), (Step("given", 0), *forward, *backward))


def _root(loss: Any, caller: str) -> Node:
    """Return the node that the sweep begins at."""
    if not isinstance(loss, Value):
        kind = "nothing" if loss is None else f"a {type(loss).__name__}"
        message = f"{caller}: takes a tensor of one number, a loss, not {kind}"
        raise TypeError(message)
    if loss._node is None or not loss._node.requires_grad:
        message = (
            f"{caller}: this tensor has no history; compute it from tensors with requires_grad=True, "
            "outside no_grad(), and before detach()"
        )
        raise ValueError(message)
    return loss._node


def _facts(builder: Builder, picture: Picture) -> list[Facts]:
    """Collect what does not change while the steps are played."""
    facts = [Facts() for _ in picture.nodes]
    for i, item in enumerate(builder.items):
        place = builder.places[i]
        node, own = item.node, facts[place - 1]
        if picture.nodes[place - 1].role in {"module", "fold"}:
            continue
        if node is None:
            own.value = None if item.constant is None else np.asarray(item.constant)
            continue
        own.value = node.y
        own.source = node.source or ""
        own.stores = node.retains_grad
        calls = builder.calls.chain(item.cluster)
        own.modules = [builder.calls.clusters[call - 1].title for call in calls]
        equations = [layer_equation(builder.calls.modules[call - 1]) for call in calls]
        own.layer = next((text for text in reversed(equations) if text), "")
        if node.primitive is not None:
            formula = formula_of(node)
            own.operation, own.settings = node.primitive.name, settings_text(node)
            own.formula = _formula(formula, node)
            own.arguments = [
                Argument(argument_name(formula, position), builder.places[argument], position)
                for position, argument in item.arguments.items()
            ]
    return facts


def _formula(formula: Formula | None, node: Node) -> str:
    """Return y = … in the arguments' names."""
    if formula is not None:
        return f"y = {formula.value}"
    names = [argument_name(None, position) for position in range(len(node.parents))]
    return f"y = {node.primitive.name if node.primitive else ''}({', '.join(names)})"


def _backward(start: dict[Node, Array], builder: Builder, facts: list[Facts]) -> list[Step]:
    """Return the steps of the sweep.

    Inside a box nothing is shown; what leaves it to a node is shown once, added up, before that node's turn.
    """
    sweep = visits(start)
    places = {number: builder.places[item] for number, item in builder.index.items()}
    boxes = {n.number for n in builder.drawn if n.role in {"module", "fold"}}
    counts = Counter(parent.number for _, _, handed in sweep for _, parent, _, _ in handed)
    seen: Counter[int] = Counter()
    sums: dict[int, Array] = {}
    leaving: dict[int, dict[int, Array]] = {}  # from a node to what boxes hand to it, by box
    steps: list[Step] = []
    for node, g, handed in sweep:
        place = places[node.number]
        steps += [
            Step("backward", box, None, (_passed(place, total, g),))
            for box, total in leaving.pop(node.number, {}).items()
        ]
        contributions = []
        for position, parent, c, total in handed:
            seen[parent.number] += 1
            target = places[parent.number]
            if place not in boxes:
                before = sums.get(parent.number)
                order = (seen[parent.number], counts[parent.number])
                contributions.append(_contribution(node, position, target, c, before, total, order))
            elif target != place:
                held = leaving.setdefault(parent.number, {})
                held[place] = held[place] + c if place in held else c
            sums[parent.number] = total
        if place not in boxes:
            facts[place - 1].gradient = g
            steps.append(Step("backward", place, g, tuple(contributions)))
    return steps


def _passed(place: int, handed: Array, total: Array) -> Contribution:
    """What a box hands to a node outside it."""
    return Contribution(place, 0, "", "", "", None, handed, None, total, 1, 1)


def _contribution(
    node: Node,
    position: int,
    place: int,
    handed: Array,
    before: Array | None,
    total: Array,
    order: tuple[int, int],
) -> Contribution:
    formula = formula_of(node)
    rule = rule_text(formula, position)
    return Contribution(
        place,
        position,
        argument_name(formula, position),
        rule,
        derivative_text(formula, rule),
        _local(node, position, formula),
        handed,
        before,
        total,
        *order,
    )


def _local(node: Node, position: int, formula: Formula | None) -> Array | None:
    """Return ∂y/∂argument where it is one array: the rule for g = 1.

    It is where y is one number, and where the operation works on each element alone.
    """
    if node.y.size != 1 and not (formula is not None and formula.one_by_one):
        return None
    rule: Any = dict(node.pulls)[position]
    with np.errstate(all="ignore"):  # a picture of what is, not a computation
        found = rule(np.ones_like(node.y), node.y, *node.args, **node.meta)
    return np.asarray(getattr(found, "_array", found))
