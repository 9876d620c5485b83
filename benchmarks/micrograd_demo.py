"""micrograd's own demo written with tensors: two moons, 2-16-16-1, against micrograd itself.

Source of the recipe: ``demo.ipynb`` of micrograd. 100 points, labels ±1; the hinge loss max(0, 1 − y·score)
averaged over all points, plus 10⁻⁴ Σ p² over all parameters; gradient descent with the rate 1 − 0.9·k/100 in
epoch k, on all points at once.
"""

from __future__ import annotations

from importlib import import_module, metadata, util
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.targets import MICROGRAD
from benchmarks.timing import call_seconds
from microgradnet import nn, optim
from microgradnet.compiler import compile
from microgradnet.datasets import moons
from microgradnet.nn import functional as F

if TYPE_CHECKING:
    from benchmarks.workloads import Array

POINTS, SIZES, ALPHA = 100, (2, 16, 16, 1), 1e-4
EPOCHS = 2
"""Of micrograd, checked and timed: it takes more than a second for each."""
TOLERANCE = 1e-4
"""Of the losses: micrograd computes in float64, the library in float32."""


def data() -> tuple[Array, Array]:
    """Return points x (100, 2) and labels y (100, 1), −1 or 1."""
    drawn = moons(POINTS, noise=0.1, rng=1)
    return drawn.x.astype(np.float32), (2 * drawn.y[:, None] - 1).astype(np.float32)


def weights() -> list[Array]:
    """Return w₁ (out, in), b₁ (out,), …: uniform on [−1, 1), biases 0, as micrograd draws them."""
    rng = np.random.default_rng(1)
    arrays = []
    for n, m in pairwise(SIZES):
        arrays += [rng.uniform(-1, 1, (m, n)).astype(np.float32), np.zeros(m, np.float32)]
    return arrays


class Tensors:
    """The demo in microgradnet."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for n, m in pairwise(SIZES):
            layers += [nn.Linear(n, m), nn.ReLU()]
        self._model = nn.Sequential(*layers[:-1])
        for parameter, array in zip(self._model.parameters(), weights(), strict=True):
            parameter.data = array
        self._optimizer = optim.SGD(self._model.parameters(), lr=1.0)
        self._x, self._y = data()
        self._epochs = 0
        self.step = self._step

    def _step(self, x: Array, y: Array) -> Any:
        loss = F.relu(1 - y * self._model(x)).mean()
        loss = loss + ALPHA * sum((p * p).sum() for p in self._model.parameters())
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss

    def epoch(self) -> float:
        """Go through all points once and return the loss."""
        self._optimizer.param_groups[0]["lr"] = max(1 - 0.9 * self._epochs / 100, 0.1)
        self._epochs += 1
        return self.step(self._x, self._y).item()


class CompiledTensors(Tensors):
    """The same, its step compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.step = compile(self._step)


class Scalars:
    """The demo in micrograd, a scalar at a time."""

    def __init__(self) -> None:
        self._value = import_module("micrograd.engine").Value
        self._model = import_module("micrograd.nn").MLP(SIZES[0], list(SIZES[1:]))
        arrays = weights()
        for layer, w, b in zip(self._model.layers, arrays[::2], arrays[1::2], strict=True):
            for neuron, row, bias in zip(layer.neurons, w.tolist(), b.tolist(), strict=True):
                neuron.b.data = bias
                for parameter, number in zip(neuron.w, row, strict=True):
                    parameter.data = number
        x, y = data()
        self._x, self._y = x.tolist(), y.ravel().tolist()
        self._epochs = 0

    def epoch(self) -> float:
        """Go through all points once and return the loss."""
        scores = [self._model([self._value(number) for number in row]) for row in self._x]
        hinges = [(1 - y * score).relu() for y, score in zip(self._y, scores, strict=True)]
        parameters = self._model.parameters()
        loss = sum(hinges) * (1 / len(hinges)) + ALPHA * sum(p * p for p in parameters)
        self._model.zero_grad()
        loss.backward()
        rate = max(1 - 0.9 * self._epochs / 100, 0.1)
        for p in parameters:
            p.data -= rate * p.grad
        self._epochs += 1
        return float(loss.data)


def missing() -> str:
    """Say what lacks for the comparison; nothing where micrograd is installed."""
    return "" if util.find_spec("micrograd") else "micrograd is not installed (pip install micrograd)"


def check(expected: list[float], found: list[float]) -> None:
    """Raise AssertionError where the losses of an epoch differ."""
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert abs(a - b) <= TOLERANCE * abs(a), f"epoch {i}: the loss is {b}, expected {a}"


def measure(*, quick: bool) -> dict[str, Any]:
    """Check that all have the same losses, then time an epoch of each."""
    makers = {"microgradnet_eager": Tensors, "microgradnet_compiled": CompiledTensors}
    losses = {}
    for name, make in makers.items():
        demo = make()
        losses[name] = [demo.epoch() for _ in range(EPOCHS)]
    seconds = 0.1 if quick else 2.0
    times = {name: call_seconds(make().epoch, seconds) for name, make in makers.items()}
    found: dict[str, Any] = {"seconds": times, "missing": missing()}
    if found["missing"]:
        return found
    scalars = Scalars()
    start = perf_counter()
    expected = [scalars.epoch() for _ in range(EPOCHS)]
    times["micrograd"] = (perf_counter() - start) / EPOCHS
    for each in losses.values():
        check(expected, each)
    ratio = times["microgradnet_compiled"] / times["micrograd"]
    return {
        **found,
        "version": metadata.version("micrograd"),
        "ratio": ratio,
        "at_most": MICROGRAD,
        "reached": ratio <= MICROGRAD,
    }
