"""Random draws as primitives without a gradient, and the default generator."""

from __future__ import annotations

import math
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


MANY = 1 << 12
"""Draws from which 16 bits for each are quicker than a float for each."""
_RAW_64 = {"PCG64", "PCG64DXSM", "Philox", "SFC64"}
"""Bit generators whose raw numbers are 64 random bits; of others, such as MT19937, that is not known."""


def _bits_16(count: int, rng: np.random.Generator) -> Any:
    """Draw numbers of 16 random bits, a third of the cost of as many floats."""
    source = rng.bit_generator
    if type(source).__name__ in _RAW_64:
        raw: Any = source.random_raw(-(-count // 4))
        return raw.astype("<u8", copy=False).view("<u2")[:count]
    return rng.integers(0, 1 << 16, count, np.uint16)


def _bernoulli(*, p: float, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    """Compare floats with p, or 16 bits with p·2¹⁶: where they equal its whole part, its fraction decides."""
    count = math.prod(np.atleast_1d(shape).tolist())
    if count < MANY:
        return (rng.random(shape, np.float32) < p).astype(dtype)
    bits, (whole, fraction) = _bits_16(count, rng), divmod(p * (1 << 16), 1)
    drawn = bits < int(whole)
    if fraction:
        undecided = np.flatnonzero(bits == int(whole))
        drawn[undecided] = rng.random(len(undecided)) < fraction
    return drawn.reshape(shape).astype(dtype)


uniform = Primitive("uniform", _uniform)
"""Uniform on [0, 1), float32 or float64."""
normal = Primitive("normal", _normal)
"""Standard normal, float32 or float64."""
bernoulli = Primitive("bernoulli", _bernoulli)
"""1 with probability p, else 0."""
