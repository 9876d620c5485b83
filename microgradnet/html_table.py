"""Small HTML tables for notebooks: escaped, readable on light and on dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CELL = "padding:.15em .7em;border-bottom:1px solid rgba(128,128,128,.35)"
_MOST_ROWS, _MOST_COLUMNS = 6, 8
"""How much of an array is shown; what is left out is marked by an ellipsis."""


def table(rows: Iterable[Sequence[Any]], head: Sequence[str] = (), caption: str = "") -> str:
    """Return rows of texts and numbers as an HTML table; every text is escaped, numbers stand right.

    >>> table([["w", 3]], head=["name", "size"]).count("<td")
    2
    >>> "&lt;b&gt;" in table([["<b>"]])
    True
    """
    title = (
        f'<caption style="caption-side:top;text-align:left;padding:.3em .7em">{escape(caption)}</caption>'
        if caption
        else ""
    )
    top = "".join([f'<th scope="col" style="{_CELL};text-align:left">{escape(text)}</th>' for text in head])
    body = "".join(["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows])
    return (
        f'<table style="border-collapse:collapse;font-size:90%">{title}'
        f"{f'<thead><tr>{top}</tr></thead>' if top else ''}<tbody>{body}</tbody></table>"
    )


def _cell(value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = f"{value:,}" if isinstance(value, int) and number else f"{value:.4g}" if number else str(value)
    align = "right" if number else "left"
    return f'<td style="{_CELL};text-align:{align};white-space:pre-wrap">{escape(text)}</td>'


def array_rows(array: Any) -> list[list[Any]]:
    """Return the numbers of an array as rows of cells: its corner, where it is large.

    Axes before the last two are shown by their first entry.

    >>> array_rows(np.array([1.0, 2.5]))
    [[1.0, 2.5]]
    >>> len(array_rows(np.zeros((100, 100))))
    7
    """
    while array.ndim > 2:
        if not len(array):
            return []
        array = array[0]
    grid = np.atleast_2d(array)
    rows: list[list[Any]] = [_shortened(row.tolist()) for row in grid[:_MOST_ROWS]]
    return rows if len(grid) <= _MOST_ROWS else [*rows, ["⋮"]]


def _shortened(row: list[Any]) -> list[Any]:
    return row if len(row) <= _MOST_COLUMNS else [*row[:_MOST_COLUMNS], "…"]


def array_table(caption: str, value: Any, gradient: Any = None) -> str:
    """Return the numbers of an array, and of its gradient where there is one, under a caption.

    >>> "gradient" in array_table("w (2,)", np.ones(2), np.zeros(2))
    True
    """
    html = table(array_rows(value), caption=caption)
    return html if gradient is None else html + table(array_rows(gradient), caption="gradient")
