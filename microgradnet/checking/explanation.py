"""explain: the chain rule of one entry of one gradient, path by path, with the numbers put in."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.backprop import grad, visits
from microgradnet.checking.notation import (
    ACTIVATIONS,
    LATEX,
    MUL,
    SUBSCRIPTS,
    TEXT,
    Notation,
    indexed,
    plain_latex,
)
from microgradnet.checking.symbols import Name, Symbol, factor, record_symbol, recording
from microgradnet.graph import Value, ancestors, enclosing_modules
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from microgradnet.graph import Array, Node, Version

MOST_PLACES = 2000  # elements of the graph that are visited to count the paths; beyond, they are not counted
LONGEST_FORMULA = 3  # operations; a value with a longer formula is called v₁, v₂, …
LONGEST_TERM = 7  # operations; a longer factor of a path is cut into its own factors
MOST_FACTORS = 16  # of a path that are shown
MOST_WAYS = 500  # of ways to a value that are followed
MOST_DEFINITIONS = 12
MOST_SUMMANDS = 4  # of ∂E/∂w = δ·a + δ·a + …
NEEDS_MORE = (TypeError, ValueError, AttributeError, IndexError, ArithmeticError)
"""What an operation or a rule raises that is fed with single elements and works on whole arrays."""

Place: TypeAlias = "tuple[int, int]"
"""One element of the value of one node: the node's number, and the position in the flattened value."""


@dataclass(frozen=True)
class Term:
    """A factor of a path: ∂above/∂below, its value, and its formula where there is one."""

    above: Name
    below: Name
    value: float
    formula: Symbol | None

    def text(self, notation: Notation) -> str:
        """Return the formula, or ∂above/∂below where there is none."""
        if self.formula is None:
            return _ratio(self.above, self.below, notation)
        return notation.write(self.formula, MUL)


@dataclass(frozen=True)
class Path:
    """One way from the entry to the loss: its factors, from the loss on, and their product."""

    terms: tuple[Term, ...]
    contribution: float


@dataclass(frozen=True)
class Arrival:
    """A value that the entry enters: the δ that arrives there, and the effect of the entry on the value."""

    delta: Name
    value: float
    term: Term


