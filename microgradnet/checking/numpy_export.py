"""export_numpy: one training step of a model as the NumPy script that one would have written by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from microgradnet.graph import Array

SUPPORTED = (
    "Linear, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, Softplus, Softmax, LogSoftmax, Dropout, Flatten, "
    "BatchNorm1d, LayerNorm, in nn.Sequential"
)
SUPPORTED_LOSSES = (
    "QuadraticLoss, MSELoss, L1Loss, HuberLoss, BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss"
)
LONGEST_LINE = 100
WIDTH = 40  # columns before a comment
HELPERS = {
    "sigmoid": '''
def sigmoid(z):
    """1 / (1 + e^-z), without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)
''',
    "softplus": '''
def softplus(z):
    """ln(1 + e^z), without overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
''',
    "softmax": '''
def softmax(z):
    """e^z / sum of e^z, of every row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
''',
    "log_softmax": '''
def log_softmax(z):
    """z - ln(sum of e^z), of every row."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))
''',
    "draw": '''
def draw(masks, name, shape, p, rng):
    """The mask that was given, or a new one, which is kept: 0 with probability p, else 1 / (1 - p)."""
    if name not in masks:
        masks[name] = ((rng.random(shape) >= p) / (1 - p)).astype(FLOAT)
    return masks[name]
''',
}


def export_numpy(model: nn.Module, loss_fn: Any, path: str | PathLike[str] | None = None) -> str:
    """Return a NumPy script of one training step: forward, backward by the δ equations, SGD update.

    The script needs NumPy alone and reads like one that was written by hand: W1, b1, z1, a1, delta1, dW1,
    db1, with the book's tags (BP1) to (BP4). Its gradients are those of ``loss_fn(model(x), y).backward()``.
    A model in training mode is exported with dropout and the statistics of the batch, one in ``eval()``
    without dropout and with the running statistics. Parameters that are frozen get no gradient.

    With ``path`` the script is written there, and the model's parameters beside it (``step.py``,
    ``step.npz``); the script loads them, and where they are missing begins from a seed. ``python step.py
    [DATA.npz [GRADIENTS.npz]]`` takes one step on ``x`` and ``y`` (and dropout masks ``m1``, …) of a file, or
    on made-up ones.

    A layer or loss that cannot be exported is a ValueError that names it and says what can.

    Source of the equations: Nielsen, *Neural Networks and Deep Learning*, chapter 2, for batches of rows.

    >>> from microgradnet import nn
    >>> script = export_numpy(nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), nn.QuadraticLoss())
    >>> print(script[script.index("    # Forward") : script.index("    return loss")])
        # Forward
        z1 = x @ W1.T + b1
        a1 = sigmoid(z1)
        loss = 0.5 * np.sum((a1 - y) ** 2) / N
    <BLANKLINE>
        # Backward
        delta1 = (a1 - y) / N * a1 * (1 - a1)     # (BP1)
        dW1 = delta1.T @ x                        # (BP4)
        db1 = delta1.sum(axis=0)                  # (BP3)
    <BLANKLINE>
    """
    script = _Script(model, loss_fn)
    text = script.text()
    if path is not None:
        target = Path(path)
        if target.suffix != ".py":
            raise ValueError(f"export_numpy: the script's name must end in .py, not {target.name!r}")
        target.write_text(text, encoding="utf-8")
        np.savez(target.with_suffix(".npz"), allow_pickle=False, **script.arrays)
    return text


@dataclass
class _Expression:
    """A piece of NumPy code, and whether it needs brackets before a further factor."""

    code: str
    loose: bool = False

    def factor(self) -> str:
        return f"({self.code})" if self.loose else self.code


@dataclass
class _Script:
    """Walks the layers forward, then back, and writes a line or two for each."""

    model: nn.Module
    loss_fn: Any
    arrays: dict[str, Array] = field(default_factory=dict)
    """The parameters and running statistics, by their names in the script."""

    def __post_init__(self) -> None:
        self.layers = _flat(self.model)
        self.forward: list[str] = []
        self.backward: list[
            Callable[[_Expression], _Expression]
        ] = []  # one per layer; they append to `lines`
        self.lines: list[str] = []
        self.initial: list[str] = []
        self.helpers: list[str] = []
        self.trained: list[str] = []
        self.used: dict[str, int] = {}
        self.layer = 0
        self.width: int | None = None
        self.inputs: int | None = None
        self.value = "x"
        self.masks = False
        self.before = True  # no parameter has been met yet: nothing needs a gradient
        self.seen: set[int] = set()
        for path, layer in self.layers:
            _WRITERS[type(layer)](self, path, layer)
        if not self.trained:
            raise ValueError(f"export_numpy: {type(self.model).__name__} has no parameters that train")
        g = self._loss()
        for step in reversed(self.backward):
            g = step(g)

    # ------------------------------------------------------------------ pieces

    def fresh(self, base: str) -> str:
        """Return a1, or a1_2 where that is taken."""
        name = f"{base}{self.layer}"
        self.used[name] = count = self.used.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def need(self, helper: str) -> None:
        if helper not in self.helpers:
            self.helpers.append(helper)

    def line(self, code: str, comment: str = "") -> None:
        """Add a line of the backward pass."""
        self.lines.append(f"{code:<{WIDTH}}  # {comment}" if comment else code)

    def parameter(self, name: str, path: str, tensor: Any, initial: str) -> bool:
        """Note a parameter and how it begins; returns whether it is trained."""
        if id(tensor) in self.seen:
            raise ValueError(
                f"export_numpy: '{path}' is shared by two layers, which the script cannot express"
            )
        self.seen.add(id(tensor))
        self.arrays[name] = tensor.data.copy()
        self.initial.append(f'"{name}": {initial},')
        if tensor.requires_grad:
            self.trained.append(name)
            self.before = False
        return bool(tensor.requires_grad)

    def elementwise(self, value: str, slope: str) -> None:
        """Write an activation: its value and the factor that it puts on the gradient."""
        name, needed = self.fresh("a"), not self.before
        z, self.value = self.value, name
        self.forward.append(f"{name} = {value.format(z=z, a=name)}")
        self.backward.append(
            lambda g: _Expression(f"{g.factor()} * {slope.format(z=z, a=name)}") if needed else g
        )

    # ------------------------------------------------------------------ layers

    def linear(self, path: str, layer: nn.Linear) -> None:
        self.layer += 1
        n, x, out = self.layer, self.value, f"z{self.layer}"
        self.inputs, self.width = self.inputs or layer.in_features, layer.out_features
        inner = not self.before  # the gradient goes on to an earlier parameter
        shape = f"({layer.out_features}, {layer.in_features})"
        bound = f"np.sqrt({layer.in_features})"
        trains_w = self.parameter(
            f"W{n}", f"{path}.weight", layer.weight, f"rng.uniform(-1, 1, {shape}) / {bound}"
        )
        trains_b = layer.bias is not None and self.parameter(
            f"b{n}", f"{path}.bias", layer.bias, f"rng.uniform(-1, 1, {layer.out_features}) / {bound}"
        )
        self.forward.append(f"{out} = {x} @ W{n}.T" + (f" + b{n}" if layer.bias is not None else ""))
        self.value = out

        def back(g: _Expression) -> _Expression:
            if not (inner or trains_w or trains_b):
                return g
            first = not any("(BP1)" in line for line in self.lines)
            self.line(f"delta{n} = {g.code}", "(BP1)" if first else "(BP2)")
            if trains_w:
                self.line(f"dW{n} = delta{n}.T @ {x}", "(BP4)")
            if trains_b:
                self.line(f"db{n} = delta{n}.sum(axis=0)", "(BP3)")
            return _Expression(f"delta{n} @ W{n}", loose=True)

        self.backward.append(back)

    def sigmoid(self, _path: str, _layer: nn.Sigmoid) -> None:
        self.need("sigmoid")
        self.elementwise("sigmoid({z})", "{a} * (1 - {a})")

    def tanh(self, _path: str, _layer: nn.Tanh) -> None:
        self.elementwise("np.tanh({z})", "(1 - {a} ** 2)")

    def relu(self, _path: str, _layer: nn.ReLU) -> None:
        self.elementwise("np.maximum({z}, 0)", "({z} > 0)")

    def leaky_relu(self, _path: str, layer: nn.LeakyReLU) -> None:
        s = layer.negative_slope
        self.elementwise(f"np.where({{z}} > 0, {{z}}, {s} * {{z}})", f"np.where({{z}} > 0, 1, {s})")

    def elu(self, _path: str, layer: nn.ELU) -> None:
        s = layer.alpha
        value = f"np.where({{z}} > 0, {{z}}, {s} * np.expm1(np.minimum({{z}}, 0)))"
        self.elementwise(value, f"np.where({{z}} > 0, 1, {{a}} + {s})")

    def softplus(self, _path: str, _layer: nn.Softplus) -> None:
        self.need("sigmoid")
        self.need("softplus")
        self.elementwise("softplus({z})", "sigmoid({z})")

    def softmax(self, path: str, layer: nn.Softmax | nn.LogSoftmax) -> None:
        if layer.dim not in {-1, 1}:
            raise ValueError(
                f"export_numpy: layer '{path}' {layer!r}: only dim=1, the classes, can be exported"
            )
        logs = isinstance(layer, nn.LogSoftmax)
        self.need("log_softmax" if logs else "softmax")
        name, needed = self.fresh("a"), not self.before
        self.forward.append(f"{name} = {'log_' * logs}softmax({self.value})")
        self.value = name

        def back(g: _Expression) -> _Expression:
            if not needed:
                return g
            self.line(f"d{name} = {g.code}")
            if logs:
                code = f"d{name} - np.exp({name}) * d{name}.sum(axis=1, keepdims=True)"
                return _Expression(code, loose=True)
            return _Expression(f"{name} * (d{name} - (d{name} * {name}).sum(axis=1, keepdims=True))")

        self.backward.append(back)

    def dropout(self, _path: str, layer: nn.Dropout) -> None:
        if not layer.training or layer.p == 0:
            return
        self.need("draw")
        self.masks = True
        mask, name, needed = self.fresh("m"), self.fresh("d"), not self.before
        self.forward.append(f'{mask} = draw(masks, "{mask}", {self.value}.shape, {layer.p}, rng)')
        self.forward.append(f"{name} = {self.value} * {mask}")
        self.value = name
        self.backward.append(lambda g: _Expression(f"{g.factor()} * {mask}") if needed else g)

    def flatten(self, _path: str, _layer: nn.Flatten) -> None:
        x, name, needed = self.value, self.fresh("f"), not self.before
        self.forward.append(f"{name} = {x}.reshape(N, -1)")
        self.value = name
        self.backward.append(lambda g: _Expression(f"({g.code}).reshape({x}.shape)") if needed else g)

    def normalisation(self, path: str, layer: nn.BatchNorm1d | nn.LayerNorm) -> None:
        batch = isinstance(layer, nn.BatchNorm1d)
        size = layer.num_features if isinstance(layer, nn.BatchNorm1d) else math.prod(layer.normalized_shape)
        if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) != 1:
            raise ValueError(
                f"export_numpy: layer '{path}' {layer!r}: only one axis, the features, can be exported"
            )
        self.inputs, self.width = self.inputs or size, self.width or size
        inner, x = not self.before, self.value
        gamma, beta = self.fresh("gamma"), self.fresh("beta")
        mean, variance, std = self.fresh("mean"), self.fresh("var"), self.fresh("std")
        hat, name = self.fresh("xhat"), self.fresh("n")
        trains = [
            self.parameter(gamma, f"{path}.weight", layer.weight, f"np.ones({size})"),
            self.parameter(beta, f"{path}.bias", layer.bias, f"np.zeros({size})"),
        ]
        axis = "axis=0" if batch else "axis=1, keepdims=True"
        running = isinstance(layer, nn.BatchNorm1d) and not layer.training
        if isinstance(layer, nn.BatchNorm1d):
            self._running(layer, mean, variance, x, axis, size)
        else:
            self.forward += [f"{mean} = {x}.mean({axis})", f"{variance} = {x}.var({axis})"]
        self.forward += [
            f"{std} = np.sqrt({variance} + {layer.eps})",
            f"{hat} = ({x} - {mean}) / {std}",
            f"{name} = {gamma} * {hat} + {beta}",
        ]
        self.value = name

        def back(g: _Expression) -> _Expression:
            if not (inner or any(trains)):
                return g
            self.line(f"d{name} = {g.code}")
            if trains[0]:
                self.line(f"d{gamma} = (d{name} * {hat}).sum(axis=0)")
            if trains[1]:
                self.line(f"d{beta} = d{name}.sum(axis=0)")
            if not inner:
                return g
            if running:
                return _Expression(f"d{name} * {gamma} / {std}")
            self.line(f"d{hat} = d{name} * {gamma}")
            self.line(f"common = d{hat}.mean({axis}) + {hat} * (d{hat} * {hat}).mean({axis})")
            code = f"(d{hat} - common) / {std}"
            if x.startswith("z"):  # the linear layer calls it delta
                return _Expression(code)
            self.line(f"d{x} = {code}")
            return _Expression(f"d{x}")

        self.backward.append(back)

    def _running(self, layer: nn.BatchNorm1d, mean: str, variance: str, x: str, axis: str, size: int) -> None:
        """Write the statistics of batch norm: the batch's in training, which the running ones follow."""
        running = {f"running_{mean}": layer.running_mean, f"running_{variance}": layer.running_var}
        for (name, tensor), start in zip(running.items(), ("zeros", "ones"), strict=True):
            self.arrays[name] = tensor.data.copy()
            self.initial.append(f'"{name}": np.{start}({size}),')
        if not layer.training:
            self.forward += [f'{mean} = p["running_{mean}"]', f'{variance} = p["running_{variance}"]']
            return
        m, unbiased = layer.momentum, f"{variance} * N / (N - 1)"
        self.forward += [
            f"{mean} = {x}.mean({axis})",
            f"{variance} = {x}.var({axis})",
            f'p["running_{mean}"] = {1 - m:g} * p["running_{mean}"] + {m:g} * {mean}',
            f'p["running_{variance}"] = {1 - m:g} * p["running_{variance}"] + {m:g} * {unbiased}',
        ]

    # ------------------------------------------------------------------ losses

    def _loss(self) -> _Expression:
        """Write the loss, and return ∂C/∂(the model's output)."""
        loss, a = self.loss_fn, self.value
        kind = type(loss)
        if kind not in _LOSSES:
            name = kind.__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", repr(loss))
            raise ValueError(
                f"export_numpy: the loss {name} cannot be exported; these can: {SUPPORTED_LOSSES}"
            )
        if loss.reduction == "none":
            raise ValueError(
                f"export_numpy: {kind.__name__} with reduction='none' is no single number; "
                "use 'mean', 'batchmean' or 'sum'"
            )
        if getattr(loss, "weight", None) is not None:
            raise ValueError(
                f"export_numpy: {kind.__name__} with class weights cannot be exported; leave them out"
            )
        per_example = kind in {nn.QuadraticLoss, nn.CrossEntropyLoss, nn.NLLLoss}
        share = {"sum": "", "batchmean": " / N", "mean": " / N" if per_example else f" / {a}.size"}[
            loss.reduction
        ]
        before, value, slope, helpers = _LOSSES[kind](loss)
        for helper in helpers:
            self.need(helper)
        classes = {"a": a, "classes": self.width}
        self.forward += [line.format(**classes) for line in before]
        self.forward.append(f"loss = {value.format(**classes)}{share}")
        code = slope.format(**classes)
        return _Expression(f"({code}){share}" if share else code, loose=not share)

    # ------------------------------------------------------------------ the script

    def text(self) -> str:
        """Put the parts together."""
        kind = f"{type(self.model).__name__} with {type(self.loss_fn).__name__}"
        names = list(self.arrays)
        unpacked = [f'{name} = p["{name}"]' for name in names if not name.startswith("running_")]
        labels = isinstance(self.loss_fn, (nn.CrossEntropyLoss, nn.NLLLoss))
        target = f"rng.integers({self.width}, size=8)" if labels else f"rng.random((8, {self.width}))"
        extra, passed = (", masks, rng", ", masks, rng") if self.masks else ("", "")
        masks = [
            '    masks = {name: data[name].astype(FLOAT) for name in data if name.startswith("m")}'
        ] * self.masks
        pairs = [f'"{name}": d{name}' for name in self.trained]
        returned = [f"    return loss, {{{', '.join(pairs)}}}"]
        if len(returned[0]) > LONGEST_LINE:
            returned = ["    return loss, {", *[f"        {pair}," for pair in pairs], "    }"]
        body = [
            f'"""One step of backpropagation by hand, in NumPy alone: {kind}.',
            "",
            "    python STEP.py                            made-up data",
            "    python STEP.py DATA.npz                   x and y from a file"
            + ", and masks m1, …" * self.masks,
            "    python STEP.py DATA.npz GRADIENTS.npz     … and write the loss and the gradients to a file",
            "",
            "Every row of a batch is an example, N is their number. dW1 is the derivative of the loss by W1,",
            "delta1 that by z1. (BP1) to (BP4) are the equations of Nielsen, Neural Networks and Deep",
            "Learning, chapter 2.",
            "The parameters come from the .npz file that lies beside this script, or else from a seed.",
            '"""',
            "",
            "import sys",
            "from pathlib import Path",
            "",
            "import numpy as np",
            "",
            f"FLOAT = np.{next(iter(self.arrays.values())).dtype}",
            "LEARNING_RATE = 0.1",
            "",
            "",
            "def initialise(seed=0):",
            '    """Random parameters, as the layers begin with."""',
            "    rng = np.random.default_rng(seed)",
            "    p = {",
            *[f"        {line}" for line in self.initial],
            "    }",
            "    return {name: value.astype(FLOAT) for name, value in p.items()}",
            "",
            *[line for helper in self.helpers for line in [*HELPERS[helper].splitlines(), ""]],
            "",
            f"def gradients(p, x, y{extra}):",
            '    """The loss of a batch, and its derivative by every parameter."""',
            "    N = len(x)",
            *[f"    {line}" for line in unpacked],
            "",
            "    # Forward",
            *[f"    {line}" for line in self.forward],
            "",
            "    # Backward",
            *[f"    {line}" for line in self.lines],
            "",
            *returned,
            "",
            "",
            "def update(p, gradient):",
            '    """Stochastic gradient descent: every parameter goes against its gradient, in place."""',
            "    for name, g in gradient.items():",
            "        p[name] -= LEARNING_RATE * g",
            "",
            "",
            "def main(arguments):",
            '    """Take one step, and say what it did to the loss."""',
            '    saved = Path(__file__).with_suffix(".npz")',
            "    p = dict(np.load(saved)) if saved.exists() else initialise()",
            "    rng = np.random.default_rng(1)",
            f'    made_up = {{"x": rng.random((8, {self.inputs})), "y": {target}}}',
            "    data = dict(np.load(arguments[0])) if arguments else made_up",
            '    x, y = data["x"].astype(FLOAT), data["y"]' + ("" if labels else ".astype(FLOAT)"),
            *masks,
            f"    before, gradient = gradients(p, x, y{passed})",
            "    if len(arguments) > 1:",
            '        np.savez(arguments[1], loss=before, **{"d" + name: g for name, g in gradient.items()})',
            "    update(p, gradient)",
            f"    after, _ = gradients(p, x, y{passed})",
            '    print(f"loss {before:.6f}, after one step {after:.6f}")',
            "",
            "",
            'if __name__ == "__main__":',
            "    main(sys.argv[1:])",
        ]
        return "\n".join(body) + "\n"


