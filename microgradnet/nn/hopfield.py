"""Hopfield networks: memories as the valleys of an energy, recalled by going downhill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.backprop import vjp
from microgradnet.graph import no_grad
from microgradnet.nn.module import Module, layer_name
from microgradnet.ops import generator, greater, less, logsumexp, where
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike

    from microgradnet.graph import Array


class Hopfield(Module):
    """Units s in {−1, 1}ᴺ with the energy E(s) = −½ Σᵢⱼ sᵢ wᵢⱼ sⱼ; each turns to the sign of −∂E/∂sᵢ.

    ``weight`` (units, units) is symmetric with a zero diagonal, and starts at 0; ``store`` sets it. −∂E/∂s =
    Ws is had by automatic differentiation. A unit where it is 0 stays. Units that turn one at a time never
    raise the energy; turning all at once, which is what ``forward`` does, may end in a cycle of two states.

    States are (units,) or (N, units). Values other than −1 and 1, and another number of units, are a
    ValueError that names the layer and the numbers.

    Source: Hopfield, *Neural networks and physical systems with emergent collective computational abilities*,
    1982.

    >>> from microgradnet import nn
    >>> net = nn.Hopfield(4)
    >>> net.store([[1, 1, -1, -1]])
    >>> net.weight.tolist()[0]
    [0.0, 0.25, -0.25, -0.25]
    >>> net([-1, 1, -1, -1]).tolist()
    [1.0, 1.0, -1.0, -1.0]
    >>> net.energy([[1, -1, 1, -1], [1, 1, -1, -1]]).tolist()
    [0.5, -1.5]
    """

    weight: Tensor

    def __init__(self, units: int, *, dtype: DTypeLike = np.float32) -> None:
        if units < 1:
            raise ValueError(f"Hopfield: units must be at least 1, not {units}")
        self.units = units
        self.register_buffer("weight", np.zeros((units, units), dtype))

    def store(self, patterns: Any, rule: str = "hebb") -> None:
        """Set the weights from patterns ξ (P, units) of −1 and 1, by one of two rules; the diagonal is 0.

        ``"hebb"``: W = Σ ξ ξᵀ / units, which recalls about 0.138·units random patterns with few errors.
        ``"pseudo-inverse"``: W = Ξ⁺Ξ, Ξ having the patterns as rows, the projection onto them: each is at
        rest, also where patterns resemble each other, as long as they are linearly independent and fewer than
        the units. Another rule is a ValueError.

        Source: Amit, Gutfreund and Sompolinsky, 1985 (0.138); Personnaz, Guyon and Dreyfus, 1985.

        >>> from microgradnet import nn
        >>> alike = [[1, 1, 1, 1, 1, -1], [1, 1, 1, 1, -1, 1], [1, -1, 1, 1, 1, 1]]
        >>> for rule in ("hebb", "pseudo-inverse"):
        ...     net = nn.Hopfield(6)
        ...     net.store(alike, rule)
        ...     net(alike).tolist() == alike
        False
        True
        """
        rows = np.atleast_2d(self._checked(patterns).data).astype(np.float64)
        if rule == "hebb":
            weight = rows.T @ rows / self.units
        elif rule == "pseudo-inverse":
            weight = np.linalg.pinv(rows) @ rows
            weight = (weight + weight.T) / 2  # symmetric but for rounding
        else:
            raise ValueError(f"{layer_name(self)}: the rule is 'hebb' or 'pseudo-inverse', not {rule!r}")
        np.fill_diagonal(weight, 0.0)
        self.weight = Tensor(weight.astype(self.weight.dtype))

    def energy(self, s: Any) -> Any:
        """Return E(s) = −½ Σᵢⱼ sᵢ wᵢⱼ sⱼ, one number for each state."""
        return self._energy(self._checked(s))

    def field(self, s: Any) -> Any:
        """Return −∂E/∂s, shaped as s: what each unit is pulled to."""
        s = self._checked(s)
        return -vjp(self._energy, s, np.ones(s.shape[:-1], s.dtype))[1][0]

    def forward(self, s: Any) -> Any:
        """Turn all units at once: the synchronous update."""
        return self._turned(self._checked(s))

    def update(self, s: Any, unit: int) -> Any:
        """Turn one unit, in every state: the asynchronous update, which never raises the energy."""
        s = self._checked(s)
        after = s.data.copy()
        after[..., unit] = self._turned(s).data[..., unit]
        return Tensor(after)

    def recall(
        self, s: Any, *, synchronous: bool = False, rng: np.random.Generator | None = None
    ) -> Iterator[Tensor]:
        """Yield the state s (units,), then each that follows from it, to the end.

        One unit after the other has its turn, each once in a round in an order drawn from ``rng`` (the
        default generator without), and every unit that turns gives a state; a round in which none does is
        the end. Synchronously all turn at once, until a state comes back: the last one, which is at rest, or
        the one before it, a cycle of two. States of two axes are a ValueError: each ends in its own time.

        >>> import numpy as np
        >>> from microgradnet import nn
        >>> net = nn.Hopfield(4)
        >>> net.store([[1, 1, -1, -1]])
        >>> [state.tolist() for state in net.recall([1, -1, -1, -1], rng=np.random.default_rng(0))]
        [[1.0, -1.0, -1.0, -1.0], [1.0, 1.0, -1.0, -1.0]]
        """
        state = self._checked(s)
        if state.ndim != 1:
            raise ValueError(
                f"{layer_name(self)}: recall takes one state ({self.units},), not shape {state.shape}"
            )
        return self._all_at_once(state) if synchronous else self._one_by_one(state, generator(rng))

    def extra_repr(self) -> str:
        """Return the size."""
        return f"units={self.units}"

    def _energy(self, s: Any) -> Any:
        return -0.5 * ((s @ self.weight) * s).sum(-1)

    def _turned(self, s: Any) -> Tensor:
        """Return the sign of the field, and the state where the field is 0."""
        h = self.field(s)
        with no_grad():
            turned: Tensor = where(greater(h, 0), 1.0, where(less(h, 0), -1.0, s)).astype(s.dtype)
        return turned

    def _one_by_one(self, s: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        yield s
        turning = True
        while turning:
            turning = False
            for unit in rng.permutation(self.units):
                after = self.update(s, unit)
                if after.data[unit] != s.data[unit]:
                    s, turning = after, True
                    yield s

    def _all_at_once(self, s: Tensor) -> Iterator[Tensor]:
        seen: list[Array] = []
        while not any(np.array_equal(s.data, state) for state in seen[-2:]):
            yield s
            seen.append(s.data)
            s = self._turned(s)
        yield s

    def _checked(self, s: Any) -> Any:
        """Return states as a tensor of the weights' dtype, or say what is wrong with them."""
        s = Tensor(np.asarray(s.data if isinstance(s, Tensor) else s, self.weight.dtype))
        _check_units(self, s, self.units)
        strange = s.data[abs(s.data) != 1]
        if strange.size:
            advice = "; for 0 and 1 write 2 * s - 1" if np.isin(strange, [0, 1]).all() else ""
            raise ValueError(
                f"{layer_name(self)}: {strange.size} of {s.size} values are neither −1 nor 1, "
                f"the first {strange[0]:g}{advice}"
            )
        return s


