"""A graph as plain nodes and edges: named, grouped by module, folded where it is large, numbered from 1."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.backprop import seed, visits
from microgradnet.graph import Value, ancestors
from microgradnet.viz.modules import Cluster, ModuleCalls
from microgradnet.viz.rolling import Roller, Rolls
from microgradnet.viz.values import Line, array_line, number_text, shape_text, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from microgradnet.graph import Array, Node

SHOWABLE = ("shape", "dtype", "value", "grad", "backward", "source")
MOST_MINIATURES = 150  # nodes of a picture that has room for grids of coloured cells
MOST_PIECES, SMALLEST_LIMIT = 8000, 40  # what Graphviz lays out in seconds; nodes that are drawn in any case
MOST_PARALLEL = 8  # edges between the same two nodes; more are drawn as one that says how many


@dataclass(frozen=True)
class PictureNode:
    """A node as it is drawn: ``role`` is one of ``style.LEGEND``, ``cluster`` the call around it."""

    number: int
    role: str
    title: str
    shape: str
    lines: tuple[Line, ...]
    cluster: int | None
    highlighted: bool = False


@dataclass(frozen=True)
class PictureEdge:
    """A value that enters an operation: argument ``position`` of the node ``head``."""

    tail: int
    head: int
    position: int
    label: str
    highlighted: bool = False
    again: bool = False
    """Whether it leads back to the start of what is repeated."""


@dataclass(frozen=True)
class Picture:
    """What a drawing shows, in an order that only the program decides."""

    nodes: tuple[PictureNode, ...]
    edges: tuple[PictureEdge, ...]
    clusters: tuple[Cluster, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Wishes:
    """What a picture is to show; ``draw`` explains each."""

    show: tuple[str, ...] = ("shape", "value", "grad")
    depth: int | None = None
    constants: bool = True
    highlight: tuple[Any, Any] | None = None
    names: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()  # the numbers of the nodes that are example inputs
    limit: int = 2000
    roll: bool = False
    ranked: bool = True  # whether Graphviz lays it out


@dataclass
class Item:
    """A node of the graph, or a constant that enters one (its array where a rule reads it)."""

    node: Node | None
    constant: Any
    arguments: dict[int, int]  # from the position to the item
    cluster: int | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the value; None where it was not kept."""
        if self.node is not None:
            return self.node.shape
        return None if self.constant is None else np.shape(self.constant)


def build(roots: Sequence[Value], wishes: Wishes) -> Picture:
    """Return the picture of everything that the roots were computed from."""
    return Builder(roots, wishes).picture()


