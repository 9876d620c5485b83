"""The wrong engines: where each shows, how, where it hides; and that the right one stays untouched."""

import copy
import html
import inspect

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import lab, nn
from microgradnet.lab import engines

NAMES = [misconception.name for misconception in lab.misconceptions()]
WITH_AN_ENGINE = [misconception.name for misconception in lab.misconceptions() if misconception.engine]


def leaf(value, name=None):
    return mg.Tensor(value, requires_grad=True, name=name)


def found(report):
    """Return the leaves' gradients, (right, wrong) by name."""
    return {entry.name: (entry.right.tolist(), entry.wrong.tolist()) for entry in report.gradients}


# ---------------------------------------------------------------------- on the smallest graphs


@pytest.mark.parametrize(
    ("name", "gradients", "first"),
    [
        ("recursion", {"x": (39, 36)}, "x"),  # 3·(1 + 2·6) in full; a handed on 2·6 alone
        ("overwrite", {"x": (6, 3)}, "x"),
        ("stale_gradients", {"x": (200, 400)}, "mul#2"),  # 2·(2·10·5); 1 + 1, then 2 + … on the way
        ("sign_error", {"w": (30, -30), "t": (-10, -10)}, "mul#3"),
        ("forgotten_mean", {"w": (2.5, 10)}, "pow#4"),
    ],
)
def test_what_each_engine_finds_by_hand(name, gradients, first):
    report = lab.demonstrate(name)
    for leaf_name, (right, wrong) in gradients.items():
        assert found(report)[leaf_name] == (pytest.approx(right), pytest.approx(wrong))
    assert report.first is not None
    assert report.first.name == first
    assert not report.agrees


def test_without_unbroadcasting_a_bias_has_a_gradient_per_example():
    report = lab.demonstrate("no_unbroadcast")
    assert report.first is not None
    assert report.first.name == "b"
    assert report.first.wrong is not None
    assert report.first.wrong.shape == (3, 2)
    np.testing.assert_allclose(report.first.wrong.sum(0), report.first.right)
    assert "shape (3, 2), not (2,)" in str(report)


def test_dropout_in_evaluation_changes_the_loss_and_is_seen_at_the_first_layer_that_sees_it():
    report = lab.demonstrate("dropout_in_eval")
    right, wrong = report.losses
    assert right != wrong
    assert f"The loss itself differs: {right:.6g} right, {wrong:.6g} wrong." in str(report)
    assert not report.agrees


def test_recursion_hands_on_too_early_but_the_value_itself_gets_all():
    report = lab.demonstrate("recursion")
    assert [entry.name for entry in report.nodes if not entry.agrees] == ["x"]
    shared = next(entry for entry in report.nodes if entry.name == "mul#2")
    assert shared.agrees, "the value used twice"
    assert shared.right == 13


@pytest.mark.parametrize("name", WITH_AN_ENGINE)
def test_the_right_column_is_the_engines(name):
    misconception = next(m for m in lab.misconceptions() if m.name == name)
    made = misconception.example()
    report = lab.compare(name, made)
    made.backward()
    leaves = {entry.name: entry.right for entry in report.gradients}
    for node in mg.graph.ancestors([made._node]).values():
        if node.primitive is None and node.requires_grad:
            assert node.name is not None
            assert node.grad is not None
            np.testing.assert_array_equal(leaves[node.name], misconception.passes * node.grad)


# ---------------------------------------------------------------------- where they hide


def chain(seed=0):
    rng = np.random.default_rng(seed)
    layers = [nn.Linear(3, 4, dtype=float, rng=rng), nn.Tanh(), nn.Linear(4, 2, dtype=float, rng=rng)]
    return nn.Sequential(*layers), rng.standard_normal((5, 3)), rng.standard_normal((5, 2))


@pytest.mark.parametrize("name", ["recursion", "overwrite", "no_unbroadcast", "dropout_in_eval"])
def test_a_plain_chain_of_layers_hides_it(name):
    model, x, y = chain()
    report = lab.compare(name, model, nn.QuadraticLoss(), x, y)
    assert report.agrees
    assert report.first is None
    assert f"No difference here. It hides {report.misconception.hides}." in str(report)
    for entry in report.nodes:
        np.testing.assert_array_equal(entry.wrong, entry.right)


