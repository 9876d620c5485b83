"""Readers of IDX, the book's pickle and CIFAR: right numbers from good files, clear errors from bad ones."""

import builtins
import gzip
import io
import os
import pickle
import re
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from microgradnet.datasets import DataFileError
from microgradnet.datasets.book import read_book
from microgradnet.datasets.cifar import CIFAR10, CIFAR100, load_cifar
from microgradnet.datasets.files import read_bytes
from microgradnet.datasets.idx import read_idx
from microgradnet.datasets.mnist import MNIST, load_mnist


def refused(path: Path, *parts: str):
    """Expect a DataFileError that names the file and says all of the parts."""
    pattern = "".join(f"(?=.*{re.escape(part)})" for part in (str(path), "expected ", "found ", *parts))
    return pytest.raises(DataFileError, match=f"(?s){pattern}")


# --- files -----------------------------------------------------------------------------------------------


def test_gzip_is_told_by_its_bytes_not_by_its_name(tmp_path):
    (tmp_path / "plain.gz").write_bytes(b"values")
    (tmp_path / "packed").write_bytes(gzip.compress(b"values"))
    assert (
        read_bytes(tmp_path / "plain.gz", "values") == read_bytes(tmp_path / "packed", "values") == b"values"
    )


GZIP = gzip.compress(np.random.default_rng(0).bytes(2000), mtime=0)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (gzip.compress(b""), "an empty file"),
        (b"\n <!DOCTYPE html><html>Not found</html>", "a web page (HTML)"),
        (gzip.compress(b"<html>busy</html>"), "a web page (HTML)"),
        (GZIP[:1000], "gzip data that break off after 1,000 bytes"),
        (GZIP[:1000] + b"\xff" + GZIP[1001:], "corrupted gzip data"),
        (GZIP[:2] + b"\x07" + GZIP[3:], "corrupted gzip data"),
        (GZIP + b"tail", "corrupted gzip data"),
    ],
    # Named by hand: gzip data carry the time, and workers that collect at different seconds would disagree.
    ids=["empty", "empty-gzip", "html", "html-gzip", "cut", "flipped", "other-method", "tail"],
)
def test_what_failed_downloads_leave_is_named(tmp_path, data, found):
    path = tmp_path / "file.gz"
    path.write_bytes(data)
    with refused(path, "expected a thing", found):
        read_bytes(path, "a thing")


def test_binary_data_that_look_like_a_tag_are_no_web_page(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(b"\x09<" + bytes(100))
    assert read_bytes(path, "CIFAR records") == b"\x09<" + bytes(100)


# --- IDX -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5)])
def test_idx_of_every_type_in_the_machines_byte_order(tmp_path, idx_bytes, dtype, shape):
    array = (np.arange(np.prod(shape)) * 7 - (dtype != "u1") * 40).astype(dtype).reshape(shape)
    path = tmp_path / "values"
    path.write_bytes(idx_bytes(array))
    read = read_idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"\x80\x04\x95\x00\x01", ["an IDX file, which begins 00 00 08", "one that begins 80 04 95 00"]),
        (b"\0\0\x07\x01\0\0\0\x01\x05", ["one that begins 00 00 07 01"]),
        (b"\0\0", ["one that begins 00 00"]),
        (b"\0\0\x08\x03\0\0\0\x01", ["an IDX header of 16 bytes", "8 bytes (truncated)"]),
        (b"\0\0\x08\x02\0\0\0\x02\0\0\0\x03abcde", ["6 bytes of values for 2×3", "found 5 (truncated)"]),
        (b"\0\0\x08\x01\0\0\0\x02abc", ["2 bytes of values for 2", "found 3"]),
        (b"\0\0\x0d\x01\0\0\0\x02abcd", ["8 bytes of values for 2", "found 4 (truncated)"]),
        (b"\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xffabc", ["18,446,744,065,119,617,025 bytes", "found 3"]),
    ],
)
def test_bad_idx_files_are_refused(tmp_path, data, parts):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with refused(path, *parts):
        read_idx(path)


