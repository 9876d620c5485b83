"""The module calls that a graph was recorded in: nested clusters, and the paths of modules and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microgradnet.viz.values import short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microgradnet.graph import Node, Scope


@dataclass(frozen=True)
class Cluster:
    """One call of a module: its number (from 1), the call around it (None: outermost), and its title."""

    number: int
    parent: int | None
    title: str


class ModuleCalls:
    """Which call of which module every node was recorded in, in the order of the graph.

    A module that is called twice gives two clusters. Paths are those of the outermost module that was called;
    where several such modules have parameters, its class stands before the path.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.clusters: list[Cluster] = []
        self.modules: list[Any] = []  # per cluster
        self._by_scope: dict[int, int | None] = {}  # by identity: the nodes keep their scopes alive
        self._counts: dict[int, int] = {}
        self._outermost: dict[int, Any] = {}
        self._labels: dict[int, str] = {}
        self._paths: dict[int, str] = {}
        self._cluster_of = {node.number: self._cluster(node.scope) for node in nodes}
        self.parameter_names = self._named_parameters()

    def cluster_of(self, node: Node) -> int | None:
        """Return the innermost call that a node was recorded in."""
        return self._cluster_of[node.number]

    def parent(self, cluster: int) -> int | None:
        """Return the call around a call."""
        return self.clusters[cluster - 1].parent

    def chain(self, cluster: int | None) -> list[int]:
        """Return a call and the calls around it, outermost first."""
        found = []
        while cluster is not None:
            found.append(cluster)
            cluster = self.parent(cluster)
        return found[::-1]

    def common(self, clusters: Iterable[int]) -> int | None:
        """Return the innermost call that all these calls lie in."""
        chains = [self.chain(cluster) for cluster in clusters]
        shared = None
        for level in zip(*chains, strict=False):
            if any(cluster != level[0] for cluster in level):
                break
            shared = level[0]
        return shared

    def _cluster(self, scope: Scope | None) -> int | None:
        """Return the cluster of a scope, making those that are new from the outside in."""
        frames = []
        known = None
        while scope is not None:
            if id(scope) in self._by_scope:
                known = self._by_scope[id(scope)]
                break
            frames.append(scope)
            scope = scope.outer
        for frame in reversed(frames):
            outer = None if frame.outer is None else frame.outer.module
            if frame.module is not None and frame.module is not outer:
                known = self._enter(frame.module, known)
            self._by_scope[id(frame)] = known
        return known

    def _enter(self, module: Any, parent: int | None) -> int:
        """Add the cluster of a call."""
        kind = type(module).__name__
        if parent is None and id(module) not in self._outermost:
            same = sum(type(other) is type(module) for other in self._outermost.values())
            self._outermost[id(module)] = module
            self._labels[id(module)] = f"{kind} {same + 1}" if same else kind
            for path, inner in getattr(module, "named_modules", tuple)():
                self._paths.setdefault(id(inner), path)
        call = self._counts[id(module)] = self._counts.get(id(module), 0) + 1
        path = self._paths.get(id(module), "")
        title = self._labels.get(id(module), kind) if parent is None else f"{path} · {kind}" if path else kind
        title += f" (call {call})" if call > 1 else ""
        self.clusters.append(Cluster(len(self.clusters) + 1, parent, short(title)))
        self.modules.append(module)
        return len(self.clusters)

    def _named_parameters(self) -> dict[int, str]:
        """Return the path of every parameter of the outermost modules, by the number of its node."""
        found = [
            (self._labels[key], [(path, p._node) for path, p in getattr(module, "named_parameters", tuple)()])
            for key, module in self._outermost.items()
        ]
        with_parameters = [(label, named) for label, named in found if named]
        names: dict[int, str] = {}
        for label, named in with_parameters:
            lead = f"{label}." if len(with_parameters) > 1 else ""
            for path, node in named:
                names.setdefault(node.number, lead + path)
        return names
