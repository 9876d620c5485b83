"""The rules of all operations as subjects, and the suite's own check of the table of operations."""

from __future__ import annotations

import functools
import math
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

import microgradnet as mg
from microgradnet import Primitive, ops
from microgradnet.ops.table import OPERATIONS, SPECIAL_POINTS, Case, Operation, Special, draw
from tests.mutation.campaign import Check, Subject
from tests.ops.test_ops_special import test_special_point as check_special
from tests.ops.test_ops_table import check_case, every_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mutation.changes import Function


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


def rules(primitive: Primitive) -> Iterator[tuple[int, Function, bool]]:
    """Yield a primitive's rules: the argument, the function, and whether it is made anew at each call."""
    if primitive.rule_for is None:
        for i, rule in enumerate(primitive.rules):
            if rule is not None:
                yield i, rule, False
        return
    for i in range(3):
        made = primitive.rule_for(i)
        if made is not None:
            yield i, made, made is not primitive.rule_for(i)


def subjects(room: str = "ops") -> Iterator[Subject]:
    """Yield each rule of each operation (one that several share once), and the functions that rules call."""
    helpers: dict[str, Function] = {}
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


def called_by(function: Function) -> dict[str, Function]:
    """Return the private functions of the package that a function calls, and those that these call."""
    found: dict[str, Function] = {}
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if not isinstance(called, FunctionType) or not name.startswith("_"):
            continue
        if name not in SHAPES and called is not function:
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
    """Return the check of every case of the table, with further draws, and of every special point."""
    found = [Check("max_pool2d, third order", check_third_order)]
    for parameters in every_case([row for row in OPERATIONS if row.differentiable]):
        row, case = parameters.values
        seeds = range(4) if case.shapes == ((2, 3),) * len(case.shapes) else (0,)
        found += [
            Check(f"{parameters.id}, draw {seed}", functools.partial(check_case, row, case, seed))
            for seed in seeds
        ]
    for point in SPECIAL_POINTS:
        name = f"{point.expression} at {point.at}"
        found.append(Check(name, functools.partial(check_special, point, np.float64)))
        found.append(Check(f"{name}, g = 3", functools.partial(check_scale, point)))
    return found


def check_third_order() -> None:
    """Differentiate max pooling thrice: only then does the rule of its second derivative run."""
    pixels = np.random.default_rng(3).permutation(np.arange(20.0)).reshape(1, 1, 4, 5)
    x = mg.Tensor(pixels, requires_grad=True)

    def squared_slope(v: Any) -> Any:
        (slope,) = mg.grad((ops.max_pool2d(x, 2, stride=1) * v).sum(), x, create_graph=True)
        return slope * slope

    mg.gradcheck(squared_slope, np.random.default_rng(4).standard_normal((1, 1, 3, 4)))


def by_gradcheck() -> list[Check]:
    """Return ``gradcheck`` of every case of the table that has more than single numbers in it."""
    found = [Check("max_pool2d, third order", check_third_order)]
    for parameters in every_case([row for row in OPERATIONS if row.differentiable]):
        row, case = parameters.values
        sizes = [math.prod(shape) for shape in case.shapes]
        if 0 not in sizes and max(sizes) > 1:
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
