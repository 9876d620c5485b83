"""Machine code: kernels in Python, compiled by Numba, and kept on disk for the next process."""

from __future__ import annotations

import hashlib
import pickle
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler.errors import CompileError
from microgradnet.compiler.words import words
from microgradnet.datasets.locate import cache_dir

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = 200
"""How many programs are kept on disk, some 100 kB each; the oldest are deleted."""
NAME = "kernel_name"
"""What stands in a text for the name of its function."""
BROKEN = (
    EOFError,
    pickle.UnpicklingError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ImportError,
)
"""What a damaged file of the cache raises when it is read."""


@cache
def compiled(texts: tuple[str, ...]) -> list[Callable[..., None]]:
    """Return functions compiled from the texts of kernels, or loaded from where they have been kept.

    The file in the user's cache is named after all that decides what is compiled; Numba adds the processor.
    Where it cannot be written, the functions are compiled for this process alone. Raises CompileError where
    Numba's compiler is switched off.
    """
    import numba

    if numba.config.DISABLE_JIT:
        message = (
            "backend='numba' needs Numba's compiler, which NUMBA_DISABLE_JIT=1 (or Numba's configuration) "
            "switches off: unset it, or compile with backend='numpy'"
        )
        raise CompileError(message)
    here = Path(__file__).parent
    parts = [*texts, numba.__version__, np.__version__, sys.version]
    parts += [(here / name).read_text(encoding="utf-8") for name in ("words.py", "vector_math.py")]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    names = [f"kernel{i}_{digest}" for i in range(len(texts))]  # no two functions of a process have one name
    text = "\n".join([text.replace(NAME, name) for name, text in zip(names, texts, strict=True)])
    path = cache_dir() / "kernels" / f"{digest}.py"
    found = _kept(text, path)
    # An entry point is called with what its signature says: the dispatcher would look at the types again.
    return [next(iter(found[name].overloads.values())).entry_point for name in names]


def _kept(text: str, path: Path) -> dict[str, Any]:
    """Run a text as the file that it is kept in, or without one where nothing can be kept."""
    try:
        if _written(path, text):
            try:
                return _run(text, str(path), keep=True)
            except BROKEN:
                _delete(path)
                if _written(path, text):
                    return _run(text, str(path), keep=True)
    except (RuntimeError, OSError):  # Numba can write nowhere, the disk is full, another process deletes
        pass
    return _run(text, "<kernels>", keep=False)


def _run(text: str, name: str, *, keep: bool) -> dict[str, Any]:
    import numba

    def kernel(signature: Any) -> Any:
        return numba.njit(signature, cache=keep, error_model="numpy")

    scope = {**words(), "kernel": kernel, "__name__": __name__}
    exec(compile(text, name, "exec"), scope)  # noqa: S102 - our own text: loops
    return scope


def _written(path: Path, text: str) -> bool:
    """Have a file hold a text; tell whether it does."""
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return True
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # never seen half written
            part = Path(folder, path.name)
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        for old in sorted(path.parent.glob("*.py"), key=lambda file: file.stat().st_mtime)[:-PROGRAMS]:
            _delete(old)
    except (OSError, UnicodeDecodeError):
        return False
    return True


def _delete(path: Path) -> None:
    for file in [path, *path.parent.glob(f"__pycache__/{path.stem}.*")]:
        file.unlink(missing_ok=True)
