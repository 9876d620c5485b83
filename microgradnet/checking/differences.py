"""Derivatives by differences that estimate their own error and notice where there is no derivative."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet.graph import Array

EPSILON = float(np.finfo(np.float64).eps)
STEP = 2.0**-13
"""The first step, relative to the size of what is moved: its truncation and its rounding are both small."""
WIDER = 2.0**-9
"""Tried where rounding is all that is seen at the first step."""
NARROWER = (2.0**-17, 2.0**-21)
"""Tried where the function does not look smooth at the first step: the kink may lie beside the point."""
TINY = (2.0**-44, 2.0**-40, 2.0**-36)
"""Moves under which only rounding is seen: noise at the first, the stairs of a loss near 0 at the last."""
COMPLEX_STEP = 1e-30


@dataclass(frozen=True)
class Derivative:
    """A derivative along a line, and what is known of it."""

    value: float
    error: float
    """Estimated: what the two steps disagree by, and rounding."""
    left: float
    right: float
    """One-sided differences; infinite where they grow as the step shrinks, as at a jump."""
    smooth: bool = True
    """Whether the two sides agree; otherwise the function has a kink or a jump here."""
    method: str = "differences"


def derivative(f: Callable[[float], float], magnitude: float, epsilon: float = EPSILON) -> Derivative:
    """Return f′(0) by central differences at two steps, extrapolated (Richardson).

    ``f`` should change by its own size over a distance of about 1. ``magnitude`` is the size of the numbers
    that f adds up, so that its rounding is about ``epsilon`` times that. Where both sides disagree, smaller
    steps decide whether there is a kink at the point or only beside it.

    Source: Richardson, *The Approximate Arithmetical Solution by Finite Differences*, 1911.

    >>> found = derivative(lambda t: (1 + t) ** 3, magnitude=1.0)
    >>> round(found.value, 9), found.error < 1e-7, found.smooth
    (3.0, True, True)
    >>> found = derivative(abs, magnitude=1.0)
    >>> found.left, found.right, found.smooth
    (-1.0, 1.0, False)
    """
    centre = f(0.0)
    first = _at(f, centre, STEP, magnitude, epsilon)
    if first.smooth:
        rounding = epsilon * magnitude / STEP
        if rounding > 1e-8 * abs(first.value) and rounding > 0:
            wide = _at(f, centre, WIDER, magnitude, epsilon)
            return min(first, wide, key=lambda found: (not found.smooth, found.error))
        return first
    found = first
    for step in NARROWER:
        found = _at(f, centre, step, magnitude, epsilon)
        if found.smooth:
            return found
    return found


def _at(f: Callable[[float], float], centre: float, h: float, magnitude: float, epsilon: float) -> Derivative:
    """Return the derivative with steps h and h/2."""
    ahead, behind, near, back = f(h), f(-h), f(h / 2), f(-h / 2)
    if not all(map(math.isfinite, (centre, ahead, behind, near, back))):
        return Derivative(math.nan, math.inf, math.nan, math.nan, smooth=False)
    coarse, fine = (ahead - behind) / (2 * h), (near - back) / h
    left, right = (centre - back) / (h / 2), (near - centre) / (h / 2)
    rounding = 4 * epsilon * max(magnitude, abs(centre)) / h
    # What the sides differ by is h·f″ for a smooth f: extrapolated to h = 0, nothing is left.
    jump = 2 * (right - left) - (ahead - 2 * centre + behind) / h
    size = max(abs(left), abs(right), abs(coarse))
    if abs(left) > 1.5 * abs(centre - behind) / h + 10 * rounding:
        left = math.copysign(math.inf, left)
    if abs(right) > 1.5 * abs(ahead - centre) / h + 10 * rounding:
        right = math.copysign(math.inf, right)
    truncation = abs(fine - coarse) / 3
    smooth = abs(jump) <= 1e-7 * size + 10 * rounding and truncation <= 1e-4 * size + 10 * rounding
    return Derivative((4 * fine - coarse) / 3, truncation + rounding, left, right, smooth=smooth)


def trembling(f: Callable[[float], float], magnitude: float, explained: float = 0.0) -> float:
    """Return the size of numbers whose rounding explains how f trembles under tiny moves.

    A loss that is a small difference of large numbers is noisier than its own size says. At least
    ``magnitude``; what is more than rounding could explain is a jump, unless numbers of the size
    ``explained`` are known to be on the way. Where f does not move at all, they are what is returned.

    >>> trembling(lambda t: 2.0 + t, magnitude=2.0) < 20, trembling(lambda t: (1e3 + t) - 1e3, 1.0) > 100
    (True, True)
    >>> trembling(lambda t: float(t > 0), magnitude=1.0)
    1.0
    """
    steps, largest = np.arange(-4, 5), magnitude
    for move in TINY:
        values = [f(float(step) * move) for step in steps]
        if not np.isfinite(values).all():
            return magnitude
        line = np.polynomial.Polynomial.fit(steps, values, 1)
        found = float(np.max(np.abs(values - line(steps)))) / EPSILON
        if largest < found < max(1e5 * magnitude, 100 * explained):
            largest = found
    return max(largest, explained) if min(values) == max(values) else largest


def by_complex_step(f: Callable[[Any], Any], known: Derivative, magnitude: float) -> Derivative:
    """Return f′(0) = Im f(ih)/h, exact to rounding, where f is analytic; else what is known already.

    Nothing is subtracted, so that h can be tiny. A function that takes no complex numbers, or whose result
    contradicts the differences (``abs`` drops the imaginary part), is not analytic as it is written.

    Source: Squire and Trapp, *Using Complex Variables to Estimate Derivatives of Real Functions*, 1998.

    >>> known = derivative(np.exp, magnitude=1.0)
    >>> by_complex_step(np.exp, known, 1.0).value
    1.0
    """
    if not known.smooth:
        return known
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            moved = f(1j * COMPLEX_STEP)
        except (
            TypeError,
            ValueError,
            ArithmeticError,
            AttributeError,
            KeyError,
            np.exceptions.ComplexWarning,
        ):
            return known
    value = float(np.imag(moved)) / COMPLEX_STEP
    if not math.isfinite(value) or abs(value - known.value) > 3 * known.error + 1e-9 * abs(known.value):
        return known
    return Derivative(
        value, 1e-13 * max(magnitude, abs(value)), known.left, known.right, method="complex step"
    )


def by_entry(measure: Callable[[float], Derivative], entry: float, scale: float) -> Derivative:
    """Return the derivative by one entry, given its value and how far to move it.

    ``measure(s)`` is the derivative of t ↦ f(entry + s·t). Where f is not smooth on that scale, as the
    logarithm of 10⁻⁹, the entry is moved by its own size.

    >>> tiny = 1e-9
    >>> found = by_entry(lambda s: derivative(lambda t: math.log(max(tiny + s * t, 1e-300)), 20.0), tiny, 1.0)
    >>> found.smooth, round(found.value * tiny, 6)
    (True, 1.0)
    """
    found = measure(scale)
    if not found.smooth and 0 < abs(entry) < scale:
        scale = abs(entry)
        found = measure(scale)
    return Derivative(
        found.value / scale,
        found.error / scale,
        found.left / scale,
        found.right / scale,
        found.smooth,
        found.method,
    )


def outside(value: float, weights: Sequence[Array], values: Callable[[float], Sequence[Array]]) -> float:
    """Return by how much ``value`` misses what a derivative of Σ w·y(t) may be where y has kinks at t = 0.

    Each element of y may take any slope between those of its two sides. Beside a jump everything is allowed.

    >>> kinked = lambda t: [np.array([max(t, 0.0), max(t, 0.0)])]
    >>> outside(-3.0, [np.array([2.0, -3.0])], kinked), outside(5.0, [np.array([2.0, 0.0])], kinked)
    (0.0, 3.0)
    """
    h = NARROWER[-1]
    behind, here, ahead = values(-h), values(0.0), values(h)
    low = high = noise = 0.0
    for w, b, y, a in zip(weights, behind, here, ahead, strict=True):
        left, right = w * (y - b) / h, w * (a - y) / h
        low += float(np.sum(np.minimum(left, right)))
        high += float(np.sum(np.maximum(left, right)))
        noise += 4 * EPSILON * float(np.sum(np.abs(w * y))) / h
    off = max(low - value, value - high)
    return off if off > 1e-5 * max(abs(low), abs(high)) + noise else 0.0


def sampled(size: int, count: int, rng: np.random.Generator, telling: Array | None = None) -> Array:
    """Return which of ``size`` entries to look at: all of a few, else some of the largest and random others.

    >>> sampled(3, 8, np.random.default_rng(0)).tolist()
    [0, 1, 2]
    >>> sampled(1000, 4, np.random.default_rng(0)).size
    4
    """
    if size <= count:
        return np.arange(size)
    largest: Sequence[int] = []
    if telling is not None:
        flat = np.abs(np.nan_to_num(telling.reshape(-1)))
        largest = np.argpartition(-flat, count // 4)[: count // 4].tolist()
    rest = rng.choice(size, count, replace=False).tolist()
    return np.sort(list(dict.fromkeys([*largest, *rest]))[:count])


def spread(x: Array, least: float = 0.01) -> Array:
    """Return how far to move each entry of x: by its own size, at least ``least`` of the largest.

    >>> spread(np.array([4.0, 0.0])).tolist(), spread(np.zeros(2)).tolist()
    ([4.0, 0.04], [1.0, 1.0])
    """
    size = np.abs(x)
    largest = float(np.max(size, initial=0.0))
    return np.maximum(size, least * largest) if largest else np.ones(x.shape)
