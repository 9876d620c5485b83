"""Small files in the published formats, for the tests of the data sets."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def idx_bytes(array: np.ndarray) -> bytes:
    """Write an array in the IDX format, independently of the reader."""
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    header = struct.pack(">BBBB", 0, 0, codes[array.dtype.str[1:]], array.ndim)
    return (
        header
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.fixture(name="idx_bytes")
def _idx_bytes() -> Callable[[np.ndarray], bytes]:
    return idx_bytes


@pytest.fixture
def small_mnist() -> dict[str, np.ndarray]:
    """Twelve training and four test images under MNIST's file names; all ten digits occur."""
    rng = np.random.default_rng(7)
    images, labels = rng.integers(0, 256, (16, 28, 28), dtype=np.uint8), np.arange(16, dtype=np.uint8) % 10
    images[0, 0, :2] = 0, 255
    return {
        "train-images-idx3-ubyte": images[:12],
        "train-labels-idx1-ubyte": labels[:12],
        "t10k-images-idx3-ubyte": images[12:],
        "t10k-labels-idx1-ubyte": labels[12:],
    }


@pytest.fixture
def write_mnist(small_mnist: dict[str, np.ndarray]) -> Callable[..., Path]:
    """Write the small MNIST into a folder, gzip-compressed or plain."""

    def write(folder: Path, *, compressed: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in small_mnist.items():
            data = idx_bytes(array)
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)
        return folder

    return write
