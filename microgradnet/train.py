"""The training loop: ``epochs`` as a generator of records, ``fit`` to run it to the end, ``evaluate``."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.graph import ancestors, no_grad
from microgradnet.ops import generator
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from microgradnet.graph import Array, Node
    from microgradnet.nn import Module
    from microgradnet.optim import Optimizer

Metric: TypeAlias = "Callable[[Array, Array], float]"
Data: TypeAlias = Any
"""Something with ``batches(batch_size, shuffle=…, rng=…)``, such as a Dataset, or a pair of arrays (x, y)."""


def accuracy(prediction: Array, target: Array) -> float:
    """Return the share of rows whose largest output is at the target, an integer label or the largest of a row.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    truth = target.argmax(1) if target.ndim > 1 else target
    return float(np.count_nonzero(prediction.argmax(1) == truth)) / len(truth)


METRICS: dict[str, Metric] = {"accuracy": accuracy}
"""Metrics by name; larger is better in all of them."""


@dataclass(frozen=True)
class Record:
    """One epoch: mean training loss and metrics (as they were while it trained), validation, and time."""

    epoch: int
    steps: int
    """Steps taken since the beginning of training."""
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return asdict(self)


@dataclass
class History:
    """The records of a training, one per epoch; ``history.column("validation", "accuracy")`` is a curve."""

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
        return [_look_up(record.as_dict(), path) for record in self.records]

    def save(self, path: str | Path) -> None:
        """Write one JSON object per line and epoch."""
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - takes any path
            file.writelines(json.dumps(record.as_dict()) + "\n" for record in self.records)


