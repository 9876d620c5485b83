"""A float64 copy of a model, run and watched: every operation, every layer's call, the loss."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet.backprop import sweep
from microgradnet.checking.differences import trembling
from microgradnet.checking.rule_check import RULE_ERRORS
from microgradnet.graph import Node, Scope, Value, ancestors, current_scope, enclosing_modules
from microgradnet.nn import Module, Sequential
from microgradnet.ops import generator
from microgradnet.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microgradnet.graph import Array
    from microgradnet.primitive import Primitive

Place: TypeAlias = "Call | Tensor"
"""What can be moved: a layer's output, or a parameter or input."""


@dataclass(eq=False)
class Call:
    """One call of a layer, as it was recorded."""

    path: str
    module: Module
    turn: int
    """How many calls of the same layer came before."""
    input: Any
    output: Tensor

    @property
    def name(self) -> str:
        """The layer's path, with the number of the call where there are several."""
        return self.path if not self.turn else f"{self.path} (call {self.turn + 1})"


class WatchedRun:
    """A model and a loss in float64, and one recorded run of them; nothing of the caller's is touched.

    Random draws are the same in every run, and buffers begin as they were.
    """

    def __init__(self, model: Module, loss_fn: Callable[..., Any], x: Any, y: Any) -> None:
        self.model = _copied(model)
        self.loss_fn = _copied(loss_fn) if isinstance(loss_fn, Module) else loss_fn
        self.parameters: dict[str, Parameter] = dict(self.model.named_parameters())
        if not self.parameters:
            raise ValueError(
                f"verify: {type(model).__name__} has no parameters, so there is no gradient to verify; "
                "check a plain function with gradcheck(f, inputs)"
            )
        self.inputs = [_input(value) for value in (x if isinstance(x, tuple) else (x,))]
        self.target = _target(y)
        self.calls: list[Call] = []
        self._moved: tuple[Call, Array] | None = None
        self._turns: dict[str, int] = {}
        self._recording = False
        self._paths = {id(module): path for path, module in self.model.named_modules()}
        for path, module in self.model.named_modules():
            if type(module) is not Sequential and (path or not _has_layers(module)):
                module.register_forward_hook(self._hook(path or type(module).__name__))
        self._generators = _generators(self.model, self.loss_fn)
        self._states = [source.bit_generator.state for source in self._generators]
        self._buffers = [(buffer, buffer.data.copy()) for buffer in self.model.buffers()]
        self.prediction, self.loss = self._recorded()
        self.value = float(self.loss.data.reshape(-1)[0])
        self._check_loss()
        self.nodes = ancestors([self.loss._node], only_differentiable=True) if self.loss._node else {}
        self.labels = {
            number: f"{node.primitive.name if node.primitive else 'leaf'}#{place}"
            for place, (number, node) in enumerate(sorted(self.nodes.items()), 1)
        }
        self.failure = ""
        self.gradients = self._swept()
        self.magnitude = self._magnitude()

    # ------------------------------------------------------------------ recording

    def _hook(self, path: str) -> Callable[[Module, Any, Any], Any]:
        def hook(module: Module, inputs: Any, output: Any) -> Any:
            turn = self._turns.get(path, 0)
            self._turns[path] = turn + 1
            if not isinstance(output, Tensor):
                return None
            if self._recording:
                self.calls.append(Call(path, module, turn, inputs[0] if len(inputs) == 1 else None, output))
            elif self._moved is not None and (self._moved[0].path, self._moved[0].turn) == (path, turn):
                return Tensor._box(self._moved[1], None, [0])
            return None

        return hook

    def _recorded(self) -> tuple[Any, Tensor]:
        self._recording = True
        try:
            prediction, loss = self._run(record)
        finally:
            self._recording = False
        if not isinstance(loss, Tensor):
            raise TypeError(f"verify: the loss is {type(loss).__name__}; return a Tensor")
        if loss.size != 1:
            raise ValueError(
                f"verify: the loss has shape {loss.shape}, but one number is needed; reduce it, "
                'with .mean() or reduction="mean"'
            )
        return prediction, loss

    def _check_loss(self) -> None:
        if not np.isfinite(self.value):
            raise ValueError(f"verify: the loss is {self.value}; its gradients mean nothing")
        if self.loss._node is None:
            raise ValueError(
                "verify: the loss does not depend on the parameters by anything that was recorded; "
                "look for detach(), .data or no_grad() on the way"
            )
        again = self.at()
        if again != self.value:
            raise ValueError(
                f"verify: the model gives the loss {self.value!r}, and run again {again!r}; it draws numbers "
                "from a generator that is not one of its attributes, or keeps state outside its buffers"
            )

    def _run(self, enabled: Any) -> tuple[Any, Any]:
        """Run model and loss from the same random state and the same buffers."""
        for source, state in zip(self._generators, self._states, strict=True):
            source.bit_generator.state = state
        for buffer, array in self._buffers:
            buffer._array = array.copy()
        self._turns.clear()
        token = current_scope.set(Scope(enabled))
        try:
            prediction = self.model(*self.inputs)
            return prediction, self.loss_fn(prediction, self.target)
        finally:
            current_scope.reset(token)
            for source, state in zip(self._generators, self._states, strict=True):
                source.bit_generator.state = state

    def _swept(self) -> dict[int, Array]:
        """Return ∂loss/∂node by the engine's own sweep: of every node, or of those before a rule fails."""
        root = self.loss._node
        found: dict[int, Array] = {}
        if root is None:
            return found

        def watch(node: Node, g: Array, _handed: object) -> None:
            found[node.number] = np.array(g)

        try:
            with np.errstate(all="ignore"):
                sweep({root: np.ones(root.shape)}, watch=watch)
        except RULE_ERRORS as error:
            self.failure = str(error)
        return found

    # ------------------------------------------------------------------ moving

    def at(self, place: Place | None = None, array: Array | None = None) -> float:
        """Return the loss, with the array at ``place`` replaced."""
        with np.errstate(all="ignore"):
            if isinstance(place, Call) and array is not None:
                self._moved = (place, array)
                try:
                    _, loss = self._run(enabled=False)
                finally:
                    self._moved = None
            elif isinstance(place, Tensor) and array is not None:
                kept = place._array
                place._array = array
                try:
                    _, loss = self._run(enabled=False)
                finally:
                    place._array = kept
            else:
                _, loss = self._run(enabled=False)
        return float(loss.data.reshape(-1)[0])

    def _on_the_way(self) -> float:
        """Return Σ |∂loss/∂y|·(largest number that y was made of): all rounding, carried to the loss.

        Of a network that is sure of itself the loss is 10⁻⁸, a difference of logits of 10.
        """
        total = 0.0
        for number, node in self.nodes.items():
            g = self.gradients.get(number)
            if g is None or node.primitive is None:
                continue
            arrays = [node.y, *[parent.y for parent in node.parents if parent is not None]]
            largest = max([float(np.max(np.abs(array), initial=0.0)) for array in arrays])
            total += float(np.sum(np.abs(g))) * largest
        return total if np.isfinite(total) else 0.0

    def _magnitude(self) -> float:
        """Return a number whose rounding is the noise of the loss, from how it trembles under tiny moves."""
        parameters = list(self.parameters.values())
        kept = [parameter._array for parameter in parameters]

        def grown(t: float) -> float:
            for parameter, array in zip(parameters, kept, strict=True):
                parameter._array = array * (1 + t)
            return self.at()

        try:
            return trembling(grown, abs(self.value), self._on_the_way())
        finally:
            for parameter, array in zip(parameters, kept, strict=True):
                parameter._array = array

    # ------------------------------------------------------------------ names

    def gradient(self, tensor: Tensor) -> Array | None:
        """Return ∂loss/∂tensor by autograd: zeros where none arrived, None where a rule has failed."""
        node = tensor._node
        found = self.gradients.get(node.number) if node is not None else None
        if found is not None:
            return found
        return None if self.failure else np.zeros(tensor.shape)

    def layer(self, node: Node) -> str:
        """Return the layer in whose call a node was recorded: its path and kind."""
        for module in enclosing_modules(node.scope):
            path = self._paths.get(id(module))
            if path is not None:
                kind = type(module).__name__
                return f"layer '{path}' ({kind})" if path else kind
            if module is self.loss_fn:
                return f"the loss ({type(module).__name__})"
        return ""

    def parameter_name(self, node: Node | None) -> str:
        """Return the path of the parameter that a leaf is."""
        return next((path for path, p in self.parameters.items() if p._node is node), "")


