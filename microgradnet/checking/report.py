"""What verify found: the rows that were compared, the verdict, and how it is shown as text, JSON and HTML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgradnet.checking.rule_check import RuleCheck
    from microgradnet.graph import Array

PAIRS = ("autograd–δ", "autograd–differences", "δ–differences")
TOLERANCES = {"autograd–δ": 1e-10, "autograd–differences": 1e-6, "δ–differences": 1e-6}
"""How far each pair may part, relative to the largest gradient of its kind."""


@dataclass
class Row:
    """One value and its gradient in three ways."""

    kind: str
    """``δ`` of a layer's output, ``input``, or what a parameter is called: ``weight``, ``bias``, …."""
    name: str
    layer: str
    shape: tuple[int, ...]
    autograd: Array | None
    delta: Array | None = None
    entries: Array = field(default_factory=lambda: np.zeros(0, int))
    """Which entries, counted in C order, were moved one by one."""
    differences: Array = field(default_factory=lambda: np.zeros(0))
    """∂C of those entries by finite differences; NaN at a kink."""
    errors: dict[str, float | None] = field(default_factory=dict)
    """Each pair's largest disagreement, relative to the largest gradient of its kind (None: not compared)."""
    directions: int = 0
    """Along how many random directions all entries were moved together."""
    kinks: int = 0
    """How many entries sit at a kink, or so near that no step avoids it."""
    diagnosis: str = ""

    @property
    def ok(self) -> bool:
        """Whether all pairs agree."""
        return not self.disagreeing

    @property
    def disagreeing(self) -> list[str]:
        """The pairs that part."""
        return [
            pair for pair, error in self.errors.items() if error is not None and not error <= TOLERANCES[pair]
        ]

    @property
    def title(self) -> str:
        """What the row is about: ``δ of 2 (Linear)``, ``∂C/∂2.weight``."""
        if self.kind == "δ":
            return f"δ of {self.layer}"
        return f"∂C/∂{self.name}"