def _flat(model: nn.Module, lead: str = "") -> list[tuple[str, nn.Module]]:
    """Return the layers of nested Sequentials in order, with their paths."""
    if type(model) is nn.Sequential:
        found = []
        for i, layer in enumerate(model):
            found += _flat(layer, f"{lead}{i}.")
        return found
    path = lead.removesuffix(".")
    if type(model) not in _WRITERS:
        where = f"layer '{path}' " if path else "the model "
        shown = f"{type(model).__name__}({model.extra_repr()})"
        raise ValueError(f"export_numpy: {where}{shown} cannot be exported; these can: {SUPPORTED}")
    return [(path, model)]


_WRITERS: dict[type, Callable[[_Script, str, Any], None]] = {
    nn.Linear: _Script.linear,
    nn.Sigmoid: _Script.sigmoid,
    nn.Tanh: _Script.tanh,
    nn.ReLU: _Script.relu,
    nn.LeakyReLU: _Script.leaky_relu,
    nn.ELU: _Script.elu,
    nn.Softplus: _Script.softplus,
    nn.Softmax: _Script.softmax,
    nn.LogSoftmax: _Script.softmax,
    nn.Dropout: _Script.dropout,
    nn.Flatten: _Script.flatten,
    nn.BatchNorm1d: _Script.normalisation,
    nn.LayerNorm: _Script.normalisation,
}


