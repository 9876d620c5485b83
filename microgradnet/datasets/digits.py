"""The 1,797 handwritten digits of 8×8 pixels that scikit-learn carries: real data without a download.

The test set of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microgradnet.datasets.dataset import Dataset, Splits

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALIDATION, _TEST = 180, 360


def load_digits(rng: np.random.Generator) -> Splits:
    """Load the digits, x (N, 64) float32 in [0, 1] and y (N,) int64: 1,257, 180 and 360 of them.

    The split is drawn from `rng`, and stratified: each part has the classes in the proportions of the whole.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as carried
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "digits come with scikit-learn, which is not installed: pip install 'microgradnet[digits]'"
        ) from None
    x, y = carried(return_X_y=True)
    everything = Dataset((x / 16).astype(np.float32), y, num_classes=10, image_shape=(1, 8, 8))
    order = stratified_order(everything.y, rng)
    test, validation, train = np.split(order, [_TEST, _TEST + _VALIDATION])
    parts = (everything[part] for part in (train, validation, test))
    return Splits("digits", tuple("0123456789"), *parts)


def stratified_order(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random order of the examples in which any run has the classes in the proportions of the whole.

    Each class is shuffled, its k-th of n examples is put at (k + ½) / n, and the examples are taken by that
    position.

    Examples
    --------
    >>> y = np.array([0, 0, 0, 0, 1, 1])
    >>> y[stratified_order(y, np.random.default_rng(0))].tolist()
    [0, 1, 0, 0, 1, 0]
    """
    position = np.empty(len(y))
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(position, kind="stable")
