"""mg.explain: the chain rule of one entry, path by path, in numbers that add up to the gradient."""

import math
import re

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import Tensor, nn
from microgradnet.checking.notation import LATEX


def mazur_layers():
    """The published network as layers (M. Mazur, A step by step backpropagation example)."""
    model, loss_fn, x, y = mg.checking.mazur()
    loss = loss_fn(model(x), y)
    loss.name = "E"
    return model, loss


def mazur_scalars():
    """The same network as the scalar graph that the article draws; returns E and every named tensor."""
    names: dict[str, Tensor] = {}

    def called(name, tensor):
        tensor.name = name
        names[name] = tensor
        return tensor

    w = [Tensor(v, True) for v in (0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55)]
    for i, tensor in enumerate(w, 1):
        called(f"w{i}", tensor)
    h1 = called("out_h1", called("h1", w[0] * 0.05 + w[1] * 0.10 + 0.35).sigmoid())
    h2 = called("out_h2", called("h2", w[2] * 0.05 + w[3] * 0.10 + 0.35).sigmoid())
    o1 = called("out_o1", called("o1", w[4] * h1 + w[5] * h2 + 0.60).sigmoid())
    o2 = called("out_o2", called("o2", w[6] * h1 + w[7] * h2 + 0.60).sigmoid())
    return called("E", 0.5 * (0.01 - o1) ** 2 + 0.5 * (0.99 - o2) ** 2), names


def test_the_published_line_from_scalars():
    loss, names = mazur_scalars()
    text = str(mg.explain(loss, names["w5"]))
    assert "∂E/∂w5 = δ_o1 · out_h1 = 0.13850 · 0.59327 = 0.08217" in text
    assert "(out_o1 − 0.01) · out_o1·(1 − out_o1) · out_h1 = 0.74137 · 0.18682 · 0.59327 = 0.08217" in text
    assert "equal up to rounding" in text


def test_the_published_line_from_layers():
    model, loss = mazur_layers()
    text = str(mg.explain(loss, model[2].weight[0, 0]))
    assert "∂E/∂2.weight[0, 0] = δ²[0, 0] · a¹[0, 0] = 0.13850 · 0.59327 = 0.08217" in text
    assert text == str(mg.explain(loss, model[2].weight, index=(0, 0)))
    assert text == str(mg.explain(loss, model[2].weight, (0, -2)))
    assert text == str(mg.explain(loss, model[2].weight[0][0]))


# The article's ∂E/∂w1 … ∂E/∂w8: the last four are printed there, the first four follow from its new weights.
PUBLISHED = {
    "w1": (0.15 - 0.149780716) / 0.5,
    "w2": (0.20 - 0.19956143) / 0.5,
    "w3": (0.25 - 0.24975114) / 0.5,
    "w4": (0.30 - 0.29950229) / 0.5,
    "w5": 0.0821670406,
    "w6": 0.0826676278,
    "w7": -0.0226025405,
    "w8": -0.0227402422,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_gradients(name):
    loss, names = mazur_scalars()
    found = mg.explain(loss, names[name])
    assert found.gradient == pytest.approx(PUBLISHED[name], abs=2e-8)
    assert found.total == pytest.approx(found.gradient, rel=1e-14)
    assert len(found.paths) == (1 if name in {"w5", "w6", "w7", "w8"} else 2)


def test_two_paths_of_a_hidden_weight():
    loss, names = mazur_scalars()
    first, second = mg.explain(loss, names["w1"]).paths
    assert [term.above.text for term in first.terms] == ["E", "out_o1", "o1", "out_h1", "h1"]
    assert first.terms[-1].below.text == "w1"
    assert first.contribution == pytest.approx(0.74136507 * 0.186815602 * 0.4 * 0.241300709 * 0.05, rel=1e-7)
    assert second.contribution < 0


def test_every_edge_is_a_path():
    x = Tensor(3.0, True, name="x")
    found = mg.explain(x * x * x, x)
    assert [path.contribution for path in found.paths] == pytest.approx([9.0, 9.0, 9.0])
    b = x + x
    found = mg.explain(b + b, x)
    assert len(found.paths) == 4
    assert found.total == 4.0


def test_the_rest_is_counted_and_added_up():
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(4, 6, dtype=float, rng=rng), nn.Tanh(), nn.Linear(6, 5, dtype=float, rng=rng)
    )
    loss = nn.QuadraticLoss()(model(rng.standard_normal((3, 4))), rng.standard_normal((3, 5)))
    all_of_them = mg.explain(loss, model[0].weight[1, 2], limit=100)
    assert len(all_of_them.paths) == 3 * 5
    assert all_of_them.rest_count == 0
    some = mg.explain(loss, model[0].weight[1, 2], limit=4)
    assert some.rest_count == 11
    assert some.rest == pytest.approx(
        all_of_them.total - sum(path.contribution for path in some.paths), rel=1e-12
    )
    assert f"… and 11 more paths, together {some.rest:.5f}".replace("-", "−") in str(some)
    assert some.total == pytest.approx(some.gradient, rel=1e-13)
    sizes = [abs(path.contribution) for path in some.paths]
    assert sizes == sorted(sizes, reverse=True)


