"""The backward sweep, and what is built on it: backward(), grad(), vjp, jvp, jacobian, hessian, hvp."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import repeat
from operator import is_
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
from numpy import ndarray

from microgradnet.graph import (
    Array,
    Node,
    Scope,
    Value,
    ancestors,
    current_scope,
    fixed,
    last_write,
    require_floating,
    tracer,
    tracers,
)
from microgradnet.ops import astype, stack, sum_to
from microgradnet.primitive import reads

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

Handed: TypeAlias = "tuple[int, Node, Any, Any]"
"""One contribution: the argument's position, its node, ∂L/∂argument by this path, the running sum there."""
Visit: TypeAlias = "tuple[Node, Any, list[Handed]]"
"""What happens at one node: the node, ∂L/∂y as it arrived in full, and what it hands to its arguments."""


def sweep(  # noqa: C901, PLR0912 - the hot path: calls would cost time
    gradients: dict[Node, Any],
    boxer: Value | None = None,
    among: Container[Node] | None = None,
    watch: Callable[[Node, Any, list[Handed]], Any] | None = None,
) -> list[tuple[Node, Any]]:
    """Turn each gradient into contributions to the node's arguments, newest first; return what to store.

    The one backward pass that there is. ``gradients`` holds the seeds, and is written to. With a ``boxer``
    the rules are fed with tensors of its kind, which makes every gradient a graph; without, with arrays.
    Contributions go to all that requires a gradient, or only to what is ``among`` these. ``watch`` is told
    what happens at each node; leaves come last.
    """
    stored: list[tuple[Node, Any]] = []
    leaves = [node for node in gradients if node.primitive is None]
    queue = [(-node.number, node) for node in gradients if node.primitive is not None]
    heapify(queue)
    while queue:
        _, node = heappop(queue)  # all that was computed from it is newer, so that its gradient is complete
        g = gradients.pop(node)
        if node.hooks:
            g = _hooked(g, node, boxer)
        if node.retains_grad:
            stored.append((node, g))
        if node.freed or last_write[0] > node.number:
            _check_usable(node, among)
        y, args, meta, parents = node.y, node.args, node.meta, node.parents
        if boxer is not None:
            y, args = _boxed(node, boxer)
        handed: list[Handed] = []
        for i, rule in node.pulls:
            parent = parents[i]
            if parent is None or not (parent.requires_grad if among is None else parent in among):
                continue
            c = rule(g, y, *args, **meta) if meta else rule(g, y, *args)
            x = parent.y
            if type(c) is not ndarray or c.shape != x.shape or c.dtype is not x.dtype:
                c = _conform(c, node, i, parent, boxer)
            total = gradients.get(parent)
            if total is not None:
                total = _dressed(total + c, boxer)
            elif parent.primitive is not None:
                total = c
                heappush(queue, (-parent.number, parent))
            else:  # a leaf is going to store it: nobody else may hold it, and it is to be C-ordered
                total = c if boxer is not None or _is_own(c, g, y, args) else c.copy()
                leaves.append(parent)
            gradients[parent] = total
            if watch is not None:
                handed.append((i, parent, c, total))
        if watch is not None:
            watch(node, g, handed)
    for leaf in leaves:
        g = gradients[leaf]
        if leaf.hooks:
            g = _hooked(g, leaf, boxer)
        stored.append((leaf, g))
        if watch is not None:
            watch(leaf, g, [])
    return stored


def visits(
    gradients: dict[Node, Any], boxer: Value | None = None, among: Container[Node] | None = None
) -> list[Visit]:
    """Run the sweep, and return what happened at each node, in order."""
    found: list[Visit] = []
    sweep(gradients, boxer, among, lambda *visit: found.append(visit))
    return found


def _is_own(c: Array, g: Array, y: Array, args: Sequence[Any]) -> bool:
    """Whether a rule has made this array anew, C-ordered (``in`` would compare elements)."""
    return (
        c.base is None and c.flags.carray and c is not g and c is not y and not any(map(is_, args, repeat(c)))
    )


