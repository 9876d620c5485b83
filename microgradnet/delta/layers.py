"""The layers that δ passes through: each has its forward formula and, beside it, how δ goes back.

A layer turns x into y. Its ``backward`` is given δ = ∂C/∂y with the x and y of the forward pass, and
returns ∂C/∂x with the gradients of its parameters. The first axis counts the examples; what the cost
divides by is in δ already, so that nothing here divides again. The tags (L1), (L2), … are the equations of
docs/delta.md, where each is derived.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from microgradnet.delta.functions import Array, floats, log_softmax, sigmoid, softmax

Gradients: TypeAlias = dict[str, Array]


class Layer(ABC):
    """What every layer has: ``forward`` and ``backward``; and a repr that shows the shapes of its arrays.

    A layer of one's own is a subclass with these two; ``Stack`` needs nothing else.
    """

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """Return y; where x does not fit, raise a ValueError with both shapes."""

    @abstractmethod
    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return ∂C/∂x and the gradients by name ({} without parameters), given delta = ∂C/∂y."""

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value.shape if isinstance(value, np.ndarray) else value}"
            for name, value in vars(self).items()
        )
        return f"{type(self).__name__}({shown})"

    def _hold(self, **arrays: object) -> None:
        """Keep what was given as arrays of floats, in a frozen dataclass too."""
        for name, values in arrays.items():
            object.__setattr__(self, name, floats(values))


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Layer):
    """y = x·Wᵀ + b for x (…, in), W (out, in) and b (out,); without bias y = x·Wᵀ.

    Its δ = ∂C/∂y is the error δ of Nielsen's book, ∂C/∂z of the weighted input z = y. Raises ValueError where
    W, b or x do not fit.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 2, eq. (BP2)–(BP4), as matrices.

    >>> layer = Linear(weight=np.array([[3.0, 4.0], [0.0, 1.0]]), bias=np.array([10.0, 20.0]))
    >>> layer.forward(np.array([[1.0, 2.0]])).tolist()
    [[21.0, 22.0]]
    >>> back, gradients = layer.backward(np.array([[1.0, 0.5]]), np.array([[1.0, 2.0]]), np.zeros((1, 2)))
    >>> back.tolist(), gradients["weight"].tolist(), gradients["bias"].tolist()
    ([[3.0, 4.5]], [[1.0, 2.0], [0.5, 1.0]], [1.0, 0.5])
    """

    weight: Array
    bias: Array | None = None

    def __post_init__(self) -> None:
        self._hold(weight=self.weight)
        if self.weight.ndim != 2:
            raise ValueError(f"Linear: the weight has shape {self.weight.shape}, expected (out, in)")
        if self.bias is not None:
            self._hold(bias=self.bias)
            if self.bias.shape != self.weight.shape[:1]:
                raise ValueError(
                    f"Linear: the bias has shape {self.bias.shape}, the weight {self.weight.shape}; "
                    f"expected one bias per row of the weight, {self.weight.shape[:1]}"
                )

    def forward(self, x: Array) -> Array:
        """Return x·Wᵀ + b."""
        if not x.ndim or x.shape[-1] != self.weight.shape[1]:
            advice = "; put Flatten() before it" if math.prod(x.shape[1:]) == self.weight.shape[1] else ""
            raise ValueError(
                f"Linear: the input has shape {x.shape}, the weight {self.weight.shape} "
                f"expects {self.weight.shape[1]} features on the last axis{advice}"
            )
        y: Array = x @ self.weight.T  # (L1)
        return y if self.bias is None else y + self.bias

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ·W, with δᵀ·x and Σ δ over the examples as the gradients of W and b."""
        rows, inputs = delta.reshape(-1, delta.shape[-1]), x.reshape(-1, x.shape[-1])
        gradients = {"weight": rows.T @ inputs}  # (L2)
        if self.bias is not None:
            gradients["bias"] = rows.sum(0)  # (L3)
        return delta @ self.weight, gradients  # (L4)


@dataclass(frozen=True, eq=False, repr=False)
class Sigmoid(Layer):
    """y = σ(x) of every element.

    >>> Sigmoid().forward(np.array([0.0])).tolist()
    [0.5]
    >>> Sigmoid().backward(np.array([1.0]), np.array([0.0]), np.array([0.5]))
    (array([0.25]), {})
    """

    def forward(self, x: Array) -> Array:
        """Return σ(x)."""
        return sigmoid(x)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ ⊙ y(1 − y)."""
        return delta * y * (1 - y), {}  # (L5)


