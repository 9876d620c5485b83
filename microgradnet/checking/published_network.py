"""The 2-2-2 network whose every number was published: what ``microgradnet explain`` shows without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microgradnet import nn

if TYPE_CHECKING:
    from microgradnet.graph import Array


def mazur() -> tuple[nn.Module, nn.Module, Array, Array]:
    """Return model, loss, input and target of Mazur's example; E = ½ Σ (target − output)².

    Source: M. Mazur, *A Step by Step Backpropagation Example*, 2015.

    >>> model, loss_fn, x, y = mazur()
    >>> print(f"{loss_fn(model(x), y):.9f}")
    0.298371109
    """
    model = nn.Sequential(
        nn.Linear(2, 2, dtype=np.float64),
        nn.Sigmoid(),
        nn.Linear(2, 2, dtype=np.float64),
        nn.Sigmoid(),
    )
    model.load_state_dict(
        {
            "0.weight": [[0.15, 0.20], [0.25, 0.30]],
            "0.bias": [0.35, 0.35],
            "2.weight": [[0.40, 0.45], [0.50, 0.55]],
            "2.bias": [0.60, 0.60],
        }
    )
    return model, nn.QuadraticLoss(), np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
