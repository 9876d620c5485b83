"""A wrong engine beside the right one: run both on one recorded graph, and find where they part."""

from __future__ import annotations

import copy
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.backprop import visits
from microgradnet.graph import ancestors, enclosing_modules
from microgradnet.html_table import table
from microgradnet.lab.catalogue import Misconception, dropout_in_eval, named
from microgradnet.lab.wording import relation, same, side_by_side
from microgradnet.nn import Dropout
from microgradnet.nn.module import Module
from microgradnet.ops import generator
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from microgradnet.graph import Array, Node
    from microgradnet.lab.engines import Gradients


@dataclass(frozen=True)
class Entry:
    """One node: its name, and its gradient by the right engine and by the wrong one (None: none arrived)."""

    name: str
    right: Array
    wrong: Array | None
    leaf: bool
    users: tuple[str, ...]
    """The operations that hand this node its gradient."""

    batch: int | None = None
    """How many examples there were, where that is known."""

    @property
    def agrees(self) -> bool:
        """Whether both are the same but for rounding."""
        return self.wrong is not None and same(self.wrong, self.right)

    @property
    def how(self) -> str:
        """How the wrong gradient differs, in a few words."""
        if self.agrees:
            return "="
        if self.wrong is None:
            return "none arrived"
        if self.wrong.shape != self.right.shape:
            return f"shape {self.wrong.shape}, not {self.right.shape}"
        counts = {"the batch size N": self.batch} if self.batch else None
        return relation(self.wrong, self.right, counts) or "differs"

    def cells(self) -> tuple[str, str]:
        """Return both gradients as short texts: all of a few numbers, or the entry that differs most."""
        return side_by_side(self.right, self.wrong)


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found; ``str()`` and a notebook show the gradients side by side."""

    misconception: Misconception
    losses: tuple[float, float]
    """The loss as it is, and as the wrong engine has it (another only where the forward pass is wrong)."""
    nodes: tuple[Entry, ...]
    """Every node, in backward order."""
    failure: str | None = None
    """The error that ended the wrong engine's pass, if one did."""
    program: str | None = None
    """The program of the example, where ``demonstrate`` ran one."""

    @property
    def gradients(self) -> tuple[Entry, ...]:
        """The leaves, in the order in which they were made: parameters, named inputs."""
        return tuple([entry for entry in reversed(self.nodes) if entry.leaf])

    @property
    def first(self) -> Entry | None:
        """The first node, in backward order, at which the two part."""
        return next((entry for entry in self.nodes if not entry.agrees), None)

    @property
    def agrees(self) -> bool:
        """Whether the misconception hides here: the wrong engine finds the right gradients."""
        return self.first is None

    def _where(self) -> str:
        first = self.first
        if first is None:
            return f"No difference here. It hides {self.misconception.hides}."
        before = self.nodes.index(first)
        hand = "hand" if len(first.users) > 1 else "hands"
        users = f", with what {' and '.join(first.users)} {hand} it" if first.users else ""
        agreeing = {0: "it is the first node", 1: "the node before it agrees"}.get(
            before, f"the {before} nodes before it, in backward order, agree"
        )
        return f"They part at {first.name}{users}; {agreeing}."

    def _table(self) -> list[tuple[str, str, str, str]]:
        shown = list(self.gradients)
        if self.first is not None and self.first not in shown:
            shown.append(self.first)
        return [(entry.name, *entry.cells(), entry.how) for entry in shown]

    def _sentences(self) -> list[str]:
        right, wrong = self.losses
        sentences = [self._where()]
        if right != wrong:
            sentences.append(f"The loss itself differs: {right:.6g} right, {wrong:.6g} wrong.")
        if self.failure:
            sentences.append(f"Then the wrong engine stopped: {self.failure}")
        return [*sentences, f"In truth: {self.misconception.truth}"]

    def __str__(self) -> str:
        table = [("gradient of", "right", "wrong", ""), *self._table()]
        widths = [max([len(row[i]) for row in table]) for i in range(3)]
        lines = [f"{self.misconception.name}: “{self.misconception.belief}”", ""]
        if self.program:
            lines += [*[f"    {line}" for line in self.program.splitlines()], ""]
        for name, right, wrong, how in table:
            cells = f"  {name:{widths[0]}}  {right:>{widths[1]}}  {wrong:>{widths[2]}}  {how}"
            lines.append(cells.rstrip())
        return "\n".join([*lines, "", *self._sentences()])

    def _repr_html_(self) -> str:
        shown = table(self._table(), ["gradient of", "right", "wrong", ""], self.misconception.belief)
        program = f"<pre>{html.escape(self.program)}</pre>" if self.program else ""
        return f"{program}{shown}<p>{'<br>'.join([html.escape(s) for s in self._sentences()])}</p>"


