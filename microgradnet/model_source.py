"""The model that a command is asked for, ``784-30-10`` or ``FILE.py:name``, with a loss and a batch."""

from __future__ import annotations

import copy
import re
import runpy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import nn
from microgradnet.graph import no_grad

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 5


@dataclass(frozen=True)
class Source:
    """A model, its loss, and a batch: inputs and targets."""

    model: nn.Module
    loss_fn: Callable[..., Any]
    x: Any
    y: Any


def read(text: str, seed: int = 0) -> Source:
    """Return what ``text`` names.

    ``784-30-10`` is Nielsen's network of those sizes, sigmoid neurons with the quadratic cost, in float64;
    the batch is random, with targets that are not one-hot. ``FILE.py:name`` runs the file and takes the name
    from it: a model, a class or function that makes one, a tuple (model, loss, x, y), or a function that
    returns it. For a model alone loss and batch are made as above. Anything else is a ValueError.

    >>> read("3-2").model
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True),
      (1): Sigmoid()
    )
    >>> read("3")
    Traceback (most recent call last):
    ...
    ValueError: '3' names no model; write sizes such as 784-30-10, or FILE.py:name
    """
    rng = np.random.default_rng(seed)
    if re.fullmatch(r"\d+(-\d+)+", text):
        return _with_batch(_network([int(size) for size in text.split("-")], rng), rng, text)
    path, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(f"{text!r} names no model; write sizes such as 784-30-10, or FILE.py:name")
    return _taken(_from_file(Path(path), name), rng, text)


def _network(sizes: list[int], rng: np.random.Generator) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, dtype=np.float64, rng=rng), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _from_file(path: Path, name: str) -> Any:
    if path.suffix != ".py":
        raise ValueError(f"{path} is no Python file; write FILE.py:name")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        names = runpy.run_path(str(path))
    except SyntaxError as error:
        raise ValueError(f"{path} is no Python program: {error}") from None
    if name not in names:
        models = [known for known, value in names.items() if isinstance(value, nn.Module)]
        hint = f"; its models are {', '.join(models)}" if models else ""
        raise ValueError(f"{path} has no {name}{hint}")
    return names[name]


def _taken(value: Any, rng: np.random.Generator, text: str) -> Source:
    found = value() if callable(value) and not isinstance(value, nn.Module) else value
    if isinstance(found, tuple) and len(found) == 4 and isinstance(found[0], nn.Module):
        return Source(*found)
    if isinstance(found, nn.Module):
        return _with_batch(found, rng, text)
    raise ValueError(
        f"{text} is {type(found).__name__}; it should be a model, (model, loss, x, y), "
        "or a function without arguments that returns one of them"
    )


def _with_batch(model: nn.Module, rng: np.random.Generator, text: str) -> Source:
    """Make a random batch that fits the first layer, and targets that are not one-hot."""
    shapes = [shape for module in model.modules() for shape in _features(module)]
    if not shapes:
        raise ValueError(
            f"{text}: what input the model takes cannot be seen from its layers; "
            "write a function that returns (model, loss, x, y)"
        )
    x = rng.standard_normal((BATCH, *shapes[0]))
    trial = copy.deepcopy(model).astype(np.float64).eval()
    with no_grad():
        output = trial(x)
    return Source(model, nn.QuadraticLoss(), x, rng.random(output.shape))


def _features(module: nn.Module) -> list[tuple[int, ...]]:
    """Return the shape of one example, for layers that say it."""
    if isinstance(module, nn.Linear):
        return [(module.in_features,)]
    if isinstance(module, nn.BatchNorm1d):
        return [(module.num_features,)]
    return [module.normalized_shape] if isinstance(module, nn.LayerNorm) else []