# --- MNIST in IDX files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [True, False])
def test_mnist_numbers_and_splits(tmp_path, write_mnist, small_mnist, compressed):
    splits = load_mnist(MNIST, write_mnist(tmp_path, compressed=compressed), download=False)
    images, labels = small_mnist["train-images-idx3-ubyte"], small_mnist["train-labels-idx1-ubyte"]
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [10, 2, 4]
    assert splits.train.x.dtype == np.float32
    assert splits.train.x[0, :2].tolist() == [0.0, 1.0]
    together = np.concatenate([splits.train.x, splits.validation.x])
    np.testing.assert_array_equal(together, images.reshape(12, 784).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(np.concatenate([splits.train.y, splits.validation.y]), labels)
    np.testing.assert_array_equal(splits.test.y, small_mnist["t10k-labels-idx1-ubyte"])
    assert splits.train.y.dtype == np.int64
    assert splits.train.image_shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("name", "array", "parts"),
    [
        (
            "train-images-idx3-ubyte",
            np.zeros((12, 27, 28), np.uint8),
            ["(N, 28, 28) uint8", "(12, 27, 28) uint8"],
        ),
        (
            "train-images-idx3-ubyte",
            np.zeros((12, 28, 28), np.int8),
            ["(N, 28, 28) uint8", "(12, 28, 28) int8"],
        ),
        ("train-images-idx3-ubyte", np.zeros((12, 784), np.uint8), ["(N, 28, 28) uint8", "(12, 784) uint8"]),
        (
            "train-labels-idx1-ubyte",
            np.zeros(11, np.uint8),
            ["12 labels, one per image", "labels of shape (11,)"],
        ),
        ("t10k-labels-idx1-ubyte", np.zeros((4, 1), np.uint8), ["4 labels", "labels of shape (4, 1)"]),
        (
            "t10k-labels-idx1-ubyte",
            np.array([1, 2, 10, 3], np.uint8),
            ["labels in 0 … 9", "10 at position 2"],
        ),
        ("t10k-labels-idx1-ubyte", np.zeros(4, np.float32), ["labels as uint8", "float32"]),
    ],
)
def test_mnist_files_that_do_not_fit_are_refused(tmp_path, write_mnist, idx_bytes, name, array, parts):
    path = write_mnist(tmp_path) / f"{name}.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    with refused(path, *parts):
        load_mnist(MNIST, tmp_path, download=False)


# --- the book's pickle -----------------------------------------------------------------------------------


@pytest.fixture
def parts(small_mnist):
    """Three parts as the book's file has them: float32 bytes / 256 and int64 labels."""
    x = small_mnist["train-images-idx3-ubyte"].reshape(12, 784).astype(np.float32) / np.float32(256)
    y = small_mnist["train-labels-idx1-ubyte"].astype(np.int64)
    test = small_mnist["t10k-images-idx3-ubyte"].reshape(4, 784).astype(np.float32) / np.float32(256)
    return (x[:10], y[:10]), (x[10:], y[10:]), (test, small_mnist["t10k-labels-idx1-ubyte"].astype(np.int64))


def python2_array(array: np.ndarray) -> bytes:
    """Pickle an array as Python 2 did: NumPy's old module names, the bytes in a Latin-1 string."""

    def text(data: bytes) -> bytes:
        return pickle.BINSTRING + struct.pack("<i", len(data)) + data

    def number(n: int) -> bytes:
        return pickle.BININT + struct.pack("<i", n)

    dtype = (
        b"cnumpy\ndtype\n"
        + (text(array.dtype.str[1:].encode()) + number(0) + number(1) + pickle.TUPLE3 + pickle.REDUCE)
        + (pickle.MARK + number(3) + text(b"<") + 3 * pickle.NONE + 2 * number(-1) + number(0) + pickle.TUPLE)
        + pickle.BUILD
    )
    shape = pickle.MARK + b"".join(number(n) for n in array.shape) + pickle.TUPLE
    empty = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + pickle.TUPLE1 + text(b"b")
    )
    state = pickle.MARK + number(1) + shape + dtype + pickle.NEWFALSE + text(array.tobytes()) + pickle.TUPLE
    return empty + pickle.TUPLE3 + pickle.REDUCE + state + pickle.BUILD


def python2_pickle(parts) -> bytes:
    pairs = b"".join(python2_array(x) + python2_array(y) + pickle.TUPLE2 for x, y in parts)
    return pickle.PROTO + b"\x02" + pairs + pickle.TUPLE3 + pickle.STOP


@pytest.mark.parametrize("protocol", ["python 2", *range(pickle.HIGHEST_PROTOCOL + 1)])
def test_the_books_pickle_gives_the_numbers_of_the_idx_files(tmp_path, write_mnist, parts, protocol):
    data = python2_pickle(parts) if protocol == "python 2" else pickle.dumps(parts, protocol)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "mnist.pkl.gz").write_bytes(gzip.compress(data))
    book = load_mnist(MNIST, tmp_path / "book", download=False)
    idx = load_mnist(MNIST, write_mnist(tmp_path / "idx"), download=False)
    for ours, theirs in [(book.train, idx.train), (book.validation, idx.validation), (book.test, idx.test)]:
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)
        assert ours.x.dtype == np.float32
        assert ours.y.dtype == np.int64