def compare(
    misconception: str,
    model: Module | Tensor,
    loss_fn: Callable[[Any, Any], Any] | None = None,
    x: Any = None,
    y: Any = None,
) -> Comparison:
    """Run a wrong engine beside the right one, on ``loss_fn(model(x), y)`` or on a loss that is given alone.

    A model is run as a float64 copy, in its mode: it, its statistics and generators stay as they are.

    Parameters
    ----------
    misconception
        A name of ``misconceptions()``.
    model
        A module; or a scalar loss, whose recorded graph both engines then read.
    loss_fn, x, y
        The loss function, the batch and its targets, where ``model`` is a module.

    Raises
    ------
    ValueError
        For an unknown name, a loss that is not a single number or was not recorded, and for
        ``dropout_in_eval`` without a model.

    Examples
    --------
    >>> from microgradnet import Tensor, lab
    >>> w = Tensor([1.0, 2.0], requires_grad=True, name="w")
    >>> print(lab.compare("overwrite", (w * w).sum() + w.sum()))
    overwrite: “The gradient of a value is what the operation that uses it hands back: x.grad = …”
    <BLANKLINE>
      gradient of  right  wrong
      w            [3 5]  [1 2]  differs
    <BLANKLINE>
    They part at w, with what sum#4 and mul#2 hand it; the 4 nodes before it, in backward order, agree.
    In truth: Where a value is used more than once, the chain rule adds the paths up: x.grad += …
    """
    wrong_idea = named(misconception)
    if isinstance(model, Tensor):
        if wrong_idea.engine is None:
            raise ValueError(
                f"lab.compare: {misconception} is about the mode of a model; "
                f"write compare({misconception!r}, model, loss_fn, x, y)"
            )
        return _compared(wrong_idea, model)
    if loss_fn is None:
        raise ValueError(
            "lab.compare: a model needs its loss and data; write compare(name, model, loss_fn, x, y)"
        )
    before = generator().bit_generator.state
    try:
        right = _float64(model)
        if wrong_idea.engine is not None:
            return _compared(wrong_idea, _loss(right, loss_fn, x, y), paths=_Paths.of(right), batch=len(x))
        wrong = _float64(model)
        dropout_in_eval(wrong)
        wrong_loss = _loss(wrong, loss_fn, x, y)
        loss = _loss(right.eval(), loss_fn, x, y)
        return _compared(wrong_idea, loss, wrong_loss, paths=_Paths.of(right), batch=len(x))
    finally:
        generator().bit_generator.state = before


def demonstrate(misconception: str) -> Comparison:
    """Run a misconception on the smallest graph on which it shows.

    >>> from microgradnet import lab
    >>> print(lab.demonstrate("sign_error"))
    sign_error: “The derivative of (t − y)² is 2 (t − y).”
    <BLANKLINE>
        def error() -> Tensor:
            w = Tensor(2.0, requires_grad=True, name="w")
            t = Tensor(1.0, requires_grad=True, name="t")
            return (t - 3 * w) ** 2
    <BLANKLINE>
      gradient of  right  wrong
      w               30    -30  −1 × the true gradient: the sign is wrong
      t              -10    -10  =
      mul#3           10    -10  −1 × the true gradient: the sign is wrong
    <BLANKLINE>
    They part at mul#3, with what sub#4 hands it; the 2 nodes before it, in backward order, agree.
    In truth: By y there is a minus, the inner derivative: −2 (t − y). Likewise for −x, a/b by b, cos x.
    """
    wrong_idea = named(misconception)
    made = wrong_idea.example()
    report = compare(misconception, *(made if isinstance(made, tuple) else (made,)))
    return Comparison(report.misconception, report.losses, report.nodes, report.failure, wrong_idea.program)


# ---------------------------------------------------------------------- names


