"""A step recorded once and replayed as a straight-line program in memory that is allocated once."""

from microgradnet.compiler.errors import CompileError
from microgradnet.compiler.program import Operation, Program, Slot
from microgradnet.compiler.step import Compiled, compile, constant

__all__ = ["CompileError", "Compiled", "Operation", "Program", "Slot", "compile", "constant"]
