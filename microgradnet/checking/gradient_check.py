"""gradcheck: the gradients of a function of tensors against differences of the function itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.backprop import grad
from microgradnet.checking.diagnosis import diagnose
from microgradnet.checking.differences import (
    Derivative,
    by_complex_step,
    by_entry,
    derivative,
    outside,
    sampled,
    spread,
    trembling,
)
from microgradnet.graph import Scope, Value, current_scope
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet.graph import Array

Level: TypeAlias = "Callable[[list[Tensor], bool], list[Tensor]]"
"""A function of the inputs; the flag says whether its result must be differentiable."""

SAMPLE = 4096
"""How many entries of one input the full pass looks at."""


class GradientMismatch(AssertionError):  # noqa: N818 - read as a finding: "raises GradientMismatch"
    """A gradient contradicts finite differences; ``report`` has the details."""

    def __init__(self, report: Any) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient, by the rules and by differences."""

    order: int
    input: str
    index: tuple[int, ...]
    rules: float
    differences: float
    error: float
    """What the differences may be wrong by."""

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return (
            f"{self.input}{place}: by the rules {self.rules:.9g}, by differences {self.differences:.9g} "
            f"(± {self.error:.1g})"
        )


@dataclass
class GradcheckReport:
    """What gradcheck found; true where all gradients are right."""

    order: int
    method: str = "differences"
    checked: int = 0
    """How many entries one comparison each was spent on; 0 where a random direction said enough."""
    error: float = 0.0
    """The largest disagreement, relative to the gradient."""
    failed: str = ""
    worst: Entry | None = None
    wrong: int = 0
    diagnosis: str = ""
    kinks: dict[str, str] = field(default_factory=dict)
    """The entries at which f is not differentiable, and what the two sides say."""
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all gradients are right."""
        return not self.failed

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        orders = "order 1" if self.order == 1 else f"orders 1 to {self.order}"
        how = f"{self.checked:,} entries one by one" if self.checked else "in random directions"
        head = f"gradients agree, {orders}, {how} ({self.method}, largest error {self.error:.1e})"
        lines = [self.failed or head]
        if self.worst is not None:
            lines.append(f"  worst of {self.wrong:,}: {self.worst}")
        if self.diagnosis:
            lines.append(f"  {self.diagnosis}")
        if self.kinks:
            more = f", and {len(self.kinks) - 3:,} more" if len(self.kinks) > 3 else ""
            shown = [f"{place} ({sides})" for place, sides in list(self.kinks.items())[:3]]
            lines.append(f"  not differentiable: {'; '.join(shown)}{more}")
        return "\n".join([*lines, *[f"  {note}" for note in self.notes]])

    def to_json(self) -> str:
        """Return the report as JSON."""
        entry = None if self.worst is None else {**vars(self.worst), "index": list(self.worst.index)}
        return json.dumps({"ok": self.ok, **vars(self), "worst": entry}, ensure_ascii=False)


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    order: int = 2,
    *,
    rtol: float = 1e-6,
    seed: int = 0,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Check the gradients of ``f(*inputs)``, and theirs up to ``order``, against finite differences.

    ``inputs`` is a tensor or an array, or a list of them: the floating ones are checked and must be float64;
    integers and bools are passed on as they are. ``f`` returns a tensor or several. Checked is the derivative
    of Σ w·f(x) with random weights w, for a plain sum is blind to what cancels in it (softmax sums to 1
    whatever the rule says). First along a random direction; where that disagrees, entry by entry. A
    difference counts where it exceeds ``rtol`` and three times what the differences may themselves be wrong
    by. Where f is analytic, and takes complex numbers, the complex step replaces the differences, and
    10⁻⁴·rtol is asked for.

    Returns a report that is true where everything agrees; otherwise raises ``GradientMismatch``, or with
    ``raise_exception=False`` returns a report that is false. Points where f has a kink are listed in it, and
    are right where the gradient lies between the two one-sided derivatives.

    Raises TypeError for inputs or results that are not float64, ValueError where f gives another value when
    it is called again, or where nothing is to be checked.

    >>> import microgradnet as mg
    >>> print(mg.gradcheck(lambda a, b: (a * b).tanh(), [mg.Tensor([1.0, 2.0]), mg.Tensor([0.5, -0.3])]))
    gradients agree, orders 1 to 2, in random directions (complex step, largest error ...)
    >>> cube = mg.Primitive("cube", lambda x: x**3, lambda g, _y, x: g * 2 * x**2)  # 3x² it should be
    >>> print(mg.gradcheck(cube, mg.Tensor([1.0, 2.0]), raise_exception=False))
    gradcheck failed at order 1
      worst of 2: input 0[1]: by the rules ..., by differences ... (± ...)
      it is 2/3 × the true gradient: a constant factor
    """
    if order < 1:
        raise ValueError(f"gradcheck: order must be at least 1, not {order}")
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    arrays = [_array(value, i) for i, value in enumerate(given)]
    names = [_name(value, i) for i, value in enumerate(given)]
    if not any(array.dtype.kind == "f" and array.size for array in arrays):
        raise ValueError("gradcheck: no input is floating-point, there is nothing to differentiate")
    level: Level = _first_level(f)
    report = GradcheckReport(order)
    rng = np.random.default_rng(seed)
    for current in range(1, order + 1):
        check = _Check(level, arrays, names, current, rng, rtol, report)
        if not check.finite:
            report.notes.append(
                f"order {current} was not checked: the gradients of order {current - 1} are not finite here"
            )
            break
        check.run()
        if report.failed:
            break
        if current < order:
            results = _evaluated(level, arrays)
            level = _next_level(level, len(arrays), [array.dtype.kind == "f" for array in arrays])
            arrays = [*arrays, *[np.asarray(rng.standard_normal(result.shape)) for result in results]]
            names = [*names, *[f"the gradient that arrives at output {i}" for i in range(len(results))]]
    if report.failed and raise_exception:
        raise GradientMismatch(report)
    return report