class Builder:
    """Builds a picture: items in topological order → groups that are drawn as one → nodes and edges.

    Items are numbered by their place in that order. A group is named by its only item, by −c where the call c
    is drawn as one box, or by ``fold`` for the middle of a graph that is too large.
    """

    def __init__(self, roots: Sequence[Value], wishes: Wishes) -> None:
        self.wishes = wishes
        self.depth = wishes.depth  # smaller where the graph is too large
        starts = [(root, root._node) for root in roots if root._node is not None]
        nodes = ancestors([node for _, node in starts])
        self.ordered = [nodes[number] for number in sorted(nodes)]
        self.calls = ModuleCalls(self.ordered)
        self.items: list[Item] = []
        self.index: dict[int, int] = {}  # from a node's number to its item
        self._collect()
        self.roots = [self.index[node.number] for _, node in starts]
        self.alone = set(self.roots)  # never inside a closed module: the roots, and what only they use
        self._place_leaves()
        self.rolls = Roller(self.items, self.calls, self.alone).rolls() if wishes.roll else Rolls()
        self.fold = -len(self.calls.clusters) - 1
        self.names = self._names()
        self.gradients = _backward(starts) if "backward" in wishes.show else {}
        self.notes: list[str] = []
        self.miniatures = True  # until it is known how many nodes are drawn
        self.places: list[int] = []  # per item, the number of the node that it is drawn as
        self.drawn: tuple[PictureNode, ...] = ()

    # ------------------------------------------------------------------ items

    def _collect(self) -> None:
        """List the nodes, oldest first, each with its constants before it; one array is one constant."""
        arrays: dict[int, int] = {}  # by identity: the nodes keep the arrays alive
        for node in self.ordered:
            arguments: dict[int, int] = {}
            for position, (parent, constant) in enumerate(zip(node.parents, node.args, strict=True)):
                if parent is not None:
                    arguments[position] = self.index[parent.number]
                    continue
                if not self.wishes.constants and np.ndim(constant) == 0:
                    continue
                known = arrays.get(id(constant)) if np.ndim(constant) else None
                if known is None:
                    known = len(self.items)
                    self.items.append(Item(None, constant, {}))
                    if np.ndim(constant):
                        arrays[id(constant)] = known
                arguments[position] = known
            self.index[node.number] = len(self.items)
            self.items.append(Item(node, None, arguments, self.calls.cluster_of(node)))

    def _place_leaves(self) -> None:
        """Put parameters and numbers into the module that uses them; inputs stay outside."""
        users: dict[int, list[int]] = {}
        for i, item in enumerate(self.items):
            for argument in item.arguments.values():
                if self._role(self.items[argument]) in {"parameter", "constant"}:
                    users.setdefault(argument, []).append(i)
        roots = set(self.roots)
        for i, own in users.items():
            clusters = [cluster for user in own if (cluster := self.items[user].cluster) is not None]
            self.items[i].cluster = self.calls.common(dict.fromkeys(clusters))
            if roots.issuperset(own):
                self.alone.add(i)

    def _role(self, item: Item) -> str:
        node = item.node
        if node is None:
            return "input" if np.ndim(item.constant) else "constant"
        if node.primitive is not None:
            return "operation"
        if node.number in self.wishes.inputs:
            return "input"
        known = node.number in self.calls.parameter_names
        return "parameter" if known or node.requires_grad else "input"

    def _names(self) -> dict[int, str]:
        """Return the names of nodes: the caller's, else the parameter's path, else the tensor's own."""
        names = {node.number: node.name for node in self.ordered if node.name}
        names.update({n: path for n, path in self.calls.parameter_names.items() if n in self.index})
        given: dict[int, str] = {}
        for name, value in self.wishes.names.items():
            if isinstance(value, Value) and value._node is not None and value._node.number in self.index:
                given.setdefault(value._node.number, name)
        return {**names, **given}

    # ------------------------------------------------------------------ groups

    def _groups(self, depth: int | None) -> list[int]:
        """Return the group of every item: its twin's in a roll; one per call nested deeper than ``depth``."""
        twins = [self.rolls.twins.get(i, i) for i in range(len(self.items))]
        if depth is None:
            return twins
        box: dict[int | None, int] = {None: 0}
        for cluster in self.calls.clusters:
            chain = self.calls.chain(cluster.number)
            box[cluster.number] = -chain[depth] if len(chain) > depth else 0
        return [i if i in self.alone else box[self.items[i].cluster] or i for i in twins]

    def _fitting_groups(self) -> list[int]:
        """Return groups that are few enough: modules closed from the inside, then the middle folded."""
        limit = self.wishes.limit
        groups = self._groups(self.depth)
        deepest = max([len(self.calls.chain(c.number)) for c in self.calls.clusters], default=0)
        open_levels = deepest if self.depth is None else min(deepest, self.depth)
        while (len(set(groups)) > limit or self._is_long(groups)) and open_levels:
            open_levels -= 1
            self.depth = open_levels
            groups = self._groups(open_levels)
        if self.depth != self.wishes.depth:
            few = len(self.items) <= limit
            reason = "with edges too long to be laid out soon" if few else f"more than limit={limit:,}"
            self.notes.append(
                f"the graph has {len(self.items):,} nodes, {reason}: modules are closed (depth={self.depth})"
            )
        drawn = list(dict.fromkeys(groups))
        fitting, kept = self._folded(groups, drawn, limit)
        while self._is_long(fitting) and limit > SMALLEST_LIMIT:
            limit = min(limit, len(drawn)) * 2 // 3
            fitting, kept = self._folded(groups, drawn, limit)
        if kept:
            few = len(drawn) <= self.wishes.limit
            reason = (
                "have edges too long to be laid out soon"
                if few
                else f"are more than limit={self.wishes.limit:,}"
            )
            self.notes.append(
                f"{len(drawn):,} nodes {reason}: the {len(drawn) - len(kept):,} in the middle are one box"
            )
        return fitting

    def _folded(self, groups: list[int], drawn: list[int], limit: int) -> tuple[list[int], dict[int, None]]:
        """Return the groups with the middle of what is drawn as one, and what is kept beside it."""
        if len(drawn) <= limit:
            return groups, {}
        half = limit // 2
        kept = dict.fromkeys([*drawn[:half], *drawn[len(drawn) - half :], *self.roots])
        return [group if group in kept else self.fold for group in groups], kept

    def _is_long(self, groups: list[int]) -> bool:
        """Whether a layout in ranks would be too much work.

        Graphviz cuts an edge into one piece per rank, and its time grows faster than the number of pieces.
        """
        return self.wishes.ranked and self._pieces(groups) > MOST_PIECES

    def _pieces(self, groups: list[int]) -> int:
        """Return how many ranks all edges together cross, about."""
        ranks: dict[int, int] = {}
        edges: dict[tuple[int, int], None] = {}
        for i, item in enumerate(self.items):
            head = groups[i]
            for argument in item.arguments.values():
                if (tail := groups[argument]) != head:
                    ranks[head] = max(ranks.get(head, 0), ranks.get(tail, 0) + 1)
                    edges[tail, head] = None
        starts: dict[int, int] = {}  # a leaf stands just before its first use
        for tail, head in edges:
            starts[tail] = min(starts.get(tail, ranks[head] - 1), ranks[head] - 1)
        return sum([max(0, ranks[head] - ranks.get(tail, starts[tail])) for tail, head in edges])

    # ------------------------------------------------------------------ the picture

    def picture(self) -> Picture:
        """Return the finished picture."""
        groups = self._fitting_groups()
        on_path = self._on_path()
        members: dict[int, list[int]] = {}
        for i, group in enumerate(groups):
            members.setdefault(group, []).append(i)
        numbers = {group: n for n, group in enumerate(members, 1)}
        self.miniatures = len(members) <= MOST_MINIATURES
        nodes = tuple(
            [
                self._drawn(numbers[group], group, inside, highlighted=any(i in on_path for i in inside))
                for group, inside in members.items()
            ]
        )
        self.places = [numbers[group] for group in groups]
        self.drawn = nodes
        if self.rolls.times:
            self.notes.append("repeated layers are drawn once, with the numbers of the first")
        if any(node.freed for node in self.ordered):
            self.notes.append("a part of the graph was freed by backward(retain_graph=False)")
        used: dict[int, None] = {}
        for node in nodes:
            used.update(dict.fromkeys(self.calls.chain(node.cluster)))
        clusters = tuple([self._titled(c) for c in self.calls.clusters if c.number in used])
        return Picture(nodes, self._edges(groups, numbers, on_path), clusters, tuple(self.notes))

    def _titled(self, cluster: Cluster) -> Cluster:
        return replace(cluster, title=self.rolls.titles.get(cluster.number, cluster.title))

    def _edges(
        self, groups: list[int], numbers: dict[int, int], on_path: dict[int, None]
    ) -> tuple[PictureEdge, ...]:
        """Return every edge of an operation; into a box, every value that enters it once; in a roll, once."""
        edges: list[PictureEdge] = []
        entered: set[tuple[int, ...]] = set()
        twins, times = self.rolls.twins, self.rolls.times
        for i, item in enumerate(self.items):
            head = groups[i]
            for position, argument in item.arguments.items():
                tail = groups[argument]
                if tail == head and head < 0:
                    continue
                key: tuple[int, ...] = ()
                if head < 0:
                    key = (tail if tail == self.fold else twins.get(argument, argument), head)
                elif head in times:
                    key = (tail, head, position)
                if key and key in entered:
                    continue
                entered.add(key)
                again = i in twins and twins.get(argument, argument) in times  # from one to the next
                edges.append(
                    PictureEdge(
                        numbers[tail],
                        numbers[head],
                        position,
                        _carried(self.items[argument].shape)
                        + (f" again, {times[twins[i]] - 1}×" if again else ""),
                        argument in on_path and i in on_path,
                        again,
                    )
                )
        return _bundled(edges)

    def _on_path(self) -> dict[int, None]:
        """Return the items on any path between the two ends that are to be highlighted."""
        if self.wishes.highlight is None:
            return {}
        start, end = [self._find(end) for end in self.wishes.highlight]
        after = {start: None}
        for i, item in enumerate(self.items):
            if any(argument in after for argument in item.arguments.values()):
                after[i] = None
        before, stack = {end: None}, [end]
        while stack:
            for argument in self.items[stack.pop()].arguments.values():
                if argument not in before:
                    before[argument] = None
                    stack.append(argument)
        if end not in after:
            message = (
                f"draw(highlight=…): no path leads from {self._title(self.items[start])} to "
                f"{self._title(self.items[end])}; give the earlier one first, as values flow forward"
            )
            raise ValueError(message)
        return {i: None for i in after if i in before}

    def _find(self, end: Any) -> int:
        """Return the item of a tensor, or of a name."""
        if isinstance(end, Value):
            if end._node is not None and end._node.number in self.index:
                return self.index[end._node.number]
            message = "draw(highlight=…): a tensor that is not part of this graph was given"
            raise ValueError(message)
        for number, name in self.names.items():
            if name == end:
                return self.index[number]
        known = ", ".join(self.names.values()) or "none, give tensors"
        message = f"draw(highlight=…): nothing is called {end!r} here; the names are: {known}"
        raise ValueError(message)

    # ------------------------------------------------------------------ one node

    def _drawn(self, number: int, group: int, inside: list[int], *, highlighted: bool) -> PictureNode:
        if group < 0:
            return self._box(number, group, inside, highlighted=highlighted)
        item = self.items[group]
        role = self._role(item)
        if role == "operation" and group in self.roots:
            role = "output" if item.shape else "loss"
        opened = self.calls.chain(item.cluster)[: self.depth]  # a root stands beside its closed module
        return PictureNode(
            number,
            role,
            self._title(item),
            self._shape(item),
            tuple(self._lines(item, role)),
            opened[-1] if opened else None,
            highlighted,
        )

    def _box(self, number: int, group: int, inside: list[int], *, highlighted: bool) -> PictureNode:
        """Draw many items as one: a closed module, or the middle of a graph that is too large."""
        roles = Counter(self._role(self.items[i]) for i in inside)
        parameters = [self.items[i] for i in inside if self._role(self.items[i]) == "parameter"]
        size = sum(math.prod(item.shape or ()) for item in parameters)
        words = [
            f"{count:,} {role}{'s' * (count > 1)}" + (f" ({size:,} numbers)" if role == "parameter" else "")
            for role, count in sorted(roles.items())
        ]
        lines = (Line("", tuple([(word,) for word in words])),)
        if group == self.fold:
            return PictureNode(number, "fold", f"… {len(inside):,} nodes …", "", lines, None, highlighted)
        cluster = self._titled(self.calls.clusters[-group - 1])
        return PictureNode(number, "module", cluster.title, "", lines, cluster.parent, highlighted)

    def _title(self, item: Item) -> str:
        node = item.node
        if node is None:
            if np.ndim(item.constant):
                return "input"
            return "constant" if item.constant is None else number_text(_plain(item.constant))
        name = short(self.names.get(node.number, ""))
        if node.primitive is None:
            return name or ("parameter" if node.requires_grad else "input")
        return f"{name} = {node.primitive.name}" if name else node.primitive.name

    def _shape(self, item: Item) -> str:
        """Return the shape and dtype as far as they are wanted; a number that shows its value needs none."""
        array = item.constant if item.node is None else item.node.y
        if array is None or (item.node is None and not np.ndim(array)):
            return ""
        shown = self.wishes.show
        texts = []
        if "shape" in shown and (array.ndim or "value" not in shown):
            texts.append(shape_text(array.shape))
        if "dtype" in shown:
            texts.append(str(array.dtype))
        return " ".join(texts)

    def _lines(self, item: Item, role: str) -> list[Line]:
        node, shown = item.node, self.wishes.show
        if node is None:
            if item.constant is None:
                return [Line("", (("value not kept",),))]
            if not np.ndim(item.constant) or "value" not in shown:
                return []
            return [self._array("value", np.asarray(item.constant), role)]
        lines = []
        if settings := settings_text(node):
            lines.append(Line("", ((settings,),)))
        if "source" in shown and node.source:
            lines.append(Line("", ((short(node.source),),)))
        if "value" in shown:
            lines.append(self._array("value", node.y, role))
        if role == "parameter" and not node.requires_grad:
            lines.append(Line("", (("frozen",),)))
        elif "grad" in shown and role != "input" and (node.retains_grad or node.grad is not None):
            missing = Line("grad", (("no gradient yet",),))
            lines.append(missing if (g := node.gradient()) is None else self._array("grad", g, role))
        if node.number in self.gradients:
            lines.append(self._array("∂L", self.gradients[node.number], role))
        return lines

    def _array(self, key: str, array: Array, role: str) -> Line:
        return array_line(key, array, miniature=self.miniatures, image=role == "input" and key == "value")