LOSSES = [nn.QuadraticLoss(), nn.MSELoss(), nn.L1Loss(), nn.BCEWithLogitsLoss()]


@pytest.mark.parametrize("loss", [*LOSSES, nn.CrossEntropyLoss()], ids=repr)
def test_every_mean_can_be_forgotten(loss):
    model, x, y = chain()
    y = np.array([0, 1, 1, 0, 1]) if isinstance(loss, nn.CrossEntropyLoss) else y
    report = lab.compare("forgotten_mean", model, loss, x, y)
    factor = 10 if isinstance(loss, (nn.L1Loss, nn.BCEWithLogitsLoss)) else 5  # over elements or examples
    for entry in report.gradients:
        assert entry.wrong is not None
        np.testing.assert_allclose(entry.wrong, factor * entry.right)
        if factor == 5:
            assert (
                entry.how == "5 × the true gradient, and 5 is the batch size N: a division by it is missing"
            )
    loss.reduction = "sum"
    assert lab.compare("forgotten_mean", model, loss, x, y).agrees
    loss.reduction = "mean"


def test_a_quotient_by_the_size_is_a_mean_too():
    x = leaf([1.0, 2.0, 4.0], "x")
    assert found(lab.compare("forgotten_mean", (x * x).sum() / 3))["x"][1] == [2, 4, 8]
    assert lab.compare("forgotten_mean", 3 / (x * x).sum()).agrees
    assert lab.compare("forgotten_mean", (x * x).sum()).agrees


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda x: -x, 1),
        (lambda x: 1 - x, 1),
        (lambda x: x - 1, 1),
        (lambda x: 8 / x, 2),
        (lambda x: x / 8, 0.125),
        (lambda x: x * -3, 3),
        (lambda x: x * 3, 3),
        (lambda x: -(1 - x), 1),  # two signs lost, one right result
    ],
)
def test_every_minus_can_be_lost(make, wrong):
    assert found(lab.compare("sign_error", make(leaf(2.0, "x"))))["x"][1] == wrong


@pytest.mark.parametrize("loss", [nn.QuadraticLoss(), nn.MSELoss(), nn.CrossEntropyLoss()], ids=repr)
def test_a_lost_sign_turns_every_gradient_of_a_model(loss):
    model, x, y = chain()
    y = np.array([0, 1, 1, 0, 1]) if isinstance(loss, nn.CrossEntropyLoss) else y
    for entry in lab.compare("sign_error", model, loss, x, y).gradients:
        assert entry.wrong is not None
        np.testing.assert_allclose(entry.wrong, -entry.right)


def test_stale_gradients_grow_with_the_depth():
    x = leaf(1.0, "x")
    y = x
    for depth in range(1, 5):
        y = 1 * y
        assert found(lab.compare("stale_gradients", y))["x"] == (2, depth + 2)


def test_an_engine_that_runs_into_shapes_that_do_not_fit_says_so():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, dtype=float, rng=rng), nn.BatchNorm1d(4, dtype=float))
    report = lab.compare(
        "no_unbroadcast", model, nn.MSELoss(), rng.standard_normal((5, 3)), rng.standard_normal((5, 4))
    )
    assert report.failure is not None
    assert "cannot reshape" in report.failure
    assert "Then the wrong engine stopped: " in str(report)
    assert any(entry.wrong is None for entry in report.nodes)


def test_a_residual_connection_shows_overwriting_and_names_the_layer():
    class Residual(nn.Module):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.inner = nn.Linear(3, 3, rng=rng)
            self.outer = nn.Linear(3, 3, rng=rng)

        def forward(self, x):
            h = self.inner(x)
            return h + self.outer(h)

    report = lab.compare("overwrite", Residual(), nn.MSELoss(), np.ones((2, 3)), np.zeros((2, 3)))
    assert report.first is not None
    assert report.first.name == "linear#5 (inner)"
    assert report.first.users == ("add#7 (Residual)", "linear#6 (outer)")
    assert (
        "They part at linear#5 (inner), with what add#7 (Residual) and linear#6 (outer) hand it; the "
        in str(report)
    )


