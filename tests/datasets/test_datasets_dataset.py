"""Dataset and Splits: indexing, batches, shuffling, what they refuse, how they look."""

import re

import numpy as np
import pytest

from microgradnet.datasets import Dataset, Splits


@pytest.fixture
def data() -> Dataset:
    """Ten examples whose features say which example they are."""
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    return Dataset(x, np.arange(10), num_classes=10, image_shape=(1, 2, 2))


def test_length_and_repr(data):
    assert len(data) == 10
    assert repr(data) == "Dataset(10 examples, x (10, 4) float32, y int64, 10 classes, images 1×2×2)"
    splits = Splits("ten", tuple("abcdefghij"), data, data[:2], data[:1])
    assert repr(splits) == "Splits('ten': 10 train, 2 validation, 1 test; 10 classes; x (N, 4) float32)"
    assert splits.num_classes == 10
    with pytest.raises(AttributeError):
        splits.name = "eleven"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (3, [3]),
        (-1, [9]),
        (np.int64(2), [2]),
        (slice(2, 5), [2, 3, 4]),
        (slice(None, None, -3), [9, 6, 3, 0]),
        ([4, 4, 1], [4, 4, 1]),
        (np.array([7, 0]), [7, 0]),
        (np.arange(10) > 7, [8, 9]),
    ],
)
def test_every_index_gives_a_dataset(data, index, expected):
    part = data[index]
    assert isinstance(part, Dataset)
    assert part.y.tolist() == expected
    np.testing.assert_array_equal(part.x[:, 0], 4 * np.array(expected))
    assert part.x.flags.c_contiguous
    assert (part.num_classes, part.image_shape) == (10, (1, 2, 2))


def test_index_out_of_range_ends_an_iteration(data):
    with pytest.raises(IndexError):
        data[10]
    assert [example.y.item() for example in data] == list(range(10))


def test_a_slice_shares_memory(data):
    assert np.shares_memory(data[2:5].x, data.x)


def test_arrays_are_read_only_and_the_callers_are_left_alone():
    x, y = np.zeros((3, 2), dtype=np.float32), np.zeros(3, dtype=np.int64)
    data = Dataset(x, y, num_classes=1)
    with pytest.raises(ValueError, match="read-only"):
        data.x[0] = 1
    for batch, labels in data.batches(2):
        with pytest.raises(ValueError, match="read-only"):
            batch[0] += 1
        with pytest.raises(ValueError, match="read-only"):
            labels[0] += 1
    x[0] = 1
    assert x.flags.writeable


def test_as_images(data):
    images = data.as_images()
    assert images.x.shape == (10, 1, 2, 2)
    assert images.as_images().x.shape == (10, 1, 2, 2)
    np.testing.assert_array_equal(images.x[3, 0], [[12, 13], [14, 15]])
    with pytest.raises(ValueError, match=r"these examples are no images, they have shape \(2,\)"):
        Dataset(np.zeros((3, 2)), np.zeros(3, int), 1).as_images()


@pytest.mark.parametrize("size", [1, 3, 10, 64])
def test_batches_in_order_keep_the_last_partial_one(data, size):
    batches = list(data.batches(size))
    assert [len(y) for _, y in batches] == [min(size, 10 - start) for start in range(0, 10, size)]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), data.x)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), data.y)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_contiguous_arrays_of_the_same_dtypes(data, shuffle):
    for x, y in data.batches(4, shuffle=shuffle, rng=0):
        assert type(x) is type(y) is np.ndarray
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.flags.c_contiguous
        assert y.flags.c_contiguous


@pytest.mark.parametrize("shuffle", [False, True])
def test_drop_last_leaves_out_the_partial_batch_only(data, shuffle):
    sizes = [len(y) for _, y in data.batches(4, shuffle=shuffle, rng=0, drop_last=True)]
    assert sizes == [4, 4]
    assert len(list(data.batches(5, shuffle=shuffle, rng=0, drop_last=True))) == 2


def test_shuffled_batches_hold_each_example_once_with_its_label(data):
    batches = list(data.batches(3, shuffle=True, rng=1))
    labels = np.concatenate([y for _, y in batches])
    assert sorted(labels) == list(range(10))
    assert labels.tolist() != list(range(10))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches])[:, 0], 4 * labels)


def test_shuffling_is_deterministic_and_a_generator_moves_on(data):
    def order(rng):
        return np.concatenate([y for _, y in data.batches(3, shuffle=True, rng=rng)]).tolist()

    assert order(5) == order(5) == order(np.random.default_rng(5)) == order(np.int64(5))
    assert order(5) != order(6)
    rng = np.random.default_rng(5)
    first, second = order(rng), order(rng)
    assert first == order(5)
    assert first != second


def test_the_order_is_drawn_when_batches_is_called(data):
    rng = np.random.default_rng(5)
    early = data.batches(10, shuffle=True, rng=rng)
    late = data.batches(10, shuffle=True, rng=rng)
    (_, second), (_, first) = next(late), next(early)
    expected = np.random.default_rng(5)
    assert first.tolist() == expected.permutation(10).tolist()
    assert second.tolist() == expected.permutation(10).tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": -2}, ValueError, "batch_size must be at least 1, not -2"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be a whole number such as 32, not 2.5"),
        ({"batch_size": True}, TypeError, "batch_size must be a whole number such as 32, not True"),
        (
            {"batch_size": 2, "shuffle": True},
            TypeError,
            "shuffle=True needs rng=: a np.random.default_rng(0)",
        ),
        ({"batch_size": 2, "shuffle": True, "rng": "0"}, TypeError, "rng must be a seed such as 0"),
        (
            {"batch_size": 11, "drop_last": True},
            ValueError,
            "drop_last=True with batch_size=11 leaves no batch of 10 examples",
        ),
    ],
)
def test_bad_arguments_are_refused_at_the_call(data, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        data.batches(**arguments)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (
            np.zeros((2, 3), np.uint8),
            [0, 1],
            TypeError,
            "x must hold floats, not uint8; for bytes write x.astype",
        ),
        (np.zeros((2, 3)), [0.0, 1.0], TypeError, "y must hold one integer class per example, not float64"),
        (np.zeros((2, 3)), [0, 1, 1], ValueError, "(N, …) and (N,), not (2, 3) and (3,)"),
        (np.zeros((2, 3)), [[0], [1]], ValueError, "(N, …) and (N,), not (2, 3) and (2, 1)"),
        (np.zeros((2, 3)), [0, 2], ValueError, "labels must lie in 0 … 1 for 2 classes; found 0 … 2"),
        (np.zeros((2, 3)), [-1, 1], ValueError, "labels must lie in 0 … 1 for 2 classes; found -1 … 1"),
    ],
)
def test_bad_data_are_refused(x, y, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Dataset(x, np.array(y), num_classes=2)


def test_labels_become_int64_and_floats_keep_their_dtype():
    data = Dataset(np.zeros((2, 3), np.float64), np.array([0, 1], np.uint8), num_classes=2)
    assert data.x.dtype == np.float64
    assert data.y.dtype == np.int64
