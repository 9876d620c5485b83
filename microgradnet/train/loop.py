"""The training loop: ``epochs`` as a generator of records, ``fit`` to run it to the end, ``evaluate``."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.graph import no_grad
from microgradnet.ops import generator
from microgradnet.train.batches import source
from microgradnet.train.diverged import DivergedError, check_finite
from microgradnet.train.metrics import Totals, resolve
from microgradnet.train.progress import Bar
from microgradnet.train.records import Batch, History, Record
from microgradnet.train.step import Step, one_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microgradnet.nn import Module
    from microgradnet.optim import Optimizer
    from microgradnet.train.batches import Data
    from microgradnet.train.metrics import Metric, Metrics

LossFunction: TypeAlias = "Callable[[Any, Any], Any]"
Seed: TypeAlias = "np.random.Generator | int | None"


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
    compile: bool | str = False,
) -> Iterator[Record]:
    """Train, yielding a Record after every epoch (endlessly without ``epochs``).

    Each epoch goes through ``data`` once in batches, in an order drawn from ``rng`` (a generator or a seed;
    the default generator without). ``metrics`` are names from ``METRICS`` or ``{name: function}``, a function
    of the outputs and the targets of a batch; means weigh every batch by its examples. ``on_batch`` is called
    after every step, while the gradients that it used are still in ``.grad``; ``train.Watch`` collects norms
    there. Without it no gradient is left behind, which machine code need not even make. The model is in
    training mode only while it trains, in evaluation mode while it is validated, and as it was whenever a
    record is yielded. With ``compile`` the step is recorded once and replayed (``mg.compile``): the same
    numbers, sooner. ``compile="numba"`` names its backend, whose numbers are close, not the same.

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
    return _begun(
        model,
        loss_fn,
        optimizer,
        data,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        metrics=metrics,
        rng=rng,
        on_batch=on_batch,
        compile=compile,
        gradients=on_batch is not None,
    )


def _begun(
    model: Module,
    loss_fn: LossFunction,
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int | None,
    batch_size: int,
    validation: Data | None,
    metrics: Metrics,
    rng: Seed,
    on_batch: Callable[[Batch], None] | None,
    compile: bool | str,
    gradients: bool,
) -> Iterator[Record]:
    """Check what is wished for, and return the records to come; ``gradients`` are kept after each step."""
    if epochs is not None and epochs < 0:
        raise ValueError(f"epochs must not be negative, got {epochs}")
    checked = None if validation is None else source(validation, "the validation data")
    order = (
        generator(rng) if rng is None or isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
    )
    trained = source(data, "the training data")
    trained.batches(
        batch_size
    )  # refuses a batch size that makes no sense, now rather than at the first epoch
    step = Step(model, loss_fn, optimizer, compiled=compile, gradients=gradients)
    return _records(
        model, loss_fn, step, trained, epochs, batch_size, checked, resolve(metrics), order, on_batch
    )


def _records(
    model: Module,
    loss_fn: LossFunction,
    step: Step,
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
        totals = Totals(measures)
        start = time.perf_counter()
        with in_mode(model, training=True), _no_warnings():
            for x, y in data.batches(batch_size, shuffle=True, rng=order):
                steps += 1
                loss, output = step(x, y, epoch, steps)
                totals.add(len(x), loss, output, y)
                if on_batch is not None:
                    on_batch(Batch(epoch, steps, totals.count, len(data), loss, totals.means()))
        seconds = round(time.perf_counter() - start, 4)
        check_finite(model, steps)
        found = totals.means()
        checked = {}
        if validation is not None:
            with _no_warnings():
                checked = evaluate(model, loss_fn, validation, metrics=measures)
        yield Record(epoch, steps, found.pop("loss"), found, checked, seconds)


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
    totals = Totals(resolve(metrics))
    with in_mode(model, training=False), no_grad():
        for x, y in source(data, "the data").batches(batch_size):
            output = model(x)
            totals.add(len(x), float(one_number(loss_fn(output, y)).item()) if loss_fn else 0.0, output, y)
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
    compile: bool | str = False,
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
    measures = resolve(metrics)
    _check_wishes(monitor, measures, patience, keep_best=keep_best, validated=validation is not None)
    history = History()
    good = best = model.state_dict()
    with Bar(progress, epochs) as bar:
        on_step = bar.wrap(on_batch)
        records = _begun(
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
            compile=compile,
            gradients=on_batch is not None,
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


@contextlib.contextmanager
def in_mode(model: Module, *, training: bool) -> Iterator[None]:
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
