"""What training tells: every step as a Batch, every epoch as a Record, the whole as a History."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradnet.html_table import table

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence


_ENDS = 10
"""Epochs that a notebook shows from the beginning and from the end of a long history."""


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

    def _repr_html_(self) -> str:
        names = ["loss", *(self[0].metrics if len(self) else ())]
        validated = [f"validation {name}" for name in names if len(self) and self[0].validation]
        rows: list[list[Any]] = []
        for record in self:
            values = {"loss": record.loss, **record.metrics}
            rows.append(
                [
                    record.epoch,
                    *[values[name] for name in names],
                    *[record.validation[name.removeprefix("validation ")] for name in validated],
                    "best" if record is self.best else "",
                ]
            )
        shown: list[list[Any]] = rows if len(rows) <= 2 * _ENDS else [*rows[:_ENDS], ["⋮"], *rows[-_ENDS:]]
        return table(shown, ["epoch", *names, *validated, ""])

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
