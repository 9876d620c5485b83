"""Number: a hyperparameter while a step is traced, so that arithmetic on it is recorded, not computed."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NoReturn

from microgradnet import ops
from microgradnet.compiler.errors import CompileError
from microgradnet.graph import Value

if TYPE_CHECKING:
    from collections.abc import Callable


class Notes:
    """What the numbers of one trace share: what was asked of them, and what was computed from them."""

    def __init__(self) -> None:
        self.conditions: list[tuple[Number, bool]] = []
        self.made: dict[Any, Number] = {}


class Number(Value):
    """A Python number that is read anew at each call, and what is computed from such numbers.

    With a tensor it makes a tensor, recorded; with a number, another Number. Where Python asks whether it is
    true, or compares it, the answer is kept as a condition of the program.
    """

    __slots__ = ("casts", "compute", "notes", "parts", "slot")

    def __init__(
        self,
        value: Any,
        compute: Callable[..., Any],
        parts: tuple[Any, ...],
        notes: Notes,
    ) -> None:
        self._array = value
        self._node = None
        self._version = [0]
        self.compute = compute
        self.parts = parts
        self.notes = notes
        self.slot: Any = None
        self.casts: dict[Any, Any] = {}
        """Its slots as an array, by dtype."""

    def evaluate(self, known: dict[Number, Any]) -> Any:
        """Return the value for the hyperparameters as they are now; ``known`` keeps what was computed."""
        if self not in known:
            parts = [part.evaluate(known) if isinstance(part, Number) else part for part in self.parts]
            known[self] = self.compute(*parts)
        return known[self]

    def _with(self, function: Callable[..., Any], operation: Any, *args: Any) -> Any:
        if any(isinstance(arg, Value) and not isinstance(arg, Number) for arg in args):
            return operation(*args)
        values = [arg._array if isinstance(arg, Number) else arg for arg in args]
        key = (function, *[id(arg) if isinstance(arg, Number) else (type(arg), arg) for arg in args])
        if key not in self.notes.made:
            self.notes.made[key] = Number(function(*values), function, args, self.notes)
        return self.notes.made[key]

    def _asked(self, function: Callable[..., Any], *args: Any) -> bool:
        values = [arg._array if isinstance(arg, Number) else arg for arg in args]
        answer = bool(function(*values))
        self.notes.conditions.append((Number(answer, function, args, self.notes), answer))
        return answer

    def __add__(self, other: Any) -> Any:
        return self._with(operator.add, ops.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return self._with(operator.add, ops.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return self._with(operator.sub, ops.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._with(operator.sub, ops.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return self._with(operator.mul, ops.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._with(operator.mul, ops.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._with(operator.truediv, ops.div, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(operator.truediv, ops.div, other, self)

    def __pow__(self, other: Any) -> Any:
        return self._with(operator.pow, ops.power, self, other)

    def __rpow__(self, other: Any) -> Any:
        return self._with(operator.pow, ops.power, other, self)

    def __neg__(self) -> Any:
        return self._with(operator.neg, ops.neg, self)

    def __bool__(self) -> bool:
        return self._asked(bool, self)

    def __eq__(self, other: object) -> bool:
        return self._asked(operator.eq, self, other)

    def __ne__(self, other: object) -> bool:
        return self._asked(operator.ne, self, other)

    def __lt__(self, other: Any) -> bool:
        return self._asked(operator.lt, self, other)

    def __le__(self, other: Any) -> bool:
        return self._asked(operator.le, self, other)

    def __gt__(self, other: Any) -> bool:
        return self._asked(operator.gt, self, other)

    def __ge__(self, other: Any) -> bool:
        return self._asked(operator.ge, self, other)

    __hash__ = object.__hash__

    def refuse_escape(self) -> NoReturn:
        """Refuse that Python looks at the value, which it would keep for every later call."""
        message = (
            "a hyperparameter is turned into a plain number while the step is being compiled, which would "
            "keep this one value; use arithmetic alone in the rule: x ** 0.5 in place of math.sqrt(x)"
        )
        raise CompileError(message)

    def __float__(self) -> float:
        self.refuse_escape()

    def __int__(self) -> int:
        self.refuse_escape()

    def __index__(self) -> int:  # noqa: PLE0305 - it never returns
        self.refuse_escape()

    def __array__(self, *_: Any, **__: Any) -> Any:
        self.refuse_escape()
