"""What a mutant changes: one place in the formulas of a function, found in its source."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from microgradnet import ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

Function: TypeAlias = Any
"""What ``def`` and ``lambda`` make; mypy knows it as a Callable, which has no code."""
FACTOR = 1.001
TRANSPOSED = "_transposed_by_a_mutant"  # a global of the mutated module while a mutant of this kind lives
COMMUTES = {"maximum", "minimum", "equal", "logical_and", "multiply", "add", "isin", "result_type"}
CONVERSIONS = {"floats", "asarray", "astype", "float", "valued", "_valued", "fixed", "len", "list", "tuple"}
"""Functions that change how a number is held, not which number it is."""
NO_ARITHMETIC = (
    ast.JoinedStr,
    ast.Lambda,
    ast.ListComp,
    ast.GeneratorExp,
    ast.DictComp,
    ast.Subscript,
)
MODULES = {"np", "ops", "math", "F", "self", "itertools"}


class Mutant(NamedTuple):
    """A function with one change: how it reads, the code that does it, whether it is of a whole formula."""

    change: str
    code: CodeType
    whole: bool

    @property
    def transposes(self) -> bool:
        """Whether the change is a transposition."""
        return TRANSPOSED in self.code.co_names


class Transposition:
    """Puts the elements of an array in another order, in its own shape: transposed, or reversed on one axis.

    ``seen`` tells whether that ever was possible (in a number or a column there is nothing to transpose), and
    ``in_vain`` how often it was not.
    """

    def __init__(self) -> None:
        self.seen = False
        self.in_vain = 0

    def __call__(self, x: Any) -> Any:
        """Return x with its elements in another order."""
        shape = getattr(x, "shape", ())
        if sum(n > 1 for n in shape) < (1 if len(shape) < 2 else 2):
            self.in_vain += 1
            return x
        self.seen = True
        return ops.flip(x) if len(shape) == 1 else ops.reshape(ops.transpose(x), x.shape)


# ---------------------------------------------------------------------- where a function stands


@functools.cache
def _tree(path: str) -> ast.Module:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a path as code objects have it
        return ast.parse(file.read())


def definition(function: Function) -> ast.Lambda | ast.FunctionDef:
    """Find the lambda or def that a function was made by: of those in its line, the one of the same code."""
    code = function.__code__
    found: dict[str, tuple[bool, ast.Lambda | ast.FunctionDef]] = {}
    for node in ast.walk(_tree(inspect.getfile(function))):
        if isinstance(node, (ast.Lambda, ast.FunctionDef)):
            first = min([node.lineno, *[d.lineno for d in getattr(node, "decorator_list", ())]])
            own = compiled(node, function) if first == code.co_firstlineno else None
            if own is not None and _reads(own) == _reads(code):
                found[ast.dump(node)] = (own.co_code == code.co_code, node)
    exact = [node for same, node in found.values() if same or len(found) == 1]
    if len(exact) != 1:
        raise LookupError(
            f"{len(exact)} definitions of {function} in {code.co_filename}: give each its own line"
        )
    return exact[0]


def _reads(code: CodeType) -> tuple[Any, ...]:
    """Return what tells the code of two lambdas in one line apart: names, parameters and numbers."""
    numbers = [constant for constant in code.co_consts if isinstance(constant, (int, float))]
    return code.co_names, code.co_varnames, code.co_freevars, numbers


def compiled(node: ast.Lambda | ast.FunctionDef, function: Function) -> CodeType:
    """Compile a definition as the function's own code: with its free variables, without its decorators."""
    free = function.__code__.co_freevars
    node = copy.deepcopy(node)
    module = ast.parse(f"def factory({', '.join(free)}): pass")
    factory: Any = module.body[0]
    if isinstance(node, ast.FunctionDef):
        node.decorator_list, node.returns, node.name = [], None, "made"  # its name must not hide a global one
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        factory.body = [node, ast.Return(ast.Name(node.name, ast.Load()))]
    else:
        factory.body = [ast.Return(node)]
    program = compile(ast.fix_missing_locations(module), function.__code__.co_filename, "exec")
    made: dict[str, Any] = {}
    exec(program, function.__globals__, made)  # noqa: S102 - our own source
    return made["factory"](*[None] * len(free)).__code__


def _keeping_names(node: ast.Lambda | ast.FunctionDef, free: tuple[str, ...]) -> None:
    """Mention every free variable: the code must fit the function's cells also where a change drops one."""
    if not free:
        return
    mention = ast.Tuple([ast.Name(name, ast.Load()) for name in free], ast.Load())
    if isinstance(node, ast.Lambda):
        node.body = ast.IfExp(ast.Constant(True), node.body, mention)
    else:
        node.body.insert(0, ast.If(ast.Constant(False), [ast.Expr(mention)], []))


# ---------------------------------------------------------------------- what can be changed


def mutants(function: Function) -> Iterator[Mutant]:
    """Yield every mutant of a function: each change of each formula in it."""
    original = definition(function)
    free = function.__code__.co_freevars
    seen = set()
    for path, change, make in _changes(original):
        mutated = copy.deepcopy(original)
        holder, field, place = _reach(mutated, path)
        node = getattr(holder, field) if place is None else getattr(holder, field)[place]
        new = make(node)
        text = f"{ast.unparse(node)} → {change or ast.unparse(new)}"
        if place is None:
            setattr(holder, field, new)
        else:
            getattr(holder, field)[place] = new
        while text in seen:  # the same text at another place
            text += " (again)"
        seen.add(text)
        _keeping_names(mutated, free)
        yield Mutant(text, compiled(mutated, function), bool(change))


