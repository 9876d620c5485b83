"""What is asked of the times: the one of this implementation at most a multiple of that one's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.floor import FLOOR
from benchmarks.implementations import AUTOGRAD, BY_HAND, COMPILED, EAGER, FAST, JAX, MYGRAD, TORCH

if TYPE_CHECKING:
    from benchmarks.implementations import Implementation
    from benchmarks.workloads import Workload


class Target(NamedTuple):
    """The time of ``name`` ≤ ``at_most`` × the time of ``over``, in each round; a hope where ``hoped``."""

    name: str
    over: str
    at_most: float
    hoped: bool = False


def _eager(limits: dict[Implementation, float]) -> list[Target]:
    return [Target(EAGER.name, over.name, limit) for over, limit in limits.items()]


def _compiled(by_hand: float, jax: float, torch: float) -> list[Target]:
    """Ask the same of both executors."""
    limits = {BY_HAND: by_hand, JAX: jax, TORCH: torch}
    return [
        Target(ours.name, over.name, limit) for ours in (COMPILED, FAST) for over, limit in limits.items()
    ]


def _hoped(limit: float) -> list[Target]:
    return [Target(ours.name, FLOOR, limit, hoped=True) for ours in (COMPILED, FAST)]


_PLAIN = {
    "nielsen": [
        *_eager({BY_HAND: 2.0, TORCH: 1 / 2.5, AUTOGRAD: 1 / 3.5, MYGRAD: 1 / 3.5}),
        *_compiled(0.80, 0.55, 0.13),
        *_hoped(1.6),
    ],
    "wide": [*_eager({BY_HAND: 1.25}), *_compiled(0.75, 0.75, 0.55), *_hoped(1.4)],
    "deep": [*_eager({BY_HAND: 1.1}), *_compiled(0.85, 0.85, 1.0), *_hoped(1.15)],
}
_ON_IMAGES = {"lenet-10": 0.75, "lenet-64": 1.0, "book-10": 1.1, "book-64": 1.2}


def targets(workload: Workload) -> list[Target]:
    """Return what is asked of the times on this workload."""
    if workload.maps:
        limits = {TORCH: _ON_IMAGES[workload.name], JAX: 1.0}
        return [
            Target(ours.name, over.name, limit)
            for ours in (EAGER, COMPILED, FAST)
            for over, limit in limits.items()
        ]
    if workload.momentum or workload.dropout:
        return _compiled(0.85, 1.0, 1.0)
    return _PLAIN[workload.name]


SLOPE = 1.1
"""Of the exponent with which the cost of a chain grows with its length."""
BUILD_SECONDS = 0.05
"""To trace a step and to build its program."""
MICROGRAD = 1e-4
"""Of micrograd's time per epoch of its own demo."""
