"""load(): names, where files are looked for, what each set is, and MNIST itself where it is at hand."""

import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from microgradnet import datasets
from microgradnet.datasets import mnist_loader
from microgradnet.datasets.digits import stratified_order
from microgradnet.datasets.files import read_bytes
from microgradnet.datasets.locate import cache_dir, roots
from microgradnet.datasets.mnist import MNIST_SHA256

TOYS = ("xor", "moons", "spirals", "blobs")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    """No data of this machine: an empty cache and no environment variable."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.delenv("MICROGRADNET_DATA", raising=False)


# --- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("MNIST", "near names: mnist, moons, fashion-mnist"),
        ("fashion_mnist", "near names: fashion-mnist, mnist"),
        ("cifar-10", "near names: cifar10, cifar100"),
        ("spiral", "near names: spirals"),
        ("imagenet", f"there are {', '.join(datasets.NAMES)}"),
    ],
)
def test_an_unknown_name_offers_the_near_ones(name, offer):
    with pytest.raises(ValueError, match=f"^there is no data set {name!r}; {re.escape(offer)}$"):
        datasets.load(name)


def test_every_name_is_listed():
    assert set(datasets.NAMES) == {"digits", *TOYS, "mnist", "fashion-mnist", "cifar10", "cifar100"}


# --- where files are -------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "mnist"])
@pytest.mark.parametrize("place", ["data_dir", "environment", "cache"])
def test_the_files_are_found_in_each_place(tmp_path, write_mnist, monkeypatch, place, inside):
    root = cache_dir() if place == "cache" else tmp_path / "data"
    write_mnist(root / inside)
    if place == "environment":
        monkeypatch.setenv("MICROGRADNET_DATA", str(root))
    data_dir = str(root) if place == "data_dir" else None
    assert len(datasets.load("mnist", data_dir=data_dir, download=False).test) == 4


def test_the_order_is_argument_environment_cache(tmp_path, monkeypatch):
    assert roots(None) == [cache_dir()]
    monkeypatch.setenv("MICROGRADNET_DATA", "")
    assert roots(None) == [cache_dir()]
    monkeypatch.setenv("MICROGRADNET_DATA", str(tmp_path))
    assert roots(None) == [tmp_path, cache_dir()]
    assert roots(tmp_path / "named") == [tmp_path / "named"]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert roots("~/data") == [tmp_path / "data"]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/microgradnet"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/users/me/.cache/microgradnet"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "/users/me/Library/Caches/microgradnet"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/microgradnet"),
        ("win32", {"LOCALAPPDATA": ""}, "/users/me/AppData/Local/microgradnet"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(monkeypatch, platform, variables, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/users/me"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)


def test_the_argument_wins_over_the_environment(tmp_path, write_mnist, monkeypatch, small_mnist, idx_bytes):
    write_mnist(tmp_path / "here")
    labels = small_mnist["t10k-labels-idx1-ubyte"]
    write_mnist(tmp_path / "there", compressed=False)
    (tmp_path / "there" / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(9 - labels))
    monkeypatch.setenv("MICROGRADNET_DATA", str(tmp_path / "there"))
    assert datasets.load("mnist", data_dir=tmp_path / "here").test.y.tolist() == labels.tolist()
    assert datasets.load("mnist").test.y.tolist() == (9 - labels).tolist()


def test_missing_files_say_what_was_looked_for_and_where(tmp_path, write_mnist, monkeypatch):
    monkeypatch.setenv("MICROGRADNET_DATA", str(write_mnist(tmp_path / "elsewhere")))
    named = write_mnist(tmp_path / "named")
    (named / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("mnist", data_dir=named, download=False)
    message = str(caught.value)
    assert message.startswith(
        "mnist: looked for train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], "
    )
    assert "t10k-labels-idx1-ubyte[.gz] or mnist.pkl[.gz] in" in message
    assert f"\n  {named / 'mnist'}\n  {named}\n" in message
    assert str(tmp_path / "elsewhere") not in message
    assert "point data_dir or $MICROGRADNET_DATA at them, or let download=True" in message


def test_fashion_mnist_is_not_taken_for_mnist(tmp_path, write_mnist, small_mnist, idx_bytes, monkeypatch):
    """Both have the same file names, so that a flat folder could give the one for the other."""
    digest = hashlib.sha256(idx_bytes(small_mnist["t10k-labels-idx1-ubyte"])).hexdigest()
    monkeypatch.setitem(sys.modules["microgradnet.datasets.mnist"]._TEST_LABELS, digest, "mnist")
    write_mnist(tmp_path)
    assert len(datasets.load("mnist", data_dir=tmp_path, download=False).train) == 10
    with pytest.raises(FileNotFoundError, match=re.escape(f"\n  {tmp_path} (has another data set)\n")):
        datasets.load("fashion-mnist", data_dir=tmp_path, download=False)


def test_images_are_channels_first(tmp_path, write_mnist, small_mnist):
    splits = datasets.load("mnist", data_dir=write_mnist(tmp_path), images=True)
    assert splits.train.x.shape == (10, 1, 28, 28)
    expected = small_mnist["train-images-idx3-ubyte"][:10, None].astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(splits.train.x, expected)
    with pytest.raises(ValueError, match=r"these examples are no images, they have shape \(2,\)"):
        datasets.load("moons", images=True)


# --- digits ----------------------------------------------------------------------------------------------


def test_digits_are_scaled_and_split_by_class():
    splits = datasets.load("digits")
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts] == [1257, 180, 360]
    together = np.concatenate([part.y for part in parts])
    share = np.bincount(together) / len(together)
    for part in parts:
        assert part.x.shape == (len(part), 64)
        assert part.x.dtype == np.float32
        assert (part.x.min(), part.x.max()) == (0, 1)
        assert np.abs(np.bincount(part.y) - share * len(part)).max() < 2
    assert datasets.load("digits", images=True).test.x.shape == (360, 1, 8, 8)


def test_the_splits_of_digits_hold_each_example_once():
    from sklearn.datasets import load_digits

    splits = datasets.load("digits", rng=3)
    x, y = load_digits(return_X_y=True)
    ours = np.concatenate(
        [np.c_[part.x * 16, part.y] for part in (splits.train, splits.validation, splits.test)]
    )
    theirs = np.c_[x, y]
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


@pytest.mark.parametrize("name", ["digits", *TOYS])
def test_what_is_drawn_is_drawn_from_rng(name):
    first, same, other = (datasets.load(name, rng=seed) for seed in (1, np.random.default_rng(1), 2))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(first, part).x, getattr(same, part).x)
        np.testing.assert_array_equal(getattr(first, part).y, getattr(same, part).y)
    assert not np.array_equal(first.train.x, other.train.x)
    assert not np.array_equal(first.validation.x, first.test.x)


def test_stratified_order_keeps_proportions_in_every_run():
    y = np.repeat([0, 1, 2], [600, 300, 100])
    order = stratified_order(y, np.random.default_rng(0))
    assert sorted(order) == list(range(1000))
    for start in range(0, 900, 37):
        assert np.abs(np.bincount(y[order[start : start + 100]], minlength=3) - [60, 30, 10]).max() <= 2


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"^digits come .* pip install 'microgradnet\[digits\]'$"):
        datasets.load("digits")


# --- toy sets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
def test_toy_sets_are_balanced_points_of_the_plane(name):
    splits = datasets.load(name)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [600, 200, 200]
    for part in (splits.train, splits.validation, splits.test):
        assert part.x.shape == (len(part), 2)
        assert part.x.dtype == np.float32
        counts = np.bincount(part.y, minlength=splits.num_classes)
        assert counts.max() - counts.min() <= 1


def test_toy_sets_without_noise_lie_on_their_curves():
    moons = datasets.moons(50, noise=0)
    outer, inner = moons.x[moons.y == 0], moons.x[moons.y == 1]
    np.testing.assert_allclose((outer**2).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(((inner - [1, 0.5]) ** 2).sum(axis=1), 1, rtol=1e-6)
    assert outer[:, 1].min() >= 0
    assert inner[:, 1].max() <= 0.5
    spirals = datasets.spirals(60, classes=4, noise=0)
    r = np.hypot(*spirals.x.T)
    assert 0.1 <= r.min() < r.max() <= 1
    turn = np.arctan2(spirals.x[:, 1], spirals.x[:, 0]) / (2 * np.pi) - r - spirals.y / 4
    np.testing.assert_allclose(turn, np.round(turn), atol=1e-6)
    blobs = datasets.blobs(8, classes=4, noise=0)
    np.testing.assert_allclose(blobs.x[:4], [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-7)
    xor = datasets.xor(8)
    np.testing.assert_array_equal(xor.y, xor.x[:, 0] != xor.x[:, 1])


def test_noise_has_the_standard_deviation_asked_for():
    exact, noisy = datasets.moons(20_000, noise=0, rng=3), datasets.moons(20_000, noise=0.3, rng=3)
    assert (noisy.x - exact.x).std() == pytest.approx(0.3, rel=0.02)


def test_bad_toy_arguments_are_refused():
    with pytest.raises(ValueError, match="n must be at least 1, not 0"):
        datasets.moons(0)
    with pytest.raises(ValueError, match="classes must be at least 2, not 1"):
        datasets.blobs(classes=1)
    with pytest.raises(ValueError, match="noise is a standard deviation, at least 0, not -1"):
        datasets.xor(noise=-1)
    with pytest.raises(TypeError, match="rng must be a seed"):
        datasets.load("moons", rng=0.5)  # type: ignore[arg-type]


# --- the form of the book --------------------------------------------------------------------------------


def test_the_books_form(tmp_path, write_mnist, small_mnist):
    folder = write_mnist(tmp_path)
    labels = small_mnist["train-labels-idx1-ubyte"].tolist()
    train, validation, test = mnist_loader.load_data(folder)
    assert (train[0].shape, train[1].shape) == ((10, 784), (10,))
    assert (len(validation[1]), len(test[1])) == (2, 4)
    training, held_out, testing = mnist_loader.load_data_wrapper(folder, download=False)
    assert (len(training), len(held_out), len(testing)) == (10, 2, 4)
    for (x, y), row, label in zip(training, train[0], labels[:10], strict=True):
        assert x.shape == (784, 1)
        np.testing.assert_array_equal(x[:, 0], row)
        assert y.shape == (10, 1)
        assert y.dtype == np.float64
        assert (y.argmax(), y.sum(), y.max()) == (label, 1, 1)
    for (x, digit), label in zip(held_out, labels[10:], strict=True):
        assert x.shape == (784, 1)
        assert type(digit) is int
        assert digit == label
    training[0][1][:] = 7
    assert training[9][1].max() == 1


@pytest.mark.parametrize("digit", [-1, 10])
def test_vectorized_result_takes_digits_only(digit):
    with pytest.raises(ValueError, match=f"a digit is one of 0 … 9, not {digit}"):
        datasets.vectorized_result(digit)


# --- MNIST itself ----------------------------------------------------------------------------------------


def test_the_real_mnist(mnist_dir):
    splits = datasets.load("mnist", data_dir=mnist_dir, download=False)
    assert repr(splits) == (
        "Splits('mnist': 50,000 train, 10,000 validation, 10,000 test; 10 classes; x (N, 784) float32)"
    )
    assert splits.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    # Of the 60,000 and of the 10,000 images, digit by digit.
    training = np.bincount(splits.train.y) + np.bincount(splits.validation.y)
    assert training.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(splits.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (splits.train.x.min(), splits.train.x.max()) == (0, 1)
    # The mean and deviation that everyone normalises MNIST by, of the 60,000 images.
    together = np.concatenate([splits.train.x, splits.validation.x])
    assert together.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert together.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    # The files, checked against the checksums that downloads must have.
    for name, digest in MNIST_SHA256.items():
        assert hashlib.sha256(read_bytes(mnist_dir / f"{name}.gz", name)).hexdigest() == digest
    # Known by its labels in a folder where Fashion-MNIST has the same names.
    with pytest.raises(FileNotFoundError, match="has another data set"):
        datasets.load("fashion-mnist", data_dir=mnist_dir, download=False)
