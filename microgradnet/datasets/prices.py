"""Prices from a CSV file, checked line by line."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from microgradnet.datasets.files import DataFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microgradnet.datasets.locate import PathLike


def read_prices(path: PathLike, column: str = "close") -> NDArray[np.float64]:
    r"""Return a column of a CSV file whose first line names the columns: prices (N,), in the file's order.

    Parameters
    ----------
    path : path
        The file, in UTF-8, with commas; the oldest price first, where time is to go forwards.
    column : str
        The name of the column, in small or capital letters.

    Raises
    ------
    DataFileError
        If there is no such column, or fewer than two prices, or a line without a positive, finite number in
        that column; names the file and the line, what was expected and what was found. Nothing is skipped or
        filled in.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "prices.csv")
    ...     _ = file.write_text("Date,Close\n2024-01-02,100.0\n2024-01-03,101.5\n")
    ...     read_prices(file)
    array([100. , 101.5])
    """
    file = Path(path)
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text)
        names = [name.strip() for name in next(rows, [])]
        lowered = [name.lower() for name in names]
        if column.lower() not in lowered:
            raise DataFileError(file, f"a column {column!r} on line 1", ", ".join(names) or "nothing")
        at = lowered.index(column.lower())
        prices = [_price(file, rows.line_num, row, at, column) for row in rows]
    if len(prices) < 2:
        raise DataFileError(file, "at least 2 prices", str(len(prices)))
    return np.array(prices)


def _price(file: Path, line: int, row: list[str], at: int, column: str) -> float:
    expected = f"a price in column {column!r} on line {line}"
    if len(row) <= at:
        raise DataFileError(file, expected, f"{len(row)} of the {at + 1} fields up to it")
    try:
        price = float(row[at])
    except ValueError:
        raise DataFileError(file, expected, repr(row[at])) from None
    if not (price > 0 and math.isfinite(price)):
        raise DataFileError(file, expected, row[at].strip())
    return price
