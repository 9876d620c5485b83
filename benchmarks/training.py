"""Training on MNIST to 97 % and 98 % of the test images, against PyTorch with the same recipe."""

from __future__ import annotations

import sys
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.implementations import COMPILED, FAST, TORCH
from microgradnet import datasets, nn, optim
from microgradnet.compiler import compile

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Array

SIZES, BATCH, RATE, MOMENTUM = (784, 256, 10), 32, 0.02, 0.9
EPOCHS, QUICK_EPOCHS = 12, 1
ACCURACIES = (0.97, 0.98)
MISSING = "set $MICROGRADNET_DATA to the folder that has MNIST's four files, in itself or in mnist/"


class Run(Protocol):
    """A network in training."""

    def epoch(self, rng: np.random.Generator) -> None:
        """Train on all images once, in batches in the order of ``rng.permutation``."""

    def right(self) -> int:
        """Return how many test images are classified rightly."""


def weights() -> list[Array]:
    """Return w₁ (out, in), b₁ (out,), w₂, b₂, uniform within ±1/√in as ``nn.Linear`` draws them."""
    rng = np.random.default_rng(1)
    arrays = []
    for n, m in pairwise(SIZES):
        bound = 1 / np.sqrt(n)
        arrays += [rng.uniform(-bound, bound, (m, n)), rng.uniform(-bound, bound, m)]
    return [array.astype(np.float32) for array in arrays]


class Ours:
    """In microgradnet: its data sets, its batches, its compiled step."""

    def __init__(self, data: datasets.Splits, backend: str) -> None:
        self._data = data
        self._model = nn.Sequential(nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:]))
        for parameter, array in zip(self._model.parameters(), weights(), strict=True):
            parameter.data = array
        self._loss_fn = nn.CrossEntropyLoss()
        self._optimizer = optim.SGD(self._model.parameters(), lr=RATE, momentum=MOMENTUM)
        self._compiled = compile(self._step, backend=backend)
        self._infer = compile(self._model)

    def _step(self, x: Array, y: Array) -> Any:
        loss = self._loss_fn(self._model(x), y)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss

    def epoch(self, rng: np.random.Generator) -> None:
        """Train on all images once."""
        for x, y in self._data.train.batches(BATCH, shuffle=True, rng=rng):
            self._compiled(x, y)

    def right(self) -> int:
        """Count the test images that are classified rightly."""
        test = self._data.test
        return int(np.count_nonzero(self._infer(test.x).data.argmax(1) == test.y))


def torch_run(data: datasets.Splits) -> Run:
    """Return the run in PyTorch, eager: tensors in memory, indexed by the same permutation."""
    import torch

    x, y, test_x, test_y = (
        torch.from_numpy(array.copy()) for array in (data.train.x, data.train.y, data.test.x, data.test.y)
    )
    model = torch.nn.Sequential(torch.nn.Linear(*SIZES[:2]), torch.nn.ReLU(), torch.nn.Linear(*SIZES[1:]))
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), weights(), strict=True):
            parameter.copy_(torch.from_numpy(array))
    loss_fn = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)

    class Theirs:
        def epoch(self, rng: np.random.Generator) -> None:
            order = torch.from_numpy(rng.permutation(len(x)))
            for chosen in order.split(BATCH):
                loss = loss_fn(model(x[chosen]), y[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        def right(self) -> int:
            with torch.no_grad():
                return int((model(test_x).argmax(1) == test_y).sum())

    return Theirs()


def trained(run: Run, epochs: int) -> dict[str, Any]:
    """Train until the last accuracy is reached, at most ``epochs``; the tests in between are not timed."""
    rng = np.random.default_rng(2)
    seconds: list[float] = []
    accuracies: list[float] = []
    reached: dict[str, float | None] = dict.fromkeys([f"{goal:.0%}" for goal in ACCURACIES])
    while len(seconds) < epochs and None in reached.values():
        start = perf_counter()
        run.epoch(rng)
        seconds.append(perf_counter() - start)
        accuracies.append(run.right() / 10_000)
        for goal in ACCURACIES:
            if reached[f"{goal:.0%}"] is None and accuracies[-1] >= goal:
                reached[f"{goal:.0%}"] = sum(seconds)
    return {
        "epochs_per_second": len(seconds) / sum(seconds),
        "seconds_to": reached,
        "accuracies": accuracies,
        "epoch_seconds": seconds,
    }


def measure(*, quick: bool) -> dict[str, Any]:
    """Train with each, one after the other."""
    found: dict[str, Any] = {"missing": "", "runs": {}}
    try:
        data = datasets.load("mnist", download=False)
    except FileNotFoundError:
        found["missing"] = MISSING
        return found
    except datasets.DataFileError as error:
        found["missing"] = str(error)
        return found
    makers: dict[str, Callable[[datasets.Splits], Run]] = {COMPILED.name: partial(Ours, backend="numpy")}
    if FAST.present:
        makers[FAST.name] = partial(Ours, backend="numba")
    if TORCH.present:
        makers[TORCH.name] = torch_run
    for name, make in makers.items():
        print(f"training: {name}", file=sys.stderr)
        found["runs"][name] = trained(make(data), QUICK_EPOCHS if quick else EPOCHS)
    return found