def _array(value: Any, i: int) -> Array:
    array = np.array(value._array if isinstance(value, Value) else value)
    if array.dtype.kind == "f" and array.dtype != np.float64:
        raise TypeError(
            f"gradcheck: input {i} is {array.dtype}, whose rounding hides any error below about 1%; "
            "give float64, x.astype(float)"
        )
    return array


def _name(value: Any, i: int) -> str:
    name = value._node.name if isinstance(value, Value) and value._node is not None else None
    return f"input {i} '{name}'" if name else f"input {i}"


def _first_level(f: Callable[..., Any]) -> Level:
    def level(xs: list[Tensor], graph: bool) -> list[Tensor]:
        found = f(*xs)
        results = list(found) if isinstance(found, (list, tuple)) else [found]
        for result in results:
            if not isinstance(result, Tensor):
                raise TypeError(f"gradcheck: f returned {type(result).__name__}; return a Tensor, or several")
            if result.dtype.kind == "f" and result.dtype != np.float64:
                raise TypeError(f"gradcheck: f returned {result.dtype}; something in it is not float64")
        return [result for result in results if result.dtype.kind in "fc"]

    return level


def _next_level(inner: Level, count: int, floating: Sequence[bool]) -> Level:
    """Return the function (inputs, weights of the outputs) ↦ gradients of the inputs."""

    def level(xs: list[Tensor], graph: bool) -> list[Tensor]:
        wanted = [x for x, is_floating in zip(xs, floating, strict=False) if is_floating]
        outputs = inner(xs[:count], True)
        found = grad(outputs, wanted, xs[count:], create_graph=graph, allow_unused=True)
        return [Tensor(np.zeros_like(x.data)) if g is None else g for g, x in zip(found, wanted, strict=True)]

    return level


def _leaves(arrays: Sequence[Array]) -> list[Tensor]:
    return [Tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]