def record(primitive: Primitive, args: tuple[Any, ...], meta: dict[str, Any], y: Any) -> Tensor:
    """Record a call as the engine does, but with all its arguments, also those that no rule reads."""
    parents = [arg._node if isinstance(arg, Value) else None for arg in args]
    arrays = [arg._array if isinstance(arg, Value) else arg for arg in args]
    rules = [primitive.rule_for(i) for i in range(len(args))] if primitive.rule_for else primitive.rules
    if len(rules) != len(args):
        raise TypeError(
            f"{primitive.name}: called with {len(args)} arguments, but it has {len(rules)} gradient rules"
        )
    pulls = tuple(
        [
            (i, rule)
            for i, (rule, parent) in enumerate(zip(rules, parents, strict=True))
            if rule is not None and parent is not None and parent.requires_grad
        ]
    )
    versions = [arg._version if isinstance(arg, Value) else None for arg in args]
    version = next(
        (
            cell
            for array, cell in zip(arrays, versions, strict=True)
            if cell is not None and np.may_share_memory(y, array)
        ),
        [0],
    )
    if not pulls:
        return Tensor._box(y, None, version)
    node = Node(y, version, primitive, meta, parents, arrays, versions, pulls, current_scope.get())
    return Tensor._box(y, node, version)


def _copied(module: Module) -> Any:
    return copy.deepcopy(module).astype(np.float64)


def _has_layers(module: Module) -> bool:
    return len(list(module.modules())) > 1


def _input(value: Any) -> Tensor:
    """Return an input in float64 where it is floating, as a leaf that wants its gradient."""
    array = np.array(value._array if isinstance(value, Value) else value)
    if array.dtype.kind == "f":
        return Tensor(array.astype(np.float64), requires_grad=True)
    return Tensor(array)


def _target(value: Any) -> Any:
    """Return a target in float64 where it is floating."""
    if isinstance(value, Value):
        array = np.array(value._array)
        return Tensor(array.astype(np.float64) if array.dtype.kind == "f" else array)
    if isinstance(value, (np.ndarray, list, np.generic, float, int)):
        array = np.array(value)
        return array.astype(np.float64) if array.dtype.kind == "f" else array
    return value


def _generators(*holders: Any) -> list[np.random.Generator]:
    """Return every generator that the model may draw from: its layers' own, and the default one."""
    found: list[np.random.Generator] = [generator()]
    for holder in holders:
        for module in holder.modules() if isinstance(holder, Module) else ():
            found += [value for value in _values(module) if isinstance(value, np.random.Generator)]
    return list({id(source): source for source in found}.values())


def _values(module: Module) -> Iterator[Any]:
    for value in vars(module).values():
        yield from value if isinstance(value, (list, tuple)) else [value]