@dataclass(frozen=True)
class Explanation:
    """The derivative of a loss by one entry, as a sum over paths; ``str()``, ``markdown()``, ``latex()``.

    ``gradient`` is what the backward pass finds, ``total`` what the paths add up to.
    """

    output: Name
    entry: Name
    arrivals: tuple[Arrival, ...]
    paths: tuple[Path, ...]
    """The paths that contribute most, largest first."""
    rest: float
    """The sum of the paths that are not listed."""
    rest_count: int | None
    """Their number, None where there are too many to count; paths with a factor of 0 are not counted."""
    gradient: float
    definitions: tuple[tuple[Name, Symbol], ...]
    eps: float
    """The rounding unit of the graph's dtype."""

    @property
    def total(self) -> float:
        """The sum of all paths."""
        return sum([path.contribution for path in self.paths]) + self.rest

    @property
    def agrees(self) -> bool:
        """Whether the paths add up to the gradient, up to rounding."""
        sizes = [abs(path.contribution) for path in self.paths]
        return abs(self.total - self.gradient) <= 1e3 * self.eps * (sum(sizes) + abs(self.gradient))

    def _lines(self, notation: Notation) -> Iterator[tuple[str, bool]]:
        """Yield the lines, and whether each is a formula."""
        *lines, last = self._body(notation)
        yield from lines
        shown = "\n".join([text for text, _ in lines])
        where: list[str] = []
        for name, formula in reversed(self.definitions):  # what is not shown needs no definition
            if len(where) < MOST_DEFINITIONS and notation.pick(name) in shown:
                value = _signed(formula.data.item(), notation)
                where.append(f"{notation.pick(name)} = {notation.write(formula)} = {value}")
                shown += where[-1]
        if where:
            yield "Where", False
            yield from [(text, True) for text in reversed(where)]
        yield last

    def _body(self, notation: Notation) -> Iterator[tuple[str, bool]]:
        """Yield what the lines are but for the definitions."""
        left = _ratio(self.output, self.entry, notation)
        alone = len(self.paths) == 1 and self.rest_count == 0
        if self.arrivals:
            yield f"{left} = {self._arrived(notation)}", True
        if not self.paths:
            yield "No path has an effect.", False
        elif not alone:
            yield "Path by path, from the loss to the entry:", False
        for path in self.paths:
            yield (f"{left} = " if alone else "") + self._product(path, notation), True
        if self.rest_count != 0:
            many = "the other" if self.rest_count is None else f"{self.rest_count:,} more"
            noun = "path" if self.rest_count == 1 else "paths"
            yield f"… and {many} {noun}, together {number_text(self.rest)}", False
        same = "equal up to rounding" if self.agrees else f"they differ by {self.total - self.gradient:.3g}"
        found = [f"{value:.10g}".replace("-", "−", 1) for value in (self.total, self.gradient)]
        yield f"All paths {found[0]}, the backward pass {found[1]}: {same}.", False

    def _arrived(self, notation: Notation) -> str:
        """Return δ·a + … with formulas, with numbers, and the result."""
        dot = r" \cdot " if notation.latex else " · "
        shown = self.arrivals[:MOST_SUMMANDS]
        more = [r"\ldots" if notation.latex else "…"] if len(self.arrivals) > len(shown) else []
        letters = [notation.pick(a.delta) + dot + a.term.text(notation) for a in shown]
        numbers = [_times([a.value, a.term.value], notation) for a in shown]
        total = _signed(self.gradient, notation)
        return " = ".join([" + ".join(letters + more), " + ".join(numbers + more), total])

    def _product(self, path: Path, notation: Notation) -> str:
        """Return the product with formulas, with numbers, and the result."""
        dot = r" \cdot " if notation.latex else " · "
        pieces = [term.text(notation) for term in path.terms]
        values = [term.value for term in path.terms]
        letters, numbers = dot.join(pieces), _times(values, notation)
        if len(pieces) > MOST_FACTORS:  # a long chain: its ends
            half, dots = MOST_FACTORS // 2, r"\ldots" if notation.latex else "…"
            letters = dot.join([*pieces[:half], dots, *pieces[-half:]])
            numbers = dot.join([_times(values[:half], notation), dots, _times(values[-half:], notation)])
        result = _signed(path.contribution, notation)
        return " = ".join(dict.fromkeys([letters, numbers, result]))

    def __str__(self) -> str:
        return "\n".join(["  " * formula + text for text, formula in self._lines(TEXT)])

    def markdown(self) -> str:
        """Return the lines as Markdown, formulas between dollars."""
        return "\n\n".join([f"${text}$" if formula else text for text, formula in self._lines(LATEX)])

    def latex(self) -> str:
        r"""Return the formulas as one ``aligned`` environment, to stand between ``\[`` and ``\]``."""
        rows = ["  & " + text for text, formula in self._lines(LATEX) if formula]
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def __repr__(self) -> str:
        return str(self)


def explain(
    loss: Tensor, parameter: Tensor, index: int | tuple[int, ...] | None = None, *, limit: int = 8
) -> Explanation:
    """Explain ∂loss/∂parameter[index] by the chain rule: every path from the loss to the entry, in numbers.

    The entry is ``parameter[index]``, written as that or as ``explain(loss, parameter, index)``; a tensor of
    one element needs no index. A path multiplies the local derivatives on its way, and the gradient is the
    sum over all paths. The ``limit`` paths that contribute most are listed, the others are added up; the last
    line holds the sum against the backward pass. Names are those of tensors (``Tensor(…, name="w5")``), paths
    of parameters, and z¹, a¹, … of layers. Factors of 1 are not shown.

    A ValueError says what is wrong with a loss that is not a single number, with an entry that is not given,
    and with a parameter that the loss does not depend on; an index out of range is an IndexError.

    >>> from microgradnet import Tensor
    >>> w, h, t = Tensor(0.4, True, name="w5"), Tensor(0.6, True, name="out_h1"), 0.5
    >>> o = w * h
    >>> o.name = "o1"
    >>> explain((o - t) ** 2, w)
      ∂C/∂w5 = δ_o1 · out_h1 = (−0.52000) · 0.60000 = −0.31200
      ∂C/∂w5 = 2·(o1 − 0.5) · out_h1 = (−0.52000) · 0.60000 = −0.31200
    All paths −0.312, the backward pass −0.312: equal up to rounding.
    """
    root = loss._node
    if root is None or root.primitive is None or root.y.size != 1:
        given = f"shape {loss.shape}" if loss.size != 1 else "a tensor without a history"
        raise ValueError(f"explain: the loss must be a single number that was computed, not {given}")
    if limit < 1:
        raise ValueError(f"explain: limit must be at least 1, not {limit}")
    nodes = ancestors([root], only_differentiable=True)
    node, position = _entry(nodes, parameter, index)
    return _Explainer(root, nodes, (node.number, position)).explanation(limit)


