"""The command line: train, evaluate, predict. The only file that prints."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import __version__, datasets, picture, recipes, run_folder, serialization, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgradnet.nn import Module
    from microgradnet.recipes import Recipe

EXPECTED = (ValueError, OSError, ModuleNotFoundError, ArithmeticError)
"""What bad input raises: shown as one line. Anything else is a mistake of ours and shows where."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for bad input, 2 for wrong usage, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except EXPECTED as error:
        print(f"microgradnet {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="microgradnet", description="Train small neural networks, and look at how they learn."
    )
    parser.add_argument("--version", action="version", version=f"microgradnet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    for name, run, words in (
        ("evaluate", _evaluate, "loss and accuracy of a trained model on its test data"),
        ("predict", _predict, "say which digit a picture shows"),
    ):
        command = commands.add_parser(name, help=words, description=words.capitalize() + ".")
        command.add_argument("run_folder", metavar="RUN", type=Path, help="the folder that training made (or a model file)")
        command.set_defaults(run=run)
        if name == "predict":
            command.add_argument("pictures", metavar="PICTURE", type=Path, nargs="+", help="a PNG or JPEG of one digit")
        else:
            _add_data(command)
    return parser


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", type=Path, help="where the data set's files are (default: $MICROGRADNET_DATA, then the user cache)")
    command.add_argument("--no-download", action="store_true", help="fail rather than download a missing data set")


def _add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train a network on a data set",
        description="Train a network with SGD. Without options: a ReLU network on 1,797 handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    command.set_defaults(run=_train, dataset="digits", preset="default", out=Path("runs"), quiet=False, data_dir=None, no_download=False)
    command.add_argument("dataset", nargs="?", help=f"one of {', '.join(datasets.NAMES)}")
    command.add_argument("--preset", help=f"settings to start from: {', '.join(recipes.PRESETS)}")
    network = command.add_argument_group("network (the preset's unless given)")
    network.add_argument("--layers", type=_sizes, metavar="N,N,…", help="neurons of the hidden layers; 0 for none")
    network.add_argument("--activation", choices=recipes.ACTIVATIONS, help="of the hidden layers")
    network.add_argument("--loss", choices=recipes.LOSSES, help="softmax cross-entropy, or sigmoid outputs with either cost of the book")
    network.add_argument("--dropout", type=float, metavar="P", help="share of hidden outputs dropped in training")
    network.add_argument("--start", choices=recipes.STARTS, help="initial weights: ±1/√n, N(0, 1/n), or N(0, 1)")
    network.add_argument("--dtype", choices=("float32", "float64"), help="of all numbers")
    training = command.add_argument_group("training (the preset's unless given)")
    training.add_argument("--epochs", type=int, metavar="N", help="times through the training data")
    training.add_argument("--batch-size", type=int, metavar="N", help="examples per step")
    training.add_argument("--lr", type=float, metavar="η", help="learning rate")
    training.add_argument("--momentum", type=float, metavar="μ", help="share of the last step that is kept")
    training.add_argument("--weight-decay", dest="regularization", type=float, metavar="λ", help="λ of the book: w ← (1 − ηλ/n)·w")
    training.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same model, to the byte")
    output = command.add_argument_group("data and output")
    _add_data(output)  # type: ignore[arg-type]  # a group takes arguments as a parser does
    output.add_argument("--out", type=Path, metavar="DIR", help="folder of the runs")
    output.add_argument("--name", help="name of this run's folder (default: data set and preset)")
    output.add_argument("--quiet", action="store_true", help="print the result only")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple([int(part) for part in text.replace("-", ",").split(",")])
    except ValueError:
        message = f"{text!r} is not a list of numbers such as 100 or 100,50"
        raise argparse.ArgumentTypeError(message) from None
    return () if sizes == (0,) else sizes


def _recipe(options: argparse.Namespace) -> Recipe:
    given = {name: value for name, value in vars(options).items() if name in {f.name for f in fields(recipes.Recipe)}}
    recipe = recipes.preset(options.preset, **given)
    for name in ("epochs", "batch_size"):
        if getattr(recipe, name) < 1:
            message = f"--{name.replace('_', '-')} must be at least 1, not {getattr(recipe, name)}"
            raise ValueError(message)
    if not 0 <= recipe.dropout < 1:
        message = f"--dropout must be at least 0 and below 1, not {recipe.dropout}"
        raise ValueError(message)
    return recipe


