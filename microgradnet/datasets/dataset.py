"""Examples with their labels, cut into splits and batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

FloatArray: TypeAlias = NDArray[np.floating]
IntArray: TypeAlias = NDArray[np.int64]
Seed: TypeAlias = np.random.Generator | int


def generator(rng: Seed) -> np.random.Generator:
    """Return `rng` itself if it is a `numpy.random.Generator`, else one seeded with it.

    Raises
    ------
    TypeError
        If `rng` is neither a Generator nor an integer.

    Examples
    --------
    >>> generator(0).integers(100)
    np.int64(85)
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, int | np.integer):
        return np.random.default_rng(rng)
    raise TypeError(f"rng must be a seed such as 0 or a np.random.default_rng(0), not {rng!r}")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """N examples `x` and the class `y` of each.

    The arrays are read-only views: an in-place operation on a batch cannot spoil the data.

    Parameters
    ----------
    x : ndarray of floats, (N, features) or (N, channels, height, width)
        The examples. Images have values in [0, 1].
    y : ndarray of int64, (N,)
        The class of each example, in 0 … num_classes − 1.
    num_classes : int
        How many classes there are, whether or not all of them occur.
    image_shape : tuple of int, optional
        (channels, height, width), if the examples are images, also where `x` has them as rows.

    Raises
    ------
    TypeError
        If `x` does not hold floats or `y` does not hold integers.
    ValueError
        If `x` and `y` differ in length, or a label is out of range.

    Examples
    --------
    >>> data = Dataset(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 1]), num_classes=3)
    >>> data
    Dataset(4 examples, x (4, 4) float32, y int64, 3 classes)
    >>> data[1:3].y
    array([1, 2])
    >>> [y.tolist() for x, y in data.batches(3)]
    [[0, 1, 2], [1]]
    """

    x: FloatArray
    y: IntArray
    num_classes: int
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        x, y = np.ascontiguousarray(self.x), np.ascontiguousarray(self.y)
        if x.dtype.kind != "f":
            raise TypeError(f"x must hold floats, not {x.dtype}; for bytes write x.astype(np.float32) / 255")
        if y.dtype.kind not in "iu":
            raise TypeError(f"y must hold one integer class per example, not {y.dtype}")
        if y.ndim != 1 or len(x) != len(y):
            raise ValueError(
                f"x and y must have one entry per example, (N, …) and (N,), not {x.shape} and {y.shape}"
            )
        if y.size and not 0 <= y.min() <= y.max() < self.num_classes:
            raise ValueError(
                f"labels must lie in 0 … {self.num_classes - 1} for {self.num_classes} classes; "
                f"found {y.min()} … {y.max()}"
            )
        object.__setattr__(self, "x", _read_only(x))
        object.__setattr__(self, "y", _read_only(y.astype(np.int64, copy=False)))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(
        self, index: SupportsIndex | slice | NDArray[np.integer | np.bool_] | list[int]
    ) -> Dataset:
        """Return the chosen examples as a Dataset; an integer gives a Dataset of one."""
        if isinstance(index, SupportsIndex) and not isinstance(index, np.ndarray):
            index = np.array([index.__index__()])
        return replace(self, x=self.x[index], y=self.y[index])

    def __repr__(self) -> str:
        images = "" if self.image_shape is None else f", images {'×'.join(map(str, self.image_shape))}"
        return (
            f"Dataset({len(self):,} examples, x {self.x.shape} {self.x.dtype}, y {self.y.dtype}, "
            f"{self.num_classes} classes{images})"
        )

    def as_images(self) -> Dataset:
        """Return the same examples with `x` as (N, channels, height, width).

        Raises
        ------
        ValueError
            If the examples are not images.
        """
        if self.image_shape is None:
            raise ValueError(
                f"these examples are no images, they have shape {self.x.shape[1:]}: leave images out"
            )
        return replace(self, x=self.x.reshape(len(self), *self.image_shape))

    def batches(
        self, batch_size: int, *, shuffle: bool = False, rng: Seed | None = None, drop_last: bool = False
    ) -> Iterator[tuple[FloatArray, IntArray]]:
        """Go through the examples once, in batches `(x, y)` of C-contiguous arrays.

        Parameters
        ----------
        batch_size : int
            Examples per batch; the last batch has what remains.
        shuffle : bool
            Draw a new order from `rng`, once, at this call.
        rng : numpy.random.Generator or int
            Where the order comes from. A Generator gives another order at each call, a seed the same one.
        drop_last : bool
            Leave out a last batch that is smaller than the others.

        Raises
        ------
        TypeError
            If `batch_size` is no integer, or `shuffle` lacks its `rng`.
        ValueError
            If `batch_size` is below 1, or `drop_last` would leave no batch at all.

        Examples
        --------
        >>> data = Dataset(np.zeros((5, 2)), np.arange(5), num_classes=5)
        >>> rng = np.random.default_rng(0)
        >>> [y.tolist() for x, y in data.batches(2, shuffle=True, rng=rng)]
        [[2, 4], [3, 0], [1]]
        """
        size = _batch_size(batch_size)
        stop = len(self) - len(self) % size if drop_last else len(self)
        if drop_last and stop == 0:
            raise ValueError(f"drop_last=True with batch_size={size} leaves no batch of {len(self)} examples")
        if not shuffle:
            return self._slices(size, stop)
        if rng is None:
            raise TypeError("shuffle=True needs rng=: a np.random.default_rng(0) kept for all epochs")
        return self._gathers(size, generator(rng).permutation(len(self))[:stop])

    def _slices(self, size: int, stop: int) -> Iterator[tuple[FloatArray, IntArray]]:
        for start in range(0, stop, size):
            yield self.x[start : start + size], self.y[start : start + size]

    def _gathers(self, size: int, order: NDArray[np.int64]) -> Iterator[tuple[FloatArray, IntArray]]:
        x, y = self.x, self.y
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield x.take(chosen, axis=0), y.take(chosen)  # faster than x[chosen]


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """A data set by name: what to train on, what to choose by, and what to test on once.

    Examples
    --------
    >>> part = Dataset(np.zeros((2, 3)), np.array([0, 1]), num_classes=2)
    >>> Splits("tiny", ("no", "yes"), part, part, part)
    Splits('tiny': 2 train, 2 validation, 2 test; 2 classes; x (N, 3) float64)
    """

    name: str
    classes: tuple[str, ...]
    train: Dataset
    validation: Dataset
    test: Dataset

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    def as_images(self) -> Splits:
        """Return the same splits with every `x` as (N, channels, height, width)."""
        parts = (part.as_images() for part in (self.train, self.validation, self.test))
        return Splits(self.name, self.classes, *parts)

    def __repr__(self) -> str:
        shape = ", ".join(["N", *map(str, self.train.x.shape[1:])])
        return (
            f"Splits({self.name!r}: {len(self.train):,} train, {len(self.validation):,} validation, "
            f"{len(self.test):,} test; {self.num_classes} classes; x ({shape}) {self.train.x.dtype})"
        )


def _read_only(array: NDArray[np.generic]) -> NDArray[np.generic]:
    view = array.view()
    view.flags.writeable = False
    return view


def _batch_size(size: object) -> int:
    if not isinstance(size, int | np.integer) or isinstance(size, bool):
        raise TypeError(f"batch_size must be a whole number such as 32, not {size!r}")
    if size < 1:
        raise ValueError(
            f"batch_size must be at least 1, not {size}; len(data) gives one batch of everything"
        )
    return int(size)
