"""The table of all operations: formulas, domains, values at special points, and inputs to test them with.

``docs/operations.md`` is this table as a page, and the tests of the operations run through it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet import ops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike

    from microgradnet.graph import Array

Shape: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True)
class Input:
    """How to draw an argument: intervals that keep away from kinks and edges, and a dtype's letter."""

    intervals: tuple[tuple[float, float], ...] = ((-2, 2),)
    kind: str = "f"


@dataclass(frozen=True)
class Case:
    """Shapes of the arguments (``None``: any that broadcast), keywords, whether the result is a view."""

    shapes: tuple[Shape, ...] | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict)
    view: bool = False


@dataclass(frozen=True)
class Operation:
    """One row: what the operation computes, how it is written, and what its tests need.

    ``call`` takes the arguments as arrays or tensors and a case's keywords. Each ``usage`` is an expression
    in the arguments that means the same call as the first case.
    """

    name: str
    group: str
    arguments: str
    usage: tuple[str, ...]
    formula: str
    gradient: str
    domain: str = ""
    special: str = ""
    variant: str = ""
    inputs: tuple[Input, ...] = (Input(),)
    cases: tuple[Case, ...] = (Case(),)
    call: Callable[..., Any] | None = None

    @property
    def title(self) -> str:
        """Return the name, and the variant where there are several."""
        return f"{self.name} ({self.variant})" if self.variant else self.name

    @property
    def differentiable(self) -> bool:
        """Whether any argument has a gradient."""
        return self.gradient != "none"

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Compute the operation on arrays or tensors."""
        return (self.call or getattr(ops, self.name))(*args, **keywords)


@dataclass(frozen=True)
class Special:
    """A special point: the call, its arguments, the value, and the gradient of each argument for g = 1."""

    expression: str
    call: Callable[..., Any]
    at: tuple[Any, ...]
    value: Any
    gradients: tuple[Any, ...]
    note: str = ""
    pytorch: str = ""
    """What PyTorch gives where it differs."""
    warns: bool = False
    """Whether NumPy warns of the value itself."""


POSITIVE = Input(((0.3, 3),))
NONZERO = Input(((-3, -0.3), (0.3, 3)))
WHOLE = Input(((0, 3),), "i")
TRUTH = Input(((0, 2),), "b")

VECTOR, MATRIX = Case(((3,),)), Case(((2, 3),))
ALONG_AXES = (
    Case(((2, 3),), {"axis": 0}),
    Case(((),)),
    VECTOR,
    Case(((2, 3),), {"axis": -1, "keepdims": True}),
    Case(((2, 3, 2),), {"axis": (0, -1)}),
    Case(((2, 3),), {"keepdims": True}),
    Case(((1, 1),)),
    Case(((2, 0),), {"axis": 0}),
)
NOTHING_TO_ADD = (Case(((0, 3),), {"axis": 0}), Case(((0,),)))
DEGREES = tuple(
    [
        Case((*case.shapes,), {**case.keywords, "ddof": 1})
        for case in ALONG_AXES[:6]
        if case.shapes and case.shapes[0]
    ]
)
ALONG_AXIS = (
    Case(((2, 3),), {"axis": -1}),
    VECTOR,
    Case(((2, 3),), {"axis": 0}),
    Case(((2, 3, 2),), {"axis": (0, 2)}),
    Case(((0, 3),)),
)
MATRICES = tuple(
    [
        Case(shapes)
        for shapes in (
            ((2, 3), (3, 2)),
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((0, 3), (3, 2)),
            ((2, 0), (0, 3)),
        )
    ]
)
STACKS = tuple(
    [
        Case(shapes)
        for shapes in (
            ((4, 2, 3), (4, 3, 2)),
            ((4, 2, 3), (3, 2)),
            ((2, 3), (4, 3, 2)),
            ((2, 1, 2, 3), (3, 3, 2)),
            ((3,), (4, 3, 2)),
            ((4, 2, 3), (3,)),
        )
    ]
)


def _keys(shape: Shape, *keys: Any, view: bool = False) -> tuple[Case, ...]:
    return tuple([Case((shape,), {"key": key}, view) for key in keys])


OPERATIONS = (
    # -------------------------------------------------------------------------------- arithmetic
    Operation("add", "Arithmetic", "a b", ("a + b", "np.add(a, b)"), "a + b", "g; g"),
    Operation("sub", "Arithmetic", "a b", ("a - b", "np.subtract(a, b)"), "a − b", "g; −g"),
    Operation("mul", "Arithmetic", "a b", ("a * b", "np.multiply(a, b)"), "a·b", "g·b; g·a"),
    Operation(
        "div",
        "Arithmetic",
        "a b",
        ("a / b", "np.divide(a, b)"),
        "a / b",
        "g / b; −g·a / b²",
        "b ≠ 0",
        "where g is 0 the gradient is 0, also for b = 0",
        inputs=(Input(), NONZERO),
    ),
    Operation("neg", "Arithmetic", "x", ("-x", "np.negative(x)"), "−x", "−g"),
    Operation(
        "power",
        "Arithmetic",
        "x",
        ("x**3", "np.power(x, 3)"),
        "xⁿ",
        "g·n·xⁿ⁻¹",
        "x > 0, or n an integer (x ≠ 0 for n < 0)",
        "x⁰ = 1 with derivative 0; for 0 < n < 1 the derivative at 0 is ∞, and 0 where g is 0",
        variant="number",
        inputs=(POSITIVE,),
        cases=tuple([Case(None, {"n": n}) for n in (3, 0, 1, 2, 0.5, 1.5, -1, -2.5)]),
        call=lambda x, *, n: ops.power(x, n),
    ),
    Operation(
        "power",
        "Arithmetic",
        "a b",
        ("a**b", "np.power(a, b)"),
        "aᵇ",
        "g·b·aᵇ⁻¹; g·aᵇ·ln a",
        "a > 0",
        "∂/∂a is 0 where b = 0; ∂/∂b is 0 where a = 0",
        variant="tensor",
        inputs=(POSITIVE, Input()),
    ),
    Operation(
        "absolute",
        "Arithmetic",
        "x",
        ("abs(x)", "x.abs()", "np.abs(x)"),
        "|x|",
        "g·sign x",
        special="0 at 0",
        inputs=(NONZERO,),
    ),
    Operation("sign", "Arithmetic", "x", ("x.sign()", "np.sign(x)"), "−1, 0 or 1", "0", inputs=(NONZERO,)),
    # ------------------------------------------------------------------- functions of one number
    Operation("exp", "Functions of one number", "x", ("x.exp()", "np.exp(x)"), "eˣ", "g·y"),
    Operation(
        "expm1",
        "Functions of one number",
        "x",
        ("x.expm1()", "np.expm1(x)"),
        "eˣ − 1, exact near 0",
        "g·(y + 1)",
    ),
    Operation(
        "log",
        "Functions of one number",
        "x",
        ("x.log()", "np.log(x)"),
        "ln x",
        "g / x",
        "x > 0",
        "at 0: −∞, and NumPy warns; derivative ∞, and 0 where g is 0",
        inputs=(POSITIVE,),
    ),
    Operation(
        "log1p",
        "Functions of one number",
        "x",
        ("x.log1p()", "np.log1p(x)"),
        "ln (1 + x), exact near 0",
        "g / (1 + x)",
        "x > −1",
        "as log, at −1",
        inputs=(Input(((-0.7, 3),)),),
    ),
    Operation(
        "sqrt",
        "Functions of one number",
        "x",
        ("x.sqrt()", "np.sqrt(x)"),
        "√x",
        "g / 2y",
        "x ≥ 0",
        "at 0: derivative ∞, and 0 where g is 0",
        inputs=(POSITIVE,),
    ),
    Operation("sin", "Functions of one number", "x", ("x.sin()", "np.sin(x)"), "sin x", "g·cos x"),
    Operation("cos", "Functions of one number", "x", ("x.cos()", "np.cos(x)"), "cos x", "−g·sin x"),
    Operation("tanh", "Functions of one number", "x", ("x.tanh()", "np.tanh(x)"), "tanh x", "g·(1 − y²)"),
    Operation(
        "sigmoid",
        "Functions of one number",
        "x",
        ("x.sigmoid()", "ops.sigmoid(x)"),
        "σ(x) = 1 / (1 + e⁻ˣ)",
        "g·y·(1 − y)",
        special="far out: 0 (to 1e-37) and 1, without overflow",
    ),
    Operation(
        "softplus",
        "Functions of one number",
        "x",
        ("ops.softplus(x)",),
        "ln (1 + eˣ)",
        "g·σ(x)",
        special="far out: 0 and x, without overflow",
    ),
    Operation(
        "erf",
        "Functions of one number",
        "x",
        ("ops.erf(x)",),
        "2/√π · ∫₀ˣ exp(−t²) dt",
        "g·2/√π·exp(−x²)",
    ),
    Operation(
        "gelu",
        "Functions of one number",
        "x",
        ("ops.gelu(x)",),
        "x·Φ(x), Φ the normal distribution function; "
        'with `approximate="tanh"` ½x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))',
        "g·(Φ(x) + x·φ(x))",
        cases=(Case(), Case(None, {"approximate": "tanh"})),
    ),
    Operation(
        "relu",
        "Functions of one number",
        "x",
        ("x.relu()", "ops.relu(x)"),
        "max(x, 0)",
        "g where x > 0, else 0",
        special="0 at 0",
        inputs=(NONZERO,),
    ),
    Operation(
        "leaky_relu",
        "Functions of one number",
        "x",
        ("ops.leaky_relu(x, slope=0.1)",),
        "x where x > 0, else slope·x",
        "g where x > 0, else slope·g",
        special="slope at 0",
        inputs=(NONZERO,),
        cases=(Case(None, {"slope": 0.1}),),
    ),
    Operation(
        "elu",
        "Functions of one number",
        "x",
        ("ops.elu(x, alpha=1.5)",),
        "x where x > 0, else α·(eˣ − 1)",
        "g where x > 0, else g·(y + α)",
        special="α at 0",
        inputs=(NONZERO,),
        cases=(Case(None, {"alpha": 1.5}),),
    ),
    # ----------------------------------------------------------------------- extremes, selection
    Operation(
        "maximum",
        "Choosing",
        "a b",
        ("np.maximum(a, b)",),
        "the larger of a and b",
        "g to the larger",
        special="½g each where a = b",
    ),
    Operation(
        "minimum",
        "Choosing",
        "a b",
        ("np.minimum(a, b)",),
        "the smaller of a and b",
        "g to the smaller",
        special="½g each where a = b",
    ),
    Operation(
        "clip",
        "Choosing",
        "x low high",
        ("x.clip(low, high)", "np.clip(x, low, high)"),
        "min(max(x, low), high); a bound may be `None`",
        "g to x where low ≤ x ≤ high, else to the bound",
        special="on a bound g goes to x; where low > high it all goes to high",
        inputs=(Input(((-3, -2.1), (-0.9, 0.9), (2.1, 3))), Input(((-2, -1),)), Input(((1, 2),))),
    ),
    Operation(
        "where",
        "Choosing",
        "condition a b",
        ("np.where(condition, a, b)",),
        "a where the condition holds, else b",
        "g to the one chosen, 0 to the other",
        inputs=(TRUTH, Input(), Input()),
    ),
    # -------------------------------------------------------------------------------- reductions
    Operation(
        "sum",
        "Along axes",
        "x",
        ("x.sum(axis=0)", "np.sum(x, axis=0)"),
        "Σ x",
        "g, spread",
        cases=ALONG_AXES + NOTHING_TO_ADD,
    ),
    Operation(
        "mean",
        "Along axes",
        "x",
        ("x.mean(axis=0)", "np.mean(x, axis=0)"),
        "Σ x / n",
        "g / n, spread",
        "n > 0",
        cases=ALONG_AXES,
    ),
    Operation(
        "var",
        "Along axes",
        "x",
        ("x.var(axis=0)", "np.var(x, axis=0)"),
        "Σ (x − x̄)² / (n − ddof), ddof = 0",
        "g·2 (x − x̄) / (n − ddof)",
        "n > ddof",
        cases=ALONG_AXES + DEGREES,
    ),
    Operation(
        "std",
        "Along axes",
        "x",
        ("x.std(axis=0)", "np.std(x, axis=0)"),
        "√var",
        "g·(x − x̄) / ((n − ddof)·y)",
        "n > ddof",
        "0 where all elements are equal",
        cases=tuple([case for case in ALONG_AXES if case.shapes not in (((),), ((1, 1),))]) + DEGREES,
    ),
    Operation(
        "max",
        "Along axes",
        "x",
        ("x.max(axis=0)", "np.max(x, axis=0)"),
        "the largest",
        "g to the largest",
        "n > 0",
        "elements that tie share g evenly",
        cases=ALONG_AXES,
    ),
    Operation(
        "min",
        "Along axes",
        "x",
        ("x.min(axis=0)", "np.min(x, axis=0)"),
        "the smallest",
        "g to the smallest",
        "n > 0",
        "elements that tie share g evenly",
        cases=ALONG_AXES,
    ),
    Operation(
        "prod",
        "Along axes",
        "x",
        ("x.prod(axis=0)", "np.prod(x, axis=0)"),
        "Π x",
        "g · Π of the other elements",
        special="exact where elements are 0",
        cases=ALONG_AXES + NOTHING_TO_ADD,
    ),
    Operation(
        "norm",
        "Along axes",
        "x",
        ("x.norm(axis=0)", "np.linalg.norm(x, axis=0)"),
        "√Σx²; `ord=1`: Σ|x|; `ord=inf`: max |x|",
        "g·x / y",
        special="0 at the origin",
        inputs=(NONZERO,),
        cases=(
            *ALONG_AXES,
            Case(((2, 3),), {"ord": 1, "axis": 1}),
            Case(((2, 3),), {"ord": math.inf, "axis": 1}),
        ),
    ),
    Operation(
        "logsumexp",
        "Along axes",
        "x",
        ("x.logsumexp(axis=0)", "ops.logsumexp(x, axis=0)"),
        "ln Σ eˣ, without overflow",
        "g·softmax(x)",
        "n > 0",
        "all −∞: −∞, gradient 0",
        cases=ALONG_AXES,
    ),
    Operation(
        "softmax",
        "Along axes",
        "x",
        ("x.softmax(axis=-1)", "ops.softmax(x, -1)"),
        "eˣ / Σ eˣ, along the last axis if not told",
        "y·(g − Σ g·y)",
        "n > 0",
        "all −∞: 0, gradient 0",
        cases=ALONG_AXIS,
    ),
    Operation(
        "log_softmax",
        "Along axes",
        "x",
        ("x.log_softmax(axis=-1)", "ops.log_softmax(x, -1)"),
        "x − ln Σ eˣ, along the last axis if not told",
        "g − eʸ·Σ g",
        "n > 0",
        "all −∞: −∞, gradient g",
        cases=ALONG_AXIS,
    ),
    Operation(
        "cumsum",
        "Along axes",
        "x",
        ("x.cumsum(axis=0)", "np.cumsum(x, axis=0)"),
        "yᵢ = Σ xⱼ, j ≤ i",
        "Σ gⱼ, j ≥ i",
        cases=(
            Case(((2, 3),), {"axis": 0}),
            Case(((2, 3),)),
            Case(((2, 3),), {"axis": -1}),
            Case(((),)),
            Case(((0,),)),
        ),
    ),
    # ------------------------------------------------------------------------------------ shapes
    Operation(
        "reshape",
        "Shape and order",
        "x",
        ("x.reshape(3, -1)", "x.reshape((3, -1))", "np.reshape(x, (3, -1))"),
        "the same elements in another shape; a view where NumPy gives one",
        "g in x's shape",
        cases=(
            Case(((2, 3),), {"shape": (3, -1)}, view=True),
            Case(((6,),), {"shape": (1, 2, 3)}, view=True),
            Case(((),), {"shape": (1,)}, view=True),
            Case(((1,),), {"shape": ()}, view=True),
            Case(((0, 3),), {"shape": (3, 0, 2)}),
        ),
        call=lambda x, *, shape: ops.reshape(x, shape),
    ),
    Operation(
        "transpose",
        "Shape and order",
        "x",
        ("x.T", "x.transpose()", "np.transpose(x)"),
        "the axes in reverse or in the given order; a view",
        "g in the first order",
        cases=(
            Case(((2, 3),), view=True),
            Case(((2, 3, 4),), {"axes": (1, -1, 0)}, view=True),
            Case(((3,),), view=True),
            Case(((),), view=True),
        ),
    ),
    Operation(
        "swapaxes",
        "Shape and order",
        "x",
        ("x.swapaxes(0, -1)", "np.swapaxes(x, 0, -1)"),
        "two axes exchanged; a view",
        "g with them exchanged",
        cases=(Case(((2, 3, 4),), {"axis1": 0, "axis2": -1}, view=True),),
    ),
    Operation(
        "expand_dims",
        "Shape and order",
        "x",
        ("np.expand_dims(x, 0)", "x[None]"),
        "new axes of length 1; a view",
        "g without them",
        cases=(
            Case(((2, 3),), {"axis": 0}, view=True),
            Case(((3,),), {"axis": (0, -1)}, view=True),
            Case(((),), {"axis": 0}, view=True),
        ),
    ),
    Operation(
        "squeeze",
        "Shape and order",
        "x",
        ("x.squeeze(0)", "np.squeeze(x, 0)"),
        "without axes of length 1; a view",
        "g with them",
        cases=(
            Case(((1, 3, 1),), {"axis": 0}, view=True),
            Case(((1, 3, 1),), view=True),
            Case(((1, 3, 1),), {"axis": (0, 2)}, view=True),
        ),
    ),
    Operation(
        "broadcast_to",
        "Shape and order",
        "x",
        ("np.broadcast_to(x, (2, 3))",),
        "repeated along new axes and axes of length 1; a copy",
        "g, summed",
        cases=(
            Case(((1, 3),), {"shape": (2, 3)}),
            Case(((),), {"shape": (2,)}),
            Case(((3,),), {"shape": (2, 3)}),
            Case(((2, 1),), {"shape": (2, 0)}),
            Case(((1,),), {"shape": 3}),
        ),
    ),
    Operation(
        "concatenate",
        "Shape and order",
        "a b",
        ("np.concatenate([a, b])",),
        "joined along an axis",
        "the part of g",
        cases=(
            Case(((2, 3), (1, 3))),
            Case(((2, 3), (2, 1), (2, 0)), {"axis": -1}),
            Case(((2,),)),
        ),
        call=lambda *xs, axis=0: ops.concatenate(xs, axis),
    ),
    Operation(
        "stack",
        "Shape and order",
        "a b",
        ("np.stack([a, b])",),
        "joined along a new axis",
        "the part of g",
        cases=(
            Case(((2, 3), (2, 3))),
            Case(((2, 3), (2, 3)), {"axis": -1}),
            Case(((2, 3), (2, 3)), {"axis": 1}),
            Case(((), ())),
        ),
        call=lambda *xs, axis=0: ops.stack(xs, axis),
    ),
    Operation(
        "split",
        "Shape and order",
        "x",
        ("np.split(x, 2)[1]", "np.split(x, [2])[1]"),
        "a list of equal sections, or of the parts between the indices; views",
        "g, and 0 elsewhere",
        cases=(
            Case(((4, 2),), {"sections": 2}, view=True),
            Case(((2, 5),), {"sections": [1, 3], "axis": 1}, view=True),
            Case(((5,),), {"sections": [4, 9]}, view=True),
            Case(((0,),), {"sections": 2}),
        ),
        call=lambda x, *, sections, axis=0: ops.split(x, sections, axis)[1],
    ),
    Operation(
        "pad",
        "Shape and order",
        "x",
        ("np.pad(x, 1)",),
        "surrounded with a constant (0)",
        "the middle of g",
        cases=(
            Case(((2, 3),), {"pad_width": 1}),
            Case(((2, 3),), {"pad_width": (0, 2)}),
            Case(((2, 3),), {"pad_width": ((1, 0), (0, 2)), "constant_values": 3.0}),
            Case(((0, 2),), {"pad_width": 1}),
        ),
    ),
    Operation(
        "flip",
        "Shape and order",
        "x",
        ("np.flip(x, 0)", "x[::-1]"),
        "in reverse order along the axes (all if not told); a view",
        "g in reverse order",
        cases=(
            Case(((2, 3),), {"axis": 0}, view=True),
            Case(((2, 3),), view=True),
            Case(((2, 3, 2),), {"axis": (0, -1)}, view=True),
        ),
    ),
    Operation(
        "repeat",
        "Shape and order",
        "x",
        ("x.repeat(2)", "np.repeat(x, 2)"),
        "each element repeated, along an axis or of the flattened array",
        "g, summed over the repetitions",
        cases=(
            Case(((2, 3),), {"repeats": 2}),
            Case(((2, 3),), {"repeats": 2, "axis": 0}),
            Case(((2, 3),), {"repeats": [1, 0, 3], "axis": -1}),
            Case(((),), {"repeats": 3}),
        ),
    ),
    Operation(
        "index",
        "Shape and order",
        "x",
        ("x[1]",),
        "`x[key]`: basic (a view), fancy, boolean and mixed, with arrays, lists or tensors",
        "g, added up at the elements that were read",
        cases=(
            *_keys((3, 2), 1, slice(1, None), (..., None, slice(None, None, -1), 0), None, view=True),
            *_keys((3, 2), (2, 1), [0, 0, 1], [[0, 2], [2, 2]], ([0, 0, 1], [1, 1, 0]), [False, True, True]),
            *_keys((3, 2), [[True, False], [False, False], [True, True]], ([True, False, True], [0, 0])),
            *_keys((3, 2), (slice(None), [0, 0, 1]), ([2, 2], slice(1)), ((0, 0),), [], ([0, 0], None, 1)),
            *_keys((), ()),
            *_keys((), (None, ...), view=True),
        ),
        call=lambda x, *, key: ops.index(x, key),
    ),
    Operation(
        "take_rows",
        "Shape and order",
        "x columns",
        ("ops.take_rows(x, columns)",),
        "yᵢ = xᵢ,꜀ with c = columnsᵢ",
        "g at the elements that were read",
        inputs=(Input(), WHOLE),
        cases=(Case(((4, 3), (4,))), Case(((0, 3), (0,)))),
    ),
    # ---------------------------------------------------------------------------------- products
    Operation(
        "matmul",
        "Products",
        "a b",
        ("a @ b", "np.matmul(a, b)"),
        "Σⱼ aᵢⱼ·bⱼₖ, for matrices, stacks that broadcast, and vectors",
        "g·bᵀ; aᵀ·g",
        cases=MATRICES + STACKS,
    ),
    Operation(
        "linear",
        "Products",
        "x w b",
        ("ops.linear(x, w, b)", "x @ w.T + b"),
        "x·wᵀ + b, for x (…, in), w (out, in), b (out,)",
        "g·w; gᵀ·x; Σ g over the rows",
        cases=(
            Case(((4, 3), (2, 3), (2,))),
            Case(((4, 3), (2, 3))),
            Case(((3,), (2, 3), (2,))),
            Case(((2, 4, 3), (2, 3), (2,))),
            Case(((0, 3), (2, 3), (2,))),
        ),
    ),
    Operation(
        "dot",
        "Products",
        "a b",
        ("a.dot(b)", "np.dot(a, b)"),
        "inner product of vectors, matrix product, product with a number",
        "as matmul or mul",
        cases=(*MATRICES, Case(((), (3,))), Case(((2, 3), ()))),
    ),
    Operation(
        "outer",
        "Products",
        "a b",
        ("np.outer(a, b)",),
        "aᵢ·bⱼ of the flattened arrays",
        "g·b; gᵀ·a",
        cases=(Case(((2,), (3,))), Case(((2, 2), (3,))), Case(((), (3,)))),
    ),
    Operation(
        "einsum",
        "Products",
        "a b",
        ('np.einsum("ij,jk->ik", a, b)',),
        "the operands' product, summed over letters that the result lacks; a transposition is a view",
        "einsum of g and the other operands",
        cases=tuple(
            [
                Case(shapes, {"subscripts": subscripts}, view=subscripts == "ba")
                for subscripts, shapes in (
                    ("ij,jk->ik", ((2, 3), (3, 4))),
                    ("ij,jk", ((2, 3), (3, 4))),
                    ("ba", ((2, 3),)),
                    ("ij->", ((2, 3),)),
                    ("ijk->j", ((2, 3, 2),)),
                    ("i,j->ij", ((2,), (3,))),
                    ("bij,bjk->bik", ((2, 2, 3), (2, 3, 2))),
                    ("ii->i", ((3, 3),)),
                    ("ii", ((3, 3),)),
                    ("iij,i->j", ((2, 2, 3), (2,))),
                    ("iii->i", ((2, 2, 2),)),
                    ("ij,k->i", ((2, 3), (4,))),
                    ("i,i,ij->j", ((3,), (3,), (3, 2))),
                    (",i->i", ((), (3,))),
                    ("ij,jk->ik", ((2, 0), (0, 3))),
                )
            ]
        ),
        call=lambda *xs, subscripts: ops.einsum(subscripts, *xs),
    ),
    # ------------------------------------------------------------------------------------ images
    Operation(
        "conv2d",
        "Images",
        "x w b",
        ("ops.conv2d(x, w, b, stride=2, padding=1)",),
        "b[o] + Σ w[o, c, k, l]·x[n, c, i·s + k·d, j·s + l·d], "
        "for x (N, C, H, W), w (O, C/groups, KH, KW), b (O,)",
        "g, spread by w; Σ g·x; Σ g over the batch and all pixels",
        "kernels that fit into the padded image",
        inputs=(Input(), Input(), Input()),
        cases=(
            Case(((2, 2, 4, 5), (3, 2, 3, 2), (3,)), {"stride": 2, "padding": 1}),
            Case(((2, 1, 3, 3), (2, 1, 2, 2))),
            Case(((1, 4, 4, 4), (2, 2, 2, 1), (2,)), {"groups": 2, "dilation": (2, 1), "stride": (1, 2)}),
            Case(((1, 1, 3, 4), (4, 1, 2, 3), (4,)), {"padding": "same"}),
            Case(((2, 1, 2, 2), (1, 1, 1, 1)), {"padding": "valid"}),
            Case(((0, 1, 3, 3), (2, 1, 2, 2), (2,))),
        ),
    ),
    Operation(
        "conv1d",
        "Images",
        "x w b",
        ("ops.conv1d(x, w, b, padding=1)",),
        "`conv2d` along one axis, for x (N, C, L), w (O, C/groups, K), b (O,)",
        "as conv2d",
        "kernels that fit into the padded signal",
        inputs=(Input(), Input(), Input()),
        cases=(
            Case(((2, 2, 5), (3, 2, 3), (3,)), {"padding": 1}),
            Case(((1, 2, 6), (2, 1, 2)), {"stride": 2, "dilation": 2, "groups": 2}),
        ),
    ),
    Operation(
        "conv_transpose2d",
        "Images",
        "x w b",
        ("ops.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1)",),
        "y[n, o, i·s + k·d − p, j·s + l·d − p] += w[c, o, k, l]·x[n, c, i, j], plus b[o]: "
        "`conv2d`'s gradient with respect to its input",
        "conv2d of g with w; Σ x·g; Σ g over the batch and all pixels",
        inputs=(Input(), Input(), Input()),
        cases=(
            Case(((2, 2, 2, 3), (2, 1, 3, 2), (1,)), {"stride": 2, "padding": 1, "output_padding": 1}),
            Case(((1, 2, 2, 2), (2, 2, 2, 2))),
            Case(((1, 4, 2, 2), (4, 1, 2, 2), (2,)), {"groups": 2, "dilation": 2, "output_padding": (1, 0)}),
        ),
    ),
    Operation(
        "max_pool2d",
        "Images",
        "x",
        ("ops.max_pool2d(x, 2)",),
        "the largest pixel of each window of x (N, C, H, W)",
        "g to the largest",
        "windows that fit into the padded image",
        "of those that tie the first in reading order",
        cases=(
            Case(((2, 2, 4, 5),), {"kernel_size": 2}),
            Case(((1, 2, 4, 4),), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
            Case(((1, 1, 5, 4),), {"kernel_size": 2, "stride": 1, "dilation": (2, 1)}),
        ),
    ),
    Operation(
        "avg_pool2d",
        "Images",
        "x",
        ("ops.avg_pool2d(x, 2)",),
        "the average of each window of x (N, C, H, W)",
        "g, spread",
        "windows that fit into the padded image",
        "padding counts as zeros; with `count_include_pad=False` it does not count",
        cases=(
            Case(((2, 2, 4, 5),), {"kernel_size": 2}),
            Case(((1, 1, 4, 4),), {"kernel_size": (3, 2), "stride": (1, 2), "padding": 1}),
            Case(((1, 1, 4, 4),), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ),
    ),
    Operation(
        "adaptive_avg_pool2d",
        "Images",
        "x",
        ("ops.adaptive_avg_pool2d(x, (2, 3))",),
        "averages over OH × OW windows that cover x (N, C, H, W): "
        "the i-th has the rows from ⌊i·H/OH⌋ to ⌈(i + 1)·H/OH⌉ − 1",
        "g, spread",
        cases=(
            Case(((2, 2, 3, 4),), {"output_size": (2, 3)}),
            Case(((1, 2, 4, 6),), {"output_size": (2, 3)}),
            Case(((1, 2, 2, 3),), {"output_size": 1}),
            Case(((1, 1, 3, 2),), {"output_size": (None, 3)}),
        ),
    ),
    # -------------------------------------------------------------------------- without gradient
    *[
        Operation(
            name,
            "Without a gradient",
            "a b",
            (f"a {sign} b", f"np.{name}(a, b)"),
            formula,
            "none",
            inputs=(WHOLE,),
        )
        for name, sign, formula in (
            ("equal", "==", "a = b"),
            ("not_equal", "!=", "a ≠ b"),
            ("less", "<", "a < b"),
            ("less_equal", "<=", "a ≤ b"),
            ("greater", ">", "a > b"),
            ("greater_equal", ">=", "a ≥ b"),
        )
    ],
    *[
        Operation(name, "Without a gradient", "a b", (f"np.{name}(a, b)",), formula, "none", inputs=(TRUTH,))
        for name, formula in (("logical_and", "a and b"), ("logical_or", "a or b"))
    ],
    Operation(
        "logical_not", "Without a gradient", "x", ("np.logical_not(x)",), "not x", "none", inputs=(TRUTH,)
    ),
    Operation("isfinite", "Without a gradient", "x", ("np.isfinite(x)",), "neither infinite nor NaN", "none"),
    Operation("isnan", "Without a gradient", "x", ("np.isnan(x)",), "x is NaN", "none"),
    *[
        Operation(
            name,
            "Without a gradient",
            "x",
            (f"x.{name}(axis=0)", f"np.{name}(x, axis=0)"),
            f"the position of the {which}",
            "none",
            "n > 0",
            "the first of those that tie",
            cases=(Case(((2, 3),), {"axis": 0}), Case(((2, 3),)), VECTOR),
        )
        for name, which in (("argmax", "largest"), ("argmin", "smallest"))
    ],
    *[
        Operation(name, "Without a gradient", "", (), formula, "none", cases=())
        for name, formula in (
            ("uniform", "draws from [0, 1): `ops.uniform(shape=, dtype=, rng=)`"),
            ("normal", "draws from N(0, 1): `ops.normal(shape=, dtype=, rng=)`"),
            ("bernoulli", "1 with probability p, else 0: `ops.bernoulli(p=, shape=, dtype=, rng=)`"),
        )
    ],
    # --------------------------------------------------------------------------- for other rules
    Operation(
        "astype",
        "What the rules are made of",
        "x",
        ('x.astype("float64")',),
        "x in another dtype; a copy",
        "g, cast back; integers and booleans have none",
        cases=(Case(None, {"dtype": "float64"}),),
    ),
    Operation(
        "ratio",
        "What the rules are made of",
        "a b",
        ("ops.ratio(a, b)",),
        "a / b, and 0 where a is 0",
        "g / b; −g·a / b²",
        special="0/0 is 0, without a warning: a gradient of 0 stays 0 where the derivative is ∞",
        inputs=(Input(), NONZERO),
    ),
    Operation(
        "sum_to",
        "What the rules are made of",
        "x",
        ("ops.sum_to(x, (1, 3))",),
        "summed back to the shape that was broadcast",
        "g, spread",
        cases=(
            Case(((2, 3),), {"shape": (1, 3)}),
            Case(((2, 3),), {"shape": (3,)}),
            Case(((4, 2, 3),), {"shape": (2, 1)}),
            Case(((3,),), {"shape": ()}),
        ),
    ),
    Operation(
        "zeros_like",
        "What the rules are made of",
        "x",
        ("ops.zeros_like(x)",),
        "zeros of x's shape and dtype",
        "none",
    ),
)


def draw(
    row: Operation, shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: DTypeLike = float
) -> list[Array]:
    """Draw arguments inside their intervals, no two numbers of one interval close: nothing nearly ties."""
    counts = [math.prod(shape) for shape in shapes]
    total = max(sum(counts), 1)
    places = (rng.permutation(sum(counts)) + rng.uniform(0.25, 0.75, sum(counts))) / total
    arrays: list[Array] = []
    for i, (shape, part) in enumerate(zip(shapes, np.split(places, np.cumsum(counts)[:-1]), strict=True)):
        spec = row.inputs[i % len(row.inputs)]
        ends = np.cumsum([0, *[high - low for low, high in spec.intervals]])
        which = np.searchsorted(ends, part * ends[-1], side="right") - 1
        values = np.array([low for low, _ in spec.intervals])[which] + part * ends[-1] - ends[which]
        kinds = {"f": values.astype(dtype), "i": values.astype(int), "b": values >= 1}
        arrays.append(kinds[spec.kind].reshape(shape))
    return arrays


INF = math.inf
SPECIAL_POINTS = (
    Special("relu(x)", ops.relu, (0.0,), 0.0, (0.0,)),
    Special(
        "leaky_relu(x, slope=0.1)", lambda x: ops.leaky_relu(x, slope=0.1), (0.0,), 0.0, (0.1,), "the slope"
    ),
    Special("elu(x, alpha=1.5)", lambda x: ops.elu(x, alpha=1.5), (0.0,), 0.0, (1.5,), "α"),
    Special("abs(x)", ops.absolute, (0.0,), 0.0, (0.0,)),
    Special("sign(x)", ops.sign, (0.0,), 0.0, (0.0,)),
    Special("maximum(a, b)", ops.maximum, (1.0, 1.0), 1.0, (0.5, 0.5), "half each"),
    Special("minimum(a, b)", ops.minimum, (1.0, 1.0), 1.0, (0.5, 0.5), "half each"),
    Special("max(x)", ops.max, ([2.0, 1.0, 2.0],), 2.0, ([0.5, 0.0, 0.5],), "shared evenly"),
    Special("min(x)", ops.min, ([2.0, 1.0, 1.0],), 1.0, ([0.0, 0.5, 0.5],), "shared evenly"),
    Special(
        "clip(x, -1, 1)",
        lambda x: ops.clip(x, -1, 1),
        ([-1.0, 1.0],),
        [-1.0, 1.0],
        ([1.0, 1.0],),
        "1 on a bound",
    ),
    Special("clip(x, low, high)", ops.clip, (1.0, 1.0, 2.0), 1.0, (1.0, 0.0, 0.0), "on a bound all to x"),
    Special("clip(x, low, high)", ops.clip, (0.0, 2.0, 1.0), 1.0, (0.0, 0.0, 1.0), "low > high: all to high"),
    Special("sqrt(x)", ops.sqrt, (0.0,), 0.0, (INF,)),
    Special(
        "where(x > 0, sqrt(x), 0)",
        lambda x: ops.where(ops.greater(x, 0), ops.sqrt(x), 0),
        ([0.0, 4.0],),
        [0.0, 2.0],
        ([0.0, 0.25],),
        "where g is 0 the gradient stays 0",
        "[NaN, 0.25]",
    ),
    Special("log(x)", ops.log, (0.0,), -INF, (INF,), "NumPy warns of the value", warns=True),
    Special("log1p(x)", ops.log1p, (-1.0,), -INF, (INF,), "NumPy warns of the value", warns=True),
    Special("norm(x)", ops.norm, ([0.0, 0.0],), 0.0, ([0.0, 0.0],)),
    Special("std(x)", ops.std, ([2.0, 2.0, 2.0],), 0.0, ([0.0, 0.0, 0.0],)),
    Special("x**0", lambda x: ops.power(x, 0), (0.0,), 1.0, (0.0,)),
    Special("x**1", lambda x: ops.power(x, 1), (0.0,), 0.0, (1.0,)),
    Special("x**0.5", lambda x: ops.power(x, 0.5), (0.0,), 0.0, (INF,)),
    Special("a**b", ops.power, (0.0, 0.0), 1.0, (0.0, 0.0)),
    Special("a**b", ops.power, (0.0, 0.5), 0.0, (INF, 0.0)),
    Special("a**b", ops.power, (0.0, 1.0), 0.0, (1.0, 0.0)),
    Special("a**b", ops.power, (0.0, 2.0), 0.0, (0.0, 0.0)),
    Special("prod(x)", ops.prod, ([0.0, 2.0, 3.0],), 0.0, ([6.0, 0.0, 0.0],)),
    Special("prod(x)", ops.prod, ([0.0, 0.0, 3.0],), 0.0, ([0.0, 0.0, 0.0],)),
    Special(
        "max_pool2d(x, 2)",
        lambda x: ops.max_pool2d(x, 2),
        ([[[[1.0, 3.0], [3.0, 3.0]]]],),
        [[[[3.0]]]],
        ([[[[0.0, 1.0], [0.0, 0.0]]]],),
        "to the first",
    ),
    Special("sigmoid(x)", ops.sigmoid, ([-1e4, 1e4],), [0.0, 1.0], ([0.0, 0.0],)),
    Special("tanh(x)", ops.tanh, ([-1e4, 1e4],), [-1.0, 1.0], ([0.0, 0.0],)),
    Special("softplus(x)", ops.softplus, ([-1e4, 1e4],), [0.0, 1e4], ([0.0, 1.0],)),
    Special("logsumexp(x)", ops.logsumexp, ([-1e4, 1e4],), 1e4, ([0.0, 1.0],)),
    Special("logsumexp(x)", ops.logsumexp, ([-INF, 0.0],), 0.0, ([0.0, 1.0],)),
    Special("logsumexp(x)", ops.logsumexp, ([-INF, -INF],), -INF, ([0.0, 0.0],), pytorch="gradient NaN"),
    Special("softmax(x)", ops.softmax, ([-1e4, 1e4],), [0.0, 1.0], ([0.0, 0.0],)),
    Special("softmax(x)", ops.softmax, ([-INF, 0.0],), [0.0, 1.0], ([0.0, 0.0],)),
    Special("softmax(x)", ops.softmax, ([-INF, -INF],), [0.0, 0.0], ([0.0, 0.0],), pytorch="NaN"),
    Special("log_softmax(x)", ops.log_softmax, ([-1e4, 1e4],), [-2e4, 0.0], ([1.0, -1.0],)),
    Special("log_softmax(x)", ops.log_softmax, ([-INF, 0.0],), [-INF, 0.0], ([1.0, -1.0],)),
    Special(
        "log_softmax(x)", ops.log_softmax, ([-INF, -INF],), [-INF, -INF], ([1.0, 1.0],), "g passes", "NaN"
    ),
)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _row(*cells: str) -> str:
    return f"| {' | '.join([_cell(cell) for cell in cells])} |"


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join([_shown(item) for item in value])}]"
    return f"{value:g}".replace("inf", "∞").replace("-", "−").replace("e+0", "e")


def _operations(group: str) -> list[str]:
    lines = [f"## {group}", "", _row("operation", "written", "y", "gradient", "domain and special points")]
    lines.append(_row(*["---"] * 5))
    for row in OPERATIONS:
        if row.group == group:
            written = ", ".join([f"`{usage}`" for usage in row.usage])
            domain = "; ".join([part for part in (row.domain, row.special) if part])
            lines.append(_row(f"`{row.title}`", written, row.formula, row.gradient, domain))
    return [*lines, ""]


def markdown() -> str:
    """Return the page ``docs/operations.md``."""
    lines = [
        "# Operations",
        "",
        "<!-- Made from microgradnet/ops/table.py by docs/make_operations.py. -->",
        "",
        "y is the result, g = ∂L/∂y the gradient that arrives; semicolons separate the gradients of several",
        "arguments. Arguments broadcast as NumPy's do, and gradients are summed back to their shapes. The",
        "domain is all real numbers where nothing else is said; outside it: NumPy's value and warning.",
        "",
    ]
    for group in dict.fromkeys([row.group for row in OPERATIONS]):
        lines += _operations(group)
    lines += [
        "## Special points",
        "",
        "The value at each kink, tie and edge, and each argument's gradient for g = 1. They are",
        "PyTorch's, except where the last column says what PyTorch gives.",
        "",
        _row("operation", "at", "value", "gradient", "", "PyTorch"),
        _row(*["---"] * 6),
    ]
    for point in SPECIAL_POINTS:
        at = ", ".join([_shown(x) for x in point.at])
        gradients = "; ".join([_shown(g) for g in point.gradients])
        lines.append(
            _row(f"`{point.expression}`", at, _shown(point.value), gradients, point.note, point.pytorch)
        )
    lines += [
        "",
        "An infinite gradient that meets a factor of 0 on its way on (`sqrt(relu(x))` at 0) is NaN, and",
        "NumPy warns of it.",
        "",
    ]
    return "\n".join(lines)