Path = tuple[tuple[str, "int | None"], ...]


def _reach(root: ast.AST, path: Path) -> tuple[Any, str, int | None]:
    node: Any = root
    for field, place in path[:-1]:
        node = getattr(node, field) if place is None else getattr(node, field)[place]
    return (node, *path[-1])


def _changes(root: ast.AST) -> Iterator[tuple[Path, str, Callable[[Any], ast.expr]]]:
    """Yield where to change what: the path from the root, what to call it, and what to put there."""
    for path, node, whole in _expressions(root, ()):
        if whole:
            yield path, f"× {FACTOR}", lambda e: ast.BinOp(ast.Constant(FACTOR), ast.Mult(), e)
            yield path, "negated", lambda e: ast.UnaryOp(ast.USub(), e)
            yield path, "× 0", lambda e: ast.BinOp(ast.Constant(0.0), ast.Mult(), e)
            yield path, "transposed", lambda e: ast.Call(ast.Name(TRANSPOSED, ast.Load()), [e], [])
        for make in _partial(node):
            yield path, "", make


def _partial(node: ast.expr) -> Iterator[Callable[[Any], ast.expr]]:
    """Yield the changes inside a formula: a term, factor or function dropped, a sign, an order, a number."""
    if isinstance(node, ast.BinOp):
        yield from _of_two(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if not isinstance(node.operand, ast.Constant):
            yield lambda e: e.operand
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield lambda e: e.value
    elif isinstance(node, ast.Compare) and not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        yield lambda e: ast.Compare(e.comparators[0], e.ops, [e.left])
    elif isinstance(node, ast.Call):
        yield from _of_call(node)


def _of_two(node: ast.BinOp) -> Iterator[Callable[[Any], ast.expr]]:
    """Yield one operand alone, the other sign, and another number."""
    yield lambda e: e.left
    if not isinstance(node.op, (ast.Pow, ast.Div)):
        yield lambda e: e.right
    if isinstance(node.op, (ast.Add, ast.Sub)):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield lambda e: ast.BinOp(e.left, other, e.right)
    for side in ("left", "right"):
        number = getattr(node, side)
        if isinstance(number, ast.Constant) and isinstance(number.value, (int, float)):
            yield functools.partial(_scaled, side=side)


def _of_call(node: ast.Call) -> Iterator[Callable[[Any], ast.expr]]:
    """Yield a call without its function (its first argument, or the method's object), and reordered."""
    function, arguments = node.func, node.args
    if any(isinstance(argument, ast.Starred) for argument in arguments):
        return
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    own = function.value if isinstance(function, ast.Attribute) else None
    if name in CONVERSIONS:
        return
    if own is not None and not (isinstance(own, ast.Name) and own.id in MODULES):
        yield lambda e: e.func.value
    elif arguments:
        yield lambda e: e.args[1 if name.endswith("where") and len(e.args) == 3 else 0]
    twins = len(arguments) == 2 and ast.dump(arguments[0]) == ast.dump(arguments[1])
    if len(arguments) == 2 and name not in COMMUTES and not twins:
        yield lambda e: ast.Call(e.func, e.args[::-1], e.keywords)
    if len(arguments) == 3 and name.endswith("where"):
        yield lambda e: ast.Call(e.func, [e.args[0], e.args[2], e.args[1]], e.keywords)


def _scaled(e: Any, side: str) -> ast.expr:
    new = copy.deepcopy(e)
    setattr(new, side, ast.Constant(FACTOR * getattr(e, side).value))
    return new


def _expressions(root: ast.AST, path: Path) -> Iterator[tuple[Path, ast.expr, bool]]:
    """Yield the formulas of a function and what is in them: path, expression, whether it is a formula."""
    if isinstance(root, ast.Lambda):
        yield from _within(root.body, (*path, ("body", None)), whole=True)
        return
    for field in ("body", "orelse"):
        for place, statement in enumerate(getattr(root, field, [])):
            here = (*path, (field, place))
            if isinstance(statement, (ast.If, ast.For, ast.With)):
                yield from _expressions(statement, here)
            elif isinstance(statement, ast.Return) and statement.value is not None:
                yield from _within(statement.value, (*here, ("value", None)), whole=True)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and statement.value:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                stored = isinstance(targets[0], ast.Subscript) or isinstance(statement, ast.AugAssign)
                stored = stored or isinstance(statement.value, ast.BinOp)
                yield from _within(statement.value, (*here, ("value", None)), whole=stored)


def _within(node: ast.expr, path: Path, *, whole: bool) -> Iterator[tuple[Path, ast.expr, bool]]:
    """Yield an expression and its parts, but for what is no arithmetic: texts, conditions, indices."""
    if isinstance(node, NO_ARITHMETIC):
        return
    for kind, field in ((ast.Tuple, "elts"), (ast.List, "elts"), (ast.Dict, "values")):
        if isinstance(node, kind):
            for place, element in enumerate(getattr(node, field)):
                yield from _within(element, (*path, (field, place)), whole=whole or kind is ast.Dict)
            return
    if isinstance(node, (ast.Starred, ast.IfExp)):
        for field in ("value",) if isinstance(node, ast.Starred) else ("body", "orelse"):
            yield from _within(getattr(node, field), (*path, (field, None)), whole=whole and field != "value")
        return
    yield path, node, whole and not isinstance(node, ast.Constant)
    for field, value in ast.iter_fields(node):
        parts = value if isinstance(value, list) else [value]
        for place, part in enumerate(parts):
            if isinstance(part, ast.expr):
                step = (field, place if isinstance(value, list) else None)
                yield from _within(part, (*path, step), whole=False)
