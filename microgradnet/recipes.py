"""What to train and how: the settings of a training, the presets, and the objects that are made from them."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from microgradnet import nn, optim
from microgradnet.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np

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
DTYPES = ("float32", "float64")
STARTS = ("default", "nielsen", "nielsen-large")


@dataclass(frozen=True)
class Recipe:
    """All that a person would turn. The last layer always has one output per class.

    A setting that makes no sense is a ValueError that names it.

    >>> Recipe(dropout=1.0)
    Traceback (most recent call last):
    ...
    ValueError: dropout must be at least 0 and below 1, not 1.0
    """

    convolutions: tuple[int, ...] = ()
    """Feature maps of each convolution (5×5) with 2×2 max pooling, before the hidden layers; images only."""
    layers: tuple[int, ...] = (256,)
    """Neurons of each hidden layer."""
    activation: str = "relu"
    loss: str = "softmax"
    """``softmax`` (softmax cross-entropy); ``cross-entropy`` or ``quadratic`` (of sigmoid outputs)."""
    dropout: float = 0.5
    """The share of each hidden layer's outputs that is dropped in training."""
    start: str = "default"
    """How weights begin: ``default`` (within ±1/√n), ``nielsen`` (N(0, 1/n)), ``nielsen-large`` (N(0, 1))."""
    epochs: int = 60
    batch_size: int = 32
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    """c in w ← w − lr·(∂L/∂w + c·w), for weights only; λ/n for the book's λ and n training examples."""
    dtype: str = "float32"
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            _check(name, getattr(self, name), "at least 1", lambda value: value >= 1)
        for maps in self.convolutions:
            _check("convolutions", maps, "at least 1 feature map each", lambda value: value >= 1)
        for size in self.layers:
            _check("layers", size, "at least 1 neuron each", lambda value: value >= 1)
        for name in ("dropout", "momentum"):
            _check(name, getattr(self, name), "at least 0 and below 1", lambda value: 0 <= value < 1)
        for name in ("lr", "weight_decay"):
            _check(name, getattr(self, name), "at least 0 and finite", lambda value: 0 <= value < math.inf)
        _check("seed", self.seed, "at least 0", lambda value: value >= 0)
        for name, known in (
            ("activation", ACTIVATIONS),
            ("loss", LOSSES),
            ("start", STARTS),
            ("dtype", DTYPES),
        ):
            choose(name, getattr(self, name), known)


def _check(name: str, value: Any, wanted: str, holds: Callable[[Any], bool]) -> None:
    if not holds(value):
        raise ValueError(f"{name.replace('_', ' ')} must be {wanted}, not {value}")


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a name that is known; otherwise a ValueError offers the near ones.

    >>> choose("preset", "nielson-quadratic", PRESETS)
    Traceback (most recent call last):
    ...
    ValueError: there is no preset 'nielson-quadratic'; did you mean nielsen-quadratic?
    """
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(names)}"
    raise ValueError(f"there is no {kind} {name!r}; {hint}")


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
        seed=6,
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
        weight_decay=5.0 / 50_000,
        seed=20,
    ),
    "relu-dropout": Recipe(layers=(800, 800), epochs=40, batch_size=100, lr=0.05),
    "nielsen-conv": Recipe(
        convolutions=(20,),
        layers=(100,),
        activation="sigmoid",
        dropout=0.0,
        epochs=30,
        batch_size=10,
        lr=0.1,
        momentum=0.0,
    ),
    "nielsen-conv-relu": Recipe(
        convolutions=(20, 40),
        layers=(100,),
        dropout=0.0,
        epochs=30,
        batch_size=10,
        lr=0.03,
        momentum=0.0,
        weight_decay=0.1 / 5_000,
    ),
}
"""Four of Nielsen's networks (*Neural Networks and Deep Learning*, chapters 1, 3 and 6), and two of ours."""


def preset(name: str, **changes: Any) -> Recipe:
    """Return a preset by name, with some settings changed.

    >>> preset("nielsen-quadratic", epochs=3).layers
    (30,)
    """
    return replace(PRESETS[choose("preset", name, PRESETS)], **changes)


KERNEL, POOL = 5, 2
"""The pixels on a side of a convolution's kernels, and of the windows that are pooled after it."""


def build_model(
    recipe: Recipe,
    inputs: int,
    classes: int,
    rng: np.random.Generator,
    image_shape: tuple[int, ...] | None = None,
) -> nn.Sequential:
    """Make the network: convolutions, hidden layers with activation and dropout, a linear layer.

    With convolutions it takes images of ``image_shape`` (channels, height, width), else rows of ``inputs``;
    for the quadratic cost it ends with σ.
    """
    layers: list[nn.Module] = []
    if recipe.convolutions:
        layers, inputs = _convolutions(recipe, image_shape, rng)
    widths = [inputs, *recipe.layers]
    for before, after in pairwise(widths):
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


def _convolutions(
    recipe: Recipe, image_shape: tuple[int, ...] | None, rng: np.random.Generator
) -> tuple[list[nn.Module], int]:
    """Make the convolutions with their pooling, and say how many numbers come out of them."""
    if image_shape is None:
        raise ValueError("convolutions need images, and these examples are none; leave out --convolutions")
    channels, height, width = image_shape
    layers: list[nn.Module] = []
    for maps in recipe.convolutions:
        if min(height, width) < KERNEL + POOL - 1:
            raise ValueError(
                f"convolutions {','.join(map(str, recipe.convolutions))}: the {KERNEL}×{KERNEL} kernels and "
                f"{POOL}×{POOL} pooling of number {len(layers) // 3 + 1} do not fit into {height}×{width} "
                "pixels; give fewer"
            )
        convolution = nn.Conv2d(channels, maps, KERNEL, dtype=recipe.dtype, rng=rng)
        layers += [convolution, nn.MaxPool2d(POOL), ACTIVATIONS[recipe.activation]()]
        channels, height, width = maps, (height - KERNEL + 1) // POOL, (width - KERNEL + 1) // POOL
    return [*layers, nn.Flatten()], channels * height * width


def build_loss(recipe: Recipe) -> nn.Loss:
    """Make the loss; the book's two costs are summed over the outputs and averaged over the batch."""
    if recipe.loss == "quadratic":
        return nn.QuadraticLoss()
    if recipe.loss == "cross-entropy":
        return nn.BCEWithLogitsLoss(reduction="batchmean")
    return nn.CrossEntropyLoss()


def build_optimizer(recipe: Recipe, model: nn.Module) -> optim.SGD:
    """Make SGD, with weight decay on the weights and none on the biases."""
    pairs = list(model.named_parameters())
    weights = [(name, parameter) for name, parameter in pairs if parameter.ndim > 1]
    biases = [(name, parameter) for name, parameter in pairs if parameter.ndim == 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": biases}]
    return optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)


def prepare(recipe: Recipe, data: Dataset) -> tuple[Any, Any]:
    """Return rows or images in the recipe's dtype, and targets as the loss takes them: labels or one-hot."""
    x = (data.as_images() if recipe.convolutions else data).x.astype(recipe.dtype, copy=False)
    return x, data.y if recipe.loss == "softmax" else F.one_hot(data.y, data.num_classes, recipe.dtype)


def probabilities(recipe: Recipe, outputs: Any) -> Any:
    """Turn outputs into what they say of each class, from 0 to 1 (their sum is 1 for ``softmax`` only)."""
    if recipe.loss == "softmax":
        return F.softmax(outputs, 1)
    return F.sigmoid(outputs) if recipe.loss == "cross-entropy" else outputs