# ---------------------------------------------------------------------- the entry


def _entry(
    nodes: dict[int, Node], parameter: Tensor, index: int | tuple[int, ...] | None
) -> tuple[Node, int]:
    """Return the node in the graph of the loss and the position of the entry in its value."""
    node = parameter._node
    positions = np.arange(parameter.size).reshape(parameter.shape)
    if node is not None and node.number not in nodes:
        node, positions = _origin(node, nodes, positions)
    if node is None or node.number not in nodes:
        name = parameter.name or ("this tensor" if node is None else node.describe())
        raise ValueError(
            f"explain: the loss does not depend on {name}; give a parameter (or an entry of one, w[0, 0]) "
            "that the loss was computed from, outside no_grad()"
        )
    if index is not None:
        at = (index,) if isinstance(index, int) else tuple(index)
        fits = len(at) == positions.ndim and all(
            -n <= i < n for i, n in zip(at, positions.shape, strict=True)
        )
        if not fits:
            raise IndexError(
                f"explain: index {at} does not lead to one entry of a tensor of shape {positions.shape}"
            )
        positions = positions[at]
    if positions.size != 1:
        raise ValueError(
            f"explain: the tensor has shape {positions.shape}; say which entry: w[0, 0] in place of w, "
            f"or index={(0,) * positions.ndim}"
        )
    return node, int(positions.flat[0])


def _origin(node: Node, nodes: dict[int, Node], positions: Array) -> tuple[Node | None, Array]:
    """Follow w[0, 0], which was recorded after the loss, back to w, and tell which entries it took."""
    chain = []
    current: Node | None = node
    while current is not None and current.number not in nodes:
        if current.primitive is None or current.primitive.name != "index":
            return node, positions
        chain.append(current)
        current = current.parents[0]
    if current is None:
        return node, positions
    positions = np.arange(current.y.size).reshape(current.shape)
    for link in reversed(chain):
        if link.primitive is not None:
            positions = np.asarray(link.primitive.forward(positions, *link.args[1:], **link.meta))
    return current, positions


# ---------------------------------------------------------------------- the paths


@dataclass(frozen=True, eq=False)
class Step:
    """From one element to another that is computed from it, at argument ``position`` of ``node``."""

    start: Place
    end: Place
    value: float
    node: Node
    position: int


class _Detached(Value):
    """Gives the sweep tensors without a history, so that only what depends on g is recorded."""

    __slots__ = ()

    def _box(self, array: Array, node: Node | None, version: Version) -> Any:  # type: ignore[override]
        return Tensor._box(array, None, version)


@dataclass(frozen=True, eq=False)
class _Way:
    """A way from the entry to an element: the product so far, the last step, and the way before it."""

    product: float
    last: Step | None
    before: _Way | None

    def steps(self) -> list[Step]:
        """Return the steps from the entry on."""
        found: list[Step] = []
        way: _Way | None = self
        while way is not None and way.last is not None:
            found.append(way.last)
            way = way.before
        return found[::-1]


