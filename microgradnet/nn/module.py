"""Module: the base of every layer and model. Parameters by walking attributes, modes, state, hooks."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import Scope, assign, current_scope, enclosing_modules
from microgradnet.html_table import table
from microgradnet.ops import astype
from microgradnet.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import DTypeLike
    from typing_extensions import Self

    from microgradnet.graph import Array


class Module:
    """A function with parameters: subclass it, set parameters and layers as attributes, write ``forward``.

    Parameters and submodules are found by walking attributes, lists, tuples and dicts in order; their names
    are paths such as ``layers.0.weight``. A parameter that is reached twice is counted once, under its first
    name.

    Calling a model boxes ndarrays and lists of numbers as tensors, floating ones in the dtype of the
    parameters (integers keep theirs, since they may be indices), so that ``forward`` meets tensors only; and
    it returns tensors. A tensor of another floating dtype is an error that shows the cast to write.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter([2.0])
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> model = Scale()
    >>> model(np.array([1.0, 3.0]))
    Tensor([2., 6.], dtype=float32, made_by=mul)
    >>> [name for name, _ in model.named_parameters()]
    ['factor']
    """

    training: bool = True
    """Whether dropout drops and batch norm uses the batch; set by ``train()`` and ``eval()``."""
    _buffer_names: tuple[str, ...] = ()
    _forward_hooks: tuple[tuple[object, Callable[..., Any]], ...] = ()

    def forward(self, *inputs: Any) -> Any:
        """Compute the output; subclasses write this one."""
        raise NotImplementedError(
            f"{type(self).__name__} has no forward(self, x): write one that computes the output"
        )

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward`` with this module on the recording context, so that every node knows its module."""
        outer = current_scope.get()
        outermost = outer.module is None
        if outermost:
            inputs = self._received(inputs)
            if options:
                options = dict(zip(options, self._received(options.values()), strict=True))
        token = current_scope.set(Scope(outer.enabled, self, outer))
        try:
            output = self.forward(*inputs, **options) if options else self.forward(*inputs)
        finally:
            current_scope.reset(token)
        for _, hook in self._forward_hooks:
            replaced = hook(self, inputs, output)
            output = output if replaced is None else replaced
        return output if not outermost or isinstance(output, Tensor) else _boxed(output)

    def _received(self, inputs: Iterable[Any]) -> tuple[Any, ...]:
        """Make tensors of arrays and lists of numbers, in the dtype of the parameters where floating."""
        dtype = self._dtype()
        return tuple([self._tensor(x, dtype) for x in inputs])

    def _dtype(self) -> np.dtype[Any] | None:
        """Return the dtype of the parameter that the walk meets first; a layer that knows it is quicker."""
        first = _first_parameter(self, set())
        return None if first is None else first._array.dtype

    def _tensor(self, x: Any, dtype: np.dtype[Any] | None) -> Any:
        if type(x) is np.ndarray and x.dtype is dtype:
            return Tensor._box(x, None, [0])
        if isinstance(x, list) and _holds_numbers(x):
            x = np.asarray(x)
        if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "fiub":
            floating = x.dtype.kind == "f"
            return Tensor._box(np.asarray(x, dtype if floating else None), None, [0])
        if isinstance(x, Tensor) and dtype is not None and x.dtype != dtype and x.dtype.kind == "f":
            if x._is_array:
                return astype(x, dtype=dtype)
            raise TypeError(
                f"{type(self).__name__}: the input is a tensor of {x.dtype}, the parameters are {dtype}; "
                f"write x.astype('{dtype}') or model.astype('{x.dtype}')"
            )
        return x

    # ------------------------------------------------------------------ what is inside

    def _attributes(self) -> list[tuple[str, Any]]:
        """Return what the walk visits, by name, in order."""
        return [(name, value) for name, value in vars(self).items() if name != "_forward_hooks"]

    def _walk(self, *, deep: bool = True) -> Iterator[tuple[str, Module | Tensor]]:
        """Yield this module, and every module, parameter and buffer inside, under every path that it has.

        What is being walked is not entered again, so that a module may hold its parent. Without ``deep``
        only this module's own lists, tuples and dicts are opened.
        """
        yield "", self
        frames: list[tuple[str, Any, Iterator[tuple[Any, Any]]]] = [("", self, iter(self._attributes()))]
        entered = {id(self)}
        while frames:
            lead, holder, items = frames[-1]
            for name, value in items:
                if isinstance(value, Tensor):
                    if isinstance(value, Parameter) or (
                        isinstance(holder, Module) and name in holder._buffer_names  # noqa: SLF001
                    ):
                        yield f"{lead}{name}", value
                elif isinstance(value, (Module, list, tuple, dict)):
                    path = f"{lead}{name}"
                    if isinstance(value, Module):
                        if id(value) not in entered or not deep:
                            yield path, value
                        inside: Any = value._attributes() if deep else ()  # noqa: SLF001
                    else:
                        inside = value.items() if isinstance(value, dict) else enumerate(value)
                    if id(value) not in entered:
                        entered.add(id(value))
                        frames.append((path + ".", value, iter(list(inside))))
                        break
            else:
                frames.pop()
                entered.discard(id(holder))

    def _distinct(self, kind: type) -> Iterator[tuple[str, Any]]:
        """Yield what the walk finds of one kind, each once, under its first path."""
        seen: set[int] = set()
        for path, value in self._walk():
            if isinstance(value, kind) and id(value) not in seen:
                seen.add(id(value))
                yield path, value

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this module (with the empty name) and all modules inside, each once, with their paths."""
        return self._distinct(Module)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all modules inside, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter once, with its path."""
        return self._distinct(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def register_buffer(self, name: str, value: Any) -> None:
        """Set a tensor attribute that is saved with the model but not trained, such as a running mean.

        An array is copied. Assigning another tensor to the attribute later keeps it a buffer.
        """
        setattr(self, name, value if isinstance(value, Tensor) else Tensor(np.array(value)))
        self._buffer_names = (*self._buffer_names, name)

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every buffer once, with its path."""
        return ((path, value) for path, value in self._distinct(Tensor) if not isinstance(value, Parameter))

    def buffers(self) -> Iterator[Tensor]:
        """Yield every buffer once."""
        return (buffer for _, buffer in self.named_buffers())

    # ------------------------------------------------------------------ changing all of it

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and in all modules inside; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode: dropout passes everything, batch norm uses its running statistics."""
        return self.train(mode=False)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function`` on this module and every module inside, in order; returns the module.

        >>> from microgradnet import nn
        >>> def start_at_zero(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.zeros_(module.bias)
        >>> nn.Sequential(nn.Linear(3, 2)).apply(start_at_zero)[0].bias.tolist()
        [0.0, 0.0]
        """
        for module in list(self.modules()):
            function(module)
        return self

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all parameters and floating buffers to another floating dtype, in place.

        Gradients are forgotten. Returns the module.
        """
        kind = np.dtype(dtype)
        if kind.kind != "f":
            raise TypeError(f"parameters need a floating-point dtype, not {kind}")
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.kind == "f":
                tensor.data = tensor.data.astype(kind)
        return self

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def register_forward_hook(self, hook: Callable[[Module, Any, Any], Any]) -> Callable[[], None]:
        """Call ``hook(module, inputs, output)`` after each forward.

        What it returns replaces the output, unless it is None. Hooks run in the order of their registration.
        Returns a function that removes the hook.

        >>> from microgradnet import nn
        >>> layer = nn.ReLU()
        >>> remove = layer.register_forward_hook(lambda module, inputs, output: output + 1)
        >>> layer([-1.0, 2.0]).tolist()
        [1.0, 3.0]
        >>> remove()
        >>> layer([-1.0, 2.0]).tolist()
        [0.0, 2.0]
        """
        key = object()
        self._forward_hooks = (*self._forward_hooks, (key, hook))

        def remove() -> None:
            self._forward_hooks = tuple([entry for entry in self._forward_hooks if entry[0] is not key])

        return remove

    # ------------------------------------------------------------------ state

    def _named_state(self) -> dict[str, Tensor]:
        """Return every parameter and buffer under every name that it has."""
        state: dict[str, Tensor] = {}
        for path, value in self._walk():
            if isinstance(value, Tensor):
                if path in state:
                    raise ValueError(
                        f"{type(self).__name__}: two parameters are called {path!r}; rename one of them"
                    )
                state[path] = value
        return state

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, by path: every path, where one is reached twice."""
        return {path: tensor.data.copy() for path, tensor in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the arrays of ``state`` into the parameters and buffers, in their dtypes.

        Names and shapes must fit exactly; otherwise nothing is changed, and the error lists what does not.
        """
        own = self._named_state()
        arrays = {name: x._array if isinstance(x, Tensor) else np.asarray(x) for name, x in state.items()}
        problems = [f"missing: {name} {tensor.shape}" for name, tensor in own.items() if name not in arrays]
        problems += [f"unexpected: {name} {array.shape}" for name, array in arrays.items() if name not in own]
        for name, tensor in own.items():
            array = arrays.get(name, tensor._array)
            if array.shape != tensor.shape:
                problems.append(f"{name}: the model has shape {tensor.shape}, the state {array.shape}")
            elif not np.can_cast(array.dtype, tensor.dtype, "same_kind"):
                problems.append(f"{name}: the model has dtype {tensor.dtype}, the state {array.dtype}")
        if problems:
            raise ValueError(
                "\n  ".join([f"load_state_dict: the state does not fit {type(self).__name__}:", *problems])
            )
        for name, tensor in own.items():
            assign(tensor, arrays[name])

    # ------------------------------------------------------------------ text

    def extra_repr(self) -> str:
        """Return what the layer's line shows in brackets."""
        return ""

    @reprlib.recursive_repr("…")  # a module may hold its parent
    def __repr__(self) -> str:
        head = self.extra_repr()
        lines = [
            f"({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self._walk(deep=False)
            if name and isinstance(child, Module)
        ]
        inside = head + "\n  " + ",\n  ".join(lines) + "\n" if lines else head
        return f"{type(self).__name__}({inside})"

    def _repr_html_(self) -> str:
        rows = []
        for path, module in self.named_modules():
            own = [p for _, p in module._walk(deep=False) if isinstance(p, Parameter)]  # noqa: SLF001
            name = f"{type(module).__name__}({module.extra_repr()})"
            shapes = ", ".join([str(p.shape) for p in own])
            rows.append([path or "(model)", name, shapes, sum(p.size for p in own)])
        count = sum(p.size for p in self.parameters())
        return table(rows, ["path", "layer", "shapes of its parameters", "numbers"], f"{count:,} parameters")


def _first_parameter(holder: Any, entered: set[int]) -> Parameter | None:
    """Return the parameter that the walk meets first: a quicker walk, for every call of a model."""
    values = vars(holder) if isinstance(holder, Module) else holder
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, Parameter):
            return value
        if isinstance(value, (Module, list, tuple, dict)) and id(value) not in entered:
            entered.add(id(value))
            found = _first_parameter(value, entered)
            if found is not None:
                return found
    return None


def _boxed(output: Any) -> Any:
    """Make tensors of the arrays that a model returns, inside tuples and lists too."""
    if isinstance(output, (np.ndarray, np.generic)):
        return Tensor(output)
    if type(output) in (tuple, list):
        return type(output)([_boxed(item) for item in output])
    return output


def _holds_numbers(values: list[Any]) -> bool:
    """Whether a (nested) list is another way to write an array."""
    first: Any = values
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(first, (bool, int, float, np.generic))


def layer_name(layer: Module) -> str:
    """Return how an error message names a layer: its repr, and its path in the model that is being called."""
    *_, model = [layer, *enclosing_modules(current_scope.get())]
    path = next((path for path, module in model.named_modules() if module is layer), "")
    return f"layer '{path}' {layer!r}" if path else repr(layer)
