"""What the legend says, and the colours of the themes: Okabe and Ito's, which all eyes tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgradnet.viz.picture import Picture

LEGEND = {
    "input": "input",
    "parameter": "parameter",
    "constant": "constant",
    "operation": "operation",
    "module": "module as one box",
    "fold": "many nodes as one",
    "output": "output (result)",
    "loss": "loss (result)",
}
"""Every role that a node can have, in the order of the legend."""

DIRECTIONS = ("TB", "LR", "BT", "RL")
"""Where values may flow on paper."""

KEYS = {"grad": "grad: the gradient that is stored", "∂L": "∂L: the derivative of the result by this value"}
"""What the legend says of the facts that need a word."""


def explanations(picture: Picture) -> list[str]:
    """Return the sentences of the legend: of the facts that occur, and of edges without a shape."""
    keys = {line.key for node in picture.nodes for line in node.lines}
    words = [text for key, text in KEYS.items() if key in keys]
    if any(not edge.label for edge in picture.edges):
        words.append("an edge without a shape carries one number")
    if any(line.miniature for node in picture.nodes for line in node.lines):
        words.append("cells: orange is positive, blue negative; an image goes from black (0) to white")
    return words


def check_option(caller: str, option: str, given: Any, known: Sequence[str]) -> None:
    """Refuse what is not among the known words."""
    if given not in known:
        choices = ", ".join([repr(word) for word in known])
        message = f"{caller}: {option}={given!r} is unknown; it may be {choices}"
        raise ValueError(message)


@dataclass(frozen=True)
class Colours:
    """The colours of a theme: of the page, and of each role its border and its fill."""

    page: str
    text: str
    faint: str
    edge: str
    cluster: str
    highlight: str
    heat: tuple[str, str, str]
    """Of the most negative number, of 0, and of the most positive one."""
    border: dict[str, str]
    fill: dict[str, str]


# Source: Okabe and Ito, Color Universal Design, 2008. The fills are tints of them.
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILLION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"
NOT_A_NUMBER = PURPLE

THEMES = {
    "light": Colours(
        page="#FFFFFF",
        text="#1A1A1A",
        faint="#5F6368",
        edge="#5F6368",
        cluster="#9AA0A6",
        highlight=VERMILLION,
        heat=(BLUE, "#FFFFFF", VERMILLION),
        border={
            "input": GREEN,
            "parameter": ORANGE,
            "constant": "#9AA0A6",
            "operation": BLUE,
            "module": PURPLE,
            "fold": PURPLE,
            "output": VERMILLION,
            "loss": VERMILLION,
        },
        fill={
            "input": "#DDF3EA",
            "parameter": "#FDEFCF",
            "constant": "#FFFFFF",
            "operation": "#F1F8FD",
            "module": "#F8E9F1",
            "fold": "#F8E9F1",
            "output": "#FBDFCD",
            "loss": "#FBDFCD",
        },
    ),
    "dark": Colours(
        page="#14171A",
        text="#F1F3F4",
        faint="#B4BAC0",
        edge="#B4BAC0",
        cluster="#6B737B",
        highlight=YELLOW,
        heat=(SKY, "#14171A", ORANGE),
        border={
            "input": GREEN,
            "parameter": ORANGE,
            "constant": "#8A9199",
            "operation": SKY,
            "module": PURPLE,
            "fold": PURPLE,
            "output": VERMILLION,
            "loss": VERMILLION,
        },
        fill={
            "input": "#0B3529",
            "parameter": "#43320B",
            "constant": "#14171A",
            "operation": "#10222F",
            "module": "#3A2330",
            "fold": "#3A2330",
            "output": "#4D2408",
            "loss": "#4D2408",
        },
    ),
}