class _Explainer:
    """Walks from the entry to the loss, element by element, the most important paths first."""

    def __init__(self, root: Node, nodes: dict[int, Node], start: Place) -> None:
        self.root, self.start = root, start
        self.gradients = {node.number: g for node, g, _ in visits({root: np.ones_like(root.y)})}
        reached = {start[0]}
        self.uses: dict[int, list[tuple[Node, int]]] = {}  # where a value enters: the node and the position
        for number in sorted(nodes):
            node = nodes[number]
            for i, _ in node.pulls:
                parent = node.parents[i]
                if parent is not None and parent.number in reached:
                    reached.add(number)
                    self.uses.setdefault(parent.number, []).append((node, i))
        self.nodes = {number: nodes[number] for number in sorted(nodes)}
        self.effects: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
        self.pulled: dict[tuple[int, int], tuple[Tensor, Any]] = {}
        self.names = _Names(self.nodes, root)

    def explanation(self, limit: int) -> Explanation:
        """Find the paths, and put them into words."""
        found, rest = self._best(limit)
        number = self._count() if rest is not None else len(found)
        for _, steps in found:  # once to see which values need names, once more to use these everywhere
            self._terms(steps)
        self.names.forget_formulas()
        paths = [Path(tuple(self._terms(steps)), product) for product, steps in found]
        paths.sort(key=lambda path: -abs(path.contribution))
        names = self.names
        return Explanation(
            output=names.of((self.root.number, 0)),
            entry=names.of(self.start),
            arrivals=tuple(self._arrivals()),
            paths=tuple(paths),
            rest=rest or 0.0,
            rest_count=None if number is None else number - len(found),
            gradient=float(self._arriving(self.start)),
            definitions=tuple(names.definitions),
            eps=float(np.finfo(self.root.dtype).eps),
        )

    def _best(self, limit: int) -> tuple[list[tuple[float, list[Step]]], float | None]:
        """Return the paths that contribute most, and the sum of the others (None: there are none).

        Goes through the graph oldest first and keeps, for every element, the best ways to it: the best paths
        are among their continuations. Of very many elements only the most important are followed. All paths
        that go on from a way add up to its product times what arrives at its end: so the rest is exact.
        """
        ways: dict[int, dict[int, list[_Way]]] = {self.start[0]: {self.start[1]: [_Way(1.0, None, None)]}}
        numbers = [self.start[0]]
        rest: float | None = None
        while numbers[0] != self.root.number:
            number = heapq.heappop(numbers)
            elements = ways.pop(number)
            kept: list[tuple[Place, _Way]] = []
            for position, there in elements.items():
                there.sort(key=lambda way: -abs(way.product))
                kept += [((number, position), way) for way in there[:limit]]
                rest = self._added(rest, [((number, position), way) for way in there[limit:]])
            kept.sort(key=lambda item: -abs(item[1].product * self._arriving(item[0])))
            rest = self._added(rest, kept[MOST_WAYS:])
            for place, way in kept[:MOST_WAYS]:
                for step in self._steps(place):
                    if step.end[0] not in ways:
                        heapq.heappush(numbers, step.end[0])
                        ways[step.end[0]] = {}
                    new = _Way(way.product * step.value, step, way)
                    ways[step.end[0]].setdefault(step.end[1], []).append(new)
            if not numbers:
                return [], rest
        ends = sorted(ways[self.root.number][0], key=lambda way: -abs(way.product))
        rest = self._added(rest, [((self.root.number, 0), way) for way in ends[limit:]])
        return [(way.product, way.steps()) for way in ends[:limit] if way.last is not None], rest

    def _added(self, rest: float | None, left: Sequence[tuple[Place, _Way]]) -> float | None:
        """Add the paths that go on from the ways that are left out."""
        if not left:
            return rest
        return (rest or 0.0) + sum([way.product * self._arriving(place) for place, way in left])

    def _arriving(self, place: Place) -> float:
        """Return ∂loss/∂(the element), from the one sweep; 0 where none arrived."""
        g = self.gradients.get(place[0])
        return 0.0 if g is None else float(g.flat[place[1]])

    def _steps(self, place: Place) -> Iterator[Step]:
        """Yield the elements that are computed from this one, with the local derivatives that are not 0."""
        number, position = place
        for node, i in self.uses.get(number, ()):
            key = (node.number, i, position)
            if key not in self.effects:
                self.effects[key] = self._effect(node, i, position)
            for end, value in self.effects[key]:
                yield Step(place, (node.number, end), value, node, i)

    def _effect(self, node: Node, i: int, position: int) -> list[tuple[int, float]]:
        """Return ∂y/∂(one element of argument i), where it is not 0.

        The rule maps g to gᵀ·∂y/∂x and is linear in g: its own derivative by g is the column that is wanted.
        """
        if (node.number, i) not in self.pulled:
            g = Tensor(np.zeros_like(node.y), requires_grad=True)
            self.pulled[node.number, i] = g, self._contribution(node, i, g)
        g, c = self.pulled[node.number, i]
        column = None
        if isinstance(c, Tensor) and c._node is not None:
            (column,) = grad(c.reshape(-1)[position], g, allow_unused=True)
        values = np.zeros(node.y.size, node.dtype) if column is None else column.data.reshape(-1)
        return [(int(j), float(values[j])) for j in np.flatnonzero(values)]

    def _contribution(self, node: Node, i: int, g: Tensor) -> Any:
        """Let the sweep visit this node alone, with a g of ours, and return what it hands to argument i."""
        parent = node.parents[i]
        (_, _, handed), *_ = visits({node: g}, _Detached(), {parent} if parent else set())
        return next((c for k, _, c, _ in handed if k == i), None)

    def _count(self) -> int | None:
        """Count the paths without a factor of 0, None where that takes too long."""
        ways = {self.start: 1}
        waiting = [self.start]
        total = visited = 0
        while waiting:
            place = heapq.heappop(waiting)  # oldest first: all ways to it are known
            if place[0] == self.root.number:
                total += ways[place]
                continue
            visited += 1
            if visited > MOST_PLACES:
                return None
            for step in self._steps(place):
                if step.end not in ways:
                    heapq.heappush(waiting, step.end)
                ways[step.end] = ways.get(step.end, 0) + ways[place]
        return total

    # ------------------------------------------------------------------ words

    def _terms(self, steps: Sequence[Step]) -> list[Term]:
        """Join the steps between values that have names of their own, leave out factors of 1; loss first."""
        terms: list[Term] = []
        run: list[Step] = []
        for step in steps:
            run.append(step)
            if self.names.has_own(step.end) or step is steps[-1]:
                terms += [self._term(part) for part in self._parts(run)]
                run = []
        shown = [term for term in terms if term.value != 1 or term.formula is None]
        return (shown or terms[:1])[::-1]

    def _parts(self, run: list[Step]) -> list[list[Step]]:
        """Cut a run of steps around those that have no formula, so that the others keep theirs."""
        parts: list[list[Step]] = [[]]
        weight = 0
        for step in run:
            formula = self.names.derivative(step)
            own = LONGEST_TERM if formula is None else formula.weight
            if weight + own > LONGEST_TERM and parts[-1]:
                parts.append([])
                weight = 0
            parts[-1].append(step)
            weight += own + 1
        return parts

    def _term(self, run: Sequence[Step]) -> Term:
        value = 1.0
        formula: Any = Symbol.constant(1.0)
        with recording(record_symbol):
            for step in reversed(run):
                value *= step.value
                piece = self.names.derivative(step)
                formula = None if formula is None or piece is None else formula * piece
        return Term(self.names.of(run[-1].end), self.names.of(run[0].start), value, formula)

    def _arrivals(self) -> list[Arrival]:
        """Return the named values that the entry enters first, with what arrives there; largest first."""
        ends: dict[Place, list[_Way]] = {}  # by named element
        ways: dict[Place, list[_Way]] = {self.start: [_Way(1.0, None, None)]}
        waiting = [self.start]
        while waiting:
            if len(waiting) + len(ends) > MOST_PLACES:
                return []
            place = heapq.heappop(waiting)
            there = ways.pop(place)
            product = sum([way.product for way in there])
            joined = there[0] if len(there) == 1 else _Way(product, None, None)
            for step in self._steps(place):
                if step.end[0] == self.root.number:
                    return []
                target = ends if self.names.has_own(step.end) else ways
                if target is ways and step.end not in ways:
                    heapq.heappush(waiting, step.end)
                known = joined.last is not None or place == self.start
                way = _Way(product * step.value, step if known else None, joined)
                target.setdefault(step.end, []).append(way)
        arrivals = []
        for end, there in ends.items():
            formula: Any = Symbol.constant(0.0)
            for way in there:
                piece = self._term(way.steps()).formula if way.last is not None else None
                with recording(record_symbol):
                    formula = None if formula is None or piece is None else formula + piece
            name = self.names.of(end)
            bare = Name(name.text.removeprefix("z"), name.latex.removeprefix("z"))
            layer = bare != name and "^" in bare.latex[:1]
            delta = (
                Name("δ" + bare.text, r"\delta" + bare.latex)
                if layer
                else Name(f"δ_{name.text}", rf"\delta_{{{name.latex}}}")
            )
            value = sum([way.product for way in there])
            term = Term(name, self.names.of(self.start), value, formula)
            if self._arriving(end) * term.value != 0:
                arrivals.append(Arrival(delta, self._arriving(end), term))
        return sorted(arrivals, key=lambda a: -abs(a.value * a.term.value))


