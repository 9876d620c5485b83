"""Count what the checks catch: ``python -m tests.mutation.report`` prints the table of docs/mutation.md."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.mutation import campaign, equations, losses, rules
from tests.mutation.equivalents import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.mutation.campaign import Check, Result, Subject


@dataclass(frozen=True)
class Campaign:
    """What is mutated, and what must notice."""

    subjects: Callable[[], Iterable[Subject]]
    checks: Callable[[], Sequence[Check]]
    mutated: str
    by: str
    whole: bool = False

    def run(self) -> list[Result]:
        """Return what became of every mutant."""
        return list(campaign.run(self.subjects(), self.checks(), whole=self.whole))


CAMPAIGNS = {
    "rules": Campaign(
        rules.subjects, rules.checks, "every rule of every operation", "differences, to second order"
    ),
    "gradcheck": Campaign(
        rules.subjects, rules.by_gradcheck, "every rule, whole formulas", "`mg.gradcheck`", whole=True
    ),
    "losses": Campaign(losses.subjects, losses.checks, "every loss", "its formula in NumPy, differences"),
    "equations": Campaign(
        equations.subjects, equations.checks, "the whole δ room", "the automatic gradients"
    ),
    "verify": Campaign(
        equations.backward_subjects,
        equations.by_verify,
        "every δ equation, whole formulas",
        "`mg.verify`",
        whole=True,
    ),
}


def row(name: str, results: Sequence[Result]) -> str:
    """Return the line of a campaign in the table."""
    killed = sum(result.check is not None for result in results)
    same = sum(result.check is None and reason(result.mutant) is not None for result in results)
    subjects = len({result.subject for result in results})
    share = 100 * killed / max(len(results) - same, 1)
    one = CAMPAIGNS[name]
    return f"| {one.mutated} ({subjects}) | {one.by} | {len(results)} | {killed} | {same} | {share:.4g} % |"


HEAD = "| what is mutated (functions) | what must notice | mutants | caught | the same | caught of the rest |"


def main() -> int:
    """Print the table, the mutants that compute the same with reasons, and those that nothing notices."""
    print(HEAD, "|---|---|---|---|---|---|", sep="\n", flush=True)  # noqa: T201 - a command
    surviving = []
    for name, one in CAMPAIGNS.items():
        results = one.run()
        print(row(name, results), flush=True)  # noqa: T201
        surviving += [result for result in results if result.check is None]
    why = Counter([reason(result.mutant) or f"NOT NOTICED: {result.mutant}" for result in surviving])
    print("", *[f"{count} × {text}" for text, count in why.items()], sep="\n")  # noqa: T201
    return int(any(reason(result.mutant) is None for result in surviving))


if __name__ == "__main__":
    sys.exit(main())
