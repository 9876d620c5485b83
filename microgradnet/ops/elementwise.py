"""Functions of one number applied to every element, and the two-argument maximum, minimum, clip and power."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microgradnet.ops.arithmetic import ratio
from microgradnet.ops.compare import equal, greater, logical_and, where, zeros_like
from microgradnet.primitive import Primitive

exp = Primitive("exp", np.exp, lambda g, y, _x: g * y)
expm1 = Primitive("expm1", np.expm1, lambda g, y, _x: g * (y + 1))
log = Primitive("log", np.log, lambda g, _y, x: ratio(g, x))
log1p = Primitive("log1p", np.log1p, lambda g, _y, x: ratio(g, 1 + x))
sqrt = Primitive("sqrt", np.sqrt, lambda g, y, _x: ratio(g, 2 * y))
sin = Primitive("sin", np.sin, lambda g, _y, x: g * cos(x))
cos: Primitive = Primitive("cos", np.cos, lambda g, _y, x: -g * sin(x))
tanh = Primitive("tanh", np.tanh, lambda g, y, _x: g * (1 - y * y))
absolute = Primitive("abs", np.abs, lambda g, _y, x: g * sign(x))
sign: Primitive = Primitive("sign", np.sign, lambda g, _y, _x: zeros_like(g))


# Per floating dtype, as arrays, which NumPy's functions take faster than numbers:
_FLOATS = [np.dtype(kind) for kind in ("f2", "f4", "f8")]
_SIGMOID_CONSTANTS = {  # 1, and the last number whose exp does not overflow
    kind: (np.ones((), kind), np.asarray(np.nextafter(np.log(np.finfo(kind).max), kind.type(0)), kind))
    for kind in _FLOATS
}


def floating(x: Any) -> Any:
    """Return x as an array of floats: float64 where it is none."""
    return x if isinstance(x, np.ndarray) and x.dtype.kind == "f" else np.asarray(x, float)


def _sigmoid(x: Any) -> Any:
    if getattr(x, "dtype", None) not in _SIGMOID_CONSTANTS:
        x = floating(x)
    y = np.negative(x) if x.ndim else np.negative(x, np.empty_like(x))  # of a number NumPy makes no array
    one, largest = _SIGMOID_CONSTANTS[y.dtype]
    np.minimum(y, largest, out=y)  # exp must not overflow; σ is below 1e-37 there
    np.exp(y, y)
    np.add(y, one, y)
    return np.reciprocal(y, y)


def _softplus(x: Any) -> Any:
    x = floating(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


sigmoid = Primitive("sigmoid", _sigmoid, lambda g, y, _x: g * (y * (1 - y)))
softplus = Primitive("softplus", _softplus, lambda g, _y, x: g * sigmoid(x))
relu = Primitive("relu", lambda x: np.maximum(x, 0), lambda g, y, _x: g * greater(y, 0))
leaky_relu = Primitive(
    "leaky_relu",
    lambda x, *, slope: np.where(np.greater(x, 0), x, slope * x),
    lambda g, _y, x, *, slope: where(greater(x, 0), g, slope * g),
)
elu = Primitive(
    "elu",
    lambda x, *, alpha: np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0))),
    lambda g, y, x, *, alpha: g * where(greater(x, 0), 1, y + alpha),
)


def _erf_forward(x: Any) -> Any:
    x = floating(x)
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), x.dtype)


erf = Primitive(
    "erf",
    _erf_forward,
    lambda g, _y, x: g * (2 / math.sqrt(math.pi) * exp(-x * x)),
)


def gelu(x: Any, *, approximate: str = "none") -> Any:
    """x·Φ(x), Φ the normal distribution function; ``approximate="tanh"`` is the faster formula.

    Source: Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016.
    """
    if approximate == "tanh":
        return x * (0.5 * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))))
    if approximate != "none":
        message = f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}"
        raise ValueError(message)
    return x * (0.5 * (1 + erf(x * math.sqrt(0.5))))


# At a tie both arguments get half.
maximum = Primitive(
    "maximum",
    np.maximum,
    lambda g, _y, a, b: where(greater(a, b), g, where(equal(a, b), g * 0.5, 0)),
    lambda g, _y, a, b: where(greater(b, a), g, where(equal(a, b), g * 0.5, 0)),
)
minimum = Primitive(
    "minimum",
    np.minimum,
    lambda g, _y, a, b: where(greater(b, a), g, where(equal(a, b), g * 0.5, 0)),
    lambda g, _y, a, b: where(greater(a, b), g, where(equal(a, b), g * 0.5, 0)),
)

_clip = Primitive(
    "clip",
    np.clip,
    # Inside, bounds included, the gradient is x's; outside that of the bound that was hit (low > high: high).
    lambda g, _y, x, low, high: where(greater(low, x), 0, where(greater(x, high), 0, g)),
    lambda g, _y, x, low, high: where(greater(low, x), where(greater(low, high), 0, g), 0),
    lambda g, _y, x, low, high: where(greater(maximum(x, low), high), g, 0),
    broadcasts=0,
)


def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """min(max(x, a_min), a_max); ``None`` leaves that side open. The derivative on a bound is 1."""
    if x.dtype.kind == "f":
        least, most = -math.inf, math.inf
    else:
        least, most = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
    return _clip(x, least if a_min is None else a_min, most if a_max is None else a_max)


def _pow_rule(g: Any, _y: Any, x: Any, *, n: float) -> Any:
    if n == 0:
        return zeros_like(g)
    if n == 1:
        return g
    if n == 2:
        return g * (2 * x)
    if n < 1:
        return ratio(n * g, _pow_number(x, n=1 - n))  # infinite at 0, but 0 where g is
    return g * (n * _pow_number(x, n=n - 1))


_pow_number = Primitive("pow", lambda x, *, n: x**n, _pow_rule)


def _base_rule(g: Any, _y: Any, a: Any, b: Any) -> Any:
    """g·b·a**(b−1), a negative exponent as a denominator: infinite only where g is not 0; 0 at a = b = 0."""
    g = where(logical_and(equal(a, 0), equal(b, 0)), 0, g)
    return ratio(g, _pow_array(a, maximum(1 - b, 0))) * (b * _pow_array(a, maximum(b - 1, 0)))


_pow_array: Primitive = Primitive(
    "pow",
    np.power,
    _base_rule,
    lambda g, y, a, _b: g * where(equal(a, 0), 0, y * log(where(equal(a, 0), 1, a))),
)


def power(a: Any, b: Any) -> Any:
    """a**b; ∂/∂a = b·a**(b−1), 0 where b = 0; ∂/∂b = a**b·ln a, 0 where a = 0.

    A Python number b is static, which makes x**2 differentiable to every order at 0.
    """
    if isinstance(b, (int, float)) and not isinstance(b, (bool, np.generic)):
        return _pow_number(a, n=b)
    return _pow_array(a, b)
