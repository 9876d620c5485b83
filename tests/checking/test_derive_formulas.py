"""The simplification of formulas: whatever is put together, the formula gives the value it came with."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgradnet import ops
from microgradnet.checking.notation import LATEX, TEXT, Notation
from microgradnet.checking.symbols import Name, Symbol, SymbolError, count, factor, record_symbol, recording

OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "ratio": ops.ratio,
    "neg": lambda a, _b: -a,
    "sum": lambda a, _b: ops.sum(a, 0, keepdims=True),
    "exp": lambda a, _b: ops.tanh(a),
    "where": lambda a, b: ops.where(ops.greater(a, 1.5), a, b),
}
NUMBERS = (-2.0, -1.0, 0.5, 1.0, 3.0)


def named(letter, value):
    return Symbol.named(np.asarray(value), Name(letter, letter))


def evaluate(formula):
    """Compute a formula from its names and numbers."""
    if formula.primitive is None:
        return formula.data
    return formula.primitive.forward(*[evaluate(x) for x in formula.operands], **formula.meta)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 40), st.integers(0, 40)),
        min_size=1,
        max_size=8,
    )
)
def test_simplified_formulas_keep_their_value(steps):
    rng = np.random.default_rng(len(steps))
    values = [
        named("a", rng.uniform(1, 2, (3, 2))),
        named("b", rng.uniform(1, 2, (3, 2))),
        named("c", [1.1, 1.7]),
    ]
    values += [Symbol.constant(number) for number in NUMBERS]
    with recording(record_symbol):
        for kind, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            if kind in {"/", "ratio"} and not np.all(b.data):
                continue
            found = OPERATIONS[kind](a, b) if kind != "sum" or a.ndim else a
            with np.errstate(all="ignore"):
                expected = OPERATIONS[kind](a.data, b.data) if kind != "sum" or a.ndim else a.data
                shown = evaluate(found)
            np.testing.assert_allclose(found.data, expected, rtol=1e-12)
            assert np.shape(expected) == found.shape
            np.testing.assert_allclose(
                np.broadcast_to(shown, found.shape),
                expected,
                rtol=1e-9,
                atol=1e-12,
                err_msg=TEXT.write(found),
            )
            if np.abs(found.data).max() < 1e6:
                values.append(found)
            assert TEXT.write(found)
            assert LATEX.write(found)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda a, b, _g: 2 * (3 * a) * b, "6·a ⊙ b"),
        (lambda a, b, _g: (-a) * b, "−a ⊙ b"),
        (lambda a, b, _g: -(a - b), "b − a"),
        (lambda a, b, _g: a + (-0.5) * b, "a − 0.5·b"),
        (lambda a, b, _g: (a * 2) / b, "2·a / b"),
        (lambda a, _b, _g: a * a - 1, "a² − 1"),
        (lambda a, b, _g: (a + b) * (a - b), "(a + b) ⊙ (a − b)"),
        (lambda a, b, _g: a - (b - a), "a − (b − a)"),
        (lambda a, b, _g: a / (b * a), "a / (b ⊙ a)"),
        (lambda a, b, _g: a * (1 / b), "a ⊙ (1 / b)"),
        (lambda a, b, _g: (a @ b.T) * 0.25, "0.25·a bᵀ"),
        (lambda a, b, _g: (a @ b.T) @ (a @ b.T), "(a bᵀ) (a bᵀ)"),
        (lambda a, _b, _g: ops.sum(a) / a.size, "0.166667 · Σ a"),
        (lambda a, b, _g: ops.greater(a, b) * a, "[a > b] ⊙ a"),
        (lambda a, _b, _g: ops.sqrt(a + 1e-5), "√(a + 10⁻⁵)"),
        (lambda a, _b, _g: ops.absolute(a).sum(1), "Σₖ |a|"),
        (lambda a, _b, _g: (a * 0).sum(), "0"),
        (lambda a, _b, _g: a[0, :1], "a[0, :1]"),
        (lambda a, _b, _g: a**3, "a³"),
    ],
)
def test_how_formulas_are_written(make, text):
    rng = np.random.default_rng(0)
    a, b, g = [named(letter, rng.uniform(1, 2, (3, 2) if letter != "g" else ())) for letter in "abg"]
    with recording(record_symbol):
        assert TEXT.write(make(a, b, g)) == text


def test_numbers_that_are_shares_of_the_batch():
    notation = Notation(latex=False, batch=97)
    assert notation.number(1 / 97) == "1 / N"
    assert notation.number(-2 / (3 * 97)) == "−2 / (3N)"
    assert notation.number(0.01) == "0.01"
    assert notation.number(1 / 3) == "0.333333"
    assert Notation(latex=True, batch=97).number(0.5 / 97) == r"\frac{1}{2N}"
    assert Notation(latex=False).number(1 / 97) == "0.0103093"
    assert notation.shape((97, 194, 5)) == "(N, 2N, 5)"


def test_the_factor_of_a_gradient_is_found():
    x, g = named("x", [1.5, 2.0]), named("g", [3.0, 4.0])
    with recording(record_symbol):
        cases = {
            "x": g * x,
            "−x / 2": -(g * x) / 2,
            "where([x > 1.7], 1, 0.1)": ops.where(ops.greater(x, 1.7), g, 0.1 * g),
            "1": g,
            "1 / x": ops.ratio(g, x),
        }
        for formula in cases.values():
            found = factor(formula, g)
            assert found is not None
            np.testing.assert_allclose(found.data * g.data, formula.data)
            assert count(found, g) == 0
        where = factor(cases["where([x > 1.7], 1, 0.1)"], g)
        assert where is not None
        assert TEXT.write(where) == "where([x > 1.7], 1, 0.1)"
        assert factor(g + x, g) is None
        assert factor(x / g, g) is None
        assert factor(g * g, g) is None


def test_a_symbol_has_no_value_to_branch_on():
    x = named("x", [1.0])
    for ask in (bool, float, int, np.asarray, lambda s: s.item()):
        with pytest.raises(SymbolError, match="no single formula"):
            ask(x)
