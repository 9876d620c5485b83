"""BLAS: the matrix product of NumPy's own library, found by its name, for machine code to call."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

NAMES = ("scipy_cblas_{}gemm64_", "cblas_{}gemm64_", "cblas_{}gemm$NEWLAPACK$ILP64", "cblas_{}gemm")
"""What builds of NumPy call C ← α·A·B + β·C: OpenBLAS in its wheels and elsewhere, Apple's, any other one."""
LETTERS = {"float32": "s", "float64": "d"}
BY_ROWS, AS_IT_IS, TURNED = 101, 111, 112
"""The numbers by which the interface in C (CBLAS, BLAS Technical Forum 2001, B.2) knows layouts."""


@cache
def gemm(kind: str) -> int | None:
    """Return the address of the product for a dtype; None where it is not found, or computes something else.

    A second library of BLAS would bring threads of its own, which wait for work on the processors that the
    threads of NumPy's need: so it has to be the one that NumPy itself is linked to.
    """
    try:
        library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        return None
    for name in _names(kind):
        function = getattr(library, name, None)
        if function is not None and _right(function, kind):
            return ctypes.cast(function, ctypes.c_void_p).value
    return None


def _names(kind: str) -> list[str]:
    # Integers are given as 64 bits. Those of 32 may be taken from them, but not where Apple packs arguments.
    names = NAMES[:-1] if sys.platform == "darwin" else NAMES
    return [name.format(LETTERS[kind]) for name in names]


def _right(function: Any, kind: str) -> bool:
    """Whether a product of small integers has the right result."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    number = ctypes.c_float if kind == "float32" else ctypes.c_double
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    function.argtypes = [ctypes.c_int] * 3 + [integer] * 3 + [number, pointer, integer, pointer, integer]
    function.argtypes += [number, pointer, integer]
    function.restype = None
    a, b = np.arange(12, dtype=kind).reshape(3, 4), np.arange(10, dtype=kind).reshape(5, 2)
    c = np.ones((4, 5), kind)
    expected = 2 * a[:2].T @ b.T + 3 * c
    addresses = [array.ctypes.data for array in (a, b, c)]
    function(
        *(BY_ROWS, TURNED, TURNED, 4, 5, 2, 2.0),
        *(addresses[0], 4, addresses[1], 2, 3.0, addresses[2], 5),
    )
    return np.array_equal(c, expected)
