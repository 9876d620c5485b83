"""The rooms of the package import one way: parsed from every file, held against one table."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "microgradnet"

ENGINE = {"graph", "primitive", "ops", "backprop", "tensor"}
FRAMEWORK = ENGINE | {"nn", "optim"}
TOP = FRAMEWORK | {"serialization", "datasets", "delta", "checking", "compiler", "train"}

# room → the rooms it may import; a room is a file or a folder of the package, "" is its __init__.
MAY_IMPORT: dict[str, set[str]] = {
    "html_table": set(),
    "graph": set(),
    "primitive": {"graph"},
    "ops": {"graph", "primitive"},
    "backprop": {"graph", "primitive", "ops"},
    "tensor": ENGINE | {"html_table"},
    "gradients": ENGINE,
    "nn": ENGINE | {"html_table"},
    "optim": ENGINE,
    "serialization": FRAMEWORK,
    "datasets": set(),
    "delta": set(),
    "viz": ENGINE | {"html_table"},
    "checking": FRAMEWORK | {"gradients", "delta"},
    "compiler": FRAMEWORK | {"datasets"},  # where the user's cache is
    "train": FRAMEWORK | {"compiler", "serialization", "datasets", "html_table"},
    "lab": TOP | {"gradients", "html_table"},
    "testing": TOP | {"gradients"},
    "report": FRAMEWORK | {"train", "checking", "viz"},
    "recipes": {"nn", "optim"},
    "model_source": FRAMEWORK,
    "run_folder": {"serialization", "recipes", "viz"},
    "picture": set(),
    "cli": TOP
    | {"", "gradients", "viz", "lab", "testing", "report"}
    | {"recipes", "model_source", "run_folder", "picture"},
    "__main__": {"cli"},
    "": TOP | {"gradients", "viz", "lab", "testing"},
}

# Packages of the extras: imported where they are used, so that the rest works without them.
EXTRAS = {"pooch", "tqdm", "rich", "matplotlib", "sklearn", "PIL", "safetensors", "onnx", "IPython"}
EXTRAS |= {"numba", "llvmlite"}


class Import(NamedTuple):
    """One imported module, and where it stands."""

    module: str
    line: int
    in_function: bool


def imports_of(path: Path, package: Path) -> Iterator[Import]:
    """Yield the modules that a file imports when it runs; names that only annotate cost no import."""
    inside = path.relative_to(package.parent).with_suffix("").parts
    folder = inside[:-1]  # of the file, as a package, for relative imports

    def visit(node: ast.AST, in_function: bool) -> Iterator[Import]:
        parts = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            parts = list(node.orelse)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # `from microgradnet import nn` imports microgradnet.nn
                yield Import(f"{module}.{alias.name}", node.lineno, in_function)
        inside_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for part in parts:
            yield from visit(part, inside_function)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), in_function=False)


def violations(package: Path, table: dict[str, set[str]]) -> list[str]:
    """List what breaks the rules in a package, as `file:line: sentence`."""
    files = {name_of(path, package): path for path in sorted(package.rglob("*.py"))}
    found: list[str] = []
    edges: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        room = room_of(name, files)
        if room not in table:
            found.append(f"{name}: the room '{room}' is not in the table of test_import_direction.py")
            continue
        for module, line, in_function in imports_of(path, package):
            where = f"{path.relative_to(package.parent).as_posix()}:{line}"
            top = module.split(".")[0]
            if top == package.name:
                target = room_of(module, files)
                edges[name].add(file_of(module, files))
                if target not in {room, *table[room]}:
                    found.append(f"{where}: '{room}' may not import '{target or package.name}'")
                if in_function:
                    found.append(f"{where}: imports {module} inside a function")
            elif in_function and top not in EXTRAS:
                found.append(f"{where}: imports {module} inside a function, and it is no extra")
            elif not in_function and top not in {*sys.stdlib_module_names, "numpy", "graphviz"}:
                found.append(f"{where}: needs {top} on import, which the package does not depend on")
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        found.append("cycle: " + " → ".join(reversed(error.args[1])))
    return found


def name_of(path: Path, package: Path) -> str:
    """Return a file's module name."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_of(module: str, files: dict[str, Path]) -> str:
    """Return the module that a dotted name leads to: `microgradnet.graph.Node` is in microgradnet.graph."""
    while module not in files and "." in module:
        module = module.rpartition(".")[0]
    return module


