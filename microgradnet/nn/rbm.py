"""RBM: a restricted Boltzmann machine of binary units, learnt by contrastive divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.graph import no_grad
from microgradnet.nn import functional as F
from microgradnet.nn import init
from microgradnet.nn.module import Module, layer_name
from microgradnet.ops import generator
from microgradnet.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class RBM(Module):
    """p(v) = e^(−F(v)) / Z for v in {0, 1}ⁿ, with F(v) = −v·b − Σⱼ softplus(Wv + c)ⱼ; no hidden unit in it.

    ``weight`` W (hidden, visible) starts as N(0, 0.01²), ``visible_bias`` b and ``hidden_bias`` c at 0. Given
    the one layer, the units of the other are independent: p(h = 1 | v) = σ(Wv + c), which ``forward``
    returns as features, and p(v = 1 | h) = σ(Wᵀh + b).

    Visible data v (N, visible) lie in [0, 1]; what lies between is the probability that a unit is 1. Other
    values, and another number of units, are a ValueError with the numbers. Units are drawn from ``rng``, the
    default generator without.

    Source: Hinton, *Training Products of Experts by Minimizing Contrastive Divergence*, 2002; *A Practical
    Guide to Training Restricted Boltzmann Machines*, 2010.

    >>> import numpy as np
    >>> from microgradnet import nn, optim
    >>> rbm = nn.RBM(4, 2, rng=np.random.default_rng(0))
    >>> data = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]] * 10)
    >>> sgd = optim.SGD(rbm.parameters(), lr=0.5)
    >>> for _ in range(500):
    ...     loss, _ = rbm.contrastive_divergence(data)
    ...     sgd.zero_grad()
    ...     loss.backward()
    ...     sgd.step()
    >>> rbm.reconstruct([[1.0, 1.0, 0.0, 0.0]]).data.round(1).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        visible: int,
        hidden: int,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        for name, size in {"visible": visible, "hidden": hidden}.items():
            if size < 1:
                raise ValueError(f"RBM: {name} must be at least 1, not {size}")
        self.visible = visible
        self.hidden = hidden
        self.rng = rng
        self.weight = init.normal_(Parameter(np.zeros((hidden, visible)), dtype=dtype), std=0.01, rng=rng)
        self.visible_bias = Parameter(np.zeros(visible), dtype=dtype)
        self.hidden_bias = Parameter(np.zeros(hidden), dtype=dtype)

    def forward(self, v: Any) -> Any:
        """Return p(h = 1 | v) = σ(Wv + c), (N, hidden), for v (N, visible)."""
        return F.sigmoid(F.linear(self._checked(v), self.weight, self.hidden_bias))

    def free_energy(self, v: Any) -> Any:
        """Return F(v) = −v·b − Σⱼ log(1 + e^(Wv + c)ⱼ), (N,), for v (N, visible).

        >>> import numpy as np
        >>> from microgradnet import nn
        >>> rbm = nn.RBM(3, 2)
        >>> _ = rbm.load_state_dict(
        ...     {"weight": np.zeros((2, 3)), "visible_bias": [1.0, 2.0, 3.0], "hidden_bias": [0.0, 0.0]}
        ... )
        >>> rbm.free_energy([[1.0, 0.0, 1.0]]).data.round(4)  # −4 − 2·log 2
        array([-5.3863], dtype=float32)
        """
        v = self._checked(v)
        return -(v @ self.visible_bias) - F.softplus(F.linear(v, self.weight, self.hidden_bias)).sum(-1)

    def contrastive_divergence(self, v: Any, k: int = 1, *, start: Any = None) -> tuple[Any, Any]:
        """Return mean F(v) − mean F(ṽ), whose gradient is the step of learning, and ṽ.

        ṽ are samples after ``k`` steps of ``gibbs`` from ``start`` and are constants: the gradient by W is
        −⟨h vᵀ⟩ of the data plus that of the samples, with h = σ(Wv + c). Chains that start at the data, as
        they do without ``start``, give CD-k. Persistent CD goes on where the chains of the last step ended:
        ``loss, chains = rbm.contrastive_divergence(v, start=chains)``. Were ṽ drawn from p itself, the
        gradient would be that of −log p(v).

        Source: Hinton 2002; Tieleman, *Training Restricted Boltzmann Machines using Approximations to the
        Likelihood Gradient*, 2008.
        """
        samples = self.gibbs(v if start is None else start, k)
        return self.free_energy(v).mean() - self.free_energy(samples).mean(), samples

    def gibbs(self, v: Any, steps: int = 1) -> Any:
        """Draw h from p(h | v), then v from p(v | h), ``steps`` times over: samples of 0 and 1, shaped as v.

        They have no history. After many steps, they are drawn from p(v) whatever they started from. Fewer
        than 1 step is a ValueError.
        """
        if steps < 1:
            raise ValueError(f"{layer_name(self)}: a chain takes at least 1 step, not {steps}")
        with no_grad():
            for _ in range(steps):
                v = self._drawn(self._visible(self._drawn(self(v))))
        return v

    def reconstruct(self, v: Any) -> Any:
        """Return σ(Wᵀh + b) for h = σ(Wv + c), (N, visible): one step there and back, without drawing."""
        return self._visible(self(v))

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"visible={self.visible}, hidden={self.hidden}"

    def _visible(self, h: Any) -> Any:
        """Return p(v = 1 | h)."""
        return F.sigmoid(h @ self.weight + self.visible_bias)

    def _drawn(self, probabilities: Any) -> Any:
        """Return 1 with the given probabilities, else 0."""
        p = probabilities.data
        return Tensor((generator(self.rng).random(p.shape, p.dtype) < p).astype(p.dtype))

    def _checked(self, v: Any) -> Any:
        """Return visible data as a tensor, or say what is wrong with them."""
        (v,) = self._received([v])
        if v.ndim != 2 or v.shape[1] != self.visible:
            raise ValueError(
                f"{layer_name(self)}: the data have shape {v.shape}, expected (N, {self.visible})"
            )
        low, high = (v.data.min(), v.data.max()) if v.size else (0, 1)
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"{layer_name(self)}: the data must lie in [0, 1], found {low:g} … {high:g}; "
                f"scale them, as by (v − {low:g}) / {high - low:g}"
            )
        return v
