"""A report as one self-contained HTML page: every text escaped, nothing loaded from outside."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing but what is in it."""
_LIVE_POLICY = f"{_POLICY}; script-src 'unsafe-inline'; connect-src 'self'"

# Asks for a newer page every second, and puts its contents in place of the old ones.
_FOLLOW = """
const note = document.getElementById("live");
async function follow(version) {
  try {
    const now = await (await fetch("/version")).text();
    if (now !== version) {
      const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
      document.querySelector("main").replaceWith(page.querySelector("main"));
    }
    setTimeout(follow, 1000, now);
  } catch {
    note.textContent = note.dataset.end;
  }
}
follow(note.dataset.version);
"""


@dataclass(frozen=True)
class Section:
    """A part of the page: its heading, and its HTML, in which every text is escaped already."""

    title: str
    html: str


def page(title: str, lead: str, sections: Iterable[Section], *, live: tuple[int, str] | None = None) -> str:
    """Return the whole page; ``lead`` is HTML.

    ``live`` makes it follow the server that it comes from: the version of the page, and a sentence that is
    shown once the server is gone.
    """
    parts = list(sections)
    names = [f"part-{i}" for i in range(1, len(parts) + 1)]
    links = "".join(
        [f'<a href="#{name}">{escape(part.title)}</a>' for name, part in zip(names, parts, strict=True)]
    )
    body = "".join(
        [
            f'<section id="{name}"><h2>{escape(part.title)}</h2>{part.html}</section>\n'
            for name, part in zip(names, parts, strict=True)
        ]
    )
    note = script = ""
    if live is not None:
        version, end = live
        note = (
            f'<p id="live" role="status" data-version="{version}" data-end="{escape(end)}">'
            "training: this page follows it</p>"
        )
        script = f"<script>{_FOLLOW}</script>"
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    policy = _POLICY if live is None else _LIVE_POLICY
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>{note}<main>"
        f"<h1>{escape(title)}</h1>{lead}<nav>{links}</nav>\n{body}</main>{script}</body></html>\n"
    )


def table(rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """Return rows of texts and numbers as a table; numbers stand right.

    >>> table([["<w>", 1.5]])
    '<div class="scroll"><table><tr><td>&lt;w&gt;</td><td class="number">1.5</td></tr></table></div>'
    """
    top = "".join([f'<th scope="col">{escape(text)}</th>' for text in head])
    body = "".join(["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows])
    return f'<div class="scroll"><table>{f"<tr>{top}</tr>" if top else ""}{body}</table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, (int, float)):
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        return f'<td class="number">{text}</td>'
    return f"<td>{escape(str(value))}</td>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a sentence; ``kind`` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def picture(svg: str) -> str:
    """Return a picture as a figure, which is scrolled where it is too wide."""
    return f"<figure>{svg}</figure>"
