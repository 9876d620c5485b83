"""mg.derive: the equations of a model read as in the book, and evaluate to what backward() finds."""

import copy
import re
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import Primitive, Tensor, nn
from microgradnet.checking import derivation
from microgradnet.checking.notation import Notation

BOOK = """\
Sequential with QuadraticLoss

Forward
  z¹ = x W¹ᵀ + b¹                      (N, 30)           0: Linear
  a¹ = σ(z¹)                           (N, 30)           1: Sigmoid
  z² = a¹ W²ᵀ + b²                     (N, 10)           2: Linear
  a² = σ(z²)                           (N, 10)           3: Sigmoid
  C = 1 / (2N) · Σ (a² − y)²           ()

Backward, from the output to the input
  δ² = ∂C/∂z² = (a² − y) ⊙ σ′(z²) / N  (N, 10)    (BP1)
  ∂C/∂W² = δ²ᵀ a¹                      (10, 30)   (BP4)  2.weight
  ∂C/∂b² = Σₙ δ²                       (10,)      (BP3)  2.bias
  δ¹ = ∂C/∂z¹ = (δ² W²) ⊙ σ′(z¹)       (N, 30)    (BP2)
  ∂C/∂W¹ = δ¹ᵀ x                       (30, 784)  (BP4)  0.weight
  ∂C/∂b¹ = Σₙ δ¹                       (30,)      (BP3)  0.bias

Where
  σ′(z²) = a² ⊙ (1 − a²)               (N, 10)
  σ′(z¹) = a¹ ⊙ (1 − a¹)               (N, 30)

⊙ multiplies element by element; δˡ = ∂C/∂zˡ.
N is the number of examples; Σₙ sums over them."""


def linear(i, o):
    return nn.Linear(i, o, dtype=np.float64, rng=np.random.default_rng(i * o))


class Own(nn.Module):
    """Layers, operators and parameters of one's own."""

    def __init__(self) -> None:
        self.w = nn.Parameter(np.arange(12.0).reshape(4, 3) / 10)
        self.factor = nn.Parameter(np.ones(3))
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        h = (x @ self.w).tanh()
        return self.last(mg.ops.relu(h) * self.factor + 2.5 * h**2)


class Twice(nn.Module):
    """One layer used twice: the gradients of both uses add up."""

    def __init__(self) -> None:
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(self.layer(x).tanh())


def by_hand(p, t):
    """Return a loss without a class."""
    return ((p - t) ** 2).mean() + 0.5 * abs(p).sum()


