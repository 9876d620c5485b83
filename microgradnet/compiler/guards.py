"""Guards: whether a program still fits the model, the optimizer and the function that it was traced from."""

from __future__ import annotations

import contextlib
import types
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import Value, current_scope, last_change
from microgradnet.nn.module import Module
from microgradnet.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from microgradnet.compiler.executor import Writer
    from microgradnet.compiler.program import Slot
    from microgradnet.compiler.tracing import Tracer
    from microgradnet.graph import Array


class _Miss:
    """What a program returns where it does not fit the call."""

    def __repr__(self) -> str:
        return "MISS"


MISS = _Miss()
MORE = _Miss()
"""What a program returns where something has changed that it may be able to take over."""


_PLAIN = (bool, int, float, np.generic, tuple)


class Surroundings:
    """What a function sees besides its arguments: its closure, the globals that it names, its instance.

    Modules, optimizers and tensors are found in it, also in the attributes of plain objects.
    """

    DEPTH = 4

    def __init__(self, function: Any) -> None:
        self.modules: dict[int, Module] = {}
        self.optimizers: dict[int, Optimizer] = {}
        self.tensors: dict[int, Value] = {}
        self._seen: dict[int, Any] = {}
        self._visit(function, 0)

    def contains(self, value: Value) -> bool:
        """Whether a tensor is held by something that outlives the call."""
        return id(value) in self.tensors

    def _visit(self, thing: Any, depth: int) -> None:
        if id(thing) in self._seen or depth > self.DEPTH:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, Value):
            self.tensors[id(thing)] = thing
        elif isinstance(thing, Module):
            self.add_model(thing)
        elif isinstance(thing, Optimizer):
            self.optimizers[id(thing)] = thing
        elif isinstance(thing, types.MethodType):
            self._visit(thing.__func__, depth)
            self._visit(thing.__self__, depth)
        elif isinstance(thing, types.FunctionType):
            self._visit_function(thing, depth)
        elif isinstance(thing, dict):
            self._visit_all(thing.values(), depth)
        elif isinstance(thing, (list, tuple)):
            self._visit_all(thing, depth)
        elif not isinstance(thing, (type, types.ModuleType, np.ndarray, np.generic)) and hasattr(
            thing, "__dict__"
        ):
            self._visit_all(vars(thing).values(), depth)

    def _visit_function(self, function: types.FunctionType, depth: int) -> None:
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                self._visit(cell.cell_contents, depth + 1)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._visit(value, depth + 1)
        package = __name__.partition(".")[0]
        if not str(function.__module__).startswith(package + "."):
            for name in function.__code__.co_names:
                if name in function.__globals__:
                    self._visit(function.__globals__[name], depth + 1)

    def _visit_all(self, items: Iterable[Any], depth: int) -> None:
        for item in list(items):
            self._visit(item, depth + 1)

    def add_model(self, model: Module) -> None:
        """Find the tensors of a model."""
        for module in model.modules():
            self._seen[id(module)] = module
            self.modules[id(module)] = module
            for value in vars(module).values():
                if isinstance(value, Value):
                    self.tensors[id(value)] = value
        for tensor in [*model.parameters(), *model.buffers()]:
            self.tensors[id(tensor)] = tensor


