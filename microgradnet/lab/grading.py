"""Marks for a hand-written backward pass: each gradient against the engine's, with a hint where it is off."""

from __future__ import annotations

import copy
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.backprop import grad, jacobian
from microgradnet.html_table import table
from microgradnet.lab.wording import relation, same, side_by_side
from microgradnet.nn import BatchNorm1d, BCELoss, Embedding, Flatten, LayerNorm
from microgradnet.nn.losses import ClassLoss, Loss
from microgradnet.nn.module import Module
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet.graph import Array

BATCH = 5
MOST_COLUMNS = 256
"""Up to so many inputs the Jacobian is computed, to recognise its diagonal."""
STUDENT_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a student's program may raise: it is reported, and costs the marks."""


@dataclass(frozen=True)
class Mark:
    """One gradient: 1 where it is right, ½ where one slip explains all of it, 0 otherwise."""

    name: str
    points: float
    hint: str
    right: Array
    given: Array | None


@dataclass(frozen=True)
class Grade:
    """What ``grade`` found; ``str()`` and a notebook show the marks and hints."""

    layer: str
    marks: tuple[Mark, ...]
    notes: tuple[str, ...] = ()
    """What concerns the whole program."""

    @property
    def points(self) -> float:
        """The sum of the marks."""
        return sum([mark.points for mark in self.marks])

    @property
    def passed(self) -> bool:
        """Whether everything is right."""
        return self.points == len(self.marks) and not self.notes

    @property
    def _headline(self) -> str:
        return f"{self.layer}: {self.points:g} of {len(self.marks)}"

    def __str__(self) -> str:
        lines = [self._headline, *[f"  {note}" for note in self.notes]]
        for mark in self.marks:
            lines.append(f"  {mark.points:<3g} gradient of {mark.name}: {mark.hint}")
            if mark.points < 1 and mark.given is not None:
                right, given = side_by_side(mark.right, mark.given)
                lines.append(f"      right {right}, given {given}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [
            [mark.name, f"{mark.points:g}", mark.hint, *side_by_side(mark.right, mark.given)]
            for mark in self.marks
        ]
        notes = "".join([f"<p>{html.escape(note)}</p>" for note in self.notes])
        return notes + table(rows, ["gradient of", "mark", "hint", "right", "given"], self._headline)


def grade(
    student_backward: Callable[..., Any],
    layer: Callable[..., Any],
    *,
    inputs: Sequence[Any] | None = None,
    seed: int = 0,
) -> Grade:
    """Mark a hand-written backward pass of a layer, a loss or a function of tensors.

    The program is called as ``student_backward(*inputs, *parameters, grad_output)`` with float64 arrays: for
    ``nn.Linear`` as ``(x, weight, bias, grad_output)``, for an activation as ``(x, grad_output)``, for a loss
    as ``(input, target, grad_output)``. It returns the gradients in the same order: of every floating input,
    then of every parameter (of a loss, of its input alone). One may be returned as it is, several as a tuple,
    or as a dict by name (``x``, ``weight``, …).

    It is run on a batch of five random examples, with a random grad_output, and on a batch of one.

    Parameters
    ----------
    student_backward
        The program to be marked. It may not write into its arguments.
    layer
        A module (a float64 copy is used, in its mode), or a function of tensors.
    inputs
        The arrays to try it on, examples along the first axis, where the layer's sizes do not tell them.
    seed
        Of the random numbers.

    Raises
    ------
    ValueError
        If the layer gives other numbers when it is run again (dropout in training), or does not take the
        inputs.

    Examples
    --------
    >>> from microgradnet import lab, nn
    >>> def backward(x, weight, bias, grad_output):
    ...     return grad_output @ weight, grad_output.T @ x, grad_output
    >>> print(lab.grade(backward, nn.Linear(3, 2)))
    Linear: 2.5 of 3
      1   gradient of x: right
      1   gradient of weight: right
      0.5 gradient of bias: there is one for each example: sum them over the batch, axis 0
          right [1.712 -0.02289], given 5×2 numbers
    """
    trial = _Trial(layer, inputs, np.random.default_rng(seed))
    given, notes = trial.ask(student_backward)
    alone = trial.first_example()
    for_one = None if alone is None else alone.ask(student_backward)[0]
    marks = []
    for name, right in trial.right.items():
        own = given.get(name)
        single = None if for_one is None else for_one.get(name)
        right_for_one = alone is not None and single is not None and same(single, alone.right[name])
        points, hint = _judged(trial, name, own, right_for_one=right_for_one)
        marks.append(Mark(name, points, hint, right, own))
    return Grade(trial.title, tuple(marks), tuple(notes))


