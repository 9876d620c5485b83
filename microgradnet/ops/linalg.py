"""Products: matmul, the linear layer in one operation, dot, outer, einsum."""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradnet.graph import fixed
from microgradnet.ops.shape import broadcast_to, expand_dims, reshape, squeeze, swapaxes, valued
from microgradnet.primitive import Primitive

_matmul = Primitive(
    "matmul",
    np.matmul,
    lambda g, _y, _a, b: g @ swapaxes(b, -1, -2),
    lambda g, _y, a, _b: swapaxes(a, -1, -2) @ g,
)
# NumPy's dot, of two matrices: for small ones the faster way to the same numbers.
_dot = Primitive("dot", lambda a, b: a.dot(b), lambda g, _y, _a, b: g @ b.T, lambda g, _y, a, _b: a.T @ g)


def matmul(a: Any, b: Any) -> Any:
    """a @ b by NumPy's rules: matrices, stacks of matrices that broadcast, and vectors."""
    a, b = valued(a), valued(b)
    if a.ndim == 0 or b.ndim == 0:
        message = f"matmul: a number has no matrix product; write a * b (shapes {a.shape} and {b.shape})"
        raise ValueError(message)
    if a.ndim > 1 and b.ndim > 1:
        return _matmul(a, b)
    y = _matmul(expand_dims(a, 0) if a.ndim == 1 else a, expand_dims(b, 1) if b.ndim == 1 else b)
    axes = ((-2,) if a.ndim == 1 else ()) + ((-1,) if b.ndim == 1 else ())
    return squeeze(y, axes)


# Σ over the first axis, as the gradient of a bias needs it.
_sum_rows = Primitive("sum_rows", np.add.reduce, lambda g, _y, _x: broadcast_to(g, _x.shape))


LARGE_WEIGHT, LARGE_PRODUCT = 1 << 16, 1 << 20
"""Elements of w, and multiplications in x·wᵀ, from which BLAS is quicker with w as its first matrix."""


def w_first(x: Any, w: Any) -> bool:
    """Whether x·wᵀ is computed as (w·xᵀ)ᵀ."""
    large = w.size >= LARGE_WEIGHT and x.size * w.shape[0] > LARGE_PRODUCT
    return large and len(x.shape) == 2 and x.shape[0] > 1


def _linear_forward(x: Any, w: Any, *b: Any) -> Any:
    if w_first(x, w):
        turned = np.matmul(w, x.T, out=with_gaps(len(w), len(x), np.result_type(x, w))).T
        y = np.empty(turned.shape, turned.dtype)
        return np.add(turned, b[0], y) if b else np.positive(turned, y)
    y = x.dot(w.T) if x.ndim == 2 else x @ w.T  # of small matrices, dot is the faster way to the same numbers
    if b:
        y += b[0]
    return y


def with_gaps(rows: int, columns: int, dtype: Any) -> Any:
    """Make a matrix with a cache line between its rows: the elements of a column do not evict each other."""
    return np.empty((rows, columns + 16), dtype)[:, :columns]


def _rows(x: Any) -> Any:
    """Flatten all but the last axis."""
    return x if x.ndim == 2 else reshape(x, (-1, x.shape[-1]))


def _rows_product(g: Any, x: Any) -> Any:
    """Return gᵀ·x of all rows, which leaves ∂L/∂w C-ordered; for one row dot is the faster way."""
    g, x = _rows(g), _rows(x)
    return g.T.dot(x) if g.shape[0] == 1 else g.T @ x


def _linear_rule(i: int) -> Any:
    return (
        lambda g, _y, _x, w, *_b: g.dot(w) if g.ndim == 2 else g @ w,
        lambda g, _y, x, _w, *_b: _rows_product(g, x),
        lambda g, _y, _x, _w, _b: _sum_rows(_rows(g)),
    )[i]


linear = Primitive("linear", _linear_forward, rule_for=_linear_rule)
"""y = x·wᵀ + b for x (…, in), w (out, in) and, where it is given, b (out,)."""


def dot(a: Any, b: Any) -> Any:
    """Inner product of vectors, matrix product of matrices, plain product with a number."""
    a, b = valued(a), valued(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.ndim > 2 or b.ndim > 2:
        message = f"dot: shapes {a.shape} and {b.shape}; for stacks of matrices write a @ b"
        raise ValueError(message)
    return _dot(a, b) if a.ndim == b.ndim == 2 else matmul(a, b)


def outer(a: Any, b: Any) -> Any:
    """yᵢⱼ = aᵢ·bⱼ of the flattened arrays."""
    return reshape(valued(a), (-1, 1)) * reshape(valued(b), (1, -1))


def _einsum_rule(i: int) -> Any:
    def rule(g: Any, _y: Any, *xs: Any, terms: tuple[str, ...], out: str) -> Any:
        """Swap the roles of operand i and the result; a letter that only i has was summed: spread g."""
        others = [(term, x) for k, (term, x) in enumerate(zip(terms, xs, strict=True)) if k != i]
        elsewhere = set(out).union(*[term for term, _ in others])
        sizes = dict(zip(terms[i], xs[i].shape, strict=True))
        alone = [letter for letter in terms[i] if letter not in elsewhere]
        ones = [(letter, fixed(np.ones(sizes[letter], g.dtype))) for letter in alone]
        operands = [(out, g), *others, *ones]
        return _einsum(*[x for _, x in operands], terms=tuple([term for term, _ in operands]), out=terms[i])

    return rule


_einsum = Primitive(
    "einsum",
    lambda *xs, terms, out: np.einsum(",".join(terms) + "->" + out, *xs),
    rule_for=_einsum_rule,
)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's summation, ``einsum("ij,jk->ik", a, b)``; letters only, without an ellipsis.

    A letter repeated within an operand (a diagonal) is rewritten with an identity matrix.
    """
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms, xs = left.split(","), [valued(x) for x in operands]
    if "." in subscripts:
        message = f"einsum: '{subscripts}' has an ellipsis; write one letter per axis"
        raise ValueError(message)
    if len(terms) != len(xs) or any(len(term) != x.ndim for term, x in zip(terms, xs, strict=False)):
        message = f"einsum: '{subscripts}' needs one letter per axis; the shapes are {[x.shape for x in xs]}"
        raise ValueError(message)
    lengths: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            if lengths.setdefault(letter, n) != n:
                message = f"einsum: '{letter}' of '{subscripts}' stands for lengths {lengths[letter]} and {n}"
                raise ValueError(message)
    if not arrow:
        out = "".join(sorted([c for c in set(left) - {","} if left.count(c) == 1]))
    unused = iter(sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") - set(subscripts)))
    for k, term in enumerate(list(terms)):
        for position, letter in enumerate(term):
            if letter in term[:position]:
                fresh = next(unused)
                size = xs[k].shape[position]
                terms[k] = terms[k][:position] + fresh + terms[k][position + 1 :]
                terms.append(letter + fresh)
                xs.append(fixed(np.eye(size, dtype=xs[k].dtype)))
    return _einsum(*xs, terms=tuple(terms), out=out)
