"""Each recorded operation on its own: its gradient rules against differences of its own forward."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import delta
from microgradnet.backprop import visits
from microgradnet.checking.diagnosis import diagnose
from microgradnet.checking.differences import (
    Derivative,
    by_complex_step,
    by_entry,
    derivative,
    outside,
    sampled,
    spread,
)
from microgradnet.graph import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.graph import Array

RTOL = 1e-6
FEW = 256
"""How many entries are looked at one by one: to find the worst, or those at a kink."""
RULE_ERRORS = (TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError)
"""What a wrong rule may raise; a RuntimeError is the engine's, about values changed in place."""


@dataclass
class RuleCheck:
    """One rule of one recorded operation: whether it is the derivative of the forward, and if not how."""

    operation: str
    """Its name and its place in the graph, ``mul#7``."""
    argument: int
    layer: str = ""
    """Path of the innermost module in which it was called, and what kind that is."""
    parameter: str = ""
    """Path of the parameter that the argument is."""
    status: str = "agrees"
    """``agrees``, ``disagrees`` or ``unchecked``."""
    index: tuple[int, ...] = ()
    rule: float = 0.0
    differences: float = 0.0
    error: float = 0.0
    diagnosis: str = ""
    kinks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        what = f"parameter '{self.parameter}'" if self.parameter else f"argument {self.argument}"
        layer = f" in {self.layer}" if self.layer else ""
        numbers = ""
        if self.status == "disagrees" and self.error:
            numbers = (
                f": at {place or 'its value'} the rule gives {self.rule:.6g}, "
                f"the forward {self.differences:.6g}"
            )
        return f"`{self.operation}`{layer}, {what}{numbers}"


def check_rules(node: Node, label: str, rng: np.random.Generator) -> list[RuleCheck]:
    """Hold every rule of a recorded operation against differences of its forward, with a random g.

    The node must have been recorded with all its arguments (``watched_run.record``).
    """
    if node.primitive is None:
        return []
    arrays = [np.asarray(arg.y if isinstance(arg, Node) else arg) for arg in node.args]
    g = rng.standard_normal(node.shape).astype(node.dtype)
    checks: list[RuleCheck] = []
    with np.errstate(all="ignore"):
        again = np.asarray(node.primitive.forward(*arrays, **node.meta))
    if not np.array_equal(again, node.y, equal_nan=True):
        note = "called again with the same arguments it gives other numbers: not a function of them alone"
        return [RuleCheck(label, i, status="unchecked", diagnosis=note) for i, _ in node.pulls]
    done: set[int] = set()
    for i, _ in node.pulls:
        parent = node.parents[i]
        if parent is None or i in done:
            continue
        same = [k for k, _ in node.pulls if node.parents[k] is parent]
        done.update(same)
        try:
            with np.errstate(all="ignore"):
                (_, _, handed), *_ = visits({node: g}, among={parent})
        except RULE_ERRORS as error:
            note = _raised(error, node, parent)
            checks += [RuleCheck(label, k, status="disagrees", diagnosis=note) for k in same]
            continue
        checks += [_OneRule(node, arrays, k, c, g, rng).check(RuleCheck(label, k)) for k, _, c, _ in handed]
    return sorted(checks, key=lambda check: check.argument)


def _raised(error: Exception, node: Node, parent: Node) -> str:
    """Say what a rule that fails has forgotten."""
    text = str(error)
    hint = ""
    if "returned shape" in text and node.ndim > parent.ndim and node.shape[-parent.ndim :] == parent.shape:
        hint = "; the sum over the batch is missing"
    return f"the rule fails: {text}{hint}"


