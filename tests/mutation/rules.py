"""The rules of all operations as subjects, and the suite's own check of the table of operations."""

from __future__ import annotations

import functools
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

import microgradnet as mg
from microgradnet import Primitive
from microgradnet.ops.table import OPERATIONS, SPECIAL_POINTS, Case, Operation, Special, draw
from tests.mutation.campaign import Check, Subject
from tests.ops.test_ops_special import test_special_point as check_special
from tests.ops.test_ops_table import check_case, every_case

if TYPE_CHECKING:
    from collections.abc import Iterator


SHAPES = {"_kept_shape"}
"""Functions that compute shapes, not gradients; what uses them is mutated."""


def primitives(room: str) -> dict[str, Primitive]:
    """Return the primitives that the modules of a room define, by the name that they have there."""
    return {
        name: value
        for path, module in sorted(sys.modules.items())
        if path.startswith(f"microgradnet.{room}.")
        for name, value in vars(module).items()
        if isinstance(value, Primitive)
    }


def rules(primitive: Primitive) -> Iterator[tuple[int, FunctionType, bool]]:
    """Yield a primitive's rules: the argument, the function, and whether it is made anew at each call."""
    if primitive.rule_for is None:
        for i, rule in enumerate(primitive.rules):
            if rule is not None:
                yield i, rule, False  # type: ignore[misc]
        return
    for i in range(3):
        rule: Any = primitive.rule_for(i)
        if rule is not None:
            yield i, rule, rule is not primitive.rule_for(i)


def subjects(room: str = "ops") -> Iterator[Subject]:
    """Yield each rule of each operation (one that several share once), and the functions that rules call."""
    helpers: dict[str, FunctionType] = {}
    seen: dict[Any, None] = {}
    for name, primitive in primitives(room).items():
        for i, rule, fresh in rules(primitive):
            if rule.__code__ not in seen:
                seen[rule.__code__] = None
                helpers |= called_by(rule)
                yield Subject(f"{name.lstrip('_')}, argument {i}", rule, primitive if fresh else None)
    for name, helper in helpers.items():
        if helper.__code__ not in seen:
            yield Subject(f"{name}, called by rules", helper)


def called_by(function: FunctionType) -> dict[str, FunctionType]:
    """Return the private functions of the package that a function calls, and those that these call."""
    found: dict[str, FunctionType] = {}
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if isinstance(called, FunctionType) and name not in SHAPES and name.startswith("_") and called is not function:
            found |= {name: called, **called_by(called)}
    return found


def check_scale(point: Special) -> None:
    """Hold the gradients at a special point to being linear in g; the suite's own check has g = 1."""
    leaves = [mg.Tensor(np.array(x, float), requires_grad=True) for x in point.at]
    with np.errstate(divide="ignore" if point.warns else "raise"):
        y = point.call(*leaves)
    for g, expected in zip(mg.grad(y, leaves, np.full(y.shape, 3.0)), point.gradients, strict=True):
        np.testing.assert_allclose(g.data, 3 * np.array(expected), rtol=1e-6, atol=1e-37)


def checks() -> list[Check]:
    """Return the check of every case of every row of the table, with further draws, and of every special point."""
    found = []
    for parameters in every_case([row for row in OPERATIONS if row.differentiable]):
        row, case = parameters.values  # noqa: PD011 - pytest's
        seeds = range(4) if case.shapes == ((2, 3),) * len(case.shapes) else (0,)
        found += [
            Check(f"{parameters.id}, draw {seed}", functools.partial(check_case, row, case, seed)) for seed in seeds
        ]
    for point in SPECIAL_POINTS:
        name = f"{point.expression} at {point.at}"
        found.append(Check(name, functools.partial(check_special, point, np.float64)))
        found.append(Check(f"{name}, g = 3", functools.partial(check_scale, point)))
    return found


def by_gradcheck() -> list[Check]:
    """Return ``gradcheck`` of every case of the table that has numbers in it, with further draws."""
    found = []
    for parameters in every_case([row for row in OPERATIONS if row.differentiable]):
        row, case = parameters.values  # noqa: PD011
        if 0 not in np.concatenate([(), *case.shapes]):
            seeds = range(4) if row.name == "clip" else (0,)
            found += [
                Check(f"gradcheck of {parameters.id}", functools.partial(check_gradcheck, row, case, seed))
                for seed in seeds
            ]
    return found


def check_gradcheck(row: Operation, case: Case, seed: int) -> None:
    """Ask ``gradcheck`` about an operation at drawn arguments."""
    arrays = draw(row, case.shapes or (), np.random.default_rng(seed))
    mg.gradcheck(lambda *xs: row(*xs, **case.keywords), arrays)
