"""Watching a training: norms are those of the steps, units that stand still are found, nothing changes."""

import re

import numpy as np
import pytest

from microgradnet import nn, optim, train
from microgradnet.train.diagnosis import diagnose
from microgradnet.train.watch import Norms, Sample, Units

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)


def network(activation=nn.ReLU, depth=1, width=8):
    rng = np.random.default_rng(1)
    layers = [nn.Linear(4, width, rng=rng), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width, rng=rng), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 2, rng=rng))


def trained(model, epochs=2, lr=0.1, watch=None, batch_size=20, **options):
    sgd = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return train.fit(
        model,
        nn.CrossEntropyLoss(),
        sgd,
        (X, Y),
        epochs=epochs,
        batch_size=batch_size,
        rng=5,
        on_batch=watch,
        **options,
    )


def by_hand(samples_at):
    """Train without a watch, step by step, and note the norms at some steps."""
    model, found = network(), {}
    parameters = dict(model.named_parameters())
    before = model.state_dict()

    def note(batch):
        if batch.step in samples_at:
            for layer in ("0", "2"):
                names = [f"{layer}.weight", f"{layer}.bias"]

                def norm(arrays):
                    return np.linalg.norm(np.concatenate([a.ravel() for a in arrays]))

                found[batch.step, layer] = (
                    norm([parameters[n].grad for n in names]),
                    norm([parameters[n].data - before[n] for n in names]),
                    norm([before[n] for n in names]),
                )
        before.update(model.state_dict())

    trained(model, watch=note)
    return found


def test_norms_are_those_of_the_steps():
    model = network()
    watch = train.Watch(model, samples=3)
    trained(model, watch=watch)
    assert [sample.step for sample in watch.samples] == [1, 2, 3, 4, 5, 6], "fewer steps than samples: all"
    assert [sample.time for sample in watch.samples] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    expected = by_hand(range(1, 7))
    for sample in watch.samples:
        for layer, norms in sample.layers.items():
            assert (norms.gradient, norms.update, norms.weight) == pytest.approx(
                expected[sample.step, layer], rel=1e-5
            )
            assert norms.size == {"0": 40, "2": 18}[layer]


def test_samples_are_spread_over_the_epochs():
    watch = train.Watch(network(), samples=4)
    trained(watch.model, watch=watch, batch_size=1, epochs=3)
    steps = [sample.step for sample in watch.samples]
    assert steps == [1, *[60 * k // 4 + 1 for k in range(1, 12)]]


def test_watching_changes_no_bit():
    models = [network(), network()]
    watch = train.Watch(models[0], X)
    trained(models[0], watch=watch, on_epoch=watch.after_epoch)
    trained(models[1])
    for name, array in models[0].state_dict().items():
        assert (array == models[1].state_dict()[name]).all()
    assert models[0].training


def test_without_a_sample_per_epoch_it_is_refused():
    with pytest.raises(ValueError, match="Watch: samples must be at least 1 per epoch, not 0"):
        train.Watch(network(), samples=0)


# ---------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("activation", "biases", "stuck"),
    [
        (nn.ReLU, [-100.0, 0.0, 100.0], 1),
        (nn.Sigmoid, [-100.0, 0.0, 100.0], 2),
        (nn.Tanh, [-100.0, 0.0, 100.0], 2),
        (nn.LeakyReLU, [-100.0, 0.0, 100.0], None),
    ],
)
def test_units_that_stand_still_are_counted(activation, biases, stuck):
    model = nn.Sequential(nn.Linear(4, 3), activation(), nn.Linear(3, 2))
    model[0].bias.data = np.array(biases, np.float32)
    found = train.stuck_units(model, X)
    if stuck is None:
        assert found == []
    else:
        assert [(u.layer, u.count, u.stuck, u.examples) for u in found] == [("1", 3, stuck, 60)]


def test_a_unit_that_a_few_examples_move_is_not_saturated():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1))
    model.load_state_dict({"0.weight": [[1.0]], "0.bias": [0.0], "2.weight": [[1.0]], "2.bias": [0.0]})
    for moved, stuck in ((4, 1), (6, 0)):
        x = np.where(np.arange(100) < moved, 0.0, 50.0).reshape(100, 1)
        assert train.stuck_units(model, x)[0].stuck == stuck