def settings_text(node: Node) -> str:
    """Return the settings of a node's operation: ``axis=1``."""
    return short(", ".join([f"{k}={v}" for k, v in node.meta.items() if v is not None and v is not False]))


def _backward(roots: Sequence[tuple[Value, Node]]) -> dict[int, Array]:
    """Return ∂root/∂node of every node, by number, from one backward pass that stores nothing."""
    caller = "draw(show=['backward'])"
    seeds = {node: seed(root, None, caller) for root, node in roots if node.requires_grad}
    if not seeds:
        message = f"{caller}: nothing that is drawn requires a gradient, so there is no backward pass to show"
        raise ValueError(message)
    return {node.number: g for node, g, _ in visits(seeds)}


def _carried(shape: tuple[int, ...] | None) -> str:
    """Return the label of an edge: the shape of its value, nothing for a single number."""
    if shape is None:
        return "?"
    return shape_text(shape) if shape else ""


def _bundled(edges: list[PictureEdge]) -> tuple[PictureEdge, ...]:
    """Draw very many edges between the same two nodes as one that says how many."""
    counts = Counter((edge.tail, edge.head) for edge in edges)
    bundles: set[tuple[int, int]] = set()
    kept = []
    for edge in edges:
        ends = (edge.tail, edge.head)
        if counts[ends] <= MOST_PARALLEL:
            kept.append(edge)
        elif ends not in bundles:
            bundles.add(ends)
            kept.append(PictureEdge(*ends, edge.position, f"{counts[ends]:,} edges", edge.highlighted))
    return tuple(kept)


def _plain(constant: Any) -> Any:
    """Return a constant without axes as a Python number."""
    return constant.item() if isinstance(constant, (np.ndarray, np.generic)) else constant
