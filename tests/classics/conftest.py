"""What the tests of the classics share: an example as a module, and what the gallery shows of it."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NUMBER = re.compile(r"[+−-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@pytest.fixture(scope="session")
def classic() -> Callable[[str], ModuleType]:
    """Return what loads an example of examples/classics by name, without running it."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / "classics" / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def gallery() -> Callable[[str], list[str]]:
    """Return what gives the lines that docs/gallery.md shows as the output of an example."""

    def lines(name: str) -> list[str]:
        page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
        command = rf"python examples/classics/{name}\.py[^\n]*\n```\n\n```text\n(.*?)```"
        found = re.search(command, page, re.DOTALL)
        assert found, f"docs/gallery.md has no section with the command of {name}"
        return found.group(1).splitlines()

    return lines


@pytest.fixture(scope="session")
def same() -> Callable[[list[str], list[str]], None]:
    """Return what holds lines against lines: words exactly, numbers to 1 %, rounding errors as such."""

    def check(printed: list[str], shown: list[str]) -> None:
        assert len(printed) == len(shown)
        for line, other in zip(printed, shown, strict=True):
            ours, theirs = (" ".join(NUMBER.sub("#", text).split()) for text in (line, other))
            assert ours == theirs
            values, wanted = (
                [float(n.replace("−", "-")) for n in NUMBER.findall(text)] for text in (line, other)
            )
            assert values == pytest.approx(wanted, rel=1e-2, abs=1e-9), f"{line}\n{other}"

    return check
