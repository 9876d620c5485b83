"""The command line: train, evaluate, predict. The only file that prints."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import __version__, datasets, picture, recipes, run_folder, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microgradnet.nn import Module
    from microgradnet.recipes import Recipe

EXPECTED = (ValueError, OSError, ModuleNotFoundError, ArithmeticError)
"""What bad input raises: shown as one line. Anything else is a mistake of ours and shows where."""

DESCRIPTION = "Train small neural networks with NumPy, and use what was trained."
TRAINING = """\
Train a network by stochastic gradient descent, keep the epoch that is best on the
validation data, and test it once on the test data. Without options: a network with
one ReLU layer, on 1,797 handwritten digits. Ctrl-C ends it and keeps what was trained."""
EXAMPLES = """\
examples:
  microgradnet train                                  handwritten digits, in seconds, without a download
  microgradnet train mnist --preset nielsen-quadratic
  microgradnet train digits --layers 64,32 --activation tanh --dropout 0 --epochs 20
  microgradnet evaluate runs/digits
  microgradnet predict runs/digits picture.png
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for bad input, 2 for wrong usage, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without some letter gets a ? instead of an error
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except EXPECTED as error:
        print(f"microgradnet {options.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return status


# ---------------------------------------------------------------------- options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="microgradnet",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"microgradnet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    _add_train(commands)
    evaluate = commands.add_parser(
        "evaluate",
        help="loss and accuracy of a trained network",
        description="Loss and accuracy of a trained network on the validation and test data of its data set.",
    )
    _add_run(evaluate, _evaluate)
    _add_data(evaluate)
    predict = commands.add_parser(
        "predict",
        help="say which digit a picture shows",
        description="Say which digit a picture shows. It is made grey, white on black, scaled and centred, "
        "shown as the network sees it, and classified.",
    )
    _add_run(predict, _predict)
    predict.add_argument(
        "pictures", metavar="PICTURE", type=Path, nargs="+", help="a PNG or JPEG of one digit"
    )
    return parser


def _add_run(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    command.add_argument(
        "folder", metavar="RUN", type=Path, help="the folder that training made, or its model.npz"
    )
    command.set_defaults(run=run)


def _add_data(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="folder of the data set's files (default: $MICROGRADNET_DATA, then the user's cache)",
    )
    command.add_argument(
        "--no-download", action="store_true", help="do not download a data set that is missing"
    )


def _add_train(commands: Any) -> None:
    base = recipes.Recipe()
    command = commands.add_parser(
        "train",
        help="train a network on a data set",
        description=TRAINING,
        epilog=_presets(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=_train)
    command.add_argument(
        "dataset", nargs="?", default="digits", help=f"{', '.join(datasets.NAMES)} (default: digits)"
    )
    command.add_argument(
        "--preset", default="default", help="settings to start from, see below (default: default)"
    )
    network = command.add_argument_group("network")
    training = command.add_argument_group("training")
    output = command.add_argument_group("data and output")

    def add(group: Any, option: str, words: str, **options: Any) -> None:
        value = getattr(base, option.removeprefix("--").replace("-", "_"))
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        if "choices" in options:
            options["metavar"] = "NAME"
            words += f": {', '.join(options['choices'])}"
        options.setdefault("type", type(value))
        group.add_argument(option, default=argparse.SUPPRESS, help=f"{words} (default: {shown})", **options)

    add(network, "--layers", "neurons of each hidden layer, 0 for none", type=_sizes, metavar="N,N,…")
    add(network, "--activation", "of the hidden layers", choices=tuple(recipes.ACTIVATIONS))
    add(network, "--loss", "cost; the last two with sigmoid outputs", choices=recipes.LOSSES)
    add(network, "--dropout", "share of hidden outputs dropped in training", metavar="P")
    add(network, "--start", "initial weights, in ±1/√n, N(0, 1/n) or N(0, 1)", choices=recipes.STARTS)
    add(network, "--dtype", "of all numbers", choices=recipes.DTYPES)
    add(training, "--epochs", "times through the training data", metavar="N")
    add(training, "--batch-size", "examples per step", metavar="N")
    add(training, "--lr", "learning rate", metavar="X")
    add(training, "--momentum", "share of the last step that is kept", metavar="X")
    add(training, "--weight-decay", "c in w ← w − lr·(∂L/∂w + c·w), for weights", metavar="X")
    add(training, "--seed", "the same seed gives the same model, to the byte", metavar="N")
    _add_data(output)
    output.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of all runs (default: runs)"
    )
    output.add_argument("--name", help="name of this run's folder (default: data set and preset)")
    output.add_argument("--quiet", action="store_true", help="print the result only")


def _presets() -> str:
    """Return a table of the presets."""
    rows = [["", "layers", "activation", "loss", "dropout", "epochs", "batch", "lr", "momentum", "decay"]]
    for name, r in recipes.PRESETS.items():
        sizes = ",".join(map(str, r.layers))
        numbers = (r.dropout, r.epochs, r.batch_size, r.lr, r.momentum, r.weight_decay)
        rows.append([name, sizes, r.activation, r.loss, *(f"{number:g}" for number in numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return (
        "\n  ".join(["presets:", *lines])
        + "\n\nThe nielsen- presets begin with weights from N(0, 1), as the book does."
    )


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple([int(part) for part in text.split(",")])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 100 or 100,50") from None
    return () if sizes == (0,) else sizes


# ---------------------------------------------------------------------- train


@dataclass(frozen=True)
class _Run:
    """What the parts of one training share."""

    folder: Path
    options: argparse.Namespace
    recipe: Recipe
    splits: datasets.Splits
    model: Module
    loss_fn: Any
    notes: run_folder.Notes

    def say(self, text: str) -> None:
        if not self.options.quiet:
            print(text)


def _train(options: argparse.Namespace) -> int:
    dataset = recipes.choose("data set", options.dataset, datasets.NAMES)
    settings = {field.name for field in fields(recipes.Recipe)}
    given = {name: value for name, value in vars(options).items() if name in settings}
    recipe = recipes.preset(options.preset, **given)
    name = dataset if options.preset == "default" else f"{dataset}-{options.preset}"
    with run_folder.create(options.out, options.name or name) as folder:
        splits = _load(options, dataset, recipe)
        rng = np.random.default_rng(recipe.seed)
        model = recipes.build_model(recipe, splits.train.x.shape[1], splits.num_classes, rng)
        notes = run_folder.Notes(dataset, recipe, splits.classes, splits.train.image_shape)
        run = _Run(folder, options, recipe, splits, model, recipes.build_loss(recipe), notes)
        _introduce(run)
        start = time.perf_counter()
        history = _fit(run, rng)
        return _finish(run, history, time.perf_counter() - start)


def _load(options: argparse.Namespace, dataset: str, recipe: Recipe) -> datasets.Splits:
    return datasets.load(
        dataset, data_dir=options.data_dir, download=not options.no_download, rng=recipe.seed
    )


def _introduce(run: _Run) -> None:
    recipe, splits = run.recipe, run.splits
    widths = "-".join(map(str, (splits.train.x.shape[1], *recipe.layers, splits.num_classes)))
    count = sum(parameter.size for parameter in run.model.parameters())
    run.say(
        f"{splits.name}: {len(splits.train):,} examples to train on, {len(splits.validation):,} to choose "
        f"the epoch by, {len(splits.test):,} to test\n"
        f"network: {widths}, {recipe.activation}, {recipe.loss}; {count:,} parameters\n\n"
        "              training           validation\n"
        "  epoch     loss  accuracy     loss  accuracy     time"
    )


def _fit(run: _Run, rng: np.random.Generator) -> train.History:
    def after_epoch(history: train.History) -> None:
        record, is_best = history[-1], history.best is history[-1]
        if is_best:
            run_folder.save_model(run.folder, run.model, run.notes)
        history.save(run.folder / run_folder.HISTORY)
        epoch = f"{record.epoch}/{run.recipe.epochs}"
        columns = [
            f"{values['loss']:8.4f}  {values['accuracy']:8.2%}"
            for values in ({"loss": record.loss, **record.metrics}, record.validation)
        ]
        run.say(f"{epoch:>7} {' '.join(columns)}  {record.seconds:5.2f} s{' *' * is_best}")

    try:
        return train.fit(
            run.model,
            run.loss_fn,
            recipes.build_optimizer(run.recipe, run.model),
            recipes.prepare(run.recipe, run.splits.train),
            epochs=run.recipe.epochs,
            batch_size=run.recipe.batch_size,
            validation=recipes.prepare(run.recipe, run.splits.validation),
            metrics=["accuracy"],
            monitor="accuracy",
            keep_best=True,
            rng=rng,
            progress=False if run.options.quiet else None,
            on_epoch=after_epoch,
        )
    except train.DivergedError as error:
        model = run.folder / run_folder.MODEL
        kept = (
            f"the best network until then is in {model}" if model.exists() else "no epoch was over to be kept"
        )
        raise train.DivergedError(f"{error}; {kept}") from None


def _finish(run: _Run, history: train.History, seconds: float) -> int:
    """Test the best epoch's network once, write everything, and say where it is."""
    folder, recipe, splits = run.folder, run.recipe, run.splits
    if history.interrupted:
        run.say(f"interrupted in epoch {len(history) + 1}; what was trained until then is kept")
    test = train.evaluate(run.model, run.loss_fn, recipes.prepare(recipe, splits.test), metrics=["accuracy"])
    run_folder.save_model(folder, run.model, run.notes)
    history.save(folder / run_folder.HISTORY)
    best = history.best.epoch if history.best else None
    facts = {"dataset": splits.name, "preset": run.options.preset, "test": test, "best_epoch": best}
    versions = {"microgradnet": __version__, "numpy": np.__version__}
    run_folder.save_settings(folder, recipe, **facts, seconds=round(seconds, 2), versions=versions)
    network = f"the network of {f'epoch {best}' if best else 'the unfinished first epoch'}"
    chosen = f"; epoch {best} is the best in validation" if best else ""
    run.say(f"\ntrained for {seconds:.1f} s{chosen}")
    print(f"test accuracy {test['accuracy']:.2%} on {len(splits.test):,} examples, by {network}")
    files = {
        run_folder.MODEL: network,
        run_folder.HISTORY: "loss and accuracy of every epoch",
        run_folder.SETTINGS: "what it was trained with",
        **_curves(run, history, test["accuracy"]),
        **_graph(run),
    }
    if run.options.quiet:
        print(f"in {folder}: {', '.join(files)}")
        return _status(history)
    print(f"in {folder}:")
    for name, words in files.items():
        print(f"  {name:14} {words}")
    command = "microgradnet" if shutil.which("microgradnet") else f"{_short(sys.executable)} -m microgradnet"
    print(f"next:\n  {command} evaluate {folder}")
    if run.notes.image_shape:
        print(f"  {command} predict {folder} picture.png")
    return _status(history)


def _short(path: str) -> str:
    here = str(Path.cwd()) + os.sep
    return path.removeprefix(here)


def _status(history: train.History) -> int:
    return 130 if history.interrupted else 0


def _curves(run: _Run, history: train.History, accuracy: float) -> dict[str, str]:
    if not history.records:
        return {}
    title = f"{run.folder.name}: test accuracy {accuracy:.2%}"
    try:
        return {run_folder.save_curves(run.folder, history, title).name: "its curves"}
    except ModuleNotFoundError as error:
        return {"(no curves)": str(error)}


def _graph(run: _Run) -> dict[str, str]:
    x, y = recipes.prepare(run.recipe, run.splits.train[:1])
    path, advice = run_folder.save_graph(run.folder, run.loss_fn(run.model(x), y))
    return {path.name: "the computation of one example's loss" + (f" ({advice})" if advice else "")}


# ---------------------------------------------------------------------- evaluate, predict


def _evaluate(options: argparse.Namespace) -> int:
    model, notes = run_folder.load_model(options.folder)
    splits = _load(options, notes.dataset, notes.recipe)
    loss_fn = recipes.build_loss(notes.recipe)
    for name, data in (("validation", splits.validation), ("test", splits.test)):
        found = train.evaluate(model, loss_fn, recipes.prepare(notes.recipe, data), metrics=["accuracy"])
        print(
            f"{notes.dataset} {name:10}  loss {found['loss']:.4f}  accuracy {found['accuracy']:.2%}  "
            f"({len(data):,} examples)"
        )
    return 0


def _predict(options: argparse.Namespace) -> int:
    model, notes = run_folder.load_model(options.folder)
    channels, height, width = notes.image_shape or (0, 0, 0)
    if channels != 1:
        raise ValueError(f"this network was trained on {notes.dataset}, which is no set of grey pictures")
    model.eval()
    for path in options.pictures:
        image = picture.digit_input(picture.read_grey(path), height, path)
        shares = recipes.probabilities(notes.recipe, model(image.reshape(1, -1))).data[0]
        print(f"{path}, as the network sees it ({width}×{height}):")
        print(picture.as_text(image))
        order = np.argsort(-shares, kind="stable")
        for i in order[:3]:
            bar = "█" * round(40 * float(shares[i]))
            print(f"  {notes.classes[i]}  {shares[i]:7.2%}  {bar}".rstrip())
        print(f"it is {notes.classes[order[0]]}\n")
    return 0
