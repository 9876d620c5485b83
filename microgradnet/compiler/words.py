"""Words: what kernels are written with, as instructions to the compiler."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler import blas, vector_math

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def words() -> dict[str, Any]:
    """Return the functions that a kernel calls, and the types of its parameters."""
    from numba import types
    from numba.extending import overload, register_jitable

    own = {**_choices(), **_polynomials(), **_powers(), **_parts()}
    for name in sorted(own.keys() & vars(vector_math).keys()):
        function = getattr(vector_math, name)
        overload(function)(_calling(own[name], list(inspect.signature(function).parameters)))
    functions = {
        f"{name}_{kind}": register_jitable(function)
        for kind in ("float32", "float64")
        for name, function in vector_math.functions(kind).items()
    }
    return {**own, **_pointers(), **_memory(), **_products(), **functions, "np": np, "types": types}


def _calling(word: Any, parameters: list[str]) -> Any:
    """Return what tells Numba to call a word of ours, with parameters of the names that it expects."""
    names = ", ".join(parameters)
    scope: dict[str, Any] = {"word": word}
    exec(f"def given({names}):\n    return lambda {names}: word({names})", scope)  # noqa: S102 - our own text
    return scope["given"]


def _intrinsic(*, literal: bool = False) -> Callable[[Any], Any]:
    """Return the decorator of functions that return a signature, and what writes the instructions.

    With ``literal`` the types of arguments that are constants say their values.
    """
    from numba.extending import intrinsic

    made: Callable[[Any], Any] = intrinsic(prefer_literal=literal)
    return made


# ---------------------------------------------------------------------- memory


def _pointers() -> dict[str, Any]:
    """Return what makes pointers of addresses, and reads addresses from a table."""
    from llvmlite import ir
    from numba import types

    word = ir.IntType(64)
    kinds = {"float32": ir.FloatType(), "float64": ir.DoubleType(), "bool": ir.IntType(8)}
    kinds |= {f"{sign}{bits}": ir.IntType(bits) for sign in ("int", "uint") for bits in (8, 16, 32, 64)}

    def pointer_to(kind: str) -> Any:
        result = types.CPointer(types.boolean if kind == "bool" else getattr(types, kind))

        @_intrinsic()
        def pointer(_: Any, address: Any) -> Any:
            def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                return builder.inttoptr(args[0], kinds[kind].as_pointer())

            return result(types.int64), code

        return pointer

    @_intrinsic()
    def address(_: Any, table: Any, place: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.load(builder.gep(builder.inttoptr(args[0], word.as_pointer()), [args[1]]))

        return types.int64(types.int64, types.int64), code

    return {**{f"pointer_{kind}": pointer_to(kind) for kind in kinds}, "address": address}


def _memory() -> dict[str, Any]:
    """Return what reads and writes memory.

    A load or store is told which region it is in, of how many, in which part of the code. Regions of a part
    do not overlap; a compiler that cannot know it does one number at a time, where it might do eight.
    """
    from llvmlite import ir
    from numba import types

    def marked(builder: Any, instruction: Any, *numbers: Any) -> None:
        region, count, part = [number.literal_value for number in numbers]
        module = builder.module
        domain = module.add_metadata([ir.MetaDataString(module, f"memory {part}")])
        every = [module.add_metadata([ir.MetaDataString(module, f"{i}"), domain]) for i in range(count)]
        instruction.set_metadata("alias.scope", module.add_metadata([every[region]]))
        if count > 1:
            others = [scope for i, scope in enumerate(every) if i != region]
            instruction.set_metadata("noalias", module.add_metadata(others))

    @_intrinsic(literal=True)
    def load(_: Any, start: Any, place: Any, region: Any, count: Any, part: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            value = builder.load(builder.gep(args[0], [args[1]]))
            marked(builder, value, region, count, part)
            return builder.trunc(value, ir.IntType(1)) if start.dtype is types.boolean else value

        return start.dtype(start, types.int64, region, count, part), code

    @_intrinsic(literal=True)
    def store(_: Any, start: Any, place: Any, value: Any, region: Any, count: Any, part: Any) -> Any:
        def code(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            value = builder.zext(args[2], ir.IntType(8)) if start.dtype is types.boolean else args[2]
            done = builder.store(value, builder.gep(args[0], [args[1]]))
            marked(builder, done, region, count, part)
            return context.get_dummy_value()

        return types.void(start, types.int64, start.dtype, region, count, part), code

    return {"load": load, "store": store}


# ---------------------------------------------------------------------- matrix products


def _products() -> dict[str, Any]:
    from llvmlite import ir
    from numba import types

    choice, whole = ir.IntType(32), ir.IntType(64)

    def gemm_of(kind: str) -> Any:
        number = getattr(types, kind)
        float_kind = ir.FloatType() if kind == "float32" else ir.DoubleType()
        matrix = [float_kind.as_pointer(), whole]
        parts = [choice] * 3 + [whole] * 3 + [float_kind, *matrix, *matrix, float_kind, *matrix]
        function = ir.FunctionType(ir.VoidType(), parts).as_pointer()
        signature = types.void(
            types.int64,
            types.UniTuple(types.int64, 8),
            types.UniTuple(number, 2),
            types.UniTuple(types.CPointer(number), 3),
        )

        @_intrinsic()
        def gemm(_: Any, address: Any, layout: Any, scales: Any, matrices: Any) -> Any:
            """Call the product: C ← α·op(A)·op(B) + β·C.

            ``layout``: how A and B are turned, rows and columns of C, what is summed over, and the steps from
            row to row of A, B and C; ``scales``: α and β.
            """

            def code(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                given = [[builder.extract_value(x, i) for i in range(x.type.count)] for x in args[1:]]
                (turn_a, turn_b, *sizes, step_a, step_b, step_c), (alpha, beta), (a, b, c) = given
                turns = [choice(blas.BY_ROWS), *[builder.trunc(turn, choice) for turn in (turn_a, turn_b)]]
                matrices = [alpha, a, step_a, b, step_b, beta, c, step_c]
                builder.call(builder.inttoptr(args[0], function), [*turns, *sizes, *matrices])
                return context.get_dummy_value()

            return signature, code

        return gemm

    return {f"gemm_{kind}": gemm_of(kind) for kind in blas.LETTERS}


# ---------------------------------------------------------------------- arithmetic


def _known(builder: Any, name: str, kind: Any, count: int) -> Any:
    """Return a function that LLVM knows, of some arguments of one type."""
    from llvmlite import ir

    return builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind] * count))


def _choices() -> dict[str, Any]:
    from numba import types

    @_intrinsic()
    def reordered_add(_: Any, a: Any, b: Any) -> Any:
        """Add, in whatever order is quick for the sum of many."""

        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.fadd(*args, flags=("reassoc", "nsz"))

        return a(a, b), code

    @_intrinsic()
    def select(_: Any, condition: Any, a: Any, b: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.select(*args)

        return a(types.boolean, a, b), code

    @_intrinsic()
    def with_sign(_: Any, x: Any, y: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.call(_known(builder, "llvm.copysign", args[0].type, 2), args)

        return x(x, y), code

    return {"reordered_add": reordered_add, "select": select, "with_sign": with_sign}


def _polynomials() -> dict[str, Any]:
    @_intrinsic()
    def multiply_add(_: Any, a: Any, b: Any, c: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.call(_known(builder, "llvm.fmuladd", args[0].type, 3), args)

        return a(a, b, c), code

    @_intrinsic()
    def polynomial(_: Any, x: Any, coefficients: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            function = _known(builder, "llvm.fmuladd", args[0].type, 3)
            parts = [builder.extract_value(args[1], i) for i in range(len(coefficients))]
            y = parts.pop()
            while parts:
                y = builder.call(function, [y, args[0], parts.pop()])
            return y

        return x(x, coefficients), code

    return {"multiply_add": multiply_add, "polynomial": polynomial}


class _Bits:
    """A floating number as an integer of the same size: how many digits its fraction has, and its bias."""

    def __init__(self, kind: Any) -> None:
        from llvmlite import ir

        info = np.finfo(kind.name)
        self.word = ir.IntType(info.bits)
        self.digits, self.bias = self.word(info.nmant), self.word(info.maxexp - 1)
        whole = np.dtype(f"i{info.bits // 8}")
        self.magic = self.word(int(vector_math.magic(kind.name).view(whole)))
        self.root = self.word(int(np.sqrt(np.dtype(kind.name).type(0.5)).view(whole)))

    def integer(self, builder: Any, shifted: Any) -> Any:
        """Return the n of shifted = n + magic."""
        return builder.sub(builder.bitcast(shifted, self.word), self.magic)

    def power(self, builder: Any, n: Any, kind: Any) -> Any:
        """Return 2ⁿ."""
        return builder.bitcast(builder.shl(builder.add(n, self.bias), self.digits), kind)

    def exponent(self, builder: Any, number: Any) -> Any:
        """Return the n of 2ⁿ·m with √½ ≤ m < √2, for a number's bits."""
        return builder.ashr(builder.sub(number, self.root), self.digits)


