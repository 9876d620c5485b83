"""The training loop: ``epochs`` as a generator of records, ``fit`` to run it to the end, ``evaluate``."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.graph import ancestors, no_grad
from microgradnet.ops import generator
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    from microgradnet.graph import Array
    from microgradnet.nn import Module
    from microgradnet.optim import Optimizer

Metric: TypeAlias = "Callable[[Array, Array], float]"
Metrics: TypeAlias = "Sequence[str] | Mapping[str, Metric]"
LossFunction: TypeAlias = "Callable[[Any, Any], Any]"
Seed: TypeAlias = "np.random.Generator | int | None"
Data: TypeAlias = Any
"""A Dataset (what has ``len`` and ``batches(batch_size, shuffle=…, rng=…)``), or a pair of arrays (x, y)."""


def accuracy(prediction: Array, target: Array) -> float:
    """Return the share of rows whose largest output is at the target.

    ``prediction`` is (N, C) for C ≥ 2 classes, ``target`` the labels (N,) or one row of C numbers each, whose
    largest is the class. Anything else is a ValueError.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    if (
        prediction.ndim != 2
        or prediction.shape[1] < 2
        or target.shape not in {prediction.shape[:1], prediction.shape}
    ):
        raise ValueError(
            "accuracy needs one output per class, (N, C) with C ≥ 2, and targets (N,) or (N, C); got "
            f"{prediction.shape} and {target.shape}. Give a metric of your own: metrics={{'name': function}}"
        )
    truth = target.argmax(1) if target.ndim == 2 else target
    return float(np.count_nonzero(prediction.argmax(1) == truth)) / len(truth)


METRICS: dict[str, Metric] = {"accuracy": accuracy}
"""Metrics by name; larger is better in all of them."""


@dataclass(frozen=True)
class Batch:
    """One step of training, as ``on_batch`` sees it."""

    epoch: int
    step: int
    """Counted from the beginning of training."""
    done: int
    """Examples of this epoch so far, of"""
    examples: int
    loss: float
    """Of this batch."""
    means: dict[str, float]
    """Loss and metrics over the epoch so far."""


@dataclass(frozen=True)
class Record:
    """One epoch: mean loss and metrics on the training data, as they were meanwhile, and validation."""

    epoch: int
    steps: int
    """Steps taken since the beginning of training."""
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    """Loss and metrics after the epoch; empty without validation data."""
    seconds: float = 0.0
    """Spent on training, without validation."""

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return asdict(self)


