"""The IDX format, in which MNIST and Fashion-MNIST are published.

Two zero bytes, a byte for the type of the values, a byte for the number of dimensions, each dimension as a
big-endian uint32, then the values, big-endian, in C order (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST
database of handwritten digits").
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.datasets.files import DataFileError, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array in an IDX file, plain or gzip-compressed.

    The array has the file's shape and type, in the machine's byte order.

    Raises
    ------
    DataFileError
        If the file is no IDX file, or holds fewer or more values than its header says.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    data = read_bytes(path, "an IDX file")
    code, ndim = data[2:4] if len(data) >= 4 else (0, 0)
    if data[:2] != b"\0\0" or code not in _DTYPES:
        raise DataFileError(
            path, "an IDX file, which begins 00 00 08 …", f"one that begins {data[:4].hex(' ')}"
        )
    start = 4 + 4 * ndim
    if len(data) < start:
        raise DataFileError(path, f"an IDX header of {start} bytes", f"{len(data)} bytes (truncated)")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", ndim, offset=4))
    dtype = np.dtype(_DTYPES[code])
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - start
    if expected != found:
        sizes = "×".join(map(str, shape))
        truncated = " (truncated)" if found < expected else ""
        raise DataFileError(path, f"{expected:,} bytes of values for {sizes}", f"{found:,}{truncated}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
