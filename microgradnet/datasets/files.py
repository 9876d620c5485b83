"""Bytes of a data file, unpacked and told apart from what a failed download leaves."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_GZIP = b"\x1f\x8b"
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml")


class DataFileError(ValueError):
    """A data file does not hold what it should: names it, what was expected and what was found."""

    def __init__(self, path: Path, expected: str, found: str) -> None:
        super().__init__(f"{path}: expected {expected}, found {found}")


def read_bytes(path: Path, expected: str) -> bytes:
    """Return the contents of `path`, decompressed if they are gzip whatever the file is called.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        What it should hold, for the message.

    Raises
    ------
    DataFileError
        If the file is empty, a web page, or truncated or corrupted gzip.
    """
    data = path.read_bytes()
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except EOFError:
            raise DataFileError(
                path, expected, f"gzip data that break off after {len(data):,} bytes"
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataFileError(path, expected, f"corrupted gzip data ({error})") from None
    if not data:
        raise DataFileError(path, expected, "an empty file")
    if data[:64].lstrip().lower().startswith(_WEB_PAGE):
        raise DataFileError(path, expected, "a web page (HTML)")
    return data


def check_labels(path: Path, labels: NDArray[np.integer], num_classes: int, num_images: int) -> None:
    """Raise DataFileError unless there is one label in 0 … num_classes − 1 for each image.

    Examples
    --------
    >>> from pathlib import Path
    >>> check_labels(Path("labels"), np.array([3, 12]), num_classes=10, num_images=2)
    Traceback (most recent call last):
    ...
    microgradnet.datasets.files.DataFileError: labels: expected labels in 0 … 9, found 12 at position 1
    """
    if labels.shape != (num_images,):
        raise DataFileError(path, f"{num_images:,} labels, one per image", f"labels of shape {labels.shape}")
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        found = f"{labels[wrong[0]]} at position {wrong[0]}"
        raise DataFileError(path, f"labels in 0 … {num_classes - 1}", found)
