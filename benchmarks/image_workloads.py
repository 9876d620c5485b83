"""What is trained on images: two convolutional networks with their weights, batches and targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.workloads import BATCHES, INK

if TYPE_CHECKING:
    from benchmarks.workloads import Array

SIDE, KERNEL, POOL, CLASSES = 28, 5, 2, 10


@dataclass(frozen=True)
class ImageWorkload:
    """Convolutions (5×5) with 2×2 max pooling and ReLU, then dense layers with ReLU, softmax cross-entropy.

    In float32, on batches of one-channel images (batch, 1, 28, 28); the same whenever it is asked.
    """

    name: str
    maps: tuple[int, ...]
    hidden: tuple[int, ...]
    batch: int
    steps: int  # in a timed block
    at_most: float  # target: eager's time as a multiple of PyTorch's
    rate: float = 0.1

    @property
    def title(self) -> str:
        """What the tables call it."""
        maps, hidden = "-".join(map(str, self.maps)), "-".join(map(str, self.hidden))
        return f"{self.name}: {maps} maps of 5×5, {hidden} hidden, batch {self.batch}"

    @property
    def flat(self) -> int:
        """How many numbers of an image enter the dense layers."""
        side = SIDE
        for _ in self.maps:
            side = (side - KERNEL + 1) // POOL
        return self.maps[-1] * side * side

    def weights(self) -> list[Array]:
        """Return new arrays w, b of each layer: w (out, in, 5, 5) of convolutions, else (out, in)."""
        rng = np.random.default_rng(1)
        shapes: list[tuple[int, ...]] = [
            (m, n, KERNEL, KERNEL) for n, m in zip((1, *self.maps), self.maps, strict=False)
        ]
        sizes = (self.flat, *self.hidden, CLASSES)
        shapes += [(m, n) for n, m in pairwise(sizes)]
        arrays = []
        for shape in shapes:
            spread = 1 / math.sqrt(math.prod(shape[1:]))
            arrays += [rng.normal(0, spread, shape), rng.normal(0, spread, shape[0])]
        return [array.astype(np.float32) for array in arrays]

    def batches(self) -> list[tuple[Array, Array]]:
        """Return new arrays x (batch, 1, 28, 28) in [0, 1), as sparse as MNIST, and labels (batch,)."""
        rng = np.random.default_rng(2)
        pairs = []
        for _ in range(BATCHES):
            shape = self.batch, 1, SIDE, SIDE
            x = np.where(rng.random(shape) < INK, rng.random(shape), 0).astype(np.float32)
            pairs.append((x, rng.integers(CLASSES, size=self.batch)))
        return pairs


LENET, BOOK = ((6, 16), (120, 84)), ((20, 40), (1000, 1000))
IMAGE_WORKLOADS = (
    ImageWorkload("lenet-10", *LENET, batch=10, steps=60, at_most=0.75),
    ImageWorkload("lenet-64", *LENET, batch=64, steps=12, at_most=1.0),
    ImageWorkload("book-10", *BOOK, batch=10, steps=20, at_most=1.1),
    ImageWorkload("book-64", *BOOK, batch=64, steps=4, at_most=1.2),
)
