"""For every test and every doctest: what NumPy would only warn of is an error."""

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def numpy_errors() -> Iterator[None]:
    """Raise on division by zero, overflow and invalid operations; underflow to zero is ordinary arithmetic.

    Worker threads start with NumPy's own setting, which warns; pytest makes those warnings errors.
    """
    with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
        yield
