"""Symbols: tensors with a name or the formula that they came from; fed to a rule, they give its formula."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from microgradnet import ops
from microgradnet.graph import Node, Scope, Value, current_scope
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from microgradnet.graph import Array, Version
    from microgradnet.primitive import Primitive

_WANTED = Node.leaf(np.zeros(()), [0])  # stands behind every symbol: primitives ask the recorder about it


@dataclass(frozen=True)
class Name:
    """How a value is called in a terminal and in LaTeX."""

    text: str
    latex: str


class SymbolError(TypeError):
    """A rule asks a symbol for its value: it branches on numbers, and has no single formula."""


class Symbol(Tensor):
    """A value at one point, and its formula: a name, a number, or a primitive with its operands.

    The value gives shape and dtype, and every formula can be checked against it.
    """

    __slots__ = ("label", "meta", "number", "operands", "primitive", "weight")

    label: Name | None
    number: float | None
    primitive: Primitive | None
    operands: tuple[Any, ...]
    meta: dict[str, Any]
    weight: int
    """How many operations the formula has: 0 for a name or a number."""

    @classmethod
    def _made(cls, value: Array) -> Symbol:
        symbol = cls.__new__(cls)
        symbol._array, symbol._node, symbol._version = value, _WANTED, [0]
        symbol.label = symbol.number = symbol.primitive = None
        symbol.operands, symbol.meta, symbol.weight = (), {}, 0
        return symbol

    @classmethod
    def named(cls, value: Any, name: Name) -> Symbol:
        """Make a symbol that is shown by its name."""
        symbol = cls._made(np.asarray(value))
        symbol.label = name
        return symbol

    @classmethod
    def constant(cls, value: Any) -> Symbol:
        """Make a symbol of a number, or of an array: uniform ones are numbers, others show their shape."""
        array = np.asarray(value)
        symbol = cls._made(array)
        if array.size and (array == array.flat[0]).all():
            symbol.number = float(array.flat[0])
        else:
            symbol.label = Name(f"constant{array.shape}", rf"\mathrm{{constant}}{array.shape}")
        return symbol

    @classmethod
    def call(cls, primitive: Primitive, operands: tuple[Any, ...], meta: Mapping[str, Any], y: Any) -> Symbol:
        """Make the symbol of an operation as it stands, not simplified."""
        symbol = cls._made(np.asarray(y))
        symbol.primitive, symbol.meta = primitive, dict(meta)
        symbol.operands = tuple([x if isinstance(x, Symbol) else cls.constant(x) for x in operands])
        symbol.weight = 1 + sum(x.weight for x in symbol.operands)
        return symbol

    @property
    def kind(self) -> str:
        """The name of the operation, empty for names and numbers."""
        return self.primitive.name if self.primitive else ""

    def renamed(self, name: Name) -> Symbol:
        """Return the same value under a name."""
        return Symbol.named(self._array, name)

    def _refuse(self, *_: Any) -> NoReturn:
        raise SymbolError("a rule that asks for the value of a symbol has no single formula")

    __bool__ = __float__ = __int__ = __index__ = _refuse
    item = tolist = _refuse

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._refuse()


class Boxer(Value):
    """Gives the sweep a symbol for every node that it boxes."""

    __slots__ = ("symbols",)

    def __init__(self, symbols: Mapping[int, Symbol]) -> None:
        self.symbols = symbols

    def _box(self, array: Array, node: Node | None, version: Version) -> Any:  # type: ignore[override]
        return Symbol.constant(array) if node is None else self.symbols[node.number]


@contextlib.contextmanager
def recording(recorder: Callable[..., Any]) -> Iterator[None]:
    """Hand every call of a primitive that leads to a gradient to ``recorder(primitive, args, meta, y)``."""
    token = current_scope.set(Scope(recorder, outer=current_scope.get()))
    try:
        yield
    finally:
        current_scope.reset(token)


def record_whole(primitive: Primitive, args: tuple[Any, ...], meta: dict[str, Any], y: Any) -> Tensor:
    """Record a call of tensors with all that entered it, also what no rule reads: formulas show it."""
    parents = [x._node if isinstance(x, Value) else None for x in args]
    arrays = [x._array if isinstance(x, Value) else x for x in args]
    versions = [None if parent is None else [0] for parent in parents]
    rules = [primitive.rule_for(i) for i in range(len(args))] if primitive.rule_for else primitive.rules
    pulls = tuple(
        [
            (i, rule)
            for i, (rule, parent) in enumerate(zip(rules, parents, strict=True))
            if rule is not None and parent is not None and parent.requires_grad
        ]
    )
    if not pulls:
        return Tensor(y)
    node = Node(y, [0], primitive, meta, parents, arrays, versions, pulls, current_scope.get())
    return Tensor._box(y, node, [0])


# ---------------------------------------------------------------------- formulas


def record_symbol(primitive: Primitive, args: tuple[Any, ...], meta: dict[str, Any], y: Any) -> Symbol:
    """Make the formula of a call of symbols, with the plainest simplifications."""
    symbol = Symbol.call(primitive, args, meta, y)
    simplify = _SIMPLER.get(symbol.kind)
    if symbol.kind == "zeros_like" or all(x.number is not None for x in symbol.operands):
        number = Symbol.constant(y)
        if number.number is not None:
            return number
    plainer = simplify(symbol, *symbol.operands) if simplify else None
    return symbol if plainer is None else plainer


def _is(x: Symbol, number: float, shape: tuple[int, ...], other: Symbol) -> bool:
    """Whether x is that number and the other operand alone has the shape of the result."""
    return x.number == number and other.shape == shape


def _scaled(number: float, x: Symbol, y: Any) -> Symbol:
    """number·x, of value y."""
    if number == 1 and x.shape == np.shape(y):
        return x
    if x.kind == "neg":
        number, x = -number, x.operands[0]
    if x.kind == "mul" and x.operands[0].number is not None:
        number, x = number * x.operands[0].number, x.operands[1]
    if x.kind in {"div", "ratio"} and x.operands[0].number is not None:
        above = Symbol.constant(number * x.operands[0].data)
        return Symbol.call(ops.div, (above, x.operands[1]), {}, y)
    if number == -1 and x.kind == "sub":
        return Symbol.call(ops.sub, x.operands[::-1], {}, y)
    if number == -1:
        return Symbol.call(ops.neg, (x,), {}, y)
    return Symbol.call(ops.mul, (Symbol.constant(number), x), {}, y)


def _product(result: Symbol, a: Symbol, b: Symbol) -> Symbol | None:
    """Numbers and signs come to the front."""
    y = result.data
    for one, other in ((a, b), (b, a)):
        if _is(one, 1, result.shape, other):
            return other
        if one.number == 0:
            return Symbol.constant(y)
        if one.number is not None:
            return _scaled(one.number, other, y)
    for i, (one, other) in enumerate(((a, b), (b, a))):
        front = -1.0 if one.kind == "neg" else one.operands[0].number if one.kind == "mul" else None
        if front is not None:
            rest = one.operands[-1]
            pair = (other, rest) if i else (rest, other)
            return _scaled(front, record_symbol(ops.mul, pair, {}, y / front), y)
    return None


def _quotient(result: Symbol, a: Symbol, b: Symbol) -> Symbol | None:
    if b.number:
        return _scaled(1 / b.number, a, result.data)
    if a.kind == "mul" and a.operands[0].number is not None:
        number = a.operands[0].number
        inner = Symbol.call(ops.div, (a.operands[1], b), {}, result.data / number)
        return _scaled(number, inner, result.data)
    return None


def _negative(result: Symbol, x: Symbol) -> Symbol | None:
    return _scaled(-1, x, result.data) if x.kind in {"neg", "mul", "sub"} else None


def _sum_of_two(result: Symbol, a: Symbol, b: Symbol) -> Symbol | None:
    for one, other in ((a, b), (b, a)):
        if _is(one, 0, result.shape, other):
            return other
    if b.kind == "neg":
        return Symbol.call(ops.sub, (a, b.operands[0]), {}, result.data)
    if b.kind == "mul" and (b.operands[0].number or 0) < 0:
        return Symbol.call(ops.sub, (a, _scaled(-1, b, -b.data)), {}, result.data)
    return None


_SIMPLER: dict[str, Callable[..., Symbol | None]] = {
    "mul": _product,
    "div": _quotient,
    "ratio": _quotient,
    "neg": _negative,
    "add": _sum_of_two,
}


def count(formula: Symbol, atom: Symbol) -> int:
    """How often a symbol stands in a formula."""
    return 1 if formula is atom else sum(count(x, atom) for x in formula.operands)


def factor(formula: Symbol, g: Symbol) -> Symbol | None:
    """Return f where the formula is g ⊙ f, None where it is no such product.

    Inside ``recording(record_symbol)`` only.
    """
    if formula is g:
        return Symbol.constant(1.0)
    if formula.number == 0:
        return formula
    inner, kind = formula.operands, formula.kind
    parts = [factor(x, g) if count(x, g) or x.number == 0 else None for x in inner]
    found: Any = None
    if kind in {"mul", "div", "ratio"}:
        a, b = parts
        if a is not None and not count(inner[1], g):
            found = a * inner[1] if kind == "mul" else a / inner[1]
        elif b is not None and kind == "mul" and not count(inner[0], g):
            found = inner[0] * b
    elif kind == "neg" and parts[0] is not None:
        found = -parts[0]
    elif kind == "where" and parts[1] is not None and parts[2] is not None:
        found = ops.where(inner[0], parts[1], parts[2])
    return found
