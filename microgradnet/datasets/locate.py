"""Where published data are: the folder given, $MICROGRADNET_DATA, the user's cache, else their mirrors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from microgradnet.datasets.download import download_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microgradnet.datasets.published import Published

ENVIRONMENT = "MICROGRADNET_DATA"
PathLike: TypeAlias = str | os.PathLike[str]


def cache_dir() -> Path:
    r"""Return where data are kept for this user.

    `$XDG_CACHE_HOME/microgradnet` or `~/.cache/microgradnet`, on macOS `~/Library/Caches/microgradnet`, on
    Windows `%LOCALAPPDATA%\microgradnet`.
    """
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "microgradnet")


def roots(data_dir: PathLike | None) -> list[Path]:
    """Return the folders to look in, of which the first takes downloads; one that is given stands alone."""
    if data_dir is not None:
        return [Path(data_dir).expanduser()]
    named = os.environ.get(ENVIRONMENT)
    return [Path(named).expanduser(), cache_dir()] if named else [cache_dir()]


def obtain(
    published: Published,
    data_dir: PathLike | None,
    *,
    download: bool,
    accept: Callable[[list[Path]], bool] = lambda _: True,
) -> list[Path]:
    """Return the files of one layout of a data set, downloaded where they are not found.

    Raises
    ------
    FileNotFoundError
        If there are none and `download` is off; says what was looked for and where.
    ModuleNotFoundError, OSError, ConnectionError
        If they cannot be downloaded.
    """
    name, folders = published.name, roots(data_dir)
    places = [place for folder in folders for place in (folder / name, folder)]
    refused = []
    for place in places:
        for paths in _complete_layouts(published, place):
            if accept(paths):
                return paths
            refused.append(place)
    if download:
        download_all(name, published.remotes, folders[0] / name)
        return obtain(published, folders[0], download=False, accept=accept)
    wanted = " or ".join(", ".join(f"{file}[.gz]" for file in layout) for layout in published.layouts)
    looked = "".join(f"\n  {place}{' (has another data set)' * (place in refused)}" for place in places)
    raise FileNotFoundError(
        f"{name}: looked for {wanted} in{looked}\n"
        f"Put the files there, point data_dir or ${ENVIRONMENT} at them, or let download=True"
    )


def _complete_layouts(published: Published, folder: Path) -> Iterator[list[Path]]:
    for layout in published.layouts:
        choices = [[folder / file, folder / f"{file}.gz"] for file in layout]
        found = [next((path for path in pair if path.is_file()), None) for pair in choices]
        paths = [path for path in found if path is not None]
        if len(paths) == len(layout):
            yield paths
