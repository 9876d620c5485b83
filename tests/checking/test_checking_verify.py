"""verify: right models agree, planted mistakes are located and diagnosed, nothing is touched."""

import copy
import json
import time

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import Primitive, Tensor, delta, nn, ops
from microgradnet.checking import Report
from microgradnet.nn import functional as F

RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((5, 4)), RNG.random((5, 3))


def network(*, activation=nn.Tanh, inputs=4, hidden=6, outputs=3):
    rng = np.random.default_rng(3)
    return nn.Sequential(
        nn.Linear(inputs, hidden, rng=rng), activation(), nn.Linear(hidden, outputs, rng=rng)
    )


class Wrapped(nn.Module):
    """Any primitive between two layers, in a module that δ does not know."""

    def __init__(self, operation, width=6):
        rng = np.random.default_rng(3)
        self.first = nn.Linear(4, width, rng=rng)
        self.scale = nn.Parameter(rng.uniform(0.5, 1.5, width))
        self.last = nn.Linear(width, 3, rng=rng)
        self.operation = operation

    def forward(self, x):
        return self.last(self.operation(self.first(x), self.scale))


def verdict(operation, **options):
    """Return what verify says of a model with a wrong operation in it."""
    report = mg.verify(Wrapped(operation, **options), nn.MSELoss(), X, Y)
    assert not report.ok
    assert "the gradients DISAGREE" in str(report)
    return report


# ---------------------------------------------------------------------- right models


def test_a_small_network_agrees_in_all_three_ways():
    report = mg.verify(network(), nn.MSELoss(), X, Y)
    assert isinstance(report, Report)
    assert report
    assert str(report).startswith("verify Sequential: all three ways agree\n")
    assert report.error("autograd–δ") < 1e-13
    assert report.error("autograd–differences") < 1e-7
    assert [row.title for row in report.rows] == [
        "δ of 2 (Linear)",
        "∂C/∂2.weight",
        "∂C/∂2.bias",
        "δ of 1 (Tanh)",
        "δ of 0 (Linear)",
        "∂C/∂0.weight",
        "∂C/∂0.bias",
        "∂C/∂input",
    ]


def test_nielsens_network_is_verified_in_seconds():
    model = nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    start = time.perf_counter()
    report = mg.verify(model, nn.QuadraticLoss(), RNG.standard_normal((5, 784)), RNG.random((5, 10)))
    assert time.perf_counter() - start < 10
    assert report.ok
    assert "entries one by one (chosen with seed 0), and the larger values also whole" in str(report)


def test_every_kind_of_layer_at_once():
    rng = np.random.default_rng(5)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(4, 5, rng=rng),
        nn.BatchNorm1d(5),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.4, rng=rng),
        nn.Linear(5, 7, rng=rng),
        nn.LayerNorm(7),
        nn.Softmax(),
        nn.Linear(7, 3, rng=rng),
    )
    for mode in (True, False):
        report = mg.verify(
            model.train(mode), nn.CrossEntropyLoss(label_smoothing=0.1), X[:, None], Y, samples=6
        )
        assert report.ok, report
        assert all(row.delta is not None for row in report.rows)


@pytest.mark.parametrize(
    ("convolution", "pooling"),
    [
        ({}, nn.MaxPool2d(2)),
        ({"padding": "same", "dilation": (1, 2)}, nn.AvgPool2d(2, padding=1)),
        ({"padding": (2, 1), "stride": (1, 2), "groups": 2}, nn.MaxPool2d((3, 2), stride=1, padding=(1, 0))),
        ({"padding": "valid", "bias": False}, nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)),
    ],
)
def test_layers_of_images(convolution, pooling):
    rng = np.random.default_rng(5)
    layers = [nn.Conv2d(2, 4, (2, 3), rng=rng, **convolution), nn.BatchNorm2d(4), nn.Tanh(), pooling]
    layers += [nn.Dropout2d(0.3, rng=rng), nn.Flatten()]
    x = rng.standard_normal((3, 2, 5, 6))
    features = copy.deepcopy(nn.Sequential(*layers))(x).shape[1]
    model = nn.Sequential(*layers, nn.Linear(features, 3, rng=rng))
    report = mg.verify(model, nn.CrossEntropyLoss(), x, np.array([0, 2, 1]), samples=4)
    assert report.ok, report
    assert all(row.delta is not None for row in report.rows)
    assert report.error("autograd–δ") < 1e-12


