"""What kind of mistake a wrong gradient is: a factor, a sign, a transpose, a missing term."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from microgradnet.graph import Array

CLOSE = 1e-5
"""How near a pattern must come, relative to the numbers that it explains."""


def diagnose(
    claimed: Array,
    directions: Sequence[Array],
    truths: Sequence[float],
    counts: Mapping[str, int] | None = None,
    alternatives: Mapping[str, Array] | None = None,
) -> str:
    """Return a sentence about how ``claimed`` differs from the true gradient, empty where nothing fits.

    The truth is known by its products with a few ``directions``; that is enough to recognise a pattern, for a
    wrong factor is the same in all of them. ``counts`` are the sizes that a factor may be (the batch), and
    ``alternatives`` gradients that somebody may have computed by mistake.

    >>> true = np.array([1.0, 2.0, 4.0])
    >>> eye = list(np.eye(3))
    >>> diagnose(-true, eye, true)
    'it is −1 × the true gradient: the sign is wrong'
    >>> diagnose(2 * true, eye, true)
    'it is 2 × the true gradient: a factor 2 too much'
    >>> diagnose(5 * true, eye, true, {"the batch size N": 5})
    'it is 5 × the true gradient, and 5 is the batch size N: a division by it is missing'
    """
    products = _products(claimed, directions)
    true = np.asarray(truths, float)
    if not np.isfinite(products).all():
        return "it is not finite"
    for name, alternative in (alternatives or {}).items():
        if alternative.shape == claimed.shape and _same(claimed, alternative) and np.any(claimed):
            return name
    if np.any(true) and np.max(np.abs(products)) <= CLOSE * np.max(np.abs(true)):
        return "it is zero: the whole term is missing"
    ratio = _ratio(products, true)
    if ratio is not None:
        return _factor(ratio, counts or {})
    if claimed.ndim == 2 and min(claimed.shape) > 1:
        turned = _ratio(_products(claimed.reshape(claimed.shape[::-1]).T, directions), true)
        if turned is not None:
            more = "" if abs(turned - 1) < CLOSE else f", times {_number(turned)}"
            return f"it is the transpose of the true gradient{more}"
    return ""


def _products(gradient: Array, directions: Sequence[Array]) -> Array:
    return np.array([float(np.vdot(gradient, direction)) for direction in directions])


def _same(a: Array, b: Array) -> bool:
    return bool(np.max(np.abs(a - b), initial=0.0) <= CLOSE * np.max(np.abs(b), initial=0.0))


def _ratio(products: Array, true: Array) -> float | None:
    """Return r where products = r·true."""
    square = float(true @ true)
    if not square:
        return None
    ratio = float(products @ true) / square
    fits = np.max(np.abs(products - ratio * true)) <= CLOSE * np.max(np.abs(products))
    return ratio if fits and abs(ratio) > CLOSE else None


def _factor(ratio: float, counts: Mapping[str, int]) -> str:
    """Say what a constant factor may be."""
    size, sign = abs(ratio), " and its sign is wrong" if ratio < 0 else ""
    said = f"it is {_number(ratio)} × the true gradient"
    if sign and abs(size - 1) < CLOSE:
        return f"{said}: the sign is wrong"
    known = {name: n for name, n in counts.items() if n > 1}
    over = [name for name, n in known.items() if abs(size / n - 1) < CLOSE]
    under = [name for name, n in known.items() if abs(size * n - 1) < CLOSE]
    two = "a factor 2 too much" if abs(size / 2 - 1) < CLOSE else ""
    half = "a factor 2 is missing" if abs(size * 2 - 1) < CLOSE else ""
    if over:
        which = f"{said}, and {round(size)} is {' and '.join(over)}: a division by it is missing{sign}"
        return f"{which} (or {two})" if two else which
    if under:
        which = f"{said}, and {round(1 / size)} is {' and '.join(under)}: divided by it once too often{sign}"
        return f"{which} (or {half})" if half else which
    return f"{said}: {two or half or 'a constant factor'}{sign}"


def _number(value: float) -> str:
    """Write a ratio as a whole number or a fraction where it is one."""
    fraction = Fraction(value).limit_denominator(1000)
    sign = "−" if value < 0 else ""
    if abs(float(fraction) / value - 1) < CLOSE / 10:
        top, bottom = abs(fraction.numerator), fraction.denominator
        text = {(1, 2): "½"}.get((top, bottom), f"{top}/{bottom}" if bottom > 1 else str(top))
        if bottom <= 100:
            return sign + text
    return f"{sign}{abs(value):.6g}"
