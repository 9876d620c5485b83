"""Stochastic gradient descent, with momentum, Nesterov's variant and weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SGD(Optimizer):
    """Stochastic gradient descent: w ← w − lr·v, with PyTorch's definitions of every term.

    g ← g + weight_decay·w; v ← momentum·v + (1 − dampening)·g (v ← g at the first step); with ``nesterov``
    the step is along g + momentum·v.

    ``params`` are parameters, (name, parameter) pairs, or groups with hyperparameters of their own, as in
    ``SGD([{"params": weights, "weight_decay": 1e-4}, {"params": biases}], lr=0.1)``. A negative
    hyperparameter, or ``nesterov`` without momentum or with dampening, is a ValueError.

    Sources: Sutskever et al., *On the importance of initialization and momentum in deep learning*, 2013; the
    documentation of ``torch.optim.SGD`` for the order of the terms.

    >>> from microgradnet import nn, optim
    >>> w = nn.Parameter([1.0, -2.0], dtype=float)
    >>> optimizer = optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, -1.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        hyper = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, hyper)

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse negative numbers, and Nesterov's variant without plain momentum."""
        super().check(group)
        momentum = group["momentum"]
        if not (momentum >= 0 and group["weight_decay"] >= 0):
            name = "weight_decay" if momentum >= 0 else "momentum"
            raise ValueError(f"SGD: {name} must not be negative, got {group[name]}")
        if group["nesterov"] and (momentum == 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov=True needs momentum above 0 and dampening=0, "
                f"got {momentum} and {group['dampening']}"
            )

    @staticmethod
    def rule(
        parameter: Any,
        gradient: Any,
        state: Mapping[str, Any],
        *,
        lr: float,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
    ) -> tuple[Any, dict[str, Any]]:
        """Return what is subtracted from the parameter, and the new velocity."""
        if weight_decay:
            gradient = gradient + weight_decay * parameter
        if not momentum:
            return lr * gradient, {}
        velocity = gradient
        if "momentum_buffer" in state:
            velocity = momentum * state["momentum_buffer"] + (1 - dampening) * gradient
        direction = gradient + momentum * velocity if nesterov else velocity
        return lr * direction, {"momentum_buffer": velocity}
