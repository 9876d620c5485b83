"""The training step written by hand in NumPy, the measure of all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Array, Workload


def _layer(x: Array, w: Array, b: Array) -> Array:
    z = x @ w.T
    z += b
    return z


def _sigmoid(z: Array) -> Array:
    """σ(z), in the place of z."""
    np.negative(z, z)
    np.exp(z, z)
    z += 1
    return np.reciprocal(z, z)


def _sigmoid_slope(a: Array) -> Array:
    """σ′(z) = a·(1 − a)."""
    slope = 1 - a
    slope *= a
    return slope


def _update(w: Array, b: Array, x: Array, delta: Array, rate: float) -> None:
    """Step down the gradients of a layer with input x and ∂L/∂z = δ; (δᵀ·x lies in memory as w does)."""
    gradient = delta.T @ x
    gradient *= rate
    w -= gradient
    b -= rate * np.add.reduce(delta)


class Trainer:
    """The network as a list of arrays."""

    def __init__(self, workload: Workload) -> None:
        self._weights = workload.weights()
        self._rate = workload.rate / workload.batch  # the mean over the batch, taken where it costs least
        self.batches = workload.batches()
        self.step: Callable[[Array, Array], Any] = (
            self._quadratic if workload.loss == "quadratic" else self._cross_entropy
        )

    def weights(self) -> list[Array]:
        """Return them."""
        return self._weights

    def _quadratic(self, x: Array, y: Array) -> Any:
        """Two sigmoid layers and ½‖a − y‖²."""
        w1, b1, w2, b2 = self._weights
        a1 = _sigmoid(_layer(x, w1, b1))
        a2 = _sigmoid(_layer(a1, w2, b2))
        delta2 = a2 - y
        loss = np.vdot(delta2, delta2) * (0.5 / len(x))
        delta2 *= _sigmoid_slope(a2)
        delta1 = delta2 @ w2
        delta1 *= _sigmoid_slope(a1)
        _update(w2, b2, a1, delta2, self._rate)
        _update(w1, b1, x, delta1, self._rate)
        return loss

    def _cross_entropy(self, x: Array, y: Array) -> Any:
        """Two ReLU layers, a linear one and −ln softmax(z)."""
        w1, b1, w2, b2, w3, b3 = self._weights
        rows = np.arange(len(x))
        a1 = _layer(x, w1, b1)
        np.maximum(a1, 0, out=a1)
        a2 = _layer(a1, w2, b2)
        np.maximum(a2, 0, out=a2)
        z = _layer(a2, w3, b3)
        z -= np.maximum.reduce(z, axis=1, keepdims=True)
        right = z[rows, y]
        delta3 = np.exp(z, z)
        total = np.add.reduce(delta3, axis=1)
        loss = (np.log(total) - right).mean()
        delta3 /= total[:, None]
        delta3[rows, y] -= 1
        delta2 = delta3 @ w3
        delta2 *= a2 > 0
        delta1 = delta2 @ w2
        delta1 *= a1 > 0
        _update(w3, b3, a2, delta3, self._rate)
        _update(w2, b2, a1, delta2, self._rate)
        _update(w1, b1, x, delta1, self._rate)
        return loss
