"""The gallery: a section, a picture and a test for every classic."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CLASSICS = sorted(path.stem for path in (ROOT / "examples" / "classics").glob("*.py"))
PAGE = ROOT / "docs" / "gallery.md"
MOST_BYTES = 300_000
KINDS = {".png": b"\x89PNG\r\n", ".gif": b"GIF89a", ".svg": b"<?xml"}


def sections() -> dict[str, tuple[int, str]]:
    """Return the number and the text of each section, by the name of its program."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^## (\d+)\. [^\n]+\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    return {re.findall(r"python examples/classics/(\w+)\.py", text)[0]: (int(n), text) for n, text in found}


def test_every_classic_has_a_section_in_order():
    found = sections()
    assert sorted(found) == CLASSICS
    numbers = [number for number, _ in found.values()]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("name", CLASSICS)
def test_a_section_shows_a_small_picture_the_command_and_its_output(name):
    _, text = sections()[name]
    (picture,) = re.findall(r"!\[[^]\n]+\]\((images/classics/[\w.]+)\)", text)
    path = PAGE.parent / picture
    assert path.stem == name
    content = path.read_bytes()
    assert content.startswith(KINDS[path.suffix])
    assert len(content) <= MOST_BYTES
    assert f"python examples/classics/{name}.py docs/{picture}\n" in text
    (output,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert output.strip()
    assert re.search(r"Wall time: about \d", text)


def test_every_picture_belongs_to_a_classic():
    pictures = {path.stem for path in (ROOT / "docs" / "images" / "classics").iterdir()}
    assert pictures == set(CLASSICS)