def stack(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(linear(6, 5), *layers, linear(5, 3))


MODELS: dict[str, tuple[nn.Module, Any, dict[str, Any]]] = {
    "book": (nn.Sequential(linear(6, 5), nn.Sigmoid(), linear(5, 3), nn.Sigmoid()), nn.QuadraticLoss(), {}),
    "tanh, mse": (stack(nn.Tanh()), nn.MSELoss(), {}),
    "relu, softmax": (stack(nn.ReLU()), nn.CrossEntropyLoss(), {}),
    "smoothed": (stack(nn.ReLU()), nn.CrossEntropyLoss(label_smoothing=0.1), {}),
    "weights": (stack(nn.ReLU()), nn.CrossEntropyLoss(np.array([1.0, 2.0, 3.0])), {}),
    "summed": (stack(nn.ReLU()), nn.CrossEntropyLoss(reduction="sum"), {}),
    "leaky, bce": (stack(nn.LeakyReLU(0.2)), nn.BCEWithLogitsLoss(), {}),
    "bce, batchmean": (stack(nn.Tanh()), nn.BCEWithLogitsLoss(reduction="batchmean"), {}),
    "elu, l1": (stack(nn.ELU()), nn.L1Loss(), {}),
    "softplus, huber": (stack(nn.Softplus()), nn.HuberLoss(), {}),
    "gelu, nll": (nn.Sequential(linear(6, 5), nn.GELU(), linear(5, 3), nn.LogSoftmax()), nn.NLLLoss(), {}),
    "softmax, mse": (nn.Sequential(linear(6, 3), nn.Softmax()), nn.MSELoss(), {}),
    "sigmoid, bce": (nn.Sequential(linear(6, 3), nn.Sigmoid()), nn.BCELoss(), {}),
    "batch norm": (stack(nn.BatchNorm1d(5), nn.ReLU()), nn.MSELoss(), {}),
    "running": (stack(nn.BatchNorm1d(5)).eval(), nn.MSELoss(), {}),
    "norm first": (nn.Sequential(nn.BatchNorm1d(6), linear(6, 3)), nn.MSELoss(), {}),
    "layer norm": (stack(nn.LayerNorm(5), nn.Tanh(), nn.LayerNorm(5)), nn.MSELoss(), {}),
    "no bias": (nn.Sequential(nn.Linear(6, 3, bias=False)), nn.MSELoss(), {}),
    "flatten": (nn.Sequential(nn.Flatten(), linear(6, 3)), nn.MSELoss(), {"x": np.ones((4, 2, 3))}),
    "embedding": (nn.Sequential(nn.Embedding(7, 5), linear(5, 3)), nn.MSELoss(), {}),
    "convolution": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)),
        nn.CrossEntropyLoss(),
        {"x": np.random.default_rng(4).random((2, 1, 8, 8))},
    ),
    "own": (Own(), by_hand, {"x": np.linspace(-1, 1, 20).reshape(5, 4)}),
    "twice": (Twice(), nn.MSELoss(), {}),
    "vector": (Own(), lambda p, t: ((p - t) ** 2).sum(), {"x": np.linspace(-1, 1, 4), "y": np.ones(2)}),
}


def gradients_of(found):
    """Return ∂C/∂(parameter) as the derived formulas evaluate, by path."""
    return {e.path: e.formula.data for e in found.equations if e.part == "backward" and e.path}


def test_it_reads_as_the_book():
    model = nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    assert str(mg.derive(model, nn.QuadraticLoss())) == BOOK


@pytest.mark.parametrize("name", MODELS)
def test_the_equations_evaluate_to_the_gradient(name, monkeypatch):
    model, loss_fn, given = MODELS[name]
    runs: list[Any] = []
    make = derivation._Run

    def kept(*args):
        runs.append(make(*args))
        return runs[-1]

    monkeypatch.setattr(derivation, "_Run", kept)
    found = gradients_of(mg.derive(model, loss_fn, **given))
    run = runs[-1]  # the same batch, through the ordinary engine
    other = copy.deepcopy(model).astype(np.float64)
    target = run.y.data
    loss = loss_fn(other(Tensor(run.x.data)), Tensor(target) if target.dtype.kind == "f" else target)
    loss.backward()
    expected = {path: p.grad for path, p in other.named_parameters()}
    assert sorted(found) == sorted(expected)
    for path, value in expected.items():
        assert value is not None
        np.testing.assert_allclose(np.broadcast_to(found[path], value.shape), value, rtol=1e-10, atol=1e-13)


def evaluate(formula, known):
    """Compute a formula anew from the values of its names."""
    if formula.label is not None:
        return known.get(formula.label.text, formula.data)
    if formula.number is not None:
        return formula.data
    return formula.primitive.forward(*[evaluate(x, known) for x in formula.operands], **formula.meta)


@pytest.mark.parametrize("name", MODELS)
def test_the_formulas_that_are_shown_give_the_values(name):
    """What is printed was simplified; computed from the printed names alone it must give the same."""
    model, loss_fn, given = MODELS[name]
    found = mg.derive(model, loss_fn, **given)
    for equation in found.equations:
        if "rule" in equation.text():
            continue
        shown = evaluate(equation.formula, {})
        np.testing.assert_allclose(
            np.broadcast_to(shown, equation.shape),
            np.broadcast_to(equation.formula.data, equation.shape),
            rtol=1e-9,
            atol=1e-13,
            err_msg=equation.text(),
        )


