"""What there is to know of a data set that others publish as files, and what its bytes become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from microgradnet.datasets.dataset import Dataset, IntArray, Splits

if TYPE_CHECKING:
    from microgradnet.datasets.download import Remote

ByteImages: TypeAlias = tuple[NDArray[np.uint8], IntArray]  # images (N, …) and their labels (N,)


@dataclass(frozen=True)
class Published:
    """A published data set of images.

    `layouts` are the alternatives in which its files may lie in a folder, each name with or without `.gz`;
    `remotes` are the files to download where there are none.
    """

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    layouts: tuple[tuple[str, ...], ...]
    remotes: tuple[Remote, ...]

    def splits(self, train: ByteImages, validation: ByteImages, test: ByteImages) -> Splits:
        """Return the splits with x = byte / 255 as float32, each example a row."""
        parts = (
            Dataset(unit_scale(x), y, len(self.classes), self.image_shape)
            for x, y in (train, validation, test)
        )
        return Splits(self.name, self.classes, *parts)


def hold_out(examples: ByteImages, one_in: int) -> tuple[ByteImages, ByteImages]:
    """Cut off the last 1 / `one_in` of the training examples: what remains, and the validation examples."""
    x, y = examples
    cut = len(y) - len(y) // one_in
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def unit_scale(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return byte / 255 as float32, each example a row.

    Examples
    --------
    >>> unit_scale(np.array([[[0, 51], [102, 255]]], dtype=np.uint8))
    array([[0. , 0.2, 0.4, 1. ]], dtype=float32)
    """
    x = images.reshape(len(images), -1).astype(np.float32)
    x /= np.float32(255)
    return x
