"""Tracer: runs a step once, as eager does, and writes down every operation, store and gradient."""

from __future__ import annotations

import inspect
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import ops
from microgradnet.backprop import seed, sweep
from microgradnet.compiler.errors import CompileError
from microgradnet.compiler.number import Notes, Number
from microgradnet.compiler.program import Operation, Program, Slot, replaced
from microgradnet.graph import Scope, Value, clock, current_scope, fixed, stamp, tracers
from microgradnet.optim import Optimizer
from microgradnet.primitive import Primitive
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from typing_extensions import Self

    from microgradnet.graph import Array, Node
    from microgradnet.nn.module import Module

PACKAGE = str(Path(__file__).resolve().parent.parent)
VIEWS = {"reshape", "expand_dims", "squeeze", "transpose", "index"}
"""Primitives whose result may be a view of their argument."""


class ArrayInput(Tensor):
    """Stands for an ndarray argument: recorded like a tensor, cast where an ndarray would be."""

    __slots__ = ()
    _is_array = True


def _contiguous_copy(x: Any) -> Any:
    return x.copy()


def _stored(x: Any, *, like: Any) -> Any:
    """Return x as it is once it has been written into an array of that layout."""
    y = laid_out(like.shape, like.dtype, like.strides)
    y[...] = x
    return y


contiguous = Primitive("copy", _contiguous_copy, None)
stored = Primitive("stored", _stored, None)