def test_dropout_has_the_same_mask_in_all_three_ways():
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 3))
    report = mg.verify(model, nn.MSELoss(), X, Y)
    assert report.ok
    dropped = next(row for row in report.rows if row.name == "1")
    below = next(row for row in report.rows if row.name == "0")
    assert 0.2 < np.mean(below.autograd == 0) < 0.8
    assert not np.any(dropped.autograd == 0)
    assert report.error("autograd–δ") < 1e-13


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (F.mse_loss, Y),
        (F.cross_entropy, np.array([0, 2, 1, 1, 0])),
        (nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0]), np.array([0, 2, 1, 1, 0])),
        (nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0], label_smoothing=0.2), np.array([0, 2, 1, 1, 0])),
        (nn.HuberLoss(delta=0.5), Y),
        (nn.BCEWithLogitsLoss(reduction="batchmean"), Y),
        (nn.L1Loss(reduction="sum"), Tensor(Y)),
    ],
)
def test_losses(loss, target):
    report = mg.verify(network(), loss, X, target)
    assert report.ok, report
    assert report.loss_by_delta == pytest.approx(report.loss, rel=1e-12)


def test_a_module_that_composes_its_layers_is_followed():
    class Net(nn.Module):
        def __init__(self):
            self.blocks = {"in": nn.Linear(4, 6), "out": nn.Linear(6, 3)}
            self.act = nn.Tanh()

        def forward(self, x):
            return self.blocks["out"](self.act(self.blocks["in"](x)))

    report = mg.verify(Net(), nn.MSELoss(), X, Y)
    assert report.ok
    assert all(row.delta is not None for row in report.rows)
    assert "∂C/∂blocks.in.weight" in str(report)


def test_a_layer_that_is_used_twice():
    class Twice(nn.Module):
        def __init__(self):
            self.layer, self.act = nn.Linear(4, 4), nn.Tanh()

        def forward(self, x):
            return self.layer(self.act(self.layer(x)))

    report = mg.verify(Twice(), nn.MSELoss(), X, X)
    assert report.ok, report
    assert {"layer (call 2)", "layer"} <= {row.name for row in report.rows}
    assert next(row for row in report.rows if row.name == "layer.weight").delta is not None


# ---------------------------------------------------------------------- what delta does not know


def test_a_layer_that_delta_does_not_know_is_named():
    report = mg.verify(network(activation=nn.GELU), nn.MSELoss(), X, Y)
    assert report.ok
    assert "δ does not know the layer '1' (GELU): its column is filled from the loss as far as there" in str(
        report
    )
    known = {row.name for row in report.rows if row.delta is not None}
    assert known == {"2", "2.weight", "2.bias", "1"}
    assert all(row.errors["autograd–differences"] is not None for row in report.rows)


def test_an_operation_between_layers_is_named():
    class Skip(nn.Module):
        def __init__(self):
            self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            h = self.first(x)
            return self.last(self.second(h) + h)

    report = mg.verify(Skip(), nn.MSELoss(), X, Y)
    assert report.ok
    assert "δ does not know the operation `add#" in str(report)
    assert {row.name for row in report.rows if row.delta is not None} == {"last", "last.weight", "last.bias"}