def test_a_deep_graph_does_not_exhaust_the_stack():
    x = leaf(1.0, "x")
    y = x
    for _ in range(20_000):
        y = y * 1.0
    for name in ("recursion", "overwrite"):
        assert lab.compare(name, y).agrees


# ---------------------------------------------------------------------- nothing is touched


@pytest.mark.parametrize("name", NAMES)
def test_model_generators_and_statistics_stay_as_they_are(name):
    rng = np.random.default_rng(1)
    model = nn.Sequential(
        nn.Linear(3, 4, rng=rng),
        nn.BatchNorm1d(4),
        nn.Dropout(0.5),
        nn.Dropout(0.5, rng=rng),
        nn.Linear(4, 2, rng=rng),
    )
    mg.manual_seed(5)
    state = copy.deepcopy(model.state_dict())
    own, default = copy.deepcopy(rng.bit_generator.state), mg.ops.generator().bit_generator.state
    x = np.random.default_rng(2).standard_normal((5, 3))
    lab.compare(name, model, nn.MSELoss(), x, np.zeros((5, 2)))
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[key])
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert rng.bit_generator.state == own
    assert mg.ops.generator().bit_generator.state == default


def test_a_loss_that_is_compared_can_still_be_differentiated():
    x = leaf(3.0)
    y = x * x
    for name in WITH_AN_ENGINE:
        lab.compare(name, y)
    assert x.grad is None
    y.backward()
    assert x.grad == 6


# ---------------------------------------------------------------------- texts


@pytest.mark.parametrize("misconception", lab.misconceptions(), ids=lambda m: m.name)
def test_every_misconception_is_documented_and_demonstrated(misconception):
    for text in (misconception.belief, misconception.truth, misconception.shows, misconception.hides):
        assert len(text) > 20
    assert misconception.truth in str(misconception)
    assert "# wrong:" in misconception.code
    assert len(misconception.code.splitlines()) <= 14, "an engine is to be read at a glance"
    report = lab.demonstrate(misconception.name)
    assert not report.agrees
    assert misconception.program in str(report).replace("\n    ", "\n").replace("    def", "def")
    assert '"""' not in misconception.program
    assert str(report) == str(lab.demonstrate(misconception.name)), "the same twice"


def test_every_engine_of_the_file_is_in_the_catalogue():
    here = {
        name
        for name, function in inspect.getmembers(engines, inspect.isfunction)
        if list(inspect.signature(function).parameters) == ["loss", "gradients"]
    }
    assert here == set(WITH_AN_ENGINE)


def test_the_notebook_shows_the_same_escaped():
    x = leaf([1.0, 2.0], "<b>")
    page = lab.compare("overwrite", (x * x).sum())._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert html.escape("In truth: ") in page
    assert "<pre>" in lab.demonstrate("overwrite")._repr_html_()


# ---------------------------------------------------------------------- what is refused


def test_an_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"no misconception 'dropout'; the names are recursion, overwrite, "):
        lab.demonstrate("dropout")
    with pytest.raises(ValueError, match="no misconception 'x'"):
        lab.compare("x", leaf(1.0))


def test_what_cannot_be_compared_is_refused():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"the loss must be a single number, not of shape \(2,\); reduce it"):
        lab.compare("overwrite", x * x)
    with pytest.raises(ValueError, match="was not computed from anything that requires a gradient"):
        lab.compare("overwrite", mg.Tensor(1.0))
    with pytest.raises(
        ValueError, match=r"is about the mode of a model; write compare\('dropout_in_eval', model"
    ):
        lab.compare("dropout_in_eval", (x * x).sum())
    with pytest.raises(ValueError, match="a model needs its loss and data; write compare"):
        lab.compare("overwrite", nn.Linear(2, 2))
