"""Download of published files: mirrors in turn, resumed, verified, and only then under their own name."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microgradnet.datasets.files import DataFileError, read_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ATTEMPTS = 5  # per mirror; a further one is made only while the file grows
_CHUNK = 1 << 16  # bytes; of a transfer that breaks, whole chunks are kept
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Remote:
    """A file on mirrors and the checksum that a copy of it must have.

    Mirrors wrap the same MNIST in different gzip files, so that with `unpacked` the checksum is one of the
    decompressed bytes.
    """

    name: str
    mirrors: tuple[str, ...]
    algorithm: str
    digest: str
    unpacked: bool = False

    def verify(self, path: Path) -> None:
        """Raise DataFileError unless the file at `path` is the published one."""
        expected = f"{self.name} with {self.algorithm} {self.digest}"
        unpacked = read_bytes(path, expected)  # names a web page or broken gzip, which a digest does not
        data = unpacked if self.unpacked else path.read_bytes()
        found = hashlib.new(self.algorithm, data, usedforsecurity=False).hexdigest()
        if found != self.digest:
            raise DataFileError(path, expected, f"{self.algorithm} {found}")


def download_all(name: str, remotes: Sequence[Remote], folder: Path) -> None:
    """Download the files of data set `name` into `folder`, except those that are there.

    A file is written aside, verified, then renamed. An interrupted download is resumed by the next one.

    Raises
    ------
    ModuleNotFoundError
        If pooch is not installed.
    OSError
        If `folder` cannot be written to.
    ConnectionError
        If no mirror gives a file with the right checksum; says what each one answered.
    """
    advice = f"put {', '.join(remote.name for remote in remotes)} into {folder}"
    try:
        import pooch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{name} is not on this machine: pip install 'microgradnet[data]' to download it, or {advice}"
        ) from None
    for remote in remotes:
        target = folder / remote.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            answers = [] if target.exists() else _download(remote, target, pooch)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OSError(f"{name} cannot be saved in {folder} ({reason}): name another data_dir") from None
        if answers:
            raise ConnectionError(
                f"{name} could not be downloaded ({'; '.join(answers)}): check the network, or {advice}"
            )


def _download(remote: Remote, target: Path, pooch: Any) -> list[str]:
    """Download one file to `target`; return what went wrong with each mirror, nothing once one succeeded."""
    left_over = target.with_name(f"{target.name}.part")
    # Each download writes into a file of its own, so that two at once cannot mix their bytes.
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    with suppress(FileNotFoundError):
        left_over.replace(part)
    answers = []
    try:
        for mirror in remote.mirrors:
            answer = _try_mirror(mirror + remote.name, part, remote, pooch)
            if answer is None:
                part.replace(target)
                return []
            answers.append(f"{mirror}{remote.name}: {answer}")
    finally:
        if _size(part):
            part.replace(left_over)
        else:
            part.unlink(missing_ok=True)
    return answers


def _try_mirror(url: str, part: Path, remote: Remote, pooch: Any) -> str | None:
    """Complete `part` from one mirror; return None once it is verified, else what went wrong."""
    answer = "no answer"
    for _ in range(_ATTEMPTS):
        start = _size(part)
        try:
            _append(url, part, start, pooch)
            remote.verify(part)
        except DataFileError as error:
            answer = str(error).replace(str(part), "the file")
            part.unlink()
            if start == 0:
                return answer
            # Otherwise the part that was resumed may have been the wrong one: once more from the start.
        except OSError as error:
            if not hasattr(error, "response"):  # the disk's; those of requests have one, or None
                raise
            response = error.response
            answer = type(error).__name__ if response is None else f"{response.status_code} {response.reason}"
            if response is not None and response.status_code == _RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
            elif _size(part) <= start:
                return answer
        else:
            return None
    return answer


def _append(url: str, part: Path, start: int, pooch: Any) -> None:
    # identity: a server that packs the gzip file once more would change its bytes.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with ExitStack() as stack:
        bar = _progress_bar(url, stack)
        fetch = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, headers=headers)
        fetch(url, stack.enter_context(part.open("ab")), None)


def _progress_bar(url: str, stack: ExitStack) -> Any:
    """Return a bar for terminals, or False where tqdm is not installed: the download works without one."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return False
    name = os.path.basename(url)  # noqa: PTH119 (a URL is no path of this machine)
    # pooch sets the total, but first asks the bar for its truth, which tqdm has only with one.
    return stack.enter_context(tqdm(desc=name, total=1, unit="B", unit_scale=True, disable=None, leave=False))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