def test_old_module_names_are_admitted_in_place_of_the_new(tmp_path, parts):
    path = tmp_path / "mnist.pkl"
    for protocol in (2, 5):
        data = pickle.dumps(parts, protocol)
        old = data.replace(b"numpy._core", b"numpy.core")
        if protocol == 5:  # framed and with the lengths of names: write the shorter one with its length
            old = pickle.dumps(parts, 3).replace(b"numpy._core", b"numpy.core")
        assert old != data
        path.write_bytes(old)
        assert [len(y) for _, y in read_book(path)] == [10, 2, 4]


class Call:
    """Pickles as a call of a function, as an attacker's object does."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, ".system"),
        (builtins.eval, ".eval"),
        (builtins.getattr, ".getattr"),
        (np.load, ".load"),
        (np.fromfile, ".fromfile"),
        (pickle.loads, ".loads"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, parts, function, name, protocol):
    witness, path = tmp_path / "witness", tmp_path / "mnist.pkl.gz"
    evil = Call(function, f"open({str(witness)!r}, 'w')")
    path.write_bytes(gzip.compress(pickle.dumps((*parts, evil), protocol)))
    with pytest.raises(DataFileError) as caught:
        read_book(path)
    assert "which is refused" in str(caught.value)
    assert name in str(caught.value)
    assert str(path) in str(caught.value)
    assert not witness.exists()


def test_what_a_refused_pickle_would_have_done_it_does_with_pickle_itself(tmp_path):
    witness = tmp_path / "witness"
    pickle.loads(pickle.dumps(Call(Path.touch, witness)))  # noqa: S301 (shows that the test above can fail)
    assert witness.exists()


def test_other_codecs_and_ways_to_reach_a_name_are_refused(tmp_path):
    path = tmp_path / "mnist.pkl"
    path.write_bytes(b"c_codecs\nencode\n" + b"(Vx\nVrot13\ntR.")
    with refused(path, "the codec 'rot13', which no array needs"):
        read_book(path)
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x10core.multiarray.\x93.")
    with refused(path, "a call of numpy.core.multiarray., which is refused"):
        read_book(path)
    path.write_bytes(b"Psomething\n.")
    with refused(path):
        read_book(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:2], "a tuple"),
        (lambda p: {"train": p[0]}, "a dict"),
        (lambda p: [p[0], p[1], 3], "a part that is no pair of arrays"),
        (lambda p: [p[0], p[1], (p[2][0], [1, 2, 3, 4])], "a part that is no pair of arrays"),
        (
            lambda p: [p[0], p[1], (p[2][0][:, :700], p[2][1])],
            "images as (N, 784) floats, found (4, 700) float32",
        ),
        (lambda p: [p[0], p[1], (p[2][0].astype(object), p[2][1])], "an array of type 'O8'"),
        (lambda p: [p[0], p[1], (p[2][0], p[2][1] / 2)], "labels as integers, found float64"),
        (
            lambda p: [p[0], p[1], (p[2][0], p[2][1][:3])],
            "4 labels, one per image, found labels of shape (3,)",
        ),
        (lambda p: [p[0], p[1], (p[2][0], p[2][1] - 3)], "labels in 0 … 9, found -1 at position 0"),
        (lambda p: [p[0], p[1], (p[2][0] * 0.7, p[2][1])], "bytes divided by 256, found other values"),
        (lambda p: [p[0], p[1], (p[2][0] + 1, p[2][1])], "bytes divided by 256, found other values"),
        (lambda p: [p[0], p[1], (p[2][0] * np.nan, p[2][1])], "bytes divided by 256, found other values"),
    ],
)
def test_a_pickle_with_something_else_is_refused(tmp_path, parts, change, message):
    path = tmp_path / "mnist.pkl"
    path.write_bytes(pickle.dumps(change(parts)))
    with refused(path, message):
        read_book(path)


def test_a_damaged_pickle_is_refused_wherever_it_breaks(tmp_path, parts):
    path = tmp_path / "mnist.pkl"
    data = pickle.dumps(tuple((x[:1], y[:1]) for x, y in parts), 2)
    for end in range(1, len(data), 97):
        path.write_bytes(data[:end])
        with refused(path, "the book's three pairs"):
            read_book(path)
    rng = np.random.default_rng(0)
    for _ in range(300):
        noisy = bytearray(data)
        noisy[rng.integers(0, 300)] = rng.integers(0, 256)
        path.write_bytes(noisy)
        try:
            read_book(path)
        except DataFileError as error:
            assert str(path) in str(error)  # noqa: PT017 (a byte of a pixel may change unnoticed)


# --- CIFAR -----------------------------------------------------------------------------------------------


def cifar_records(n: int, labels: list[list[int]], seed: int) -> tuple[bytes, np.ndarray]:
    """n records with the label bytes given, and their pixels as (n, 3, 32, 32)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    return b"".join(
        bytes(label) + image.tobytes() for label, image in zip(labels, pixels, strict=True)
    ), pixels


