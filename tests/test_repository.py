"""What holds for the repository as a whole: its layout, and what no file of it may contain."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYOUT = [
    ".ci/run",
    ".github/workflows/ci.yml",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "docs/design.md",
    "examples",
    "microgradnet/__init__.py",
    "microgradnet/__main__.py",
    "microgradnet/cli.py",
    "microgradnet/py.typed",
    "pyproject.toml",
    "quickstart.py",
    "tests/conftest.py",
]

# Written in pieces, so that this file contains none of them.
FORBIDDEN = {
    "a path of one machine": re.compile(
        r"(?:///|(?<![\w.~/-])/)(?:"
        + "|".join(["work", "root", "opt/venv", "home/" + r"\w+", "Users/" + r"\w+"])
        + r")\b",
    ),
    "a drive of one machine": re.compile(r"\b[C-Z]:" + r"\\{1,2}Users\b", re.IGNORECASE),
    "a package registry's host": re.compile(
        r"\b(?:"
        + "|".join(
            [
                "py" + r"pi\.(?:org|python\.org)",
                "files.python" + r"hosted\.org",
                "python" + r"hosted\.org",
                "download.py" + r"torch\.org",
                r"(?:deb|security|ftp)(?:\.\w+)?\." + r"debian\.org",
                r"(?:archive|security)\." + r"ubuntu\.com",
                "registry." + r"npmjs\.org",
                r"(?:conda\.)?ana" + r"conda\.org",
            ],
        )
        + r")\b",
    ),
}


def tracked(*suffixes: str) -> list[Path]:
    """List the files of the repository: what git keeps or would keep; outside a checkout, what lies here."""
    git = [
        "git",
        "-C",
        str(ROOT),
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    if (ROOT / ".git").exists() and shutil.which("git"):
        names = subprocess.run(git, capture_output=True, check=True, encoding="utf-8").stdout.split("\0")
        paths = [ROOT / name for name in names if name]
    else:
        made = {".venv", "runs", "build", "dist"}
        paths = [
            path
            for path in ROOT.rglob("*")
            if not any(
                part in made or "cache" in part or (part[0] == "." and part not in {".ci", ".github"})
                for part in path.relative_to(ROOT).parts[:-1]
            )
        ]
    return sorted(path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes))


def named(path: Path) -> str:
    """Return a file's path in the repository."""
    return path.relative_to(ROOT).as_posix()


def forbidden_in(text: str) -> Iterator[str]:
    """Yield what a text contains and may not, as `line: what: the piece`."""
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in FORBIDDEN.items():
            for match in pattern.finditer(line):
                yield f"{number}: {what}: {match.group()}"


def test_the_layout_is_there():
    assert [name for name in LAYOUT if not (ROOT / name).exists()] == []


def test_the_files_are_found():
    found = {named(path) for path in tracked()}
    assert {"pyproject.toml", "tests/test_repository.py", ".ci/run"} <= found
    assert not any(name.startswith((".venv/", ".git/")) for name in found)


def test_no_file_names_a_machine_or_a_registry():
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            found += [f"{named(path)}:{piece}" for piece in forbidden_in(content.decode("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "cd /" + "work/main",
        "see `/" + "root/.cache`",
        "file:///" + "home/ada/x",
        '"/' + 'Users/ada"',
        "C:" + "\\Users\\ada",
        "https://py" + "pi.org/simple",
        "https://files.python" + "hosted.org/x",
        "http://deb." + "debian.org/debian",
    ],
)
def test_a_forbidden_piece_is_found(text):
    assert [piece[:3] for piece in forbidden_in(f"first line\nx = {text}")] == ["2: "]


@pytest.mark.parametrize(
    "text", ["docs/work/x", "https://root.cern", "~/work", "/usr/bin/python3", "/homeward"]
)
def test_an_ordinary_piece_is_not(text):
    assert list(forbidden_in(text)) == []


def test_every_python_file_says_its_purpose():
    silent = [
        named(path)
        for path in tracked(".py")
        if not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()
    ]
    assert silent == []


def test_examples_are_short():
    most = {"examples": 60, "examples/classics": 80}
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in tracked(".py")
        if named(path).startswith("examples/")
    }
    assert {named(p): n for p, n in lengths.items() if n > most[named(p.parent)]} == {}


def prints(source: str) -> list[int]:
    """List the lines that call print."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def test_only_the_command_line_prints():
    printing = {
        named(path): prints(path.read_text(encoding="utf-8"))
        for path in tracked(".py")
        if named(path).startswith("microgradnet/") and named(path) != "microgradnet/cli.py"
    }
    assert {name: lines for name, lines in printing.items() if lines} == {}


def test_a_print_is_found():
    assert prints("def f():\n    if x:\n        print(1)\n# print(2)\n'print(3)'\nx.print(4)") == [3]


def test_commands_can_be_run():
    assert (ROOT / ".ci/run").stat().st_mode & 0o111, "chmod +x .ci/run"


def test_the_makefile_runs_files_that_exist():
    named_files = re.findall(r"\S+\.py\b", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert [name for name in named_files if not (ROOT / name).exists()] == []