def _check_usable(node: Node, among: Container[Node] | None) -> None:
    """Refuse a node whose arrays were freed, or written to after it had saved them for a rule that runs."""
    if node.freed:
        message = (
            f"{node.describe()} was freed by an earlier backward(retain_graph=False); "
            "keep the graph with retain_graph=True (the default), or compute the loss again"
        )
        raise RuntimeError(message)
    parents = node.parents
    for k, version in enumerate((node.version, *node.versions)):  # y, then the arguments
        if version is None or version[0] <= node.number:
            continue
        for i, rule in node.pulls:
            parent = parents[i]
            if parent is None or not (parent.requires_grad if among is None else parent in among):
                continue
            if 1 + k in reads(rule, 2 + len(parents)):
                argument = parents[k - 1] if k else None
                origin = argument.describe(node.scope) if argument else "a constant"
                what = f"argument {k - 1} ({origin})" if k else "the result"
                _refuse(what, node)


def _refuse(what: str, node: Node) -> NoReturn:
    message = (
        f"{what} of {node.describe()} was changed in place after it had been saved for the gradient; "
        "call backward() before the change, change a copy (`t = t + …`), or compute the loss again"
    )
    raise RuntimeError(message)


def _boxed(node: Node, boxer: Value) -> tuple[Any, Sequence[Any]]:
    """Give the rules tensors in place of the saved arrays, joined to the graph that they came from."""
    y = boxer._box(node.y, node, node.version)
    args = [
        boxer._box(arg, parent, version) if version is not None else arg
        for arg, parent, version in zip(node.args, node.parents, node.versions, strict=True)
    ]
    return y, args


def _dressed(g: Any, boxer: Value | None) -> Any:
    """Make a gradient an array, or a tensor where tensors flow, also where NumPy gave a scalar."""
    if boxer is None:
        return g if type(g) is np.ndarray else g._array if isinstance(g, Value) else np.asarray(g)
    return g if isinstance(g, Value) else boxer._box(np.asarray(g), None, [0])


def _conform(c: Any, node: Node, i: int, parent: Node, boxer: Value | None) -> Any:
    """Undo broadcasting, cast to the argument's dtype, and check what the rule returned."""
    if c is None:
        message = (
            f"{_rule_name(node, i)} returned None; give None in place of the rule where there is no gradient"
        )
        raise TypeError(message)
    c = _dressed(c, boxer)
    if c.shape != parent.shape:
        own = node.primitive.broadcasts if node.primitive else None
        expected, advice = parent.shape, " (an operation that broadcasts says so: Primitive(…, broadcasts=0))"
        if own is not None:
            expected, advice = node.shape[: node.ndim - own] + parent.shape[parent.ndim - own :], ""
        if c.shape != expected:
            message = f"{_rule_name(node, i)} returned shape {c.shape}; expected {expected}{advice}"
            raise ValueError(message)
        c = _dressed(sum_to(c, parent.shape), boxer)
    return c if c.dtype == parent.dtype else astype(c, dtype=parent.dtype)


def _rule_name(node: Node, i: int) -> str:
    return f"the gradient rule of {node.describe()} for argument {i}"


def _hooked(g: Any, node: Node, boxer: Value | None) -> Any:
    """Pass the gradient through the node's hooks, each of which may replace it by one of the same shape."""
    for hook in list((node.hooks or {}).values()):
        if boxer is None:  # others may hold this array too
            g = g.view()
            g.flags.writeable = False
        new = hook(g)
        if new is None:
            continue
        new = _dressed(new, boxer)
        if new.shape != g.shape:
            message = f"a hook of {node.describe()} returned shape {new.shape}; expected {g.shape}, or None"
            raise ValueError(message)
        g = new if new.dtype == g.dtype else astype(new, dtype=g.dtype)
    return g


