"""A drawn graph as a file: DOT text always, SVG, PNG and PDF where Graphviz's dot is installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    import graphviz

TEXT_SUFFIXES = (".dot", ".gv")
SUFFIXES = (".svg", ".png", ".pdf", *TEXT_SUFFIXES)

# The package managers that a system may have, in the order in which they are looked for.
INSTALL_COMMANDS = {
    "apt-get": "sudo apt-get install graphviz",
    "dnf": "sudo dnf install graphviz",
    "pacman": "sudo pacman -S graphviz",
    "zypper": "sudo zypper install graphviz",
    "apk": "sudo apk add graphviz",
    "brew": "brew install graphviz",
    "port": "sudo port install graphviz",
    "winget": "winget install graphviz",
    "choco": "choco install graphviz",
    "conda": "conda install graphviz",
}
DOWNLOADS = "https://graphviz.org/download/"


def install_command() -> str:
    """Return what installs Graphviz's ``dot`` on this system, or where to find it."""
    for manager, command in INSTALL_COMMANDS.items():
        if shutil.which(manager):
            return command
    default = {"darwin": INSTALL_COMMANDS["brew"], "win32": INSTALL_COMMANDS["winget"]}
    return default.get(sys.platform, f"see {DOWNLOADS}")


def need_dot(what: str, instead: str = "draw(…, format='text')") -> None:
    """Refuse where Graphviz's ``dot`` is missing, and say how to install it here."""
    if shutil.which("dot") is None:
        message = (
            f"Graphviz's dot is not installed, and {what} needs it: {install_command()} "
            f"(without it: {instead})"
        )
        raise FileNotFoundError(message)


def target_file(path: str | os.PathLike[str], caller: str) -> Path:
    """Return a path that can be written to, as far as its folder tells."""
    target = Path(path)
    if target.is_dir():
        message = f"{caller}: '{target}' is a folder; give the name of a file in it"
        raise IsADirectoryError(message)
    if not target.parent.is_dir():
        message = f"{caller}: the folder '{target.parent}' does not exist; create it first"
        raise FileNotFoundError(message)
    return target


def render(graph: graphviz.Digraph, path: str | os.PathLike[str]) -> Path:
    """Write a graph to a file, in the format that its ending names; returns the path.

    ``.dot`` and ``.gv`` hold the DOT text and need no other program; ``.svg``, ``.png`` and ``.pdf`` are made
    by Graphviz's ``dot``.

    Raises
    ------
    ValueError
        Where the ending is another one.
    FileNotFoundError
        Where ``dot`` is missing (the message says how to install it here), or the folder.
    """
    target = target_file(path, "render()")
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        message = f"render: '{target.name}' must end in one of {', '.join(SUFFIXES)}"
        raise ValueError(message)
    if suffix in TEXT_SUFFIXES:
        target.write_text(graph.source, encoding="utf-8")
        return target
    need_dot(suffix, f"{target.stem}.dot, or draw(…, format='text')")
    target.write_bytes(graph.pipe(format=suffix[1:]))
    return target
