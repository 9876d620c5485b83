"""mg.summary: every number of the table is held against one that was found in another way."""

import tracemalloc

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.viz.model_summary import size_text


def rng():
    return np.random.default_rng(0)


def network():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(12, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.5, rng=rng()),
        nn.Linear(8, 3),
    )


def kept_by_numpy(model, x):
    """Return the bytes that NumPy holds for the graph of model(x): by Python's own account."""
    model(x)  # caches are filled
    numpys = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot().filter_traces([numpys])
        output = model(x)
        after = tracemalloc.take_snapshot().filter_traces([numpys])
    finally:
        tracemalloc.stop()
    del output
    return sum(statistic.size_diff for statistic in after.compare_to(before, "filename"))


def frozen_first():
    model = network()
    for parameter in model[1].parameters():
        parameter.requires_grad = False
    return model


def recurrent():
    """A layer that is used three times, and a product of two results."""

    class Model(nn.Module):
        def __init__(self):
            self.step = nn.Linear(12, 12)

        def forward(self, x):
            x = x.reshape((len(x), 12))
            for _ in range(3):
                x = self.step(x).tanh()
            return x @ x.T

    return Model()


def convolutional():
    """Pictures of one channel, which a first layer makes of the input."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 36), Pictures(), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)
    )


class Pictures(nn.Module):
    """Rows of 36 numbers as pictures."""

    def forward(self, x):
        return x.reshape((len(x), 1, 6, 6))


@pytest.mark.parametrize("make", [network, frozen_first, recurrent, convolutional])
@pytest.mark.parametrize("trains", [True, False])
def test_kept_memory_is_what_numpy_holds(make, trains):
    x = rng().normal(size=(6, 3, 4)).astype(np.float32)
    model = make().train(trains)
    found = mg.summary(model, x)
    held = kept_by_numpy(model, x)
    # The input was there before; whether it is kept depends on whether the first layer trains.
    assert found.kept_bytes - held in {0, x.nbytes}
    assert held > 0


def test_a_frozen_first_layer_keeps_less():
    x = np.zeros((6, 12), np.float32)
    assert mg.summary(frozen_first(), x).kept_bytes < mg.summary(network(), x).kept_bytes - x.nbytes


def test_rows_are_the_calls_in_order():
    found = mg.summary(network(), np.zeros((6, 3, 4)))
    assert [(row.path, row.kind, row.depth) for row in found.rows] == [
        ("", "Sequential", 0),
        ("0", "Flatten", 1),
        ("1", "Linear", 1),
        ("2", "BatchNorm1d", 1),
        ("3", "ReLU", 1),
        ("4", "Dropout", 1),
        ("5", "Linear", 1),
    ]
    assert [row.inputs for row in found.rows][:3] == [((6, 3, 4),), ((6, 3, 4),), ((6, 12),)]
    assert found.rows[-1].outputs == found.rows[0].outputs == ((6, 3),)
    assert [row.parameters for row in found.rows] == [0, 0, 12 * 8 + 8, 16, 0, 0, 8 * 3 + 3]
    assert found.parameters == sum(p.size for p in network().parameters())
    assert found.multiply_adds == 6 * (12 * 8 + 8 * 3)


def test_nested_modules_stand_below_the_one_that_calls_them():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU())), nn.Linear(2, 1))
    found = mg.summary(model, np.zeros((1, 2)))
    assert [(row.path, row.depth) for row in found.rows] == [
        ("", 0),
        ("0", 1),
        ("0.0", 2),
        ("0.1", 2),
        ("0.1.0", 3),
        ("1", 1),
    ]
    assert "\n      0.1.0  ReLU" in str(found)


def test_shared_parameters_are_counted_once():
    shared = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.weight = shared.weight
    found = mg.summary(nn.Sequential(shared, shared, other), np.zeros((2, 4)))
    assert [(row.parameters, row.shared) for row in found.rows] == [(0, 0), (20, 0), (0, 20), (4, 16)]
    assert found.parameters == 24 == sum(row.parameters for row in found.rows)
    assert "(20 shared)" in str(found)
    assert [row.multiply_adds for row in found.rows] == [0, 32, 32, 32]


def test_multiply_adds_of_the_kinds_of_product():
    class Products(nn.Module):
        def forward(self, a):
            b = (a @ np.ones((5, 7), np.float32)).sum()  # 3·5·7
            return b + np.einsum("ij,kj->ik", a, np.ones((4, 5), np.float32)).sum() + (a * a).sum()  # 3·4·5

    assert mg.summary(Products(), np.ones((3, 5), np.float32)).multiply_adds == 3 * 5 * 7 + 3 * 4 * 5


def test_multiply_adds_of_a_convolution():
    layer = nn.Conv2d(3, 4, 5)
    found = mg.summary(layer, np.zeros((2, 3, 9, 8)))
    assert found.rows[0].outputs == ((2, 4, 5, 4),)
    assert found.multiply_adds == 2 * 4 * 5 * 4 * (3 * 5 * 5)


def test_integer_inputs_and_several_inputs():
    class Model(nn.Module):
        def __init__(self):
            self.table = nn.Embedding(10, 4)

        def forward(self, words, scale):
            return self.table(words) * scale

    found = mg.summary(Model(), [[1, 2]], np.ones(4))
    assert found.rows[0].inputs == ((1, 2), (4,))
    assert found.rows[1].outputs == ((1, 2, 4),)
    assert found.parameters == 40


def test_the_model_stays_as_it_was():
    model = network()
    before = model.state_dict()
    model(np.ones((6, 12)))
    after_one = model.state_dict()
    model.load_state_dict(before)
    with mg.no_grad():
        found = mg.summary(model, np.ones((6, 12)))
    assert found.kept_bytes, "it records, wherever it is called"
    assert any((before[name] != array).any() for name, array in after_one.items()), (
        "a call moves the statistics"
    )
    assert all((before[name] == array).all() for name, array in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("layers", "shape", "layer", "piece", "suggestion"),
    [
        (
            (nn.Linear(4, 3), nn.ReLU(), nn.Linear(5, 2)),
            (7, 4),
            "layer '2' Linear",
            "the input has shape (7, 3), the weight (2, 5) expects 5 features",
            "write Linear(in_features=3, …), or give it an input whose last axis is 5",
        ),
        (
            (nn.Linear(12, 3),),
            (7, 3, 4),
            "layer '0' Linear",
            "(7, 3, 4)",
            "put a Flatten() before it: (7, 3, 4) has 12 numbers per example",
        ),
        (
            (nn.BatchNorm1d(5),),
            (7, 4),
            "layer '0' BatchNorm1d",
            "(7, 4)",
            "write BatchNorm1d(num_features=4, …), or give it an input whose axis 1 is 5",
        ),
    ],
)
def test_a_shape_error_is_shown_where_it_happens(layers, shape, layer, piece, suggestion):
    model = nn.Sequential(*layers)
    found = mg.summary(model, np.zeros(shape))
    assert found.failure is not None
    assert (found.failure.layer, found.failure.suggestion) == (layer, suggestion)
    assert piece in found.failure.message
    text = str(found)
    assert f"fails in {layer}: " in text
    assert f"try: {suggestion}" in text
    assert found.rows[-1].outputs == ()
    assert found.rows[-1].inputs == ((7, 3) if len(layers) == 3 else shape,)
    assert len(found.rows) == 1 + len(layers), "up to the layer that fails"
    assert not any(module._forward_hooks for module in model.modules())


def test_an_error_in_a_forward_of_ones_own_names_the_layer_before():
    class Model(nn.Module):
        def __init__(self):
            self.first = nn.Linear(4, 3)

        def forward(self, x):
            return self.first(x) @ np.ones((4, 2), np.float32)

    found = mg.summary(Model(), np.zeros((7, 4)))
    assert found.failure is not None
    assert found.failure.suggestion == (
        "compare what Model takes with its input (7, 4); the layer before it, 'first' Linear, gave (7, 3)"
    )
    assert [(row.path, bool(row.outputs)) for row in found.rows] == [("", False), ("first", True)]


def test_other_errors_are_not_hidden():
    class Broken(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mg.summary(Broken(), np.zeros(2))


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"summary: takes a module and an example input, not a list"):
        mg.summary([nn.Linear(2, 2)], np.zeros(2))
    with pytest.raises(
        TypeError, match=r"summary\(Linear\): shapes come from one call; give an example input"
    ):
        mg.summary(nn.Linear(2, 2))


def test_in_a_notebook_it_is_a_table():
    html = mg.summary(nn.Linear(2, 3), np.zeros((4, 2)))._repr_html_()
    assert html.count("<tr>") == 1 + 1 + 3
    assert "(4, 3)" in html


def test_names_are_escaped():
    class Model(nn.Module):
        def __init__(self):
            self.parts = {"<script>": nn.Linear(2, 2)}

        def forward(self, x):
            return self.parts["<script>"](x)

    html = mg.summary(Model(), np.zeros((1, 2)))._repr_html_()
    assert "<script>" not in html
    assert "parts.&lt;script&gt;" in html


def test_sizes_in_bytes():
    assert [size_text(n) for n in (0, 1023, 1024, 5 * 1024**3, 2 * 1024**5)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 GiB",
        "2,048.0 TiB",
    ]