def captured(function: Any) -> Callable[[], tuple[Any, ...]]:
    """Return what gives the values, as they are now, that a function takes from its closure and globals."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType):
        return tuple
    cells = function.__closure__ or ()
    table = function.__globals__
    names = [
        name
        for name in function.__code__.co_names
        if name in table and not isinstance(table[name], (types.ModuleType, type))
    ]

    def now() -> tuple[Any, ...]:
        return (*[cell.cell_contents for cell in cells], *[table.get(name) for name in names])

    return now


def _flags(tensor: Value) -> Any:
    """Return what decides whether and how a gradient arrives at a tensor."""
    node = tensor._node
    return None if node is None else (node.number, node.requires_grad, dict(node.hooks or {}))


class Guard:
    """The conditions under which a program may be replayed, as lines of code and as a slower second look."""

    def __init__(
        self, tracer: Tracer, surroundings: Surroundings, now: Callable[[], tuple[Any, ...]]
    ) -> None:
        for model in tracer.modules.values():
            surroundings.add_model(model)
        self.tracer = tracer
        self.modules = list(surroundings.modules.values())
        self.optimizers = list(dict.fromkeys(tracer.optimizers))
        self.thread = get_ident()
        self.enabled = current_scope.get().enabled
        self.now = now
        self.values = now()
        self.live: list[Any] = []
        self.frozen: list[Any] = []
        self.tensors: list[tuple[Any, Any, Value]] = []
        """Holder, key and tensor: by identity, for equality of tensors is something else."""
        for module in self.modules:
            self._watch(vars(module))
        for optimizer in self.optimizers:
            self._watch(vars(optimizer))
            for state in optimizer.state:
                self._watch(state)
        self.flags = [(slot.source, _flags(slot.source)) for _, slot in tracer.states.values()]

    def _watch(self, holder: Any) -> None:
        """Note what a dict or list holds, and what the lists and dicts in it hold."""
        if any(holder is live for live in self.live):
            return
        self.live.append(holder)
        self.frozen.append(holder.copy())
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, item in items:
            if isinstance(item, Value):
                self.tensors.append((holder, key, item))
            elif type(item) in {dict, list}:
                self._watch(item)

    def lines(self, writer: Writer, arrays: dict[Slot, Array]) -> None:
        """Write the conditions that are looked at in every call."""
        name = writer.name
        miss, more = name(MISS, "m"), name(MORE, "m")
        tests: list[str] = []
        for slot in self.tracer.program.arguments:
            given, x = f"t{slot.source}", f"x{slot.source}"
            if isinstance(self.tracer.kinds[slot.source], type) and issubclass(
                self.tracer.kinds[slot.source], Value
            ):
                kind = name(self.tracer.kinds[slot.source], "T")
                writer.lines.append(f"if type({given}) is not {kind}: return {miss}")
                writer.lines.append(f"{x} = {given}._array")
                tests.append(f"{given}.requires_grad")
            else:
                writer.lines.append(f"{x} = {given}")
                tests.append(f"type({x}) is not {name(np.ndarray, 'T')}")
            tests.append(f"{x}.shape != {slot.shape!r}")
            tests.append(f"{x}.dtype is not {name(slot.dtype, 'T')} and {x}.dtype != {name(slot.dtype, 'T')}")
            tests.append(f"{x}.strides != {slot.strides!r}")
        tests.append(f"{name(get_ident, 'f')}() != {self.thread}")  # each thread has memory of its own
        tests.append(f"{name(current_scope.get, 'f')}().enabled is not {name(self.enabled, 's')}")
        if tests:
            writer.lines.append(f"if {' or '.join(tests)}: return {miss}")
        # A larger tensor that is another one makes the comparison raise; one number would be compared.
        single = [entry for entry in self.tensors if entry[2]._array.size == 1]
        tests = [f"{name(h, 'h')}[{k!r}] is not {name(tensor, 'w')}" for h, k, tensor in single]
        tests.append(f"{name(self.live, 'l')} != {name(self.frozen, 'l')}")
        if self.values:
            tests.append(f"{name(self.now, 'f')}() != {name(self.values, 'l')}")
        tensors = [slot.source for slot in arrays if slot.kind == "state"]
        tensors += [tensor for slot in arrays if slot.storage for tensor in slot.storage[0].tensors]
        tensors += [tensor for tensor, _ in self.tracer.program.stores]
        self.arrays = [(tensor, tensor._array) for tensor in {id(t): t for t in tensors}.values()]
        self.looked = [last_change[0]]
        tests.append(f"{name(last_change, 'k')}[0] != {name(self.looked, 'k')}[0]")
        tests += [f"{name(node, 'n')}.grad is not None" for node in self.tracer.absent]
        tests += [f"{name(node, 'n')}.grad is None" for node in self.tracer.present]
        errors = name((LookupError, ValueError, TypeError), "e")  # what is gone, or compares like no number
        writer.lines += [
            "try:",
            f"    if {' or '.join(tests)}: return {more}",
            f"except {errors}: return {more}",
        ]

    def take_over(self, numbers: dict[Slot, Array]) -> bool:
        """Take over what has changed, where the program stays the same: hyperparameters, other tensors."""
        now = last_change[0]
        same_tensors = all(tensor._array is array for tensor, array in self.arrays)
        if not (same_tensors and all(_flags(tensor) == flags for tensor, flags in self.flags)):
            return False
        self.looked[0] = now
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                optimizer.check(group)
        tracer = self.tracer
        if any(group.get(name) != value for group, name, value in tracer.statics):
            return False
        known: dict[Any, Any] = {}
        if any(bool(number.evaluate(known)) != answer for number, answer in tracer.notes.conditions):
            return False
        for slot, array in numbers.items():
            array[...] = slot.source.evaluate(known)
        groups = {group for group, _ in tracer.numbers}
        for live, frozen in zip(self.live, self.frozen, strict=True):
            if id(live) in groups and live.keys() == frozen.keys():
                frozen.update({k: v for k, v in live.items() if isinstance(v, _PLAIN)})
        return True
