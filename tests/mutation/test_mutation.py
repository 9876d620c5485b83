"""The checker is checked: every rule, loss and δ equation is made wrong in many ways, and each is noticed."""

import inspect
import re

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import delta, nn, ops
from tests.mutation import equations, losses, rules
from tests.mutation.campaign import Check, Subject, run
from tests.mutation.changes import TRANSPOSED, Transposition, definition, mutants
from tests.mutation.equivalents import EQUIVALENTS, reason
from tests.mutation.report import CAMPAIGNS, row

LEAST = {"rules": 600, "gradcheck": 250, "losses": 300, "equations": 800, "verify": 120}
"""Mutants that each campaign makes at least: fewer, and something is no longer mutated."""


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_every_mutant_is_caught(name, record_property):
    found = CAMPAIGNS[name].run()
    survivors = [result.mutant for result in found if result.check is None]
    record_property("mutation", row(name, found))  # printed at the end of the run
    assert [mutant for mutant in survivors if reason(mutant) is None] == []
    assert len(found) >= LEAST[name]
    for campaigns, pattern, _ in EQUIVALENTS:
        if name in campaigns:  # a reason that excuses nothing any more is one to look at again
            assert any(re.fullmatch(pattern, mutant) for mutant in survivors), pattern


# ---------------------------------------------------------------------- everything is among the subjects


def test_every_rule_of_every_operation_is_a_subject():
    mutated = {subject.function.__code__ for subject in rules.subjects()}
    assert {name for name, value in vars(ops).items() if isinstance(value, mg.Primitive)} <= set(
        rules.primitives("ops")
    )
    for primitive in rules.primitives("ops").values():
        for _, rule, _ in rules.rules(primitive):
            assert rule.__code__ in mutated


def test_every_loss_is_a_subject():
    classes = [kind for kind in vars(nn.losses).values() if inspect.isclass(kind)]
    kinds = {kind for kind in classes if issubclass(kind, nn.losses.Loss) and "forward" in vars(kind)}
    assert kinds == set(losses.LOSSES)
    names = {subject.name for subject in losses.subjects()}
    assert {function.__name__ for function, _, _ in losses.LOSSES.values()} <= names


def test_every_equation_is_a_subject():
    names = {subject.name.partition(".")[2] for subject in equations.backward_subjects()}
    for name in delta.__all__:
        kind = getattr(delta, name)
        if inspect.isclass(kind) and issubclass(kind, delta.Layer) and kind is not delta.Layer:
            assert f"{name}.backward" in names
        if inspect.isclass(kind) and issubclass(kind, delta.Cost) and kind is not delta.Cost:
            assert f"{name}._slopes" in names


# ---------------------------------------------------------------------- the campaign itself


def example(x, y):
    return -np.exp(x) * (y + 2) + x.T


def test_the_changes_of_a_function():
    found = {mutant.change.partition(" → ")[::2] for mutant in mutants(example)}
    whole = "-np.exp(x) * (y + 2) + x.T"
    assert {(whole, "× 1.001"), (whole, "negated"), (whole, "× 0"), (whole, "transposed")} < found
    assert {
        (whole, "-np.exp(x) * (y + 2)"),
        (whole, "x.T"),
        (whole, "-np.exp(x) * (y + 2) - x.T"),
        ("-np.exp(x) * (y + 2)", "-np.exp(x)"),
        ("-np.exp(x) * (y + 2)", "y + 2"),
        ("-np.exp(x)", "np.exp(x)"),
        ("np.exp(x)", "x"),
        ("y + 2", "y"),
        ("y + 2", "2"),
        ("y + 2", "y - 2"),
        ("y + 2", "y + 2.002"),
        ("x.T", "x"),
    } == {change for change in found if change[1] not in {"× 1.001", "negated", "× 0", "transposed"}}


def test_a_mutant_lives_only_inside_its_block():
    subject = Subject("example", example)
    scaled = next(mutant for mutant in mutants(example) if mutant.change.endswith("× 1.001"))
    x = np.zeros((2, 2))
    with pytest.raises(ZeroDivisionError), subject.replaced_by(scaled.code):
        _ = 1 / round(example(x, 1).item(0) + 3.003, 9)
    assert example(x, 1).item(0) == -3
    assert TRANSPOSED not in globals()


def test_the_rules_are_untouched_after_a_campaign():
    linear = [subject for subject in rules.subjects() if subject.name.startswith("linear")]
    assert len(linear) == 3
    assert len(list(run(linear, rules.by_gradcheck(), whole=True))) > 9
    a = mg.Tensor([[1.0, 2.0]], requires_grad=True)
    ops.linear(a, np.array([[3.0, 4.0]])).sum().backward()
    assert a.grad is not None
    assert a.grad.tolist() == [[3, 4]]


def test_transposing():
    transposition = Transposition()
    for same in (np.array(3.0), np.ones(1), np.arange(3.0).reshape(3, 1), 2.0):
        assert transposition(same) is same
        assert not transposition.seen
    assert transposition(np.arange(6).reshape(2, 3)).tolist() == [[0, 3, 1], [4, 2, 5]]
    assert transposition.seen
    assert transposition(np.arange(3)).tolist() == [2, 1, 0]


def square(x):
    return x * x


def test_a_check_that_looks_at_nothing_catches_nothing():
    blind = [Check("calls it", lambda: square(3) is None)]
    assert {result.check for result in run([Subject("square", square)], blind)} == {None}


def test_a_subject_without_a_check_is_an_error():
    with pytest.raises(LookupError, match="no check runs square: give the campaign one that does"):
        list(run([Subject("square", square)], []))


def test_two_definitions_in_one_line_are_told_apart():
    first, second = (lambda g, _a: g, lambda g, _a: -g)
    assert [definition(f).body.__class__.__name__ for f in (first, second)] == ["Name", "UnaryOp"]