class _Trial:
    """A layer with a batch for it, and the right gradients."""

    def __init__(
        self, layer: Callable[..., Any], inputs: Sequence[Any] | None, rng: np.random.Generator
    ) -> None:
        self.rng = rng
        self.layer: Any = copy.deepcopy(layer).astype(float) if isinstance(layer, Module) else layer
        called = getattr(layer, "name", None) or getattr(layer, "__name__", "the function")
        self.title = type(layer).__name__ if isinstance(layer, Module) else str(called)
        self.parameters = dict(self.layer.named_parameters()) if isinstance(self.layer, Module) else {}
        self.inputs = [_array(x) for x in (_examples(self.layer, self.rng) if inputs is None else inputs)]
        self.batch = len(self.inputs[0]) if self.inputs[0].ndim else 1
        self.y, again = self._forwards()
        if not np.array_equal(self.y, again):
            raise ValueError(
                f"lab.grade: {self.title} gives other numbers when it is run again; "
                "put it in evaluation, layer.eval()"
            )
        self.g: Array = np.asarray(self.rng.standard_normal(self.y.shape))
        self.right = self.gradients(self.inputs, self.g)

    def _leaves(self, inputs: Sequence[Array]) -> dict[str, Tensor]:
        """Return what a gradient is asked of, by name."""
        names = ["x"] if len(inputs) == 1 else [f"x{i}" for i in range(len(inputs))]
        if isinstance(self.layer, Loss):
            names = ["input", "target"]
        return {
            name: Tensor(x, requires_grad=x.dtype.kind == "f" and name != "target")
            for name, x in zip(names, inputs, strict=True)
        }

    def _forwards(self) -> tuple[Array, Array]:
        """Return the output, and that of a second run."""
        layer, tensors = self.fresh(), [Tensor(x) for x in self.inputs]
        try:
            return layer(*tensors).data, layer(*tensors).data
        except (ValueError, TypeError, IndexError) as error:
            shapes = ", ".join([str(x.shape) for x in self.inputs])
            raise ValueError(
                f"lab.grade: {self.title} does not take inputs of shape {shapes} ({error}); "
                "give arrays that it takes, inputs=(x, …)"
            ) from error

    def fresh(self) -> Any:
        """Return the layer as it was: running it changes the statistics of a norm."""
        return copy.deepcopy(self.layer) if isinstance(self.layer, Module) else self.layer

    def gradients(self, inputs: Sequence[Array], g: Array) -> dict[str, Array]:
        """Return the engine's gradients of Σ g·y."""
        layer, leaves = self.fresh(), self._leaves(inputs)
        y = layer(*leaves.values())
        wanted: dict[str, Any] = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        if isinstance(layer, Module):
            wanted |= dict(layer.named_parameters())
        found = grad(y, list(wanted.values()), g, allow_unused=True)
        return {
            name: np.zeros(leaf.shape) if slope is None else slope.data
            for (name, leaf), slope in zip(wanted.items(), found, strict=True)
        }

    def first_example(self) -> _Trial | None:
        """Return the trial with one example, where the layer takes one."""
        if self.batch < 2 or any(len(x) != self.batch for x in self.inputs):
            return None
        try:
            return _Trial(self.layer, [x[:1] for x in self.inputs], self.rng)
        except ValueError:  # batch norm in training needs more than one
            return None

    def ask(self, student: Callable[..., Any]) -> tuple[dict[str, Array | None], list[str]]:
        """Run the student's program; return its gradients by name, and what is to be said about it."""
        arguments: list[Array] = [
            *self.inputs,
            *[parameter.data for parameter in self.parameters.values()],
            self.g,
        ]
        copies = [x.copy() for x in arguments]
        try:
            returned = student(*copies)
        except STUDENT_ERRORS as error:
            shapes = ", ".join([str(x.shape) for x in arguments])
            return {}, [f"it raised {type(error).__name__}: {error} (called with arrays of shape {shapes})"]
        notes = []
        if any(not np.array_equal(x, y) for x, y in zip(arguments, copies, strict=True)):
            notes.append(
                "it writes into its arguments: work on copies, or the values of the forward are lost"
            )
        return self._named(returned, notes), notes

    def _named(self, returned: Any, notes: list[str]) -> dict[str, Array | None]:
        names = list(self.right)
        if not isinstance(returned, dict):
            values = list(returned) if isinstance(returned, (tuple, list)) and len(names) > 1 else [returned]
            if len(names) == 1 and isinstance(returned, tuple) and len(returned) == 1:
                values = list(returned)
            if len(values) != len(names):
                expected = f"{len(names)}, of {', '.join(names)}"
                notes.append(f"it returned {len(values)} gradients; expected {expected}")
            returned = dict(zip(names, values, strict=False))
        unknown = [str(name) for name in returned if name not in names]
        if unknown:
            notes.append(f"it returned gradients of {', '.join(unknown)}; the names are {', '.join(names)}")
        return {name: _gradient(returned.get(name)) for name in names}