def room_of(module: str, files: dict[str, Path]) -> str:
    """Return the room that a dotted name is in; "" is the package's own __init__."""
    return file_of(module, files).partition(".")[2].partition(".")[0]


def test_the_package_keeps_the_table():
    assert violations(PACKAGE, MAY_IMPORT) == []


def test_the_table_points_one_way():
    TopologicalSorter({room: allowed - {room} for room, allowed in MAY_IMPORT.items()}).prepare()


TABLE = {"graph": set(), "ops": {"graph"}, "train": {"ops"}, "": {"train"}}
SOUND = {
    "__init__": "from microgradnet.train import fit",
    "graph": "import numpy as np",
    "ops/__init__": "from microgradnet.ops.one import f",
    "ops/one": "from microgradnet.graph import Node",
    "ops/two": "from . import one",
    "train": "from microgradnet import ops\ndef fit():\n    import tqdm",
}


def planted(folder: Path, **changes: str) -> list[str]:
    """List the violations of the sound package with some files changed (`ops__two` is ops/two.py)."""
    package = folder / "microgradnet"
    for name, text in {
        **SOUND,
        **{name.replace("ops__", "ops/"): text for name, text in changes.items()},
    }.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return violations(package, TABLE)


def test_a_sound_package_has_no_violations(tmp_path):
    assert planted(tmp_path) == []


@pytest.mark.parametrize(
    "upward",
    [
        "from microgradnet.train import fit",
        "from microgradnet import train",
        "import microgradnet.train",
        "from . import train",
        "from .train import fit",
        "if True:\n    from microgradnet.train import fit",
        "class C:\n    from microgradnet.train import fit",
        "try:\n    import microgradnet.train\nexcept ImportError:\n    pass",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    from .train import fit",
    ],
)
def test_an_upward_import_is_found(tmp_path, upward):
    found = planted(tmp_path, graph=upward)
    assert any(line.endswith("'graph' may not import 'train'") for line in found), found
    assert any(line.startswith("microgradnet/graph.py:") for line in found)


def test_an_import_of_the_whole_package_is_found(tmp_path):
    assert planted(tmp_path, ops__one="import microgradnet")[:1] == [
        "microgradnet/ops/one.py:1: 'ops' may not import 'microgradnet'",
    ]
    assert planted(tmp_path, ops__one="from .. import fit")[:1] == [
        "microgradnet/ops/one.py:1: 'ops' may not import 'microgradnet'",
    ]


def test_a_name_that_only_annotates_is_no_import(tmp_path):
    only_types = "import typing\nif typing.TYPE_CHECKING:\n    from microgradnet.train import fit"
    assert planted(tmp_path, graph=only_types) == []


def test_a_cycle_inside_a_room_is_found(tmp_path):
    found = planted(tmp_path, ops__one="from microgradnet.ops.two import f")
    assert found == ["cycle: " + found[0].removeprefix("cycle: ")]
    assert {"microgradnet.ops.one", "microgradnet.ops.two"} == set(
        found[0].removeprefix("cycle: ").split(" → ")
    )


def test_an_import_inside_a_function_is_found(tmp_path):
    assert planted(tmp_path, train="def fit():\n    from microgradnet.ops import one") == [
        "microgradnet/train.py:2: imports microgradnet.ops.one inside a function",
    ]
    assert planted(tmp_path, train="class A:\n    def f(self):\n        import json") == [
        "microgradnet/train.py:3: imports json inside a function, and it is no extra",
    ]


def test_an_extra_needed_on_import_is_found(tmp_path):
    assert planted(tmp_path, train="import sklearn.datasets") == [
        "microgradnet/train.py:1: needs sklearn on import, which the package does not depend on",
    ]


def test_a_room_without_a_row_is_found(tmp_path):
    assert planted(tmp_path, attic="") == [
        "microgradnet.attic: the room 'attic' is not in the table of test_import_direction.py",
    ]