def test_dropout_uses_its_mask():
    text = str(mg.derive(stack(nn.ReLU(), nn.Dropout(0.2)), nn.CrossEntropyLoss()))
    assert "d¹ = a¹ ⊙ m¹" in text
    assert "δ¹ = ∂C/∂z¹ = (δ² W²) ⊙ m¹ ⊙ relu′(z¹)" in text
    assert "relu′(z¹) = [a¹ > 0]" in text
    assert "m¹" not in str(mg.derive(stack(nn.ReLU(), nn.Dropout(0.2)).eval(), nn.CrossEntropyLoss()))


LINES = {
    "relu, softmax": ["C = −1 / N · Σ y ⊙ ln softmax(z²)", "δ² = ∂C/∂z² = (softmax(z²) − y) / N"],
    "leaky, bce": ["δ² = ∂C/∂z² = (σ(z²) − y) / (3N)", "lrelu′(z¹) = where([z¹ > 0], 1, 0.2)"],
    "tanh, mse": ["C = 1 / (3N) · Σ (z² − y)²", "δ² = ∂C/∂z² = 2·(z² − y) / (3N)", "tanh′(z¹) = 1 − (a¹)²"],
    "elu, l1": ["C = 1 / (3N) · Σ |z² − y|", "δ² = ∂C/∂z² = sign(z² − y) / (3N)"],
    "softmax, mse": ["δ¹ = ∂C/∂z¹ = a¹ ⊙ (δ_a¹ − Σₖ δ_a¹ ⊙ a¹)"],
    "batch norm": [
        "x̂¹ = (z¹ − μ¹) / √(v¹ + 10⁻⁵)",
        "δ¹ = ∂C/∂z¹ = (δ_x̂¹ − meanₙ(δ_x̂¹) − x̂¹ ⊙ meanₙ(δ_x̂¹ ⊙ x̂¹)) / √(v¹ + 10⁻⁵)",
        "∂C/∂γ¹ = Σₙ δ_n¹ ⊙ x̂¹",
    ],
    "flatten": ["f⁰ = reshape(x, (N, 6))"],
    "embedding": ["∂C/∂0.weight = scatter("],
    "convolution": [
        "z¹ = conv2d(x, W¹, b¹)",
        "p¹ = max_pool2d(a¹, kernel=(2, 2), stride=(2, 2))",
        "∂C/∂W¹ = conv2d_weight(δ¹, x, kernel=(3, 3))",
        "∂C/∂b¹ = Σₙⱼₖ δ¹",
    ],
    "own": ["u₁ = x w", "∂C/∂factor = Σₙ", "last: Linear"],
    "twice": ["W¹"],
}


@pytest.mark.parametrize("name", LINES)
def test_the_lines_of_a_layer(name):
    model, loss_fn, given = MODELS[name]
    text = str(mg.derive(model, loss_fn, **given))
    assert [line for line in LINES[name] if line not in text] == [], text


