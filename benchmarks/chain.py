"""What backward costs on a chain of n operations, and the exponent with which it grows."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from microgradnet import Tensor

OPERATIONS = 200_000
"""How many are swept for each length in all."""


def backward_seconds(n: int, operations: int = OPERATIONS) -> float:
    """Return the median time of ``backward()`` through n multiplications."""
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(n):
        y = y * 1.0
    times = []
    for _ in range(max(operations // n, 3)):
        start = perf_counter()
        y.backward()
        times.append(perf_counter() - start)
    return median(times)


def measure(longest: int) -> dict[str, Any]:
    """Time chains of 10, 100, … operations; the exponent is the slope of log time over log n from n = 100 on.

    Shorter chains show what a call of ``backward()`` costs by itself.
    """
    lengths = [10**k for k in range(1, len(str(longest)))]
    seconds = [backward_seconds(n) for n in lengths]
    exponent = np.polyfit(np.log(lengths[1:]), np.log(seconds[1:]), 1)[0]
    return {
        "exponent": float(exponent),
        "lengths": [{"n": n, "seconds": s} for n, s in zip(lengths, seconds, strict=True)],
    }