def _array(x: Any) -> Array:
    array = np.asarray(x.data if isinstance(x, Tensor) else x)
    return array.astype(float) if array.dtype.kind == "f" else array


def _gradient(value: Any) -> Array | None:
    """Return what a student gave as an array of floats; None where it is no number."""
    if value is None:
        return None
    try:
        return np.asarray(value.data if isinstance(value, Tensor) else value, float)
    except STUDENT_ERRORS:
        return None


def _examples(layer: Any, rng: np.random.Generator) -> tuple[Any, ...]:
    """Draw a batch by the sizes that a layer has."""
    if isinstance(layer, ClassLoss):
        return rng.standard_normal((BATCH, 3)), rng.integers(0, 3, BATCH)
    if isinstance(layer, Loss):
        a, y = rng.uniform(0.1, 0.9, (2, BATCH, 3))
        return (a, y) if isinstance(layer, BCELoss) else (4 * a - 2, y)
    if isinstance(layer, Embedding):
        return (rng.integers(0, layer.num_embeddings, BATCH),)
    if isinstance(layer, Flatten):
        return (rng.standard_normal((BATCH, 2, 3)),)
    if hasattr(layer, "in_channels"):
        return (rng.standard_normal((BATCH, layer.in_channels, 6, 6)),)
    last = getattr(layer, "normalized_shape", None)
    size = getattr(layer, "in_features", None) or getattr(layer, "num_features", None) or 3
    return (rng.standard_normal((BATCH, *(last or (size,)))),)


# ---------------------------------------------------------------------- hints


def _judged(trial: _Trial, name: str, given: Array | None, *, right_for_one: bool) -> tuple[float, str]:
    """Return the mark of one gradient and the hint."""
    right = trial.right[name]
    if given is None:
        return 0.0, "no gradient was returned for it"
    if given.shape == right.shape and same(given, right):
        return 1.0, "right"
    if not np.isfinite(given).all():
        return 0.0, "not finite"
    slip = _slip(trial, name, given)
    if slip:
        return 0.5 if np.any(given) else 0.0, slip
    if given.shape != right.shape:
        return 0.0, f"shape {given.shape}; expected {right.shape}, that of {name}"
    lead = f"right for one example, wrong for a batch of {trial.batch}; " if right_for_one else ""
    return 0.0, lead + _wrong_entries(given, right)


def _slip(trial: _Trial, name: str, given: Array) -> str:
    """Name the one slip that explains all of a wrong gradient, nothing where none does."""
    right = trial.right[name]
    if given.shape != right.shape:
        return _shape_slip(given, right, trial.batch)
    counts = {"the batch size N": trial.batch, "the number of elements": trial.inputs[0].size}
    slip = relation(given, right, counts, _alternatives(trial, name))
    if trial.g.ndim == 0 and "constant factor" in slip:  # grad_output is a number, and may be that factor
        unit = relation(given, right / trial.g, counts)
        if unit and "constant factor" not in unit:
            return f"grad_output is not used; with 1 in its place: {unit}"
    return slip