def test_too_many_paths_to_count_are_added_up_all_the_same(monkeypatch):
    monkeypatch.setattr("microgradnet.checking.explanation.MOST_PLACES", 5)
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(4, 6, dtype=float, rng=rng), nn.Tanh(), nn.Linear(6, 5, dtype=float, rng=rng)
    )
    loss = nn.MSELoss()(model(rng.standard_normal((9, 4))), rng.standard_normal((9, 5)))
    found = mg.explain(loss, model[0].weight[1, 2], limit=3)
    assert found.rest_count is None
    assert found.agrees
    assert "and the other paths, together" in str(found)


class Own(nn.Module):
    """Operators of many kinds, and a parameter that is used in several places."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.w = nn.Parameter(rng.standard_normal((4, 3)), dtype=float)
        self.scale = nn.Parameter(rng.standard_normal(3), dtype=float)

    def forward(self, x):
        h = (x @ self.w).tanh()
        h = h * self.scale + (h**2).sum(1, keepdims=True) / 3.5
        return mg.ops.softmax(h) - self.w[1:3, ::2].sum() * self.scale.exp()


MODELS = {
    "own": lambda rng: (Own(), nn.MSELoss(), rng.standard_normal((3, 4)), rng.standard_normal((3, 3))),
    "batch norm": lambda rng: (
        nn.Sequential(nn.Linear(4, 3, rng=rng), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2, rng=rng)),
        nn.CrossEntropyLoss(),
        rng.standard_normal((4, 4)),
        np.array([0, 1, 1, 0]),
    ),
    "layer norm": lambda rng: (
        nn.Sequential(nn.Linear(4, 3, rng=rng), nn.LayerNorm(3), nn.Sigmoid()),
        nn.BCELoss(),
        rng.standard_normal((2, 4)),
        rng.random((2, 3)),
    ),
    "embedding": lambda rng: (
        nn.Sequential(nn.Embedding(5, 4, rng=rng), nn.Linear(4, 2, rng=rng)),
        nn.L1Loss(),
        np.array([[1, 2, 0], [2, 2, 4]]),
        rng.standard_normal((2, 3, 2)),
    ),
    "dropout": lambda rng: (
        nn.Sequential(
            nn.Linear(4, 5, rng=rng), nn.Dropout(0.4, rng=rng), nn.Softplus(), nn.Linear(5, 2, rng=rng)
        ),
        nn.HuberLoss(),
        rng.standard_normal((3, 4)),
        rng.standard_normal((3, 2)),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_paths_add_up_to_the_gradient(name):
    model, loss_fn, x, y = MODELS[name](np.random.default_rng(7))
    model.astype(float)
    loss = loss_fn(model(x), y)
    loss.backward()
    for parameter in model.parameters():
        index = tuple([n // 2 for n in parameter.shape])
        found = mg.explain(loss, parameter, index, limit=5)
        assert parameter.grad is not None
        assert found.gradient == parameter.grad[index]
        scale = sum(abs(path.contribution) for path in found.paths) + abs(found.rest)
        assert abs(found.total - parameter.grad[index]) <= 1e-13 * scale
        assert found.agrees
        for path in found.paths:
            product = math.prod([term.value for term in path.terms])
            assert product == pytest.approx(path.contribution, rel=1e-12)
            for term in path.terms:
                if term.formula is not None:
                    assert float(term.formula.data) == pytest.approx(term.value, rel=1e-9)


def test_a_wrong_rule_is_seen_in_the_last_line():
    """The paths use the local derivatives, the gradient the sweep: a sweep that loses a term is noticed."""
    x = Tensor(3.0, True, name="x")
    y = x * x
    x.register_hook(lambda g: g * 0.5)
    found = mg.explain(y, x)
    assert not found.agrees
    assert "they differ by 3" in str(found)


def test_nothing_arrives():
    w = Tensor([2.0], True, name="w")
    found = mg.explain((w * -1.0).relu().sum(), w)
    assert found.paths == ()
    assert found.total == found.gradient == 0
    assert "No path has an effect." in str(found)


def test_an_entry_that_the_graph_uses_is_explained_as_such():
    w = Tensor([2.0, 3.0], True, name="w")
    entry = w[1]
    loss = entry * entry + w.sum()
    assert mg.explain(loss, entry).gradient == 6.0
    assert mg.explain(loss, w, 1).gradient == 7.0


def test_a_value_in_the_middle_can_be_explained():
    model, loss = mazur_layers()
    assert model is not None
    hidden = loss._node.parents[0].parents[0]  # z², computed
    middle = Tensor._box(hidden.y, hidden, [0])
    assert mg.explain(loss, middle, (0, 0)).gradient == pytest.approx(0.1384985, rel=1e-6)


def test_stale_values_are_refused():
    model, loss = mazur_layers()
    with mg.no_grad():
        model[2].weight[0, 0] = 7.0
    with pytest.raises(RuntimeError, match="changed in place"):
        mg.explain(loss, model[0].weight, (0, 0))


def test_nothing_is_left_behind():
    model, loss = mazur_layers()
    mg.explain(loss, model[0].weight[0, 0])
    assert all(p.grad is None for p in model.parameters())


def test_markdown_and_latex_render():
    mathtext = pytest.importorskip("matplotlib.mathtext", reason="matplotlib is not installed")
    parser = mathtext.MathTextParser("path")
    model, layers = mazur_layers()
    scalars, names = mazur_scalars()
    own = Own()
    other = nn.MSELoss()(own(np.ones((2, 4))), np.zeros((2, 3)))
    explained = [
        mg.explain(layers, model[0].weight, (0, 1)),
        mg.explain(scalars, names["w1"]),
        mg.explain(other, own.w, (1, 0), limit=3),
    ]
    for found in explained:
        formulas = [text for text, formula in found._lines(LATEX) if formula]
        assert formulas == re.findall(r"\$([^$]+)\$", found.markdown())
        for formula in formulas:
            parser.parse(f"${formula}$")
        rows = found.latex().splitlines()
        assert rows[0] == r"\begin{aligned}"
        assert [row[4:].removesuffix(r" \\") for row in rows[1:-1]] == formulas
        assert found._repr_latex_() == f"$$\n{found.latex()}\n$$"
        assert repr(found) == str(found)


def test_very_many_paths_take_no_time():
    x = Tensor(1.0, True, name="x")
    y = x
    for _ in range(60):
        y = y + y
    found = mg.explain(y, x)
    assert found.rest_count == 2**60 - 8
    assert found.total == found.gradient == 2.0**60
    end = y * 1.0
    y.name = "y"
    assert "δ_y" in str(mg.explain(end * end, x))


def test_a_long_chain_is_followed_and_shortened():
    x = Tensor(1.0, True, name="x")
    y = x
    for _ in range(300):
        y = (y * 1.0005).tanh() + y * 0.0001 if y is x else y * 1.002 + 0.01
    found = mg.explain(y, x)
    assert len(found.paths) == 2
    assert found.gradient == pytest.approx(found.total, rel=1e-11)
    assert found.total > 0.5
    assert len(str(found)) < 5000


def test_of_a_large_network_the_best_paths_are_found_and_the_rest_is_exact(monkeypatch):
    monkeypatch.setattr("microgradnet.checking.explanation.MOST_WAYS", 7)
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(4, 6, dtype=float, rng=rng), nn.Tanh(), nn.Linear(6, 5, dtype=float, rng=rng)
    )
    loss = nn.QuadraticLoss()(model(rng.standard_normal((9, 4))), rng.standard_normal((9, 5)))
    found = mg.explain(loss, model[0].weight[1, 2], limit=3)
    assert found.rest_count == 9 * 5 - 3
    assert found.total == pytest.approx(found.gradient, rel=1e-13)


def test_bad_input():
    model, loss = mazur_layers()
    weight = model[0].weight
    stranger = Tensor([1.0], True, name="stranger")
    cases = [
        (loss, weight, None, ValueError, "say which entry: w[0, 0] in place of w, or index=(0, 0)"),
        (loss, weight[0], None, ValueError, "the tensor has shape (2,)"),
        (
            loss,
            weight,
            (0, 2),
            IndexError,
            "index (0, 2) does not lead to one entry of a tensor of shape (2, 2)",
        ),
        (loss, weight, 0, IndexError, "index (0,) does not lead to one entry"),
        (loss, stranger, (0,), ValueError, "the loss does not depend on stranger"),
        (loss, stranger[0], None, ValueError, "the loss does not depend on index#"),
        (loss, Tensor([1.0]), (0,), ValueError, "the loss does not depend on this tensor"),
        (
            model(np.ones((1, 2))),
            weight,
            (0, 0),
            ValueError,
            "must be a single number that was computed, not shape (1, 2)",
        ),
        (Tensor(1.0, True), weight, (0, 0), ValueError, "not a tensor without a history"),
    ]
    for value, parameter, index, kind, message in cases:
        with pytest.raises(kind, match=re.escape(message)) as caught:
            mg.explain(value, parameter, index)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="limit must be at least 1, not 0"):
        mg.explain(loss, weight, (0, 0), limit=0)
