"""Arrays as a few short texts: a number, the numbers of a small array, or what a big one is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.viz.grids import grid_of

if TYPE_CHECKING:
    from microgradnet.graph import Array
    from microgradnet.viz.grids import Grid

Rows: TypeAlias = "tuple[tuple[str, ...], ...]"
"""A small table of texts: one cell for a number, a row for a vector, rows for a matrix."""


@dataclass(frozen=True)
class Line:
    """One fact: what it is (nothing where the text says it), and a table whose rows may begin with a word."""

    key: str
    rows: Rows
    worded: bool = False
    miniature: Grid | None = None
    """What a big array looks like, for the forms of a picture that have colours."""


LONGEST = 48  # characters of a name or of an operation's settings
MOST_NUMBERS, MOST_COLUMNS = 12, 6  # what a node of a picture has room for
MINIATURE = (14, 28)  # cells, where an array has more numbers than that


def short(text: str) -> str:
    """Shorten a long text, and replace what cannot be printed."""
    printable = "".join([c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text])
    return printable if len(printable) <= LONGEST else printable[: LONGEST - 1] + "…"


def number_text(value: Any, digits: int = 4) -> str:
    """Return a number in at most ``digits`` significant digits; never ``-0``.

    >>> number_text(0.123456), number_text(-0.0), number_text(True), number_text(60000)
    ('0.1235', '0', 'True', '60000')
    """
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return str(value)
    return f"{float(value) + 0.0:.{digits}g}"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as NumPy writes it."""
    return str(tuple([int(n) for n in shape]))


def is_small(array: Array) -> bool:
    """Whether there is room for all numbers of an array."""
    return (
        array.ndim <= 2 and array.size <= MOST_NUMBERS and (not array.ndim or array.shape[-1] <= MOST_COLUMNS)
    )


def array_line(key: str, array: Array, *, miniature: bool = False, image: bool = False) -> Line:
    """Return what to show of an array: all numbers of a small one, least, mean and greatest of a big one.

    With ``miniature`` a big one has a small grid too, an ``image`` where its rows are squares.

    >>> array_line("value", np.array([[1.0, 2.5], [0.0, 1 / 3]])).rows
    (('1', '2.5'), ('0', '0.333'))
    >>> array_line("value", np.arange(100.0)).rows
    (('min', '0'), ('mean', '49.5'), ('max', '99'))
    """
    if array.size == 0:
        return Line(key, (("empty",),))
    if array.ndim == 0:
        return Line(key, ((number_text(array.item()),),))
    if is_small(array):
        rows = np.atleast_2d(array).tolist()
        digits = 4 if array.size == 1 else 3
        return Line(key, tuple([tuple([number_text(v, digits) for v in row]) for row in rows]))
    if array.dtype.kind == "b":
        return Line(key, ((f"{int(np.count_nonzero(array))} of {array.size} true",),))
    grid = grid_of(array, *MINIATURE, image=image) if miniature else None
    return Line(key, _statistics(array), worded=True, miniature=grid)


def _statistics(array: Array) -> Rows:
    """Return least, mean and greatest of the finite numbers, and how many are not finite."""
    finite = array[np.isfinite(array)]
    rows: list[tuple[str, ...]] = []
    if finite.size:
        with np.errstate(over="ignore"):  # the mean of huge numbers may be inf, and is shown so
            mean = np.mean(finite, dtype=np.float64)
        found = (("min", finite.min()), ("mean", mean), ("max", finite.max()))
        rows = [(word, number_text(value, 3)) for word, value in found]
    for word, count in (("nan", np.isnan(array).sum()), ("inf", np.isinf(array).sum())):
        if count:
            rows.append((word, f"{int(count)} of {array.size}"))
    return tuple(rows)
