"""The folder that a training leaves: model, history, curves, graph, and what they were made with."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from microgradnet import serialization
from microgradnet.recipes import Recipe
from microgradnet.viz import draw, plot_history, render
from microgradnet.viz.render import install_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from microgradnet.nn import Module
    from microgradnet.tensor import Tensor
    from microgradnet.train import History

MODEL, HISTORY, SETTINGS = "model.npz", "history.jsonl", "settings.json"
CURVES, GRAPH, REPORT = "curves.png", "graph.svg", "report.html"


@dataclass(frozen=True)
class Notes:
    """What a model's file says of how it was trained: enough to evaluate it and to predict with it."""

    dataset: str
    recipe: Recipe
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None


@contextlib.contextmanager
def create(parent: Path, name: str) -> Iterator[Path]:
    """Make a new folder under ``parent``, numbered where the name is taken, and remove it if it stays empty.

    An OSError that says what to do if it cannot be made or written to.
    """
    parent_is_new = not parent.exists()
    folder = _new_folder(parent, name)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
            if parent_is_new:
                parent.rmdir()


def _new_folder(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise type(error)(
                f"cannot make the output folder {folder}: {error.strerror}; choose another with --out"
            ) from None
        else:
            return folder


def save_model(folder: Path, model: Module, notes: Notes) -> None:
    """Write the model, with its notes."""
    serialization.save(model, folder / MODEL, notes=asdict(notes))


def load_model(run: Path) -> tuple[Module, Notes]:
    """Return the model and the notes of a run's folder, or of a model file."""
    path = run / MODEL if run.is_dir() else run
    if not path.is_file():
        raise FileNotFoundError(f"there is no trained model at {path}; `microgradnet train` makes one")
    model, notes = serialization.load(path), serialization.load_notes(path)
    try:
        sizes = {name: tuple(notes["recipe"][name]) for name in ("convolutions", "layers")}
        recipe = Recipe(**{**notes["recipe"], **sizes})
        image_shape = tuple(notes["image_shape"]) if notes["image_shape"] else None
        return model, Notes(notes["dataset"], recipe, tuple(notes["classes"]), image_shape)
    except (KeyError, TypeError):
        raise ValueError(
            f"{path} does not say what it was trained on; only models of `microgradnet train` do. "
            "Load it with microgradnet.load in Python"
        ) from None


def save_settings(folder: Path, recipe: Recipe, **facts: Any) -> None:
    """Write the settings and results as JSON."""
    text = json.dumps({**facts, "recipe": asdict(recipe)}, indent=2, ensure_ascii=False)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")


def save_curves(folder: Path, history: History, title: str) -> Path:
    """Draw loss and accuracy over the epochs, in training and validation, and mark the best epoch."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError("curves need matplotlib: pip install 'microgradnet[plots]'") from None
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    plot_history(history, "loss", ax=left)
    plot_history(history, "accuracy", ax=right)
    path = folder / CURVES
    figure.savefig(path, dpi=120)
    return path


def save_graph(folder: Path, loss: Tensor) -> tuple[Path, str | None]:
    """Draw the graph of one loss: SVG, or without Graphviz's ``dot`` its DOT text and how to draw it."""
    picture = draw(loss)
    try:
        return render(picture, folder / GRAPH), None
    except FileNotFoundError:
        path = render(picture, (folder / GRAPH).with_suffix(".dot"))
        return path, f"Graphviz draws it: {install_command()}, then dot -Tsvg -O {path}"