def seed(output: Value, gradient: Any, caller: str) -> Array:
    """Return ∂L/∂output to start from: 1 for a single number, else the array that was given, as a copy."""
    array = output._array
    if gradient is None:
        if array.size != 1:
            message = (
                f"{caller}: the output has shape {array.shape}, so there is no single derivative; "
                "reduce it (`.sum()`, `.mean()`) or give the gradient that arrives at it, of that shape"
            )
            raise ValueError(message)
        return np.full(array.shape, 1, array.dtype) if array.ndim else np.array(1, array.dtype)
    start = np.array(gradient._array if isinstance(gradient, Value) else gradient, array.dtype, order="C")
    if start.shape != array.shape:
        message = f"{caller}: the gradient has shape {start.shape}, the output it belongs to {array.shape}"
        raise ValueError(message)
    return start


def backward(output: Value, gradient: Any = None, *, retain_graph: bool = True) -> None:
    """Add ∂output/∂leaf to ``.grad`` of every leaf that the output depends on, and where it is retained.

    All or nothing: where an error is raised, no ``.grad`` has changed.
    """
    root = output._node
    if root is None or not root.requires_grad:
        message = (
            "backward(): this tensor was not computed from anything that requires a gradient; "
            "create the inputs with requires_grad=True and compute it outside no_grad()"
        )
        raise RuntimeError(message)
    if tracers and (recorder := tracer()) is not None:
        recorder.backward(output, gradient)
        return
    for node, g in sweep({root: seed(output, gradient, "backward()")}):
        own = g if node.primitive is None and not node.hooks else g.copy()  # a copy where others hold g too
        node.grad = own if node.grad is None else np.asarray(node.grad + own)
    if not retain_graph:
        for node in ancestors([root], only_differentiable=True).values():
            if node.primitive is not None:
                node.free()


