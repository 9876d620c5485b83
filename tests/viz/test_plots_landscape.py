"""The loss landscape: the model is in the middle, directions are as long as the weights, all is put back."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from microgradnet import nn, viz
from microgradnet.viz.plots.landscape import _direction

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)


@pytest.fixture
def ax():
    return Figure().subplots()


def network():
    rng = np.random.default_rng(1)
    return nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Dropout(0.5), nn.Linear(4, 2, rng=rng))


class Counted(nn.CrossEntropyLoss):
    """A loss that remembers what it gave, and may break."""

    def __init__(self, last=None):
        super().__init__()
        self.values: list[float] = []
        self.last = last

    def forward(self, input, target):
        loss = super().forward(input, target)
        self.values.append(loss.item())
        if len(self.values) == self.last:
            raise ZeroDivisionError
        return loss


def test_the_losses_are_those_of_the_moved_model(ax):
    model, loss_fn = network(), Counted()
    state = model.state_dict()
    assert viz.plot_loss_landscape(model, loss_fn, X, Y, span=0.5, resolution=5, rng=3, ax=ax) is ax
    losses = np.array(loss_fn.values).reshape(5, 5)
    own = nn.CrossEntropyLoss()(model.eval()(X), Y).item()
    assert losses[2, 2] == own
    rng = np.random.default_rng(3)
    first, second = ([_direction(state[name], rng) for name in ("0.weight", "2.weight")] for _ in range(2))
    for beta, alpha in ((0, 4), (3, 1)):
        a, b = np.linspace(-0.5, 0.5, 5)[[alpha, beta]]
        moved = {
            n: state[n] + a * d + b * e
            for n, d, e in zip(("0.weight", "2.weight"), first, second, strict=True)
        }
        model.load_state_dict({**state, **moved})
        assert losses[beta, alpha] == pytest.approx(nn.CrossEntropyLoss()(model(X), Y).item(), rel=1e-5)


def test_a_direction_is_as_long_as_the_weights_of_each_unit():
    weights = np.array([[3.0, 4.0], [0.0, 0.0], [0.1, 0.0]])
    lengths = np.linalg.norm(_direction(weights, np.random.default_rng(0)), axis=1)
    assert lengths == pytest.approx([5.0, 0.0, 0.1])


@pytest.mark.parametrize("last", [None, 7])
def test_the_model_is_put_back_to_the_bit(ax, last):
    model = network()
    before = model.state_dict()
    try:
        viz.plot_loss_landscape(model, Counted(last), X, Y, resolution=5, ax=ax)
    except ZeroDivisionError:
        assert last
    else:
        assert last is None
    assert all((before[name] == array).all() for name, array in model.state_dict().items())
    assert model.training


def test_a_seed_gives_the_same_picture():
    values = []
    for seed in (0, 0, 1):
        loss_fn = Counted()
        viz.plot_loss_landscape(network(), loss_fn, X, Y, resolution=3, rng=seed, ax=Figure().subplots())
        values.append(loss_fn.values)
    assert values[0] == values[1] != values[2]


def test_what_makes_no_picture_is_refused(ax):
    with pytest.raises(ValueError, match=r"resolution must be at least 2 and span above 0, not 1 and 1.0"):
        viz.plot_loss_landscape(network(), Counted(), X, Y, resolution=1, ax=ax)
    with pytest.raises(ValueError, match=r"plot_loss_landscape: ReLU has no weight to move"):
        viz.plot_loss_landscape(nn.ReLU(), Counted(), X, Y, ax=ax)
