"""MNIST in the form that the code of Nielsen's book works on: pairs of column vectors.

Does the job of the book's `mnist_loader.py`, under its names (M. Nielsen, "Neural Networks and Deep
Learning", 2015, chapter 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from microgradnet.datasets.dataset import FloatArray, IntArray
from microgradnet.datasets.mnist import MNIST, load_mnist

if TYPE_CHECKING:
    from microgradnet.datasets.locate import PathLike

Part: TypeAlias = tuple[FloatArray, IntArray]
VectorPairs: TypeAlias = list[tuple[FloatArray, NDArray[np.float64]]]
LabelPairs: TypeAlias = list[tuple[FloatArray, int]]


def load_data(data_dir: PathLike | None = None, *, download: bool = True) -> tuple[Part, Part, Part]:
    """Return MNIST's training, validation and test data, each as `(x, y)`.

    `x` is (N, 784) float32 in [0, 1], byte / 255 (the book's own file has byte / 256), and `y` is (N,) int64,
    with N = 50,000, 10,000 and 10,000.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError, OSError, DataFileError
        As `load("mnist")` does.
    """
    splits = load_mnist(MNIST, data_dir, download=download)
    train, validation, test = ((part.x, part.y) for part in (splits.train, splits.validation, splits.test))
    return train, validation, test


def load_data_wrapper(
    data_dir: PathLike | None = None, *, download: bool = True
) -> tuple[VectorPairs, LabelPairs, LabelPairs]:
    """Return MNIST as three lists of pairs `(x, y)`, with each x a column (784, 1).

    For training y is the unit vector (10, 1) of the digit, for validation and test the digit itself, an int.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError, OSError, DataFileError
        As `load("mnist")` does.
    """
    train, validation, test = load_data(data_dir, download=download)
    units = [vectorized_result(digit) for digit in range(10)]
    training = [(x, units[y].copy()) for x, y in _columns(train)]
    return training, _columns(validation), _columns(test)


def vectorized_result(j: int) -> NDArray[np.float64]:
    """Return the unit vector (10, 1) with 1.0 at position j, what the network should answer for digit j.

    Raises
    ------
    ValueError
        If j is not in 0 … 9.

    Examples
    --------
    >>> vectorized_result(3).ravel()
    array([0., 0., 0., 1., 0., 0., 0., 0., 0., 0.])
    """
    if not 0 <= j <= 9:
        raise ValueError(f"a digit is one of 0 … 9, not {j}")
    unit = np.zeros((10, 1))
    unit[j] = 1.0
    return unit


def _columns(part: Part) -> LabelPairs:
    x, y = part
    return list(zip(x.reshape(-1, 784, 1), y.tolist(), strict=True))
