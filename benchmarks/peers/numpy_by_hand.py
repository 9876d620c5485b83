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


class Trainer:
    """The network as a list of arrays."""

    def __init__(self, workload: Workload) -> None:
        self._weights = workload.weights()
        self._rate = workload.rate / workload.batch  # the mean over the batch, taken where it costs least
        self._momentum = workload.momentum
        self._velocities = [np.zeros_like(w) for w in self._weights] if workload.momentum else []
        self._dropout = workload.dropout
        hidden = [(workload.batch, n) for n in workload.sizes[1:-1]]
        self._kept = [np.empty(shape, bool) for shape in hidden]
        self._masks = [np.empty(shape, np.float32) for shape in hidden]
        self._rng = np.random.default_rng(0)
        self.batches = workload.batches()
        self.step: Callable[[Array, Array], Any] = (
            self._quadratic if workload.loss == "quadratic" else self._cross_entropy
        )

    def weights(self) -> list[Array]:
        """Return them."""
        return self._weights

    def mask(self, layer: int, a: Array) -> Array:
        """Return what dropout multiplies the activations of a hidden layer with: 0, or 1/(1 − p)."""
        kept, mask = self._kept[layer], self._masks[layer]
        self._rng.random(out=mask, dtype=np.float32)
        np.greater_equal(mask, self._dropout, kept)
        return np.multiply(kept, np.float32(1 / (1 - self._dropout)), mask)

    def _quadratic(self, x: Array, y: Array) -> Any:
        """Two sigmoid layers and ½‖a − y‖²."""
        w1, b1, w2, b2 = self._weights
        a1 = _sigmoid(_layer(x, w1, b1))
        mask = self.mask(0, a1) if self._dropout else None
        h1 = a1 if mask is None else a1 * mask
        a2 = _sigmoid(_layer(h1, w2, b2))
        delta2 = a2 - y
        loss = np.vdot(delta2, delta2) * (0.5 / len(x))
        delta2 *= _sigmoid_slope(a2)
        delta1 = delta2 @ w2
        if mask is not None:
            delta1 *= mask
        delta1 *= _sigmoid_slope(a1)
        self._update(1, h1, delta2)
        self._update(0, x, delta1)
        return loss

    def _cross_entropy(self, x: Array, y: Array) -> Any:
        """Two ReLU layers, a linear one and −ln softmax(z)."""
        w1, b1, w2, b2, w3, b3 = self._weights
        rows = np.arange(len(x))
        a1 = _layer(x, w1, b1)
        np.maximum(a1, 0, out=a1)
        mask1 = self._drop(0, a1)
        a2 = _layer(a1, w2, b2)
        np.maximum(a2, 0, out=a2)
        mask2 = self._drop(1, a2)
        z = _layer(a2, w3, b3)
        z -= np.maximum.reduce(z, axis=1, keepdims=True)
        right = z[rows, y]
        delta3 = np.exp(z, z)
        total = np.add.reduce(delta3, axis=1)
        loss = (np.log(total) - right).mean()
        delta3 /= total[:, None]
        delta3[rows, y] -= 1
        delta2 = delta3 @ w3
        delta2 *= a2 > 0 if mask2 is None else mask2
        delta1 = delta2 @ w2
        delta1 *= a1 > 0 if mask1 is None else mask1
        self._update(2, a2, delta3)
        self._update(1, a1, delta2)
        self._update(0, x, delta1)
        return loss

    def _drop(self, layer: int, a: Array) -> Array | None:
        """Drop some of a ReLU's outputs, in place; return what the gradient is multiplied with."""
        if not self._dropout:
            return None
        mask = self.mask(layer, a)
        mask *= a > 0
        a *= mask
        return mask

    def _update(self, layer: int, x: Array, delta: Array) -> None:
        """Step down the gradients of a layer with input x and ∂L/∂z = δ; (δᵀ·x lies in memory as w does)."""
        i = 2 * layer
        w, b = self._weights[i : i + 2]
        w_step = delta.T @ x
        w_step *= self._rate
        b_step = self._rate * np.add.reduce(delta)
        if self._momentum:
            w_velocity, b_velocity = self._velocities[i : i + 2]
            w_velocity *= self._momentum
            w_velocity += w_step
            b_velocity *= self._momentum
            b_velocity += b_step
            w_step, b_step = w_velocity, b_velocity
        w -= w_step
        b -= b_step