class _OneRule:
    """The check of one rule at the recorded values."""

    def __init__(
        self, node: Node, arrays: list[Array], i: int, claimed: Array, g: Array, rng: np.random.Generator
    ) -> None:
        self.node, self.arrays, self.i, self.claimed, self.g, self.rng = node, arrays, i, claimed, g, rng
        self.x = arrays[i]
        self.scale = spread(self.x)
        self.epsilon = float(max(np.finfo(node.dtype).eps, np.finfo(self.x.dtype).eps))

    def _values(self, v: Array) -> Callable[[Any], Any]:
        """Return t ↦ forward(…, x + t·v, …)."""
        primitive = self.node.primitive
        if primitive is None:
            raise TypeError("a leaf has no forward")

        def at(t: Any) -> Any:
            moved = self.x + np.asarray(t * v, None if isinstance(t, complex) else self.x.dtype)
            arrays = [*self.arrays[: self.i], moved, *self.arrays[self.i + 1 :]]
            with np.errstate(all="ignore"):
                return primitive.forward(*arrays, **self.node.meta)

        return at

    def measure(self, v: Array, g: Array | None = None) -> Derivative:
        """Return the derivative of Σ g·forward along v."""
        g = self.g if g is None else g
        values = self._values(v)

        def along(t: Any) -> Any:
            return np.sum(g * values(t))

        magnitude = float(np.sum(np.abs(g * self.node.y)))
        found = derivative(lambda t: float(along(t)), magnitude, self.epsilon)
        exact = self.x.dtype == np.float64 == self.node.dtype
        return by_complex_step(along, found, magnitude) if exact else found

    def _tolerance(self, found: Derivative, size: float) -> float:
        share = RTOL * 1e-4 if found.method == "complex step" else RTOL
        return share * size + 3 * found.error

    def check(self, result: RuleCheck) -> RuleCheck:
        """Fill in the result."""
        if not self.x.size or not self.node.y.size:
            return result
        if not np.isfinite(self.claimed).all():
            result.status, result.diagnosis = "unchecked", "its gradient is not finite at these values"
            return result
        v = self.rng.standard_normal(self.x.shape) * self.scale
        found = self.measure(v)
        if not found.smooth:
            self.scale = np.where(self.x == 0, self.scale, np.minimum(np.abs(self.x), self.scale))
            v = self.rng.standard_normal(self.x.shape) * self.scale * self._without_kinks(result)
            if result.status == "disagrees":
                return result
            found = self.measure(v)
        products = self.claimed * v
        size = max(float(np.sqrt(np.sum(products**2))), abs(found.value))
        if not found.smooth:
            result.status = "unchecked"
            result.diagnosis = "no point nearby at which it is smooth in every argument"
        elif abs(float(np.sum(products)) - found.value) > self._tolerance(found, size):
            result.status = "disagrees"
            self._locate(result, v != 0)
            result.diagnosis = self._diagnosis(v != 0)
        return result

    def _single(self, flat: int) -> tuple[tuple[int, ...], Derivative]:
        index = tuple([int(k) for k in np.unravel_index(flat, self.x.shape)])
        unit = np.zeros(self.x.shape)
        unit[index] = 1.0
        found = by_entry(lambda s: self.measure(s * unit), float(self.x[index]), float(self.scale[index]))
        return index, found

    def _without_kinks(self, result: RuleCheck) -> Array:
        """Find the entries that sit at a kink; return 1 for those that were seen to be smooth."""
        smooth = np.zeros(self.x.shape)
        for flat in sampled(self.x.size, FEW, self.rng):
            index, found = self._single(int(flat))
            if found.smooth:
                smooth[index] = 1
                continue
            value = float(self.claimed[index])
            place = f"[{', '.join(map(str, index))}]" if index else ""
            result.kinks.append(f"{result.operation}, argument {self.i}{place} = {self.x[index]:.6g}")
            if np.isfinite((found.left, found.right)).all() and self._outside(value, index):
                result.status, result.index = "disagrees", index
                result.rule, result.differences, result.error = value, found.value, found.error
                result.diagnosis = (
                    "the forward has a kink there, and the rule's value does not lie between the slopes of "
                    f"its two sides, {found.left:.4g} and {found.right:.4g}"
                )
                return smooth
        return smooth

    def _outside(self, value: float, index: tuple[int, ...]) -> bool:
        unit = np.zeros(self.x.shape)
        unit[index] = scale = float(self.scale[index])
        values = self._values(unit)
        return outside(value * scale, [self.g], lambda t: [np.asarray(values(t))]) > 0

    def _locate(self, result: RuleCheck, where: Array) -> None:
        """Find the entry that is most wrong."""
        worst = -1.0
        for flat in sampled(self.x.size, FEW, self.rng, self.claimed):
            if not where.reshape(-1)[flat]:
                continue
            index, found = self._single(int(flat))
            value = float(self.claimed[index])
            if found.smooth and abs(value - found.value) > worst:
                worst = abs(value - found.value)
                result.index, result.rule, result.differences = index, value, found.value
                result.error = max(found.error, 1e-300)

    def _diagnosis(self, where: Array) -> str:
        directions = [self.rng.standard_normal(self.x.shape) * self.scale * where for _ in range(6)]
        truths = [self.measure(v).value for v in directions]
        said = diagnose(self.claimed * where, directions, truths, self._counts(), self._alternatives(where))
        return self._partial_sum(directions, where) or said

    def _counts(self) -> dict[str, int]:
        """Return the sizes that a factor may be."""
        shape: tuple[int, ...] = next((array.shape for array in self.arrays if array.ndim), ())
        counts = {"the batch size N": shape[0]} if shape else {}
        if len(shape) > 1:
            counts["the number of elements"] = int(np.prod(shape))
            counts["the length of the last axis"] = shape[-1]
        return counts

    def _alternatives(self, where: Array) -> dict[str, Array]:
        """Return what somebody may have handed on instead."""
        name = self.node.primitive.name if self.node.primitive else ""
        found: dict[str, Array] = {}
        if self.node.y.size == 1 and self.i == 0 and len(self.arrays) > 1:
            g = float(self.g.reshape(-1)[0])
            for words, slope in other_losses(self.x, self.arrays[1]).items():
                found[f"it is the gradient of {words}, not of this loss"] = g * slope * where
        elif self.g.shape == self.x.shape:
            found[f"it hands g on as it came: the derivative of {name} is missing"] = self.g * where
        return found

    def _partial_sum(self, directions: list[Array], where: Array) -> str:
        """Recognise the gradient of one example where all of them should be summed."""
        if self.node.ndim == 0 or self.node.shape[0] < 2 or self.x.shape == self.node.shape:
            return ""
        claimed = np.array([float(np.vdot(self.claimed * where, v)) for v in directions])
        for k in (0, self.node.shape[0] - 1):
            only = np.zeros_like(self.g)
            only[k] = self.g[k]
            truth = np.array([self.measure(v, only).value for v in directions])
            if np.any(truth) and np.max(np.abs(claimed - truth)) <= 1e-5 * np.max(np.abs(truth)):
                return f"it is the gradient of example {k} alone: the sum over the batch is missing"
        return ""


def other_losses(a: Array, y: Array) -> dict[str, Array]:
    """Return ∂C/∂a of every cost that fits a prediction and its target, by the cost's name and scale."""
    found: dict[str, Array] = {}
    costs = [cost for cost in vars(delta).values() if inspect.isclass(cost) and issubclass(cost, delta.Cost)]
    for cost in costs:
        for reduction in ("mean", "batchmean", "sum"):
            if inspect.isabstract(cost):
                continue
            try:
                with np.errstate(all="ignore"):
                    slope = cost(reduction).delta(a, y)
            except (ValueError, TypeError, IndexError):
                continue
            if np.isfinite(slope).all():
                found.setdefault(f"the {cost.__name__.removesuffix('Cost')} cost ({reduction})", slope)
    return found
