"""epochs(), fit() and evaluate(): what they record, what they leave behind, when they stop."""

import json
from dataclasses import replace

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import datasets, nn, optim, train
from microgradnet.graph import is_recording

X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)


def network(seed=0, dropout=0.0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(2, 8, rng=rng), nn.Tanh(), nn.Dropout(dropout, rng=rng), nn.Linear(8, 2, rng=rng)
    )


def fit(model=None, data=(X, Y), **options):
    model = network() if model is None else model
    sgd = optim.SGD(model.parameters(), lr=options.pop("lr", 0.5))
    loss_fn = options.pop("loss_fn", nn.CrossEntropyLoss())
    return train.fit(model, loss_fn, sgd, data, **{"epochs": 3, "rng": 0, "progress": False, **options})


def epochs(model, **options):
    sgd = optim.SGD(model.parameters(), lr=0.5)
    return train.epochs(model, nn.CrossEntropyLoss(), sgd, (X, Y), **{"rng": 0, **options})


class Recorder(nn.Module):
    """Gives a constant, and keeps what it was called with."""

    def __init__(self):
        self.w = nn.Parameter([0.0, 1.0])
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, is_recording(), x.data.copy()))
        return x * self.w


def scripted(values):
    """A loss that takes the given values, one per call."""
    steps = iter(values)
    return lambda output, target: output.sum() * 0.0 + next(steps)


# ---------------------------------------------------------------------- what is recorded


def test_fit_runs_to_the_end_and_learns():
    model = network()
    history = fit(model, epochs=30, batch_size=10, metrics=["accuracy"], validation=(X, Y))
    assert [record.epoch for record in history] == list(range(1, 31))
    assert [record.steps for record in history] == list(range(5, 151, 5))
    assert len(history) == 30
    assert history[-1].loss < 0.2 < history[0].loss
    assert history[-1].metrics["accuracy"] > 0.95
    assert history[-1].validation == train.evaluate(
        model, nn.CrossEntropyLoss(), (X, Y), metrics=["accuracy"]
    )
    assert history.column("validation", "accuracy")[-1] > 0.95
    assert all(record.seconds > 0 for record in history)
    assert not history.interrupted


def test_equal_seeds_give_equal_bytes_and_equal_histories(tmp_path):
    histories = []
    for run in ("a", "b", "other seed"):
        model = network(dropout=0.3)
        rng = np.random.default_rng(int(run == "other seed"))
        histories.append(fit(model, rng=rng, validation=(X, Y), metrics=["accuracy"]))
        mg.save(model, tmp_path / run)
        histories[-1].save(tmp_path / f"{run}.jsonl")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "other seed").read_bytes()
    timeless = [[replace(record, seconds=0.0) for record in history] for history in histories]
    assert timeless[0] == timeless[1] != timeless[2]
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines == [record.as_dict() for record in histories[0]]


def test_a_seed_and_a_generator_give_the_same_order():
    orders = []
    for rng in (7, np.int64(7), np.random.default_rng(7)):
        model = Recorder()
        fit(model, rng=rng, epochs=2, batch_size=50, lr=0.0)
        orders.append([x for _, _, x in model.seen])
    assert (np.array(orders) == orders[0]).all()
    assert (orders[0][0] != orders[0][1]).any()  # another order in each epoch
    assert (np.sort(orders[0][0], axis=0) == np.sort(X, axis=0)).all()


def test_without_rng_the_default_generator_gives_the_order():
    seen = []
    for _ in range(2):
        model = Recorder()
        mg.manual_seed(5)
        fit(model, rng=None, epochs=1, batch_size=50)
        seen.append(model.seen[0][2])
    assert (seen[0] == seen[1]).all()
    assert (seen[0] != X).any()


def test_means_weigh_the_last_partial_batch_by_its_examples():
    seen: list[train.Batch] = []
    history = fit(
        Recorder(),
        loss_fn=scripted([1.0, 2.0, 10.0]),
        batch_size=20,
        epochs=1,
        metrics={"size": lambda output, target: len(target)},
        on_batch=seen.append,
    )
    assert history[0].loss == pytest.approx((20 * 1 + 20 * 2 + 10 * 10) / 50)
    assert history[0].metrics["size"] == pytest.approx((20 * 20 + 20 * 20 + 10 * 10) / 50)
    assert [(b.epoch, b.step, b.done, b.examples, b.loss) for b in seen] == [
        (1, 1, 20, 50, 1.0),
        (1, 2, 40, 50, 2.0),
        (1, 3, 50, 50, 10.0),
    ]
    assert seen[1].means == {"loss": 1.5, "size": 20.0}


def test_evaluate_weighs_batches_and_changes_nothing():
    model = Recorder()
    before = model.state_dict()["w"]
    found = train.evaluate(
        model, scripted([1.0, 10.0]), (X, Y), batch_size=40, metrics={"n": lambda a, y: len(y)}
    )
    assert found == {"loss": pytest.approx((40 + 100) / 50), "n": pytest.approx((40 * 40 + 10 * 10) / 50)}
    assert [(training, recording) for training, recording, _ in model.seen] == [(False, False)] * 2
    assert (np.concatenate([x for _, _, x in model.seen]) == X).all()
    assert model.training
    assert (model.w.data == before).all()
    assert train.evaluate(model, None, (X, Y)) == {}