@pytest.fixture
def cifar10_files():
    files, pixels = {}, []
    for i in range(1, 6):
        data, images = cifar_records(4, [[i], [9], [0], [(i * 3) % 10]], seed=i)
        files[f"data_batch_{i}.bin"] = data
        pixels.append(images)
    files["test_batch.bin"], test = cifar_records(3, [[7], [8], [9]], seed=9)
    return files, np.concatenate(pixels), test


def make_archive(path: Path, folder: str, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("layout", ["files", "folder", "archive"])
def test_cifar10_from_files_folder_or_archive(tmp_path, cifar10_files, layout):
    files, train, test = cifar10_files
    if layout == "archive":
        make_archive(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", files)
    else:
        folder = tmp_path if layout == "files" else tmp_path / "cifar-10-batches-bin"
        folder.mkdir(exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    splits = load_cifar(CIFAR10, tmp_path, download=False).as_images()
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [18, 2, 3]
    np.testing.assert_array_equal(splits.train.x, train[:18].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(splits.validation.x, train[18:].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(splits.test.x, test.astype(np.float32) / np.float32(255))
    assert splits.train.y[:8].tolist() == [1, 9, 0, 3, 2, 9, 0, 6]
    assert splits.classes[splits.test.y[0]] == "horse"


def test_cifar100_takes_the_fine_labels(tmp_path):
    data, pixels = cifar_records(10, [[i, 99 - i] for i in range(10)], seed=0)
    (tmp_path / "train.bin").write_bytes(data)
    (tmp_path / "test.bin").write_bytes(data[: 3 * 3074])
    splits = load_cifar(CIFAR100, tmp_path, download=False)
    assert splits.train.y.tolist() == list(range(99, 90, -1))
    assert splits.test.y.tolist() == [99, 98, 97]
    np.testing.assert_array_equal(
        splits.test.x, pixels[:3].reshape(3, -1).astype(np.float32) / np.float32(255)
    )
    assert (splits.num_classes, splits.classes[0], splits.classes[99]) == (100, "apple", "worm")


def test_bad_cifar_files_are_refused(tmp_path, cifar10_files):
    files, _, _ = cifar10_files
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(files[path.name][:-5])
    with refused(path, "records of 3,073 bytes", "12,287 bytes, no multiple of it"):
        load_cifar(CIFAR10, tmp_path, download=False)
    path.write_bytes(b"\x0a" + files[path.name][1:])
    with refused(path, "labels in 0 … 9", "10 at position 0"):
        load_cifar(CIFAR10, tmp_path, download=False)
    path.write_bytes(b"")
    with refused(path, "CIFAR records", "an empty file"):
        load_cifar(CIFAR10, tmp_path, download=False)


def test_bad_cifar_archives_are_refused(tmp_path, cifar10_files):
    files, _, _ = cifar10_files
    path = tmp_path / "cifar-10-binary.tar.gz"
    make_archive(path, "cifar-10-batches-bin", files)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with refused(path, "a tar archive", "gzip data that break off"):
        load_cifar(CIFAR10, tmp_path, download=False)
    path.write_bytes(gzip.compress(b"no archive" * 100))
    with refused(path, "a tar archive with cifar-10-batches-bin/data_batch_1.bin"):
        load_cifar(CIFAR10, tmp_path, download=False)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:20000]))
    with refused(path, "expected "):
        load_cifar(CIFAR10, tmp_path, download=False)
    make_archive(path, "cifar-10-batches-bin", {name: files[name] for name in list(files)[:-1]})
    with refused(path, "test_batch.bin"):
        load_cifar(CIFAR10, tmp_path, download=False)