def test_a_parameter_that_is_also_used_where_delta_does_not_see_it():
    class Tied(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(ops.softplus(x @ self.layer.weight))

    report = mg.verify(Tied(), nn.MSELoss(), X, X)
    assert report.ok, report
    weight = next(row for row in report.rows if row.name == "layer.weight")
    assert weight.delta is None


def test_a_loss_that_delta_does_not_know():
    report = mg.verify(network(), lambda a, y: ((a - y) ** 4).mean(), X, Y)
    assert report.ok
    assert report.loss_by_delta is None
    assert "δ does not know the loss <lambda>: its column is empty" in str(report)
    assert str(report).startswith("verify Sequential: autograd and differences agree\n")


# ---------------------------------------------------------------------- planted mistakes


def scaled(factor):
    rules = (lambda g, _y, _x, b: factor(g) * b, lambda g, _y, x, _b: g * x)
    return Primitive("scale", np.multiply, *rules)


@pytest.mark.parametrize(
    ("factor", "diagnosis"),
    [
        (lambda g: 2 * g, "it is 2 × the true gradient: a factor 2 too much"),
        (lambda g: g / 2, "it is ½ × the true gradient: a factor 2 is missing"),
        (lambda g: -g, "it is −1 × the true gradient: the sign is wrong"),
        (
            lambda g: g / g.shape[0],
            "it is 1/5 × the true gradient, and 5 is the batch size N: divided by it once too often",
        ),
        (
            lambda g: g * g.shape[0],
            "it is 5 × the true gradient, and 5 is the batch size N: a division by it is missing",
        ),
        (lambda g: 0 * g, "it is zero: the whole term is missing"),
        (lambda g: 1.001 * g, "it is 1.001 × the true gradient: a constant factor"),
    ],
)
def test_a_wrong_factor_is_located_and_diagnosed(factor, diagnosis):
    report = verdict(scaled(factor))
    assert report.verdict[0].startswith(
        "everything downstream (2 operations) agrees; "
        "first disagreement at `scale#8` in Wrapped, argument 0: at ["
    )
    assert report.verdict[1] == diagnosis
    wrong = [row.name for row in report.rows if not row.ok]
    assert wrong == ["first", "first.weight", "first.bias", "input"]


def test_the_parameter_is_named_where_its_rule_is_wrong():
    product = Primitive("mul", np.multiply, lambda g, _y, _x, b: g * b, lambda g, _y, x, _b: 3 * g * x)
    report = verdict(product)
    assert "first disagreement at `mul#8` in Wrapped, parameter 'scale': at [" in report.verdict[0]
    assert report.verdict[1] == "it is 3 × the true gradient: a constant factor"
    assert report.first_disagreement is not None
    assert report.first_disagreement.parameter == "scale"


def test_a_missing_sum_over_the_batch():
    def rule(g, _y, x, _b):
        return (g * x)[0]

    shift = Primitive("shift", lambda x, b: x * b, lambda g, _y, _x, b: g * b, rule)
    report = verdict(shift)
    assert report.verdict[1] == "it is the gradient of example 0 alone: the sum over the batch is missing"


def test_a_rule_that_forgets_the_sum_and_fails():
    shift = Primitive("shift", lambda x, b: x * b, lambda g, _y, _x, b: g * b, lambda g, _y, x, _b: g * x)
    report = verdict(shift)
    assert "first disagreement at `shift#8` in Wrapped, parameter 'scale'" in report.verdict[0]
    assert report.verdict[1].startswith("the rule fails: the gradient rule of shift#")
    assert report.verdict[1].endswith("the sum over the batch is missing")


def test_a_rule_that_fails_otherwise():
    broken = Primitive("broken", lambda x, b: x * b, lambda g, _y, _x, b: g.no_such_thing, None)
    report = verdict(broken)
    assert "the rule fails: 'numpy.ndarray' object has no attribute 'no_such_thing'" in report.verdict[1]


def test_a_missing_activation_derivative():
    tanh = Primitive("tanh", np.tanh, lambda g, _y, _x: g)
    report = verdict(lambda x, b: tanh(x) * b)
    assert report.verdict[1] == "it hands g on as it came: the derivative of tanh is missing"


def test_a_transposed_weight_gradient():
    square = Primitive(
        "product", np.matmul, lambda g, _y, _a, b: g @ b.T, lambda g, _y, a, _b: (a.T @ g).T, broadcasts=2
    )

    class Net(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(RNG.standard_normal((4, 4)))
            self.last = nn.Linear(4, 3)

        def forward(self, x):
            return self.last(square(x, self.weight))

    report = mg.verify(Net(), nn.MSELoss(), X, Y)
    assert "parameter 'weight'" in report.verdict[0]
    assert report.verdict[1] == "it is the transpose of the true gradient"


def test_the_gradient_of_a_different_loss():
    loss = Primitive(
        "my_loss",
        lambda a, y: np.sum(np.abs(a - y)) / a.size,
        lambda g, _c, a, y: g * 2 * (a - y) / np.size(y),
        None,
    )
    report = mg.verify(network(), loss, X, Y)
    assert report.verdict[0].startswith("it is the first of all; first disagreement at `my_loss#")
    assert report.verdict[1] == "it is the gradient of the MSE cost (mean), not of this loss"


def test_the_wrong_operation_nearest_to_the_loss_comes_first():
    tanh = Primitive("bad_tanh", np.tanh, lambda g, y, _x: 2 * g * (1 - y * y))
    sine = Primitive("bad_sine", np.sin, lambda g, _y, x: g * -np.cos(x))
    report = verdict(lambda x, b: tanh(sine(x) * b))
    assert "`bad_tanh#" in report.verdict[0]
    assert report.verdict[-1].startswith("also wrong: `bad_sine#")


def test_a_path_that_is_not_recorded():
    report = verdict(lambda x, b: ops.tanh(x) * b + x.detach())
    assert report.verdict == [
        (
            "every operation's rule holds, but δ of first (Linear) disagrees with the loss itself: "
            "a way to the loss is not recorded (look for detach(), .data, no_grad() or plain NumPy on it)"
        )
    ]


def test_a_wrong_delta_equation(monkeypatch):
    right = delta.Tanh.backward
    monkeypatch.setattr(delta.Tanh, "backward", lambda self, d, x, y: (d, {}))
    report = mg.verify(network(), nn.MSELoss(), X, Y)
    assert report.verdict == [
        "autograd and differences agree; the hand-derived δ parts from them first at δ of 0 (Linear)",
        "δ of 0 (Linear) by δ: it is the δ of 1 (Tanh) unchanged: the derivative of that layer is missing",
    ]
    monkeypatch.setattr(delta.Tanh, "backward", lambda self, d, x, y: (2 * right(self, d, x, y)[0], {}))
    report = mg.verify(network(), nn.MSELoss(), X, Y)
    assert report.verdict[1] == "δ of 0 (Linear) by δ: it is 2 × the true gradient: a factor 2 too much"


def test_a_delta_that_means_another_loss(monkeypatch):
    monkeypatch.setattr(delta.MSECost, "_slopes", lambda self, a, y: np.sign(a - y))
    report = mg.verify(network(), nn.MSELoss(), X, Y)
    assert report.verdict == [
        "autograd and differences agree; the hand-derived δ parts from them first at δ of 2 (Linear)",
        "δ of 2 (Linear) by δ: it is the gradient of the L1 cost (mean), not of this loss",
    ]


def test_a_delta_whose_forward_differs(monkeypatch):
    monkeypatch.setattr(delta.Tanh, "forward", lambda self, x: np.tanh(x) + 0.5)
    report = mg.verify(network(), nn.MSELoss(), X, Y)
    assert "the outputs of 1 (Tanh) differ already" in report.verdict[0]


# ---------------------------------------------------------------------- kinks


def test_a_kink_is_named_and_no_mistake():
    model = network(activation=nn.ReLU)
    model[0].weight.data = np.zeros((6, 4), np.float32)
    model[0].bias.data = np.array([0, 0, 1, -1, 2, 3], np.float32)
    report = mg.verify(model, nn.MSELoss(), X, Y)
    assert report.ok, report
    assert any(kink.startswith("relu#") and "argument 0[0, 0] = 0" in kink for kink in report.kinks)
    assert report.skipped
    assert "not differentiable here, and no mistake: relu#" in str(report)


def test_a_tie_is_a_kink():
    class Largest(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter([1.0, 1.0, 0.5])

        def forward(self, x):
            return (self.weight * x).max(axis=1, keepdims=True)

    report = mg.verify(Largest(), nn.MSELoss(), np.ones((2, 3)), np.zeros((2, 1)))
    assert report.ok, report
    assert [kink for kink in report.kinks if kink.startswith("max#")]


class Applied(nn.Module):
    """A function of a weighted input."""

    def __init__(self, function, weight):
        self.weight, self.function = nn.Parameter(weight), function

    def forward(self, x):
        return self.function(x * self.weight)


def test_an_infinite_derivative_is_named():
    """√(w·x) at w = 0 has the derivative ∞ by w·x, and 0·∞ by x."""
    report = mg.verify(Applied(ops.sqrt, [0.0, 1.0]), nn.MSELoss(), np.ones((2, 2)), np.ones((2, 2)))
    assert report.verdict[0].startswith(
        "∂C/∂input by autograd is not finite: `sqrt#4` in Applied, argument 0 has"
    )
    assert len(report.verdict) == 1
    assert [row.name for row in report.rows if not row.ok] == ["input"]


def test_steep_is_not_a_kink():
    report = mg.verify(Applied(ops.log, [1e-9, 1.0]), nn.MSELoss(), np.ones((2, 2)), np.ones((2, 2)))
    assert report.ok, report
    assert not report.kinks
    assert not report.skipped


# ---------------------------------------------------------------------- nothing is touched


def test_nothing_of_the_callers_is_touched():
    rng = np.random.default_rng(11)
    model = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5, rng=rng), nn.Dropout(0.3), nn.Linear(5, 3)
    )
    mg.manual_seed(5)
    model(X)
    F.mse_loss(model(X), Y).backward()
    before = {name: value.copy() for name, value in model.state_dict().items()}
    grads = [np.array(parameter.grad) for parameter in model.parameters()]
    states = [copy.deepcopy(source.bit_generator.state) for source in (rng, ops.generator())]
    x, y = X.copy(), Y.copy()
    nodes = [parameter._node for parameter in model.parameters()]
    loss = nn.MSELoss()
    assert mg.verify(model, loss, x, Tensor(y)).ok
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert all(after[name].dtype == before[name].dtype for name in before)
    assert all(np.array_equal(np.asarray(p.grad), g) for p, g in zip(model.parameters(), grads, strict=True))
    assert [source.bit_generator.state for source in (rng, ops.generator())] == states
    assert [parameter._node for parameter in model.parameters()] == nodes
    assert [module._forward_hooks for module in model.modules()] == [()] * 6
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)
    assert all(module.training for module in model.modules())


