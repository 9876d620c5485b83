"""The training step in JAX, compiled as a whole by ``jit``: not an eager peer, but for comparison."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload


def _loss(weights: Any, x: Any, y: Any, workload: Workload) -> Any:
    *hidden, w, b = weights
    activate = jax.nn.sigmoid if workload.activation == "sigmoid" else jax.nn.relu
    a = x
    for v, c in zip(hidden[::2], hidden[1::2], strict=True):
        a = activate(a @ v.T + c)
    z = a @ w.T + b
    if workload.loss == "quadratic":
        return jnp.sum((activate(z) - y) ** 2) * (0.5 / len(x))
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(x)), y])


@partial(jax.jit, static_argnames="workload", donate_argnames="weights")
def _step(weights: Any, x: Any, y: Any, workload: Workload) -> Any:
    loss, gradients = jax.value_and_grad(_loss)(weights, x, y, workload)
    return loss, [w - workload.rate * g for w, g in zip(weights, gradients, strict=True)]


class Trainer:
    """The network as a list of arrays, given to the step and replaced by its result."""

    def __init__(self, workload: Workload) -> None:
        self._weights = [jnp.array(array) for array in workload.weights()]
        self._workload = workload
        self.batches = [(jnp.array(x), jnp.array(y)) for x, y in workload.batches()]

    def step(self, x: Any, y: Any) -> Any:
        """Train on one batch, to the end, and return the loss."""
        loss, self._weights = _step(self._weights, x, y, workload=self._workload)
        return loss.block_until_ready()

    def weights(self) -> list[Array]:
        """Return copies as NumPy's arrays."""
        return [np.array(w) for w in self._weights]
