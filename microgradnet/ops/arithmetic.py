"""Arithmetic with broadcasting: a + b, a − b, a · b, a / b, −x."""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradnet.primitive import Primitive

add = Primitive("add", np.add, lambda g, _y, _a, _b: g, lambda g, _y, _a, _b: g)
sub = Primitive("sub", np.subtract, lambda g, _y, _a, _b: g, lambda g, _y, _a, _b: -g)
mul = Primitive("mul", np.multiply, lambda g, _y, _a, b: g * b, lambda g, _y, a, _b: g * a)
neg = Primitive("neg", np.negative, lambda g, _y, _x: -g)


def _ratio(a: Any, b: Any) -> Any:
    if np.all(b):
        return np.divide(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.divide(a, b)
    return np.where(np.equal(a, 0), 0.0, y)


_quotient_rules = (lambda g, _y, _a, b: ratio(g, b), lambda g, _y, a, b: ratio(ratio(-g * a, b), b))
div = Primitive("div", np.divide, *_quotient_rules)
ratio: Primitive = Primitive("ratio", _ratio, *_quotient_rules, broadcasts=0)
"""a / b where 0/0 is 0: a gradient of zero stays zero where the local derivative is infinite.

Without it the unselected side of a ``where`` would turn into NaN.
"""
