"""Vector math: exp, log and their like from additions and multiplications, which become vector code.

A call of the C library in a loop keeps a compiler from working on several numbers at a time. These functions
have no branch and no call: they run on arrays, as they stand, and on one number in compiled code. Each is
within 4 units in the last place of the exact value, over the whole range, for NaN, infinities and subnormals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# ---------------------------------------------------- what kernels have words of their own for


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b: both have been computed."""
    return np.where(condition, a, b)


def multiply_add(a: Any, b: Any, c: Any) -> Any:
    """Return a·b + c, in one instruction where the processor has it."""
    return a * b + c


def polynomial(x: Any, coefficients: tuple[Any, ...]) -> Any:
    """Return c₀ + x·(c₁ + x·(c₂ + …))."""
    y = coefficients[-1]
    for c in coefficients[-2::-1]:
        y = multiply_add(y, x, c)
    return y


def times_power(x: Any, shifted: Any) -> Any:
    """Return x·2ⁿ for shifted = n + 1.5·2^(precision − 1), whose last bits are the integer n."""
    n = np.where(np.isnan(shifted), 0, shifted - magic(np.asarray(shifted).dtype)).astype(np.int32)
    return np.ldexp(np.ldexp(x, n >> 1), n - (n >> 1))


def power_of_2(shifted: Any) -> Any:
    """Return 2ⁿ, a normal number, for the same."""
    n = np.where(np.isnan(shifted), 0, shifted - magic(shifted.dtype)).astype(np.int32)
    return np.ldexp(shifted.dtype.type(1), n)


def with_sign(x: Any, y: Any) -> Any:
    """Return |x| with the sign of y."""
    return np.copysign(x, y)


def exponent(x: Any) -> Any:
    """Return the n for which x = 2ⁿ·m with √½ ≤ m < √2, as a float; x is positive, finite and normal."""
    m, n = np.frexp(x)
    return np.where(m < np.sqrt(x.dtype.type(0.5)), n - 1, n).astype(x.dtype)


def fraction(x: Any) -> Any:
    """Return the m for which x = 2ⁿ·m with √½ ≤ m < √2; x is positive, finite and normal."""
    m, _ = np.frexp(x)
    return np.where(m < np.sqrt(x.dtype.type(0.5)), 2 * m, m)


def magic(dtype: Any) -> Any:
    """Return 1.5·2^(precision − 1): a small number added to it is rounded to an integer, in its last bits."""
    return np.dtype(dtype).type(1.5 * 2.0 ** np.finfo(dtype).nmant)


# ---------------------------------------------------------------------- the functions


def functions(dtype: Any) -> dict[str, Callable[[Any], Any]]:  # noqa: PLR0915 - one set of constants for all
    """Return exp, expm1, log, log1p and tanh for a dtype.

    >>> x = np.array([-np.inf, 0, 1], np.float32)
    >>> functions(np.float32)["exp"](x).tolist()
    [0.0, 1.0, 2.7182817459106445]
    """
    kind = np.dtype(dtype)
    number, info = kind.type, np.finfo(kind)
    single = kind == np.float32
    # ln 2 in two parts: a multiple of the first by a small integer is exact.
    high = number(0.693359375 if single else float.fromhex("0x1.62e42fee00000p-1"))
    low = number(-2.12194440054690583e-4 if single else float.fromhex("0x1.a39ef35793c76p-33"))
    inverse, shift = number(1 / math.log(2)), magic(kind)
    highest = number(math.ceil(math.log(2) * info.maxexp) + 1)
    lowest = number(math.floor(math.log(2) * (info.minexp - info.nmant - 1)) - 1)
    # Taylor of (eʳ − 1 − r)/r², |r| ≤ ½ ln 2: what is left out is 1/20 of the last place.
    series = tuple([number(1 / math.factorial(k)) for k in range(2, 8 if single else 14)])
    # (ln((1 + s)/(1 − s)) − 2s)/(2s³)·2 = ⅔ + ⅖s² + …, s² ≤ (√2 − 1)²/(√2 + 1)² = 0.0295
    area = tuple([number(2 / (2 * k + 3)) for k in range(5 if single else 11)])
    zero, half, one, two = number(0), number(0.5), number(1), number(2)
    inf, nan = number(np.inf), number(np.nan)
    smallest, lift, lifted = info.smallest_normal, number(2.0**info.nmant), number(info.nmant)
    saturated, overflow = number(20 if single else 44), number(info.maxexp)

    def exp(x: Any) -> Any:
        """Return eˣ = 2ⁿ·eʳ, with x = n·ln 2 + r."""
        x = select(x > highest, highest, select(x < lowest, lowest, x))
        shifted = x * inverse + shift
        n = shifted - shift
        r = multiply_add(n, -low, multiply_add(n, -high, x))
        return times_power(one + multiply_add(r * r, polynomial(r, series), r), shifted)

    def expm1(x: Any) -> Any:
        """Return eˣ − 1 = 2ⁿ·(eʳ − 1) + (2ⁿ − 1)."""
        inside = select(x > highest, highest, select(x < lowest, lowest, x))
        shifted = inside * inverse + shift
        n = shifted - shift
        r = multiply_add(n, -low, multiply_add(n, -high, inside))
        y = multiply_add(r * r, polynomial(r, series), r)
        power = times_power(half, shifted)  # one less, which does not overflow
        y = select(n == zero, y, two * multiply_add(power, y, power - half))
        return select(n > overflow, inf, y)

    def log(x: Any) -> Any:
        """Return ln x = n·ln 2 + ln(1 + f), with ln(1 + f) = 2 artanh(f/(2 + f)), as in FreeBSD's libm."""
        tiny = x < smallest
        inside = select(tiny, x * lift, x)
        usual = (inside > zero) & (inside < inf)
        inside = select(usual, inside, one)
        n = exponent(inside) - select(tiny, lifted, zero)
        f = fraction(inside) - one
        s = f / (two + f)
        z = s * s
        square = half * f * f
        tail = multiply_add(s, square + z * polynomial(z, area), n * low)
        y = multiply_add(n, high, f - (square - tail))
        return select(usual, y, select(x == zero, -inf, select(x == inf, inf, nan)))

    def log1p(x: Any) -> Any:
        """Return ln(1 + x): of u, which is 1 + x rounded, and with what rounding left out."""
        u = one + x
        y = log(u)
        usual = (u > zero) & (u < inf)
        divisor = select(usual, u, one)
        return select(usual, y + (x - (u - one)) / divisor, y)

    def tanh(x: Any) -> Any:
        """Return tanh x = (e²ˣ − 1)/(e²ˣ + 1), from |x|, with e²ˣ − 1 as above."""
        twice = abs(x + x)
        twice = select(twice > saturated, saturated, twice)
        shifted = twice * inverse + shift
        n = shifted - shift
        r = multiply_add(n, -low, multiply_add(n, -high, twice))
        power = power_of_2(shifted)
        e = multiply_add(power, multiply_add(r * r, polynomial(r, series), r), power - one)
        return with_sign(e / (e + two), x)

    return {"exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "tanh": tanh}
