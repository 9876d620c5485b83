"""The training step on images in JAX, compiled as a whole by ``jit``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.image_workloads import POOL

if TYPE_CHECKING:
    from benchmarks.image_workloads import ImageWorkload
    from benchmarks.workloads import Array

WINDOW = (1, 1, POOL, POOL)


def _loss(weights: Any, x: Any, y: Any, convolutions: int) -> Any:
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    for w, b in pairs[:convolutions]:
        x = lax.conv_general_dilated(x, w, (1, 1), "VALID") + b[:, None, None]
        x = jax.nn.relu(lax.reduce_window(x, -jnp.inf, lax.max, WINDOW, WINDOW, "VALID"))
    x = x.reshape(len(x), -1)
    for w, b in pairs[convolutions:-1]:
        x = jax.nn.relu(x @ w.T + b)
    w, b = pairs[-1]
    z = x @ w.T + b
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(z)), y])


@partial(jax.jit, static_argnames="workload", donate_argnames="weights")
def _step(weights: Any, x: Any, y: Any, workload: ImageWorkload) -> Any:
    loss, gradients = jax.value_and_grad(_loss)(weights, x, y, len(workload.maps))
    return loss, [w - workload.rate * g for w, g in zip(weights, gradients, strict=True)]


class Trainer:
    """The network as a list of arrays, given to the step and replaced by its result."""

    def __init__(self, workload: ImageWorkload) -> None:
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
