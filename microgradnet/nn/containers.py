"""Modules that arrange others: Sequential, and Flatten between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from microgradnet import ops
from microgradnet.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from typing_extensions import Self


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
        self.layers: list[Module] = []
        for layer in layers:
            self.append(layer)

    def append(self, layer: Module) -> Self:
        """Add a layer at the end; returns the module."""
        if not isinstance(layer, Module):
            advice = "; write nn.Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
            if isinstance(layer, type):
                advice = f"; create it: {layer.__name__}(…)"
            kind = type(layer).__name__
            raise TypeError(f"Sequential: layer {len(self.layers)} is {kind}, not a Module{advice}")
        self.layers.append(layer)
        return self

    def _attributes(self) -> list[tuple[str, Any]]:
        """Return the layers by number, then what a subclass has added."""
        rest = [(name, value) for name, value in super()._attributes() if name != "layers"]
        return [*[(str(i), layer) for i, layer in enumerate(self.layers)], *rest]

    def _dtype(self) -> np.dtype[Any] | None:
        for layer in self.layers:
            if (dtype := layer._dtype()) is not None:  # noqa: SLF001 - of another module
                return dtype
        return super()._dtype()

    def forward(self, x: Any) -> Any:
        """Apply the layers in order."""
        for layer in self.layers:
            x = layer(x)
        return x

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
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
