"""The implementations of a training step that are compared: their names, and what each has to offer."""

from __future__ import annotations

import os
import shutil
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


def _any(workload: Workload) -> bool:
    return True


def _dense(workload: Workload) -> bool:
    return not workload.maps


def _plain(workload: Workload) -> bool:
    """Dense layers only, plain SGD."""
    return not (workload.maps or workload.momentum or workload.dropout)


def _as_in_the_book(workload: Workload) -> bool:
    """Two or more sigmoid layers, the quadratic loss, plain SGD: what Nielsen's chapter 1 trains."""
    return workload.loss == "quadratic" and _plain(workload)


@dataclass(frozen=True)
class Implementation:
    """A file in ``peers/``, what the tables call it, what it needs, and which workloads it is written for."""

    name: str
    title: str
    package: str
    suits: Callable[[Workload], bool] = _any
    compiler: bool = False  # needs one for C++

    @property
    def missing(self) -> str:
        """What it lacks here, and how to get it; nothing where it can run."""
        if util.find_spec(self.package) is None:
            return f"{self.package} is not installed (pip install {self.package})"
        if self.compiler and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
            return "no C++ compiler is on the path (g++ or clang++)"
        return ""

    @property
    def present(self) -> bool:
        """Whether it can run here."""
        return not self.missing

    @property
    def version(self) -> str:
        """The package's version."""
        return metadata.version(self.package)

    def trainer(self) -> Callable[[Workload], Trainer]:
        """Import the file and return what makes a trainer of a workload."""
        made: Callable[[Workload], Trainer] = import_module(f"benchmarks.peers.{self.name}").Trainer
        return made


BY_HAND = Implementation("numpy_by_hand", "NumPy by hand", "numpy", _dense)
TEXTBOOK = Implementation("numpy_textbook", "NumPy, textbook", "numpy", _plain)
EAGER = Implementation("microgradnet_eager", "microgradnet, eager", "microgradnet")
COMPILED = Implementation("microgradnet_compiled", "microgradnet, compiled", "microgradnet")
FAST = Implementation("microgradnet_fast", "microgradnet, compiled [fast]", "numba")
TORCH = Implementation("pytorch_eager", "PyTorch, eager", "torch")
TORCH_COMPILE = Implementation("torch_compile", "PyTorch, torch.compile", "torch", _dense, compiler=True)
JAX = Implementation("jax_jit", "JAX, jit", "jax")
AUTOGRAD = Implementation("hips_autograd", "HIPS autograd", "autograd", _dense)
MYGRAD = Implementation("mygrad_eager", "MyGrad", "mygrad", _dense)
PER_EXAMPLE = Implementation("nielsen_per_example", "Nielsen, per example", "numpy", _as_in_the_book)
IMPLEMENTATIONS = (
    BY_HAND,
    TEXTBOOK,
    EAGER,
    COMPILED,
    FAST,
    TORCH,
    TORCH_COMPILE,
    JAX,
    AUTOGRAD,
    MYGRAD,
    PER_EXAMPLE,
)


def reference(workload: Workload) -> Implementation:
    """Return the one that all others must agree with, and are measured against."""
    return BY_HAND if BY_HAND.suits(workload) else EAGER
