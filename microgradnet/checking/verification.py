"""verify: every gradient of a model three ways, and where and how they part."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.checking.diagnosis import diagnose
from microgradnet.checking.differences import Derivative, by_entry, derivative, sampled, spread
from microgradnet.checking.report import PAIRS, Report, Row
from microgradnet.checking.rule_check import RuleCheck, check_rules, other_losses
from microgradnet.checking.translation import Translation, translate
from microgradnet.checking.watched_run import Call, WatchedRun
from microgradnet.nn import Module
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.checking.watched_run import Place
    from microgradnet.graph import Array

DIRECTIONS = 2
"""How many random directions a value is moved along whose entries are only sampled."""


def verify(
    model: Module,
    loss_fn: Callable[..., Any],
    x: Any,
    y: Any,
    *,
    samples: int = 24,
    seed: int = 0,
) -> Report:
    """Compute every gradient of ``loss_fn(model(x), y)`` by autograd, by hand-derived δ, by differences.

    Compared are the loss, δ = ∂C/∂output of every layer, ∂C of every parameter and of the input. The error of
    a pair is its largest difference relative to the largest gradient of its kind (δ, weight, bias, …).
    Besides, each recorded operation's rules are held against differences of its own forward at the recorded
    values: where a gradient is wrong, the report names the operation nearest to the loss whose rule is, and
    what kind of mistake it is.

    It works on a float64 copy in the model's mode; model, generators, statistics and ``.grad`` stay as they
    are. The copy draws the same dropout masks in all three ways. ``x`` may be a tuple of several inputs.

    At most ``samples`` entries of each value are moved one by one (all, where there are no more; otherwise
    those with the largest gradients and random others), and then all of them together along random
    directions, which notice a wrong entry anywhere. ``seed`` chooses them.

    Returns a report: ``report.ok``, ``str(report)``, ``report.to_json()``, and a table in notebooks. A layer
    or loss that δ does not know is named in it, and the other two columns are given. Points where an
    operation is not differentiable are named and not called mistakes.

    Raises ValueError for a model without parameters, a loss that is not one finite number, a model that gives
    another loss when it is run again; TypeError where ``model`` is no Module.

    >>> import numpy as np
    >>> import microgradnet as mg
    >>> from microgradnet import nn
    >>> mg.manual_seed(1)
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> rng = np.random.default_rng(1)
    >>> report = mg.verify(model, nn.MSELoss(), rng.standard_normal((5, 3)), rng.standard_normal((5, 2)))
    >>> report.ok, len(report.rows)
    (True, 8)
    >>> report.error("autograd–δ") < 1e-14, report.error("autograd–differences") < 1e-8
    (True, True)
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"verify: the model is {type(model).__name__}, not a Module; "
            "check a plain function with gradcheck(f, inputs)"
        )
    if samples < 1:
        raise ValueError(f"verify: samples must be at least 1, not {samples}")
    run = WatchedRun(model, loss_fn, x, y)
    return _Verification(run, samples, seed).report(type(model).__name__)


