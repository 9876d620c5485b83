"""What the tests of the drawing share: a small network whose picture is known, and a browser."""

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from tests.viz.chromium import Chromium


@pytest.fixture
def net():
    """Return a model, an input and the loss of a target."""
    model = nn.Sequential(nn.Linear(2, 2, dtype=float), nn.Tanh(), nn.Linear(2, 1, dtype=float))
    model.load_state_dict(
        {
            "0.weight": [[0.5, -1.0], [1.5, 0.25]],
            "0.bias": [0.0, -0.5],
            "2.weight": [[1.0, -2.0]],
            "2.bias": [0.5],
        },
    )
    x = np.array([[1.0, 0.5]])
    return model, x, nn.QuadraticLoss()(model(x), mg.Tensor([[1.0]], name="target"))


@pytest.fixture(scope="session")
def browser(needs_browser):
    """Return a headless browser, which all tests use one after another."""
    chromium = Chromium(needs_browser)
    yield chromium
    chromium.close()
