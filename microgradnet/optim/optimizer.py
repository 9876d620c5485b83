"""Optimizer: parameter groups, positional state, and the step that applies a pure update rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import assign, stamp
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BLOCK = 1 << 16
"""How many elements are updated at a time, so that a rule's intermediate results stay in the processor's cache."""


class Optimizer:
    """Updates parameters from their gradients by a pure rule in plain arithmetic.

    A subclass gives ``rule``, elementwise on arrays and tensors alike. ``params`` holds parameters, (name, parameter)
    pairs, or groups: dicts with ``params`` and hyperparameters of their own. Hyperparameters are read at each step,
    so ``optimizer.param_groups[0]["lr"] = 0.1`` takes effect at once. State is kept by position in the groups.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            message = "an optimizer takes a list of parameters: write [parameter], or model.parameters()"
            raise TypeError(message)
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: list[dict[str, Tensor]] = []
        entries = list(params)
        if not entries:
            message = "the optimizer got no parameters; does the model have any, or was its generator used up before?"
            raise ValueError(message)
        for group in entries if isinstance(entries[0], dict) else [{"params": entries}]:
            self.add_param_group(group)

    @staticmethod
    def rule(parameter: Any, gradient: Any, state: Mapping[str, Any], **hyper: Any) -> tuple[Any, dict[str, Any]]:
        """Map (parameter, gradient, state, hyperparameters) to the new parameter and state, in plain arithmetic."""
        raise NotImplementedError

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse hyperparameters that make no sense."""
        if not group["lr"] >= 0:
            message = f"{type(self).__name__}: the learning rate must not be negative, got lr={group['lr']}"
            raise ValueError(message)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; those not named take the optimizer's."""
        unknown = set(group) - set(self.defaults) - {"params", "param_names"}
        if unknown or "params" not in group:
            message = (
                f"{type(self).__name__}: a group has 'params' and any of {', '.join(self.defaults)}; "
                f"got {', '.join(map(str, group))}"
            )
            raise ValueError(message)
        full = {**self.defaults, **group}
        members = [full["params"]] if isinstance(full["params"], Tensor) else list(full["params"])
        pairs = [member if isinstance(member, tuple) else (None, member) for member in members]
        known = [p for other in self.param_groups for p in other["params"]]
        for i, (_, p) in enumerate(pairs):
            if not isinstance(p, Tensor) or not p.is_leaf:
                message = f"{type(self).__name__}: parameter {i} is {type(p).__name__}" + (
                    ", computed from others; give the leaf that it was computed from" if isinstance(p, Tensor) else ""
                )
                raise TypeError(message)
            if any(p is other for other in known):
                message = f"{type(self).__name__}: parameter {i} of shape {p.shape} is given twice"
                raise ValueError(message)
            known.append(p)
        full["params"] = [p for _, p in pairs]
        if any(name is not None for name, _ in pairs):
            full["param_names"] = [name for name, _ in pairs]
        self.check(full)
        self.param_groups.append(full)
        self.state += [{} for _ in pairs]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self) -> None:
        """Apply the rule to every parameter that has a gradient."""
        states = iter(self.state)
        for group in self.param_groups:
            self.check(group)
            hyper = {name: _plain(group[name]) for name in self.defaults}
            for p in group["params"]:
                state = next(states)
                g = p.grad
                if g is not None:
                    self._update(p, g, state, hyper)

    def _update(self, p: Tensor, g: Any, state: dict[str, Tensor], hyper: dict[str, Any]) -> None:
        """Assign what the rule computes, block by block where the parameter is large."""
        arrays = {name: tensor._array for name, tensor in state.items()}
        if p.size <= BLOCK or not p._array.flags.c_contiguous:
            new, changed = self.rule(p._array, g, arrays, **hyper)
            assign(p, new)
            for name, value in changed.items():
                if name in state:
                    assign(state[name], value)
                else:
                    state[name] = Tensor(np.array(value))
            return
        values, gradients = p._array.reshape(-1), g.reshape(-1)
        old = {name: array.reshape(-1) for name, array in arrays.items()}
        kept = dict(old)
        for start in range(0, p.size, BLOCK):
            block = slice(start, start + BLOCK)
            part = {name: array[block] for name, array in old.items()}
            values[block], changed = self.rule(values[block], gradients[block], part, **hyper)
            for name, value in changed.items():
                if name not in kept:
                    state[name] = Tensor(np.empty_like(p._array))
                    kept[name] = state[name]._array.reshape(-1)
                kept[name][block] = value
        for tensor in (p, *state.values()):
            stamp(tensor)

    # ------------------------------------------------------------------ saving

    def _positions(self) -> list[tuple[Tensor, str | None]]:
        return [
            (p, name)
            for group in self.param_groups
            for p, name in zip(
                group["params"], group.get("param_names", [None] * len(group["params"])), strict=True
            )
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state by position, the groups with positions for parameters, and every shape."""
        groups, first = [], 0
        for group in self.param_groups:
            positions = list(range(first, first + len(group["params"])))
            groups.append({**group, "params": positions})
            first += len(positions)
        return {
            "state": {
                i: {name: tensor.data.copy() for name, tensor in state.items()}
                for i, state in enumerate(self.state)
                if state
            },
            "param_groups": groups,
            "shapes": [list(p.shape) for p, _ in self._positions()],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over a saved state; shapes, and names where both sides have them, must fit, else nothing changes."""
        groups, positions = saved["param_groups"], self._positions()
        if [len(group["params"]) for group in groups] != [len(group["params"]) for group in self.param_groups]:
            message = (
                f"load_state_dict: groups of {[len(g['params']) for g in groups]} parameters were saved, "
                f"this optimizer has {[len(g['params']) for g in self.param_groups]}"
            )
            raise ValueError(message)
        names = [name for g in groups for name in g.get("param_names", [None] * len(g["params"]))]
        for i, ((p, name), old, shape) in enumerate(zip(positions, names, saved["shapes"], strict=True)):
            if tuple(shape) != p.shape or (name and old and name != old):
                message = (
                    f"load_state_dict: parameter {i} was {old or 'unnamed'} of shape {tuple(shape)}, "
                    f"here it is {name or 'unnamed'} of shape {p.shape}"
                )
                raise ValueError(message)
        for group, old in zip(self.param_groups, groups, strict=True):
            self.check({**group, **{key: old[key] for key in self.defaults}})
        for group, old in zip(self.param_groups, groups, strict=True):
            group.update({key: old[key] for key in self.defaults})
        states = {int(i): state for i, state in saved["state"].items()}
        self.state = [
            {name: Tensor(np.array(array)) for name, array in states.get(i, {}).items()} for i in range(len(positions))
        ]

    def __repr__(self) -> str:
        groups = "; ".join(
            f"{len(group['params'])} parameters, " + ", ".join(f"{name}={group[name]}" for name in self.defaults)
            for group in self.param_groups
        )
        return f"{type(self).__name__}({groups})"


def _plain(value: Any) -> Any:
    """Turn a NumPy number into Python's, which leaves float32 arithmetic float32."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value
