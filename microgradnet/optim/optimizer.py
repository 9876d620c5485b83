"""Optimizer: parameter groups, positional state, and the step that applies a pure update rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import assign, stamp, tracer, tracers
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microgradnet.graph import Array

BLOCK = 1 << 17
"""How many elements are updated at a time, so that intermediate results stay in the processor's cache."""


_NUMBERS = frozenset({float, int, bool})


class Optimizer:
    """Updates parameters from their gradients by a pure rule in plain arithmetic.

    A subclass gives ``rule``, elementwise on arrays and tensors alike. ``params`` holds parameters, (name,
    parameter) pairs, or groups: dicts with ``params`` and hyperparameters of their own. Hyperparameters are
    read at each step, so ``optimizer.param_groups[0]["lr"] = 0.1`` takes effect at once. State is kept by
    position in the groups.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                f"{type(self).__name__} takes a list of parameters: write [parameter], or model.parameters()"
            )
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: list[dict[str, Tensor]] = []
        entries = list(params)
        if not entries:
            raise ValueError(
                f"{type(self).__name__} got no parameters; does the model have any, "
                "or was the generator used up before?"
            )
        for i, group in enumerate(entries if isinstance(entries[0], Mapping) else [{"params": entries}]):
            if not isinstance(group, Mapping):
                raise TypeError(
                    f"{type(self).__name__}: group {i} is {type(group).__name__}; give dicts only"
                )
            self.add_param_group(group)

    @staticmethod
    def rule(*args: Any, **hyper: Any) -> tuple[Any, dict[str, Any]]:
        """Map (parameter, gradient, state), with hyperparameters by name, to (change, state).

        The change is what ``step()`` subtracts from the parameter, in place.
        """
        raise NotImplementedError("an optimizer gives its update as a static method `rule`")

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse hyperparameters that make no sense."""
        if not group["lr"] >= 0:
            raise ValueError(
                f"{type(self).__name__}: the learning rate must not be negative, got lr={group['lr']}"
            )

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; those not named take the optimizer's."""
        kind = type(self).__name__
        if "params" not in group or set(group) - {"params", *self.defaults}:
            given = ", ".join(map(str, group))
            raise ValueError(
                f"{kind}: a group is a dict of 'params' and any of {', '.join(self.defaults)}; got {given}"
            )
        members = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        pairs = [member if isinstance(member, tuple) else (None, member) for member in members]
        known = {id(p) for p in self._parameters()}
        for i, (_, p) in enumerate(pairs):
            if not isinstance(p, Tensor):
                raise TypeError(f"{kind}: parameter {i} is {type(p).__name__}; give tensors")
            if not p.is_leaf:
                raise ValueError(
                    f"{kind}: parameter {i} of shape {p.shape} was computed from others; "
                    "give the leaves that it came from"
                )
            if id(p) in known:
                raise ValueError(f"{kind}: parameter {i} of shape {p.shape} is given twice")
            known.add(id(p))
        full = {**self.defaults, **group, "params": [p for _, p in pairs]}
        if any(name is not None for name, _ in pairs):
            full["param_names"] = [name for name, _ in pairs]
        self.check(full)
        self.param_groups.append(full)
        self.state += [{} for _ in pairs]

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self) -> None:
        """Apply the rule to every parameter that has a gradient."""
        if tracers and (recorder := tracer()) is not None:
            recorder.step(self)
            return
        states, rule = iter(self.state), self.rule
        for group in self.param_groups:
            self.check(group)
            hyper = {name: group[name] for name in self.defaults}
            if not _NUMBERS.issuperset(map(type, hyper.values())):
                hyper = {name: _plain(value) for name, value in hyper.items()}
            for p in group["params"]:
                state, node, array = next(states), p._node, p._array
                g = None if node is None else node.gradient()
                if g is None:
                    continue
                if array.size > BLOCK and array.flags.c_contiguous:
                    self._update_in_blocks(p, g, state, hyper)
                    continue
                arrays = {name: state[name]._array for name in state} if state else state
                change, kept = rule(array, g, arrays, **hyper)
                if kept:  # first, since it may be a view of the old parameter
                    _keep(state, kept)
                np.subtract(array, change, array)
                stamp(p)

    def _update_in_blocks(self, p: Tensor, g: Array, state: dict[str, Tensor], hyper: dict[str, Any]) -> None:
        """Apply the rule block by block, which is faster where the parameter is large."""
        array = p._array
        values, gradients = array.reshape(-1), g.reshape(-1)
        old = {name: tensor._array.reshape(-1) for name, tensor in state.items()}
        kept = dict(old)  # and what the first step creates, which its later blocks must not take for old
        for start in range(0, array.size, BLOCK):
            block = slice(start, start + BLOCK)
            part = {name: buffer[block] for name, buffer in old.items()}
            chunk = values[block]
            change, changed = self.rule(chunk, gradients[block], part, **hyper)
            for name, value in changed.items():
                if name not in kept:
                    state[name] = Tensor(np.empty(array.shape, array.dtype))
                    kept[name] = state[name]._array.reshape(-1)
                kept[name][block] = value
            np.subtract(chunk, change, chunk)
        for tensor in (p, *state.values()):
            stamp(tensor)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state by position, the groups with positions, and every shape."""
        groups, first = [], 0
        for group in self.param_groups:
            positions = list(range(first, first + len(group["params"])))
            copy = {name: list(value) if isinstance(value, list) else value for name, value in group.items()}
            groups.append({**copy, "params": positions})
            first += len(positions)
        return {
            "state": {
                i: {name: tensor.data.copy() for name, tensor in state.items()}
                for i, state in enumerate(self.state)
                if state
            },
            "param_groups": groups,
            "shapes": [list(p.shape) for p in self._parameters()],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over a saved state.

        Shapes, and names where both sides have them, must fit; otherwise it is a ValueError and nothing
        changes.
        """
        groups = saved["param_groups"]
        sizes, own_sizes = ([len(g["params"]) for g in some] for some in (groups, self.param_groups))
        if sizes != own_sizes:
            raise ValueError(
                f"load_state_dict: groups of {sizes} parameters were saved, this optimizer has {own_sizes}"
            )
        parameters = self._parameters()
        names, own_names = _names(groups), _names(self.param_groups)
        for i, (p, shape) in enumerate(zip(parameters, saved["shapes"], strict=True)):
            if tuple(shape) != p.shape or (names[i] and own_names[i] and names[i] != own_names[i]):
                raise ValueError(
                    f"load_state_dict: parameter {i} was {names[i] or 'unnamed'} of shape {tuple(shape)}, "
                    f"here it is {own_names[i] or 'unnamed'} of shape {p.shape}"
                )
        for i, group in enumerate(groups):
            if missing := [name for name in self.defaults if name not in group]:
                raise ValueError(
                    f"load_state_dict: group {i} was saved without {', '.join(missing)}; "
                    f"is it the state of another optimizer than {type(self).__name__}?"
                )
            self.check(group)
        state = _fitting(saved["state"], parameters)
        for own, group in zip(self.param_groups, groups, strict=True):
            own.update({name: group[name] for name in self.defaults})
        self.state = state

    def __repr__(self) -> str:
        groups = [
            ", ".join(
                [f"{len(group['params'])} parameters", *[f"{name}={group[name]}" for name in self.defaults]]
            )
            for group in self.param_groups
        ]
        return f"{type(self).__name__}({'; '.join(groups)})"