def _look_up(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        if key not in value:
            message = f"the history has no {key!r} here; it has {', '.join(value)}"
            raise KeyError(message)
        value = value[key]
    return value


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite; the update of that step was not applied."""


def epochs(
    model: Module,
    loss_fn: Callable[[Any, Any], Any],
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int | None = None,
    batch_size: int = 32,
    validation: Data | None = None,
    metrics: Sequence[str] | Mapping[str, Metric] = (),
    rng: np.random.Generator | int | None = None,
    on_batch: Callable[[int, int, float], None] | None = None,
) -> Iterator[Record]:
    """Train, yielding a Record after every epoch (endlessly without ``epochs``): a loop that one may look into.

    Each epoch goes through ``data`` once in batches, in an order drawn from ``rng`` (a generator or a seed; the
    default generator without). ``on_batch(examples done, examples in all, loss)`` is called after every step. The
    model is in training mode only while it trains, in evaluation mode while it is validated, and as it was whenever
    a record is yielded.

    Raises DivergedError before an update whose loss is NaN or infinite.

    >>> from microgradnet import datasets, nn, optim, train
    >>> splits = datasets.load("moons", rng=0)
    >>> model = nn.Sequential(nn.Linear(2, 8, rng=np.random.default_rng(0)), nn.Tanh(), nn.Linear(8, 2))
    >>> sgd = optim.SGD(model.parameters(), lr=0.5)
    >>> for record in train.epochs(model, nn.CrossEntropyLoss(), sgd, splits.train, epochs=2, rng=0):
    ...     print(record.epoch, record.steps)
    1 19
    2 38
    """
    if epochs is not None and epochs < 0:
        message = f"epochs must not be negative, got {epochs}"
        raise ValueError(message)
    measures = _metrics(metrics)
    order = np.random.default_rng(rng) if isinstance(rng, int) else generator(rng)
    epoch = steps = 0
    while epochs is None or epoch < epochs:
        epoch += 1
        start = time.perf_counter()
        totals = _Totals(measures)
        with _mode(model, training=True):
            for x, y in _batches(data, batch_size, shuffle=True, rng=order):
                steps += 1
                loss, output = _step(model, loss_fn, optimizer, x, y, epoch, steps)
                totals.add(len(x), loss, output, y)
                if on_batch is not None:
                    on_batch(totals.count, _length(data), loss)
        seconds = time.perf_counter() - start
        found = totals.means()
        if validation is not None:
            checked = evaluate(model, loss_fn, validation, metrics=measures)
        else:
            checked = {}
        yield Record(epoch, steps, found.pop("loss"), found, checked, round(seconds, 4))


_each_epoch = epochs  # fit has a parameter of this name


def _step(
    model: Module, loss_fn: Callable[[Any, Any], Any], optimizer: Optimizer, x: Any, y: Any, epoch: int, step: int
) -> tuple[float, Array]:
    """Forward, loss, backward, update; the update only where the loss is finite."""
    output = model(x)
    loss = loss_fn(output, y)
    if not isinstance(loss, Tensor) or loss.size != 1:
        message = f"the loss must be one number, got {type(loss).__name__} of shape {np.shape(loss)}; use a reduction"
        raise ValueError(message)
    value = loss.item()
    if not math.isfinite(value):
        message = (
            f"the loss became {value} at step {step} (epoch {epoch}): {first_not_finite(loss, model)}. "
            "The update was not applied; try a smaller learning rate, and look at the data"
        )
        raise DivergedError(message)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return value, output.data


def first_not_finite(loss: Tensor, model: Module | None = None) -> str:
    """Say which recorded operation was the first to turn finite numbers into NaN or infinity, in words."""
    if loss._node is None:
        return "it was not recorded"
    named = model.named_parameters() if model is not None else ()
    names = {p._node.number: name for name, p in named if p._node is not None}
    nodes = ancestors([loss._node])
    for number in sorted(nodes):
        node = nodes[number]
        if np.isfinite(node.y).all():
            continue
        if node.primitive is None:
            name = names.get(number) or node.name or node.describe()
            return f"parameter '{name}' already held {_kind(node.y)} before this step"
        pairs = zip(node.args, node.parents, strict=True)
        constants = [arg for arg, parent in pairs if parent is None and arg is not None]
        if not all(np.isfinite(constant).all() for constant in constants):
            return f"the data given to {node.describe()} holds {_kind(*constants)}"
        return f"the first operation to give {_kind(node.y)} was {node.describe()}"
    return "every recorded value is finite, the loss itself was made so"


def _kind(*arrays: Any) -> str:
    return "NaN" if any(np.isnan(array).any() for array in arrays) else "infinity"


def evaluate(
    model: Module,
    loss_fn: Callable[[Any, Any], Any] | None,
    data: Data,
    *,
    metrics: Sequence[str] | Mapping[str, Metric] = (),
    batch_size: int = 1000,
) -> dict[str, float]:
    """Return the mean loss and metrics on ``data``, in evaluation mode, without recording or changing anything."""
    totals = _Totals(_metrics(metrics))
    with _mode(model, training=False), no_grad():
        for x, y in _batches(data, batch_size):
            output = model(x)
            totals.add(len(x), loss_fn(output, y).item() if loss_fn else 0.0, output.data, y)
    found = totals.means()
    if loss_fn is None:
        del found["loss"]
    return found


def fit(
    model: Module,
    loss_fn: Callable[[Any, Any], Any],
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int,
    batch_size: int = 32,
    validation: Data | None = None,
    metrics: Sequence[str] | Mapping[str, Metric] = (),
    monitor: str = "loss",
    patience: int | None = None,
    keep_best: bool = False,
    rng: np.random.Generator | int | None = None,
    progress: bool | None = None,
    on_epoch: Callable[[Record], None] | None = None,
) -> History:
    """Train for ``epochs`` epochs and return the History.

    ``monitor`` names the validation value that decides what is best: ``"loss"`` (smaller is better) or a metric
    (larger is better). ``keep_best`` leaves the model as it was after its best epoch; ``patience`` stops after so
    many epochs without a better one. ``progress`` shows a bar with loss and time left (by default in a terminal or
    a notebook, where tqdm is installed). Ctrl-C ends the training and keeps what was trained: the history says
    ``interrupted``. If the loss becomes NaN or infinite, the model is put back to the end of its last epoch and
    DivergedError says at which step and operation it began.

    >>> from microgradnet import datasets, nn, optim, train
    >>> splits = datasets.load("moons", rng=0)
    >>> rng = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Linear(2, 16, rng=rng), nn.ReLU(), nn.Linear(16, 2, rng=rng))
    >>> sgd = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    >>> history = train.fit(model, nn.CrossEntropyLoss(), sgd, splits.train, epochs=20,
    ...                     validation=splits.validation, metrics=["accuracy"], rng=rng)
    >>> history[-1].validation["accuracy"] > 0.95
    True
    """
    measures = _metrics(metrics)
    if (keep_best or patience is not None) and validation is None:
        message = "fit: keep_best and patience compare validation values; give validation="
        raise ValueError(message)
    if monitor != "loss" and monitor not in measures:
        message = f"fit: monitor must be 'loss' or one of the metrics ({', '.join(measures) or 'none given'}), not {monitor!r}"
        raise ValueError(message)
    sign = -1 if monitor == "loss" else 1
    history = History()
    good = best = model.state_dict()
    with _Bar(progress, epochs) as bar:
        records = _each_epoch(
            model,
            loss_fn,
            optimizer,
            data,
            epochs=epochs,
            batch_size=batch_size,
            validation=validation,
            metrics=measures,
            rng=rng,
            on_batch=bar.batch,
        )
        try:
            for record in records:
                history.records.append(record)
                good = model.state_dict()
                if validation is not None:
                    value = sign * record.validation[monitor]
                    if history.best is None or value > sign * history.best.validation[monitor]:
                        history.best, best = record, good
                bar.epoch(record)
                if on_epoch is not None:
                    on_epoch(record)
                if patience is not None and history.best is not None and record.epoch - history.best.epoch >= patience:
                    break
        except DivergedError:
            model.load_state_dict(good)
            raise
        except KeyboardInterrupt:
            history.interrupted = True
    if keep_best and history.best is not None:
        model.load_state_dict(best)
    return history


class _Totals:
    """Sums of the loss and the metrics over batches, weighted by the number of examples."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.sums = dict.fromkeys(["loss", *metrics], 0.0)
        self.count = 0

    def add(self, count: int, loss: float, output: Array, target: Array) -> None:
        self.count += count
        self.sums["loss"] += count * loss
        for name, metric in self.metrics.items():
            self.sums[name] += count * metric(output, target)

    def means(self) -> dict[str, float]:
        if not self.count:
            message = "the data has no examples"
            raise ValueError(message)
        return {name: value / self.count for name, value in self.sums.items()}