def test_an_operation_of_ones_own_is_read_by_its_rule():
    cube = Primitive("cube", lambda x: x**3, lambda g, _y, x: g * 3 * np.square(x))

    class Cube(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter([2.0])

        def forward(self, x):
            return cube(x * self.w)

    found = mg.derive(Cube(), lambda p, _t: p.sum(), x=np.ones((4, 1)))
    assert "∂C/∂w = Σₙ 3·(u₁)² ⊙ x" in str(found) or "∂C/∂w = Σₙ 3·(x ⊙ w)² ⊙ x" in str(found), str(found)


def test_a_rule_that_needs_numbers_is_named_and_not_guessed():
    step = Primitive("step", lambda x: x * 2.0, lambda g, _y, x: g * (2.0 if float(x.sum()) > -1e9 else 1.0))

    class Step(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter([2.0])

        def forward(self, x):
            return step(x * self.w)

    text = str(mg.derive(Step(), lambda p, _t: p.sum(), x=np.ones((4, 1))))
    assert "step_rule0(" in text


def test_the_model_and_the_generators_stay_as_they_were():
    mg.manual_seed(3)
    expected = mg.ops.generator().bit_generator.state
    own = np.random.default_rng(5)
    model = nn.Sequential(
        nn.Linear(3, 4, rng=own), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Dropout(0.5, rng=own)
    )
    before, state = model.state_dict(), copy.deepcopy(own.bit_generator.state)
    mg.manual_seed(3)
    mg.derive(model, nn.MSELoss())
    assert mg.ops.generator().bit_generator.state == expected
    assert own.bit_generator.state == state
    assert all((before[name] == value).all() for name, value in model.state_dict().items())
    assert all(p.grad is None and p.dtype == np.float32 for p in model.parameters())


def test_frozen_parameters_have_no_equation():
    model = stack(nn.Tanh())
    model[0].weight.requires_grad = model[0].bias.requires_grad = False
    text = str(mg.derive(copy.deepcopy(model), nn.MSELoss()))
    assert "∂C/∂W²" in text
    assert "∂C/∂W¹" not in text


@pytest.mark.parametrize("name", MODELS)
def test_the_latex_renders(name):
    mathtext = pytest.importorskip("matplotlib.mathtext", reason="matplotlib is not installed")
    parser = mathtext.MathTextParser("path")
    model, loss_fn, given = MODELS[name]
    found = mg.derive(model, loss_fn, **given)
    formulas = [e.text(Notation(latex=True, batch=97)) for e in found.equations]
    formulas += re.findall(r"\$([^$]+)\$", found.markdown())
    assert len(formulas) == 2 * len(found.equations)
    for formula in formulas:
        parser.parse(f"${formula}$")
    latex = found.latex()
    assert latex.startswith("\\begin{aligned}")
    assert latex.count("&=") == len(found.equations)
    for left, right in (("{", "}"), (r"\left", r"\right")):
        assert latex.count(left) - latex.count(r"\leq") * (left == r"\left") == latex.count(right)
    assert found._repr_latex_() == f"$$\n{latex}\n$$"
    assert found._repr_markdown_() == found.markdown()


def test_the_parser_of_latex_would_notice():
    mathtext = pytest.importorskip("matplotlib.mathtext", reason="matplotlib is not installed")
    with pytest.raises(ValueError, match="Expected"):
        mathtext.MathTextParser("path").parse(r"$\frac{a}{b$")


BAD: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "no module": (np.tanh, nn.MSELoss(), {}, TypeError, "the model is ufunc, expected an nn.Module"),
    "no parameters": (nn.ReLU(), nn.MSELoss(), {}, ValueError, "ReLU has no parameters that train"),
    "no size": (Own(), nn.MSELoss(), {"x": None}, ValueError, "give an example batch"),
    "wrong size": (stack(), nn.MSELoss(), {"x": np.ones((2, 9))}, ValueError, "expects 6 features"),
    "not scalar": (stack(), nn.MSELoss(reduction="none"), {}, ValueError, "the loss must be a single number"),
    "no tensor": (stack(), lambda _p, _t: 1.0, {}, ValueError, "this one is float"),
    "independent": (stack(), lambda _p, t: (t * t).sum(), {}, ValueError, "does not depend on any parameter"),
    "label out of range": (
        nn.Sequential(nn.Linear(4, 2)),
        nn.CrossEntropyLoss(),
        {"x": np.ones((2, 4)), "y": [0, 5]},
        IndexError,
        "label 5 at position 1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    model, loss_fn, given, kind, message = BAD[name]
    with pytest.raises(kind, match=re.escape(message)) as caught:
        mg.derive(model, loss_fn, **given)
    assert "\n" not in str(caught.value)