class ModernHopfield(Module):
    """Continuous states s with E(s) = −log(Σₚ e^(β·ξₚ·s))/β + ½ s·s; the update s − ∂E/∂s = Ξᵀ softmax(βΞs).

    ``patterns`` Ξ (P, units) are real numbers. The update never raises the energy. If β is large it ends near
    the pattern that s resembles most, if β is small between several. It is attention, s being the query and
    the patterns keys and values. How many patterns can be told apart grows exponentially with the units.

    A β that is not positive, and another number of units, are a ValueError with the numbers.

    Source: Ramsauer et al., *Hopfield Networks is All You Need*, 2020, eq. 2 and 3.

    >>> from microgradnet import nn
    >>> net = nn.ModernHopfield([[2.0, 0.0, 1.0], [0.0, 2.0, -1.0]], beta=4.0)
    >>> net([1.0, 0.5, 0.0]).data.round(2)
    array([1.96, 0.04, 0.96], dtype=float32)
    """

    patterns: Tensor

    def __init__(self, patterns: Any, beta: float = 1.0, *, dtype: DTypeLike = np.float32) -> None:
        rows = np.asarray(patterns, dtype)
        if rows.ndim != 2 or not rows.size:
            raise ValueError(f"ModernHopfield: the patterns have shape {rows.shape}, expected (P, units)")
        if not beta > 0:
            raise ValueError(f"ModernHopfield: beta must be positive, not {beta}")
        self.beta = beta
        self.register_buffer("patterns", rows)

    def energy(self, s: Any) -> Any:
        """Return E(s), one number for each state (units,) or (N, units)."""
        return self._energy(self._checked(s))

    def forward(self, s: Any) -> Any:
        """Return s − ∂E/∂s, shaped as s, without a history."""
        s = self._checked(s)
        return s - vjp(self._energy, s, np.ones(s.shape[:-1], s.dtype))[1][0]

    def extra_repr(self) -> str:
        """Return the sizes and β."""
        count, units = self.patterns.shape
        return f"{count} patterns, units={units}, beta={self.beta:g}"

    def _energy(self, s: Any) -> Any:
        likeness = s @ self.patterns.T
        return -logsumexp(self.beta * likeness, -1) / self.beta + 0.5 * (s * s).sum(-1)

    def _checked(self, s: Any) -> Any:
        s = Tensor(np.asarray(s.data if isinstance(s, Tensor) else s, self.patterns.dtype))
        _check_units(self, s, self.patterns.shape[1])
        return s


def _check_units(layer: Module, s: Any, units: int) -> None:
    if s.ndim not in (1, 2) or s.shape[-1] != units:
        raise ValueError(
            f"{layer_name(layer)}: the states have shape {s.shape}, expected ({units},) or (N, {units})"
        )