def _powers() -> dict[str, Any]:
    @_intrinsic()
    def times_power(_: Any, x: Any, shifted: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            bits, kind = _Bits(x), args[0].type
            n = bits.integer(builder, args[1])
            half = builder.ashr(n, bits.word(1))
            first = builder.fmul(args[0], bits.power(builder, half, kind))
            return builder.fmul(first, bits.power(builder, builder.sub(n, half), kind))

        return x(x, shifted), code

    @_intrinsic()
    def power_of_2(_: Any, shifted: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            bits = _Bits(shifted)
            return bits.power(builder, bits.integer(builder, args[0]), args[0].type)

        return shifted(shifted), code

    return {"times_power": times_power, "power_of_2": power_of_2}


def _parts() -> dict[str, Any]:
    @_intrinsic()
    def exponent(_: Any, x: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            bits = _Bits(x)
            return builder.sitofp(bits.exponent(builder, builder.bitcast(args[0], bits.word)), args[0].type)

        return x(x), code

    @_intrinsic()
    def fraction(_: Any, x: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            bits = _Bits(x)
            number = builder.bitcast(args[0], bits.word)
            n = builder.shl(bits.exponent(builder, number), bits.digits)
            return builder.bitcast(builder.sub(number, n), args[0].type)

        return x(x), code

    return {"exponent": exponent, "fraction": fraction}
