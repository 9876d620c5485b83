"""How formulas are written: symbols as plain text for a terminal, and as LaTeX."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from microgradnet.checking.symbols import Name, Symbol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
SUBSCRIPTS = str.maketrans("0123456789-", "₀₁₂₃₄₅₆₇₈₉₋")

# How tightly a formula holds together; an operand that is looser gets brackets.
ADD, SUM, MUL, MATMUL, POWER, ATOM = range(6)

FUNCTIONS = {
    "sigmoid": Name("σ", r"\sigma"),
    "tanh": Name("tanh", r"\tanh"),
    "relu": Name("relu", r"\mathrm{relu}"),
    "leaky_relu": Name("lrelu", r"\mathrm{lrelu}"),
    "elu": Name("elu", r"\mathrm{elu}"),
    "softplus": Name("softplus", r"\mathrm{softplus}"),
    "exp": Name("exp", r"\exp"),
    "log": Name("ln", r"\ln"),
    "sin": Name("sin", r"\sin"),
    "cos": Name("cos", r"\cos"),
    "sign": Name("sign", r"\mathrm{sign}"),
    "softmax": Name("softmax", r"\mathrm{softmax}"),
    "log_softmax": Name("ln softmax", r"\ln\mathrm{softmax}"),
}
ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus")
USUAL = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}  # settings that are not shown
COMPARISONS = {
    "greater": Name(" > ", " > "),
    "greater_equal": Name(" ≥ ", r" \geq "),
    "less": Name(" < ", " < "),
    "less_equal": Name(" ≤ ", r" \leq "),
    "equal": Name(" = ", " = "),
    "not_equal": Name(" ≠ ", r" \neq "),
    "logical_and": Name(" and ", r" \wedge "),
    "logical_or": Name(" or ", r" \vee "),
}


def plain_latex(text: str) -> str:
    """Return a word, such as the path of a parameter, in upright letters."""
    return r"\mathrm{" + "".join(["\\" + c if c in "_#%&$" else c for c in text]) + "}"


def indexed(base: Name, layer: int, primes: int = 0) -> Name:
    """Return base with the number of its layer above: z².

    >>> indexed(Name("z", "z"), 2).text
    'z²'
    """
    return Name(
        base.text + str(layer).translate(SUPERSCRIPTS) + "′" * primes,
        f"{base.latex}^{{{layer}{chr(39) * primes}}}",
    )


@dataclass(frozen=True)
class Notation:
    """Writes symbols; ``batch`` is the number that is shown as N."""

    latex: bool
    batch: int | None = None

    def pick(self, name: Name) -> str:
        """Return the form of a name."""
        return name.latex if self.latex else name.text

    def write(self, symbol: Symbol, tightness: int = ADD) -> str:
        """Return the formula of a symbol, or its name; in brackets where it is looser than asked for."""
        return self._in(symbol, tightness)

    def shape(self, shape: Sequence[int]) -> str:
        """Return a shape, with N for the batch.

        >>> Notation(latex=False, batch=97).shape((97, 10))
        '(N, 10)'
        """
        sizes = [self._size(n) for n in shape]
        return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"

    def _size(self, n: int) -> str:
        if self.batch and n and n % self.batch == 0:
            return f"{n // self.batch}N".removeprefix("1N") or "N"
        return str(n)

    def number(self, value: float) -> str:
        """Return a number, as a fraction of N where it is one.

        >>> Notation(latex=False, batch=97).number(2 / 97)
        '2 / N'
        """
        above, below = self._fraction(abs(value))
        sign = ("-" if self.latex else "−") * (value < 0)
        if not below:
            return sign + above
        return sign + (rf"\frac{{{above}}}{{{below}}}" if self.latex else f"{above} / {below}")

    def _fraction(self, value: float) -> tuple[str, str]:
        """Return numerator and denominator (empty: none) of a number that is not negative."""
        short = f"{value:.6g}"
        if not self.batch or len(short) <= 5 or not math.isfinite(value):
            return self._decimal(short), ""
        share = Fraction(value * self.batch).limit_denominator(10_000)
        if (
            abs(float(share) - value * self.batch) > 1e-9 * value * self.batch
            or share.numerator >= self.batch
        ):
            return self._decimal(short), ""
        below = "N" if share.denominator == 1 else f"{share.denominator}N"
        if not self.latex and share.denominator != 1:
            below = f"({below})"
        return str(share.numerator), below

    def _decimal(self, text: str) -> str:
        mantissa, _, exponent = text.partition("e")
        if not exponent:
            return mantissa.replace("inf", r"\infty" if self.latex else "∞")
        power = str(int(exponent))
        lead = "" if mantissa == "1" else mantissa + (r" \cdot " if self.latex else "·")
        return lead + (f"10^{{{power}}}" if self.latex else "10" + power.translate(SUPERSCRIPTS))

    # ------------------------------------------------------------------ formulas

    def _written(self, x: Symbol) -> tuple[str, int]:
        """Return the text and how tightly it holds together."""
        if x.label is not None:
            return self.pick(x.label), ATOM
        if x.number is not None:
            text = self.number(x.number)
            return text, MUL if "/" in text or "frac" in text or x.number < 0 else ATOM
        kind, inner = x.kind, x.operands
        if kind in self._writers:
            return self._writers[kind](self, x)
        if kind in COMPARISONS:
            sides = self.pick(COMPARISONS[kind]).join([self._in(y, SUM) for y in inner])
            return f"[{sides}]", ATOM
        name = self.pick(FUNCTIONS[kind]) if kind in FUNCTIONS else plain_latex(kind) if self.latex else kind
        words = [self.write(y) for y in inner]
        if kind not in FUNCTIONS:
            words += [
                plain_latex(f"{key}={value}") if self.latex else f"{key}={value}"
                for key, value in x.meta.items()
                if key not in USUAL or np.any(np.not_equal(value, USUAL[key]))
            ]
        return self._call(name, words), ATOM

    def _call(self, name: str, words: Sequence[str]) -> str:
        return rf"{name}\left({', '.join(words)}\right)" if self.latex else f"{name}({', '.join(words)})"

    def _in(self, x: Symbol, tightness: int) -> str:
        """Return an operand, in brackets where it is looser than its place allows."""
        text, own = self._written(x)
        if own >= tightness:
            return text
        return rf"\left({text}\right)" if self.latex else f"({text})"

    def _sum(self, x: Symbol) -> tuple[str, int]:
        a, b = x.operands
        minus = "-" if self.latex else "−"
        sign = "+" if x.kind == "add" else minus
        if x.kind == "sub" and b.number is not None and b.number < 0:
            return f"{self._in(a, ADD)} + {self.number(-b.number)}", ADD
        right = self._in(b, ADD if x.kind == "add" else SUM)
        if right.startswith(minus):
            right = rf"\left({right}\right)" if self.latex else f"({right})"
        return f"{self._in(a, ADD)} {sign} {right}", ADD

    def _mul(self, x: Symbol) -> tuple[str, int]:
        a, b = x.operands
        if a.number is None and b.number is not None:
            a, b = b, a
        if a.number is not None:
            return self._times(a.number, b), MUL
        if a is b:
            return self._base(a) + ("^{2}" if self.latex else "²"), POWER
        scalar = not a.shape or not b.shape
        dot = (r" \, " if scalar else r" \odot ") if self.latex else ("·" if scalar else " ⊙ ")
        tight = [MUL if y.kind not in {"matmul", "dot"} else ATOM for y in (a, b)]
        if not self.latex and b.kind in {"div", "ratio"}:
            tight[1] = ATOM
        return dot.join([self._in(y, tightness) for y, tightness in zip((a, b), tight, strict=True)]), MUL

    def _times(self, number: float, x: Symbol) -> str:
        """Return number·x, as a quotient where the number is a fraction of N."""
        above, below = self._fraction(abs(number))
        sign = ("-" if self.latex else "−") * (number < 0)
        if x.kind == "sum":
            return sign + self._totalled(abs(number), self._in(x.operands[0], MUL))
        looser = ADD if self.latex and below and above == "1" else MUL
        body = self._in(x, looser)
        lead = "" if above == "1" else above + (r" \, " if self.latex else "·")
        if not below:
            return f"{sign}{lead}{body}"
        return sign + (rf"\frac{{{lead}{body}}}{{{below}}}" if self.latex else f"{lead}{body} / {below}")

    def _bracketed(self, x: Symbol) -> str:
        text = self.write(x)
        return rf"\left({text}\right)" if self.latex else f"({text})"

    def _quotient(self, x: Symbol) -> tuple[str, int]:
        a, b = x.operands
        if self.latex:
            return rf"\frac{{{self.write(a)}}}{{{self.write(b)}}}", MUL
        return f"{self._in(a, MUL)} / {self._in(b, MATMUL)}", MUL

    def _negative(self, x: Symbol) -> tuple[str, int]:
        return ("-" if self.latex else "−") + self._in(x.operands[0], MUL), MUL

    def _matmul(self, x: Symbol) -> tuple[str, int]:
        return (r" \, " if self.latex else " ").join([self._in(y, POWER) for y in x.operands]), MATMUL

    def _linear(self, x: Symbol) -> tuple[str, int]:
        data, weight, *bias = x.operands
        w = self._in(weight, POWER) + ("" if self.latex else "ᵀ")
        if self.latex:
            w = f"{{{w}}}^{{\\top}}"
        text = self._in(data, POWER) + (r" \, " if self.latex else " ") + w
        return (f"{text} + {self.write(bias[0])}", ADD) if bias else (text, MATMUL)

    def _transpose(self, x: Symbol) -> tuple[str, int]:
        body = self._in(x.operands[0], POWER)
        if x.data.ndim != 2:
            return self._call(plain_latex("transpose") if self.latex else "transpose", [body]), ATOM
        return (f"{{{body}}}^{{\\top}}" if self.latex else body + "ᵀ"), POWER

    def _power(self, x: Symbol) -> tuple[str, int]:
        base = self._base(x.operands[0])
        exponent = x.meta["n"] if "n" in x.meta else x.operands[1].number
        if self.latex:
            inside = self.write(x.operands[1]) if exponent is None else f"{exponent:g}"
            return f"{{{base}}}^{{{inside}}}", POWER
        if exponent is not None and float(exponent).is_integer():
            return base + str(int(exponent)).translate(SUPERSCRIPTS), POWER
        return f"{base}^{self._in(x.operands[1], ATOM) if exponent is None else f'{exponent:g}'}", POWER

    def _base(self, x: Symbol) -> str:
        """Return what is raised to a power, in brackets also where a name has a number above."""
        raised = x.label is not None and ("^" in x.label.latex or "′" in x.label.text)
        return self._bracketed(x) if raised else self._in(x, ATOM)

    def _reduction(self, x: Symbol) -> tuple[str, int]:
        (inside,) = x.operands
        axis = tuple(range(inside.ndim - 1)) if x.kind == "sum_rows" else x.meta.get("axis")
        below = self._axis(axis, inside.ndim)
        if x.kind in {"sum", "sum_rows"}:
            sign = r"\sum" if self.latex else "Σ"
            return f"{sign}{below} {self._in(inside, MUL)}", SUM
        name = plain_latex(x.kind) if self.latex else x.kind
        return self._call(name + below, [self.write(inside)]), ATOM

    def _axis(self, axis: Any, ndim: int) -> str:
        """Return the index of a sum: n runs over the first axis, k over the last."""
        if axis is None or ndim < 2:
            return ""
        axes = sorted({a % ndim for a in ((axis,) if isinstance(axis, int) else axis)})
        if len(axes) == ndim:
            return ""
        letters = ["n" if a == 0 else "k" if a == ndim - 1 else "ijlmpq"[a - 1] for a in axes]
        if self.latex:
            return f"_{{{', '.join(letters)}}}"
        small = {"n": "ₙ", "k": "ₖ", "i": "ᵢ", "j": "ⱼ", "l": "ₗ", "m": "ₘ", "p": "ₚ", "q": "_q"}
        return "".join([small[letter] for letter in letters])

    def _absolute(self, x: Symbol) -> tuple[str, int]:
        inside = self.write(x.operands[0])
        return (rf"\left|{inside}\right|" if self.latex else f"|{inside}|"), ATOM

    def _sqrt(self, x: Symbol) -> tuple[str, int]:
        inside = self.write(x.operands[0])
        return (rf"\sqrt{{{inside}}}" if self.latex else f"√({inside})"), ATOM

    def _passed(self, x: Symbol) -> tuple[str, int]:
        """Write what only changes the layout of its operand as the operand."""
        return self._written(x.operands[0])

    def _reshape(self, x: Symbol) -> tuple[str, int]:
        inside = x.operands[0]
        if [n for n in inside.shape if n != 1] == [n for n in x.shape if n != 1]:
            return self._written(inside)
        name = plain_latex("reshape") if self.latex else "reshape"
        return self._call(name, [self.write(inside), self.shape(x.shape)]), ATOM

    def _index(self, x: Symbol) -> tuple[str, int]:
        """Write x[key]; an array in the key by its name."""
        arrays = iter(x.operands[1:])
        parts = []
        for part in x.meta["spec"]:
            if isinstance(part, slice):
                ends = [("" if end is None else str(end)) for end in (part.start, part.stop)]
                parts.append(":".join(ends) + ("" if part.step is None else f":{part.step}"))
            elif part is None or part is Ellipsis:
                parts.append("…" if part is Ellipsis and not self.latex else r"\ldots" if part else "None")
            elif isinstance(part, int):
                parts.append(str(part))
            else:
                parts.append(self.write(next(arrays)))
        key = ", ".join(parts)
        if x.kind == "index":
            return f"{self._in(x.operands[0], POWER)}[{key}]", POWER
        name = plain_latex("scatter") if self.latex else "scatter"
        return self._call(name, [self.write(x.operands[0]), f"[{key}]"]), ATOM

    def _squared_error(self, x: Symbol) -> tuple[str, int]:
        a, y = x.operands
        minus = "-" if self.latex else "−"
        square = f"({self._in(a, ADD)} {minus} {self._in(y, SUM)})" + ("^{2}" if self.latex else "²")
        return self._totalled(x.meta["scale"], square), MUL

    def _totalled(self, scale: float, body: str) -> str:
        """Return scale·Σ body."""
        sign = r"\sum" if self.latex else "Σ"
        if scale == 1:
            return f"{sign} {body}"
        share = "½" if scale == 0.5 and not self.latex else self.number(scale)
        return f"{share} {sign} {body}" if self.latex else f"{share} · {sign} {body}"

    def _cross_entropy(self, x: Symbol) -> tuple[str, int]:
        z, y = x.operands[:2]
        logs = (r"\ln\mathrm{softmax}" if self.latex else "ln softmax") + f"({self.write(z)})"
        dot = r" \odot " if self.latex else " ⊙ "
        minus = "-" if self.latex else "−"
        return minus + self._totalled(x.meta["scale"], f"{self.write(y)}{dot}{logs}"), MUL

    def _bce(self, x: Symbol) -> tuple[str, int]:
        a, y = [self.write(operand) for operand in x.operands]
        if self.latex:
            return rf"-\left({y} \odot \ln {a} + (1 - {y}) \odot \ln (1 - {a})\right)", MUL
        return f"−({y} ⊙ ln {a} + (1 − {y}) ⊙ ln (1 − {a}))", MUL

    def _bce_with_logits(self, x: Symbol) -> tuple[str, int]:
        z, y = [self.write(operand) for operand in x.operands[:2]]
        if self.latex:
            body = rf"\left({y} \odot \ln \sigma({z}) + (1 - {y}) \odot \ln (1 - \sigma({z}))\right)"
            return "-" + self._totalled(x.meta["scale"], body), MUL
        body = f"({y} ⊙ ln σ({z}) + (1 − {y}) ⊙ ln (1 − σ({z})))"
        return "−" + self._totalled(x.meta["scale"], body), MUL

    _writers: ClassVar[dict[str, Callable[[Notation, Symbol], tuple[str, int]]]] = {
        **dict.fromkeys(("add", "sub"), _sum),
        **dict.fromkeys(("mul", "multiply", "probability_times"), _mul),
        **dict.fromkeys(("div", "ratio"), _quotient),
        **dict.fromkeys(("sum", "sum_rows", "mean", "max", "min", "prod"), _reduction),
        **dict.fromkeys(("broadcast_to", "astype", "expand_dims", "squeeze"), _passed),
        **dict.fromkeys(("index", "index_add"), _index),
        "neg": _negative,
        **dict.fromkeys(("matmul", "dot"), _matmul),
        "linear": _linear,
        "transpose": _transpose,
        "pow": _power,
        "abs": _absolute,
        "sqrt": _sqrt,
        "reshape": _reshape,
        "squared_error": _squared_error,
        "cross_entropy": _cross_entropy,
        "bce": _bce,
        "bce_with_logits": _bce_with_logits,
    }


TEXT, LATEX = Notation(latex=False), Notation(latex=True)