def _evaluated(level: Level, arrays: Sequence[Array]) -> list[Array]:
    return [result.data for result in level(_leaves(arrays), False)]


class _Check:
    """The comparison at one order."""

    def __init__(
        self,
        level: Level,
        arrays: list[Array],
        names: list[str],
        order: int,
        rng: np.random.Generator,
        rtol: float,
        report: GradcheckReport,
    ) -> None:
        self.level, self.arrays, self.names, self.order = level, arrays, names, order
        self.rng, self.rtol, self.report = rng, rtol, report
        values = _evaluated(level, arrays)
        again = _evaluated(level, arrays)
        for i, (value, other) in enumerate(zip(values, again, strict=True)):
            if not np.array_equal(value, other, equal_nan=True):
                raise ValueError(
                    f"gradcheck: f called twice with the same inputs gives two values (output {i} differs by "
                    f"{np.max(np.abs(value - other)):.2g}); it draws random numbers or keeps state: "
                    "give it a generator that it seeds anew in each call"
                )
            if not np.isfinite(value).all() and order == 1:
                raise ValueError(f"gradcheck: output {i} of f is not finite at this point")
        self.finite = all(np.isfinite(value).all() for value in values)
        self.weights = [np.asarray(rng.standard_normal(value.shape)) for value in values]
        self.magnitude = float(
            sum(np.sum(np.abs(w * value)) for w, value in zip(self.weights, values, strict=True))
        )
        self.checked = [i for i, array in enumerate(arrays) if array.dtype.kind == "f" and array.size]
        self.gradients = self._by_the_rules()

    def _by_the_rules(self) -> list[Array]:
        leaves = _leaves(self.arrays)
        wanted = [leaves[i] for i in self.checked]
        token = current_scope.set(Scope(enabled=True, outer=current_scope.get()))
        try:
            outputs = self.level(leaves, True)
            found = grad(outputs, wanted, self.weights, allow_unused=True)
        finally:
            current_scope.reset(token)
        return [np.zeros_like(x.data) if g is None else g.data for g, x in zip(found, wanted, strict=True)]

    def _along(self, directions: list[Array | None]) -> Callable[[Any], Any]:
        """Return t ↦ Σ w·f(x + t·v)."""
        values = self._values(directions)

        def at(t: Any) -> Any:
            return sum([np.sum(w * result) for w, result in zip(self.weights, values(t), strict=True)])

        return at

    def _values(self, directions: list[Array | None]) -> Callable[[Any], list[Array]]:
        """Return t ↦ the outputs of f(x + t·v)."""

        def at(t: Any) -> list[Array]:
            moved = [
                array if v is None else array + t * v
                for array, v in zip(self.arrays, directions, strict=True)
            ]
            with np.errstate(all="ignore"):
                if isinstance(t, complex):
                    boxes = [Tensor._box(array, None, [0]) for array in moved]
                    results = [result.data for result in self.level(boxes, False)]
                else:
                    results = _evaluated(self.level, moved)
                return results

        return at

    def _measured(self, directions: list[Array | None]) -> Derivative:
        along = self._along(directions)
        found = derivative(lambda t: float(along(t)), self.magnitude)
        return by_complex_step(along, found, self.magnitude) if self.order == 1 else found

    def _tolerance(self, found: Derivative, size: float) -> float:
        share = self.rtol * 1e-4 if found.method == "complex step" else self.rtol
        return share * size + 3 * found.error

    def run(self) -> None:
        """Compare along one direction, and where that does not settle it entry by entry."""
        directions: list[Array | None] = [None] * len(self.arrays)
        products = []
        for i, gradient in zip(self.checked, self.gradients, strict=True):
            v = self.rng.standard_normal(self.arrays[i].shape) * spread(self.arrays[i])
            directions[i] = v
            products.append((gradient * v).reshape(-1))
        every = np.concatenate(products)
        size = float(np.sqrt(np.sum(every**2)))
        along = self._along(directions)
        self.magnitude = trembling(lambda t: float(along(t)), self.magnitude)
        found = self._measured(directions)
        self.report.method = found.method if self.order == 1 else self.report.method
        wrong = abs(float(np.sum(every)) - found.value)
        size = max(size, abs(found.value))
        if found.smooth and wrong <= self._tolerance(found, size):
            self.report.error = max(self.report.error, wrong / size if size else 0.0)
            return
        self._entry_by_entry()
        if not self.report.failed and not self.report.kinks and found.smooth:
            self.report.failed = f"gradcheck failed at order {self.order}"
            self.report.notes.append(
                f"along a random direction: by the rules {np.sum(every):.9g}, "
                f"by differences {found.value:.9g}"
            )

    def _entry_by_entry(self) -> None:
        report = self.report
        largest = max([float(np.max(np.abs(g), where=np.isfinite(g), initial=0.0)) for g in self.gradients])
        mistakes: list[tuple[float, Entry, int]] = []
        truths: dict[int, tuple[Array, Array]] = {}
        for place, i in enumerate(self.checked):
            x, gradient = self.arrays[i], self.gradients[place]
            entries = sampled(x.size, SAMPLE, self.rng, gradient)
            if entries.size < x.size:
                report.notes.append(f"{self.names[i]}: {entries.size:,} of {x.size:,} entries were looked at")
            truth, smooth = np.zeros(x.shape), np.zeros(x.shape)
            for flat in entries:
                index = np.unravel_index(int(flat), x.shape)
                found = self._single(i, index, x)
                rule = float(gradient[index])
                truth[index] = found.value if found.smooth else 0.0
                smooth[index] = found.smooth
                place_of = tuple(int(part) for part in index)
                off = abs(rule - found.value)
                if not found.smooth:
                    off = self._outside(i, index, rule, found)
                    report.kinks.setdefault(
                        f"{self.names[i]}{list(place_of) or ''} = {x[index]:.6g}",
                        f"from the left {found.left:.4g}, from the right {found.right:.4g}, rule {rule:.4g}",
                    )
                report.checked += 1
                size = max(largest, abs(found.value)) if found.smooth else max(largest, abs(found.right))
                if off > self._tolerance(found, size):
                    entry = Entry(self.order, self.names[i], place_of, rule, found.value, found.error)
                    mistakes.append((off, entry, place))
                elif found.smooth and size:
                    report.error = max(report.error, off / size)
            truths[place] = (truth, smooth)
        if not mistakes:
            return
        _, report.worst, place = max(mistakes, key=lambda mistake: mistake[0])
        report.wrong = len(mistakes)
        report.failed = f"gradcheck failed at order {self.order}"
        truth, smooth = truths[place]
        directions = [self.rng.standard_normal(truth.shape) * smooth for _ in range(6)]
        report.diagnosis = diagnose(
            self.gradients[place] * smooth, directions, [float(np.vdot(truth, v)) for v in directions]
        )

    def _single(self, i: int, index: Any, x: Array) -> Derivative:
        """Return the derivative by one entry."""
        unit = np.zeros_like(x)
        unit[index] = 1.0

        def measure(scale: float) -> Derivative:
            directions: list[Array | None] = [None] * len(self.arrays)
            directions[i] = scale * unit
            return self._measured(directions)

        return by_entry(measure, float(x[index]), float(spread(x)[index]))

    def _outside(self, i: int, index: Any, rule: float, found: Derivative) -> float:
        """Return by how much a rule misses what lies between the slopes of a kink's two sides."""
        if not np.isfinite((found.left, found.right)).all():
            return 0.0
        x = self.arrays[i]
        scale = float(spread(x)[index])
        directions: list[Array | None] = [None] * len(self.arrays)
        unit = np.zeros_like(x)
        unit[index] = scale
        directions[i] = unit
        return outside(rule * scale, self.weights, self._values(directions)) / scale
