"""Modules that arrange others: Sequential, and Flatten between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from microgradnet.nn.module import Module
from microgradnet.ops import reshape

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sequential(Module):
    """Layers one after another; ``model[i]`` is the i-th, a slice is a Sequential, names are ``0.weight``, ….

    >>> from microgradnet import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> model
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True),
      (1): Tanh(),
      (2): Linear(in_features=3, out_features=1, bias=True)
    )
    >>> [name for name, _ in model.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                message = (
                    f"Sequential: layer {i} is {type(layer).__name__}, not a Module"
                    + ("; write nn.Sequential(*layers)" if isinstance(layer, (list, tuple)) else "")
                    + (f"; create it: {layer.__name__}(…)" if isinstance(layer, type) else "")
                )
                raise TypeError(message)
        self.layers = list(layers)

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        for i, layer in enumerate(self.layers):
            yield str(i), layer

    def forward(self, x: Any) -> Any:
        """Apply the layers in order."""
        for layer in self.layers:
            x = layer(x)
        return x

    def append(self, layer: Module) -> Sequential:
        """Add a layer at the end; returns the module."""
        self.layers.append(layer)
        return self

    def __getitem__(self, key: int | slice) -> Any:
        return Sequential(*self.layers[key]) if isinstance(key, slice) else self.layers[key]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)


class Flatten(Module):
    """(N, a, b, …) → (N, a·b·…).

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.Flatten()(np.zeros((5, 1, 28, 28))).shape
    (5, 784)
    """

    def forward(self, x: Any) -> Any:
        """Flatten all axes but the first."""
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))
