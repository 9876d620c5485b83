"""A page that follows a training: served on this machine only, for as long as the training runs."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

LOOPBACK = "127.0.0.1"


class Live:
    """Serve one page on the loopback address, at a free port, until the ``with`` block ends.

    >>> from urllib.request import urlopen
    >>> with Live() as live:
    ...     live.show("<p>epoch 1</p>")
    ...     urlopen(live.url).read()
    b'<p>epoch 1</p>'
    """

    def __init__(self) -> None:
        self.version = 0
        self.page = b""
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.live = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self._server.server_port}/"

    def show(self, page: str) -> None:
        """Replace the page; who has the old one open is shown the new one within a second."""
        self.page = page.encode()
        self.version += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    live: Live


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        live = self.server.live
        # A page from elsewhere may lead its own host name to this address; it is not answered.
        if self.headers.get("Host") not in {
            f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")
        }:
            self._answer(b"only for this machine", "text/plain", HTTPStatus.FORBIDDEN)
        elif self.path == "/":
            self._answer(live.page, "text/html")
        elif self.path == "/version":
            self._answer(str(live.version).encode(), "text/plain")
        else:
            self._answer(b"there is only /", "text/plain", HTTPStatus.NOT_FOUND)

    def _answer(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal belongs to the training."""
