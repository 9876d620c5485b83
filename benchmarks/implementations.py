"""The implementations of a training step that are compared: their names, and what each has to offer."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, metadata, util
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Array, Workload


class Trainer(Protocol):
    """A network with the workload's initial weights; made anew for every block that is timed."""

    batches: list[tuple[Any, Any]]
    """The workload's, in the implementation's own kind of array: the conversion is not timed."""

    def step(self, x: Any, y: Any) -> Any:
        """Forward, loss, backward and update; return the loss in its own kind of number (``.item()``)."""

    def weights(self) -> list[Array]:
        """Return the weights as they are now, in the order and the shapes of ``Workload.weights``."""


@dataclass(frozen=True)
class Implementation:
    """A file in ``peers/``, what the tables call it, and the package that it needs."""

    name: str
    title: str
    package: str

    @property
    def present(self) -> bool:
        """Whether its package is installed."""
        return util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """The package's version."""
        return metadata.version(self.package)

    def trainer(self) -> Callable[[Workload], Trainer]:
        """Import the file and return what makes a trainer of a workload."""
        made: Callable[[Workload], Trainer] = import_module(f"benchmarks.peers.{self.name}").Trainer
        return made


BY_HAND = Implementation("numpy_by_hand", "NumPy by hand", "numpy")
EAGER = Implementation("microgradnet_eager", "microgradnet, eager", "microgradnet")
COMPILED = Implementation("microgradnet_compiled", "microgradnet, compiled", "microgradnet")
IMPLEMENTATIONS = (
    BY_HAND,
    EAGER,
    COMPILED,
    Implementation("pytorch_eager", "PyTorch, eager", "torch"),
    Implementation("hips_autograd", "HIPS autograd", "autograd"),
    Implementation("mygrad_eager", "MyGrad", "mygrad"),
    Implementation("jax_jit", "JAX, jit", "jax"),
)
