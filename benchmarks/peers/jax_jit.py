"""The training step in JAX, compiled as a whole by ``jit``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.workloads import POOL

if TYPE_CHECKING:
    from benchmarks.workloads import Array, Workload

WINDOW = (1, 1, POOL, POOL)


def _output(weights: Any, x: Any, key: Any, workload: Workload) -> Any:
    given = iter(weights)
    for kind, *sizes in workload.layers():
        if kind == "linear":
            x = x @ next(given).T + next(given)
        elif kind == "conv":
            x = lax.conv_general_dilated(x, next(given), (1, 1), "VALID") + next(given)[:, None, None]
        elif kind == "pool":
            x = lax.reduce_window(x, -jnp.inf, lax.max, WINDOW, WINDOW, "VALID")
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        elif kind == "dropout":
            key, own = jax.random.split(key)
            kept = 1 - sizes[0]
            x = jnp.where(jax.random.bernoulli(own, kept, x.shape), x / kept, 0)
        else:
            x = jax.nn.sigmoid(x) if kind == "sigmoid" else jax.nn.relu(x)
    return x


def _loss(weights: Any, x: Any, y: Any, key: Any, workload: Workload) -> Any:
    z = _output(weights, x, key, workload)
    if workload.loss == "quadratic":
        return jnp.sum((z - y) ** 2) * (0.5 / len(x))
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(x)), y])


@partial(jax.jit, static_argnames="workload", donate_argnames="state")
def _step(state: Any, x: Any, y: Any, workload: Workload) -> Any:
    weights, velocities, key = state
    now = None
    if key is not None:
        key, now = jax.random.split(key)
    loss, gradients = jax.value_and_grad(_loss)(weights, x, y, now, workload)
    if velocities is not None:
        velocities = [workload.momentum * v + g for v, g in zip(velocities, gradients, strict=True)]
        gradients = velocities
    weights = [w - workload.rate * g for w, g in zip(weights, gradients, strict=True)]
    return loss, (weights, velocities, key)


class Trainer:
    """Weights, velocities and a random key, given to the step and replaced by its result."""

    def __init__(self, workload: Workload) -> None:
        weights = [jnp.array(array) for array in workload.weights()]
        velocities = [jnp.zeros_like(w) for w in weights] if workload.momentum else None
        key = jax.random.key(0) if workload.dropout else None
        self._state = weights, velocities, key
        self._workload = workload
        self.batches = [(jnp.array(x), jnp.array(y)) for x, y in workload.batches()]

    def step(self, x: Any, y: Any) -> Any:
        """Train on one batch, to the end, and return the loss."""
        loss, self._state = _step(self._state, x, y, workload=self._workload)
        return loss.block_until_ready()

    def weights(self) -> list[Array]:
        """Return copies as NumPy's arrays."""
        return [np.array(w) for w in self._state[0]]
