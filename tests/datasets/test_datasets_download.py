"""Download from a server on this machine that misbehaves on purpose: only the published bytes get a name."""

import builtins
import gzip
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from microgradnet import datasets
from microgradnet.datasets.cifar import CIFAR10
from microgradnet.datasets.download import _CHUNK, Remote, _download, download_all
from microgradnet.datasets.files import DataFileError
from microgradnet.datasets.mnist import FASHION_MNIST, MNIST, load_mnist

pooch = pytest.importorskip("pooch", reason="pooch is not installed: pip install 'microgradnet[data]'")

CONTENT = np.random.default_rng(0).bytes(300_000)
FILE = gzip.compress(CONTENT)


@dataclass
class Server:
    """Answers each path with what `behaviours` says, one after another and the last one for ever."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    behaviours: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append((request.path, request.headers["Range"]))
        queue = self.behaviours.get(request.path.split("/")[1], ["good"])
        behaviour = queue.pop(0) if len(queue) > 1 else queue[0]
        data = self.files[request.path.split("/")[-1]]
        start = int(re.findall(r"\d+", request.headers["Range"] or "0")[0])
        if behaviour == "html":
            data, start = b"<!DOCTYPE html><html>Please sign in</html>", 0
        elif behaviour == "corrupt":
            data = gzip.compress(b"something else")
        elif behaviour == "no-range":
            start = 0
        elif behaviour == "404":
            request.send_error(404)
            return
        if start and start >= len(data):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        end = start + (len(data) - start) // 2 if behaviour == "truncated" else len(data)
        request.wfile.write(data[start:end])


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    script = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{http.server_port}"
    script.files["file.gz"] = FILE
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def remote(server) -> Remote:
    """The file on two mirrors, `a` and `b`, with the checksum of its contents."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Remote("file.gz", (f"{server.url}/a/", f"{server.url}/b/"), "sha256", digest, unpacked=True)


DEAD = "http://127.0.0.1:9/"  # nothing listens on the port "discard"


def whole_chunks(length: int) -> int:
    """How much of so many received bytes is kept when the connection breaks."""
    return length // _CHUNK * _CHUNK


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_good_download_lies_under_its_name_alone(tmp_path, server, remote):
    download_all("thing", [remote], tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "file.gz").read_bytes() == FILE
    assert names(tmp_path / "new" / "folder") == ["file.gz"]
    assert server.requests == [("/a/file.gz", None)]


