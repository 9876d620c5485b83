"""exp and its like: within 4 units in the last place over the whole range, on arrays and as machine code."""

import numpy as np
import pytest

from microgradnet.compiler import machine_code, vector_math
from microgradnet.compiler.machine_code import NAME

DTYPES = [np.float32, np.float64]
FUNCTIONS = sorted(vector_math.functions(np.float32))


def inputs(name, dtype, count=20_000):
    """Return numbers of all sizes, and those at which something happens."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    edge = np.log(np.longdouble(info.max))
    low = np.log(np.longdouble(info.smallest_subnormal))
    wide = 10.0 ** rng.uniform(np.log10(info.smallest_normal) - 5, np.log10(info.max), count)
    parts = [rng.normal(size=count), rng.uniform(float(low) - 2, float(edge) + 2, count), wide]
    parts += [1 + rng.normal(size=count) * 1e-3, wide * 1e-30, rng.uniform(-1, 2, count)]
    special = [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, info.max, info.smallest_normal]
    special += [info.smallest_subnormal, -info.smallest_subnormal]
    near = np.array([edge, low, np.log(np.longdouble(info.smallest_normal))], dtype)
    steps = [np.nextafter(near, dtype(way)) for way in (-np.inf, np.inf)]
    with np.errstate(over="ignore", under="ignore"):
        found = np.concatenate([np.array(part, dtype) for part in [*parts, special, near, *steps]])
    return np.concatenate([found, -found]) if name not in {"log", "log1p"} else found


def units_off(y, x, name):
    """Return by how many units in the last place each number is off, and whether the others are right."""
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.longdouble))
        rounded = exact.astype(x.dtype)
        finite = np.isfinite(rounded)
        off = np.abs(y.astype(np.longdouble) - exact) / np.spacing(np.abs(rounded)).astype(np.longdouble)
    return off[finite], bool(np.array_equal(y[~finite], rounded[~finite], equal_nan=True))


@pytest.fixture(scope="module")
def machine(needs_numba, kernel_cache):
    """Return the functions as machine code, which takes arrays."""
    texts = []
    for dtype in DTYPES:
        for name in FUNCTIONS:
            kind = np.dtype(dtype).name
            lines = [
                "@kernel(types.void(types.int64))",
                f"def {NAME}(table):",
                f"    x, y = pointer_{kind}(address(table, 0)), pointer_{kind}(address(table, 1))",
                "    for j in range(address(table, 2)):",
                f"        store(y, j, {name}_{kind}(load(x, j, 0, 2, 0)), 1, 2, 0)",
            ]
            texts.append("\n".join(lines))
    entries = machine_code.compiled(tuple(texts))
    keys = [(np.dtype(dtype).name, name) for dtype in DTYPES for name in FUNCTIONS]
    return dict(zip(keys, entries, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_arrays(name, dtype):
    x = inputs(name, dtype)
    with np.errstate(all="ignore"):
        y = vector_math.functions(dtype)[name](x)
    off, others = units_off(y, x, name)
    assert y.dtype == dtype
    assert off.max() < 4
    assert others


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_machine_code(machine, name, dtype):
    x = inputs(name, dtype)
    y = np.empty_like(x)
    table = np.array([x.ctypes.data, y.ctypes.data, x.size])
    machine[np.dtype(dtype).name, name](int(table.ctypes.data))
    off, others = units_off(y, x, name)
    assert off.max() < 4
    assert others


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_keeps_the_sign_of_zero(dtype):
    y = vector_math.functions(dtype)["tanh"](np.array([0.0, -0.0], dtype))
    assert np.signbit(y).tolist() == [False, True]