def test_outputs_may_be_certain_and_channels_are_units():
    assert train.stuck_units(nn.Sequential(nn.Linear(4, 2), nn.Sigmoid()), 1e4 * X) == []

    class Channels(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(np.array([1.0, -1.0, 1.0]).reshape(1, 3, 1))

        def forward(self, x):
            return nn.functional.relu(x * self.scale).sum()

    assert [(u.count, u.stuck) for u in train.stuck_units(Channels(), np.ones((2, 3, 5)))] == [(3, 1)]


def test_dropped_units_are_not_dead():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.9), nn.Tanh(), nn.Linear(8, 2))
    assert train.stuck_units(model, X)[0].stuck == 0
    assert model.training


# ---------------------------------------------------------------------- in words


def kinds(model, **options):
    watch = train.Watch(model, X)
    trained(model, watch=watch, on_epoch=watch.after_epoch, **options)
    return {finding.kind: finding.text for finding in diagnose(watch)}


def test_a_sound_training_gives_no_finding():
    assert kinds(network(nn.Tanh), epochs=5, lr=0.02) == {}


def test_vanishing_gradients_are_named_with_layer_and_size():
    found = kinds(network(nn.Sigmoid, depth=6))
    assert found["vanishing"].startswith("the gradient of layer '")
    assert "per parameter than that of the last layer, '12': it hardly learns" in found["vanishing"]


def test_exploding_gradients_are_named():
    model = network(nn.LeakyReLU)
    for parameter in model[0].parameters():  # hardly any signal, and a last layer that makes up for it
        parameter.data = 1e-3 * parameter.data
    model[2].weight.data = 1e3 * model[2].weight.data
    assert "times larger per parameter" in kinds(model, lr=1e-12)["exploding"]


def test_a_gradient_that_grew_is_named():
    watch = train.Watch(network())
    for step, size in enumerate([1.0, 1.1, 0.9, 500.0], 1):
        watch.samples.append(Sample(step, step, {"0": Norms(size, 1e-3, 1.0, 4)}))
    (finding,) = diagnose(watch)
    assert finding.kind == "exploding"
    assert finding.text == (
        "the gradient norm of layer '0' reached 500 in the last epoch, 476 times what was usual in the "
        "first; a smaller learning rate may help"
    )


def test_steps_that_are_too_large_or_too_small_are_named():
    assert re.match(r"a step changes layer '\d' by \d+% of its size", kinds(network(), lr=3.0)["large steps"])
    assert "it hardly moves; a larger learning rate may help" in kinds(network(), lr=1e-8)["small steps"]


def test_a_layer_without_a_gradient_is_named():
    model = network()
    for parameter in model[0].parameters():
        parameter.requires_grad = False
    assert kinds(model)["no gradient"] == "no gradient reaches layer '0': it does not learn"


def test_dead_and_saturated_units_are_named():
    model = network(width=4)
    model[0].bias.data = np.array([-100, 1, 1, -100], np.float32)
    assert kinds(model, lr=0.01)["dead"] == (
        "2 of 4 ReLU units of layer '1' are dead: they gave 0 for every one of 60 examples, and pass hardly "
        "any gradient on"
    )
    watch = train.Watch(network())
    watch.samples.append(Sample(1, 1.0, {"0": Norms(1.0, 1e-3, 1.0, 4)}))
    watch.units.append([Units("3", "sigmoid", 10, 7, 100), Units("5", "tanh", 10, 0, 100)])
    (finding,) = diagnose(watch)
    assert finding.kind == "saturated"
    assert finding.text.startswith("7 of 10 σ units of layer '3' are saturated: they were in the flat ends")


def test_an_unused_watch_has_nothing_to_say():
    assert diagnose(train.Watch(network())) == []
