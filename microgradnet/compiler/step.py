"""Compiled: a function that is traced at its first call, and replayed as a program at those that follow."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.errors import CompileError
from microgradnet.compiler.executor import Executor
from microgradnet.compiler.flat import BLOCK, flatten_updates
from microgradnet.compiler.fusion import few_enough, fused
from microgradnet.compiler.guards import MISS, MORE, Guard, Surroundings, captured
from microgradnet.compiler.labels import compare_labels
from microgradnet.compiler.layouts import keep_columns
from microgradnet.compiler.lowering import lowered
from microgradnet.compiler.memory import eager_peak, measured
from microgradnet.compiler.passes import detach_outputs, drop_dead, optimized, order_of_writes
from microgradnet.compiler.picture import nodes_and_edges
from microgradnet.compiler.products import add_products, update_early
from microgradnet.compiler.side_by_side import side_by_side
from microgradnet.compiler.tracing import Tracer
from microgradnet.graph import no_grad, tracer, tracers
from microgradnet.nn.module import Module
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.compiler.picture import ProgramEdge, ProgramNode
    from microgradnet.compiler.program import Program, Slot

MOST = 32
"""Programs that are kept at the same time; the one that was not used for longest is forgotten."""


ALIKE = 4
"""Programs of one signature that are kept: of earlier states of the model, or of other threads."""


class Variant:
    """One signature: its program, and from the second call on its executor."""

    def __init__(self, key: Any, program: Program, guard: Guard) -> None:
        self.key, self.program, self.guard = key, program, guard
        self.executor: Executor | None = None
        self.simple = -1
        """The number of arguments, where each is an array or a tensor."""

    def __call__(self, arrays: tuple[Any, ...]) -> Any:
        """Run the program on the arrays and tensors among the arguments; MISS where it does not fit."""
        if self.executor is None:
            self.executor = Executor(self.program, self.guard.lines)
        found = self.executor.run(*arrays)
        if found is MORE and self.guard.take_over(self.executor.numbers):
            found = self.executor.run(*arrays)
        return MISS if found is MORE else found


class Compiled:
    """A compiled function: call it as the function itself.

    ``program`` is what the latest call ran, as text when it is printed; ``memory()`` says what it holds.
    """

    def __init__(self, function: Callable[..., Any], fallback: str = "error", backend: str = "numpy") -> None:
        if fallback not in {"error", "eager"}:
            message = f"compile: fallback must be 'error' or 'eager', not {fallback!r}"
            raise ValueError(message)
        if backend not in {"numpy", "numba"}:
            message = f"compile: backend must be 'numpy' or 'numba', not {backend!r}"
            raise ValueError(message)
        if backend == "numba" and find_spec("numba") is None:
            message = "backend='numba' needs Numba, which is not installed: pip install 'microgradnet[fast]'"
            raise ModuleNotFoundError(message)
        self._function = function
        self._backend = backend
        self._fallback = fallback
        self._eager: dict[Any, str] = {}
        self._variants: list[Variant] = []
        self._latest: Variant | None = None
        self._quick: tuple[int, Callable[..., Any]] = (-1, function)
        """The latest program as a function, and how many arrays and tensors it takes."""
        self._lock = Lock()
        self.traces = 0
        """How often the function itself has run."""
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Replay the program of this signature; where there is none, trace it."""
        if tracers and tracer() is not None:  # an outer step records these operations as its own
            return self._function(*args, **options)
        count, run = self._quick
        if count == len(args) and not options:
            found = run(*args)
            if found is not MISS and found is not MORE:
                return found
        return self._other(args, options)

    def _other(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        key, arrays = _signature(args, options)
        for variant in list(self._variants):
            if variant.key == key:
                found = variant(arrays)
                if found is not MISS:
                    self._use(variant)
                    return found
        return self._traced(args, options, key)

    def _traced(self, args: tuple[Any, ...], options: dict[str, Any], key: Any) -> Any:
        if key in self._eager:
            return self._function(*args, **options)
        self.traces += 1
        surroundings = Surroundings(self._function)
        now = captured(self._function)
        recorder = Tracer(surroundings.contains)
        try:
            with recorder:
                given, named = _traced_arguments(recorder, args, options)
                result = recorder.finish(self._function(*given, **named))
                if not recorder.once:
                    guard = Guard(recorder, surroundings, now)
                    build(recorder.program, self._backend)
        except CompileError as error:
            if self._fallback != "eager":
                raise
            self._eager[key] = str(error)
            warnings.warn(f"{self.__name__} runs eagerly: {error}", stacklevel=3)
            return self._function(*args, **options)
        program = recorder.program
        if not recorder.once:
            variant = Variant(key, program, guard)
            variant.simple = -1 if options or len(program.arguments) != len(args) else len(args)
            self._use(variant)
        return result

    def _use(self, variant: Variant) -> None:
        """Have the next call try a variant first; forget those that are too many."""
        with self._lock:
            others = [other for other in self._variants if other is not variant]
            alike = [other for other in others if other.key == variant.key]
            forgotten = [*alike[ALIKE - 1 :], *others[MOST - 1 :]]
            self._variants = [variant, *[other for other in others if other not in forgotten]]
            self._latest = variant
            if variant.executor is not None:
                self._quick = (variant.simple, variant.executor.run)

    @property
    def program(self) -> Program:
        """The program that ran last."""
        if self._latest is None:
            message = f"{self.__name__} has not been called yet; its first call makes the program"
            raise RuntimeError(message)
        return self._latest.program

    def nodes_and_edges(self) -> tuple[list[ProgramNode], list[ProgramEdge]]:
        """Return the latest program as a graph, as ``mg.draw`` shows it."""
        return nodes_and_edges(self.program)

    def memory(self) -> dict[str, int]:
        """Return the bytes that the latest program holds for its values, and what eager holds at its peak.

        ``buffers`` are shared by values that are not needed at the same time; ``values`` have memory of their
        own (gradients above all), and those of ``calls`` are allocated by an operation itself. ``eager``
        counts the values that the recorded graph keeps alive, and the most that the sweep and the update add
        to them. Parameters, state and arguments are not counted: they are the same in both.
        """
        return measured(self.program)

    def __repr__(self) -> str:
        return f"<compiled {self.__name__}: {len(self._variants)} programs>"


def build(program: Program, backend: str = "numpy") -> None:
    """Turn what was traced into the program that is executed."""
    program.eager_bytes = eager_peak(program)
    traced = _slots(program)
    drop_dead(program)
    lowered(program)
    optimized(program)
    detach_outputs(program)
    tail = order_of_writes(program)
    updates = set(tail)  # one for each parameter, which become one for all
    others = [op for op in program.operations if op not in updates]
    if backend == "numba":
        compare_labels(program)
    kernels = backend == "numba" and few_enough(program, others)
    if kernels:
        keep_columns(program)
        tail = add_products(program, tail)
    tail = flatten_updates(program, tail, sys.maxsize if kernels else BLOCK)  # kernels need no blocks
    if kernels and few_enough(program, program.operations):
        fused(program, tail)
        update_early(program)
    else:
        side_by_side(program, tail)
    for slot in traced | _slots(program):
        if slot.kind not in {"number", "constant"}:
            slot.value = None  # the arrays of the traced call


def _slots(program: Program) -> set[Slot]:
    found = {slot for op in program.operations for slot in [*op.slots, op.out] if slot is not None}
    return found.union(program.arguments, program.outputs)


def _signature(args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """Return what calls that share a program have in common, and the arrays and tensors they are given."""
    arrays: list[Any] = []

    def of(value: Any) -> Any:
        if isinstance(value, Tensor):
            arrays.append(value)
            array = value._array
            return (type(value), array.shape, array.dtype.str, array.strides, value.requires_grad)
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return (np.ndarray, value.shape, value.dtype.str, value.strides)
        if isinstance(value, (tuple, list)):
            return (type(value), *[of(item) for item in value])
        if isinstance(value, dict):
            return (dict, *[(name, of(item)) for name, item in value.items()])
        if isinstance(value, (bool, int, float, str, type(None), np.generic)):
            return (type(value), value)
        return (type(value), id(value))

    key = (of(args), of(options))
    return key, tuple(arrays)


def _traced_arguments(
    tracer: Tracer, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Put inputs of the program in the place of arrays."""

    def of(value: Any) -> Any:
        if isinstance(value, Tensor):
            tracer.kinds.append(type(value))
            return tracer.argument(value._array, value)
        if isinstance(value, np.ndarray):
            tracer.kinds.append(np.ndarray)
            return tracer.argument(value)
        if isinstance(value, (tuple, list)):
            return type(value)([of(item) for item in value])
        if isinstance(value, dict):
            return {name: of(item) for name, item in value.items()}
        return value

    return of(args), of(options)


def compile(function: Any, *, fallback: str = "error", backend: str = "numpy") -> Compiled:
    """Return a function that records what ``function`` does, once, and replays it as a straight-line program.

    ``function`` is a training step (forward, backward, update), any function of arrays and tensors, or a
    model, which is compiled for inference. The first call with a signature is the eager call itself, with a
    recorder on; later calls give the same numbers, to the last bit.

    ``backend="numba"`` has what runs between the matrix products compiled into machine code, which takes
    seconds at the second call and is kept on disk: arithmetic has the same bits, exp, log and tanh are within
    4 units in the last place, and sums are added up in another order. ``fallback="eager"`` warns, and runs
    as it is, what cannot be compiled.

    Raises
    ------
    ModuleNotFoundError
        If Numba is asked for and not installed; says what to install.
    CompileError
        At the first call, where something cannot be recorded; says what, where, and what to write instead.
        At the second, where Numba's compiler is switched off (``NUMBA_DISABLE_JIT``).

    >>> import numpy as np
    >>> import microgradnet as mg
    >>> model = mg.nn.Sequential(mg.nn.Linear(2, 3), mg.nn.Tanh(), mg.nn.Linear(3, 1))
    >>> fast = mg.compile(model.eval())
    >>> x = np.ones((4, 2), np.float32)
    >>> bool((fast(x) == model(x)).data.all()), bool((fast(2 * x) == model(2 * x)).data.all())
    (True, True)
    """
    if isinstance(function, Module):
        model = function

        def inference(*inputs: Any) -> Any:
            with no_grad():
                return model(*inputs)

        inference.__name__ = type(model).__name__
        return Compiled(inference, fallback, backend)
    if not callable(function):
        message = f"compile takes a function or a module, not {type(function).__name__}"
        raise TypeError(message)
    return Compiled(function, fallback, backend)


def constant(value: Any) -> Tensor:
    """Return a tensor that never changes: a copy of ``value``, which a compiled step may keep.

    >>> import microgradnet as mg
    >>> mg.constant([1.0, 2.0])
    Tensor([1., 2.])
    """
    array = np.array(value._array if isinstance(value, Tensor) else value)
    array.flags.writeable = False
    return Tensor(array)
