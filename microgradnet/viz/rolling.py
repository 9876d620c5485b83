"""Repeated layers: which calls of modules compute the same thing one after another, to be drawn once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgradnet.viz.modules import ModuleCalls
    from microgradnet.viz.picture import Item


@dataclass
class Rolls:
    """What is drawn as something else: items as those of the first repetition; titles that say so."""

    twins: dict[int, int] = field(default_factory=dict)
    titles: dict[int, str] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    """Per item of a first repetition: how many there are."""


class Roller:
    """Finds runs of equal calls among those inside the same call; what is inside a first one is rolled too.

    Calls are equal where they are of the same kinds of modules and hold the same operations, settings, shapes
    and edges. Nothing may be computed between them, and none may hold a result.
    """

    def __init__(self, items: Sequence[Item], calls: ModuleCalls, results: set[int]) -> None:
        self.items, self.calls, self.results = items, calls, results
        self.members: dict[int, list[int]] = {cluster.number: [] for cluster in calls.clusters}
        for i, item in enumerate(items):
            for cluster in calls.chain(item.cluster):
                self.members[cluster].append(i)
        self.inside: dict[int | None, list[int]] = {}
        for call in calls.clusters:
            self.inside.setdefault(call.parent, []).append(call.number)

    def rolls(self) -> Rolls:
        """Return what is drawn once."""
        found = Rolls()
        waiting: list[int | None] = [None]
        while waiting:
            siblings = self.inside.get(waiting.pop(), [])
            signatures = [self._signature(cluster) for cluster in siblings]
            start = 0
            while start < len(siblings):
                period, count = self._longest_run(siblings, signatures, start)
                for cluster in siblings[start : start + period]:
                    waiting.append(cluster)
                    if count > 1:
                        self._roll(found, siblings, siblings.index(cluster), period, count)
                start += period * count
        for item, twin in found.twins.items():  # a twin may have a twin of its own, in a roll inside the roll
            last = twin
            while last in found.twins:
                last = found.twins[last]
            found.twins[item] = last
        return found

    def _roll(self, found: Rolls, siblings: Sequence[int], place: int, period: int, count: int) -> None:
        """Note that the call at a place stands for those that follow it at every period."""
        first = siblings[place]
        others = [siblings[place + period * n] for n in range(1, count)]
        titles = [self.calls.clusters[cluster - 1].title for cluster in (first, others[-1])]
        found.titles[first] = f"{titles[0]} … {titles[1]} ({count}×)"
        for cluster in others:
            found.twins.update(zip(self.members[cluster], self.members[first], strict=True))
        found.times.update(dict.fromkeys(self.members[first], count))

    def _longest_run(self, siblings: Sequence[int], signatures: Sequence[Any], start: int) -> tuple[int, int]:
        """Return the period and the count of the repetition that covers most, from a place on."""
        best = (1, 1)
        for period in range(1, (len(siblings) - start) // 2 + 1):
            count = 1
            while (
                signatures[start + period * count : start + period * (count + 1)]
                == signatures[start : start + period]
                and None not in signatures[start : start + period]
            ):
                count += 1
            run = siblings[start : start + period * count]
            if count > 1 and period * count > best[0] * best[1] and self._adjoining(run):
                best = (period, count)
        return best

    def _adjoining(self, run: Sequence[int]) -> bool:
        """Whether nothing else is computed between the first operation of a run and its last."""
        inside = {i for cluster in run for i in self.members[cluster]}
        computed = [i for i in inside if self._is_computed(i)]
        return bool(computed) and all(
            i in inside for i in range(min(computed), max(computed)) if self._is_computed(i)
        )

    def _is_computed(self, i: int) -> bool:
        node = self.items[i].node
        return node is not None and node.primitive is not None

    def _signature(self, cluster: int) -> Any:
        """Return what a call computes, without names and numbers; None where it holds a result."""
        members = self.members[cluster]
        if not self.results.isdisjoint(members):
            return None
        place = {i: n for n, i in enumerate(members)}
        depth = len(self.calls.chain(cluster))
        lines = []
        for i in members:
            item = self.items[i]
            kinds = [type(self.calls.modules[c - 1]) for c in self.calls.chain(item.cluster)[depth - 1 :]]
            operation = item.node.primitive if item.node else None
            settings = repr(item.node.meta) if item.node else repr(item.constant)
            arguments = [(position, place.get(i)) for position, i in item.arguments.items()]
            lines.append((kinds, operation, settings, item.shape, arguments))
        return lines
