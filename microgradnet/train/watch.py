"""Watching a training: gradient and update norms of every layer, and units that stand still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import Scope, ancestors, current_scope, enclosing_modules
from microgradnet.train.batches import plain
from microgradnet.train.loop import in_mode

if TYPE_CHECKING:
    from microgradnet.graph import Array, Node
    from microgradnet.nn import Module
    from microgradnet.tensor import Tensor
    from microgradnet.train.records import Batch, History

SATURATED_SHARE = 0.95
"""A unit is saturated where it is so for at least this share of the examples."""
# |f′(x)| below which an activation passes hardly anything on: about 4 % of its greatest slope.
FLAT = {"sigmoid": 0.01, "tanh": 0.04}


@dataclass(frozen=True)
class Norms:
    """What one step did to the parameters of one layer: Euclidean norms over all of them together."""

    gradient: float
    """‖∂L/∂w‖."""
    update: float
    """‖Δw‖: how far the step went."""
    weight: float
    """‖w‖ before the step."""
    size: int
    """How many numbers the layer has; ‖·‖/√size is comparable between layers."""


@dataclass(frozen=True)
class Sample:
    """The norms at one step; ``time`` is in epochs."""

    step: int
    time: float
    layers: dict[str, Norms]


@dataclass(frozen=True)
class Units:
    """The hidden units of one activation, and how many of them stood still on the probe."""

    layer: str
    function: str
    count: int
    stuck: int
    """ReLU units that gave 0 for every example; σ and tanh units in their flat ends for 95 % of them."""
    examples: int


class Watch:
    """Collect norms at some steps of every epoch, and look at the hidden units after each.

    Give it to ``fit`` as ``on_batch``; call ``after_epoch`` from ``on_epoch``, if units are of interest.
    A layer is a module that holds parameters; norms are of all its parameters together. ``probe`` is a batch
    of inputs, such as a few hundred examples of the validation data.

    The cost: ``samples`` copies of the parameters and norms per epoch, and one forward pass of the probe.

    >>> from microgradnet import datasets, nn, optim, train
    >>> splits = datasets.load("moons", rng=0)
    >>> rng = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Linear(2, 8, rng=rng), nn.ReLU(), nn.Linear(8, 2, rng=rng))
    >>> sgd = optim.SGD(model.parameters(), lr=0.1)
    >>> watch = Watch(model, splits.validation.x)
    >>> history = train.fit(
    ...     model,
    ...     nn.CrossEntropyLoss(),
    ...     sgd,
    ...     splits.train,
    ...     epochs=2,
    ...     rng=rng,
    ...     on_batch=watch,
    ...     on_epoch=watch.after_epoch,
    ... )
    >>> len(watch.samples), list(watch.samples[0].layers), watch.units[-1][0].count
    (20, ['0', '2'], 8)
    """

    def __init__(self, model: Module, probe: Any = None, *, samples: int = 10) -> None:
        if samples < 1:
            raise ValueError(f"Watch: samples must be at least 1 per epoch, not {samples}")
        self.model = model
        self.probe = None if probe is None else plain(probe)
        self.per_epoch = samples
        self.samples: list[Sample] = []
        self.units: list[list[Units]] = []
        """Of every epoch, the activations in the order of the model."""
        self._layers: dict[str, list[Tensor]] = {}
        for path, parameter in model.named_parameters():
            self._layers.setdefault(path.rpartition(".")[0], []).append(parameter)
        self._before: dict[str, list[Array]] | None = self._copies()  # the first step is sampled
        self._share = 0

    def __call__(self, batch: Batch) -> None:
        """Take a sample, if it is time: what ``on_batch`` calls."""
        if self._before is not None:
            time = batch.epoch - 1 + batch.done / batch.examples
            layers = {path: _norms(self._layers[path], before) for path, before in self._before.items()}
            self.samples.append(Sample(batch.step, time, layers))
            self._before = None
        share = int(self.per_epoch * (batch.epoch - 1 + batch.done / batch.examples))
        if share > self._share:  # another part of the epoch begins with the next step
            self._share = share
            self._before = self._copies()

    def after_epoch(self, history: History) -> None:
        """Look at the units: what ``on_epoch`` calls."""
        if self.probe is not None:
            self.units.append(stuck_units(self.model, self.probe))

    def _copies(self) -> dict[str, list[Array]]:
        return {path: [p.data.copy() for p in parameters] for path, parameters in self._layers.items()}


def _norms(parameters: list[Tensor], before: list[Array]) -> Norms:
    gradients = [p.grad for p in parameters if p.grad is not None]
    updates = [p.data - old for p, old in zip(parameters, before, strict=True)]
    return Norms(_norm(gradients), _norm(updates), _norm(before), sum(p.size for p in parameters))


def _norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(float(np.vdot(a, a)) for a in arrays)))


def stuck_units(model: Module, inputs: Any) -> list[Units]:
    """Count, for every ReLU, σ and tanh inside a model, the units that pass no gradient on.

    A ReLU unit is dead where it gives 0 for every example; a σ or tanh unit is saturated where its slope is
    below 4 % of the greatest one for at least 95 % of them. Units are the entries of axis 1, over all else.
    The model is called in evaluation mode. What it returns itself is left out: outputs may be certain.

    >>> from microgradnet import nn
    >>> model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> model.load_state_dict(
    ...     {
    ...         "0.weight": [[1.0], [1.0], [-1.0]],
    ...         "0.bias": [0.0, -5.0, 0.0],
    ...         "2.weight": [[1.0, 1.0, 1.0]],
    ...         "2.bias": [0.0],
    ...     }
    ... )
    >>> stuck_units(model, np.array([[1.0], [2.0], [-1.0]]))
    [Units(layer='1', function='relu', count=3, stuck=1, examples=3)]
    """
    token = current_scope.set(Scope(enabled=True))
    try:
        with in_mode(model, training=False):
            output = model(plain(inputs))
    finally:
        current_scope.reset(token)
    if output._node is None:
        return []
    paths = {id(module): path for path, module in model.named_modules()}
    nodes = ancestors([output._node])
    return [
        _units(node, paths)
        for _, node in sorted(nodes.items())
        if node.primitive is not None
        and node.primitive.name in {"relu", *FLAT}
        and node is not output._node
        and node.ndim > 1
    ]


def _units(node: Node, paths: dict[int, str]) -> Units:
    function = node.primitive.name if node.primitive else ""
    y = np.moveaxis(node.y, 1, 0).reshape(node.shape[1], -1)
    if function == "relu":
        stuck = (y == 0).all(1)
    else:
        slope = y * (1 - y) if function == "sigmoid" else 1 - y * y
        stuck = (slope < FLAT[function]).mean(1) >= SATURATED_SHARE
    module = next(enclosing_modules(node.scope))
    return Units(paths[id(module)], function, len(y), int(np.count_nonzero(stuck)), len(node.y))
