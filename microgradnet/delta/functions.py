"""σ, softmax and what goes with them, written for this room alone and finite for inputs of any size.

They take real numbers, and complex ones with a tiny imaginary part: the imaginary part of f(x + ih)/h is the
derivative of f to the last digit, which checks every formula here without a subtraction (the complex step:
Squire and Trapp, "Using complex variables to estimate derivatives of real functions", 1998). So comparisons
look at the real part.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


def sigmoid(z: Array) -> Array:
    """σ(z) = 1 / (1 + e⁻ᶻ) of every element; below 0 as eᶻ / (1 + eᶻ), so that no power overflows.

    >>> sigmoid(np.array([0.0, 1e4, -1e4])).tolist()
    [0.5, 1.0, 0.0]
    """
    power = np.exp(np.where(z.real >= 0, -z, z))
    return np.where(z.real >= 0, 1, power) / (1 + power)


def softplus(z: Array) -> Array:
    """ln(1 + eᶻ) of every element: the cost of the answer σ(z) where 0 was wanted.

    >>> softplus(np.array([1e4, -1e4])).tolist()
    [10000.0, 0.0]
    """
    return np.where(z.real >= 0, z, 0) + np.log1p(np.exp(np.where(z.real >= 0, -z, z)))


def softmax(z: Array) -> Array:
    """e^zⱼ / Σₖ e^zₖ over the last axis; 0 for a row that is all −inf.

    >>> softmax(np.array([[1e4, 0.0, 1e4]])).tolist()
    [[0.5, 0.0, 0.5]]
    """
    powers = np.exp(z - _largest(z))
    total = powers.sum(-1, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def log_softmax(z: Array) -> Array:
    """zⱼ − ln Σₖ e^zₖ over the last axis; −inf for a row that is all −inf.

    >>> log_softmax(np.array([[1e4, 0.0]])).tolist()
    [[0.0, -10000.0]]
    """
    shifted = z - _largest(z)
    total = np.exp(shifted).sum(-1, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def log(p: Array) -> Array:
    """The natural logarithm, at least −100, so that a probability of 0 has a finite cost.

    >>> log(np.array([1.0, 0.0])).tolist()
    [0.0, -100.0]
    """
    with np.errstate(divide="ignore"):  # ln 0 is −inf, and −100 here
        return np.maximum(np.log(p), -100)


def one_hot(labels: Array, classes: int) -> Array:
    """Rows of 0 with a 1 at each label: (N,) → (N, classes).

    >>> one_hot(np.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return np.eye(classes)[labels]


def floats(values: Any) -> Array:
    """Give values as an array: lists become one, integers become float64, floats keep their precision.

    >>> floats([1, 2]).dtype.name, floats(np.ones(2, np.float32)).dtype.name
    ('float64', 'float32')
    """
    array = np.asarray(values)
    return array if array.dtype.kind in "fc" else array.astype(np.float64)


def _largest(z: Array) -> Array:
    """The largest element of each row, by which softmax may be shifted; 0 for a row that is all −inf."""
    top = z.real.max(-1, keepdims=True)
    return np.where(np.isfinite(top), top, 0)