@dataclass
class History:
    """The records of a training, one per epoch.

    >>> history = History([Record(1, 10, 0.5, validation={"loss": 0.25})])
    >>> len(history), history[-1].loss, history.column("validation", "loss")
    (1, 0.5, [0.25])
    """

    records: list[Record] = field(default_factory=list)
    best: Record | None = None
    """The epoch with the best monitored value, where there is validation data."""
    interrupted: bool = False
    """Whether Ctrl-C ended it."""

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    def column(self, *path: str) -> list[float]:
        """Return one value of every record: ``column("loss")``, ``column("validation", "accuracy")``."""
        return [_look_up(record.as_dict(), path) for record in self]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object per line and epoch."""
        lines = [json.dumps(record.as_dict()) + "\n" for record in self]
        Path(path).write_text("".join(lines), encoding="utf-8")


def _look_up(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            choices = ", ".join(value) if isinstance(value, dict) else "a number"
            raise ValueError(f"the history has no {'.'.join(path)}: instead of {key!r} there is {choices}")
        value = value[key]
    return value


class DivergedError(ArithmeticError):
    """The loss or a parameter became NaN or infinite."""


def epochs(
    model: Module,
    loss_fn: LossFunction,
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int | None = None,
    batch_size: int = 32,
    validation: Data | None = None,
    metrics: Metrics = (),
    rng: Seed = None,
    on_batch: Callable[[Batch], None] | None = None,
) -> Iterator[Record]:
    """Train, yielding a Record after every epoch (endlessly without ``epochs``).

    Each epoch goes through ``data`` once in batches, in an order drawn from ``rng`` (a generator or a seed;
    the default generator without). ``metrics`` are names from ``METRICS`` or ``{name: function}``, a function
    of the outputs and the targets of a batch; means weigh every batch by its examples. ``on_batch`` is called
    after every step. The model is in training mode only while it trains, in evaluation mode while it is
    validated, and as it was whenever a record is yielded.

    Raises
    ------
    DivergedError
        Before the update, where the loss is NaN or infinite; says at which step and by which operation. After
        the epoch, where a parameter is.
    ValueError, TypeError
        For data without examples or of unequal lengths, a batch size below 1, unknown metrics, or a loss that
        is not one number.

    Examples
    --------
    >>> from microgradnet import datasets, nn, optim, train
    >>> splits = datasets.load("moons", rng=0)
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> sgd = optim.SGD(model.parameters(), lr=0.5)
    >>> for record in train.epochs(model, nn.CrossEntropyLoss(), sgd, splits.train, epochs=2, rng=0):
    ...     print(record.epoch, record.steps)
    1 19
    2 38
    """
    if epochs is not None and epochs < 0:
        raise ValueError(f"epochs must not be negative, got {epochs}")
    checked = None if validation is None else _source(validation, "the validation data")
    order = (
        generator(rng) if rng is None or isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
    )
    trained = _source(data, "the training data")
    trained.batches(
        batch_size
    )  # refuses a batch size that makes no sense, now rather than at the first epoch
    return _records(
        model, loss_fn, optimizer, trained, epochs, batch_size, checked, _measures(metrics), order, on_batch
    )


_epochs = epochs  # fit has a parameter of this name


def _records(
    model: Module,
    loss_fn: LossFunction,
    optimizer: Optimizer,
    data: Data,
    last: int | None,
    batch_size: int,
    validation: Data | None,
    measures: dict[str, Metric],
    order: np.random.Generator,
    on_batch: Callable[[Batch], None] | None,
) -> Iterator[Record]:
    epoch = steps = 0
    while last is None or epoch < last:
        epoch += 1
        totals = _Totals(measures)
        start = time.perf_counter()
        with _mode(model, training=True), _no_warnings():
            for x, y in data.batches(batch_size, shuffle=True, rng=order):
                steps += 1
                loss, output = _step(model, loss_fn, optimizer, x, y, epoch, steps)
                totals.add(len(x), loss, output, y)
                if on_batch is not None:
                    on_batch(Batch(epoch, steps, totals.count, len(data), loss, totals.means()))
        seconds = round(time.perf_counter() - start, 4)
        _check_finite(model, steps)
        found = totals.means()
        checked = {}
        if validation is not None:
            with _no_warnings():
                checked = evaluate(model, loss_fn, validation, metrics=measures)
        yield Record(epoch, steps, found.pop("loss"), found, checked, seconds)


def _step(
    model: Module, loss_fn: LossFunction, optimizer: Optimizer, x: Any, y: Any, epoch: int, step: int
) -> tuple[float, Any]:
    """Forward, loss, backward, update; the update only where the loss is finite."""
    output = model(x)
    loss = _one_number(loss_fn(output, y))
    value = float(loss.item())
    if not math.isfinite(value):
        raise DivergedError(
            f"the loss became {value} at step {step} (epoch {epoch}): {first_not_finite(loss, model)}. "
            "The update was not applied; a smaller learning rate may help"
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return value, output


def _one_number(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.size != 1:
        given = f"{type(loss).__name__} of shape {np.shape(loss.data if isinstance(loss, Tensor) else loss)}"
        raise ValueError(
            f"the loss must be a tensor of one number, got a {given}; give it a reduction such as 'mean'"
        )
    return loss


def _check_finite(model: Module, steps: int) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not np.isfinite(tensor.data).all():
            raise DivergedError(
                f"after step {steps} '{name}' holds {_kind(tensor.data)}, though every loss was finite: "
                "an update was too large or a gradient infinite. Try a smaller learning rate"
            )


def first_not_finite(loss: Tensor, model: Module | None = None) -> str:
    """Say which recorded operation was the first to turn finite numbers into NaN or infinity, in words.

    The graph keeps every value, so that nothing has to be run again. ``model`` gives parameters their names.

    >>> import microgradnet as mg
    >>> x = mg.Tensor([1.0, 0.0], requires_grad=True)
    >>> with np.errstate(divide="ignore"):
    ...     loss = x.log().sum()
    >>> first_not_finite(loss)
    'the first operation to give infinity was log#... of shape (2,)'
    """
    if loss._node is None:
        return "it was not recorded, so that its origin is not known"
    named = model.named_parameters() if model is not None else ()
    names = {parameter._node.number: name for name, parameter in named if parameter._node is not None}
    for number, node in sorted(ancestors([loss._node]).items()):
        if np.isfinite(node.y).all():
            continue
        if node.primitive is None:
            name = f"parameter '{names[number]}'" if number in names else node.describe()
            return f"{name} already held {_kind(node.y)} before it"
        pairs = list(zip(node.args, node.parents, strict=True))
        constants = [arg for arg, parent in pairs if parent is None and isinstance(arg, np.ndarray)]
        bad = [arg for arg in constants if arg.dtype.kind == "f" and not np.isfinite(arg).all()]
        if bad:
            return f"the data given to {node.describe()} already held {_kind(*bad)}"
        unknown = any(arg is None and parent is None for arg, parent in pairs)
        doubt = " (or data given to it already held it)" if unknown else ""
        return f"the first operation to give {_kind(node.y)} was {node.describe()}{doubt}"
    return "every recorded value is finite; it was made so outside the graph"


def _kind(*arrays: Array) -> str:
    return "NaN" if any(np.isnan(array).any() for array in arrays) else "infinity"


def evaluate(
    model: Module,
    loss_fn: LossFunction | None,
    data: Data,
    *,
    metrics: Metrics = (),
    batch_size: int = 1000,
) -> dict[str, float]:
    """Return the mean loss (unless ``loss_fn`` is None) and metrics on ``data``.

    In evaluation mode, without recording; the model is left as it was.

    >>> from microgradnet import datasets, nn, train
    >>> model, data = nn.Sequential(nn.Linear(2, 2)), datasets.load("moons").test
    >>> sorted(train.evaluate(model, nn.CrossEntropyLoss(), data, metrics=["accuracy"]))
    ['accuracy', 'loss']
    """
    totals = _Totals(_measures(metrics))
    with _mode(model, training=False), no_grad():
        for x, y in _source(data, "the data").batches(batch_size):
            output = model(x)
            totals.add(len(x), float(_one_number(loss_fn(output, y)).item()) if loss_fn else 0.0, output, y)
    means = totals.means()
    if loss_fn is None:
        del means["loss"]
    return means


def fit(
    model: Module,
    loss_fn: LossFunction,
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int,
    batch_size: int = 32,
    validation: Data | None = None,
    metrics: Metrics = (),
    monitor: str = "loss",
    patience: int | None = None,
    keep_best: bool = False,
    rng: Seed = None,
    progress: bool | None = None,
    on_batch: Callable[[Batch], None] | None = None,
    on_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train for ``epochs`` epochs and return the History. See ``train.epochs`` for what both take.

    ``monitor`` names the validation value that decides which epoch is best: ``"loss"`` (smaller is better) or
    a metric (larger is better; among equals the smaller loss). ``keep_best`` leaves the model as it was after
    its best epoch; ``patience`` stops after so many epochs without a better one.

    ``progress`` shows a bar with loss, metrics and time left; by default in a terminal or a notebook, where
    tqdm is installed. ``on_epoch`` is called with the history so far after every epoch.

    Ctrl-C ends the training and keeps what was trained: the history says ``interrupted``. Where the loss
    becomes NaN or infinite, the model is put back to the end of its last good epoch, and DivergedError says
    at which step and operation it began.

    >>> from microgradnet import datasets, nn, optim, train
    >>> splits = datasets.load("moons", rng=0)
    >>> rng = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Linear(2, 16, rng=rng), nn.ReLU(), nn.Linear(16, 2, rng=rng))
    >>> sgd = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    >>> history = train.fit(
    ...     model,
    ...     nn.CrossEntropyLoss(),
    ...     sgd,
    ...     splits.train,
    ...     epochs=20,
    ...     validation=splits.validation,
    ...     metrics=["accuracy"],
    ...     rng=rng,
    ... )
    >>> history[-1].validation["accuracy"] > 0.95
    True
    """
    measures = _measures(metrics)
    _check_wishes(monitor, measures, patience, keep_best=keep_best, validated=validation is not None)
    history = History()
    good = best = model.state_dict()
    with _Bar(progress, epochs) as bar:
        on_step = bar.wrap(on_batch)
        records = _epochs(
            model,
            loss_fn,
            optimizer,
            data,
            epochs=epochs,
            batch_size=batch_size,
            validation=validation,
            metrics=measures,
            rng=rng,
            on_batch=on_step,
        )
        try:
            for record in records:
                history.records.append(record)
                good = model.state_dict()
                if validation is not None and _is_better(record, history.best, monitor):
                    history.best, best = record, good
                bar.clear()
                if on_epoch is not None:
                    on_epoch(history)
                if (
                    patience is not None
                    and record.epoch - (history.best.epoch if history.best else 0) >= patience
                ):
                    break
        except DivergedError:
            model.load_state_dict(good)
            raise
        except KeyboardInterrupt:
            history.interrupted = True
    if keep_best and history.best is not None:
        model.load_state_dict(best)
    return history


