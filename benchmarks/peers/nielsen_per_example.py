"""The training step as Nielsen's book first writes it: one example after another, as columns.

Source: the algorithm of ``network.py`` in *Neural Networks and Deep Learning*, chapter 1, in float32 and in
code of our own, with its habits: σ is computed again for σ′, and gradients are summed into new arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def _sigmoid_prime(z: Array) -> Array:
    return _sigmoid(z) * (1 - _sigmoid(z))


class Trainer:
    """The network as a list of weights and one of biases, which are columns."""

    def __init__(self, workload: Workload) -> None:
        arrays = workload.weights()
        self._w, self._b = arrays[::2], [b[:, None] for b in arrays[1::2]]
        self._rate = workload.rate
        self.batches = [(x[:, :, None], y[:, :, None]) for x, y in workload.batches()]

    def step(self, x: Array, y: Array) -> Any:
        """Train on one batch of columns and return the loss."""
        w_sum = [np.zeros_like(w) for w in self._w]
        b_sum = [np.zeros_like(b) for b in self._b]
        loss = np.float32(0)
        for example, target in zip(x, y, strict=True):
            cost, w_gradients, b_gradients = self._backprop(example, target)
            loss += cost
            w_sum = [total + g for total, g in zip(w_sum, w_gradients, strict=True)]
            b_sum = [total + g for total, g in zip(b_sum, b_gradients, strict=True)]
        rate = self._rate / len(x)
        self._w = [w - rate * total for w, total in zip(self._w, w_sum, strict=True)]
        self._b = [b - rate * total for b, total in zip(self._b, b_sum, strict=True)]
        return loss / len(x)

    def _backprop(self, x: Array, y: Array) -> tuple[Any, list[Array], list[Array]]:
        """Return the cost of one example and its gradients, from the first layer to the last."""
        activations, zs = [x], []
        for w, b in zip(self._w, self._b, strict=True):
            zs.append(w @ activations[-1] + b)
            activations.append(_sigmoid(zs[-1]))
        error = activations[-1] - y
        delta = error * _sigmoid_prime(zs[-1])
        deltas = [delta]
        for w, z in zip(self._w[:0:-1], zs[-2::-1], strict=True):
            delta = (w.T @ delta) * _sigmoid_prime(z)
            deltas.insert(0, delta)
        gradients = [d @ a.T for d, a in zip(deltas, activations[:-1], strict=True)]
        return 0.5 * np.sum(error * error), gradients, deltas

    def weights(self) -> list[Array]:
        """Return weights and biases in turn, biases as rows."""
        pairs = zip(self._w, self._b, strict=True)
        return [array for w, b in pairs for array in (w, b.ravel())]
