"""How a wrong gradient relates to the right one, in words; and numbers, short enough for a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microgradnet.checking.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from microgradnet.graph import Array

FEW = 4
"""Numbers of an array that a line has room for."""
MOST_DIRECTIONS = 64
"""Up to so many entries are compared one by one, more of them along as many random directions."""


def same(given: Array, right: Array) -> bool:
    """Tell whether two gradients are the same but for rounding."""
    if given.shape != right.shape:
        return False
    tolerance = float(np.sqrt(np.finfo(right.dtype).eps)) * float(np.max(np.abs(right), initial=0))
    return bool(np.all(np.abs(given - right) <= tolerance))


def relation(
    given: Array,
    right: Array,
    counts: Mapping[str, int] | None = None,
    alternatives: Mapping[str, Array] | None = None,
) -> str:
    """Say what kind of mistake leads from one to the other, nothing where no pattern fits.

    >>> relation(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    '2 × the true gradient: a factor 2 too much'
    """
    size = right.size
    if size <= MOST_DIRECTIONS:
        directions = np.eye(size)
    else:
        directions = np.random.default_rng(0).standard_normal((MOST_DIRECTIONS, size))
    truths = directions @ right.reshape(-1)
    patterns = diagnose(given, list(directions.reshape(-1, *right.shape)), list(truths), counts, alternatives)
    return patterns.removeprefix("it is ")


def numbers(array: Array) -> str:
    """Write a few numbers, nested as the array is; of more, only the shape.

    >>> numbers(np.array([[1.0, 2.5]])), numbers(np.zeros((3, 4)))
    ('[[1 2.5]]', '3×4 numbers')
    """
    if array.size > FEW:
        return f"{'×'.join([str(n) for n in array.shape])} numbers"
    if array.ndim:
        return f"[{' '.join([numbers(part) for part in array])}]"
    return f"{float(array) + 0.0:.4g}"


def side_by_side(right: Array, given: Array | None) -> tuple[str, str]:
    """Write two gradients: all of a few numbers, else the entry that differs most."""
    if given is None or given.shape != right.shape:
        return numbers(right), "—" if given is None else numbers(given)
    if right.size <= FEW:
        return numbers(right), numbers(given)
    worst = np.unravel_index(int(np.argmax(np.abs(given - right))), right.shape)
    index = ", ".join([str(int(i)) for i in worst])
    return f"[{index}] {right[worst]:.4g}", f"[{index}] {given[worst]:.4g}"
