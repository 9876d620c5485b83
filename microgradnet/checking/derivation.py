"""derive: the backprop equations of a model, found by feeding its gradient rules with symbols."""

from __future__ import annotations

import copy
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import nn, ops
from microgradnet.backprop import sweep
from microgradnet.checking import composites
from microgradnet.checking.made_up_batch import made_up_input, made_up_targets
from microgradnet.checking.notation import (
    ACTIVATIONS,
    FUNCTIONS,
    SUBSCRIPTS,
    TEXT,
    Notation,
    indexed,
    plain_latex,
)
from microgradnet.checking.symbols import (
    Boxer,
    Name,
    Symbol,
    count,
    factor,
    record_symbol,
    record_whole,
    recording,
)
from microgradnet.graph import ancestors
from microgradnet.primitive import Primitive
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from microgradnet.graph import Array, Node

STATISTICS = {
    composites.NORMALISE: (Name("μ", r"\mu"), Name("v", "v")),
    composites.STANDARDISE: (Name("m", "m"), Name("s", "s")),
}
NAMES = {  # of what a layer gives
    nn.Dropout: Name("d", "d"),
    nn.Flatten: Name("f", "f"),
    composites.NORMALISE: Name("x̂", r"\hat{x}"),
    composites.STANDARDISE: Name("x̂", r"\hat{x}"),
    composites.SCALE_SHIFT: Name("n", "n"),
}
LONGEST_FORMULA = 8  # operations; a longer one is cut by giving a part of it a name
WIDEST = 72  # columns; what is longer moves the shapes of its line to the right
WEIGHTED = ("linear", "conv1d", "conv2d")  # operations of layers that are counted: z¹, W¹, b¹, δ¹
BOOK = {"W": "BP4", "b": "BP3"}
ROLES = {
    **dict.fromkeys([*ACTIVATIONS, "softmax", "log_softmax"], "a"),
    **dict.fromkeys(WEIGHTED, "z"),
    **dict.fromkeys(["max_pool2d", "avg_pool2d"], "p"),
}
GREEK = {"delta": Name("δ", r"\delta"), "gamma": Name("γ", r"\gamma"), "beta": Name("β", r"\beta")}


@dataclass(frozen=True, eq=False)
class Equation:
    """One line: a name, its formula, the shape, and what it stands for."""

    part: str
    """``forward``, ``backward`` or ``where`` (definitions)."""
    left: Name
    formula: Symbol
    shape: tuple[int, ...]
    also: Name | None = None
    """Another name of the left side: δ² is ∂C/∂z²."""
    tag: str = ""
    """The book's equation, as ``BP2``."""
    path: str = ""
    """The parameter or module that it belongs to."""

    def text(self, notation: Notation = TEXT) -> str:
        """Return the equation in one line of plain text, or of LaTeX without its dollars."""
        names = [notation.pick(name) for name in (self.left, self.also) if name]
        return " = ".join([*names, notation.write(self.formula)])