def _tupled(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def _paired(values: Any, tensors: Any) -> tuple[Any, ...]:
    """Return one value per tensor: a list that belongs to a single tensor is its array."""
    return _tupled(values) if isinstance(tensors, (tuple, list)) else (values,)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Return Σ ∂outputs/∂input for each input, as a tuple of tensors; no ``.grad`` is touched.

    ``grad_outputs`` are the gradients that arrive at the outputs (needed where one is not a single number).
    With ``create_graph`` the results are graphs themselves, which can be differentiated again. An input that
    the outputs do not depend on is an error, or ``None`` with ``allow_unused``.

    >>> import microgradnet as mg
    >>> x = mg.Tensor(3.0, requires_grad=True)
    >>> (slope,) = mg.grad(x**3, x, create_graph=True)
    >>> (curvature,) = mg.grad(slope, x)
    >>> slope.item(), curvature.item()
    (27.0, 18.0)
    """
    outs, ins = _tupled(outputs), _tupled(inputs)
    starts = _paired(grad_outputs, outputs) if grad_outputs is not None else (None,) * len(outs)
    for i, x in enumerate(ins):
        if not isinstance(x, Value) or x._node is None or not x._node.requires_grad:
            message = (
                f"grad(): input {_position(x, i)} requires no gradient; create it with requires_grad=True"
            )
            raise ValueError(message)
    if len(starts) != len(outs):
        message = f"grad(): {len(outs)} outputs but {len(starts)} grad_outputs; give one for each"
        raise ValueError(message)
    recorder = tracer() if tracers else None
    boxed = create_graph or recorder is not None
    boxer = ins[0] if boxed else None
    gradients: dict[Node, Any] = {}
    between = _between([out._node for out in outs if isinstance(out, Value) and out._node is not None], ins)
    for out, start in zip(outs, starts, strict=True):
        if isinstance(out, Value) and out._node is not None:
            g = seed(out, start, "grad()")
            if recorder is not None and not isinstance(start, Value):
                recorder.constant(start)
                fixed(g)
            traced = boxed and isinstance(start, Value)
            tensor = (start if traced else out._box(g, None, [0])) if boxed else g
            node = out._node
            if node in between:
                gradients[node] = _dressed(gradients[node] + tensor, boxer) if node in gradients else tensor
    wanted = {x._node for x in ins}
    token = current_scope.set(Scope(enabled=create_graph, outer=current_scope.get()))
    found: dict[Node, Any] = {}

    def watch(node: Node, g: Any, _handed: list[Handed]) -> None:
        if node in wanted:
            found[node] = g

    try:
        sweep(gradients, boxer, between, watch)
    finally:
        current_scope.reset(token)
    return tuple([_result(x, i, found, allow_unused=allow_unused) for i, x in enumerate(ins)])


def _between(roots: list[Node], inputs: Sequence[Value]) -> set[Node]:
    """Return the nodes on a path from an input to a root; nothing else needs a gradient."""
    reached = {x._node.number for x in inputs if x._node is not None}
    found = ancestors(roots)
    for number in sorted(found):  # oldest first: parents come before their children
        if any(parent is not None and parent.number in reached for parent in found[number].parents):
            reached.add(number)
    return {node for number, node in found.items() if number in reached and node.requires_grad}


def _result(x: Value, i: int, found: dict[Node, Any], *, allow_unused: bool) -> Any:
    g = None if x._node is None else found.get(x._node)
    if g is None:
        if allow_unused:
            return None
        message = (
            f"grad(): the outputs do not depend on input {_position(x, i)}, or not outside no_grad(); "
            "leave it out, or ask for None in its place with allow_unused=True"
        )
        raise ValueError(message)
    if tracers and tracer() is not None:
        return x._box(g._array, g._node, g._version)
    # A copy, because what the sweep holds may be shared with the gradient of another input.
    return x._box(g._array.copy(), g._node, [0]) if isinstance(g, Value) else x._box(g.copy(), None, [0])


def _position(x: Any, i: int) -> str:
    """Return how messages call an input: by position, and by name where it has one."""
    name = x._node.name if isinstance(x, Value) and x._node else None
    return f"{i} '{name}'" if name else str(i)


def _leaves(values: Any) -> list[Any]:
    """Make a fresh leaf of every input, so that the caller's tensors stay untouched."""
    leaves = []
    for i, value in enumerate(_tupled(values)):
        if not isinstance(value, Value):
            message = f"input {i} is {type(value).__name__}; give a Tensor"
            raise TypeError(message)
        require_floating(value._array.dtype)
        joined = value._node if value._node is not None and value._node.requires_grad else None
        node = joined or Node.leaf(value._array, value._version)
        leaves.append(value._box(value._array, node, value._version))
    return leaves


def _leaf(caller: str, x: Any) -> Any:
    """Make a fresh leaf of the one input."""
    leaves = _leaves(x)
    if len(leaves) != 1:
        message = (
            f"{caller}: takes a function of one tensor, and {len(leaves)} were given; close over the others"
        )
        raise TypeError(message)
    return leaves[0]


def _value(f: Callable[..., Any], leaves: Sequence[Any]) -> Any:
    """Return f(leaves), recorded wherever we are: the derivative is asked for here, under ``no_grad`` too."""
    token = current_scope.set(Scope(enabled=True, outer=current_scope.get()))
    try:
        y = f(*leaves)
    finally:
        current_scope.reset(token)
    if not isinstance(y, Value):
        message = f"{getattr(f, '__name__', 'f')} returned {type(y).__name__}; return one Tensor"
        raise TypeError(message)
    return y


def vjp(
    f: Callable[..., Any], inputs: Any, v: Any = None, *, create_graph: bool = False
) -> tuple[Any, tuple[Any, ...]]:
    """Return f(inputs) and vᵀ·J, the vector–Jacobian product for each input (v = 1 for a single number).

    >>> import numpy as np
    >>> import microgradnet as mg
    >>> y, (g,) = mg.vjp(lambda x: x * x, mg.Tensor([1.0, 2.0]), np.array([1.0, 10.0]))
    >>> g.data.tolist()
    [2.0, 40.0]
    """
    leaves = _leaves(inputs)
    y = _value(f, leaves)
    return y, _zeros_where_unused(grad(y, leaves, v, create_graph=create_graph, allow_unused=True), leaves)


def _zeros_where_unused(gradients: Sequence[Any], leaves: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        [
            g if g is not None else x._box(np.zeros_like(x._array), None, [0])
            for g, x in zip(gradients, leaves, strict=True)
        ]
    )


def jvp(f: Callable[..., Any], inputs: Any, tangents: Any) -> tuple[Any, Any]:
    """Return f(inputs) and J·t, the derivative of f in the direction of the tangents.

    It is the gradient of u ↦ uᵀ·J·t, where uᵀ·J is itself a recorded vector–Jacobian product.

    >>> import microgradnet as mg
    >>> y, t = mg.jvp(lambda x: x * x, mg.Tensor([1.0, 2.0]), mg.Tensor([1.0, 10.0]))
    >>> t.data.tolist()
    [2.0, 40.0]
    """
    leaves, directions = _leaves(inputs), _paired(tangents, inputs)
    if len(leaves) != len(directions):
        message = f"jvp(): {len(leaves)} inputs but {len(directions)} tangents; give one for each"
        raise ValueError(message)
    y = _value(f, leaves)
    u = y._box(np.zeros_like(y._array), Node.leaf(np.zeros_like(y._array), [0]), [0])
    rows = grad(y, leaves, u, create_graph=True, allow_unused=True)
    pairs = [
        (row, getattr(t, "_array", t))
        for row, t in zip(rows, directions, strict=True)
        if row is not None and row._node is not None
    ]
    if not pairs:
        return y, y._box(np.zeros_like(y._array), None, [0])
    (tangent,) = grad([row for row, _ in pairs], u, [t for _, t in pairs], allow_unused=True)
    return y, tangent if tangent is not None else y._box(np.zeros_like(y._array), None, [0])


def jacobian(f: Callable[..., Any], x: Any, *, create_graph: bool = False) -> Any:
    """Return ∂f(x)ᵢ/∂xⱼ, of shape f(x).shape + x.shape; zeros where f does not depend on x.

    >>> import microgradnet as mg
    >>> mg.jacobian(lambda x: x * x, mg.Tensor([1.0, 3.0])).data.tolist()
    [[2.0, 0.0], [0.0, 6.0]]
    """
    leaf = _leaf("jacobian()", x)
    y = _value(f, [leaf])
    shape = y.shape + leaf.shape
    if y._node is None or not y._array.size:
        return leaf._box(np.zeros(shape, leaf.dtype), None, [0])
    rows = []
    for i in range(y._array.size):
        unit = np.zeros(y._array.size, y.dtype)
        unit[i] = 1
        (row,) = _zeros_where_unused(
            grad(y, leaf, unit.reshape(y.shape), create_graph=create_graph, allow_unused=True), [leaf]
        )
        rows.append(row)
    return stack(rows).reshape(shape)


def hessian(f: Callable[..., Any], x: Any) -> Any:
    """Return ∂²f/∂xᵢ∂xⱼ of a function to one number, of shape x.shape + x.shape; zeros where f is affine.

    >>> import microgradnet as mg
    >>> mg.hessian(lambda x: (x * x * x).sum(), mg.Tensor([1.0, 2.0])).data.tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(lambda leaf: vjp(f, leaf, create_graph=True)[1][0], x)


def hvp(f: Callable[..., Any], x: Any, v: Any) -> tuple[Any, Any]:
    """Return ∇f(x) and H·v, the Hessian of f times a vector, at the cost of two gradients.

    >>> import microgradnet as mg
    >>> _, product = mg.hvp(lambda x: (x * x * x).sum(), mg.Tensor([1.0, 2.0]), mg.Tensor([1.0, 1.0]))
    >>> product.data.tolist()
    [6.0, 12.0]
    """
    leaf = _leaf("hvp()", x)
    _, (slope,) = vjp(f, leaf, create_graph=True)
    if slope._node is None:
        return slope, leaf._box(np.zeros_like(leaf._array), None, [0])
    (product,) = _zeros_where_unused(grad(slope, leaf, v, allow_unused=True), [leaf])
    return slope, product
