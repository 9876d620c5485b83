"""The pickle `mnist.pkl.gz` that comes with Nielsen's book, read without running what a pickle may run.

It holds three pairs (images, labels): 50,000 for training, 10,000 for validation, 10,000 for the test. An
image is a row of 784 float32, its bytes divided by 256 (M. Nielsen, "Neural Networks and Deep Learning",
2015).
"""

from __future__ import annotations

import io
import pickle  # only as the base of an unpickler that admits nothing but arrays
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.datasets.files import DataFileError, check_labels, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from microgradnet.datasets.published import ByteImages

_EXPECTED = "the book's three pairs (images, labels) of NumPy arrays"


def _encode(text: str, encoding: str) -> bytes:
    # How Python 3 writes bytes into an old pickle; no other codec has a reason to be there.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the codec {encoding!r}, which no array needs")
    return text.encode("latin1")


def _dtype(code: str, *_: object) -> np.dtype[Any]:
    # A copy, because the pickle then sets its byte order.
    if not re.fullmatch(r"[fiu][1248]", code):
        raise pickle.UnpicklingError(f"an array of type {code!r}")
    return np.dtype(code, copy=True)


# An array says itself which functions rebuild it, so that no private module of NumPy is named or imported.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_FROMBUFFER = np.empty(1).__reduce_ex__(5)[0]
_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROMBUFFER,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and plain containers; any other name is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> object:
        """Return what may be called, or refuse."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"a call of {module}.{name}, which is refused") from None


def read_book(path: Path) -> list[ByteImages]:
    """Return training, validation and test data of `mnist.pkl.gz`: bytes (N, 784) and labels (N,).

    Raises
    ------
    DataFileError
        If the pickle is damaged, names anything but NumPy arrays, or holds something else.
    """
    stream = io.BytesIO(read_bytes(path, _EXPECTED))
    try:
        parts = _ArrayUnpickler(stream, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise DataFileError(path, _EXPECTED, str(error)) from None
    # What a damaged pickle makes the unpickler and NumPy's own constructors raise.
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
    ) as error:
        raise DataFileError(path, _EXPECTED, f"a damaged pickle ({type(error).__name__}: {error})") from None
    if not isinstance(parts, tuple | list) or len(parts) != 3:
        raise DataFileError(path, _EXPECTED, f"a {type(parts).__name__}")
    return [_part(path, part) for part in parts]


def _part(path: Path, part: object) -> ByteImages:
    if not (
        isinstance(part, tuple | list) and len(part) == 2 and all(isinstance(a, np.ndarray) for a in part)
    ):
        raise DataFileError(path, _EXPECTED, "a part that is no pair of arrays")
    x, y = part
    if x.ndim != 2 or x.shape[1] != 784 or x.dtype.kind != "f":
        raise DataFileError(path, "images as (N, 784) floats", f"{x.shape} {x.dtype}")
    if y.dtype.kind not in "iu":
        raise DataFileError(path, "labels as integers", str(y.dtype))
    check_labels(path, y, num_classes=10, num_images=len(x))
    in_range = x.size == 0 or bool(x.min() >= 0 and x.max() < 1)  # False for NaN
    if not in_range or not np.array_equal(images := np.rint(x * 256), x * 256):
        raise DataFileError(path, "grey values that are bytes divided by 256", "other values")
    return images.astype(np.uint8), y.astype(np.int64)