def _shape_slip(given: Array, right: Array, batch: int) -> str:
    """Name the slip that left the right numbers in a wrong shape."""
    if given.size == right.size and same(given.reshape(right.shape), right):
        return f"the numbers are right, but their shape is {given.shape}; expected {right.shape}"
    extra = given.ndim - right.ndim
    if extra > 0 and given.shape[extra:] == right.shape and same(given.sum(tuple(range(extra))), right):
        if extra == 1 and len(given) == batch:
            return "there is one for each example: sum them over the batch, axis 0"
        return f"sum it over the axes {tuple(range(extra))}, which the argument does not have"
    if given.ndim == 2 and given.T.shape == right.shape and same(given.T, right):
        return "transposed"
    axes = tuple(range(right.ndim - given.ndim))
    if axes and given.shape == right.shape[len(axes) :] and same(given, right.sum(axes)):
        return f"summed over the axes {axes}, which the argument has"
    return ""


def _alternatives(trial: _Trial, name: str) -> dict[str, Array]:
    """Compute what comes out by one well-known mistake each."""
    right, g, batch = trial.right[name], trial.g, trial.batch
    found: dict[str, Array] = {}
    if not np.all(g == 1):
        found["grad_output is not used: it is right only where that is 1"] = trial.gradients(
            trial.inputs, np.ones_like(g)
        )[name]
    if g.shape == right.shape:
        found["the layer's own derivative is missing: grad_output is passed on as it came"] = g
    if batch > 1 and g.ndim and len(g) == batch:
        for text, kept in (("last", slice(-1, None)), ("first", slice(0, 1))):
            part = np.zeros_like(g)
            part[kept] = g[kept]
            found[f"only the {text} example counts: add the examples up"] = trial.gradients(
                trial.inputs, part
            )[name]
    if len(trial.inputs) == 1 and trial.y.shape == right.shape and name == "x":
        found |= _of_a_function(trial)
    if isinstance(trial.layer, (BatchNorm1d, LayerNorm)) and name == "x":
        found["μ and σ are taken for constants: they depend on x too"] = _constant_statistics(trial)
    return found


def _constant_statistics(trial: _Trial) -> Array:
    """Return the gradient that norms would have if their statistics did not depend on x."""
    (x,), layer = trial.inputs, trial.layer
    last = layer.weight.ndim if isinstance(layer, LayerNorm) else 0
    axes = tuple(range(-last, 0)) or (0, *range(2, x.ndim))
    weight = layer.weight.data if last else layer.weight.data.reshape(-1, *[1] * (x.ndim - 2))
    return trial.g * weight / np.sqrt(x.var(axes, keepdims=True) + layer.eps)


def _of_a_function(trial: _Trial) -> dict[str, Array]:
    """Mistakes in the derivative of an output by an input of the same shape."""
    (x,) = trial.inputs
    if x.size > MOST_COLUMNS:
        return {}
    own = np.diagonal(jacobian(trial.fresh(), Tensor(x)).data.reshape(x.size, x.size)).reshape(x.shape)
    found = {
        "only the diagonal of the Jacobian is used: each input reaches other outputs too": trial.g * own,
        "the derivative is not multiplied by grad_output": own,
    }
    with np.errstate(all="ignore"):
        found["the derivative is taken at the output y, where it must be taken at x"] = trial.gradients(
            [trial.y], trial.g
        )["x"]
    return found


def _wrong_entries(given: Array, right: Array) -> str:
    """Say which entries are wrong, where not all of them are."""
    off = np.abs(given - right) > 1e-6 * np.max(np.abs(right), initial=0)
    count = int(off.sum())
    if count == right.size:
        return "all entries differ"
    rows = np.flatnonzero(off.reshape(len(off), -1).any(1))
    where = f", all in row {int(rows[0])}" if right.ndim > 1 and len(rows) == 1 else ""
    return f"{count} of {right.size} entries are wrong{where}"
