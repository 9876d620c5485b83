"""The misconceptions: for each the belief, why it is wrong, how it shows, where it hides, and its engine."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from microgradnet.lab import demonstrations, engines
from microgradnet.nn import Dropout

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.graph import Node
    from microgradnet.nn import Module

Engine: TypeAlias = "Callable[[Node, engines.Gradients], None]"


def dropout_in_eval(model: Module) -> None:
    """Put a model in evaluation, but for its dropout layers."""
    model.eval()
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.train()  # wrong: evaluation is deterministic


@dataclass(frozen=True)
class Misconception:
    """One wrong idea about backpropagation: text for a lesson, and the engine that follows from it."""

    name: str
    """What ``compare`` and ``demonstrate`` call it."""
    belief: str
    """The idea, in the words of somebody who has it."""
    truth: str
    """What is so instead."""
    shows: str
    """What to see in the numbers."""
    hides: str
    """Where the wrong engine gives the right gradients, so that nobody notices."""
    example: Callable[[], Any]
    """Makes the smallest graph on which it shows."""
    engine: Engine | None = None
    """The wrong backward pass; None where the mistake is in the mode that the model runs in."""
    passes: int = 1
    """How many backward passes are run."""

    @property
    def code(self) -> str:
        """The program of the wrong engine, its wrong line marked."""
        return inspect.getsource(self.engine or dropout_in_eval)

    @property
    def program(self) -> str:
        """The program of the example."""
        head, *lines = inspect.getsource(self.example).splitlines()
        return "\n".join([head, *[line for line in lines if not line.strip().startswith('"""')]])

    def __str__(self) -> str:
        return (
            f"{self.name}: “{self.belief}”\n  In truth: {self.truth}\n"
            f"  It shows: {self.shows}\n  It hides: {self.hides}"
        )


CATALOGUE = (
    Misconception(
        "recursion",
        "Backpropagation is recursion: each value calls backward on the values that it was made of.",
        "A value may hand its gradient on only when it is complete, that is when everything that uses the "
        "value has been visited. That takes a reverse topological order, which recursion does not follow.",
        "a value that is used on two paths gets the right gradient, but what lies below it misses a part",
        "in a chain, or where the paths join at a leaf: nothing lies below, and the order does not matter",
        demonstrations.diamond,
        engines.recursion,
    ),
    Misconception(
        "overwrite",
        "The gradient of a value is what the operation that uses it hands back: x.grad = …",
        "Where a value is used more than once, the chain rule adds the paths up: x.grad += …",
        "only the last path that is visited counts: x·x has the derivative x in place of 2x",
        "wherever every value is used once, as in a plain chain of layers; it breaks with shared weights, "
        "residual connections and recurrent networks",
        demonstrations.square,
        engines.overwrite,
    ),
    Misconception(
        "no_unbroadcast",
        "The gradient of b in x + b is just g.",
        "b was repeated to the shape of x, and each copy has a gradient: b's is their sum, in b's shape.",
        "the gradient has the shape of the result, not of the parameter; a rule that meets it further down "
        "fails, or an update broadcasts silently",
        "for equal shapes, and in operations that sum by their own rule, such as a linear layer's",
        demonstrations.bias,
        engines.no_unbroadcast,
    ),
    Misconception(
        "stale_gradients",
        "Gradients accumulate, so the values in between keep theirs for the next backward pass too.",
        "Only leaves accumulate over calls of backward(). In between, each pass begins with nothing.",
        "after the second pass a leaf has more than twice its gradient: 3 times below one operation, 4 below "
        "two, 5 below three",
        "in the first pass, and where all intermediate values are made anew before each pass",
        demonstrations.chain,
        engines.stale_gradients,
        passes=2,
    ),
    Misconception(
        "dropout_in_eval",
        "Dropout is a layer like any other: it always drops.",
        "Dropout belongs to training. In evaluation it is the identity: model.eval() before testing, and "
        "model.train() after it.",
        "two evaluations of the same input differ; the gradients are those of another, thinner network",
        "without dropout layers, or with p = 0",
        demonstrations.network,
    ),
    Misconception(
        "sign_error",
        "The derivative of (t − y)² is 2 (t − y).",
        "By y there is a minus, the inner derivative: −2 (t − y). Likewise for −x, a/b by b, cos x.",
        "everything below has the opposite sign, the rest is right; training climbs",
        "where no derivative has a minus, and where two of them meet",
        demonstrations.error,
        engines.sign_error,
    ),
    Misconception(
        "forgotten_mean",
        "The gradient of the loss is the sum of the examples' gradients.",
        "Of a loss that is a mean it is their mean. The 1/N is part of the loss, and so of the gradient.",
        "every gradient is N times too large: the learning rate means another thing for each batch size",
        "for a batch of one, and for a loss that is a sum",
        demonstrations.average,
        engines.forgotten_mean,
    ),
)


def misconceptions() -> tuple[Misconception, ...]:
    """Return all misconceptions of the lab.

    >>> from microgradnet import lab
    >>> [m.name for m in lab.misconceptions()]  # doctest: +NORMALIZE_WHITESPACE
    ['recursion', 'overwrite', 'no_unbroadcast', 'stale_gradients', 'dropout_in_eval', 'sign_error',
     'forgotten_mean']
    >>> print(lab.misconceptions()[1].shows)
    only the last path that is visited counts: x·x has the derivative x in place of 2x
    """
    return CATALOGUE


def named(name: str) -> Misconception:
    """Return the misconception of that name."""
    for misconception in CATALOGUE:
        if misconception.name == name:
            return misconception
    known = ", ".join([m.name for m in CATALOGUE])
    raise ValueError(f"lab: there is no misconception {name!r}; the names are {known}")