def _names(groups: Iterable[Mapping[str, Any]]) -> list[str | None]:
    return [name for g in groups for name in g.get("param_names", [None] * len(g["params"]))]


def _fitting(saved: Mapping[Any, Any], parameters: list[Tensor]) -> list[dict[str, Tensor]]:
    """Return the state of every parameter, in its dtype; every entry must have that one's shape."""
    state: list[dict[str, Tensor]] = [{} for _ in parameters]
    for key, entries in saved.items():
        i = int(key)  # a string, after a way through JSON
        if not 0 <= i < len(parameters):
            raise ValueError(
                f"load_state_dict: there is state of parameter {i}, "
                f"but there are {len(parameters)} parameters"
            )
        p = parameters[i]
        for name, array in entries.items():
            state[i][name] = Tensor(np.array(array, p.dtype, order="C"))
            if state[i][name].shape != p.shape:
                raise ValueError(
                    f"load_state_dict: {name} of parameter {i} has shape {np.shape(array)}, "
                    f"expected {p.shape}"
                )
    return state


def _keep(state: dict[str, Tensor], kept: Mapping[str, Any]) -> None:
    """Write what a rule wants to find at the next step into a parameter's state."""
    for name, value in kept.items():
        if name in state:
            assign(state[name], value)
        else:
            state[name] = Tensor(np.array(value, order="C"))


def _plain(value: Any) -> Any:
    """Turn a NumPy number into Python's, which leaves float32 arithmetic float32."""
    return value.item() if hasattr(value, "item") else value
