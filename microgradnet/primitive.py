"""Primitive: an operation as a forward on arrays and one gradient rule per argument; calling it records."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy import ndarray

from microgradnet.graph import Node, Value, current_scope, tracer, tracers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet.graph import Version

Rule: TypeAlias = "Callable[..., Any]"
Pull: TypeAlias = "tuple[int, Rule]"
"""One gradient to compute: the argument's position and its rule."""
Plan: TypeAlias = "tuple[tuple[Pull, ...], tuple[int, ...]]"
"""What a call must remember: the gradients to compute, and the positions that none of their rules reads."""


class Primitive:
    """An operation: its name, its forward on arrays, and one gradient rule per positional argument.

    A rule maps (g, y, x, …) to ∂L/∂x, where y = forward(x, …) and g = ∂L/∂y, in ordinary arithmetic:

    >>> import numpy as np
    >>> from microgradnet import Primitive, Tensor
    >>> cube = Primitive("cube", lambda x: x**3, lambda g, _y, x: g * 3 * x**2)
    >>> x = Tensor([2.0], requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    array([12.])

    The same rule serves every master: fed with arrays it is the fast backward pass, fed with tensors its
    result is a graph again, which gives any higher order.

    Every array is positional, whether it is differentiable or not (the rule of one that is not is ``None``).
    Keyword arguments are static metadata (axis, shape, slices); the forward and every rule receive them.
    A rule's parameter whose name starts with an underscore is not read: its array is not kept for the
    backward pass. Of the argument that the rule is for, ``shape``, ``ndim`` and ``dtype`` may be asked.

    ``broadcasts`` says how shapes are undone: ``None`` for an operation whose rule returns its argument's
    exact shape, 0 for one whose arguments broadcast entirely, 2 where the last two axes belong to the
    operation (matmul). A NumPy ufunc says it of itself. Rules never mention it: the sweep sums.

    The forward returns a new array, a view of an argument, or its first or last argument itself.

    With ``rule_for``, the number of arguments is open: ``rule_for(i)`` gives the rule of argument i.
    """

    __slots__ = ("_plans", "broadcasts", "forward", "name", "rule_for", "rules")

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        *rules: Rule | None,
        broadcasts: int | None = None,
        rule_for: Callable[[int], Rule | None] | None = None,
    ) -> None:
        if rules and rule_for:
            message = f"Primitive '{name}': give one rule per argument or rule_for=, not both"
            raise TypeError(message)
        if broadcasts is None and isinstance(forward, np.ufunc) and forward.nin > 1:
            broadcasts = 0 if forward.signature is None else 2
        self.name = name
        self.forward = forward
        self.broadcasts = broadcasts
        self.rule_for = rule_for
        self.rules = rules
        self._plans: dict[int, Plan] = {}

    @classmethod
    def define(
        cls, *rules: Rule | None, broadcasts: int | None = None
    ) -> Callable[[Callable[..., Any]], Primitive]:
        """Make a primitive of a function, as a decorator; its name is the function's.

        >>> import microgradnet as mg
        >>> @mg.Primitive.define(lambda g, _y, x: g * 2 * x)
        ... def square(x):
        ...     return x * x
        >>> x = mg.Tensor(3.0, requires_grad=True)
        >>> square(x).backward()
        >>> x.grad
        array(6.)
        """
        return lambda forward: cls(forward.__name__, forward, *rules, broadcasts=broadcasts)

    def __call__(self, *args: Any, **meta: Any) -> Any:  # noqa: C901, PLR0912 - the hot path: calls would cost time
        """Compute the forward: arrays in → array out, nothing recorded; tensors in → tensor out, recorded."""
        if tracers and (recorder := tracer()) is not None:
            return recorder.call(self, args, meta)
        if len(args) == 1 and type(args[0]) is ndarray:
            return self.forward(args[0], **meta)
        arrays: list[Any] = []
        parents: list[Node | None] = []
        versions: list[Version | None] = []
        maker: Value | None = None
        needs, bit = 0, 1  # which arguments ask for a gradient, as bits
        for arg in args:
            if isinstance(arg, Value):
                maker = arg
                node = arg._node
                arrays.append(arg._array)
                parents.append(node)
                versions.append(arg._version)
                if node is not None and node.requires_grad:
                    needs |= bit
            else:
                arrays.append(np.asarray(arg) if isinstance(arg, (list, tuple)) else arg)
                parents.append(None)
                versions.append(None)
            bit += bit
        y = self.forward(*arrays, **meta) if meta else self.forward(*arrays)
        if maker is None:
            return y
        if type(y) is not ndarray:
            y = np.asarray(y)
        version = [0]
        if y.base is not None or y is arrays[0] or y is arrays[-1]:
            version = _shared_version(y, arrays, versions)
        if needs:
            scope = current_scope.get()
            if scope.enabled:
                if scope.enabled is not True:
                    return scope.enabled(self, args, meta, y)
                pulls, unread = self._plans.get(needs | bit) or self._plan(needs, len(args))
                if pulls:
                    for i in unread:
                        arrays[i], versions[i] = parents[i], None
                    node = Node(y, version, self, meta, parents, arrays, versions, pulls, scope)
                    return maker._box(y, node, version)
        return maker._box(y, None, version)

    def _plan(self, needs: int, count: int) -> Plan:
        """Decide, for the arguments that ask for a gradient, which rules run and what none of them reads."""
        rules = [self.rule_for(i) for i in range(count)] if self.rule_for else self.rules or [None] * count
        if len(rules) != count:
            message = (
                f"{self.name}: called with {count} positional arguments, but it has {len(rules)} "
                "gradient rules; give one per array (None where there is none), and pass metadata by keyword"
            )
            raise TypeError(message)
        pulls = tuple([(i, rule) for i, rule in enumerate(rules) if rule is not None and needs >> i & 1])
        read = [reads(rule, 2 + count) for _, rule in pulls]
        unread = tuple(
            sorted({*range(count)} - {position - 2 for positions in read for position in positions})
        )
        self._plans[needs | 1 << count] = plan = (pulls, unread)
        return plan

    def __repr__(self) -> str:
        return f"<Primitive {self.name}>"


def _shared_version(y: Any, arrays: Sequence[Any], versions: Sequence[Version | None]) -> Version:
    """Return the version cell of the tensor that ``y`` is a view of, a fresh one if it is of none."""
    for array, version in zip(arrays, versions, strict=True):
        if version is not None and np.may_share_memory(y, array):
            return version
    return [0]


def reads(rule: Rule, count: int) -> set[int]:
    """Tell which of its first ``count`` parameters (0: g, 1: y, 2…: the arguments) a rule reads, by name."""
    parameters = inspect.signature(rule).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "_")
    read = {position for position, name in enumerate(names) if not name.startswith("_")}
    return read if rest.startswith("_") else read | {*range(len(names), count)}