@dataclass(frozen=True, eq=False, repr=False)
class Tanh(Layer):
    """y = tanh x of every element.

    >>> Tanh().backward(np.array([1.0]), np.array([0.0]), np.array([0.0]))
    (array([1.]), {})
    """

    def forward(self, x: Array) -> Array:
        """Return tanh x."""
        return np.tanh(x)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ ⊙ (1 − y²)."""
        return delta * (1 - y**2), {}  # (L6)


@dataclass(frozen=True, eq=False, repr=False)
class ReLU(Layer):
    """y = x where x > 0, else 0; the derivative at 0 is 0.

    >>> ReLU().backward(np.ones(3), np.array([-1.0, 0.0, 2.0]), np.array([0.0, 0.0, 2.0]))
    (array([0., 0., 1.]), {})
    """

    def forward(self, x: Array) -> Array:
        """Return x where it is positive, else 0."""
        return np.where(x.real > 0, x, 0)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ where x > 0, else 0."""
        return np.where(x > 0, delta, 0), {}  # (L7)


@dataclass(frozen=True, eq=False, repr=False)
class LeakyReLU(Layer):
    """y = x where x > 0, else slope·x; the derivative at 0 is the slope.

    >>> LeakyReLU(0.1).backward(np.ones(3), np.array([-1.0, 0.0, 2.0]), np.array([-0.1, 0.0, 2.0]))
    (array([0.1, 0.1, 1. ]), {})
    """

    slope: float = 0.01

    def forward(self, x: Array) -> Array:
        """Return x where it is positive, else slope·x."""
        return np.where(x.real > 0, x, self.slope * x)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ where x > 0, else slope·δ."""
        return np.where(x > 0, delta, self.slope * delta), {}  # (L8)


@dataclass(frozen=True, eq=False, repr=False)
class Softmax(Layer):
    """yⱼ = e^xⱼ / Σₖ e^xₖ over the last axis.

    Each output depends on each input of its row, so that δ of the whole row goes into each element.

    >>> Softmax().forward(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    >>> Softmax().backward(np.array([[1.0, 0.0]]), np.zeros((1, 2)), np.array([[0.5, 0.5]]))
    (array([[ 0.25, -0.25]]), {})
    """

    def forward(self, x: Array) -> Array:
        """Return the softmax of each row."""
        return softmax(x)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return y ⊙ (δ − Σₖ δₖyₖ)."""
        return y * (delta - (delta * y).sum(-1, keepdims=True)), {}  # (L9)


@dataclass(frozen=True, eq=False, repr=False)
class LogSoftmax(Layer):
    """yⱼ = xⱼ − ln Σₖ e^xₖ over the last axis.

    >>> LogSoftmax().backward(np.array([[1.0, 0.0]]), np.zeros((1, 2)), np.log([[0.5, 0.5]]))
    (array([[ 0.5, -0.5]]), {})
    """

    def forward(self, x: Array) -> Array:
        """Return the logarithm of the softmax of each row."""
        return log_softmax(x)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ − eʸ·Σₖ δₖ."""
        return delta - np.exp(y) * delta.sum(-1, keepdims=True), {}  # (L10)


@dataclass(frozen=True, eq=False, repr=False)
class Dropout(Layer):
    """y = x ⊙ mask / (1 − p), with the mask of 0 and 1 (or bool) that was drawn; y = x without a mask.

    The mask has the shape of x. It is given, not drawn: the forward pass can be repeated and differentiated.
    Without one, as in evaluation, the layer passes everything. Raises ValueError where p is outside [0, 1),
    the mask holds anything else, or x has another shape.

    Source: Srivastava et al., *Dropout*, 2014, section 10 (the inverted form).

    >>> Dropout(0.5, mask=np.array([[1, 0]])).forward(np.array([[3.0, 4.0]])).tolist()
    [[6.0, 0.0]]
    >>> Dropout(0.5).forward(np.array([[3.0, 4.0]])).tolist()
    [[3.0, 4.0]]
    """

    p: float
    mask: Array | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ValueError(f"Dropout: p must be at least 0 and below 1, not {self.p}")
        if self.mask is not None:
            self._hold(mask=self.mask)
            if not np.isin(self.mask, (0, 1)).all():
                raise ValueError(
                    "Dropout: the mask must hold 0 and 1 only, 1 for what is kept; "
                    "the factor 1/(1 − p) is applied by the layer"
                )

    def forward(self, x: Array) -> Array:
        """Return what is kept, enlarged so that the mean stays."""
        if self.mask is None:
            return x
        if x.shape != self.mask.shape:
            raise ValueError(f"Dropout: the input has shape {x.shape}, the mask {self.mask.shape}")
        return x * self.mask / (1 - self.p)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ through the same mask."""
        return delta if self.mask is None else delta * self.mask / (1 - self.p), {}  # (L11)


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(Layer):
    """(N, a, b, …) → (N, a·b·…): the same numbers in another shape.

    >>> Flatten().forward(np.zeros((5, 2, 3))).shape
    (5, 6)
    """

    def forward(self, x: Array) -> Array:
        """Return each example as one row."""
        if not x.ndim:
            raise ValueError("Flatten: the input is a single number, expected (N, …)")
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ in the shape of x."""
        return delta.reshape(x.shape), {}  # (L12)


@dataclass(frozen=True, eq=False, repr=False)
class BatchNorm(Layer):
    """y = γ·x̂ + β per feature, x̂ = (x − μ) / √(v + eps), for x (N, C) or (N, C, …) and γ, β (C,).

    Without ``mean`` and ``var`` (C,), as in training, μ and v (÷ n, not n − 1) are those of the batch, and
    δ goes back through them too. With both, as in evaluation, they are constants. The gradients are called
    ``weight`` (γ) and ``bias`` (β). Raises ValueError where shapes do not fit, one of mean and var is
    missing, or a feature has only one value to take the statistics of.

    Source: Ioffe and Szegedy, *Batch Normalization*, 2015, algorithm 1 and section 3.

    >>> layer = BatchNorm(gamma=np.ones(1), beta=np.zeros(1), eps=0.0)
    >>> layer.forward(np.array([[0.0], [2.0]])).tolist()
    [[-1.0], [1.0]]
    >>> layer.backward(np.array([[1.0], [0.0]]), np.array([[0.0], [2.0]]), np.array([[-1.0], [1.0]]))[
    ...     0
    ... ].tolist()
    [[0.0], [0.0]]
    """

    gamma: Array
    beta: Array
    eps: float = 1e-5
    mean: Array | None = None
    var: Array | None = None

    def __post_init__(self) -> None:
        self._hold(gamma=self.gamma, beta=self.beta)
        if (self.mean is None) != (self.var is None):
            raise ValueError(
                "BatchNorm: give mean and var both, for evaluation, or neither, for the batch's own"
            )
        if self.mean is not None:
            self._hold(mean=self.mean, var=self.var)
        for name in ("gamma", "beta", "mean", "var"):
            values: Array | None = getattr(self, name)
            if values is not None and (values.ndim != 1 or values.shape != self.gamma.shape):
                raise ValueError(
                    f"BatchNorm: {name} has shape {values.shape}, gamma {self.gamma.shape}; "
                    "expected one number per feature, (C,)"
                )

    def forward(self, x: Array) -> Array:
        """Return γ·x̂ + β."""
        if x.ndim < 2 or x.shape[1] != len(self.gamma):
            features = len(self.gamma)
            raise ValueError(
                f"BatchNorm: the input has shape {x.shape}, expected (N, {features}) or (N, {features}, …)"
            )
        if self.mean is None and x.size == x.shape[1]:
            raise ValueError(
                f"BatchNorm: the input has shape {x.shape}, one value per feature, whose output would be "
                "beta whatever x; give a larger batch, or mean and var"
            )
        normalised, _ = self._normalised(x)
        return self._along(self.gamma, x) * normalised + self._along(self.beta, x)  # (L13)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ through the normalisation, with the gradients of γ and β."""
        axes = self._axes(x)
        normalised, scale = self._normalised(x)
        gradients = {
            "weight": (delta * normalised).sum(axes),  # (L14)
            "bias": delta.sum(axes),  # (L15)
        }
        inner = delta * self._along(self.gamma, x)
        if self.mean is not None:
            return inner / scale, gradients  # (L16)
        return _through_statistics(inner, normalised, scale, axes), gradients

    def _axes(self, x: Array) -> tuple[int, ...]:
        """The axes over which the statistics of a feature are taken."""
        return (0, *range(2, x.ndim))

    def _along(self, values: Array, x: Array) -> Array:
        """One number per feature, in a shape that stands beside x."""
        return values.reshape(1, -1, *[1] * (x.ndim - 2))

    def _normalised(self, x: Array) -> tuple[Array, Array]:
        """x̂, and the √(v + eps) that it was divided by."""
        if self.mean is None or self.var is None:
            return _normalised(x, self._axes(x), self.eps)
        scale = np.sqrt(self._along(self.var, x) + self.eps)
        return (x - self._along(self.mean, x)) / scale, scale


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(Layer):
    """y = γ ⊙ x̂ + β, x̂ = (x − μ) / √(v + eps), with μ and v of each example over the axes that γ has.

    γ and β have the shape of the last axes of x. The gradients are called ``weight`` (γ) and ``bias`` (β).
    Raises ValueError where shapes do not fit.

    Source: Ba, Kiros and Hinton, *Layer Normalization*, 2016, eq. 3 and 4.

    >>> LayerNorm(gamma=np.ones(2), beta=np.zeros(2), eps=0.0).forward(np.array([[0.0, 2.0]])).tolist()
    [[-1.0, 1.0]]
    """

    gamma: Array
    beta: Array
    eps: float = 1e-5

    def __post_init__(self) -> None:
        self._hold(gamma=self.gamma, beta=self.beta)
        if not self.gamma.ndim or self.beta.shape != self.gamma.shape:
            raise ValueError(
                f"LayerNorm: gamma has shape {self.gamma.shape}, beta {self.beta.shape}; "
                "expected both of the shape of the last axes of the input"
            )

    def forward(self, x: Array) -> Array:
        """Return γ ⊙ x̂ + β."""
        if x.shape[-self.gamma.ndim :] != self.gamma.shape:
            raise ValueError(
                f"LayerNorm: the input has shape {x.shape}, expected to end in the axes {self.gamma.shape}"
            )
        normalised, _ = _normalised(x, self._axes(), self.eps)
        return self.gamma * normalised + self.beta  # (L13)

    def backward(self, delta: Array, x: Array, y: Array) -> tuple[Array, Gradients]:
        """Return δ through the normalisation, with the gradients of γ and β."""
        normalised, scale = _normalised(x, self._axes(), self.eps)
        examples = tuple(range(x.ndim - self.gamma.ndim))
        gradients = {
            "weight": (delta * normalised).sum(examples),  # (L14)
            "bias": delta.sum(examples),  # (L15)
        }
        return _through_statistics(delta * self.gamma, normalised, scale, self._axes()), gradients

    def _axes(self) -> tuple[int, ...]:
        """The axes over which the statistics of an example are taken."""
        return tuple(range(-self.gamma.ndim, 0))


def _normalised(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """x̂ by the mean and variance over the axes, and the √(v + eps) that it was divided by."""
    centred = x - x.mean(axes, keepdims=True)
    scale = np.sqrt((centred**2).mean(axes, keepdims=True) + eps)
    return centred / scale, scale


def _through_statistics(inner: Array, normalised: Array, scale: Array, axes: tuple[int, ...]) -> Array:
    """∂C/∂x where μ and v are statistics of x itself, given inner = ∂C/∂x̂."""
    along = (inner * normalised).mean(axes, keepdims=True)
    return (inner - inner.mean(axes, keepdims=True) - normalised * along) / scale  # (L17)