class Derivation:
    """The equations of a model, in the order in which they are computed; printing shows them.

    ``str()`` is plain text, ``markdown()`` a list with formulas between dollars, ``latex()`` one display.
    Every formula also has a value, at the point where the graph was recorded: ``equation.formula.data``.
    """

    def __init__(self, title: str, equations: Sequence[Equation], batch: int | None) -> None:
        self.title = title
        self.equations = tuple(equations)
        self._batch = batch

    def _parts(self) -> Iterator[tuple[str, list[Equation]]]:
        heads = {"forward": "Forward", "backward": "Backward, from the output to the input", "where": "Where"}
        for part, head in heads.items():
            lines = [equation for equation in self.equations if equation.part == part]
            if lines:
                yield head, lines

    def _remarks(self) -> list[str]:
        remarks = ["⊙ multiplies element by element; δˡ = ∂C/∂zˡ."]
        if self._batch:
            remarks.append("N is the number of examples; Σₙ sums over them.")
        return remarks

    def __str__(self) -> str:
        notation = Notation(latex=False, batch=self._batch)
        rows = [(e, e.text(notation), notation.shape(e.shape)) for e in self.equations]
        width = max([_width(text) for _, text, _ in rows if _width(text) <= WIDEST], default=0)
        side = max([len(shape) for _, _, shape in rows], default=0)
        written = {
            id(e): f"  {text}{' ' * (width - _width(text))}  {shape:<{side}}  "
            f"{f'({e.tag})' if e.tag else '':<5}  {e.path}".rstrip()
            for e, text, shape in rows
        }
        lines = [self.title]
        for head, equations in self._parts():
            lines += ["", head, *[written[id(e)] for e in equations]]
        return "\n".join([*lines, "", *self._remarks()])

    def markdown(self) -> str:
        """Return the equations as Markdown, each between dollars with its shape and parameter."""
        notation = Notation(latex=True, batch=self._batch)
        lines = [f"**{self.title}**"]
        for head, equations in self._parts():
            lines += ["", f"{head}:", ""]
            for e in equations:
                notes = [
                    notation.shape(e.shape),
                    f"({e.tag})" if e.tag else "",
                    f"`{e.path}`" if e.path else "",
                ]
                lines.append(f"- ${e.text(notation)}$ — {', '.join([note for note in notes if note])}")
        return "\n".join([*lines, "", " ".join(self._remarks())])

    def latex(self) -> str:
        r"""Return the equations as one ``aligned`` environment, to stand between ``\[`` and ``\]``."""
        notation = Notation(latex=True, batch=self._batch)
        rows = []
        for _, equations in self._parts():
            for e in equations:
                left, right = e.text(notation).split(" = ", 1)
                tag = rf" \quad (\mathrm{{{e.tag}}})" if e.tag else ""
                rows.append(rf"  {left} &= {right}{tag} && {notation.shape(e.shape)}")
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def __repr__(self) -> str:
        return str(self)


