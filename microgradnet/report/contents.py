"""What a run report says: a section for each thing that one asks of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.checking import verify
from microgradnet.report.page import Section, page, paragraph, picture, table
from microgradnet.report.pictures import graph_svg, plot_svg
from microgradnet.train import in_mode
from microgradnet.train.diagnosis import diagnose
from microgradnet.viz import (
    draw,
    plot_confusion,
    plot_decision_boundary,
    plot_history,
    plot_mistakes,
    plot_norms,
    plot_weights,
)
from microgradnet.viz.plots import worst_mistakes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from microgradnet.graph import Array
    from microgradnet.nn import Module
    from microgradnet.train import History, Watch

_SHOWN_MISTAKES = 18


@dataclass(frozen=True)
class Run:
    """A training, over or under way, as a report shows it."""

    title: str
    result: str
    """A sentence: how good the model is, on what."""
    settings: Mapping[str, Any]
    history: History
    watch: Watch
    model: Module
    loss_fn: Any
    examples: tuple[Array, Array]
    """A few examples and their targets, as the model and the loss take them: for the graph and ``verify``."""
    examined: str
    """What the inputs below are, such as ``"the test data"``."""
    x: Array
    y: Array
    """Examples (N, …) and their classes (N,)."""
    probabilities: Array
    """What the model says of each class, (N, C)."""
    classes: Sequence[str] = field(default=())
    image_shape: tuple[int, ...] | None = None
    """(channels, height, width), where the examples are pictures."""

    @property
    def grey_shape(self) -> tuple[int, int] | None:
        """(height, width), where the examples are grey pictures."""
        if self.image_shape is None or self.image_shape[0] != 1:
            return None
        return self.image_shape[1], self.image_shape[2]


def write(run: Run, path: Path) -> Path:
    """Write the report of a run as one self-contained HTML file; returns the path."""
    path.write_text(render(run), encoding="utf-8")
    return path


def render(run: Run, *, live: tuple[int, str] | None = None) -> str:
    """Return the report of a run as an HTML page; ``live`` is explained at ``page.page``."""
    sections = [_training(run), _layers(run), _weights(run), _confusion(run), _mistakes(run), _graph(run)]
    if live is None:
        sections.append(_verified(run))
    sections.append(Section("Settings", table(list(run.settings.items()))))
    lead = paragraph(run.result, "result")
    return page(run.title, lead, sections, live=live)


def waiting(title: str, *, live: tuple[int, str]) -> str:
    """Return the page of a run whose first epoch is not over."""
    return page(title, paragraph("the first epoch is under way"), [], live=live)


def _plots(*plots: tuple[str, Any, tuple[float, float]]) -> str:
    """Return plots side by side: name, what draws it, and its size; without matplotlib, what to install."""
    try:
        pictures = [picture(plot_svg(draw_on, name, size)) for name, draw_on, size in plots]
    except ModuleNotFoundError as error:
        return paragraph(str(error), "faint")
    return f'<div class="side-by-side">{"".join(pictures)}</div>' if len(pictures) > 1 else pictures[0]


def _training(run: Run) -> Section:
    if not len(run.history):
        return Section("Training", paragraph("no epoch was over", "faint"))
    names = ["loss", *run.history[0].metrics]
    curves = _plots(
        *[(name, lambda ax, name=name: plot_history(run.history, name, ax=ax), (6.0, 3.6)) for name in names]
    )
    last = run.history[-1]
    rows = [("training, during it", *[{"loss": last.loss, **last.metrics}[name] for name in names])]
    if last.validation:
        rows.append(("validation, after it", *[last.validation[name] for name in names]))
    seconds = sum(record.seconds for record in run.history)
    words = f"{len(run.history)} epochs, {last.steps:,} steps, {seconds:.1f} s"
    return Section("Training", paragraph(words) + curves + table(rows, ["last epoch", *names]))


def _layers(run: Run) -> Section:
    if not run.watch.samples:
        return Section("Gradients and updates", paragraph("no step was watched", "faint"))
    findings = diagnose(run.watch)
    items = "".join([f'<li><b class="bad">{escape(f.kind)}</b>: {escape(f.text)}</li>' for f in findings])
    words = (
        f"<ul>{items}</ul>"
        if findings
        else paragraph(
            "nothing stands out: gradients neither vanish nor explode, no unit is dead or saturated, and the "
            "steps are of a usual size",
            "good",
        )
    )
    size = (6.0, 3.6)
    norms = _plots(
        ("gradient", lambda ax: plot_norms(run.watch, ax=ax), size),
        ("update", lambda ax: plot_norms(run.watch, "update", ax=ax), size),
    )
    units = run.watch.units[-1] if run.watch.units else []
    rows = [(u.layer, u.function, u.count, u.stuck, f"{u.stuck / u.count:.0%}") for u in units]
    head = ["layer", "units", "how many", "dead or saturated", "share"]
    return Section("Gradients and updates", words + norms + (table(rows, head) if rows else ""))


def _graph(run: Run) -> Section:
    x, y = (array[:1] for array in run.examples)
    with in_mode(run.model, training=False):  # running statistics and generators stay as they are
        loss = run.loss_fn(run.model(x), y)
    loss.backward()
    title = "The graph of one example's loss"
    try:
        svg = graph_svg(loss, "graph")
    except FileNotFoundError as error:
        text = escape(draw(loss, format="text"))
        return Section(title, paragraph(str(error), "faint") + f"<pre>{text}</pre>")
    finally:
        run.model.zero_grad()
    return Section(title, picture(svg))


def _verified(run: Run) -> Section:
    title = "Are the gradients right?"
    try:
        found = verify(run.model, run.loss_fn, *run.examples)
    except (ValueError, TypeError, NotImplementedError, ArithmeticError) as error:
        return Section(title, paragraph(f"this model could not be verified: {error}", "faint"))
    words = (
        "every gradient of the trained network three ways, on a few training examples: by autograd, by the "
        "hand-derived δ equations, by finite differences; the columns show how far any two are apart"
    )
    return Section(title, f'{paragraph(words)}<div class="scroll">{found._repr_html_()}</div>')


def _weights(run: Run) -> Section:
    if run.x.ndim == 2 and run.x.shape[1] == 2:
        boundary = _plots(
            (
                "boundary",
                lambda ax: plot_decision_boundary(
                    run.model, run.x, run.y, classes=run.classes or None, ax=ax
                ),
                (7.0, 5.0),
            )
        )
        return Section(f"Where it draws its borders, on {run.examined}", boundary)
    title = "What the first layer looks for"
    if run.grey_shape is None:
        return Section(
            title, paragraph("its inputs are no grey pictures, as which its weights could be shown", "faint")
        )
    words = paragraph(
        "the weights of each unit: red where ink speaks for it, blue where it speaks against it"
    )
    plot = _plots(("weights", lambda ax: plot_weights(run.model, shape=run.grey_shape, ax=ax), (7.0, 6.5)))
    return Section(title, words + plot)


def _confusion(run: Run) -> Section:
    size = 2.0 + 0.42 * run.probabilities.shape[1]
    plot = _plots(
        (
            "confusion",
            lambda ax: plot_confusion(run.y, run.probabilities, run.classes or None, ax=ax),
            (size, size),
        )
    )
    return Section(f"Which class it takes for which, on {run.examined}", plot)


def _mistakes(run: Run) -> Section:
    title = f"The worst mistakes, on {run.examined}"
    worst = worst_mistakes(run.y, run.probabilities, _SHOWN_MISTAKES)
    if not worst:
        return Section(title, paragraph("there are none", "good"))
    words = paragraph("the least probability of the truth first")
    if run.grey_shape is not None:
        rows = -(-len(worst) // 6)
        plot = _plots(
            (
                "mistakes",
                lambda ax: plot_mistakes(
                    run.x,
                    run.y,
                    run.probabilities,
                    classes=run.classes or None,
                    shape=run.grey_shape,
                    most=_SHOWN_MISTAKES,
                    ax=ax,
                ),
                (9.0, 0.5 + 2.1 * rows),
            )
        )
        return Section(title, words + plot)
    return Section(title, words + table(_mistake_rows(run, worst), ["example", "said", "is"]))


def _mistake_rows(run: Run, worst: list[int]) -> list[tuple[Any, ...]]:
    def said(example: int, label: int) -> str:
        name = run.classes[label] if run.classes else str(label)
        return f"{name} ({run.probabilities[example, label]:.0%})"

    guesses = np.argmax(run.probabilities, 1)
    return [(i, said(i, int(guesses[i])), said(i, int(run.y[i]))) for i in worst]