def test_a_buffer_that_counts_begins_anew_in_every_run():
    class Counting(nn.Module):
        calls: Tensor

        def __init__(self):
            self.weight = nn.Parameter([1.0, 2.0, 3.0, 4.0])
            self.register_buffer("calls", np.ones(()))

        def forward(self, x):
            y = x * self.weight * self.calls.item()
            with mg.no_grad():
                self.calls += 1.0
            return y

    model = Counting()
    assert mg.verify(model, nn.MSELoss(), X, X).ok
    assert model.calls.item() == 1.0


def test_generators_are_put_back_after_an_error():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    mg.manual_seed(5)
    state = copy.deepcopy(ops.generator().bit_generator.state)
    with pytest.raises(ValueError, match="predictions have shape"):
        mg.verify(model, nn.MSELoss(), X, Y[:, :2])
    assert ops.generator().bit_generator.state == state
    assert mg.graph.is_recording()


def test_a_seed_gives_the_same_report():
    model = nn.Sequential(nn.Linear(40, 30), nn.Tanh())
    x, y = RNG.standard_normal((4, 40)), RNG.random((4, 30))
    first, second, other = (mg.verify(model, nn.MSELoss(), x, y, seed=seed) for seed in (1, 1, 2))
    assert first.to_json() == second.to_json()
    assert first.to_json() != other.to_json()