@dataclass(frozen=True)
class _Paths:
    """What the parts of a model are called: parameters by the number of their node, layers by identity."""

    parameters: Mapping[int, str]
    layers: Mapping[int, str]

    @classmethod
    def of(cls, model: Module) -> _Paths:
        """Walk a model."""
        return cls(
            {p._node.number: name for name, p in model.named_parameters() if p._node is not None},
            {id(layer): name for name, layer in model.named_modules() if name},
        )

    def name(self, node: Node, place: int) -> str:
        """Name a leaf by its name or path, an operation by its place in the graph and its layer."""
        given = node.name or self.parameters.get(node.number)
        if given:
            return given
        if node.primitive is None:
            return f"leaf#{place}"
        layer = node.scope.module if node.scope else None
        where = "" if layer is None else f" ({self.layers.get(id(layer)) or type(layer).__name__})"
        return f"{node.primitive.name}#{place}{where}"


_NOWHERE = _Paths({}, {})


# ---------------------------------------------------------------------- the two passes


def _compared(
    wrong_idea: Misconception,
    loss: Tensor,
    wrong_loss: Tensor | None = None,
    *,
    paths: _Paths = _NOWHERE,
    batch: int | None = None,
) -> Comparison:
    root = _root(loss)
    right = {number: wrong_idea.passes * g for number, g in _right(root).items()}
    failure = None
    wrong: Gradients = {}
    if wrong_idea.engine is None:
        wrong = _paired(root, _root(wrong_loss))
    else:
        try:
            wrong_idea.engine(root, wrong)
        except ValueError as error:  # shapes that do not fit: what a wrong engine may run into
            failure = str(error)
    nodes = ancestors([root], only_differentiable=True)
    names = {number: paths.name(nodes[number], place) for place, number in enumerate(sorted(nodes), 1)}
    users: dict[int, list[str]] = {number: [] for number in nodes}
    for number in sorted(nodes, reverse=True):
        for i, _ in nodes[number].pulls:
            parent = nodes[number].parents[i]
            if parent is not None and parent.number in users and names[number] not in users[parent.number]:
                users[parent.number].append(names[number])
    entries = [
        Entry(names[n], right[n], wrong.get(n), nodes[n].primitive is None, tuple(users[n]), batch)
        for n in sorted(right, reverse=True)
    ]
    losses = (float(loss.item()), float((loss if wrong_loss is None else wrong_loss).item()))
    return Comparison(wrong_idea, losses, tuple(entries), failure)


def _right(root: Node) -> Gradients:
    """Watch the engine's own sweep."""
    return {node.number: g for node, g, _ in visits({root: np.ones_like(root.y)})}


def _paired(root: Node, other: Node) -> Gradients:
    """Give the gradients of another recording of the model to the nodes that stand at the same places.

    The operations of dropout layers, which one of them lacks, are left out.
    """
    found = _right(other)
    numbers = [_without_dropout(start) for start in (root, other)]
    return {ours: found[theirs] for ours, theirs in zip(*numbers, strict=True) if theirs in found}


def _without_dropout(root: Node) -> list[int]:
    """Return the numbers of the computed nodes, oldest first, then of the leaves as they are met."""
    nodes = ancestors([root], only_differentiable=True)
    kept = [
        nodes[number]
        for number in sorted(nodes)
        if not any(isinstance(module, Dropout) for module in enclosing_modules(nodes[number].scope))
    ]
    return [node.number for node in kept]


def _root(loss: Any) -> Node:
    if not isinstance(loss, Tensor) or loss.size != 1:
        given = f"of shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"lab.compare: the loss must be a single number, not {given}; reduce it by .mean()")
    if loss._node is None or not loss._node.requires_grad:
        raise ValueError(
            "lab.compare: the loss was not computed from anything that requires a gradient; "
            "create the inputs with requires_grad=True"
        )
    return loss._node


def _float64(model: Any) -> Any:
    return copy.deepcopy(model).astype(float)


def _loss(model: Module, loss_fn: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """Record the loss in float64."""
    inputs, targets = [value.data if isinstance(value, Tensor) else value for value in (x, y)]
    own = _float64(loss_fn) if isinstance(loss_fn, Module) else loss_fn
    return own(model(inputs), targets)