def test_a_dataset_and_its_arrays_train_alike():
    data = datasets.Dataset(X, Y, 2)
    assert fit(data=data)[-1].loss == fit(data=(X, Y))[-1].loss == fit(data=[mg.Tensor(X), list(Y)])[-1].loss


def test_targets_of_any_shape_train():
    model = nn.Sequential(nn.Linear(2, 1))
    history = fit(model, (X, X[:, :1] * 2), loss_fn=nn.MSELoss(), lr=0.1, epochs=20)
    assert history[-1].loss < 1e-3


def test_accuracy_of_labels_and_of_rows():
    outputs = np.array([[1.0, 2.0, 0.0], [5.0, 2.0, 0.0]])
    assert train.accuracy(outputs, np.array([1, 2])) == 0.5
    assert train.accuracy(outputs, np.eye(3)[[1, 0]]) == 1.0


@pytest.mark.parametrize(
    ("outputs", "targets"), [((4, 1), (4, 1)), ((4,), (4,)), ((4, 3), (4, 2)), ((4, 3), (3,))]
)
def test_accuracy_of_anything_else_is_refused(outputs, targets):
    with pytest.raises(
        ValueError, match=r"accuracy needs one output per class, \(N, C\) with C ≥ 2.*Give a metric"
    ):
        train.accuracy(np.zeros(outputs), np.zeros(targets))


# ---------------------------------------------------------------------- what is left behind


def test_modes_are_training_for_training_and_evaluation_for_validation():
    model = Recorder()
    fit(model, epochs=1, batch_size=25, validation=(X, Y))
    assert [(training, recording) for training, recording, _ in model.seen] == [
        (True, True),
        (True, True),
        (False, False),
    ]


@pytest.mark.parametrize("training", [True, False])
def test_epochs_never_yields_inside_a_mode_block(training):
    model = network(dropout=0.5)
    model.train(training)
    model[1].train(not training)
    errors = np.geterr()
    for record in epochs(model, epochs=3, validation=(X, Y)):
        assert [module.training for module in model.modules()] == [
            training,
            training,
            not training,
            training,
            training,
        ]
        assert is_recording()
        assert np.geterr() == errors
        model[1].train(record.epoch % 2 == 0)  # what the consumer sets stays
        model[1].train(not training)


def test_a_consumer_that_stops_early_leaves_all_as_it_was():
    model = network().eval()
    for record in epochs(model):  # endless
        if record.epoch == 4:
            break
    assert record.steps == 8
    assert not any(module.training for module in model.modules())
    assert is_recording()
    records = epochs(model)
    next(records)
    del records
    assert not model.training


def test_an_error_in_the_middle_leaves_the_modes():
    model = network().eval()

    def broken(output, target):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fit(model, loss_fn=broken)
    assert not any(module.training for module in model.modules())


def test_epochs_is_fit_in_steps():
    model, other = network(), network()
    records = list(epochs(model, epochs=3, validation=(X, Y)))
    history = fit(other, validation=(X, Y))
    assert [replace(r, seconds=0.0) for r in records] == [replace(r, seconds=0.0) for r in history]
    assert (model[0].weight.data == other[0].weight.data).all()
    assert list(epochs(network(), epochs=0)) == []


# ---------------------------------------------------------------------- when it stops


class Scored(nn.Module):
    """A model whose only parameter counts the steps, so that a metric can be scripted by it."""

    def __init__(self):
        self.w = nn.Parameter([0.0])

    def forward(self, x):
        return x[:, :1] * 0.0 + self.w


def run_scored(scores, **options):
    """Fit with one step per epoch, where the validation value after step n is scores[n − 1]."""
    model = Scored()

    def loss_fn(output, target):
        return -output[0, 0] if is_recording() else mg.Tensor(-scores[int(output.data[0, 0]) - 1])

    history = fit(
        model,
        loss_fn=loss_fn,
        lr=1.0,
        batch_size=50,
        epochs=len(scores),
        validation=(X, Y),
        metrics={"score": lambda output, target: scores[int(output[0, 0]) - 1]},
        **{"monitor": "score", **options},
    )
    return model, history


@pytest.mark.parametrize("monitor", ["score", "loss"])
def test_keep_best_leaves_the_best_epoch(monitor):
    model, history = run_scored([1.0, 3.0, 2.0, 0.0], monitor=monitor, keep_best=True)
    assert (len(history), history.best, model.w.item()) == (4, history[1], 2.0)
    model, history = run_scored([1.0, 3.0, 2.0, 0.0], monitor=monitor)
    assert (history.best, model.w.item()) == (history[1], 4.0)


