"""CIFAR-10 and CIFAR-100 in their published binary format: 32×32 colour images.

A record is one label byte (CIFAR-100: a coarse and a fine one), then 1,024 bytes each of red, green and blue,
row by row (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and its web page).
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import numpy as np

from microgradnet.datasets.download import Remote
from microgradnet.datasets.files import DataFileError, check_labels, read_bytes
from microgradnet.datasets.locate import PathLike, obtain
from microgradnet.datasets.published import ByteImages, Published, hold_out

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from microgradnet.datasets.dataset import Splits

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_HALVES = ("train.bin", "test.bin")
_FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}


def _published(name: str, classes: str, files: tuple[str, ...], archive: str, md5: str) -> Published:
    """Describe a set whose files lie in a folder, in the folder of the archive, or in the archive itself."""
    in_folder = tuple(f"{_FOLDERS[name]}/{file}" for file in files)
    remote = Remote(f"{archive}.gz", _MIRRORS, "md5", md5)
    return Published(name, tuple(classes.split()), _SHAPE, (files, in_folder, (archive,)), (remote,))


# The md5 sums are those of the data sets' web page.
CIFAR10 = _published(
    "cifar10",
    "airplane automobile bird cat deer dog frog horse ship truck",
    _BATCHES,
    "cifar-10-binary.tar",
    "c32a1d4ab5d03f1284b67883e8d87530",
)
CIFAR100 = _published(
    "cifar100",
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
    crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm""",
    _HALVES,
    "cifar-100-binary.tar",
    "03b5dce01913d631647c71ecec9e9cb8",
)


def load_cifar(published: Published, data_dir: PathLike | None = None, *, download: bool = True) -> Splits:
    """Load CIFAR-10, or CIFAR-100 with its fine labels; x is (N, 3072) float32, byte / 255, y (N,) int64.

    The last tenth of the training images, 5,000 of 50,000, is the validation set.
    """
    paths = obtain(published, data_dir, download=download)
    if len(paths) == 1:
        blobs = _read_archive(published, paths[0])
    else:
        blobs = [(path, read_bytes(path, "CIFAR records")) for path in paths]
    *training, test = (_records(path, data, len(published.classes)) for path, data in blobs)
    images, labels = (np.concatenate(arrays) for arrays in zip(*training, strict=True))
    return published.splits(*hold_out((images, labels), one_in=10), test)


def _read_archive(published: Published, path: Path) -> list[tuple[Path, bytes]]:
    """Read the files out of the archive, in memory: nothing is extracted to the disk."""
    _, members, _ = published.layouts
    blobs = []
    try:
        with tarfile.open(fileobj=io.BytesIO(read_bytes(path, "a tar archive"))) as archive:
            for member in members:
                file = archive.extractfile(member)
                if file is None:
                    raise DataFileError(path, f"the file {member}", "a folder of that name")
                blobs.append((path / member, file.read()))
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise DataFileError(path, f"a tar archive with {', '.join(members)}", str(error)) from None
    return blobs


def _records(path: Path, data: bytes, num_classes: int) -> ByteImages:
    label_bytes = 1 if num_classes == 10 else 2
    size = label_bytes + _PIXELS
    if len(data) % size:
        raise DataFileError(path, f"records of {size:,} bytes", f"{len(data):,} bytes, no multiple of it")
    records: NDArray[np.uint8] = np.frombuffer(data, np.uint8).reshape(-1, size)
    labels = records[:, label_bytes - 1].astype(np.int64)  # the last label byte is the fine one
    check_labels(path, labels, num_classes, num_images=len(records))
    return records[:, label_bytes:], labels
