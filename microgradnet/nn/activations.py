"""Layers that apply a function to every element, or a softmax along an axis."""

from __future__ import annotations

from typing import Any

from microgradnet.nn import functional as F
from microgradnet.nn.module import Module


class Sigmoid(Module):
    """σ(z) = 1 / (1 + e⁻ᶻ)."""

    def forward(self, x: Any) -> Any:
        """Return σ(x)."""
        return F.sigmoid(x)


class Tanh(Module):
    """tanh z."""

    def forward(self, x: Any) -> Any:
        """Return tanh x."""
        return F.tanh(x)


class ReLU(Module):
    """max(z, 0), with derivative 0 at 0."""

    def forward(self, x: Any) -> Any:
        """Return max(x, 0)."""
        return F.relu(x)


class LeakyReLU(Module):
    """Z where z > 0, else negative_slope·z (its derivative at 0 too)."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        """Apply it."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """Z where z > 0, else alpha·(eᶻ − 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """Apply it."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """z·Φ(z); ``approximate="tanh"`` is the faster formula."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Apply it."""
        return F.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Return the formula's name."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """ln(1 + eᶻ)."""

    def forward(self, x: Any) -> Any:
        """Return ln(1 + eˣ)."""
        return F.softplus(x)


class Softmax(Module):
    """eᶻ / Σ eᶻ along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Apply it."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """z − ln Σ eᶻ along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Apply it."""
        return F.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"