@pytest.mark.parametrize(("patience", "length"), [(1, 3), (2, 6), (3, 7)])
def test_patience_stops_after_so_many_epochs_without_a_better_one(patience, length):
    model, history = run_scored([1.0, 3.0, 2.0, 4.0, 4.0, 4.0, 4.0, 5.0], patience=patience, keep_best=True)
    assert len(history) == length
    assert model.w.item() == (2.0 if patience == 1 else 4.0)


def test_among_equal_metrics_the_smaller_loss_is_best():
    losses = {1: 0.5, 2: 0.3, 3: 0.4}
    model = Scored()
    history = fit(
        model,
        loss_fn=lambda o, t: -o[0, 0] if is_recording() else mg.Tensor(losses[round(float(o.data[0, 0]))]),
        lr=1.0,
        batch_size=50,
        validation=(X, Y),
        metrics={"same": lambda output, target: 1.0},
        monitor="same",
        keep_best=True,
    )
    assert history.best is history[1]


def test_a_validation_value_that_is_no_number_is_never_the_best():
    _, history = run_scored([float("nan"), 1.0, float("nan")], monitor="loss")
    assert history.best is history[1]
    _, history = run_scored([float("nan")] * 9, monitor="loss", patience=2)
    assert (len(history), history.best) == (2, None)


def test_control_c_keeps_what_was_trained():
    model, seen = network().eval(), []

    def stop(batch):
        seen.append(model.state_dict())
        if batch.step == 7:
            raise KeyboardInterrupt

    history = fit(model, batch_size=10, on_batch=stop)  # five steps an epoch
    assert history.interrupted
    assert len(history) == 1
    assert all((model.state_dict()[name] == seen[-1][name]).all() for name in seen[-1])
    assert any((seen[-1][name] != seen[4][name]).any() for name in seen[-1])
    assert not model.training
    history = fit(model, batch_size=10, on_batch=stop, epochs=1)  # starts again at step 1
    assert not history.interrupted


def test_control_c_with_keep_best_leaves_the_best_epoch():
    model, ends = network(), []

    def stop(batch):
        if batch.step == 7:
            raise KeyboardInterrupt

    fit(
        model,
        batch_size=10,
        on_batch=stop,
        on_epoch=lambda history: ends.append(model.state_dict()),
        validation=(X, Y),
        keep_best=True,
    )
    assert all((model.state_dict()[name] == ends[0][name]).all() for name in ends[0])


def test_on_epoch_sees_the_history_so_far():
    seen = []
    history = fit(validation=(X, Y), on_epoch=lambda h: seen.append((len(h), h[-1].epoch, h.best is h[-1])))
    assert seen == [(1, 1, True), (2, 2, True), (3, 3, True)]
    assert len(history) == 3


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"data": (X[:0], Y[:0])}, ValueError, "the training data has no examples"),
        ({"validation": (X[:0], Y[:0])}, ValueError, "the validation data has no examples"),
        ({"data": (X, Y[:9])}, ValueError, r"one entry per example, but have shapes \(50, 2\) and \(9,\)"),
        (
            {"data": X},
            TypeError,
            r"the training data: a Dataset or a pair of arrays \(x, y\) is needed, not ndarray",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"epochs": -1}, ValueError, "epochs must not be negative, got -1"),
        ({"metrics": "accuracy"}, TypeError, r"write metrics=\['accuracy'\]"),
        ({"metrics": ["acuracy"]}, ValueError, "there is no metric 'acuracy'; there is accuracy, or give"),
        ({"metrics": {"loss": train.accuracy}}, ValueError, "a metric cannot be called 'loss'"),
        ({"monitor": "accuracy"}, ValueError, r"one of the metrics \(none was given\), not 'accuracy'"),
        (
            {"keep_best": True},
            ValueError,
            "keep_best and patience compare validation values; give validation=",
        ),
        ({"patience": 3}, ValueError, "keep_best and patience compare validation values; give validation="),
        ({"patience": 0, "validation": (X, Y)}, ValueError, "patience must be at least 1 epoch, got 0"),
        (
            {"loss_fn": nn.CrossEntropyLoss(reduction="none")},
            ValueError,
            r"the loss must be a tensor of one number, got a Tensor of shape \(32,\); give it a reduction",
        ),
        (
            {"loss_fn": lambda output, target: 1.0},
            ValueError,
            "the loss must be a tensor of one number, got a float",
        ),
    ],
)
def test_bad_input_is_an_error_that_teaches(options, error, words):
    model = network()
    before = model.state_dict()
    with pytest.raises(error, match=words):
        fit(model, **options)
    assert all((model.state_dict()[name] == before[name]).all() for name in before)


def test_a_set_of_splits_says_which_part_to_give():
    with pytest.raises(TypeError, match=r"not Splits; write \.train"):
        fit(data=datasets.load("moons"))


def test_epochs_refuses_bad_input_when_it_is_called():
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        epochs(network(), batch_size=0)
    with pytest.raises(ValueError, match="there is no metric"):
        epochs(network(), metrics=["f1"])


def test_a_column_that_is_not_there_says_what_is():
    with pytest.raises(ValueError, match=r"no validation\.accuracy: instead of 'accuracy' there is loss"):
        fit(validation=(X, Y)).column("validation", "accuracy")
