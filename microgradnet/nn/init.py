"""Starting values for parameters, written into them in place; each names its source.

>>> import numpy as np
>>> from microgradnet import nn
>>> layer = nn.Linear(784, 30)
>>> _ = nn.init.nielsen_(layer.weight, rng=np.random.default_rng(0))
>>> round(float(layer.weight.data.std()) * 784**0.5, 1)
1.0
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from microgradnet.graph import assign
from microgradnet.ops import generator

if TYPE_CHECKING:
    import numpy as np

    from microgradnet.tensor import Tensor

T = TypeVar("T", bound="Tensor")


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs reach an output, and how many outputs an input reaches."""
    if tensor.ndim < 2:
        raise ValueError(
            f"a weight of shape {tensor.shape} has no fan-in and fan-out; "
            "give a matrix (out, in) or more axes, and start biases with zeros_, normal_ or uniform_"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def constant_(tensor: T, value: float) -> T:
    """Fill with one value."""
    assign(tensor, value)
    return tensor


def zeros_(tensor: T) -> T:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, *, rng: np.random.Generator | None = None) -> T:
    """Draw from N(mean, std²)."""
    assign(tensor, generator(rng).normal(mean, std, tensor.shape))
    return tensor


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, *, rng: np.random.Generator | None = None) -> T:
    """Draw uniformly from [a, b)."""
    assign(tensor, generator(rng).uniform(a, b, tensor.shape))
    return tensor


def nielsen_large_(tensor: T, *, rng: np.random.Generator | None = None) -> T:
    """Draw weights and biases from N(0, 1): the start of ``network.py``, whose large sums saturate sigmoids.

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 1 (``large_weight_initializer`` of chapter
    3).
    """
    return normal_(tensor, rng=rng)


def nielsen_(tensor: T, *, rng: np.random.Generator | None = None) -> T:
    """Draw weights from N(0, 1/n_in), and biases (one axis) from N(0, 1).

    Source: Nielsen, *Neural Networks and Deep Learning*, chapter 3, "Weight initialization".
    """
    return normal_(tensor, std=1 / math.sqrt(_fans(tensor)[0]) if tensor.ndim > 1 else 1.0, rng=rng)


def xavier_uniform_(tensor: T, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> T:
    """Draw from U(−a, a) with a = gain·√(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural networks*,
    2010, eq. 16.
    """
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor: T, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> T:
    """Draw from N(0, gain²·2 / (fan_in + fan_out)).

    Source: Glorot and Bengio, 2010, eq. 12.
    """
    return normal_(tensor, std=gain * math.sqrt(2 / sum(_fans(tensor))), rng=rng)


def kaiming_uniform_(tensor: T, a: float = 0.0, *, rng: np.random.Generator | None = None) -> T:
    """Draw from U(−b, b) with b = √(6 / ((1 + a²)·fan_in)), for ReLU with slope ``a`` on its negative side.

    Source: He et al., *Delving Deep into Rectifiers*, 2015, section 2.2.
    """
    bound = math.sqrt(6 / ((1 + a * a) * _fans(tensor)[0]))
    return uniform_(tensor, -bound, bound, rng=rng)


def kaiming_normal_(tensor: T, a: float = 0.0, *, rng: np.random.Generator | None = None) -> T:
    """Draw from N(0, 2 / ((1 + a²)·fan_in)), for ReLU with slope ``a`` on its negative side.

    Source: He et al., 2015, eq. 15.
    """
    return normal_(tensor, std=math.sqrt(2 / ((1 + a * a) * _fans(tensor)[0])), rng=rng)