# ---------------------------------------------------------------------- inputs


def test_several_inputs_and_integers():
    class Two(nn.Module):
        def __init__(self):
            self.table, self.out = nn.Embedding(5, 4), nn.Linear(4, 3)

        def forward(self, indices, x):
            return self.out(self.table(indices) * x)

    report = mg.verify(Two(), nn.MSELoss(), (np.array([0, 1, 1, 4, 2]), X), Y)
    assert report.ok, report
    assert "∂C/∂input 1" in [row.title for row in report.rows]


class Drawing(nn.Module):
    """A layer that draws from a generator nobody can see."""

    def __init__(self):
        self.weight = nn.Parameter([1.0])
        source = np.random.default_rng(0)
        self.draw = source.random

    def forward(self, x):
        return x * self.weight * self.draw()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: mg.verify(nn.Sequential(nn.Tanh()), nn.MSELoss(), X, X),
            ValueError,
            "verify: Sequential has no parameters, so there is no gradient to verify; check a plain",
        ),
        (
            lambda: mg.verify(network(), nn.MSELoss(reduction="none"), X, Y),
            ValueError,
            'has shape (5, 3), but one number is needed; reduce it, with .mean() or reduction="mean"',
        ),
        (
            lambda: mg.verify(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), nn.MSELoss(), X[:1], Y[:1]),
            ValueError,
            "the input has shape (1, 3); give a larger batch, or call model.eval()",
        ),
        (
            lambda: mg.verify(ops.tanh, nn.MSELoss(), X, Y),  # type: ignore[arg-type]
            TypeError,
            "verify: the model is Primitive, not a Module; check a plain function with gradcheck(f, inputs)",
        ),
        (
            lambda: mg.verify(network(), lambda a, _y: float(a.data.sum()), X, Y),
            TypeError,
            "verify: the loss is float; return a Tensor",
        ),
        (
            lambda: mg.verify(network(), lambda a, _y: a.detach().sum(), X, Y),
            ValueError,
            "verify: the loss does not depend on the parameters by anything that was recorded",
        ),
        (
            lambda: mg.verify(network(), lambda a, _y: a.sum() * np.inf, X, Y),
            ValueError,
            "inf; its gradients mean nothing",
        ),
        (
            lambda: mg.verify(Drawing(), nn.MSELoss(), X, X),
            ValueError,
            "it draws numbers from a generator that is not",
        ),
        (
            lambda: mg.verify(network(), nn.MSELoss(), X, Y, samples=0),
            ValueError,
            "verify: samples must be at least 1, not 0",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_json_has_the_verdict():
    content = json.loads(verdict(scaled(lambda g: 2 * g)).to_json())
    assert content["ok"] is False
    assert content["first_disagreement"]["operation"] == "scale#8"
    assert content["rows"][0]["errors"]["autograd–differences"] < 1e-6
    assert content["verdict"][1].startswith("it is 2 ×")


@pytest.mark.parametrize("sureness", [12.0, 18.0, 30.0])
def test_a_network_that_is_sure_of_itself_is_not_accused(sureness):
    """The loss is a tiny difference of logits: what the differences cannot resolve is not a disagreement."""
    model = nn.Sequential(
        nn.Linear(6, 8, rng=np.random.default_rng(1)),
        nn.Tanh(),
        nn.Linear(8, 4, rng=np.random.default_rng(2)),
    )
    x = np.random.default_rng(3).standard_normal((8, 6))
    labels = model(x).data.argmax(1)
    logits = model(x).data
    gap = np.diff(np.sort(logits, 1)[:, -2:], axis=1).min()
    for parameter in model[2].parameters():
        parameter.data = parameter.data * np.float32(sureness / gap)
    report = mg.verify(model, nn.CrossEntropyLoss(), x, labels)
    assert report.loss < 1e-5
    assert report.ok, str(report)