def test_a_file_that_is_there_is_not_downloaded_again(tmp_path, server, remote):
    (tmp_path / "file.gz").write_bytes(b"mine")
    download_all("thing", [remote], tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == b"mine"
    assert server.requests == []


def test_the_checksum_is_of_the_contents_whatever_the_gzip_wrapping(tmp_path, server, remote):
    server.files["file.gz"] = gzip.compress(CONTENT, compresslevel=1, mtime=12345)
    assert server.files["file.gz"] != FILE
    download_all("thing", [remote], tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == server.files["file.gz"]


def test_md5_of_the_file_itself(tmp_path, server, remote):
    md5 = replace(remote, algorithm="md5", digest=hashlib.md5(FILE).hexdigest(), unpacked=False)  # noqa: S324
    download_all("thing", [md5], tmp_path / "good")
    assert names(tmp_path / "good") == ["file.gz"]
    server.files["file.gz"] = gzip.compress(CONTENT, compresslevel=1)
    with pytest.raises(ConnectionError, match=f"expected file.gz with md5 {md5.digest}, found md5 "):
        download_all("thing", [md5], tmp_path / "other")


def test_a_broken_transfer_is_resumed_where_it_broke(tmp_path, server, remote):
    server.behaviours["a"] = ["truncated", "truncated", "good"]
    download_all("thing", [remote], tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == FILE
    assert names(tmp_path) == ["file.gz"]
    first = whole_chunks(len(FILE) // 2)
    second = first + whole_chunks((len(FILE) - first) // 2)
    ranges = [None, f"bytes={first}-", f"bytes={second}-"]
    assert server.requests == [("/a/file.gz", requested) for requested in ranges]


def test_a_server_that_cannot_resume_is_asked_for_the_whole(tmp_path, server, remote):
    server.behaviours["a"] = ["truncated", "no-range"]
    download_all("thing", [remote], tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == FILE
    ranges = [None, f"bytes={whole_chunks(len(FILE) // 2)}-", None]
    assert server.requests == [("/a/file.gz", requested) for requested in ranges]


@pytest.mark.parametrize("behaviour", ["html", "corrupt", "404", "truncated"])
def test_the_second_mirror_helps_out(tmp_path, server, remote, behaviour):
    server.behaviours["a"] = [behaviour]
    download_all("thing", [remote], tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == FILE
    assert names(tmp_path) == ["file.gz"]
    assert server.requests[-1][0] == "/b/file.gz"


def test_a_dead_first_mirror_is_passed_over(tmp_path, server, remote):
    download_all("thing", [replace(remote, mirrors=(DEAD, remote.mirrors[1]))], tmp_path)
    assert names(tmp_path) == ["file.gz"]


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        ("html", "the file: expected file.gz with sha256 .*, found a web page"),
        ("corrupt", "the file: expected file.gz with sha256 .*, found sha256 "),
        ("404", "404 Not Found"),
    ],
)
def test_when_every_mirror_fails_one_line_says_why_and_what_to_do(
    tmp_path, server, remote, behaviour, answer
):
    server.behaviours |= {"a": [behaviour], "b": [behaviour]}
    with pytest.raises(ConnectionError) as caught:
        download_all("thing", [remote], tmp_path / "thing")
    message = str(caught.value)
    assert re.match(rf"thing could not be downloaded \(http://.*/a/file.gz: {answer}", message)
    assert f"; {server.url}/b/file.gz: " in message
    assert message.endswith(f"check the network, or put file.gz into {tmp_path / 'thing'}")
    assert "\n" not in message
    assert names(tmp_path / "thing") == []


def test_an_interrupted_download_leaves_a_part_that_the_next_one_resumes(tmp_path, server, remote):
    server.behaviours |= {"a": ["truncated", "404"], "b": ["404"]}
    with pytest.raises(ConnectionError, match="404 Not Found"):
        download_all("thing", [remote], tmp_path)
    assert names(tmp_path) == ["file.gz.part"]
    server.behaviours.clear()
    server.requests.clear()
    download_all("thing", [remote], tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == FILE
    assert names(tmp_path) == ["file.gz"]
    assert server.requests == [("/a/file.gz", f"bytes={whole_chunks(len(FILE) // 2)}-")]


@pytest.mark.parametrize("left", [FILE, FILE + b"more", b"rubbish" * 1000])
def test_a_part_that_is_complete_or_wrong_does_no_harm(tmp_path, server, remote, left):
    (tmp_path / "file.gz.part").write_bytes(left)
    download_all("thing", [remote], tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == FILE
    assert names(tmp_path) == ["file.gz"]


def test_ctrl_c_keeps_the_part_and_gives_nothing_a_name(tmp_path, server, remote):
    class Interrupted:
        def __init__(self, **_: object) -> None:
            pass

        def __call__(self, _url: str, file, _pooch: None) -> None:
            file.write(FILE[:1000])
            raise KeyboardInterrupt

    fake = type("pooch", (), {"HTTPDownloader": Interrupted})
    with pytest.raises(KeyboardInterrupt):
        _download(remote, tmp_path / "file.gz", fake)
    assert names(tmp_path) == ["file.gz.part"]
    assert (tmp_path / "file.gz.part").read_bytes() == FILE[:1000]
    assert _download(remote, tmp_path / "file.gz", pooch) == []
    assert (tmp_path / "file.gz").read_bytes() == FILE


def test_two_downloads_at_once_do_not_mix(tmp_path, server, remote):
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(_download(remote, tmp_path / "file.gz", pooch)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[]] * 4
    assert (tmp_path / "file.gz").read_bytes() == FILE
    assert names(tmp_path) == ["file.gz"]


def without(monkeypatch, package: str) -> None:
    real = builtins.__import__

    def importer(name: str, *rest, **options):
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", importer)


def test_without_pooch_one_line_says_what_to_do(tmp_path, server, remote, monkeypatch):
    without(monkeypatch, "pooch")
    message = (
        f"thing is not on this machine: pip install 'microgradnet[data]' to download it, "
        f"or put file.gz into {tmp_path / 'thing'}"
    )
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(message)}$"):
        download_all("thing", [remote], tmp_path / "thing")
    assert names(tmp_path) == []


def test_without_tqdm_it_downloads_without_a_bar(tmp_path, server, remote, monkeypatch):
    without(monkeypatch, "tqdm")
    download_all("thing", [remote], tmp_path)
    assert names(tmp_path) == ["file.gz"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, server, remote):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(
        OSError, match=r"thing cannot be saved in .*file.thing \(Not a directory\): name another"
    ):
        download_all("thing", [remote], tmp_path / "file" / "thing")


def test_a_full_disk_is_no_fault_of_the_network(tmp_path, server, remote, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(
        OSError, match=r"thing cannot be saved in .* \(No space left on device\): name another"
    ):
        download_all("thing", [remote], tmp_path)
    assert names(tmp_path) == []


def test_load_downloads_what_is_missing_and_then_needs_no_network(tmp_path, server, write_mnist, monkeypatch):
    source = write_mnist(tmp_path / "source")
    server.files = {path.name: path.read_bytes() for path in source.iterdir()}
    remotes = tuple(
        Remote(
            name,
            (DEAD, f"{server.url}/m/"),
            "sha256",
            hashlib.sha256(gzip.decompress(data)).hexdigest(),
            unpacked=True,
        )
        for name, data in server.files.items()
    )
    mirrored = replace(MNIST, remotes=remotes)
    monkeypatch.setitem(datasets._FROM_FILES, "mnist", lambda *a, **k: load_mnist(mirrored, *a, **k))
    splits = datasets.load("mnist", data_dir=tmp_path / "data")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [10, 2, 4]
    assert names(tmp_path / "data" / "mnist") == sorted(server.files)
    server.requests.clear()
    again = datasets.load("mnist", data_dir=tmp_path / "data")
    np.testing.assert_array_equal(again.train.x, splits.train.x)
    assert server.requests == []


def test_the_checksums_are_of_their_kind():
    for published, length, unpacked in [(MNIST, 64, True), (FASHION_MNIST, 32, False), (CIFAR10, 32, False)]:
        for remote in published.remotes:
            assert re.fullmatch(f"[0-9a-f]{{{length}}}", remote.digest)
            assert remote.unpacked is unpacked
            assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in remote.mirrors)
            assert len(remote.mirrors) >= 2
    assert issubclass(DataFileError, ValueError)
