"""Module: the base of every layer and model. Parameters by walking attributes, modes, state, hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import Scope, assign, current_scope, enclosing_modules
from microgradnet.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import DTypeLike
    from typing_extensions import Self

    from microgradnet.graph import Array


class Module:
    """A function with parameters: subclass it, set parameters and layers as attributes, write ``forward``.

    Parameters and submodules are found by walking attributes, lists, tuples and dicts in order; their names are
    paths such as ``layers.0.weight``. A parameter that is reached twice is counted once, under its first name.

    The outermost call casts a floating ndarray to the parameters' dtype, and always returns tensors.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter([2.0])
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
    _forward_hooks: tuple[Callable[..., Any], ...] = ()

    def forward(self, *inputs: Any) -> Any:
        """Compute the output; subclasses write this one."""
        message = f"{type(self).__name__} has no forward(self, x): write one that computes the output"
        raise NotImplementedError(message)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward`` with this module on the recording context, so that every node knows its module."""
        outer = current_scope.get()
        outermost = outer.module is None
        if outermost:
            inputs = self._cast(inputs)
        token = current_scope.set(Scope(enabled=outer.enabled, module=self, outer=outer))
        try:
            output = self.forward(*inputs, **options)
        finally:
            current_scope.reset(token)
        for hook in self._forward_hooks:
            replaced = hook(self, inputs, output)
            output = output if replaced is None else replaced
        return Tensor(output) if outermost and isinstance(output, np.ndarray) else output

    def _cast(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give floating ndarrays (and lists of numbers) the dtype of the parameters."""
        if all(isinstance(x, Tensor) for x in inputs):
            return inputs
        first = next(self.parameters(), None)
        arrays = [np.asarray(x) if isinstance(x, (list, float)) else x for x in inputs]
        if first is None:
            return tuple(arrays)
        return tuple(
            [x.astype(first.dtype, copy=False) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in arrays]
        )

    # ------------------------------------------------------------------ what is inside

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        """Yield what the walk visits, by name."""
        yield from vars(self).items()

    def _walk(self, prefix: str = "") -> Iterator[tuple[str, Module | Tensor]]:
        """Yield every module (this one first) and every parameter and buffer with its path, in order."""
        stack: list[tuple[str, Any]] = [(prefix, self)]
        inside: list[Module] = []
        while stack:
            path, value = stack.pop()
            if isinstance(value, Module):
                if any(value is other for other in inside):
                    continue
                inside.append(value)
                children: list[tuple[str, Any]] = list(value._attributes())
            elif isinstance(value, (list, tuple)):
                children = [(str(i), item) for i, item in enumerate(value)]
            elif isinstance(value, dict):
                children = [(str(key), item) for key, item in value.items()]
            else:
                if isinstance(value, Tensor):
                    yield path, value
                continue
            if isinstance(value, Module):
                yield path, value
            lead = path + "." if path else ""
            stack.extend([(lead + name, child) for name, child in reversed(children)])

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this module (with the empty name) and all modules inside, each once, with their paths."""
        for path, value in self._walk():
            if isinstance(value, Module):
                yield path, value

    def modules(self) -> Iterator[Module]:
        """Yield this module and all modules inside, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter once, with its path."""
        seen: list[Parameter] = []
        for path, value in self._walk():
            if isinstance(value, Parameter) and not any(value is other for other in seen):
                seen.append(value)
                yield path, value

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def register_buffer(self, name: str, value: Any) -> None:
        """Set a tensor attribute that is saved with the model but not trained, such as a running mean."""
        setattr(self, name, value if isinstance(value, Tensor) else Tensor(np.asarray(value)))
        self._buffer_names = (*self._buffer_names, name)

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every buffer with its path."""
        for path, module in self.named_modules():
            for name in module._buffer_names:
                yield (f"{path}.{name}" if path else name), getattr(module, name)

    def buffers(self) -> Iterator[Tensor]:
        """Yield every buffer."""
        for _, buffer in self.named_buffers():
            yield buffer

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
        """Call ``function`` on every module inside and then on this one; returns the module."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all parameters and floating buffers to another floating dtype, in place; returns the module."""
        kind = np.dtype(dtype)
        if kind.kind != "f":
            message = f"parameters need a floating-point dtype, not {kind}"
            raise TypeError(message)
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.kind == "f":
                tensor.data = tensor.data.astype(kind)
        return self

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def register_forward_hook(self, hook: Callable[[Module, Any, Any], Any]) -> Callable[[], None]:
        """Call ``hook(module, inputs, output)`` after each forward; what it returns (not None) replaces the output.

        Returns a function that removes the hook.
        """
        self._forward_hooks = (*self._forward_hooks, hook)

        def remove() -> None:
            self._forward_hooks = tuple([other for other in self._forward_hooks if other is not hook])

        return remove

    # ------------------------------------------------------------------ state

    def _named_state(self) -> dict[str, Tensor]:
        """Return every parameter and buffer under every name that it has."""
        buffers = dict(self.named_buffers())
        return {
            path: value
            for path, value in self._walk()
            if isinstance(value, Parameter) or (isinstance(value, Tensor) and path in buffers)
        }

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, by path."""
        return {path: tensor.data.copy() for path, tensor in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the arrays of ``state`` into the parameters and buffers.

        Names and shapes must fit exactly; otherwise nothing is changed, and the error lists what does not.
        """
        own = self._named_state()
        problems = [f"missing: {name} {tensor.shape}" for name, tensor in own.items() if name not in state]
        problems += [f"unexpected: {name} {np.shape(array)}" for name, array in state.items() if name not in own]
        problems += [
            f"{name}: the model has shape {tensor.shape}, the state {np.shape(state[name])}"
            for name, tensor in own.items()
            if name in state and np.shape(state[name]) != tensor.shape
        ]
        if problems:
            message = f"load_state_dict: the state does not fit {type(self).__name__}:\n  " + "\n  ".join(problems)
            raise ValueError(message)
        for name, tensor in own.items():
            assign(tensor, np.asarray(state[name]))

    # ------------------------------------------------------------------ text

    def extra_repr(self) -> str:
        """Return what the layer's line shows in brackets."""
        return ""

    def __repr__(self) -> str:
        children = [
            (name, value)
            for name, value in _flattened(self._attributes())
            if isinstance(value, Module) and value is not self
        ]
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        inside = ",\n  ".join(lines)
        head = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({head})"
        return f"{type(self).__name__}({head}\n  {inside}\n)"


def _flattened(items: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Open lists, tuples and dicts, joining the names."""
    for name, value in items:
        if isinstance(value, (list, tuple)):
            yield from _flattened(iter([(f"{name}.{i}", item) for i, item in enumerate(value)]))
        elif isinstance(value, dict):
            yield from _flattened(iter([(f"{name}.{key}", item) for key, item in value.items()]))
        else:
            yield name, value


def layer_name(layer: Module) -> str:
    """Return how an error message names a layer: its repr, and its path in the model that is being called."""
    modules = list(enclosing_modules(current_scope.get()))
    path = next((path for path, module in modules[-1].named_modules() if module is layer), "") if modules else ""
    return f"layer '{path}' {layer!r}" if path else repr(layer)
