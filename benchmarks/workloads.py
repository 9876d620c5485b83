"""What is trained: three small networks with their weights, their batches and the targets for their times."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Array: TypeAlias = np.ndarray[Any, Any]

BATCHES = 8
"""How many different batches a training loop goes through, again and again."""
INK = 0.19
"""The share of MNIST's pixels that are not zero."""


@dataclass(frozen=True)
class Workload:
    """A network, its loss and its batches, in float32; the same whenever it is asked."""

    name: str
    sizes: tuple[int, ...]
    activation: str  # after every layer: sigmoid; between the layers: relu
    loss: (
        str  # quadratic: ½‖a − y‖², y one-hot; cross-entropy: −ln softmax(z)ₜ, t labels; mean over the batch
    )
    batch: int
    rate: float
    steps: int  # in a timed block
    at_most: float  # target: eager's time as a multiple of hand-written NumPy's
    compiled_at_most: float  # the same for the compiled step
    faster_than: Mapping[str, float] = field(default_factory=dict, hash=False)  # target: peer over eager

    @property
    def title(self) -> str:
        """What the tables call it."""
        sizes = "-".join(map(str, self.sizes))
        return f"{self.name}: {sizes}, {self.activation}, {self.loss} loss, batch {self.batch}"

    def weights(self) -> list[Array]:
        """Return new arrays w₁ (out, in), b₁ (out,), w₂, … drawn from N(0, 1/in)."""
        rng = np.random.default_rng(1)
        arrays = []
        for n, m in zip(self.sizes, self.sizes[1:], strict=False):
            arrays += [rng.normal(0, 1 / math.sqrt(n), (m, n)), rng.normal(0, 1 / math.sqrt(n), m)]
        return [array.astype(np.float32) for array in arrays]

    def batches(self) -> list[tuple[Array, Array]]:
        """Return new arrays x (batch, in) in [0, 1), and y, one-hot rows or labels as the loss wants them."""
        rng = np.random.default_rng(2)
        pairs = []
        for _ in range(BATCHES):
            shape = self.batch, self.sizes[0]
            x = np.where(rng.random(shape) < INK, rng.random(shape), 0).astype(np.float32)
            labels = rng.integers(self.sizes[-1], size=self.batch)
            quadratic = self.loss == "quadratic"
            pairs.append((x, np.eye(self.sizes[-1], dtype=np.float32)[labels] if quadratic else labels))
        return pairs


WORKLOADS = (
    Workload(
        "nielsen",
        (784, 30, 10),
        "sigmoid",
        "quadratic",
        batch=10,
        rate=3.0,
        steps=400,
        at_most=2.0,
        compiled_at_most=0.80,
        faster_than={"pytorch_eager": 2.5, "hips_autograd": 3.5, "mygrad_eager": 3.5},
    ),
    Workload(
        "wide",
        (784, 128, 10),
        "sigmoid",
        "quadratic",
        batch=32,
        rate=1.0,
        steps=80,
        at_most=1.25,
        compiled_at_most=0.75,
    ),
    Workload(
        "deep",
        (784, 512, 512, 10),
        "relu",
        "cross-entropy",
        batch=128,
        rate=0.1,
        steps=8,
        at_most=1.1,
        compiled_at_most=0.85,
    ),
)
