"""Convolution and pooling over random geometries: against PyTorch, and their rules against each other."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import ops
from microgradnet.ops import convolution, windows

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
edges = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def geometries(draw: Any) -> dict[str, Any]:
    """Shapes of x and w that fit, and the keywords."""
    groups, per_in, per_out = (draw(st.integers(1, 3)) for _ in range(3))
    kernel, stride, padding = draw(pairs), draw(pairs), draw(edges)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    size = [
        draw(st.integers(max(d * (k - 1) + 1 - 2 * p, 1), 8))
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    return {
        "x": (draw(st.integers(1, 4)), groups * per_in, *size),
        "w": (groups * per_out, per_in, *kernel),
        "keywords": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    }


def compare(torch: Any, ours: Any, theirs: Any, *arrays: Any) -> None:
    """Hold values and gradients in float32 against PyTorch, to 1e-5 of the largest number of each."""
    ts = [mg.Tensor(a, requires_grad=True) for a in arrays]
    us = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*ts), theirs(*us)
    v = np.random.default_rng(1).standard_normal(y.shape, np.float32)
    y.backward(v)
    z.backward(torch.tensor(v))
    pairs = [(y.data, z.detach().numpy())] + [(t.grad, u.grad.numpy()) for t, u in zip(ts, us, strict=True)]
    for found, expected in pairs:
        assert found is not None
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        atol = 1e-5 * max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=atol)


def normal(*shapes: tuple[int, ...], seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1))
def test_conv2d_is_pytorchs(torch, geometry, seed):
    x, w, b = normal(geometry["x"], geometry["w"], geometry["w"][:1], seed=seed)
    keywords = geometry["keywords"]
    compare(
        torch,
        lambda x, w, b: ops.conv2d(x, w, b, **keywords),
        lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **keywords),
        *(x, w, b),
    )


@given(geometry=geometries(), more=edges, seed=st.integers(0, 2**32 - 1))
def test_conv_transpose2d_is_pytorchs(torch, geometry, more, seed):
    keywords = geometry["keywords"]
    limits = [max(s, d) - 1 for s, d in zip(keywords["stride"], keywords["dilation"], strict=True)]
    keywords["output_padding"] = tuple(min(m, limit) for m, limit in zip(more, limits, strict=True))
    inputs, outputs, kernel = geometry["w"][0], geometry["x"][1], geometry["w"][2:]
    x, w, b = normal(
        (geometry["x"][0], inputs, *geometry["x"][2:]),
        (inputs, outputs // keywords["groups"], *kernel),
        (outputs,),
        seed=seed,
    )
    sizes = [
        (n - 1) * s - 2 * p + d * (k - 1) + o + 1
        for n, k, s, p, d, o in zip(
            x.shape[2:],
            kernel,
            *[keywords[name] for name in ("stride", "padding", "dilation", "output_padding")],
            strict=True,
        )
    ]
    assume(min(sizes) > 0)
    compare(
        torch,
        lambda x, w, b: ops.conv_transpose2d(x, w, b, **keywords),
        lambda x, w, b: torch.nn.functional.conv_transpose2d(x, w, b, **keywords),
        *(x, w, b),
    )


@given(geometry=geometries(), same=st.booleans(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch says that it copies
def test_conv1d_is_pytorchs(torch, geometry, same, seed):
    (n, c, _, length), (o, per, _, k) = geometry["x"], geometry["w"]
    x, w, b = normal((n, c, length), (o, per, k), (o,), seed=seed)
    keywords = {name: value if name == "groups" else value[1] for name, value in geometry["keywords"].items()}
    if same:
        keywords |= {"stride": 1, "padding": "same"}
    compare(
        torch,
        lambda x, w, b: ops.conv1d(x, w, b, **keywords),
        lambda x, w, b: torch.nn.functional.conv1d(x, w, b, **keywords),
        *(x, w, b),
    )


@given(geometry=geometries(), ties=st.booleans(), counted=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_pooling_is_pytorchs_ties_too(torch, geometry, ties, counted, seed):
    keywords, kernel = geometry["keywords"], geometry["w"][2:]
    rng = np.random.default_rng(seed)
    size = tuple(8 + n for n in geometry["x"][2:])  # so that every kernel fits
    x = rng.standard_normal((*geometry["x"][:2], *size), np.float32)
    x = np.round(x) if ties else x
    padding = tuple(min(p, k // 2) for p, k in zip(keywords["padding"], kernel, strict=True))
    common = {"stride": keywords["stride"], "padding": padding}
    spread = {"dilation": keywords["dilation"]}
    f = torch.nn.functional
    compare(
        torch,
        lambda x: ops.max_pool2d(x, kernel, **common, **spread),
        lambda x: f.max_pool2d(x, kernel, **common, **spread),
        x,
    )
    compare(
        torch,
        lambda x: ops.avg_pool2d(x, kernel, **common, count_include_pad=counted),
        lambda x: f.avg_pool2d(x, kernel, **common, count_include_pad=counted),
        x,
    )
    out = tuple(int(n) for n in rng.integers(1, 12, 2))
    compare(torch, lambda x: ops.adaptive_avg_pool2d(x, out), lambda x: f.adaptive_avg_pool2d(x, out), x)


@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_second_order_is_the_slope_of_the_first(geometry, seed):
    """The gradient of Σ u·∂L/∂(x, w) for L = Σ y³, by the rules and along a line by differences."""
    rng, keywords = np.random.default_rng(seed), geometry["keywords"]
    arrays = [rng.standard_normal(geometry[name]) for name in ("x", "w")]
    us, directions = ([rng.standard_normal(a.shape) for a in arrays] for _ in range(2))

    def slope(*arrays: Any, create_graph: bool = False) -> Any:
        leaves = [mg.Tensor(a, requires_grad=True) for a in arrays]
        y = ops.conv2d(*leaves, **keywords)
        firsts = mg.grad((y * y * y).sum(), leaves, create_graph=create_graph)
        return leaves, sum((g * u).sum() for g, u in zip(firsts, us, strict=True))

    leaves, total = slope(*arrays, create_graph=True)
    seconds = mg.grad(total, leaves)
    found = sum((g.data * d).sum() for g, d in zip(seconds, directions, strict=True))
    h = 1e-4
    at = [slope(*[a + t * d for a, d in zip(arrays, directions, strict=True)])[1].item() for t in (h, -h)]
    scale = sum(np.abs(g.data * d).sum() for g, d in zip(seconds, directions, strict=True))
    assert found == pytest.approx((at[0] - at[1]) / (2 * h), rel=1e-5, abs=1e-6 * max(scale, 1))


@given(geometry=geometries(), strip=st.integers(1, 4000), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_both_ways_to_the_input_and_any_strip_give_the_same(geometry, strip, seed):
    x, w = (a.astype(float) for a in normal(geometry["x"], geometry["w"], seed=seed))
    keywords = geometry["keywords"] | {"stride": (1, geometry["keywords"]["stride"][1])}
    y = ops.conv2d(x, w, **keywords)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "STRIP", strip)
        np.testing.assert_allclose(ops.conv2d(x, w, **keywords), y, rtol=1e-12, atol=1e-12)
    gradients: list[Any] = []
    for add in (convolution._add_rows, convolution._add_windows):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convolution, "_add_rows", add)
            patch.setattr(convolution, "_add_windows", add)
            t = mg.Tensor(x, requires_grad=True)
            ops.conv2d(t, w, **keywords).backward(y)
            gradients.append(t.grad)
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)


def test_third_order():
    """L = Σ y⁴ for y = w·x, 1×1: ∂³L/∂x∂x∂w along ones, against the formula of numbers."""
    x, w = (mg.Tensor(np.full((1, 1, 1, 1), v), requires_grad=True) for v in (2.0, 3.0))
    y = ops.conv2d(x, w)
    (first,) = mg.grad((y**4).sum(), x, create_graph=True)  # 4 w⁴ x³
    (second,) = mg.grad(first.sum(), x, create_graph=True)  # 12 w⁴ x²
    (third,) = mg.grad(second.sum(), w)  # 48 w³ x²
    assert [t.item() for t in (first, second, third)] == [4 * 81 * 8, 12 * 81 * 4, 48 * 27 * 4]


def test_a_window_of_minus_infinity_has_its_gradient_inside_the_image():
    x = mg.Tensor(np.full((1, 1, 2, 2), -math.inf), requires_grad=True)
    y = ops.max_pool2d(x, 2, stride=2, padding=1)
    assert (y.data == -math.inf).all()
    y.backward(np.ones(y.shape))
    assert x.grad is not None
    assert x.grad.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]


def test_an_empty_batch_has_empty_gradients():
    for stride in (1, 2):
        x, w = (mg.Tensor(np.ones(shape), requires_grad=True) for shape in ((0, 2, 4, 4), (3, 2, 2, 2)))
        y = ops.max_pool2d(ops.conv2d(x, w, stride=stride), 1)
        y.sum().backward()
        assert x.grad is not None
        assert w.grad is not None
        assert (x.grad.shape, w.grad.tolist()) == (x.shape, np.zeros(w.shape).tolist())


def test_memory_stays_batch_last_from_layer_to_layer():
    """What makes it fast: no operation between two convolutions turns the axes in memory."""
    x = ops.conv2d(np.ones((5, 1, 8, 8)), np.ones((2, 1, 3, 3)))
    for y in (x, ops.relu(x), ops.max_pool2d(ops.relu(x), 2), ops.avg_pool2d(x, 2)):
        assert windows.batch_last(y).base is not None, "a copy was needed"


IMAGE, WEIGHT = np.zeros((2, 3, 6, 5)), np.zeros((4, 3, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.conv2d(IMAGE, np.zeros((4, 3, 7, 3))),
            "conv2d: the kernel 7×3, the padded image is 6×5; give larger images",
        ),
        (
            lambda: ops.conv2d(IMAGE, WEIGHT, dilation=3),
            "conv2d: the kernel 3×3 with dilation (3, 3) spans 7×7, the padded image is 6×5",
        ),
        (
            lambda: ops.conv2d(IMAGE, np.zeros((4, 2, 3, 3))),
            "conv2d: the input (2, 3, 6, 5) has 3 channels, the weight (4, 2, 3, 3) expects 2",
        ),
        (
            lambda: ops.conv2d(IMAGE, WEIGHT, groups=2),
            "has 3 channels, the weight (4, 3, 3, 3) expects 2 groups of 3",
        ),
        (
            lambda: ops.conv2d(IMAGE, np.zeros((4, 1, 3, 3)), groups=3),
            "conv2d: 3 groups do not divide 4 channels",
        ),
        (lambda: ops.conv2d(IMAGE, WEIGHT, np.zeros(3)), "conv2d: the bias has shape (3,), expected (4,)"),
        (lambda: ops.conv2d(IMAGE[0], WEIGHT), "got (3, 6, 5) and (4, 3, 3, 3); write x[None] for one image"),
        (lambda: ops.conv2d(IMAGE, WEIGHT, stride=0), "stride must be an integer of at least 1, or two of"),
        (
            lambda: ops.conv2d(IMAGE, WEIGHT, padding=(1, 1, 1)),
            "padding must be an integer of at least 0, or",
        ),
        (lambda: ops.conv2d(IMAGE, WEIGHT, padding="full"), "'same' or 'valid', not 'full'"),
        (
            lambda: ops.conv2d(IMAGE, WEIGHT, padding="same", stride=2),
            "conv2d: padding 'same' needs stride 1, not (2, 2)",
        ),
        (
            lambda: ops.conv1d(IMAGE, WEIGHT),
            "conv1d: an input (N, C, L) and a weight (O, C, K) expected, got (2, 3, 6, 5)",
        ),
        (
            lambda: ops.conv1d(np.zeros((2, 3, 4)), np.zeros((4, 3, 5))),
            "conv1d: the kernel 1×5, the padded image is 1×4",
        ),
        (
            lambda: ops.conv_transpose2d(IMAGE, WEIGHT),
            "conv_transpose2d: the input (2, 3, 6, 5) has 3 channels, the weight (4, 3, 3, 3) expects 4",
        ),
        (
            lambda: ops.conv_transpose2d(IMAGE, np.zeros((3, 2, 3, 3)), stride=2, output_padding=2),
            "output_padding (2, 2) must be smaller than stride (2, 2) or dilation (1, 1)",
        ),
        (
            lambda: ops.conv_transpose2d(IMAGE[:, :, :1], np.zeros((3, 2, 1, 3)), padding=1),
            "conv_transpose2d: padding (1, 1) leaves an image of -1×5",
        ),
        (lambda: ops.max_pool2d(IMAGE, 7), "max_pool2d: the kernel 7×7, the padded image is 6×5"),
        (
            lambda: ops.max_pool2d(IMAGE, 2, padding=2),
            "max_pool2d: padding (2, 2) must be at most half the kernel (2, 2)",
        ),
        (lambda: ops.avg_pool2d(IMAGE[0], 2), "avg_pool2d: an input (N, C, H, W) expected, got (3, 6, 5)"),
        (lambda: ops.adaptive_avg_pool2d(IMAGE, 0), "adaptive_avg_pool2d: output_size must be an integer"),
    ],
)
def test_messages_give_both_numbers(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        call()
    assert message in str(error.value)


def test_pooling_of_integers_says_what_to_write():
    with pytest.raises(TypeError, match=r"max_pool2d: the input holds int64; write x.astype\('float32'\)"):
        ops.max_pool2d(np.ones((1, 1, 2, 2), np.int64), 2)
