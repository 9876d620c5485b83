"""Layers that apply a function to every element, or a softmax along an axis."""

from __future__ import annotations

from typing import Any

from microgradnet.nn import functional as F
from microgradnet.nn.module import Module


class Sigmoid(Module):
    """σ(x) = 1 / (1 + e⁻ˣ) of every element.

    >>> from microgradnet import nn
    >>> nn.Sigmoid()([0.0, 1000.0]).tolist()
    [0.5, 1.0]
    """

    def forward(self, x: Any) -> Any:
        """Return σ(x)."""
        return F.sigmoid(x)


class Tanh(Module):
    """tanh x of every element.

    >>> from microgradnet import nn
    >>> nn.Tanh()([0.0, 1.0]).data.round(4).tolist()
    [0.0, 0.7616]
    """

    def forward(self, x: Any) -> Any:
        """Return tanh x."""
        return F.tanh(x)


class ReLU(Module):
    """max(x, 0) of every element; the derivative at 0 is 0.

    >>> from microgradnet import nn
    >>> nn.ReLU()([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    def forward(self, x: Any) -> Any:
        """Return max(x, 0)."""
        return F.relu(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope·x (its derivative at 0 too).

    Source: Maas et al., *Rectifier Nonlinearities Improve Neural Network Acoustic Models*, 2013.

    >>> from microgradnet import nn
    >>> nn.LeakyReLU(0.1)([-1.0, 2.0]).tolist()
    [-0.1, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        """Return x or negative_slope·x."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where x > 0, else alpha·(eˣ − 1).

    Source: Clevert et al., *Fast and Accurate Deep Network Learning by Exponential Linear Units*, 2016, eq.
    15.

    >>> from microgradnet import nn
    >>> nn.ELU()([-1000.0, 2.0]).tolist()
    [-1.0, 2.0]
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """Return x or alpha·(eˣ − 1)."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """x·Φ(x), Φ the normal distribution function; ``approximate="tanh"`` is the faster formula.

    Source: Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016.

    >>> from microgradnet import nn
    >>> nn.GELU()([-1.0, 1.0]).data.round(4).tolist()
    [-0.1587, 0.8413]
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Return x·Φ(x)."""
        return F.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Return the formula's name."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """ln(1 + eˣ) of every element.

    >>> from microgradnet import nn
    >>> nn.Softplus()([0.0, 1000.0]).data.round(4).tolist()
    [0.6931, 1000.0]
    """

    def forward(self, x: Any) -> Any:
        """Return ln(1 + eˣ)."""
        return F.softplus(x)


class Softmax(Module):
    """eˣ / Σ eˣ along ``dim``, the last axis by default.

    >>> from microgradnet import nn
    >>> nn.Softmax()([[0.0, 0.0], [1000.0, 0.0]]).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Return eˣ / Σ eˣ."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x − ln Σ eˣ along ``dim``, the last axis by default.

    >>> from microgradnet import nn
    >>> nn.LogSoftmax()([[0.0, 1000.0]]).tolist()
    [[-1000.0, 0.0]]
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Return x − ln Σ eˣ."""
        return F.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"
