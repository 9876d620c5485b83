"""Points of the plane in classes that a picture shows: xor, moons, spirals, blobs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from microgradnet.datasets.dataset import Dataset, IntArray, Seed, Splits, generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SIZES = (600, 200, 200)


def xor(n: int = 4, *, noise: float = 0.0, rng: Seed = 0) -> Dataset:
    """The corners of the unit square, class 1 where exactly one coordinate is 1; no line parts them.

    Parameters
    ----------
    n : int
        Number of points, which go round the corners (0, 0), (0, 1), (1, 0), (1, 1).
    noise : float
        Standard deviation of the normal noise added to both coordinates.
    rng : numpy.random.Generator or int
        Where the noise comes from.

    Examples
    --------
    >>> data = xor()
    >>> data.x.tolist(), data.y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    corner = np.arange(_count(n)) % 4
    bits = np.stack([corner // 2, corner % 2], axis=1)
    return _points(bits, bits[:, 0] ^ bits[:, 1], 2, noise, rng)


def moons(n: int = 200, *, noise: float = 0.1, rng: Seed = 0) -> Dataset:
    """Two half circles that interlock, (cos t, sin t) and (1 − cos t, ½ − sin t) with t in [0, π].

    Parameters
    ----------
    n : int
        Number of points, of class 0 and 1 in turn.
    noise : float
        Standard deviation of the normal noise added to both coordinates.
    rng : numpy.random.Generator or int
        Where t and the noise come from.

    Examples
    --------
    >>> moons()
    Dataset(200 examples, x (200, 2) float32, y int64, 2 classes)
    """
    rng = generator(rng)
    y = np.arange(_count(n)) % 2
    t = rng.uniform(0, np.pi, n)
    outer, inner = (
        np.stack([np.cos(t), np.sin(t)], axis=1),
        np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1),
    )
    return _points(np.where(y[:, None] == 0, outer, inner), y, 2, noise, rng)


def spirals(n: int = 300, *, classes: int = 3, noise: float = 0.02, rng: Seed = 0) -> Dataset:
    """Spiral arms, one per class: r (cos φ, sin φ) with φ = 2π (r + class / classes) and r in [0.1, 1].

    Parameters
    ----------
    n : int
        Number of points, of each class in turn.
    classes : int
        Number of arms, at least 2.
    noise : float
        Standard deviation of the normal noise added to both coordinates.
    rng : numpy.random.Generator or int
        Where r and the noise come from.

    Examples
    --------
    >>> spirals(classes=4).num_classes
    4
    """
    rng = generator(rng)
    y = np.arange(_count(n)) % _count(classes, "classes", 2)
    r = rng.uniform(0.1, 1, n)
    angle = 2 * np.pi * (r + y / classes)
    return _points(r[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), y, classes, noise, rng)


def blobs(n: int = 300, *, classes: int = 3, noise: float = 0.2, rng: Seed = 0) -> Dataset:
    """Normal clouds around centres that stand evenly on the unit circle, one per class.

    Parameters
    ----------
    n : int
        Number of points, of each class in turn.
    classes : int
        Number of clouds, at least 2.
    noise : float
        Standard deviation of both coordinates.
    rng : numpy.random.Generator or int
        Where the points come from.

    Examples
    --------
    >>> np.bincount(blobs(10).y).tolist()
    [4, 3, 3]
    """
    y = np.arange(_count(n)) % _count(classes, "classes", 2)
    angle = 2 * np.pi * y / classes
    return _points(np.stack([np.cos(angle), np.sin(angle)], axis=1), y, classes, noise, rng)


TOYS: dict[str, Callable[..., Dataset]] = {
    "xor": partial(xor, noise=0.1),
    "moons": moons,
    "spirals": spirals,
    "blobs": blobs,
}


def toy_splits(name: str, rng: np.random.Generator) -> Splits:
    """Draw 600 points for training, then 200 for validation, then 200 for the test."""
    train, validation, test = (TOYS[name](n, rng=rng) for n in _SIZES)
    return Splits(name, tuple(str(i) for i in range(train.num_classes)), train, validation, test)


def _points(exact: NDArray[np.number], y: IntArray, classes: int, noise: float, rng: Seed) -> Dataset:
    if noise < 0:
        raise ValueError(f"noise is a standard deviation, at least 0, not {noise}")
    x = exact + noise * generator(rng).standard_normal(exact.shape)
    return Dataset(x.astype(np.float32), y, classes)


def _count(n: int, name: str = "n", least: int = 1) -> int:
    if n < least:
        raise ValueError(f"{name} must be at least {least}, not {n}")
    return n