# ---------------------------------------------------------------------- names


class _Names:
    """How elements are called: by their tensor's name, by layer, or by the formula that they come from."""

    def __init__(self, nodes: dict[int, Node], root: Node) -> None:
        self.nodes, self.root = nodes, root
        self.named: dict[int, Name] = {}
        self.symbols: dict[Place, Symbol] = {}
        self.definitions: list[tuple[Name, Symbol]] = []
        self._name_layers()

    def _name_layers(self) -> None:
        outermost: dict[int, Any] = {}
        layer = 0
        for node in self.nodes.values():
            *_, model = [None, *enclosing_modules(node.scope)]
            if model is not None:
                outermost[id(model)] = model
            kind = node.primitive.name if node.primitive else ""
            layer += kind == "linear"
            letter = "z" if kind == "linear" else "a" if kind in (*ACTIVATIONS, "softmax") and layer else ""
            name = indexed(Name(letter, letter), layer)
            if letter and name not in self.named.values():
                self.named[node.number] = name
        for model in outermost.values():
            for path, parameter in model.named_parameters():
                node = parameter._node
                if node is not None and node.number in self.nodes:
                    self.named[node.number] = Name(path, plain_latex(path))
        for number, node in self.nodes.items():
            if node.name is not None:
                text = node.name
                self.named[number] = Name(text, text if len(text) == 1 else plain_latex(text))
        self.named.setdefault(self.root.number, Name("C", "C"))
        leaves = [n for n, node in self.nodes.items() if node.primitive is None and n not in self.named]
        for k, number in enumerate(leaves, 1):
            mark = str(k).translate(SUBSCRIPTS) if len(leaves) > 1 else ""
            self.named[number] = Name("x" + mark, f"x_{{{k}}}" if mark else "x")

    def has_own(self, place: Place) -> bool:
        """Whether an element is called by a name that stands for something, and not by its formula."""
        return place[0] in self.named

    def of(self, place: Place) -> Name:
        """Return the name of an element; one without gets one and a definition."""
        symbol = self.symbol(place)
        if symbol.label is None:
            symbol = self._defined(place, symbol)
        return symbol.label or Name("", "")

    def _defined(self, place: Place, formula: Symbol) -> Symbol:
        number = str(len(self.definitions) + 1)
        name = Name("v" + number.translate(SUBSCRIPTS), f"v_{{{number}}}")
        self.definitions.append((name, formula))
        self.symbols[place] = symbol = formula.renamed(name)
        return symbol

    def symbol(self, place: Place) -> Symbol:
        """Return the symbol of an element; what its formula is made of comes first, without recursion."""
        waiting = [place]
        while waiting:
            missing = [] if waiting[-1] in self.symbols else self._sources(waiting[-1])
            if missing:
                waiting += missing
                continue
            done = waiting.pop()
            if done not in self.symbols:
                self.symbols[done] = self._made(done)
        return self.symbols[place]

    def _sources(self, place: Place) -> list[Place]:
        """Return the elements that an element without a name is computed from and that have no symbol yet."""
        node = self.nodes[place[0]]
        if place[0] in self.named:
            return []
        at = np.unravel_index(place[1], node.shape)
        found = [self._source(node, k, node.shape, at) for k in range(len(node.args))]
        return [source for source in found if source is not None and source not in self.symbols]

    def _source(self, node: Node, k: int, shape: tuple[int, ...], at: Sequence[Any]) -> Place | None:
        """Return the element of argument k that enters one element of an elementwise result."""
        parent = node.parents[k]
        if parent is None or parent.number not in self.nodes:
            return None
        inside = _inside(parent.shape, shape, at)
        return None if inside is None else (parent.number, _flat(inside, parent.shape))

    def forget_formulas(self) -> None:
        """Have formulas made anew, of the names that there are now."""
        self.symbols = {place: x for place, x in self.symbols.items() if x.label is not None}

    def _made(self, place: Place) -> Symbol:
        node, position = self.nodes[place[0]], place[1]
        value = np.asarray(node.y.flat[position])
        if place[0] in self.named:
            return Symbol.named(value, self._element(self.named[place[0]], node.y, position))
        operands = self._operands(node, node.shape, position)
        if operands is None or node.primitive is None:
            return self._plain(node, position, value)
        try:
            alone = node.primitive.forward(*[x.data for x in operands], **node.meta)
        except NEEDS_MORE:
            return self._plain(node, position, value)
        if np.shape(alone) != () or not np.allclose(alone, value):
            return self._plain(node, position, value)
        with recording(record_symbol):
            formula = record_symbol(node.primitive, tuple(operands), node.meta, value)
        return self._defined(place, formula) if formula.weight > LONGEST_FORMULA else formula

    def _plain(self, node: Node, position: int, value: Array) -> Symbol:
        """Return the symbol of a value whose formula mixes elements: only its operation is named."""
        alike = [n for n in self.nodes.values() if n.primitive is node.primitive]
        kind = node.primitive.name if node.primitive else ""
        text = f"{kind}{alike.index(node) + 1 if len(alike) > 1 else ''}"
        base = Name(text, plain_latex(text))
        return Symbol.named(value, self._element(base, node.y, position))

    def _element(self, name: Name, array: Array, position: int) -> Name:
        if array.size == 1:
            return name
        at = ", ".join([str(int(i)) for i in np.unravel_index(position, array.shape)])
        return Name(f"{name.text}[{at}]", f"{name.latex}[{at}]")

    def _operands(self, node: Node, shape: tuple[int, ...], position: int) -> list[Symbol] | None:
        """Return the elements that enter one element of an elementwise operation, None if it is not one."""
        operands = []
        at = np.unravel_index(position, shape)
        for k in range(len(node.args)):
            operand = self._operand(node, k, shape, at)
            if operand is None:
                return None
            operands.append(operand)
        return operands

    def _operand(self, node: Node, k: int, shape: tuple[int, ...], at: Sequence[Any]) -> Symbol | None:
        parent, value = node.parents[k], node.args[k]
        if parent is None and value is None:
            return self._forgotten(node, k, int(np.ravel_multi_index(tuple(at), shape)))
        array = np.asarray(value if parent is None else parent.y)
        inside = _inside(array.shape, shape, at)
        if inside is None:
            return None
        position = _flat(inside, array.shape)
        if parent is not None and parent.number in self.nodes:
            return self.symbol((parent.number, position))
        if parent is not None and parent.name:
            return Symbol.named(
                array[inside], self._element(Name(parent.name, plain_latex(parent.name)), array, position)
            )
        return Symbol.constant(array[inside])

    def _forgotten(self, node: Node, k: int, position: int) -> Symbol | None:
        """Work out a constant that a sum did not keep, because no rule reads it."""
        kind = node.primitive.name if node.primitive else ""
        other = node.parents[1 - k] if kind in {"add", "sub"} else None
        if other is None or other.y.size not in (1, node.y.size) or position >= node.y.size:
            return None
        y = float(node.y.flat[position])
        x = float(other.y.flat[position if other.y.size > 1 else 0])
        value = y - x if kind == "add" else y + x if k == 0 else x - y
        return Symbol.constant(float(f"{value:.6g}" if node.dtype == np.float32 else f"{value:.12g}"))

    # ------------------------------------------------------------------ derivatives

    def derivative(self, step: Step) -> Symbol | None:
        """Return the formula of a local derivative, None where it is not one of single elements."""
        node = step.node
        kind = node.primitive.name if node.primitive else ""
        if step.value in (1.0, -1.0) or kind in {"sum", "mean"}:  # the same whatever the values are
            return Symbol.constant(step.value)
        found = self._of_product(step)
        if found is None:
            found = self._of_rule(step)
        if found is None or not np.allclose(found.data, step.value, rtol=1e-4, atol=1e-12):
            return None
        return found

    def _of_product(self, step: Step) -> Symbol | None:
        """Return the other factor, for an entry of x or w in x·wᵀ, and of a or b in a·b."""
        node, kind = step.node, step.node.primitive.name if step.node.primitive else ""
        parent = node.parents[step.position]
        if kind not in {"linear", "matmul", "dot"} or step.position > 1 or parent is None:
            return None
        if any(np.ndim(getattr(x, "y", x)) < 2 for x in node.args[:2]):
            return None
        at = np.unravel_index(step.start[1], parent.shape)
        to = np.unravel_index(step.end[1], node.shape)
        other: tuple[Any, ...]
        if step.position == 0:
            other = (to[-1], at[-1]) if kind == "linear" else (at[-1], to[-1])
        else:
            other = (*to[:-1], at[-1] if kind == "linear" else at[0])
        return self._entry_of(node, 1 - step.position, tuple([int(i) for i in other]))

    def _entry_of(self, node: Node, k: int, at: tuple[int, ...]) -> Symbol | None:
        parent, value = node.parents[k], node.args[k]
        array = value if parent is None else parent.y
        if array is None or np.ndim(array) != len(at):
            return None
        position = int(np.ravel_multi_index(at, array.shape))
        if parent is not None and parent.number in self.nodes:
            return self.symbol((parent.number, position))
        name = (parent.name if parent is not None else None) or "x"
        base = Name(name, name if len(name) == 1 else plain_latex(name))
        return Symbol.named(array[at], self._element(base, array, position))

    def _of_rule(self, step: Step) -> Symbol | None:
        """Feed the rule with the symbols of single elements: right for what works element by element."""
        node = step.node
        parent = node.parents[step.position]
        if parent is None:
            return None
        reduced = parent.y.size > node.y.size
        shape, position = (parent.shape, step.start[1]) if reduced else (node.shape, step.end[1])
        operands = self._operands(node, shape, position)
        rule = next(rule for k, rule in node.pulls if k == step.position)
        if operands is None:
            return None
        y = self.symbol(step.end)
        g = Symbol.named(np.ones(()), Name("g", "g"))
        try:
            with recording(record_symbol):
                return factor(rule(g, y, *operands, **node.meta), g)
        except NEEDS_MORE:
            return None


