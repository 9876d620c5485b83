"""assert_gradients_agree: for models, layers and functions; it fails with the report."""

import numpy as np
import pytest

from microgradnet import Primitive, Tensor, nn, ops
from microgradnet.testing import GradientMismatch, assert_gradients_agree

X = np.random.default_rng(2).standard_normal((4, 3))
WRONG = Primitive("wrong", np.tanh, lambda g, y, _x: g * (1 + y * y))


class Layer(nn.Module):
    def __init__(self, operation):
        self.weight = nn.Parameter(np.ones(3))
        self.operation = operation

    def forward(self, x):
        return self.operation(x * self.weight)


def test_a_model_a_layer_and_a_function_that_are_right():
    assert assert_gradients_agree(nn.Linear(3, 2), nn.MSELoss(), X, np.zeros((4, 2)))
    assert assert_gradients_agree(Layer(ops.tanh), x=X)
    assert assert_gradients_agree(nn.LayerNorm(3), x=X)
    assert assert_gradients_agree(nn.Softmax(), x=X)
    assert assert_gradients_agree(nn.Tanh(), nn.MSELoss(), X, np.zeros((4, 3)))
    assert assert_gradients_agree(lambda a, b: (a @ b).sin(), x=[X, X.T])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: assert_gradients_agree(Layer(WRONG), nn.MSELoss(), X, np.zeros((4, 3))),
        lambda: assert_gradients_agree(Layer(WRONG), x=X),
        lambda: assert_gradients_agree(WRONG, x=Tensor(X)),
    ],
)
def test_a_wrong_rule_fails_with_the_report(wrong):
    with pytest.raises(GradientMismatch) as caught:
        wrong()
    assert isinstance(caught.value, AssertionError)
    assert not caught.value.report
    assert str(caught.value) == str(caught.value.report)


def test_a_layer_whose_outputs_add_up_to_a_constant():
    """Under a plain sum of the outputs every gradient would be zero, and any rule would pass."""
    softmax = Primitive("softmax", lambda x: ops.softmax(x, -1), lambda g, _y, _x: 0 * g)
    with pytest.raises(GradientMismatch, match="it is zero: the whole term is missing"):
        assert_gradients_agree(Layer(softmax), x=X)


def test_the_input_is_needed():
    with pytest.raises(TypeError, match="assert_gradients_agree: give the input, x=…"):
        assert_gradients_agree(nn.Linear(3, 2), nn.MSELoss())