def derive(model: Any, loss_fn: Callable[..., Any], x: Any = None, y: Any = None) -> Derivation:
    """Derive the backprop equations of *this* model: forward, δ from the output back, ∂C/∂W and ∂C/∂b.

    The graph of one batch is recorded, and each operation's gradient rule is applied to symbols in place of
    numbers: what comes out is its formula. The layers and losses of the library read as in Nielsen's book,
    with its tags (BP1) to (BP4); modules and operations of one's own work as well, by their own rules.

    ``x`` (N, …) and ``y`` are an example batch; only their shapes matter. Without them they are invented from
    the model's first layer and the loss. The model is not changed: a float64 copy runs.

    A ValueError says what is wrong with a model without parameters, with a loss that is no single number or
    does not depend on the model, and with an input that the model cannot take.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 2, (BP1)–(BP4), here for batches of rows.

    >>> from microgradnet import nn
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    >>> print(derive(model, nn.QuadraticLoss()))
    Sequential with QuadraticLoss
    <BLANKLINE>
    Forward
      z¹ = x W¹ᵀ + b¹                      (N, 2)         0: Linear
      a¹ = σ(z¹)                           (N, 2)         1: Sigmoid
      C = 1 / (2N) · Σ (a¹ − y)²           ()
    <BLANKLINE>
    Backward, from the output to the input
      δ¹ = ∂C/∂z¹ = (a¹ − y) ⊙ σ′(z¹) / N  (N, 2)  (BP1)
      ∂C/∂W¹ = δ¹ᵀ x                       (2, 3)  (BP4)  0.weight
      ∂C/∂b¹ = Σₙ δ¹                       (2,)    (BP3)  0.bias
    <BLANKLINE>
    Where
      σ′(z¹) = a¹ ⊙ (1 − a¹)               (N, 2)
    <BLANKLINE>
    ⊙ multiplies element by element; δˡ = ∂C/∂zˡ.
    N is the number of examples; Σₙ sums over them.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"derive: the model is {type(model).__name__}, expected an nn.Module")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"derive: {type(model).__name__} has no parameters that train; nothing to derive")
    run = _Run(model, loss_fn, x, y)
    found = _Equations(run)
    while found.unnamed:  # a gradient needs a name whose value has none: again, with a name for it
        run = _Run(model, loss_fn, x, y)
        found = _Equations(run, found.wanted | found.unnamed)
    kind = type(loss_fn).__name__ if isinstance(loss_fn, nn.Module) else getattr(loss_fn, "__name__", "loss")
    return Derivation(f"{type(model).__name__} with {kind}", found.equations, run.batch)


def _width(text: str) -> int:
    """How many columns a text takes in a terminal: accents take none."""
    return sum(not unicodedata.combining(c) for c in text)


# ---------------------------------------------------------------------- the graph


class _Run:
    """One forward pass of a float64 copy, recorded whole."""

    def __init__(self, model: nn.Module, loss_fn: Callable[..., Any], x: Any, y: Any) -> None:
        self.model = copy.deepcopy(model).astype(np.float64)
        self.loss_fn = copy.deepcopy(loss_fn) if isinstance(loss_fn, nn.Module) else loss_fn
        sizes = {n for p in model.parameters() for n in p.shape}
        prime = next(n for n in (97, 89, 83, 79, 73) if not any(size % n == 0 for size in sizes))
        invented = x is None
        x = made_up_input(model, prime) if invented else np.asarray(getattr(x, "data", x))
        self.batch = prime if x.ndim >= 2 or x.dtype.kind in "iu" else None
        if self.batch and not invented:
            x = x[np.arange(prime) % max(len(x), 1)]
        if x.dtype.kind in "fb":
            x = x.astype(np.float64)
        default = ops.generator()
        state = default.bit_generator.state
        try:
            with recording(record_whole):
                self.x = Tensor(x, requires_grad=x.dtype.kind == "f", name="x")
                output = self._output(invented)
                self.y, loss = self._loss(output, y)
        finally:
            default.bit_generator.state = state
        node = getattr(loss, "_node", None)
        if not isinstance(loss, Tensor) or loss.size != 1:
            shape = loss.shape if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"derive: the loss must be a single number, this one is {shape}; reduce it")
        self.leaves = {p._node.number: path for path, p in self.model.named_parameters() if p._node}
        nodes = ancestors([node]) if node is not None else {}
        if not any(number in nodes for number in self.leaves):
            raise ValueError("derive: the loss does not depend on any parameter of the model")
        self.root: Node = node  # type: ignore[assignment]
        self.nodes = composites.collapse(nodes, self.loss_fn, np.asarray(self.y.data))

    def _output(self, invented: bool) -> Any:
        try:
            return self.model(self.x)
        except (ValueError, IndexError, TypeError) as error:
            if not invented:
                raise
            raise ValueError(
                f"derive: {type(self.model).__name__} does not take an input of shape {self.x.shape}, "
                f"which was made up from its first layer; give an example batch, derive(model, loss_fn, x) "
                f"({error})"
            ) from None

    def _loss(self, output: Any, y: Any) -> tuple[Tensor, Any]:
        if y is not None:
            target = np.asarray(getattr(y, "data", y))
            if self.batch:
                target = target[np.arange(self.batch) % max(len(target), 1)]
            return self._with(output, target)
        shape = getattr(output, "shape", ())
        error: Exception | None = None
        for target in made_up_targets(self.loss_fn, shape):
            try:
                return self._with(output, target)
            except (ValueError, IndexError, TypeError) as caught:  # noqa: PERF203 - at most twice
                error = error or caught
        raise ValueError(f"derive: no target could be made up for the loss; give y= ({error})") from None

    def _with(self, output: Any, target: Array) -> tuple[Tensor, Any]:
        if target.dtype.kind in "fb":
            y = Tensor(target.astype(np.float64), requires_grad=True, name="y")
            return y, self.loss_fn(output, y)
        return Tensor(target, name="y"), self.loss_fn(output, target)


# ---------------------------------------------------------------------- the equations


class _Equations:
    """Names the values, oldest first; then sweeps back with symbols, and notes what arrives."""

    def __init__(self, run: _Run, wanted: frozenset[int] = frozenset()) -> None:
        self.run = run
        self.wanted = wanted  # the places of values that get a name though they are used once
        self.unnamed: frozenset[int] = frozenset()
        self.symbols: dict[int, Symbol] = {}
        self.forward: list[Equation] = []
        self.backward: list[tuple[Equation, Symbol]] = []  # each with the symbol that others know it by
        self.gradients: list[Equation] = []
        self.where: list[Equation] = []
        self.used: dict[str, int] = {}
        self.others = 0
        self.owners = {id(m): path for path, m in run.model.named_modules()}
        self.ordered = [run.nodes[number] for number in sorted(run.nodes)]
        self.consumers: dict[int, int] = {}
        for node in self.ordered:
            for parent in node.parents:
                if parent is not None:
                    self.consumers[parent.number] = self.consumers.get(parent.number, 0) + 1
        self.places = {node.number: place for place, node in enumerate(self.ordered)}
        self._name_parameters()
        with recording(record_symbol):
            for node in self.ordered:
                self._name(node)
            self._go_back()
        self.equations = [*self.forward, *self._placed(), *self.where]

    def _placed(self) -> list[Equation]:
        """Put the gradient of each parameter right behind the equations that it is made of."""
        known = [symbol for _, symbol in self.backward]
        behind: list[list[Equation]] = [[] for _ in range(len(known) + 1)]
        for equation in self.gradients:
            used = [i for i, symbol in enumerate(known, 1) if count(equation.formula, symbol)]
            behind[max(used, default=0)].append(equation)
        placed = behind[0]
        for (equation, _), after in zip(self.backward, behind[1:], strict=True):
            placed += [equation, *after]
        return placed

    # ------------------------------------------------------------------ names

    def _fresh(self, base: Name, layer: int) -> Name:
        key = f"{base.text}{layer}"
        primes = self.used[key] = self.used.get(key, -1) + 1
        return indexed(base, layer, primes)

    def _name_parameters(self) -> None:
        """Name weights W¹, W², … in the order of their layers; what is no layer's goes by its path."""
        names: dict[int, Name] = {}
        self.tags: dict[int, str] = {}
        self.layers: dict[int, int] = {}
        layer = 0
        for node in self.ordered:
            kind = node.primitive.name if node.primitive else ""
            bases = [Name("W", "W"), Name("b", "b")]
            if kind in WEIGHTED:
                layer += 1
            if kind == composites.SCALE_SHIFT.name:
                bases = [GREEK["gamma"], GREEK["beta"]]
            if kind in {*WEIGHTED, composites.SCALE_SHIFT.name}:
                for parent, base in zip(node.parents[1:], bases, strict=False):
                    if parent is not None and parent.number in self.run.leaves and parent.number not in names:
                        names[parent.number] = self._fresh(base, layer)
                        self.tags[parent.number] = BOOK.get(base.text, "") if kind == "linear" else ""
            self.layers[node.number] = layer
        for number, path in self.run.leaves.items():
            names.setdefault(number, Name(path, plain_latex(path)))
        self.names = names

    def _name(self, node: Node) -> None:
        """Find the symbol of a node: a name with an equation, or the formula itself where it is used once."""
        if node.primitive is None:
            text = node.name or "c"
            known = self.names.get(node.number) or Name(text, text if len(text) == 1 else plain_latex(text))
            self.symbols[node.number] = Symbol.named(node.y, known)
            return
        node.args = [self._operand(node, i) for i in range(len(node.args))]
        formula = Symbol.call(node.primitive, tuple(node.args), node.meta, node.y)
        name = self._role(node, formula)
        if name is None:
            self.symbols[node.number] = formula
            return
        self.symbols[node.number] = Symbol.named(node.y, name)
        self._write_forward(node, name, formula)

    def _write_forward(self, node: Node, name: Name, formula: Symbol) -> None:
        path = ""
        scope = node.scope
        if scope is not None and scope.module is not None and scope.module is not self.run.loss_fn:
            path = f"{self.owners.get(id(scope.module), '')}: {type(scope.module).__name__}".removeprefix(
                ": "
            )
        if node.primitive in (composites.NORMALISE, composites.STANDARDISE):
            x, mean, variance = node.args
            if node.primitive is composites.NORMALISE:
                axis = node.meta["axis"]
                self._forward(mean.label, ops.mean(x, axis, keepdims=True), path)
                self._forward(variance.label, ops.mean((x - mean) ** 2, axis, keepdims=True), path)
            formula = (x - mean) / ops.sqrt(variance + node.meta["eps"])
        if node.primitive is composites.SCALE_SHIFT:
            x, weight, bias = node.args
            formula = weight * x + bias
        self._forward(name, formula, path)

    def _forward(self, name: Name, formula: Symbol, path: str) -> None:
        self.forward.append(Equation("forward", name, formula, formula.shape, path=path))

    def _operand(self, node: Node, i: int) -> Any:
        """Return the symbol of an argument: a node's, a constant's by its name, a number."""
        parent, value = node.parents[i], node.args[i]
        if parent is not None:
            return self.symbols[parent.number]
        array = np.asarray(value._array if isinstance(value, Tensor) else value)
        name = self._constant_name(node, i, array)
        uniform = array.size == 1 or (array.dtype.kind != "b" and (array == array.flat[0]).all())
        if name is None and uniform:
            return Symbol.constant(array)
        return Symbol.named(array, name or self._numbered("c"))

    def _constant_name(self, node: Node, i: int, array: Array) -> Name | None:
        """Return the name of a constant that has one: statistics, masks, the input, the target, a count."""
        layer = self.layers[node.number]
        module = node.scope.module if node.scope else None
        if node.primitive in STATISTICS:
            return self._fresh(STATISTICS[node.primitive][i - 1], layer)
        if isinstance(module, nn.Dropout) and array.ndim:
            return self._fresh(Name("m", "m"), layer)
        if (
            node.primitive in {composites.CROSS_ENTROPY, composites.BCE_WITH_LOGITS}
            or array is self.run.y.data
        ):
            return Name("y", "y")
        if array is self.run.x.data:
            return Name("x", "x")
        counts = array.ndim == 1 and array.dtype.kind in "iu" and (array == np.arange(array.size)).all()
        return Name("n", "n") if counts else None

    def _numbered(self, letter: str) -> Name:
        self.others += 1
        number = self.others
        return Name(letter + str(number).translate(SUBSCRIPTS), f"{letter}_{{{number}}}")

    def _role(self, node: Node, formula: Symbol) -> Name | None:
        """Return the name that the book would give, or one of ours where a value is used more than once."""
        if node is self.run.root:
            return Name("C", "C")
        module = node.scope.module if node.scope else None
        if module is not self.run.loss_fn:
            role = ROLES.get(node.primitive.name if node.primitive else "")
            base = NAMES.get(node.primitive, NAMES.get(type(module))) or (Name(role, role) if role else None)
            if base is not None:
                return self._fresh(base, self.layers[node.number])
        needed = self.consumers.get(node.number, 0) > 1 or self.places[node.number] in self.wanted
        if needed or formula.weight > LONGEST_FORMULA:
            return self._numbered("u")
        return None

    # ------------------------------------------------------------------ the sweep

    def _go_back(self) -> None:
        nodes = self._leading_to_parameters()
        for node in nodes.values():
            needed = [(i, r) for i, r in node.pulls if getattr(node.parents[i], "number", None) in nodes]
            node.pulls = tuple([(i, self._traced(node, i, rule)) for i, rule in needed])
            node.hooks = {0: self._arrives(node)}
            node.versions = [None if parent is None else [0] for parent in node.parents]
        root = self.run.root
        seed = Symbol.constant(np.ones(root.shape))
        sweep({root: seed}, Boxer(self.symbols), set(nodes.values()))

    def _leading_to_parameters(self) -> dict[int, Node]:
        """Return the nodes on a path from a parameter to the loss."""
        reached = {number for number in self.run.leaves if number in self.run.nodes}
        reached = {n for n in reached if self.run.nodes[n].requires_grad}
        for node in self.ordered:
            if any(parent is not None and parent.number in reached for parent in node.parents):
                reached.add(node.number)
        return {node.number: node for node in self.ordered if node.number in reached}

    def _traced(self, node: Node, i: int, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Return a rule that gives f′(z) of an activation a name, and names what cannot be a formula."""
        kind = node.primitive.name if node.primitive else ""

        def traced(g: Symbol, y: Symbol, *args: Any, **meta: Any) -> Any:
            c = self._applied(node, i, rule, g, y, args, meta)
            (z, *_) = args
            if kind not in ACTIVATIONS or not isinstance(z, Symbol) or z.label is None:
                return c
            g_alone = Symbol.named(np.broadcast_to(g.data, y.shape), Name("g", "g"))
            slope = factor(rule(g_alone, y, *args, **meta), g_alone)
            if slope is None:
                return c
            f = FUNCTIONS[kind]
            name = Name(f"{f.text}′({z.label.text})", f"{f.latex}'({z.label.latex})")
            if name not in [equation.left for equation in self.where]:
                self.where.append(Equation("where", name, slope, node.shape))
            return g * Symbol.named(np.broadcast_to(slope.data, y.shape), name)

        return traced

    def _applied(
        self, node: Node, i: int, rule: Callable[..., Any], g: Any, y: Any, args: Sequence[Any], meta: Any
    ) -> Any:
        """Apply a rule to symbols; where it cannot take them, name its result and compute the value alone."""
        try:
            return rule(g, y, *args, **meta)
        except (TypeError, ValueError, AttributeError, IndexError):  # it computes with values, not by formula
            plain = [x.data if isinstance(x, Symbol) else x for x in (g, y, *args)]
            value = rule(*plain, **meta)
            name = f"{node.primitive.name if node.primitive else ''}_rule{i}"
            return Symbol.call(Primitive(name, np.asarray), (g, *args), {}, value)

    def _arrives(self, node: Node) -> Callable[[Any], Any]:
        """Return the hook that sees ∂C/∂(the node's value) in full: it may name it, and notes an equation."""

        def arrives(g: Symbol) -> Symbol | None:
            own = self.symbols[node.number]
            if node.primitive is None:
                self._leaf(node, own, g)
                return None
            if g.label is not None or g.number is not None:
                return None
            if node.primitive.name in WEIGHTED or g.weight > LONGEST_FORMULA or self._uses(node) > 1:
                if own.label is not None:
                    return self._named(node, own.label, g)
                self.unnamed |= {self.places[node.number]}
            return None

        return arrives

    def _uses(self, node: Node) -> int:
        """How often the rules of a node write the gradient that arrives."""
        y = self.symbols[node.number]
        g = Symbol.named(node.y, Name("g", "g"))
        where = list(self.where)
        total = 0
        for _, rule in node.pulls:
            c = rule(g, y, *node.args, **node.meta)
            total += count(c, g) if isinstance(c, Symbol) else 0
        self.where = where
        return total

    def _named(self, node: Node, label: Name, g: Symbol) -> Symbol:
        """Give ∂C/∂label the name δ, and note its equation."""
        kind = node.primitive.name if node.primitive else ""
        short = label.text.removeprefix("z"), label.latex.removeprefix("z")
        delta = Name(f"δ{short[0]}", rf"\delta{short[1]}")
        if kind not in WEIGHTED:
            delta = Name(f"δ_{label.text}", rf"\delta_{{{label.latex}}}")
        also = Name(f"∂C/∂{label.text}", rf"\frac{{\partial C}}{{\partial {label.latex}}}")
        tag = ""
        if kind == "linear":
            tag = "BP2" if any(equation.tag == "BP1" for equation, _ in self.backward) else "BP1"
        symbol = g.renamed(delta)
        self.backward.append((Equation("backward", delta, g, node.shape, also, tag), symbol))
        return symbol

    def _leaf(self, node: Node, own: Symbol, g: Symbol) -> None:
        name = own.label or Name("", "")
        left = Name(f"∂C/∂{name.text}", rf"\frac{{\partial C}}{{\partial {name.latex}}}")
        path = self.run.leaves.get(node.number, "")
        equation = Equation("backward", left, g, node.shape, tag=self.tags.get(node.number, ""), path=path)
        order = list(self.run.leaves.values())
        self.gradients.append(equation)
        self.gradients.sort(key=lambda e: order.index(e.path))
