"""Dropout and Dropout2d: layers that behave differently in training and in evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradnet.nn import functional as F
from microgradnet.nn.module import Module

if TYPE_CHECKING:
    import numpy as np


class Dropout(Module):
    """In training, zero each element with probability p and scale the others by 1/(1 − p).

    In ``eval()`` it is the identity. The mask is drawn in the forward pass from ``rng`` (the default
    generator without) and kept for the backward.

    Source: Srivastava et al., *Dropout*, 2014, section 10 (the inverted form).

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.Dropout(0.5).eval()(np.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"{type(self).__name__}: p must be at least 0 and below 1, not {p}")
        self.p = p
        self.rng = rng

    def forward(self, x: Any) -> Any:
        """Return x with elements dropped."""
        return F.dropout(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """Return p."""
        return f"p={self.p}"


class Dropout2d(Dropout):
    """In training, zero each channel of x (N, C, H, W) with probability p and scale the others by 1/(1 − p).

    Neighbouring pixels say nearly the same: dropped one by one they would be missed by nobody. Otherwise as
    ``Dropout``.

    Source: Tompson et al., *Efficient Object Localization Using Convolutional Networks*, 2015, section 3.2.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> nn.Dropout2d(0.5, rng=np.random.default_rng(1))(np.ones((1, 3, 1, 2))).tolist()
    [[[[2.0, 2.0]], [[0.0, 0.0]], [[0.0, 0.0]]]]
    """

    def forward(self, x: Any) -> Any:
        """Return x with channels dropped."""
        return F.dropout2d(x, self.p, self.training, rng=self.rng)
