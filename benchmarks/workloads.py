"""What is trained: networks with their weights and batches, the same for every implementation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Layer: TypeAlias = "tuple[Any, ...]"
"""("linear", n, m), ("conv", n, m), ("pool",), ("flatten",), ("sigmoid",), ("relu",) or ("dropout", p)."""

BATCHES = 8
"""How many different batches a training loop goes through, again and again."""
INK = 0.19
"""The share of MNIST's pixels that are not zero."""
SIDE, KERNEL, POOL = 28, 5, 2
"""Of an image, of a convolution, and of max pooling."""


@dataclass(frozen=True)
class Workload:
    """A network, its loss, its batches and plain SGD, in float32; the same whenever it is asked."""

    name: str
    sizes: tuple[int, ...]  # of the dense layers
    activation: str  # after every layer: sigmoid; between the layers: relu
    loss: (
        str  # quadratic: ½‖a − y‖², y one-hot; cross-entropy: −ln softmax(z)ₜ, t labels; mean over the batch
    )
    batch: int
    rate: float
    steps: int  # in a timed block
    maps: tuple[int, ...] = ()  # of convolutions before the dense layers, each with max pooling and ReLU
    momentum: float = 0.0  # v ← momentum·v + g, w ← w − rate·v
    dropout: float = 0.0  # the probability with which each element after a hidden activation becomes 0

    @property
    def title(self) -> str:
        """What the tables call it."""
        maps = f"{'-'.join(map(str, self.maps))} maps of {KERNEL}×{KERNEL}, " if self.maps else ""
        extras = [f"{name} {value}" for name in ("momentum", "dropout") if (value := getattr(self, name))]
        sizes = "-".join(map(str, self.sizes))
        parts = [f"{maps}{sizes}, {self.activation}, {self.loss} loss", *extras, f"batch {self.batch}"]
        return f"{self.name}: {', '.join(parts)}"

    def layers(self) -> list[Layer]:
        """Return the layers in order; those with weights are linear and conv."""
        layers: list[Layer] = []
        for n, m in pairwise((1, *self.maps)):
            layers += [("conv", n, m), ("pool",), ("relu",)]
        if self.maps:
            layers.append(("flatten",))
        for n, m in pairwise(self.sizes):
            layers += [("linear", n, m), (self.activation,), ("dropout", self.dropout)]
        layers.pop()  # nothing is dropped from the outputs,
        if self.activation == "relu":
            layers.pop()  # and these are logits
        return [layer for layer in layers if layer != ("dropout", 0)]

    def weights(self) -> list[Array]:
        """Return new arrays w₁, b₁, w₂, … drawn from N(0, 1/in); w is (out, in), or (out, in, 5, 5)."""
        return [array.copy() for array in _weights(self.maps, self.sizes)]

    def batches(self) -> list[tuple[Array, Array]]:
        """Return new arrays x in [0, 1), as sparse as MNIST, and y, one-hot rows or labels.

        x is (batch, in), or (batch, 1, 28, 28) where the network has convolutions.
        """
        inputs = (1, SIDE, SIDE) if self.maps else (self.sizes[0],)
        quadratic = self.loss == "quadratic"
        drawn = _batches((self.batch, *inputs), self.sizes[-1], one_hot=quadratic)
        return [(x.copy(), y.copy()) for x, y in drawn]


@cache
def _weights(maps: tuple[int, ...], sizes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(1)
    shapes: list[tuple[int, ...]] = [(m, n, KERNEL, KERNEL) for n, m in pairwise((1, *maps))]
    shapes += [(m, n) for n, m in pairwise(sizes)]
    arrays = []
    for shape in shapes:
        spread = 1 / math.sqrt(math.prod(shape[1:]))
        arrays += [rng.normal(0, spread, shape), rng.normal(0, spread, shape[0])]
    return [array.astype(np.float32) for array in arrays]


@cache
def _batches(shape: tuple[int, ...], classes: int, *, one_hot: bool) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(2)
    pairs = []
    for _ in range(BATCHES):
        x = np.where(rng.random(shape) < INK, rng.random(shape), 0).astype(np.float32)
        labels = rng.integers(classes, size=shape[0])
        pairs.append((x, np.eye(classes, dtype=np.float32)[labels] if one_hot else labels))
    return pairs


NIELSEN = Workload("nielsen", (784, 30, 10), "sigmoid", "quadratic", batch=10, rate=3.0, steps=120)
WIDE = Workload("wide", (784, 128, 10), "sigmoid", "quadratic", batch=32, rate=1.0, steps=30)
DEEP = Workload("deep", (784, 512, 512, 10), "relu", "cross-entropy", batch=128, rate=0.1, steps=8)
PLAIN = (NIELSEN, WIDE, DEEP)
DENSE = (
    *PLAIN,
    # a tenth of the rate: with momentum 0.9, steps grow to ten times their length
    *[replace(w, name=f"{w.name}-momentum", momentum=0.9, rate=w.rate / 10) for w in PLAIN],
    *[replace(w, name=f"{w.name}-dropout", dropout=0.5) for w in PLAIN],
)


def _on_images(name: str, maps: tuple[int, ...], hidden: tuple[int, ...], batch: int, steps: int) -> Workload:
    side = SIDE
    for _ in maps:
        side = (side - KERNEL + 1) // POOL
    sizes = (maps[-1] * side * side, *hidden, 10)
    return Workload(name, sizes, "relu", "cross-entropy", batch, rate=0.1, steps=steps, maps=maps)


LENET, BOOK = ((6, 16), (120, 84)), ((20, 40), (1000, 1000))
IMAGES = (
    _on_images("lenet-10", *LENET, batch=10, steps=60),
    _on_images("lenet-64", *LENET, batch=64, steps=12),
    _on_images("book-10", *BOOK, batch=10, steps=20),
    _on_images("book-64", *BOOK, batch=64, steps=4),
)
WORKLOADS = (*DENSE, *IMAGES)