class _Bar:
    """A progress bar over the examples of each epoch, where there is somebody to see it."""

    def __init__(self, wanted: bool | None, epochs: int) -> None:
        self.epochs = epochs
        self.done = 0
        self.bar: Any = None
        self.kind = _tqdm(required=bool(wanted)) if _visible(wanted) else None
        self.batch = self._batch if self.kind else None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def _batch(self, done: int, total: int, loss: float) -> None:
        if self.bar is None:
            self.bar = self.kind(total=total * self.epochs, unit="ex", unit_scale=True, leave=False, mininterval=0.2)
        step = self.done % total if total else 0
        self.bar.update(done - step)
        self.done += done - step
        if self.bar.n == self.bar.last_print_n:  # only when a new line was drawn
            epoch = (self.done - 1) // total + 1
            self.bar.set_description_str(f"epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)

    def epoch(self, record: Record) -> None:
        if self.bar is not None:
            self.bar.clear()


def _visible(wanted: bool | None) -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules if wanted is None else wanted


def _tqdm(*, required: bool) -> Any:
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        if required:
            message = "a progress bar needs tqdm: pip install 'microgradnet[progress]'"
            raise ModuleNotFoundError(message) from None
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


def _metrics(metrics: Sequence[str] | Mapping[str, Metric]) -> dict[str, Metric]:
    if not isinstance(metrics, (list, tuple)):
        return dict(metrics)  # type: ignore[arg-type]  # a mapping; a bare string fails with a clear message below
    for name in metrics:
        if name not in METRICS:
            message = f"no metric is called {name!r}; there is {', '.join(METRICS)}, or give {{name: function}}"
            raise ValueError(message)
    return {name: METRICS[name] for name in metrics}


def _length(data: Data) -> int:
    return len(data[0]) if isinstance(data, tuple) else len(data)


def _batches(data: Data, batch_size: int, *, shuffle: bool = False, rng: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield (x, y) from a Dataset or a pair of arrays."""
    if not isinstance(data, tuple):
        yield from data.batches(batch_size, shuffle=shuffle, rng=rng)
        return
    x, y = (part.data if isinstance(part, Tensor) else np.asarray(part) for part in data)
    if len(x) != len(y):
        message = f"the data has {len(x)} inputs but {len(y)} targets"
        raise ValueError(message)
    if batch_size < 1:
        message = f"batch_size must be at least 1, got {batch_size}"
        raise ValueError(message)
    order = rng.permutation(len(x)) if shuffle else np.arange(len(x))
    for start in range(0, len(x), batch_size):
        chosen = order[start : start + batch_size]
        yield x[chosen], y[chosen]