class _Verification:
    """The comparison of one watched run."""

    def __init__(self, run: WatchedRun, samples: int, seed: int) -> None:
        self.run, self.samples, self.seed = run, samples, seed
        self.rng = np.random.default_rng(seed)
        self.places: dict[int, Place] = {}  # by id of the row
        self.measured: dict[int, list[tuple[Array, Derivative]]] = {}  # random directions, by id of the row
        self.spreads: dict[int, Array] = {}
        self.entry_errors: dict[int, Array] = {}
        self.notes: list[str] = []
        self.verdict: list[str] = []

    def report(self, model: str) -> Report:
        """Compare everything."""
        run = self.run
        rules = self._rules()  # before anything is moved: a later write would make the recorded values stale
        rows = self._rows()
        found = translate(run)
        by_delta = self._by_delta(found, rows)
        for row in rows:
            self._by_differences(row)
        self._compare(rows)
        self._judge(rows, rules, found, by_delta)
        self._sampling_note(rows)
        return Report(model, run.value, by_delta, rows, rules, self.verdict, self.notes, self.seed)

    # ------------------------------------------------------------------ the three ways

    def _rules(self) -> list[RuleCheck]:
        run, found = self.run, []
        for number in sorted(run.nodes, reverse=True):
            node = run.nodes[number]
            for check in check_rules(node, run.labels[number], self.rng):
                check.layer = run.layer(node)
                check.parameter = run.parameter_name(node.parents[check.argument])
                found.append(check)
        return found

    def _rows(self) -> list[Row]:
        """List what is compared, in backward order."""
        run = self.run
        rows: list[Row] = []
        waiting = dict(run.parameters)

        def add(kind: str, name: str, layer: str, tensor: Tensor, place: Place) -> None:
            gradient = run.gradient(tensor)
            rows.append(Row(kind, name, layer, tensor.shape, gradient))
            self.places[id(rows[-1])] = place

        for call in reversed(run.calls):
            if call.output._node is None or not call.output.size:
                continue
            add("δ", call.name, f"{call.name} ({type(call.module).__name__})", call.output, call)
            own = {id(value) for value in vars(call.module).values() if isinstance(value, Tensor)}
            for name in [name for name, parameter in waiting.items() if id(parameter) in own]:
                add(_kind(name), name, call.path, waiting[name], waiting.pop(name))
        for name, parameter in waiting.items():
            if parameter.size:
                add(_kind(name), name, "", parameter, parameter)
        for i, tensor in enumerate(run.inputs):
            if tensor.requires_grad and tensor.size:
                add("input", f"input {i}" if len(run.inputs) > 1 else "input", "", tensor, tensor)
        return rows

    def _by_delta(self, found: Translation | str, rows: list[Row]) -> float | None:
        """Fill in the column of δ; return its loss."""
        if isinstance(found, str):
            self.notes.append(f"{found}: its column is empty")
            return None
        target = self.run.target
        target = target.data if isinstance(target, Tensor) else target
        try:
            with np.errstate(all="ignore"):
                result = found.stack.backprop(found.input, target)
        except (ValueError, TypeError, IndexError) as error:
            self.verdict.append(f"the δ equations fail on this model: {error}")
            return None
        if not found.complete:
            self.notes.append(f"{found.unknown}: its column is filled from the loss as far as there")
        by_place = {id(self.places[id(row)]): row for row in rows}
        for k, call in enumerate(found.calls):
            row = by_place.get(id(call))
            if row is not None:
                row.delta = result.deltas[k]
            for name, gradient in result.gradients[k].items():
                parameter = getattr(call.module, name)
                row = by_place.get(id(parameter))
                if row is not None and (found.complete or self._only_here(parameter, found.calls)):
                    row.delta = gradient if row.delta is None else row.delta + gradient
        start = found.calls[0].input if found.calls else self.run.prediction
        row = by_place.get(id(start))
        if not found.complete and self._uses(start) == 1:  # nothing else uses what the unknown layer gave
            row = self._row_of(start, rows)
        if row is not None:
            row.delta = result.input_gradient
        return result.cost

    def _row_of(self, value: Tensor, rows: list[Row]) -> Row | None:
        """Return the row of the layer that a value is the output of."""
        for row in rows:
            place = self.places[id(row)]
            if isinstance(place, Call) and place.output._node is value._node:
                return row
        return None

    def _uses(self, value: Tensor) -> int:
        """Count the arguments of recorded operations that a value is."""
        nodes = self.run.nodes.values()
        return sum(parent is value._node for node in nodes for parent in node.parents)

    def _only_here(self, parameter: Tensor, calls: list[Call]) -> bool:
        """Whether a parameter is used by the calls of the stack alone, so that δ sees all of its gradient."""
        here = sum(parameter is value for call in calls for value in vars(call.module).values())
        return self._uses(parameter) == here

    def _base(self, row: Row) -> Array:
        place = self.places[id(row)]
        return place.output.data if isinstance(place, Call) else place.data

    def _along(self, row: Row, v: Array) -> Derivative:
        """Return the derivative of the loss when the row's value moves along v."""
        place, base = self.places[id(row)], self._base(row)
        run = self.run
        return derivative(lambda t: run.at(place, base + t * v) if t else run.value, run.magnitude)

    def _scaled(self, row: Row, v: Array, scale: float) -> Derivative:
        return self._along(row, scale * v)

    def _by_differences(self, row: Row) -> None:
        base = self._base(row)
        scale = spread(base, 0.1)
        telling = row.autograd if row.autograd is not None and row.autograd.shape == base.shape else None
        row.entries = sampled(base.size, self.samples, self.rng, telling)
        values, errors = [], []
        for flat in row.entries:
            unit = np.zeros(base.shape)
            index = np.unravel_index(int(flat), base.shape)
            unit[index] = 1.0
            found = by_entry(partial(self._scaled, row, unit), float(base[index]), float(scale[index]))
            row.kinks += not found.smooth
            values.append(found.value if found.smooth else np.nan)
            errors.append(found.error)
        row.differences = np.array(values)
        self.entry_errors[id(row)] = np.array(errors)
        self.spreads[id(row)] = scale
        if row.entries.size < base.size:
            self.measured[id(row)] = [self._direction(row) for _ in range(DIRECTIONS)]
            row.directions = sum(found.smooth for _, found in self.measured[id(row)])

    def _direction(self, row: Row) -> tuple[Array, Derivative]:
        v = self.rng.standard_normal(row.shape) * self.spreads[id(row)]
        return v, self._along(row, v)

    # ------------------------------------------------------------------ comparing

    def _compare(self, rows: list[Row]) -> None:
        largest: dict[str, float] = {}
        for row in rows:
            columns = [column for column in (row.autograd, row.delta, row.differences) if column is not None]
            largest[row.kind] = max(
                [largest.get(row.kind, 0.0)]
                + [float(np.max(np.abs(c), where=np.isfinite(c), initial=0.0)) for c in columns]
            )
        for row in rows:
            scale = largest[row.kind]
            row.errors = dict.fromkeys(PAIRS)
            if row.autograd is not None and row.delta is not None:
                row.errors[PAIRS[0]] = _relative(row.autograd, row.delta, scale)
            for pair, column in ((PAIRS[1], row.autograd), (PAIRS[2], row.delta)):
                if column is not None and row.entries.size:
                    row.errors[pair] = self._from_differences(row, column, scale)

    def _from_differences(self, row: Row, column: Array, scale: float) -> float | None:
        """Return the largest disagreement; what differences cannot resolve counts as their own error."""
        smooth = np.isfinite(row.differences)
        claimed = column.reshape(-1)[row.entries][smooth]
        if not np.isfinite(claimed).all():
            return float("inf")
        off = np.abs(claimed - row.differences[smooth])
        errors = self.entry_errors[id(row)][smooth]
        compared = list(zip(off.tolist(), errors.tolist(), strict=True))
        for v, found in self.measured.get(id(row), []):
            length = float(np.sqrt(np.sum(v * v)))
            if found.smooth and length and np.isfinite(column).all():
                compared.append((abs(float(np.vdot(column, v)) - found.value) / length, found.error / length))
        if not compared:
            return None
        return max([d / max(scale, 3e6 * e) if d else 0.0 for d, e in compared])

    # ------------------------------------------------------------------ judging

    def _judge(
        self, rows: list[Row], rules: list[RuleCheck], found: Translation | str, by_delta: float | None
    ) -> None:
        wrong = [check for check in rules if check.status == "disagrees"]
        if wrong:
            self._name_first(wrong, rules)
        autograd = [row for row in rows if PAIRS[1] in row.disagreeing]
        if self.run.failure and not wrong:
            self.verdict.append(f"the backward pass fails: {self.run.failure}")
        if autograd and not wrong:
            self._unrecorded(autograd, rules)
        if by_delta is not None and not _near(by_delta, self.run.value):
            self.verdict.append(
                f"the loss is {self.run.value:.12g}, by δ {by_delta:.12g}: {self._forward_parts(found)}"
            )
        by_hand = [row for row in rows if PAIRS[0] in row.disagreeing]
        settled = [row for row in by_hand if PAIRS[1] not in row.disagreeing]
        if settled and not wrong:
            self._delta_parts(settled[0], rows)
        if (autograd or by_hand) and not self.verdict:
            names = ", ".join([row.title for row in [*autograd, *by_hand][:4]])
            self.verdict.append(f"the columns of {names} disagree")
        unchecked = [check for check in rules if check.status == "unchecked"]
        self.notes += [f"not checked: {check}: {check.diagnosis}" for check in unchecked[:3]]

    def _name_first(self, wrong: list[RuleCheck], rules: list[RuleCheck]) -> None:
        first = wrong[0]
        before = len({check.operation for check in rules[: rules.index(first)]} - {first.operation})
        downstream = (
            "it is the first of all"
            if not before
            else f"everything downstream ({before} operation{'s' * (before > 1)}) agrees"
        )
        self.verdict.append(f"{downstream}; first disagreement at {first}")
        if first.diagnosis:
            self.verdict.append(first.diagnosis)
        if len(wrong) > 1:
            others = list(dict.fromkeys([f"`{check.operation}`" for check in wrong[1:]]))
            self.verdict.append(f"also wrong: {', '.join(others[:4])}{', …' if len(others) > 4 else ''}")

    def _unrecorded(self, rows: list[Row], rules: list[RuleCheck]) -> None:
        """Every rule holds, and the gradient is wrong: the graph itself does not say how the loss depends."""
        row = rows[0]
        if row.autograd is not None and not np.isfinite(row.autograd).all():
            infinite = [check for check in rules if "not finite" in check.diagnosis]
            cause = f": {infinite[0]} has an infinite derivative at these values" if infinite else ""
            self.verdict.append(f"{row.title} by autograd is not finite{cause}")
            return
        self.verdict.append(
            f"every operation's rule holds, but {row.title} disagrees with the loss itself: a way to the "
            "loss is not recorded (look for detach(), .data, no_grad() or plain NumPy on it)"
            + (", or the kinks named below add up to none" if any(check.kinks for check in rules) else "")
        )
        row.diagnosis = self._against_differences(row, row.autograd)
        if row.diagnosis:
            self.verdict.append(f"{row.title}: {row.diagnosis}")

    def _against_differences(self, row: Row, column: Array | None) -> str:
        if column is None:
            return ""
        measured = [(v, found) for v, found in (self._direction(row) for _ in range(6)) if found.smooth]
        if len(measured) < 2:
            return ""
        return diagnose(
            column, [v for v, _ in measured], [found.value for _, found in measured], self._counts()
        )

    def _counts(self) -> dict[str, int]:
        shape = getattr(self.run.prediction, "shape", ())
        counts = {"the batch size N": shape[0]} if shape else {}
        if len(shape) > 1:
            counts["the number of outputs"] = int(np.prod(shape[1:]))
            counts["the number of elements of the prediction"] = int(np.prod(shape))
        return counts

    def _forward_parts(self, found: Translation | str) -> str:
        """Say from which layer on the two compute different values."""
        if isinstance(found, str):
            return "they compute different losses"
        with np.errstate(all="ignore"):
            values = found.stack.forward(found.input)
        for call, value in zip(found.calls, values[1:], strict=True):
            if value.shape != call.output.shape or _relative(value, call.output.data, 0.0) > 1e-10:
                return f"the outputs of {call.name} ({type(call.module).__name__}) differ already"
        return "the predictions are the same, the losses of them are not"

    def _delta_parts(self, row: Row, rows: list[Row]) -> None:
        """Autograd agrees with differences, and δ does not: say where it begins, and how."""
        if row.autograd is None or row.delta is None:
            return
        directions = [self.rng.standard_normal(row.shape) for _ in range(6)]
        truths = [float(np.vdot(row.autograd, v)) for v in directions]
        row.diagnosis = diagnose(row.delta, directions, truths, self._counts(), self._neighbours(row, rows))
        self.verdict.append(
            f"autograd and differences agree; the hand-derived δ parts from them first at {row.title}"
        )
        if row.diagnosis:
            self.verdict.append(f"{row.title} by δ: {row.diagnosis}")

    def _neighbours(self, row: Row, rows: list[Row]) -> dict[str, Array]:
        """Return gradients that δ may have been mistaken for: of the layer behind, of another loss."""
        chain = [other for other in rows if other.kind == "δ"]
        found: dict[str, Array] = {}
        if row in chain:
            place = chain.index(row)
            if place and chain[place - 1].autograd is not None:
                behind = chain[place - 1]
                found[f"it is the δ of {behind.layer} unchanged: the derivative of that layer is missing"] = (
                    np.asarray(behind.autograd)
                )
            prediction, target = self.run.prediction, self.run.target
            target = target.data if isinstance(target, Tensor) else target
            if not place and isinstance(prediction, Tensor) and isinstance(target, np.ndarray):
                for words, slope in other_losses(prediction.data, target).items():
                    found[f"it is the gradient of {words}, not of this loss"] = slope
        return found

    def _sampling_note(self, rows: list[Row]) -> None:
        partial = [row for row in rows if row.directions or id(row) in self.measured]
        if partial:
            moved = sum(row.entries.size for row in rows)
            total = sum(int(np.prod(row.shape)) for row in rows)
            self.notes.append(
                f"differences moved {moved:,} of {total:,} entries one by one (chosen with seed "
                f"{self.seed}), and the larger values also whole, along {DIRECTIONS} random directions each"
            )


def _kind(name: str) -> str:
    """Return what a parameter is called: the last word of its path."""
    words = [word for word in name.split(".") if not word.isdigit()]
    return words[-1] if words else name


def _relative(a: Array, b: Array, scale: float) -> float:
    """Return the largest difference, relative to ``scale`` or to the arrays' own size."""
    if a.shape != b.shape:
        return float("inf")
    scale = max(scale, float(np.max(np.abs(b), where=np.isfinite(b), initial=0.0)))
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return float("inf")
    off = float(np.max(np.abs(a[finite] - b[finite]), initial=0.0))
    return off / scale if scale else 0.0


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-10 * max(abs(a), abs(b))