def _class_loss(loss: Any) -> tuple[list[str], str, str, list[str]]:
    rows = ["Y = np.eye({classes}, dtype={a}.dtype)[y] if y.ndim == 1 else y.astype({a}.dtype)"]
    if isinstance(loss, nn.NLLLoss):
        rows = ["Y = np.eye({classes}, dtype={a}.dtype)[y]"]
        return rows, "-np.sum(Y * {a})", "-Y", []
    smooth = loss.label_smoothing
    if smooth:
        rows.append(f"Y = Y * {1 - smooth} + {smooth} / {{classes}}")
    slope = "softmax({a}) * Y.sum(axis=1, keepdims=True) - Y"
    return rows, "-np.sum(Y * log_softmax({a}))", slope, ["softmax", "log_softmax"]


def _huber(loss: Any) -> tuple[list[str], str, str, list[str]]:
    d = loss.delta
    value = f"np.sum(np.where(np.abs(e) <= {d}, 0.5 * e**2, {d} * (np.abs(e) - 0.5 * {d})))"
    return ["e = {a} - y"], value, f"np.clip(e, -{d}, {d})", []


_LOSSES: dict[type, Callable[[Any], tuple[list[str], str, str, list[str]]]] = {
    # the lines before, the loss and its derivative by the output, both before averaging, and helpers
    nn.QuadraticLoss: lambda _: ([], "0.5 * np.sum(({a} - y) ** 2)", "{a} - y", []),
    nn.MSELoss: lambda _: ([], "np.sum(({a} - y) ** 2)", "2 * ({a} - y)", []),
    nn.L1Loss: lambda _: ([], "np.sum(np.abs({a} - y))", "np.sign({a} - y)", []),
    nn.HuberLoss: _huber,
    nn.BCELoss: lambda _: (
        [
            'with np.errstate(divide="ignore"):  # ln 0 counts as -100',
            "    ln_a, ln_1a = np.maximum(np.log({a}), -100), np.maximum(np.log1p(-{a}), -100)",
        ],
        "-np.sum(y * ln_a + (1 - y) * ln_1a)",
        "({a} - y) / np.maximum({a} * (1 - {a}), 1e-12)",
        [],
    ),
    nn.BCEWithLogitsLoss: lambda _: (
        [],
        "np.sum(softplus({a}) - y * {a})",
        "sigmoid({a}) - y",
        ["sigmoid", "softplus"],
    ),
    nn.CrossEntropyLoss: _class_loss,
    nn.NLLLoss: _class_loss,
}
