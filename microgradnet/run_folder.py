"""The folder that a training leaves: model, history, curves, graph, and what they were made with."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphviz

from microgradnet import serialization
from microgradnet.viz import draw

if TYPE_CHECKING:
    from microgradnet.nn import Module
    from microgradnet.recipes import Recipe
    from microgradnet.tensor import Tensor
    from microgradnet.train import History

MODEL, HISTORY, CURVES, GRAPH, SETTINGS = "model.npz", "history.jsonl", "curves.png", "graph", "settings.json"


def create(parent: Path, name: str) -> Path:
    """Make a new folder under ``parent``, numbered where the name is taken; fails here if it cannot be written to."""
    for number in range(1, 10_000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            message = f"cannot make the output folder {folder}: {error.strerror}; choose another with --out"
            raise type(error)(error.errno, message) from None
        return folder
    message = f"{parent} already has thousands of runs called {name}; choose another --name"
    raise FileExistsError(message)


def save_model(folder: Path, model: Module, notes: dict[str, Any]) -> None:
    """Write the model with what evaluate and predict need to know."""
    serialization.save(model, folder / MODEL, notes=notes)


def save_settings(folder: Path, recipe: Recipe, **facts: Any) -> None:
    """Write the settings and results as JSON."""
    text = json.dumps({**facts, "recipe": asdict(recipe)}, indent=2)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")


def save_curves(folder: Path, history: History, title: str) -> Path:
    """Draw loss and accuracy over the epochs, training and validation."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        message = "curves need matplotlib: pip install 'microgradnet[plots]'"
        raise ModuleNotFoundError(message) from None
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    for axes, label, train, validation in (
        (left, "loss", history.column("loss"), history.column("validation", "loss")),
        (
            right,
            "accuracy (%)",
            [100 * value for value in history.column("metrics", "accuracy")],
            [100 * value for value in history.column("validation", "accuracy")],
        ),
    ):
        axes.plot(epochs, train, "o-", color="#0072B2", markersize=3, label="training (while it trained)")
        axes.plot(epochs, validation, "s--", color="#D55E00", markersize=3, label="validation")
        if history.best is not None:
            axes.axvline(history.best.epoch, color="0.7", linewidth=1, zorder=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.xaxis.get_major_locator().set_params(integer=True)
    right.legend(frameon=False)
    figure.suptitle(title)
    path = folder / CURVES
    figure.savefig(path, dpi=120)
    return path


def save_graph(folder: Path, loss: Tensor) -> tuple[Path, str | None]:
    """Draw the graph of one loss: SVG, or DOT text and the reason where Graphviz's ``dot`` is missing."""
    picture = draw(loss)
    path = folder / f"{GRAPH}.dot"
    path.write_text(picture.source, encoding="utf-8")
    try:
        svg = picture.pipe(format="svg")
    except graphviz.ExecutableNotFound:
        return path, "Graphviz's dot is not installed, so the graph is DOT text; to draw it: "
    path.unlink()
    path = folder / f"{GRAPH}.svg"
    path.write_bytes(svg)
    return path, None


def find_model(run: Path) -> Path:
    """Return the model file of a run's folder, or the file itself."""
    path = run / MODEL if run.is_dir() else run
    if not path.is_file():
        message = f"there is no trained model at {path}; `microgradnet train` makes one"
        raise FileNotFoundError(message)
    return path
