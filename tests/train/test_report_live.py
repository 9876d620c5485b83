"""The live report: served to this machine only, newest page first, gone when the training is over."""

import re
import socket
from http.client import HTTPConnection

import pytest

from microgradnet import report
from microgradnet.cli import main
from microgradnet.report.live import Live


def ask(live, path="/", host=None):
    """Return status and text of one request."""
    port = int(live.url.split(":")[2].strip("/"))
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host.format(port=port)} if host else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_newest_page_and_its_version_are_served():
    with Live() as live:
        for number in (1, 2):
            live.show(f"<p>epoch {number} — ½</p>")
            assert ask(live) == (200, f"<p>epoch {number} — ½</p>")
            assert ask(live, "/version") == (200, str(number))


@pytest.mark.parametrize("path", ["/model.npz", "/../pyproject.toml", "/etc/passwd", "/?"])
def test_nothing_else_is_served(path):
    with Live() as live:
        assert ask(live, path)[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:{port}", 200), ("127.0.0.1:{port}", 200), ("evil.example:{port}", 403), ("127.0.0.1", 403)],
)
def test_a_page_under_another_name_is_refused(host, status):
    with Live() as live:
        live.show("page")
        assert ask(live, host=host)[0] == status


def test_it_listens_on_the_loopback_address_only():
    with Live() as live:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", live.url)
        assert live._server.socket.getsockname()[0] == "127.0.0.1"
        assert live._server.socket.family == socket.AF_INET


def test_it_ends_with_the_training_also_with_an_error():
    def diverge():
        with Live() as started:
            live.append(started)
            raise RuntimeError("diverged")

    live: list[Live] = []
    with pytest.raises(RuntimeError, match="diverged"):
        diverge()
    with pytest.raises(ConnectionRefusedError):
        ask(live[0])
    assert not live[0]._thread.is_alive()


ARGUMENTS = ("train", "moons", "--epochs", "2", "--layers", "4", "--seed", "3", "--quiet")


def test_training_can_be_followed_and_gives_the_same_model(tmp_path, capsys, monkeypatch):
    pages: list[str] = []
    addresses: list[str] = []

    class Watched(Live):
        def show(self, page):
            super().show(page)
            pages.append(ask(self)[1])
            addresses.append(self.url)

    monkeypatch.setattr("microgradnet.cli.LIVE_PAUSE", 0.0)
    monkeypatch.setattr(report, "Live", Watched)
    assert main([*ARGUMENTS, "--out", str(tmp_path), "--name", "followed", "--live"]) == 0
    assert f"the report, while it trains: {addresses[0]}\n" in capsys.readouterr().out
    assert "the first epoch is under way" in pages[0]
    found = [re.findall(r"epoch (\d) of 2: [\d.]+% on the validation data", page) for page in pages[1:]]
    assert found == [["1"], ["2"]]
    assert [re.findall(r'data-version="(\d)"', page) for page in pages] == [["1"], ["2"], ["3"]]
    final = (tmp_path / "followed" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in final
    assert "on the test data" in final
    main([*ARGUMENTS, "--out", str(tmp_path), "--name", "alone"])
    followed, alone = ((tmp_path / name / "model.npz").read_bytes() for name in ("followed", "alone"))
    assert followed == alone