def _inside(own: tuple[int, ...], shape: tuple[int, ...], at: Sequence[Any]) -> tuple[int, ...] | None:
    """Return where in an array one element of what it broadcasts to comes from, None if it does not."""
    lead = len(shape) - len(own)
    if lead < 0 or any(n not in {1, m} for n, m in zip(own, shape[lead:], strict=True)):
        return None
    return tuple([0 if n == 1 else int(i) for n, i in zip(own, at[lead:], strict=True)])


def _flat(at: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(at, shape)) if at else 0


# ---------------------------------------------------------------------- numbers


def number_text(value: float) -> str:
    """Return a number with five digits: five decimals where that is the same.

    >>> number_text(0.138498562), number_text(-0.0000123456), number_text(1234.5678)
    ('0.13850', '−1.2346e-05', '1234.6')
    """
    text = f"{value:.5f}" if 0.01 <= abs(value) < 1000 else f"{value:.5g}"
    return "0" if value == 0 else text.replace("-", "−", 1) if value < 0 else text


def _signed(value: float, notation: Notation) -> str:
    text = number_text(value)
    if not notation.latex:
        return text
    mantissa, _, exponent = text.replace("−", "-").partition("e")
    return mantissa + (rf" \cdot 10^{{{int(exponent)}}}" if exponent else "")


def _times(values: Sequence[float], notation: Notation) -> str:
    """Return a product of numbers, negative ones in brackets."""
    texts = [_signed(value, notation) for value in values]
    dot = r" \cdot " if notation.latex else " · "
    return dot.join([f"({t})" if t[0] in "-−" and len(texts) > 1 else t for t in texts])


def _ratio(above: Name, below: Name, notation: Notation) -> str:
    if notation.latex:
        return rf"\frac{{\partial {above.latex}}}{{\partial {below.latex}}}"
    return f"∂{above.text}/∂{below.text}"