def _check_wishes(
    monitor: str, measures: dict[str, Metric], patience: int | None, *, keep_best: bool, validated: bool
) -> None:
    if (keep_best or patience is not None) and not validated:
        raise ValueError("keep_best and patience compare validation values; give validation=")
    if patience is not None and patience < 1:
        raise ValueError(f"patience must be at least 1 epoch, got {patience}")
    if monitor != "loss" and monitor not in measures:
        given = ", ".join(measures) or "none was given"
        raise ValueError(f"monitor must be 'loss' or one of the metrics ({given}), not {monitor!r}")


def _is_better(record: Record, best: Record | None, monitor: str) -> bool:
    def merit(of: Record) -> tuple[float, float]:
        loss = of.validation["loss"]
        return (0.0 if monitor == "loss" else of.validation[monitor], -loss)

    return all(map(math.isfinite, merit(record))) and (best is None or merit(record) > merit(best))


class _Totals:
    """Sums of the loss and the metrics over batches, weighted by the number of examples."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.sums = dict.fromkeys(["loss", *metrics], 0.0)
        self.count = 0

    def add(self, count: int, loss: float, output: Any, target: Any) -> None:
        self.count += count
        self.sums["loss"] += count * loss
        for name, metric in self.metrics.items():
            self.sums[name] += count * float(metric(_plain(output), _plain(target)))

    def means(self) -> dict[str, float]:
        return {name: value / self.count for name, value in self.sums.items()}


class _Bar:
    """A progress bar over the examples of all epochs, where there is somebody to see it."""

    PAUSE = 0.1  # seconds between two pictures of the bar

    def __init__(self, wanted: bool | None, epochs: int) -> None:
        watched = (sys.stderr is not None and sys.stderr.isatty()) or "ipykernel" in sys.modules
        self.tqdm: Any = _tqdm(required=bool(wanted)) if wanted or (wanted is None and watched) else None
        self.epochs = epochs
        self.bar: Any = None
        self.drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def wrap(self, on_batch: Callable[[Batch], None] | None) -> Callable[[Batch], None] | None:
        """Return what is to be called after every step: the bar, and then ``on_batch``."""
        if self.tqdm is None:
            return on_batch
        if on_batch is None:
            return self.draw

        def both(batch: Batch) -> None:
            self.draw(batch)
            on_batch(batch)

        return both

    def draw(self, batch: Batch) -> None:
        now = time.monotonic()
        if self.bar is None:
            self.bar = self.tqdm(
                total=batch.examples * self.epochs,
                bar_format="{desc} |{bar:24}| {percentage:3.0f} %, {remaining} left",
                leave=False,
                dynamic_ncols=True,
            )
        elif now - self.drawn < self.PAUSE:
            return
        self.drawn = now
        self.bar.n = batch.examples * (batch.epoch - 1) + batch.done
        means = [f"{name} {value:.4f}" for name, value in batch.means.items()]
        self.bar.set_description_str("  ".join([f"epoch {batch.epoch}/{self.epochs}", *means]))

    def clear(self) -> None:
        """Wipe the bar off its line, which may be written on then."""
        if self.bar is not None:
            self.bar.clear()


def _tqdm(*, required: bool) -> Any:
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        if required:
            raise ModuleNotFoundError(
                "a progress bar needs tqdm: pip install 'microgradnet[progress]'"
            ) from None
        return None
    return tqdm


@contextlib.contextmanager
def _mode(model: Module, *, training: bool) -> Iterator[None]:
    """Put the model in a mode, and every module back to its own afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


