"""Comparisons, logic and selection: recorded as calls, without a gradient, except for where's two values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.primitive import Primitive

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

equal = Primitive("equal", np.equal, None, None)
not_equal = Primitive("not_equal", np.not_equal, None, None)
less = Primitive("less", np.less, None, None)
less_equal = Primitive("less_equal", np.less_equal, None, None)
greater = Primitive("greater", np.greater, None, None)
greater_equal = Primitive("greater_equal", np.greater_equal, None, None)
logical_and = Primitive("logical_and", np.logical_and, None, None)
logical_or = Primitive("logical_or", np.logical_or, None, None)
logical_not = Primitive("logical_not", np.logical_not, None)
isfinite = Primitive("isfinite", np.isfinite, None)
isnan = Primitive("isnan", np.isnan, None)

argmax = Primitive("argmax", lambda x, *, axis=None: np.argmax(x, axis=axis), None)
argmin = Primitive("argmin", lambda x, *, axis=None: np.argmin(x, axis=axis), None)

zeros_like = Primitive("zeros_like", np.zeros_like, None)
_astype = Primitive("astype", lambda x, *, dtype: x.astype(dtype), lambda g, _y, _x, **_: g)
_discretize = Primitive("astype", lambda x, *, dtype: x.astype(dtype), None)


def astype(x: Any, *, dtype: DTypeLike) -> Any:
    """Return a copy of x in another dtype; the gradient is cast back (integers have none)."""
    dtype = np.dtype(dtype)
    return (_astype if dtype.kind == "f" else _discretize)(x, dtype=dtype)


where: Primitive = Primitive(
    "where",
    np.where,
    None,
    lambda g, _y, condition, _a, _b: where(condition, g, 0),
    lambda g, _y, condition, _a, _b: where(condition, 0, g),
    broadcasts=0,
)
