"""Random draws as primitives without a gradient, and the default generator."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from microgradnet.primitive import Primitive


class _Default(threading.local):
    """One generator per thread."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng()


_default = _Default()


def manual_seed(seed: int) -> None:
    """Restart this thread's default generator, which every layer and draw without ``rng=`` uses.

    >>> import microgradnet as mg
    >>> mg.manual_seed(1)
    >>> first = mg.nn.Linear(2, 2).weight.data
    >>> mg.manual_seed(1)
    >>> bool((mg.nn.Linear(2, 2).weight.data == first).all())
    True
    """
    _default.generator = np.random.default_rng(seed)


def generator(rng: np.random.Generator | None = None) -> np.random.Generator:
    """Return ``rng``, or this thread's default generator where none is given."""
    return _default.generator if rng is None else rng


def _uniform(*, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    return rng.random(shape, dtype)


def _normal(*, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    return rng.standard_normal(shape, dtype)


def _bernoulli(*, p: float, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    return (rng.random(shape, np.float32) < p).astype(dtype)


uniform = Primitive("uniform", _uniform)
"""Uniform on [0, 1), float32 or float64."""
normal = Primitive("normal", _normal)
"""Standard normal, float32 or float64."""
bernoulli = Primitive("bernoulli", _bernoulli)
"""1 with probability p, else 0."""