@dataclass
class Report:
    """What ``verify`` found. True, as ``report.ok`` is, where every gradient agrees; printed, a table."""

    model: str
    loss: float
    """The loss by the recorded run."""
    loss_by_delta: float | None
    rows: list[Row]
    """In backward order: each layer's δ, then its parameters, then the inputs."""
    rules: list[RuleCheck]
    """Every rule of every recorded operation, in backward order."""
    verdict: list[str]
    """What disagrees, where it begins, and what kind of mistake it is; empty where all is well."""
    notes: list[str]
    """What was not compared, and what was sampled."""
    seed: int

    @property
    def ok(self) -> bool:
        """Whether everything that was compared agrees."""
        return not self.verdict

    def __bool__(self) -> bool:
        return self.ok

    @property
    def kinks(self) -> list[str]:
        """The points at which an operation is not differentiable, and its rule is none the less right."""
        return [kink for check in self.rules for kink in check.kinks]

    @property
    def skipped(self) -> int:
        """How many entries have no difference quotient, for a kink is within the step."""
        return sum(row.kinks for row in self.rows)

    @property
    def first_disagreement(self) -> RuleCheck | None:
        """The rule that is wrong nearest to the loss: what follows from it is wrong too."""
        return next((check for check in self.rules if check.status == "disagrees"), None)

    def error(self, pair: str) -> float:
        """Return a pair's largest error, as in ``report.error("autograd–δ")``; NaN if never compared."""
        found = [error for row in self.rows if (error := row.errors.get(pair)) is not None]
        return max(found) if found else float("nan")

    # ------------------------------------------------------------------ as text

    @property
    def _headline(self) -> str:
        if not self.ok:
            return f"verify {self.model}: the gradients DISAGREE"
        if all(row.delta is not None for row in self.rows):
            return f"verify {self.model}: all three ways agree"
        more = ", and δ where it knows the layers" if self.loss_by_delta is not None else ""
        return f"verify {self.model}: autograd and differences agree{more}"

    @property
    def _loss_line(self) -> str:
        by_delta = "—" if self.loss_by_delta is None else f"{self.loss_by_delta:.12g}"
        return f"loss {self.loss:.12g}, by δ {by_delta}"

    @property
    def _rule_line(self) -> str:
        agree = sum(check.status == "agrees" for check in self.rules)
        operations = len({check.operation for check in self.rules})
        return f"{agree} of {len(self.rules)} rules of {operations} operations hold, each checked by itself"

    def _kink_lines(self) -> list[str]:
        if not self.kinks and not self.skipped:
            return []
        shown = "; ".join(self.kinks[:3]) + (
            f"; and {len(self.kinks) - 3:,} more" if len(self.kinks) > 3 else ""
        )
        named = [f"not differentiable here, and no mistake: {shown}"] if self.kinks else []
        counted = (
            [f"entries not compared, for a kink is within the step: {self.skipped:,}"] if self.skipped else []
        )
        return named + counted

    def _cells(self) -> list[list[str]]:
        return [
            [
                row.title,
                "×".join(map(str, row.shape)) or "1",
                *[_error(row.errors.get(pair)) for pair in PAIRS],
                "" if row.ok else "DISAGREES",
            ]
            for row in self.rows
        ]

    def __str__(self) -> str:
        table = [["", "shape", *PAIRS, ""], *self._cells()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  "
            + "  ".join(
                [
                    cell.ljust(width) if k in {0, 5} else cell.rjust(width)
                    for k, (cell, width) in enumerate(zip(line, widths, strict=True))
                ]
            ).rstrip()
            for line in table
        ]
        below = [self._rule_line, *self._kink_lines(), *self.notes]
        return "\n".join(
            [self._headline, f"  {self._loss_line}", *[f"  {said}" for said in self.verdict], *lines]
            + [f"  {note}" for note in below]
        )

    def __repr__(self) -> str:
        return str(self)

    # ------------------------------------------------------------------ as JSON

    def to_json(self) -> str:
        """Return everything but the arrays as JSON."""
        first = self.first_disagreement
        content = {
            "ok": self.ok,
            "model": self.model,
            "loss": self.loss,
            "loss_by_delta": self.loss_by_delta,
            "verdict": self.verdict,
            "first_disagreement": None if first is None else _plain(vars(first)),
            "rows": [
                {
                    "kind": row.kind,
                    "name": row.name,
                    "layer": row.layer,
                    "shape": list(row.shape),
                    "errors": {pair: _finite(error) for pair, error in row.errors.items()},
                    "entries_moved": int(row.entries.size),
                    "directions": row.directions,
                    "kinks": row.kinks,
                    "ok": row.ok,
                    "diagnosis": row.diagnosis,
                }
                for row in self.rows
            ],
            "rules": [_plain(vars(check)) for check in self.rules],
            "kinks": self.kinks,
            "notes": self.notes,
            "tolerances": TOLERANCES,
            "seed": self.seed,
        }
        return json.dumps(content, ensure_ascii=False, indent=2)

    # ------------------------------------------------------------------ as HTML

    def _repr_html_(self) -> str:
        good, bad = "#1f9254", "#d93a3a"  # both legible on white and on black
        colour = good if self.ok else bad
        cell = "padding:.2em .8em;border-bottom:1px solid rgba(128,128,128,.35)"
        names = ["gradient", "shape", *PAIRS]
        head = "".join(
            [f'<th scope="col" style="{cell};{_side(k)}">{escape(n)}</th>' for k, n in enumerate(names)]
        )
        body = "".join(
            [
                self._html_row(row, cells, cell, bad)
                for row, cells in zip(self.rows, self._cells(), strict=True)
            ]
        )
        verdict = "".join([f"<li>{escape(said)}</li>" for said in self.verdict])
        below = "".join(
            [f"<li>{escape(note)}</li>" for note in [self._rule_line, *self._kink_lines(), *self.notes]]
        )
        return (
            '<div style="font-family:system-ui,sans-serif;font-size:90%;line-height:1.45;max-width:60em">'
            f'<p style="margin:.3em 0"><strong style="color:{colour}">{"✓" if self.ok else "✗"} '
            f"{escape(self._headline)}</strong><br>{escape(self._loss_line)}</p>"
            + (
                f'<ul style="border-left:4px solid {bad};margin:.5em 0;padding:.2em 1.6em">{verdict}</ul>'
                if verdict
                else ""
            )
            + '<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
            f"<thead><tr>{head}</tr></thead>"
            f'<tbody>{body}</tbody></table><ul style="margin:.5em 0;opacity:.85">{below}</ul></div>'
        )

    def _html_row(self, row: Row, cells: Sequence[str], cell: str, bad: str) -> str:
        wrong = row.disagreeing
        marked = [*[False] * 2, *[pair in wrong for pair in PAIRS]]
        return (
            "<tr>"
            + "".join(
                [
                    f'<td style="{cell};{_side(k)}'
                    + (
                        f';color:{bad};font-weight:bold">{escape(text)} ✗</td>'
                        if off
                        else f'">{escape(text)}</td>'
                    )
                    for k, (text, off) in enumerate(zip(cells[:5], marked, strict=True))
                ]
            )
            + "</tr>"
        )

    def to_html(self) -> str:
        """Return a page that needs nothing else."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{escape(self._headline)}</title></head><body>{self._repr_html_()}</body></html>\n"
        )


def _side(column: int) -> str:
    """Names stand left, numbers right."""
    return f"text-align:{'right' if column else 'left'}"


def _error(error: float | None) -> str:
    return "—" if error is None else f"{error:.1e}"


def _finite(error: float | None) -> float | None:
    return error if error is not None and np.isfinite(error) else None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return a dict that JSON can hold."""
    return {
        key: list(value)
        if isinstance(value, tuple)
        else _finite(value)
        if isinstance(value, float)
        else value
        for key, value in values.items()
    }
