"""CompileError: a step cannot be compiled, and why."""


class CompileError(TypeError):
    """What the step does cannot be recorded; the message says what, where, and what to write instead."""
