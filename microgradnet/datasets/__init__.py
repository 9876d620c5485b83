"""Data sets by name, ready for training: real digits, MNIST and its successors, toy sets.

>>> from microgradnet import datasets
>>> splits = datasets.load("moons", rng=0)
>>> splits
Splits('moons': 600 train, 200 validation, 200 test; 2 classes; x (N, 2) float32)
>>> for x, y in splits.train.batches(400):
...     x.shape, y.shape
((400, 2), (400,))
((200, 2), (200,))
"""

from __future__ import annotations

import difflib
from functools import partial
from typing import TYPE_CHECKING

from microgradnet.datasets.cifar import CIFAR10, CIFAR100, load_cifar
from microgradnet.datasets.dataset import Dataset, Seed, Splits, generator
from microgradnet.datasets.digits import load_digits
from microgradnet.datasets.files import DataFileError
from microgradnet.datasets.mnist import FASHION_MNIST, MNIST, load_mnist
from microgradnet.datasets.mnist_loader import load_data, load_data_wrapper, vectorized_result
from microgradnet.datasets.prices import read_prices
from microgradnet.datasets.toy import TOYS, blobs, moons, spirals, toy_splits, xor

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from microgradnet.datasets.locate import PathLike

__all__ = [
    "NAMES",
    "DataFileError",
    "Dataset",
    "Splits",
    "blobs",
    "load",
    "load_data",
    "load_data_wrapper",
    "moons",
    "read_prices",
    "spirals",
    "vectorized_result",
    "xor",
]

_DRAWN: dict[str, Callable[[np.random.Generator], Splits]] = {
    "digits": load_digits,
    **{name: partial(toy_splits, name) for name in TOYS},
}
_FROM_FILES: dict[str, Callable[..., Splits]] = {
    "mnist": partial(load_mnist, MNIST),
    "fashion-mnist": partial(load_mnist, FASHION_MNIST),
    "cifar10": partial(load_cifar, CIFAR10),
    "cifar100": partial(load_cifar, CIFAR100),
}
NAMES = (*_DRAWN, *_FROM_FILES)


def load(
    name: str,
    *,
    data_dir: PathLike | None = None,
    download: bool = True,
    rng: Seed = 0,
    images: bool = False,
) -> Splits:
    """Load a data set by name, split into train, validation and test.

    In every set x is float32, in [0, 1] where the examples are images, and y int64.

    | name | train, validation, test | x |
    |---|---|---|
    | digits | 1,257, 180, 360, stratified | (N, 64) |
    | mnist, fashion-mnist | 50,000, 10,000, 10,000 | (N, 784) |
    | cifar10, cifar100 | 45,000, 5,000, 10,000 | (N, 3072) |
    | xor, moons, spirals, blobs | 600, 200, 200 | (N, 2) |

    Parameters
    ----------
    name : str
        One of the names above.
    data_dir : path, optional
        The folder that has the files of a published set, in itself or in a folder of the set's name; no other
        is looked into then. Without it: ``$MICROGRADNET_DATA``, then the user's cache.
    download : bool
        Download files that are not found into the first of these folders, verified by their checksums.
    rng : numpy.random.Generator or int
        Draws the split of digits and the points of the toy sets; the other splits are fixed.
    images : bool
        Shape x as (N, channels, height, width) instead of rows.

    Raises
    ------
    ValueError
        If there is no set of that name (the near ones are offered), or `images` is asked of points.
    FileNotFoundError, ModuleNotFoundError, OSError, ConnectionError
        If the files are missing and cannot be downloaded; says what to do.
    DataFileError
        If a file does not hold what it should; names it, what was expected and what was found.

    Examples
    --------
    >>> load("digits", images=True)
    Splits('digits': 1,257 train, 180 validation, 360 test; 10 classes; x (N, 1, 8, 8) float32)
    >>> load("minst")
    Traceback (most recent call last):
    ...
    ValueError: there is no data set 'minst'; near names: mnist, moons
    """
    if name in _DRAWN:
        splits = _DRAWN[name](generator(rng))
    elif name in _FROM_FILES:
        splits = _FROM_FILES[name](data_dir, download=download)
    else:
        near = difflib.get_close_matches(str(name).lower(), NAMES, n=3, cutoff=0.5)
        raise ValueError(
            f"there is no data set {name!r}; "
            + (f"near names: {', '.join(near)}" if near else f"there are {', '.join(NAMES)}")
        )
    return splits.as_images() if images else splits
