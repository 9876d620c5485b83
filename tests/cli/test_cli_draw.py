"""microgradnet draw: every form, printed or written; what it refuses."""

import pytest

from microgradnet.cli import main


def drawn(capsys, *arguments):
    status = main(["draw", "--model", "2-2-1", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_text_is_printed_with_values_and_derivatives(capsys):
    status, out, _ = drawn(capsys)
    assert status == 0
    assert out.startswith("#11 squared_error [loss] = ")
    assert "0.weight [parameter] (2, 2) = [[" in out
    assert ", ∂L [[" in out


@pytest.mark.parametrize(("form", "start"), [("mermaid", "flowchart TB"), ("dot", 'digraph "graph" {')])
def test_other_texts_are_printed(capsys, form, start):
    assert drawn(capsys, "--format", form)[1].startswith(start)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("g.svg", b"<?xml"),
        ("g.png", b"\x89PNG"),
        ("g.pdf", b"%PDF"),
        ("g.dot", b"digraph"),
        ("g.gv", b"digraph"),
        ("g.txt", b"#11 squared_error"),
        ("g.mmd", b"flowchart"),
        ("g.html", b"<!doctype html>"),
    ],
)
def test_the_ending_says_what_is_written(needs_dot, capsys, tmp_path, name, start):
    path = tmp_path / name
    status, out, _ = drawn(capsys, "--out", str(path))
    assert (status, out) == (0, f"{path}\n")
    assert path.read_bytes().startswith(start)


def test_without_a_name_a_picture_is_graph(needs_dot, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert drawn(capsys, "--format", "svg", "--depth", "1", "--theme", "dark")[1] == "graph.svg\n"
    assert drawn(capsys, "--format", "html")[1] == "graph.html\n"
    assert (tmp_path / "graph.html").exists()


def test_a_model_of_a_file_with_its_lines(capsys, tmp_path):
    program = tmp_path / "network.py"
    program.write_text(
        "from microgradnet import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        self.first = nn.Linear(3, 1)\n\n"
        "    def forward(self, x):\n"
        "        return self.first(x).tanh()\n",
        encoding="utf-8",
    )
    assert main(["draw", "--model", f"{program}:Net", "--source"]) == 0
    out = capsys.readouterr().out
    assert "tanh (5, 1)" in out
    assert "network.py:9: return self.first(x).tanh()" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "g.jpeg"], "'g.jpeg' does not say what to draw: give --format, one of text, mermaid, dot"),
        (
            ["--out", "g.svg", "--format", "png"],
            "--format png does not fit 'g.svg'; name a file that ends in .png",
        ),
        (["--out", "none/g.svg"], "the folder 'none' does not exist; create it first"),
        (["--out", "none/g.html"], "the folder 'none' does not exist; create it first"),
        (["--out", "none/g.txt"], "No such file or directory: 'none/g.txt'"),
    ],
)
def test_bad_input_is_one_line(needs_dot, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = drawn(capsys, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("microgradnet draw: ")
    assert message in err
    assert err.count("\n") == 1
