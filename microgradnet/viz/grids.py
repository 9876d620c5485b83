"""Arrays as grids of numbers that fit a picture: block means of what is large, images of what is an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from microgradnet.graph import Array

SMALLEST_IMAGE = 8  # pixels along an edge; a smaller square is a vector like any other


@dataclass(frozen=True)
class Grid:
    """A table of numbers that stands for an array.

    ``block`` says how many rows and columns of the array one cell is the mean of. An ``image`` is a row of
    tiles, one per example, ``(count, edge)`` of them.
    """

    cells: Array
    block: tuple[int, int] = (1, 1)
    image: tuple[int, int] | None = None

    @property
    def note(self) -> str:
        """What the grid leaves out; empty where it shows every number."""
        rows, columns = self.block
        return "" if self.block == (1, 1) else f"a cell is the mean of {rows} × {columns} numbers"


def grid_of(array: Array, rows: int, columns: int, *, image: bool = False) -> Grid:
    """Return a grid of at most ``rows`` × ``columns`` cells: axes before the last are flattened into rows.

    Where an ``image`` is looked for, and each row of a matrix (or the vector) is a square, it is one.

    >>> grid_of(np.arange(8.0).reshape(2, 4), 2, 2).cells.tolist()
    [[0.5, 2.5], [4.5, 6.5]]
    >>> grid_of(np.zeros((1, 784)), 28, 28, image=True).cells.shape
    (28, 28)
    """
    table = _table(array)
    tiles = None
    edge = math.isqrt(table.shape[1])
    if image and array.ndim <= 2 and edge * edge == table.shape[1] and edge >= SMALLEST_IMAGE:
        count = max(1, min(len(table), columns // edge))
        table = np.hstack(list(table[:count].reshape(count, edge, edge)))
        tiles = (count, edge)
    block = tuple([max(1, -(-n // most)) for n, most in zip(table.shape, (rows, columns), strict=True)])
    return Grid(_means(table, block), (block[0], block[1]), tiles)


def _table(array: Array) -> Array:
    """Return the array as a matrix of float64."""
    flat = np.asarray(array, np.float64)
    if flat.ndim < 2:
        return flat.reshape(1, -1)
    return flat.reshape(-1, flat.shape[-1]) if flat.size else flat.reshape(0, 1)


def _means(table: Array, block: tuple[int, ...]) -> Array:
    """Return the mean of every block; those at the end may be smaller."""
    for axis, size in enumerate(block):
        if size > 1:
            starts = np.arange(0, table.shape[axis], size)
            counts = np.diff([*starts, table.shape[axis]])
            with np.errstate(invalid="ignore", over="ignore"):  # of infinite numbers the mean may be nan
                table = np.add.reduceat(table, starts, axis) / np.expand_dims(counts, 1 - axis)
    return table


def shades(grid: Grid) -> Array:
    """Return each cell as a share of the largest magnitude, in [−1, 1] (nan stays, infinities are ±1)."""
    cells = grid.cells
    finite = cells[np.isfinite(cells)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        return np.clip(cells / (largest or 1.0), -1, 1)


def mixed(share: float, low: str, zero: str, high: str) -> str:
    """Return the colour of a share in [−1, 1] between three colours, 0 being the one in the middle.

    >>> mixed(0.5, "#0000FF", "#FFFFFF", "#FF0000")
    '#FF8080'
    """
    end, part = (low, -share) if share < 0 else (high, share)
    pairs: list[tuple[Any, Any]] = [(int(zero[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join([f"{round(a + (b - a) * part):02X}" for a, b in pairs])