class Tracer:
    """What the engine talks to while a step is being traced, in the thread that traces it.

    Everything is really done, and can be undone. A value is known by its array: whatever tensor shows it,
    also ``detach()`` and a second box, leads to its slot.
    """

    def __init__(self, reachable: Callable[[Value], bool]) -> None:
        self.program = Program()
        self.numbers: dict[tuple[int, str], Number] = {}
        self.groups: list[tuple[Optimizer, dict[str, Any], str, Number]] = []
        self.optimizers: list[Optimizer] = []
        self.statics: list[tuple[dict[str, Any], str, Any]] = []
        self.notes = Notes()
        self.modules: dict[int, Module] = {}
        self.kinds: list[type] = []
        """Per array argument, whether an array or a tensor was given."""
        self.states: dict[int, tuple[Value, Slot]] = {}
        self.absent: list[Node] = []
        self.present: list[Node] = []
        self.once: str = ""
        """Why the trace cannot be replayed, where it cannot."""
        self._reachable = reachable
        self._start = next(clock)
        self._known: dict[int, tuple[Slot, Array, int]] = {}
        self._cells: dict[int, Any] = {}
        self._stores: dict[int, tuple[Value, Slot]] = {}
        self._owners: dict[int, Value] = {}
        self._gradients: dict[int, Node] = {}
        self._undo: list[Callable[[], None]] = []
        self._saved: set[int] = set()
        self._thread = get_ident()
        self._sweeping = False

    # ------------------------------------------------------------------ running

    def __enter__(self) -> Self:
        if self._thread in tracers:
            message = "a compiled step is being compiled inside another one; compile the outer one only"
            raise CompileError(message)
        tracers[self._thread] = self
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        tracers.pop(self._thread, None)
        if kind is not None:
            self.undo()
        for memory in (self._undo, self._known, self._cells, self._stores, self._gradients, self._owners):
            memory.clear()  # of what only tracing needs

    def undo(self) -> None:
        """Put parameters, state, gradients and generators back to where they were."""
        while self._undo:
            self._undo.pop()()

    def argument(self, array: Array, tensor: Tensor | None = None) -> Tensor:
        """Make an array argument an input; a tensor stays the tensor that it is."""
        if tensor is not None and tensor.requires_grad:
            message = (
                f"argument {len(self.program.arguments)} requires a gradient, and a compiled step returns "
                "values without history; give x.detach(), and make a leaf of it inside the step: "
                "mg.Tensor(x, requires_grad=True)"
            )
            raise CompileError(message)
        slot = Slot.of("argument", array, len(self.program.arguments))
        self.program.arguments.append(slot)
        value = tensor
        if value is None:
            value = ArrayInput.__new__(ArrayInput)
            value._array, value._node, value._version = array, None, [0]
        self._know(array, slot, value._version)
        return value

    def finish(self, result: Any) -> Any:
        """Close the program with what is returned; return copies of it, as each later call does."""
        tracers.pop(self._thread, None)
        program = self.program
        program.stores = list(self._stores.values())
        for node in self._gradients.values():
            if node.number > self._start:
                continue
            g: Any = node.grad
            slot = self._reference(g, "the gradient") if isinstance(g, Value) else None
            program.gradients.append((node, slot))
            if isinstance(g, Value):
                node.grad = np.array(g._array)
        for model in self.modules.values():
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
                program.names.setdefault(id(tensor), name)
                program.names.setdefault(id(tensor._node), name)
        for optimizer in self.optimizers:
            members = [p for group in optimizer.param_groups for p in group["params"]]
            for p, state in zip(members, optimizer.state, strict=True):
                for name, tensor in state.items():
                    program.names[id(tensor)] = f"{name} of {program.called(p)}"
        given: dict[int, Any] = {}
        program.result = self._structure(result, given)
        return replaced(program.result, lambda slot: Tensor(np.array(given[id(slot)])))

    def _structure(self, result: Any, given: dict[int, Any]) -> Any:
        """Put slots in the place of the tensors that are returned."""
        if isinstance(result, Number):
            result.refuse_escape()
        if isinstance(result, (Value, np.ndarray)):
            slot = self._reference(result, "the result")
            given[id(slot)] = result._array if isinstance(result, Value) else result
            return slot
        if isinstance(result, tuple) and hasattr(result, "_fields"):
            return type(result)(*[self._structure(item, given) for item in result])
        if type(result) in (tuple, list):
            return type(result)([self._structure(item, given) for item in result])
        if type(result) is dict:
            return {key: self._structure(item, given) for key, item in result.items()}
        if result is None or isinstance(result, (bool, int, float, str)):
            return result
        message = (
            f"the step returns a {type(result).__name__}; return tensors, numbers and strings, "
            "also in tuples, lists and dicts"
        )
        raise CompileError(message)

    # ------------------------------------------------------------------ what is known

    def _know(self, array: Array, slot: Slot, version: list[int]) -> None:
        self._known[id(array)] = (slot, array, version[0])
        self._cells[id(array)] = version

    def _reference(self, arg: Any, what: str) -> Any:
        """Return the slot of an argument, or the static value that it is."""
        if isinstance(arg, Number):
            if arg.slot is None:
                kind = np.asarray(arg._array)
                arg.slot = Slot("number", (), kind.dtype, (), arg, kind)
            return arg.slot
        if isinstance(arg, Value):
            return self._of_value(arg, what)
        if isinstance(arg, np.ndarray):
            known = self._known.get(id(arg))
            if known is not None:
                return known[0]
            if _is_fixed(arg):
                slot = Slot.of("constant", arg, arg)
                self._know(arg, slot, [0])
                return slot
            message = (
                f"an array of shape {arg.shape} enters {what}{user_line()}, and it is neither an argument "
                "nor a parameter or buffer: it would be the same in every later call. Pass it as an argument "
                "of the step, or wrap it in mg.constant(…) if it never changes"
            )
            raise CompileError(message)
        return arg

    def _of_value(self, value: Value, what: str) -> Slot:
        array, version = value._array, value._version
        known = self._known.get(id(array))
        if known is not None:
            slot, _, when = known
            if self._cells[id(array)] is version and version[0] != when:
                message = (
                    f"{what}{user_line()} reads a view of a tensor that was changed in place after the view "
                    "had been made; make the view again, after the change"
                )
                raise CompileError(message)
            return slot
        if _is_fixed(array):
            slot = Slot.of("constant", array, array)
        else:
            node = value._node
            outside = node is not None and node.primitive is None and node.number <= self._start
            if not (outside or self._reachable(value) or self._in_called_modules(value)):
                message = (
                    f"a tensor of shape {array.shape} enters {what}{user_line()}, which was made of an array "
                    "that is neither an argument nor a parameter or buffer: it would be the same in every "
                    "later call. Pass it as an argument of the step, or make it with mg.constant(…)"
                )
                raise CompileError(message)
            if version[0] > self._start:
                message = (
                    f"{what}{user_line()} reads a tensor that shares its memory with one that the step has "
                    "changed in place before; read it before the change"
                )
                raise CompileError(message)
            slot = Slot.of("state", array, value)
            slot.name = getattr(value, "name", None) or ""
            self.states[id(value)] = (value, slot)
        self._know(array, slot, version)
        return slot

    def _in_called_modules(self, value: Value) -> bool:
        for model in self.modules.values():
            for module in model.modules():
                if any(attribute is value for attribute in vars(module).values()):
                    return True
            if any(buffer is value for buffer in model.buffers()):
                return True
        return False

    def _note_modules(self) -> None:
        scope: Scope | None = current_scope.get()
        model = None
        while scope is not None:
            if scope.module is not None:
                model = scope.module
            scope = scope.outer
        if model is not None:
            self.modules.setdefault(id(model), model)

    def refuse_escape(self, tensor: Any, how: str) -> None:
        """Refuse that Python looks at a value, which it would keep for every later call."""
        known = self._known.get(id(tensor._array))
        if _is_fixed(tensor._array) or (known is not None and known[0].kind == "constant"):
            return
        message = (
            f"{how} of a tensor of shape {tensor.shape} takes its value out of the step that is being "
            f"compiled{user_line()}: it differs from call to call, and Python would keep this one. Return "
            "the tensor and look at it outside; write np.where(condition, a, b) in place of `if`; or compile "
            "with fallback='eager'"
        )
        raise CompileError(message)

    # ------------------------------------------------------------------ what the engine tells

    def call(self, primitive: Primitive, args: tuple[Any, ...], meta: dict[str, Any]) -> Any:
        """Compute a primitive and write it down."""
        self._note_modules()
        args = tuple([fixed(np.asarray(arg)) if isinstance(arg, (list, tuple)) else arg for arg in args])
        if primitive.name == "pow" and len(args) == 2 and isinstance(args[1], Number):
            args[1].refuse_escape()
        refs = tuple([self._reference(arg, primitive.name) for arg in args])
        rng = meta.get("rng")
        if isinstance(rng, np.random.Generator):
            self._save_generator(rng)
        tracers.pop(self._thread)
        try:
            y = primitive(*[arg._array if isinstance(arg, Number) else arg for arg in args], **meta)
        finally:
            tracers[self._thread] = self
        if not isinstance(y, Value):
            y = Tensor._box(np.asarray(y), None, [0])
        array = y._array
        arrays = [ref.value if isinstance(ref, Slot) else None for ref in refs]
        same = next((ref for ref, x in zip(refs, arrays, strict=True) if x is array), None)
        if same is not None:  # it returned its argument: a check
            self.program.operations.append(
                Operation(primitive.name, "check", primitive.forward, refs, meta, None)
            )
            return y
        kind, shares = self._nature(primitive, array, refs, arrays, rng)
        if kind == "random" and rng is ops.generator():
            meta = {**meta, "rng": None}
        slot = Slot.of("result", array)
        function: Any = primitive.forward
        self.program.operations.append(
            Operation(primitive.name, kind, function, refs, meta, slot, shares, self._sweeping)
        )
        self._know(array, slot, y._version)
        return y

    def _nature(
        self, primitive: Primitive, array: Array, refs: tuple[Any, ...], arrays: list[Any], rng: Any
    ) -> tuple[str, tuple[Slot, ...]]:
        if rng is not None:
            return "random", ()
        shares = tuple(
            [
                ref
                for ref, x in zip(refs, arrays, strict=True)
                if isinstance(x, np.ndarray) and array.base is not None and np.may_share_memory(array, x)
            ]
        )
        if primitive.name in VIEWS and shares:
            return "view", shares
        if isinstance(primitive.forward, np.ufunc):
            return "ufunc", ()
        return "call", shares

    def assign(self, target: Value, new: Any, index: Any) -> None:
        """Write into a tensor and note what it holds now."""
        old = self._reference(target, "an assignment")
        if not _is_whole(index):
            message = (
                f"`t[…] = v` with an index{user_line()} cannot be compiled; write t = np.where(mask, v, t), "
                "or compile with fallback='eager'"
            )
            raise CompileError(message)
        array = target._array
        plain = new._array if isinstance(new, Value) else new
        like = isinstance(plain, np.ndarray) and (
            (plain.shape, plain.dtype, plain.strides) == (array.shape, array.dtype, array.strides)
        )
        if like:
            slot = self._reference(new, "an assignment")
        else:
            kept = stored(new, like=_Layout(array))
            slot = self._reference(kept, "an assignment")
        if id(array) not in self._saved:
            self._saved.add(id(array))
            saved = array.copy(order="K")
            if isinstance(old, Slot) and old.kind == "state":
                old.value = saved

            def restore(target: Value = target, array: Array = array, saved: Array = saved) -> None:
                array[...] = saved
                stamp(target)

            self._undo.append(restore)
        array[...] = plain
        stamp(target)
        if isinstance(old, Slot) and old.kind == "state":
            self._owners[id(array)] = old.source
        if id(array) in self._owners:
            self._stores[id(array)] = (self._owners[id(array)], slot)
        elif old.kind == "argument":
            message = (
                f"the step writes into its argument of shape {array.shape}{user_line()}; compute a new tensor"
            )
            raise CompileError(message)
        self._know(array, slot, target._version)

    def gradient_of(self, node: Node) -> Any:
        """Return the gradient of a node as a recorded tensor, or None."""
        g = node.grad
        if id(node) in self._gradients or isinstance(g, Value):
            return g
        self._save_gradient(node)
        if node.number > self._start:
            return g
        if g is None:
            self.absent.append(node)
            return None
        self.present.append(node)
        array = np.array(g)
        tensor = Tensor._box(array, None, [0])
        self._know(array, Slot.of("gradient", array, node), tensor._version)
        node.grad = tensor  # type: ignore[assignment]  # a tensor while it is traced
        return tensor

    def set_gradient(self, node: Node, value: Any) -> None:
        """Note a gradient that the step gives to a tensor."""
        if value is not None and not isinstance(value, Value):
            message = (
                f".grad is set to a {type(value).__name__}{user_line()} while the step is being compiled; "
                "give a tensor computed in the step"
            )
            raise CompileError(message)
        array = value._array if isinstance(value, Value) else node.y
        if (array.shape, array.dtype) != (node.shape, node.dtype):
            message = f".grad must be {node.dtype} of shape {node.shape}, not {array.dtype} of {array.shape}"
            raise ValueError(message)
        self._save_gradient(node)
        node.grad = value.detach() if isinstance(value, Tensor) else None  # type: ignore[assignment]

    def _save_gradient(self, node: Node) -> None:
        if id(node) in self._gradients:
            return
        self._gradients[id(node)] = node
        before = node.grad

        def restore() -> None:
            node.grad = before

        self._undo.append(restore)

    def _save_generator(self, rng: np.random.Generator) -> None:
        if id(rng) in self._saved:
            return
        self._saved.add(id(rng))
        state = rng.bit_generator.state

        def restore() -> None:
            rng.bit_generator.state = state

        self._undo.append(restore)

    def constant(self, value: Any) -> None:
        """Refuse an array that may differ from call to call."""
        if isinstance(value, np.ndarray):
            self._reference(value, "a backward pass")

    def backward(self, output: Any, gradient: Any) -> None:
        """Run the one sweep on tensors, so that it is recorded, and add to the gradients of the leaves."""
        root = output._node
        if isinstance(gradient, Value):
            start: Any = gradient.detach() if isinstance(gradient, Tensor) else gradient
            if start.dtype != output.dtype:
                start = ops.astype(start, dtype=output.dtype)
            if start.shape != output.shape:
                seed(output, gradient._array, "backward()")  # which raises
        else:
            self.constant(gradient)
            start = Tensor._box(fixed(seed(output, gradient, "backward()")), None, [0])
        token = current_scope.set(Scope(enabled=False, outer=current_scope.get()))
        self._sweeping = True
        try:
            for node, g in sweep({root: start}, output):
                if not g._array.flags.c_contiguous:
                    g = contiguous(g)  # noqa: PLW2901 - as the sweep leaves it
                before = self.gradient_of(node)
                self._save_gradient(node)
                node.grad = g if before is None else before + g
        finally:
            self._sweeping = False
            current_scope.reset(token)

    def step(self, optimizer: Optimizer) -> None:
        """Apply an optimizer's rule to recorded tensors."""
        if type(optimizer).step is not Optimizer.step:
            kind = type(optimizer).__name__
            message = f"{kind} has a step() of its own, which cannot be recorded; give it a rule"
            raise CompileError(message)
        self.optimizers.append(optimizer)
        token = current_scope.set(Scope(enabled=False, outer=current_scope.get()))
        self._sweeping = True
        try:
            states = iter(list(optimizer.state))
            for group in optimizer.param_groups:
                optimizer.check(group)
                hyper = {name: self._hyper(optimizer, group, name) for name in optimizer.defaults}
                for p in group["params"]:
                    state, g = next(states), self.gradient_of(p._node) if p._node is not None else None
                    if g is not None:
                        self._update(optimizer, p, g, state, hyper)
        finally:
            self._sweeping = False
            current_scope.reset(token)

    def _update(
        self, optimizer: Optimizer, p: Any, g: Any, state: dict[str, Any], hyper: Mapping[str, Any]
    ) -> None:
        old = {name: tensor.detach() for name, tensor in state.items()}
        for tensor in state.values():
            self._as_state(tensor)
        change, kept = optimizer.rule(p.detach(), g, old, **hyper)
        for name, value in kept.items():
            if name in state:
                self.assign(state[name], value, ...)
                continue
            self.once = "the optimizer made its state"
            state[name] = Tensor(np.array(value._array, order="C"))
            self._undo.append(lambda state=state, name=name: state.pop(name, None))  # type: ignore[misc]
        self.assign(p, p.detach() - change, ...)

    def _as_state(self, tensor: Any) -> None:
        """Know a tensor that the optimizer keeps."""
        if id(tensor._array) not in self._known:
            slot = Slot.of("state", tensor._array, tensor)
            self.states[id(tensor)] = (tensor, slot)
            self._know(tensor._array, slot, tensor._version)

    def _hyper(self, optimizer: Optimizer, group: dict[str, Any], name: str) -> Any:
        """Make an input of a number; what is no number is kept as it is, and must stay so."""
        value = group[name]
        if isinstance(value, np.ndarray):
            kind = type(optimizer).__name__
            message = f"{kind}: {name} is an array, whose change would not be seen; give a number"
            raise CompileError(message)
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (tuple, list)) and all(isinstance(item, float) for item in value):
            return type(value)(
                [self._number(optimizer, group, name, item, i) for i, item in enumerate(value)]
            )
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.statics.append((group, name, value))
            return value
        return self._number(optimizer, group, name, value, None)

    def _number(
        self, optimizer: Optimizer, group: dict[str, Any], name: str, value: Any, position: int | None
    ) -> Number:
        key = (id(group), name if position is None else f"{name}.{position}")
        if key not in self.numbers:

            def read(group: dict[str, Any] = group) -> Any:
                found = group[name] if position is None else group[name][position]
                return found.item() if isinstance(found, (np.generic, np.ndarray)) else found

            self.numbers[key] = Number(value, read, (), self.notes)
        return self.numbers[key]


class _Layout:
    """A dtype, a shape and strides, as static metadata of an operation."""

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype, self.strides = array.shape, array.dtype, array.strides

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layout) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.strides))

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def laid_out(shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...]) -> Array:
    """Return an uninitialised array with its axes in the order of the strides, without gaps."""
    order = sorted(range(len(shape)), key=lambda axis: -abs(strides[axis]))
    base = np.empty([shape[axis] for axis in order], dtype)
    return base.transpose(sorted(range(len(shape)), key=order.__getitem__))


def _is_whole(index: Any) -> bool:
    """Whether an index stands for all of an array."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is ... or (isinstance(part, slice) and part == slice(None)) for part in parts)


def _is_fixed(array: Array) -> bool:
    """Whether nobody can write to an array: it, and all that it is a view of, is read-only."""
    x: Any = array
    while isinstance(x, np.ndarray):
        if x.flags.writeable:
            return False
        x = x.base
    return x is None


def user_line() -> str:
    """Return where in the user's code we are."""
    for frame in _frames():
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE):
            return f" (at {Path(name).name}:{frame.f_lineno})"
    return ""


def _frames() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
