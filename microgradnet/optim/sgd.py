"""Stochastic gradient descent, with momentum, Nesterov's variant and weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SGD(Optimizer):
    """Stochastic gradient descent: w ← w − lr·v, with PyTorch's definitions of every term.

    g ← g + weight_decay·w; v ← momentum·v + (1 − dampening)·g (v ← g at the first step); with ``nesterov`` the step
    is along g + momentum·v.

    Sources: Sutskever et al., *On the importance of initialization and momentum in deep learning*, 2013; PyTorch's
    documentation of ``torch.optim.SGD`` for the order of the terms.

    >>> from microgradnet import nn, optim
    >>> w = nn.Parameter([1.0, -2.0])
    >>> optimizer = optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.data.round(4).tolist()
    [0.800000011920929, -1.600000023841858]
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
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse negative numbers, and Nesterov's variant without plain momentum."""
        super().check(group)
        for name in ("momentum", "weight_decay"):
            if group[name] < 0:
                message = f"SGD: {name} must not be negative, got {group[name]}"
                raise ValueError(message)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            message = "SGD: nesterov=True needs momentum above 0 and dampening=0"
            raise ValueError(message)

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
        """Return the new parameter and velocity."""
        if weight_decay:
            gradient = gradient + weight_decay * parameter
        if not momentum:
            return parameter - lr * gradient, {}
        velocity = gradient
        if "momentum_buffer" in state:
            velocity = momentum * state["momentum_buffer"] + (1 - dampening) * gradient
        direction = gradient + momentum * velocity if nesterov else velocity
        return parameter - lr * direction, {"momentum_buffer": velocity}
