"""MNIST and Fashion-MNIST: 28×28 grey images of ten classes, split as in Nielsen's book."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from microgradnet.datasets.book import read_book
from microgradnet.datasets.download import Remote
from microgradnet.datasets.files import DataFileError, check_labels, read_bytes
from microgradnet.datasets.idx import read_idx
from microgradnet.datasets.locate import PathLike, obtain
from microgradnet.datasets.published import ByteImages, Published, hold_out

if TYPE_CHECKING:
    from pathlib import Path

    from microgradnet.datasets.dataset import Splits

_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# sha256 of the decompressed files.
MNIST_SHA256 = dict(
    zip(
        _FILES,
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        strict=True,
    )
)
# md5 of the gzip files, from the README of zalandoresearch/fashion-mnist.
_FASHION_MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
# Both sets have the same file names; these tell them apart where a folder does not: sha256 of t10k-labels,
# decompressed.
_TEST_LABELS = {
    MNIST_SHA256["t10k-labels-idx1-ubyte"]: "mnist",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": "fashion-mnist",
}
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
_FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)

MNIST = Published(
    name="mnist",
    classes=tuple("0123456789"),
    image_shape=(1, 28, 28),
    layouts=(_FILES, ("mnist.pkl",)),
    remotes=tuple(
        Remote(f"{file}.gz", _MNIST_MIRRORS, "sha256", digest, unpacked=True)
        for file, digest in MNIST_SHA256.items()
    ),
)
FASHION_MNIST = Published(
    name="fashion-mnist",
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    image_shape=(1, 28, 28),
    layouts=(_FILES,),
    remotes=tuple(
        Remote(f"{file}.gz", _FASHION_MIRRORS, "md5", digest)
        for file, digest in zip(_FILES, _FASHION_MD5, strict=True)
    ),
)


def load_mnist(published: Published, data_dir: PathLike | None = None, *, download: bool = True) -> Splits:
    """Load MNIST or Fashion-MNIST with x (N, 784) float32, byte / 255, and y (N,) int64.

    The last sixth of the training images, 10,000 of 60,000, is the validation set. The book's `mnist.pkl.gz`
    has bytes / 256; it gives the same numbers here as the IDX files.
    """
    paths = obtain(
        published, data_dir, download=download, accept=lambda paths: _is_set(published.name, paths)
    )
    if len(paths) == 1:
        return published.splits(*read_book(paths[0]))
    training, test = _read_pair(paths[0], paths[1]), _read_pair(paths[2], paths[3])
    return published.splits(*hold_out(training, one_in=6), test)


def _is_set(name: str, paths: list[Path]) -> bool:
    if len(paths) == 1:
        return True
    digest = hashlib.sha256(read_bytes(paths[-1], "an IDX file")).hexdigest()
    return _TEST_LABELS.get(digest, name) == name


def _read_pair(images_path: Path, labels_path: Path) -> ByteImages:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataFileError(images_path, "images as (N, 28, 28) uint8", f"{images.shape} {images.dtype}")
    if labels.dtype != np.uint8:
        raise DataFileError(labels_path, "labels as uint8", str(labels.dtype))
    check_labels(labels_path, labels, num_classes=10, num_images=len(images))
    return images, labels.astype(np.int64)
