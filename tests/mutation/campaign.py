"""A campaign of mutation: which checks run which function, and whether they notice each of its mutants."""

from __future__ import annotations

import contextlib
import operator
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.mutation.changes import TRANSPOSED, Transposition, mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import CodeType

    from microgradnet import Primitive
    from tests.mutation.changes import Function

NOTICED = (
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    pytest.fail.Exception,
)
"""What a check may raise when a mutant lives: a failed comparison, or the error of an engine that refuses."""
ENOUGH = 25
"""Checks after which what was only ever a single number is taken for one."""


@dataclass(frozen=True)
class Check:
    """One check of the suite, which passes on the functions as they are."""

    name: str
    run: Callable[[], object]


@dataclass(frozen=True)
class Subject:
    """A function to be mutated; of one that a primitive makes anew for each argument, the maker too."""

    name: str
    function: Function
    maker: Primitive | None = None

    @contextlib.contextmanager
    def replaced_by(self, code: CodeType) -> Iterator[Transposition]:
        """Let every caller of the function run other code."""
        namespace, original = self.function.__globals__, self.function.__code__
        namespace[TRANSPOSED] = transposition = Transposition()
        maker, rule_for = self.maker, self.maker.rule_for if self.maker else None
        try:
            if maker is None or rule_for is None:
                self.function.__code__ = code
            else:
                maker.rule_for = lambda i: _exchanged(rule_for(i), original, code)
                maker._plans.clear()
            yield transposition
        finally:
            if maker is None:
                self.function.__code__ = original
            else:
                maker.rule_for = rule_for
                maker._plans.clear()
            del namespace[TRANSPOSED]


def _exchanged(function: Any, original: CodeType, code: CodeType) -> Any:
    if function is not None and function.__code__ is original:
        function.__code__ = code
    return function


@dataclass(frozen=True)
class Result:
    """What became of one mutant: the check that noticed it and what it raised, or nothing."""

    subject: str
    change: str
    check: str | None
    error: str | None

    @property
    def mutant(self) -> str:
        """The mutant's name."""
        return f"{self.subject}: {self.change}"


def coverage(checks: Sequence[Check]) -> dict[CodeType, list[Check]]:
    """Run every check on the functions as they are, and note whose code each one runs: the shortest first."""
    found: dict[CodeType, list[tuple[int, Check]]] = {}
    for check in checks:
        codes: dict[CodeType, int] = {}

        def note(frame: Any, event: str, _arg: Any, codes: dict[CodeType, int] = codes) -> None:
            if event == "call":
                codes[frame.f_code] = codes.get(frame.f_code, 0) + 1

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            check.run()
        finally:
            sys.setprofile(before)
        calls = sum(codes.values())
        for code in codes:
            found.setdefault(code, []).append((calls, check))
    return {
        code: [check for _, check in sorted(reached, key=operator.itemgetter(0))]
        for code, reached in found.items()
    }


def run(subjects: Iterable[Subject], checks: Sequence[Check], *, whole: bool = False) -> Iterator[Result]:
    """Mutate each subject in every way, and run the checks that it is part of until one notices.

    With ``whole`` only whole formulas are changed: × 1.001, negated, × 0, transposed. A transposition that
    never meets more than one number is no mutant, and left out.
    """
    with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
        covering = coverage(checks)
        subjects = list(subjects)
        unchecked = [subject.name for subject in subjects if subject.function.__code__ not in covering]
        if unchecked:
            raise LookupError(f"no check runs {', '.join(unchecked)}: give the campaign one that does")
        for subject in subjects:
            reached = covering[subject.function.__code__]
            for mutant in mutants(subject.function):
                if whole and not mutant.whole:
                    continue
                with subject.replaced_by(mutant.code) as transposition:
                    check, error = _first_to_notice(reached, transposition if mutant.transposes else None)
                if check is not None or not mutant.transposes or transposition.seen:
                    yield Result(subject.name, mutant.change, check, error)


def _first_to_notice(
    checks: Sequence[Check], transposition: Transposition | None
) -> tuple[str | None, str | None]:
    if transposition is not None:
        checks = checks[::-1]  # the larger the arrays, the more there is to transpose
    in_vain = 0
    for check in checks:
        try:
            check.run()
        except NOTICED as error:
            return check.name, type(error).__name__
        if transposition is not None and not transposition.seen:
            in_vain += transposition.in_vain > 0
            transposition.in_vain = 0
            if in_vain == ENOUGH:
                break
    return None, None