def _no_warnings() -> Any:
    """Silence what NumPy would only warn of: DivergedError says more. What raises still raises."""
    actions: dict[str, Any] = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**actions)


def _measures(metrics: Metrics) -> dict[str, Metric]:
    if isinstance(metrics, str):
        raise TypeError(f"metrics takes a list of names or {{name: function}}: write metrics=[{metrics!r}]")
    if not isinstance(metrics, Mapping):
        for name in metrics:
            if name not in METRICS:
                choices = ", ".join(METRICS)
                raise ValueError(
                    f"there is no metric {name!r}; there is {choices}, or give {{name: function}}"
                )
        metrics = {name: METRICS[name] for name in metrics}
    if "loss" in metrics:
        raise ValueError("a metric cannot be called 'loss', which is the name of the loss; choose another")
    return dict(metrics)


def _source(data: Data, what: str) -> Data:
    """Return what gives batches: the data itself, or a pair of arrays in its place."""
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = _Pair(*map(_plain, data))
    if not hasattr(data, "batches"):
        advice = "; write .train" if hasattr(data, "train") else ""
        kind = type(data).__name__
        raise TypeError(f"{what}: a Dataset or a pair of arrays (x, y) is needed, not {kind}{advice}")
    if not len(data):
        raise ValueError(f"{what} has no examples")
    return data


class _Pair:
    """Inputs and targets of any dtype and shape, as something that gives batches."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = np.asarray(x), np.asarray(y)
        if not self.x.ndim or self.y.shape[:1] != self.x.shape[:1]:
            raise ValueError(
                f"x and y must have one entry per example, but have shapes {self.x.shape} and {self.y.shape}"
            )

    def __len__(self) -> int:
        return len(self.x)

    def batches(
        self, batch_size: int, *, shuffle: bool = False, rng: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        order = rng.permutation(len(self)) if shuffle else np.arange(len(self))
        parts = (order[start : start + batch_size] for start in range(0, len(self), batch_size))
        return ((self.x[part], self.y[part]) for part in parts)


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value
