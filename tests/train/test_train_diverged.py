"""A loss that is NaN or infinite stops training before the update, and says where it began."""

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, ops, optim, train

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)


@pytest.fixture(autouse=True)
def warnings_as_numpy_has_them():
    """NumPy's own setting, in which it only warns: as a user's program runs. Warnings are errors here."""
    with np.errstate(divide="warn", over="warn", invalid="warn"):
        yield


def network():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(2, 8, rng=rng), nn.ReLU(), nn.Linear(8, 2, rng=rng))


def diverge(model, data=(X, Y), words="", lr=0.1, loss_fn=None, **options):
    """Fit, which must fail in these words; return the states before training and after every epoch."""
    sgd = optim.SGD(model.parameters(), lr=lr)
    states = [model.state_dict()]
    with pytest.raises(train.DivergedError, match=words) as error:
        train.fit(
            model,
            loss_fn or nn.CrossEntropyLoss(),
            sgd,
            data,
            **{"epochs": 5, "batch_size": 10, "rng": 0, "progress": False, **options},
            on_epoch=lambda history: states.append(model.state_dict()),
        )
    assert "\n" not in str(error.value)
    return states


def same(model, state):
    return all(array.tobytes() == state[name].tobytes() for name, array in model.state_dict().items())


def test_a_parameter_that_is_nan_already():
    model = network()
    model[2].weight.data[0, 3] = np.nan
    states = diverge(
        model,
        words=r"became nan at step 1 \(epoch 1\): parameter '2\.weight' already held NaN before it\. The upd",
    )
    assert same(model, states[0])


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_data_that_are_not_finite(value, word):
    x = X.copy()
    x[np.flatnonzero(np.random.default_rng(0).permutation(40) == 0)] = value  # anywhere
    model = network()
    states = diverge(
        model, (x, Y), words=rf"the data given to linear#\d+ of shape \(10, 8\) in Linear already held {word}"
    )
    assert same(model, states[0])


def test_targets_that_are_not_finite():
    targets = X[:, :1].copy()
    targets[:] = np.nan
    diverge(nn.Sequential(nn.Linear(2, 1)), (X, targets), loss_fn=nn.MSELoss(), words="already held")


def test_a_logarithm_of_zero_in_a_module_of_ones_own():
    class Net(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter([1.0, 1.0])

        def forward(self, x):
            return ops.log(ops.relu(x * self.scale))

    diverge(
        Net(),
        loss_fn=lambda output, target: output.mean(),
        words=r"became -inf at step 1 .* the first operation to give infinity was log#\d+ .* in Net\. The",
    )


def test_an_overflow():
    class Net(nn.Module):
        def __init__(self):
            self.power = nn.Parameter([100.0])

        def forward(self, x):
            return ops.exp(self.power * 1.0) * x

    diverge(
        Net(),
        loss_fn=lambda output, target: (output - output).sum(),
        words=r"became nan .* the first operation to give infinity was exp#\d+ of shape \(1,\) in Net",
    )


def test_the_update_is_not_applied_and_the_last_epoch_comes_back():
    """Epochs 1 and 2 are good, step 11 (the third of epoch 3) is not."""
    model, calls = network(), []

    def loss_fn(output, target):
        calls.append(model.state_dict())
        return nn.functional.cross_entropy(output, target) * (np.float32("inf") if len(calls) == 11 else 1)

    states = diverge(model, loss_fn=loss_fn, words=r"became inf at step 11 \(epoch 3\)")
    assert len(states) == 3
    assert same(model, states[2])
    assert not same(model, calls[10])  # steps 9 and 10 had moved it
    assert len(calls) == 11


def test_epochs_leaves_the_model_as_it_was_before_the_bad_update():
    model, before = network(), []

    def loss_fn(output, target):
        before.append(model.state_dict())
        return nn.functional.cross_entropy(output, target) * (np.nan if len(before) == 3 else 1.0)

    model.eval()
    with pytest.raises(train.DivergedError, match="at step 3"):
        next(
            train.epochs(model, loss_fn, optim.SGD(model.parameters(), lr=0.1), (X, Y), batch_size=10, rng=0)
        )
    assert same(model, before[2])
    assert not same(model, before[1])
    assert not model.training


def test_a_learning_rate_that_is_too_large():
    model = nn.Sequential(nn.Linear(2, 1))
    states = diverge(model, (X, X[:, :1]), loss_fn=nn.MSELoss(), lr=1e9, words="became (inf|nan) at step")
    assert same(model, states[-1])


def test_a_gradient_that_is_infinite_though_every_loss_is_finite():
    """√ at 0 in the last step of an epoch: the weights are NaN, no loss ever was."""

    class Net(nn.Module):
        def __init__(self):
            self.w = nn.Parameter([0.0])

        def forward(self, x):
            return ops.sqrt(self.w * self.w) + x.sum() * 0

    model = Net()
    diverge(
        model,
        loss_fn=lambda output, target: output.sum(),
        batch_size=40,
        words="after step 1 'w' holds NaN, though every loss was finite: .* or a gradient infinite",
    )
    assert model.w.item() == 0


def test_nothing_is_saved_over_the_last_good_file(tmp_path):
    model, path, steps = network(), tmp_path / "model.npz", []

    def loss_fn(output, target):
        steps.append(1)
        return nn.functional.cross_entropy(output, target) * (np.nan if len(steps) == 10 else 1.0)

    with pytest.raises(train.DivergedError):
        train.fit(
            model,
            loss_fn,
            optim.SGD(model.parameters(), lr=0.1),
            (X, Y),
            epochs=5,
            batch_size=10,
            rng=0,
            progress=False,
            on_epoch=lambda history: mg.save(model, path),
        )
    assert same(mg.load(path), model.state_dict())
    assert all(np.isfinite(array).all() for array in mg.load_state(path).values())


def test_where_numpy_raises_it_still_raises():
    model = nn.Sequential(nn.Linear(2, 1))
    sgd = optim.SGD(model.parameters(), lr=0.1)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        train.fit(model, lambda output, target: ops.exp(output * 1e6).sum(), sgd, (X, Y), epochs=1)


def test_an_origin_that_is_not_recorded_is_admitted():
    x = mg.Tensor([1.0], requires_grad=True)
    found = train.first_not_finite((x + np.array([np.inf])).sum())
    assert found.startswith("the first operation to give infinity was add#")
    assert found.endswith("(or data given to it already held it)")
    assert "was not recorded" in train.first_not_finite(mg.Tensor(np.nan))
    assert "every recorded value is finite" in train.first_not_finite(x.sum())
