"""Every row of the table of operations, against NumPy and finite differences, to second order."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import microgradnet as mg
from microgradnet import ops
from microgradnet.ops import table
from microgradnet.ops.table import OPERATIONS, Case, Operation

STEP = 1e-5
DIFFERENTIABLE = [row for row in OPERATIONS if row.differentiable]
NOT_OPERATIONS = {"generator", "manual_seed"}  # the generator behind the draws

normal_cdf = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[float])


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * normal_cdf(x)


def softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def norm(x, ord=2, axis=None, keepdims=False):
    powers = {
        1: lambda: np.abs(x).sum(axis, keepdims=keepdims),
        math.inf: lambda: np.abs(x).max(axis, keepdims=keepdims),
    }
    return powers.get(ord, lambda: (np.abs(x) ** 2).sum(axis, keepdims=keepdims) ** 0.5)()


def linear(x, w, b=0.0):
    return np.einsum("...i,oi->...o", x, w) + b


def sum_to(x, shape):
    padded = (1,) * (x.ndim - len(shape)) + shape
    return x.sum(tuple(i for i, n in enumerate(padded) if n == 1), keepdims=True).reshape(shape)


def both(value):
    return (value, value) if isinstance(value, int) else value


def window_pixels(x, kernel, stride, padding, dilation, fill):
    """Return the pixels of each window as (N, C, OH, OW, KH, KW), read one by one."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = map(both, (kernel, stride, padding, dilation))
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
    rows = [[i + k * dh for k in range(kh)] for i in range(0, x.shape[2] - dh * (kh - 1), sh)]
    columns = [[j + k * dw for k in range(kw)] for j in range(0, x.shape[3] - dw * (kw - 1), sw)]
    return x[:, :, np.array(rows)[:, None, :, None], np.array(columns)[None, :, None, :]]


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    if padding == "same":  # of stride 1; an odd pixel is added at the end
        after = [d * (k - 1) for d, k in zip(both(dilation), w.shape[2:], strict=True)]
        x = np.pad(x, ((0, 0), (0, 0), *[(n // 2, n - n // 2) for n in after]))
    pixels = window_pixels(x, w.shape[2:], stride, 0 if isinstance(padding, str) else padding, dilation, 0)
    parts = zip(np.split(pixels, groups, 1), np.split(w, groups), strict=True)
    y = np.concatenate([np.einsum("ncijkl,ockl->noij", *part) for part in parts], 1)
    return y if b is None else y + b.reshape(-1, 1, 1)


def conv1d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    steps = {"stride": (1, stride), "padding": (0, padding), "dilation": (1, dilation)}
    return conv2d(x[:, :, None], w[:, :, None], b, **steps, groups=groups)[:, :, 0]


def conv_transpose2d(x, w, b=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Spread pixel by pixel on a large canvas, and cut it."""
    pairs = map(both, (stride, padding, output_padding, dilation))
    (sh, sw), (ph, pw), (oh, ow), (dh, dw) = pairs
    _, per, kh, kw = w.shape
    height, width = (x.shape[2] - 1) * sh + dh * (kh - 1) + 1, (x.shape[3] - 1) * sw + dw * (kw - 1) + 1
    y = np.zeros((x.shape[0], per * groups, height + oh, width + ow))
    for c, i, j, k, m in np.ndindex(x.shape[1], *x.shape[2:], kh, kw):
        first = c // (x.shape[1] // groups) * per
        at = y[:, first : first + per, i * sh + k * dh, j * sw + m * dw]
        at += x[:, c, i, j, None] * w[c, :, k, m]
    y = y[:, :, ph : height + oh - ph, pw : width + ow - pw]
    return y if b is None else y + b.reshape(-1, 1, 1)


def max_pool2d(x, *, kernel_size, stride=None, padding=0, dilation=1):
    pixels = window_pixels(x, kernel_size, stride or kernel_size, padding, dilation, -np.inf)
    return pixels.max(axis=(-1, -2))


def avg_pool2d(x, *, kernel_size, stride=None, padding=0, count_include_pad=True):
    pixels = window_pixels(
        x, kernel_size, stride or kernel_size, padding, 1, 0 if count_include_pad else np.nan
    )
    return np.nanmean(pixels, axis=(-1, -2))


def adaptive_avg_pool2d(x, *, output_size):
    rows, columns = (n if m is None else m for n, m in zip(x.shape[2:], both(output_size), strict=True))
    y = np.zeros((*x.shape[:2], rows, columns))
    for i, j in np.ndindex(rows, columns):
        (a, b), (c, d) = (
            (math.floor(k * n / m), math.ceil((k + 1) * n / m))
            for k, n, m in ((i, x.shape[2], rows), (j, x.shape[3], columns))
        )
        y[:, :, i, j] = x[:, :, a:b, c:d].mean(axis=(2, 3))
    return y


SAME_NAME = """absolute add argmax argmin broadcast_to cos cumsum dot equal exp expand_dims expm1 flip greater
    greater_equal isfinite isnan less less_equal log log1p logical_and logical_not logical_or matmul max
    maximum mean min minimum not_equal outer pad prod repeat reshape sign sin sqrt squeeze std sum swapaxes
    tanh transpose var where zeros_like"""
# The same in NumPy, by other formulas where the operation is more than a NumPy function.
REFERENCES = {
    **{name: getattr(np, name) for name in SAME_NAME.split()},
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "ratio": np.divide,
    "neg": np.negative,
    "power (number)": lambda x, *, n: np.power(x, n),
    "power (tensor)": lambda a, b: np.exp(b * np.log(a)),
    "sigmoid": lambda x: 0.5 * (1 + np.tanh(x / 2)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "erf": lambda x: 2 * normal_cdf(x * math.sqrt(2)) - 1,
    "gelu": gelu,
    "relu": lambda x: (x + np.abs(x)) / 2,
    "leaky_relu": lambda x, *, slope: np.maximum(x, slope * x),
    "elu": lambda x, *, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1)),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "norm": norm,
    "logsumexp": lambda x, axis=None, keepdims=False: np.log(np.exp(x).sum(axis, keepdims=keepdims)),
    "softmax": softmax,
    "log_softmax": lambda x, axis=-1: np.log(softmax(x, axis)),
    "concatenate": lambda *xs, axis=0: np.concatenate(xs, axis),
    "stack": lambda *xs, axis=0: np.stack(xs, axis),
    "split": lambda x, *, sections, axis=0: np.split(x, sections, axis)[1],
    "index": lambda x, *, key: x[key],
    "take_rows": lambda x, columns: np.take_along_axis(x, columns[:, None], 1)[:, 0],
    "linear": linear,
    "einsum": lambda *xs, subscripts: np.einsum(subscripts, *xs),
    "astype": lambda x, *, dtype: x.astype(dtype),
    "sum_to": sum_to,
    "conv1d": conv1d,
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
}
DRAWS = {"uniform", "normal", "bernoulli"}  # tested in test_ops_random.py


def identify(value):
    if isinstance(value, Operation):
        return value.title
    return f"{value.shapes}{dict(value.keywords)}" if isinstance(value, Case) else None


def every_case(rows):
    """Yield (row, shapes, keywords, view) with some shapes where the row admits any."""
    for row in rows:
        count = len(row.arguments.split())
        for case in row.cases:
            if case.shapes is not None:
                yield pytest.param(row, case, id=f"{row.title}-{identify(case)}")
            else:
                for shape in [(), (3,), (2, 3), (0, 2)]:
                    filled = Case((shape,) * count, case.keywords, case.view)
                    yield pytest.param(row, filled, id=f"{row.title}-{identify(filled)}")
                for shapes in [
                    ((2, 3), (3,), ()),
                    ((2, 1), (1, 3), (2, 3)),
                    ((), (2,), (1, 1)),
                    ((0, 1), (3,), ()),
                ]:
                    if count > 1:
                        filled = Case(shapes[:count], case.keywords, case.view)
                        yield pytest.param(row, filled, id=f"{row.title}-{identify(filled)}")


def tensors(row, arrays):
    return [mg.Tensor(x, requires_grad=row.differentiable and x.dtype.kind == "f") for x in arrays]


def trained(inputs):
    return [x for x in inputs if x.requires_grad]


def gradients(row, inputs, v, keywords, *, create_graph=False):
    """Return ∂ Σ v·op(x) / ∂x of every argument that has a gradient."""
    y = row(*inputs, **keywords)
    return mg.grad((y * v).sum(), trained(inputs), create_graph=create_graph, allow_unused=True)


def zero_filled(gradient, like):
    return np.zeros(like.shape, like.dtype) if gradient is None else gradient.data


def along(f, arrays, directions):
    """Return the derivative of f(*arrays) along the directions, by a central difference of fourth order."""

    def at(t):
        return float(f(*[x + t * d if d is not None else x for x, d in zip(arrays, directions, strict=True)]))

    near, far = at(STEP) - at(-STEP), at(2 * STEP) - at(-2 * STEP)
    return (8 * near - far) / (12 * STEP)


def check_derivative(f, arrays, found, rng):
    """Compare gradients with differences of f along three random directions; None: not differentiated."""
    for _ in range(3):
        directions = [None if g is None else rng.uniform(-1, 1, g.shape) for g in found]
        expected = along(f, arrays, directions)
        terms = [float((g * d).sum()) for g, d in zip(found, directions, strict=True) if g is not None]
        assert math.fsum(terms) == pytest.approx(
            expected, rel=2e-6, abs=2e-7 * (1 + sum(abs(t) for t in terms))
        )


def check_case(row, case, seed=0):
    """Hold a row, with given shapes and keywords, to everything that is said of every operation."""
    rng = np.random.default_rng(seed)
    arrays = table.draw(row, case.shapes, rng)
    copies = [x.copy() for x in arrays]
    inputs = tensors(row, arrays)
    y = row(*inputs, **case.keywords)
    reference = REFERENCES.get(row.title) or REFERENCES[row.name]
    expected = np.asarray(reference(*arrays, **case.keywords))
    # Value, shape, dtype; arrays in → the same array out; nothing written, nothing shared that is no view.
    assert isinstance(y, mg.Tensor)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-14)
    plain = row(*arrays, **case.keywords)
    assert not isinstance(plain, mg.Tensor)
    np.testing.assert_array_equal(plain, y.data, strict=False)
    shared = any(np.may_share_memory(y.data, x) for x in arrays)
    assert shared == (case.view and y.size > 0)
    if row.differentiable:
        check_gradients(row, arrays, case, rng)
    for x, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


def check_gradients(row, arrays, case, rng):
    inputs = tensors(row, arrays)
    y = row(*inputs, **case.keywords)
    assert y.requires_grad
    v = mg.Tensor(rng.uniform(0.5, 1.5, y.shape), requires_grad=True)
    fast = gradients(row, inputs, v.data, case.keywords)
    graph = gradients(row, inputs, v, case.keywords, create_graph=True)
    for x, g, h in zip(trained(inputs), fast, graph, strict=True):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)
        assert type(g.data) is np.ndarray
        assert not np.may_share_memory(g.data, x.data)
        np.testing.assert_allclose(g.data, h.data, rtol=1e-13, atol=1e-15)
    found = dict(zip([id(x) for x in trained(inputs)], fast, strict=True))
    first = [found[id(x)].data if id(x) in found else None for x in inputs]
    check_derivative(lambda *xs: (np.asarray(row(*xs, **case.keywords)) * v.data).sum(), arrays, first, rng)
    # Second order: the gradient of Σ w·gradient, with respect to the arguments and to v.
    ws = [rng.uniform(0.5, 1.5, x.shape) for x in trained(inputs)]
    h = sum((g * w).sum() for g, w in zip(graph, ws, strict=True))
    leaves = [*inputs, v]
    again = (
        mg.grad(h, trained(leaves), allow_unused=True) if h.requires_grad else [None] * len(trained(leaves))
    )
    found = dict(zip([id(x) for x in trained(leaves)], again, strict=True))
    second = [zero_filled(found[id(x)], x) if id(x) in found else None for x in leaves]

    def slope(*xs):
        slopes = gradients(row, tensors(row, xs[:-1]), xs[-1], case.keywords)
        return sum((zero_filled(g, w) * w).sum() for g, w in zip(slopes, ws, strict=True))

    check_derivative(slope, [*arrays, v.data], second, rng)


@pytest.mark.parametrize(("row", "case"), list(every_case(OPERATIONS)))
def test_value_gradient_and_second_order(row, case):
    check_case(row, case)


BROADCASTING = [row for row in OPERATIONS if any(case.shapes is None for case in row.cases)]


@pytest.mark.parametrize("row", BROADCASTING, ids=identify)
@given(data=st.data())
def test_any_shapes_that_broadcast(row, data):
    count = len(row.arguments.split())
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3, min_side=0)
    )
    case = data.draw(st.sampled_from(row.cases))
    seed = data.draw(st.integers(0, 2**32 - 1))
    with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
        check_case(row, Case(shapes.input_shapes, case.keywords, case.view), seed)


@pytest.mark.parametrize(("row", "case"), list(every_case(DIFFERENTIABLE)))
def test_float32_stays_float32(row, case):
    arrays = table.draw(row, case.shapes, np.random.default_rng(1), np.float32)
    inputs = tensors(row, arrays)
    y = row(*inputs, **case.keywords)
    assert y.dtype == (np.float64 if row.name == "astype" else np.float32)
    wide = [x.astype(float) if x.dtype.kind == "f" else x for x in arrays]
    np.testing.assert_allclose(y.data, row(*wide, **case.keywords), rtol=3e-5, atol=3e-6)
    v = np.ones(y.shape, y.dtype)
    for create_graph in (False, True):
        narrow = gradients(row, inputs, v, case.keywords, create_graph=create_graph)
        exact = gradients(row, tensors(row, wide), v.astype(float), case.keywords)
        for x, g, h in zip(trained(inputs), narrow, exact, strict=True):
            assert (g.shape, g.dtype) == (x.shape, np.float32)
            np.testing.assert_allclose(g.data, h.data, rtol=3e-4, atol=3e-5)


@pytest.mark.parametrize("row", [row for row in OPERATIONS if row.usage], ids=identify)
def test_every_way_of_writing_it_is_the_same_call(row):
    case = row.cases[0]
    names = row.arguments.split()
    arrays = table.draw(row, case.shapes or ((2, 3),) * len(names), np.random.default_rng(2))
    inputs = tensors(row, arrays)
    expected = row(*inputs, **case.keywords)
    for usage in row.usage:
        y = eval(usage, {"np": np, "ops": ops, **dict(zip(names, inputs, strict=True))})  # noqa: S307 - our own table
        assert isinstance(y, mg.Tensor), usage
        assert y.requires_grad == row.differentiable, usage
        np.testing.assert_allclose(y.data, expected.data, rtol=1e-13, err_msg=usage)


def test_every_public_name_is_in_the_table():
    names = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert names - NOT_OPERATIONS == {row.name for row in OPERATIONS}


def test_every_primitive_is_public_or_behind_a_public_name():
    modules = [
        vars(ops)[name]
        for name in ("arithmetic", "compare", "elementwise", "linalg", "random", "reduce", "shape")
    ]
    public = {
        name for module in modules for name, value in vars(module).items() if isinstance(value, mg.Primitive)
    }
    assert {name for name in public if not name.startswith("_")} <= {row.name for row in OPERATIONS}


def test_every_row_has_a_reference_a_title_of_its_own_and_as_many_gradients_as_arguments():
    titles = [row.title for row in OPERATIONS]
    assert len(set(titles)) == len(titles)
    assert [
        row.title
        for row in OPERATIONS
        if row.title not in REFERENCES and row.name not in REFERENCES | dict.fromkeys(DRAWS)
    ] == []
    assert [row.title for row in OPERATIONS if not row.cases and row.name not in DRAWS] == []


def test_rows_without_a_gradient_are_not_recorded():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    for row in OPERATIONS:
        if not row.differentiable and row.inputs[0].kind != "b" and row.arguments:
            y = row(*[x] * len(row.arguments.split()))
            assert not y.requires_grad, row.title


def test_the_page_is_the_table():
    page = Path(__file__).parents[2] / "docs" / "operations.md"
    assert page.read_text(encoding="utf-8") == table.markdown(), "run python docs/make_operations.py"


@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]))
def test_drawn_inputs_keep_to_their_intervals_and_apart(seed, dtype):
    rng = np.random.default_rng(seed)
    for row in OPERATIONS:
        shapes = tuple((2, 3) for _ in row.inputs)
        arrays = table.draw(row, shapes, rng, dtype)
        for spec, x in zip(row.inputs, arrays, strict=True):
            assert x.shape == (2, 3)
            if spec.kind == "f":
                assert x.dtype == dtype
                assert all(any(low <= v <= high for low, high in spec.intervals) for v in x.ravel())
        if len({spec.intervals for spec in row.inputs}) == 1 and row.inputs[0].kind == "f":
            values = sorted(v for x in arrays for v in x.ravel())
            assert all(b - a > 1e-2 for a, b in itertools.pairwise(values))
