"""What to train and how: the settings of a training, the presets, and the objects that are made from them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import nn, optim
from microgradnet.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.datasets import Dataset

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
}
LOSSES = ("softmax", "cross-entropy", "quadratic")
STARTS = ("default", "nielsen", "nielsen-large")


@dataclass(frozen=True)
class Recipe:
    """All that a person would turn. The last layer always has one output per class."""

    layers: tuple[int, ...] = (256,)
    """Neurons of each hidden layer."""
    activation: str = "relu"
    loss: str = "softmax"
    """``softmax`` (softmax cross-entropy), ``cross-entropy`` (sigmoid outputs, summed), ``quadratic`` (the same)."""
    dropout: float = 0.5
    """The share of each hidden layer's outputs that is dropped."""
    start: str = "default"
    """How weights begin: ``default`` (±1/√n), ``nielsen`` (N(0, 1/n)), ``nielsen-large`` (N(0, 1))."""
    epochs: int = 60
    batch_size: int = 32
    lr: float = 0.1
    momentum: float = 0.9
    regularization: float = 0.0
    """λ of the book: w ← (1 − ηλ/n)·w for n training examples, weights only."""
    dtype: str = "float32"
    seed: int = 1


PRESETS: dict[str, Recipe] = {
    "default": Recipe(),
    "nielsen-quadratic": Recipe(
        layers=(30,),
        activation="sigmoid",
        loss="quadratic",
        dropout=0.0,
        start="nielsen-large",
        epochs=30,
        batch_size=10,
        lr=3.0,
        momentum=0.0,
    ),
    "nielsen-cross-entropy": Recipe(
        layers=(100,),
        activation="sigmoid",
        loss="cross-entropy",
        dropout=0.0,
        start="nielsen-large",
        epochs=30,
        batch_size=10,
        lr=0.5,
        momentum=0.0,
        regularization=5.0,
    ),
    "relu-dropout": Recipe(
        layers=(800, 800), activation="relu", dropout=0.5, epochs=40, batch_size=100, lr=0.1, momentum=0.9
    ),
}


def preset(name: str, **changes: Any) -> Recipe:
    """Return a preset by name, with some settings changed.

    >>> preset("nielsen-quadratic", epochs=3).layers
    (30,)
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = f"no preset is called {name!r}; {hint}There is {', '.join(PRESETS)}"
        raise ValueError(message)
    return replace(PRESETS[name], **changes)


def build_model(recipe: Recipe, inputs: int, classes: int, rng: np.random.Generator) -> nn.Sequential:
    """Make the network: hidden layers with activation and dropout, then a linear layer (and σ for ``quadratic``)."""
    layers: list[nn.Module] = []
    widths = [inputs, *recipe.layers]
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(before, after, dtype=recipe.dtype, rng=rng), ACTIVATIONS[recipe.activation]()]
        if recipe.dropout:
            layers.append(nn.Dropout(recipe.dropout, rng=rng))
    layers.append(nn.Linear(widths[-1], classes, dtype=recipe.dtype, rng=rng))
    if recipe.loss == "quadratic":
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    if recipe.start != "default":
        begin = nn.init.nielsen_large_ if recipe.start == "nielsen-large" else nn.init.nielsen_
        for parameter in model.parameters():
            begin(parameter, rng=rng)
    return model


def build_loss(recipe: Recipe) -> nn.Loss:
    """Make the loss; the book's two costs are summed over the outputs and averaged over the batch."""
    if recipe.loss == "quadratic":
        return nn.QuadraticLoss()
    if recipe.loss == "cross-entropy":
        return nn.BCEWithLogitsLoss(reduction="batchmean")
    return nn.CrossEntropyLoss()


def build_optimizer(recipe: Recipe, model: nn.Module, examples: int) -> optim.SGD:
    """Make SGD, with weight decay λ/n on the weights and none on the biases."""
    pairs = list(model.named_parameters())
    groups = [
        {
            "params": [pair for pair in pairs if pair[1].ndim > 1],
            "weight_decay": recipe.regularization / examples,
        },
        {"params": [pair for pair in pairs if pair[1].ndim == 1]},
    ]
    return optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)


def prepare(recipe: Recipe, data: Dataset) -> tuple[Any, Any]:
    """Return inputs in the recipe's dtype, and targets as its loss takes them: labels, or one output per class."""
    x = data.x.astype(recipe.dtype, copy=False)
    return x, data.y if recipe.loss == "softmax" else F.one_hot(data.y, data.num_classes, recipe.dtype)


def probabilities(loss: str, outputs: Any) -> Any:
    """Turn a network's outputs into what they say of each class (0 to 1; they sum to 1 for ``softmax`` only)."""
    if loss == "softmax":
        return F.softmax(outputs, 1)
    return F.sigmoid(outputs) if loss == "cross-entropy" else outputs
