"""A program as nodes and edges: what is computed from what, and in which memory it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from microgradnet.compiler.memory import STATIC, Memory

if TYPE_CHECKING:
    from microgradnet.compiler.program import Operation, Program, Slot


class ProgramNode(NamedTuple):
    """A value or a call: ``role`` is input, parameter, constant, operation or output."""

    role: str
    title: str
    shape: tuple[int, ...]
    memory: str
    """Where the result lies; the same words at two nodes are the same memory, one after the other."""


class ProgramEdge(NamedTuple):
    """A value that enters a call as its argument number ``position``."""

    tail: int
    head: int
    position: int


def nodes_and_edges(program: Program) -> tuple[list[ProgramNode], list[ProgramEdge]]:
    """Return a node for each input, constant and operation, and an edge for each use."""
    nodes: list[ProgramNode] = []
    edges: list[ProgramEdge] = []
    places: dict[Slot, int] = {}
    regions: dict[object, int] = {}
    offsets = Memory(program).offsets
    outputs = {slot for slot in program.outputs if slot.kind == "result"}

    def place(slot: Slot) -> int:
        if slot not in places:
            regions.setdefault(slot.storage and slot.storage[0], len(regions))
            places[slot] = len(nodes)
            role, title = _entry(program, slot, regions)
            nodes.append(ProgramNode(role, title, slot.shape, ""))
            made = [other for other in places if other is not slot and _overlap(other, slot)]
            makers = dict.fromkeys([places[other] for other in made if other.kind == "result"])
            edges.extend([ProgramEdge(maker, places[slot], i) for i, maker in enumerate(makers)])
        return places[slot]

    for op in program.operations:
        tails = [(i, place(arg)) for i, arg in enumerate(op.args) if hasattr(arg, "kind")]
        head = len(nodes)
        role = "output" if op.out in outputs else "operation"
        shape = op.out.shape if op.out is not None else ()
        nodes.append(ProgramNode(role, op.name, shape, _memory(op, offsets, regions)))
        edges += [ProgramEdge(tail, head, i) for i, tail in tails]
        if op.out is not None:
            places[op.out] = head
    return nodes, edges


def _overlap(a: Slot, b: Slot) -> bool:
    """Whether two slots lie in the same part of the same memory."""
    if a.storage is None or b.storage is None or a.storage[0] is not b.storage[0]:
        return False
    return a.storage[1] < b.storage[1] + b.size and b.storage[1] < a.storage[1] + a.size


def _entry(program: Program, slot: Slot, regions: dict[object, int]) -> tuple[str, str]:
    """Return role and title of a slot that no operation makes."""
    if slot.kind == "argument":
        return "input", f"argument {slot.source}"
    if slot.kind == "state":
        return "parameter", program.called(slot.source)
    if slot.kind == "constant":
        return "constant", f"{slot.source.item():g}" if not slot.shape else "constant"
    if slot.kind == "number":
        return "constant", "hyperparameter"
    storage, start = slot.storage or (None, 0)
    kind = "parameter" if storage is not None and storage.tensors else "operation"
    return kind, f"memory {regions[storage]}[{start}:{start + slot.size}]"


def _memory(op: Operation, offsets: dict[Slot, int], regions: dict[object, int]) -> str:
    """Say where a result lies."""
    if op.out is None:
        return "a check"
    if op.in_registers:
        return "registers"
    if op.out.storage is not None:
        storage, start = op.out.storage
        region = regions.setdefault(storage, len(regions))
        return f"{region}[{start}:{start + op.out.size}]"
    if op.kind in STATIC:
        return f"buffer at {offsets[op.out]:,}"
    return "a view" if op.kind == "view" else "its own"
