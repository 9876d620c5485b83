"""What a step says: an operation's formula, the rule of each argument, and the δ equation of a layer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microgradnet.ops.table import OPERATIONS

if TYPE_CHECKING:
    from microgradnet.graph import Node

# Groups of the table whose operations work on each element alone: their derivative is an array like y.
ONE_BY_ONE = ("Arithmetic", "Functions of one number", "Choosing")

# The names under which the operations of the table record themselves, where they differ.
RECORDED_AS = {"pow": "power", "abs": "absolute"}


@dataclass(frozen=True)
class Formula:
    """y = ``value`` of the named arguments; per argument the rule for ∂L/∂argument, in g = ∂L/∂y."""

    arguments: tuple[str, ...]
    value: str
    rules: tuple[str, ...]
    one_by_one: bool = False


# Steps that losses and normalization are made of, which users do not call and the table does not list.
INNER = {
    "centre": Formula(("x",), "x − mean of x", ("g − mean of g",)),
    "squared_error": Formula(("a", "t"), "scale·Σ (a − t)²", ("g·2·scale·(a − t)", "g·2·scale·(t − a)")),
    "bce": Formula(
        ("p", "t"),
        "−t·ln p − (1 − t)·ln (1 − p)",
        ("g·(p − t) / (p·(1 − p))", "g·ln ((1 − p) / p)"),
        one_by_one=True,
    ),
    "probability_times": Formula(("t", "x"), "t·x", ("g·x", "g·t"), one_by_one=True),
    "one_hot": Formula(("k",), "1 at k, else 0", ()),
    "index_add": Formula(("x",), "x, added up at the key", ("g[key]",)),
}

# δ is the gradient that arrives at a layer, z what enters it. Source: Nielsen, chapter 2 (BP1 to BP4).
LAYERS = {
    "Linear": "δ = ∂L/∂z of z = a·Wᵀ + b:  ∂L/∂W = δᵀ·a,  ∂L/∂b = Σ δ over the batch,  ∂L/∂a = δ·W",
    "Sigmoid": "∂L/∂z = δ ⊙ σ′(z),  σ′(z) = a·(1 − a)",
    "Tanh": "∂L/∂z = δ ⊙ (1 − a²)",
    "ReLU": "∂L/∂z = δ where z > 0, else 0",
    "LeakyReLU": "∂L/∂z = δ where z > 0, else slope·δ",
    "ELU": "∂L/∂z = δ where z > 0, else δ·(a + α)",
    "GELU": "∂L/∂z = δ ⊙ (Φ(z) + z·φ(z))",
    "Softplus": "∂L/∂z = δ ⊙ σ(z)",
    "Softmax": "∂L/∂z = a ⊙ (δ − Σ δ·a)",
    "LogSoftmax": "∂L/∂z = δ − softmax(z)·Σ δ",
    "Dropout": "∂L/∂z = δ ⊙ mask / (1 − p)",
    "Flatten": "∂L/∂z = δ in z's shape",
    "Embedding": "∂L/∂W[k] = Σ of δ wherever index k was looked up",
    "BatchNorm1d": "∂L/∂z = γ/s·(δ − mean δ − ẑ·mean(δ·ẑ)) over the batch",
    "LayerNorm": "∂L/∂z = 1/s·(δγ − mean δγ − ẑ·mean(δγ·ẑ)) over the features",
    "BatchNorm2d": "∂L/∂z = γ/s·(δ − mean δ − ẑ·mean(δ·ẑ)) over batch, height and width",
    "Conv1d": "∂L/∂W = δ slid over a,  ∂L/∂b = Σ δ,  ∂L/∂a = δ convolved with W in reverse",
    "Conv2d": "∂L/∂W = δ slid over a,  ∂L/∂b = Σ δ,  ∂L/∂a = δ convolved with W turned by 180°",
    "AvgPool2d": "∂L/∂z = δ / (number of elements in a window), at each of them",
    "MaxPool2d": "∂L/∂z = δ at the largest element of each window, else 0",
    "QuadraticLoss": "∂L/∂a = (a − y)/N;  behind sigmoid outputs δ = (a − y)/N ⊙ σ′(z)",
    "MSELoss": "∂L/∂a = 2·(a − y)/n,  n the number of elements",
    "L1Loss": "∂L/∂a = sign(a − y)/n,  n the number of elements",
    "CrossEntropyLoss": "∂L/∂z = (softmax(z) − y)/N",
    "NLLLoss": "∂L/∂x = −1/N at the label, else 0",
    "BCELoss": "∂L/∂a = (a − y)/(a·(1 − a))/n;  behind sigmoid outputs δ = (a − y)/n",
    "BCEWithLogitsLoss": "∂L/∂z = (σ(z) − y)/n,  n the number of elements",
}


def formula_of(node: Node) -> Formula | None:
    """Return the formula of a node's operation; None where it is the user's own.

    >>> import microgradnet as mg
    >>> x = mg.Tensor(2.0, requires_grad=True)
    >>> formula_of((x * x)._node).rules
    ('g·b', 'g·a')
    """
    recorded = node.primitive.name if node.primitive else ""
    if recorded in INNER:
        return INNER[recorded]
    name = RECORDED_AS.get(recorded, recorded)
    rows = [row for row in OPERATIONS if row.name == name]
    for row in rows:
        if len(rows) == 1 or len(row.arguments.split()) == len(node.parents):
            rules = tuple([rule.strip() for rule in row.gradient.split(";")])
            return Formula(tuple(row.arguments.split()), row.formula, rules, row.group in ONE_BY_ONE)
    return None


def argument_name(formula: Formula | None, position: int) -> str:
    """Return how a formula calls an argument: ``a``, or ``x3`` where it names none."""
    if formula is not None and position < len(formula.arguments):
        return formula.arguments[position]
    return f"x{position + 1}"


def rule_text(formula: Formula | None, position: int) -> str:
    """Return the rule for one argument; empty where it is not known."""
    if formula is None or not formula.rules:
        return ""
    return formula.rules[position] if position < len(formula.rules) else formula.rules[0]


def derivative_text(formula: Formula | None, rule: str) -> str:
    """Return ∂y/∂argument: the rule for g = 1, of an operation that works on each element alone.

    >>> derivative_text(Formula(("x",), "", (), one_by_one=True), "−g·sin x")
    '−sin x'
    >>> derivative_text(Formula(("x",), "", (), one_by_one=True), "g / x")
    '1 / x'
    """
    if formula is None or not formula.one_by_one:
        return ""
    return re.sub(r"\bg\b", "1", re.sub(r"\bg·|·g\b", "", rule))


def layer_equation(module: Any) -> str:
    """Return the δ equation of one of the library's layers; empty for other modules."""
    kind = type(module)
    ours = kind.__module__.startswith("microgradnet.nn.")
    return LAYERS.get(kind.__name__, "") if ours else ""