def _train(options: argparse.Namespace) -> int:
    recipe = _recipe(options)
    say = (lambda *_: None) if options.quiet else print
    default_name = options.dataset if options.preset == "default" else f"{options.dataset}-{options.preset}"
    splits = datasets.load(options.dataset, data_dir=options.data_dir, download=not options.no_download, rng=recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model = recipes.build_model(recipe, splits.train.x.shape[1], splits.train.num_classes, rng)
    loss_fn = recipes.build_loss(recipe)
    optimizer = recipes.build_optimizer(recipe, model, len(splits.train))
    folder = run_folder.create(options.out, getattr(options, "name", default_name))
    notes = {"dataset": options.dataset, "loss": recipe.loss, "image_shape": splits.train.image_shape, "seed": recipe.seed}

    widths = "-".join(str(n) for n in (splits.train.x.shape[1], *recipe.layers, splits.train.num_classes))
    counts = f"{len(splits.train):,} train, {len(splits.validation):,} validation, {len(splits.test):,} test"
    say(f"{options.dataset}: {counts}; network {widths}, {recipe.activation}, {recipe.loss}; into {folder}")
    best = -1.0

    def after_epoch(record: train.Record) -> None:
        nonlocal best
        value = record.validation["accuracy"]
        mark = ""
        if value > best:
            best, mark = value, " *"
            run_folder.save_model(folder, model, notes)
        say(
            f"epoch {record.epoch:3d}  loss {record.loss:.4f}  accuracy {record.metrics['accuracy']:7.2%}  "
            f"validation {record.validation['loss']:.4f} {value:7.2%}  {record.seconds:5.1f} s{mark}"
        )

    start = time.perf_counter()
    history = train.fit(
        model,
        loss_fn,
        optimizer,
        recipes.prepare(recipe, splits.train),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        validation=recipes.prepare(recipe, splits.validation),
        metrics=["accuracy"],
        monitor="accuracy",
        keep_best=True,
        rng=rng,
        progress=False if options.quiet else None,
        on_epoch=after_epoch,
    )
    seconds = time.perf_counter() - start
    if not history.records:
        print("interrupted before the first epoch was over: nothing to keep")
        return 130
    if history.interrupted:
        say("interrupted: what was trained is kept")
    return _report(options, recipe, model, loss_fn, splits, history, folder, notes, seconds)


def _report(
    options: argparse.Namespace,
    recipe: Recipe,
    model: Module,
    loss_fn: Any,
    splits: datasets.Splits,
    history: train.History,
    folder: Path,
    notes: dict[str, Any],
    seconds: float,
) -> int:
    """Test the best epoch's model once, write everything, and say where it is."""
    test = train.evaluate(model, loss_fn, recipes.prepare(recipe, splits.test), metrics=["accuracy"])
    run_folder.save_model(folder, model, notes)
    history.save(folder / run_folder.HISTORY)
    run_folder.save_settings(
        folder, recipe, dataset=options.dataset, preset=options.preset, test=test, seconds=round(seconds, 2), version=__version__
    )
    best = history.best or history[-1]
    print(
        f"test accuracy {test['accuracy']:.2%} on {len(splits.test):,} examples it never saw "
        f"(epoch {best.epoch}, chosen on the validation data), after {seconds:.1f} s of training"
    )
    lines = [f"{run_folder.MODEL}  {run_folder.HISTORY}  {run_folder.SETTINGS}"]
    try:
        lines.append(run_folder.save_curves(folder, history, f"{options.dataset}: test accuracy {test['accuracy']:.2%}").name)
    except ModuleNotFoundError as error:
        lines.append(f"no curves: {error}")
    x, y = recipes.prepare(recipe, splits.train[:1])
    path, problem = run_folder.save_graph(folder, loss_fn(model(x), y))
    lines.append(path.name if problem is None else f"{path.name}  ({problem})")
    print(f"in {folder}/: " + "  ".join(lines))
    if not options.quiet:
        print(f"next: microgradnet evaluate {folder}" + (f"; microgradnet predict {folder} picture.png" if notes["image_shape"] else ""))
    return 130 if history.interrupted else 0


def _evaluate(options: argparse.Namespace) -> int:
    path = run_folder.find_model(options.run_folder)
    model, notes = serialization.load(path), serialization.load_notes(path)
    splits = datasets.load(notes["dataset"], data_dir=options.data_dir, download=not options.no_download, rng=notes["seed"])
    recipe = recipes.Recipe(loss=notes["loss"], dtype=str(next(model.parameters()).dtype))
    for name, data in (("validation", splits.validation), ("test", splits.test)):
        found = train.evaluate(model, recipes.build_loss(recipe), recipes.prepare(recipe, data), metrics=["accuracy"])
        print(f"{notes['dataset']} {name:10s} loss {found['loss']:.4f}  accuracy {found['accuracy']:.2%}  ({len(data):,} examples)")
    return 0


def _predict(options: argparse.Namespace) -> int:
    path = run_folder.find_model(options.run_folder)
    model, notes = serialization.load(path), serialization.load_notes(path)
    shape = notes["image_shape"]
    if not shape or shape[0] != 1:
        message = f"this model was trained on {notes['dataset']}, which is no set of grey pictures"
        raise ValueError(message)
    model.eval()
    for file in options.pictures:
        image = picture.digit_input(picture.read_grey(file), shape[1], file)
        values = recipes.probabilities(notes["loss"], model(image.reshape(1, -1))).data[0]
        print(f"{file}: as the network sees it ({shape[1]}×{shape[2]})\n")
        print(picture.as_text(image) + "\n")
        for digit in np.argsort(-values)[:3]:
            print(f"  {digit}  {values[digit]:7.2%}  {'█' * round(40 * values[digit])}")
        print(f"it is a {int(values.argmax())}")
    return 0


