"""The command line: train, evaluate, predict. The only file that prints."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import textwrap
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from microgradnet import (
    __version__,
    checking,
    datasets,
    model_source,
    no_grad,
    picture,
    recipes,
    report,
    run_folder,
    train,
    viz,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from microgradnet.nn import Module
    from microgradnet.recipes import Recipe

EXPECTED = (ValueError, OSError, ModuleNotFoundError, ArithmeticError)
"""What bad input raises: shown as one line. Anything else is a mistake of ours and shows where."""
DRAWINGS = ("text", "mermaid", "dot", "svg", "png", "pdf", "html")
PROBE = 256
"""Validation examples that say after every epoch which hidden units stand still."""
LIVE_PAUSE = 2.0
"""Seconds at least between two reports of --live: making one takes about one."""

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
  microgradnet check --model network.py:model
  microgradnet derive --model 784-30-10 --latex
  microgradnet explain --parameter 0.weight --index 0,1
  microgradnet draw --model 2-2-1 --out player.html
"""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps names such as fashion-mnist in one piece."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


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
        message = " ".join(str(error).split()).removeprefix(f"{options.command}: ")
        print(f"microgradnet {options.command}: {message}", file=sys.stderr)
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
        formatter_class=_Help,
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
    check = commands.add_parser(
        "check",
        help="verify every gradient of a model three ways",
        description="Compute every gradient by autograd, by the hand-derived δ equations and by finite "
        "differences, on a random batch; exit status 1 where they disagree.",
    )
    check.set_defaults(run=_check)
    _add_model(check)
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_draw(commands)
    _add_derive(commands)
    _add_explain(commands)
    return parser


def _add_derive(commands: Any) -> None:
    command = commands.add_parser(
        "derive",
        help="the backprop equations of a model",
        description="Derive the backprop equations of a model, in their order and with their shapes: "
        "forward, δ from the output back, and the derivative by every weight and bias.",
    )
    command.set_defaults(run=_derive)
    _add_model(command)
    _add_format(command)


def _add_explain(commands: Any) -> None:
    command = commands.add_parser(
        "explain",
        help="one entry of one gradient, path by path, in numbers",
        description="Explain one entry of one gradient by the chain rule, with the numbers put in. Without a "
        "model: the network of Mazur's step by step example, whose numbers were published.",
    )
    command.set_defaults(run=_explain)
    _add_model(command, default=None)
    command.add_argument("--parameter", metavar="PATH", help="such as 0.weight (default: the last weight)")
    command.add_argument("--index", type=_entry, metavar="I,J", help="the entry (default: the first)")
    _add_format(command)


def _add_format(command: argparse.ArgumentParser) -> None:
    forms = command.add_mutually_exclusive_group()
    forms.add_argument("--latex", action="store_true", help="print LaTeX")
    forms.add_argument("--markdown", action="store_true", help="print Markdown")


def _add_draw(commands: Any) -> None:
    command = commands.add_parser(
        "draw",
        help="draw the graph of a model's loss, or write a page that plays its backward pass",
        description="Draw how a model's loss is computed, with every value and every derivative. "
        "text, mermaid and dot are printed where no file is given; html is a page that plays the pass.",
    )
    command.set_defaults(run=_draw)
    _add_model(command)
    command.add_argument(
        "--format",
        choices=DRAWINGS,
        metavar="NAME",
        help=f"{', '.join(DRAWINGS)} (default: FILE's ending, or text)",
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: graph.NAME)")
    command.add_argument(
        "--depth", type=int, metavar="N", help="levels of modules that are opened (default: all)"
    )
    command.add_argument(
        "--theme", choices=("light", "dark"), default="light", help="of a picture (default: light)"
    )
    command.add_argument("--source", action="store_true", help="show the line of the program for each node")


def _add_model(command: argparse.ArgumentParser, default: str | None = "784-30-10") -> None:
    command.add_argument(
        "--model",
        default=default,
        metavar="SIZES|FILE.py:NAME",
        help="sizes of a network of sigmoid neurons, or a model, or a function that returns "
        "(model, loss, x, y), in a Python file" + (f" (default: {default})" if default else ""),
    )


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
        formatter_class=_Help,
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
        shown = ",".join(map(str, value)) or "none" if isinstance(value, tuple) else value
        if "choices" in options:
            options["metavar"] = "NAME"
            words += f": {', '.join(options['choices'])}"
        options.setdefault("type", type(value))
        group.add_argument(option, default=argparse.SUPPRESS, help=f"{words} (default: {shown})", **options)

    add(
        network,
        "--convolutions",
        "feature maps of each 5×5 convolution with 2×2 max pooling, 0 for none",
        type=_sizes,
        metavar="N,…",
    )
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
    training.add_argument(
        "--no-compile", action="store_true", help="take every step eagerly: the same numbers, later"
    )
    _add_data(output)
    output.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of all runs (default: runs)"
    )
    output.add_argument("--name", help="name of this run's folder (default: data set and preset)")
    output.add_argument("--quiet", action="store_true", help="print the result only")
    output.add_argument(
        "--live", action="store_true", help="serve the report to this machine's browser while training"
    )


def _presets() -> str:
    """Return a table of the presets."""
    rows = [["", "layers", "activation", "loss", "dropout", "epochs", "batch", "lr", "momentum", "decay"]]
    for name, r in recipes.PRESETS.items():
        sizes = "|".join([",".join(map(str, sizes)) for sizes in (r.convolutions, r.layers) if sizes])
        numbers = (r.dropout, r.epochs, r.batch_size, r.lr, r.momentum, r.weight_decay)
        rows.append([name, sizes, r.activation, r.loss, *(f"{number:g}" for number in numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return (
        "\n  ".join(["presets:", *lines])
        + "\n\nThe first two nielsen- presets begin with weights from N(0, 1), as the book does there.\n"
        "Before a bar stand the feature maps of convolutions."
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
    watch: train.Watch

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
        shape = splits.train.image_shape
        model = recipes.build_model(recipe, splits.train.x.shape[1], splits.num_classes, rng, shape)
        notes = run_folder.Notes(dataset, recipe, splits.classes, splits.train.image_shape)
        probe, _ = recipes.prepare(recipe, splits.validation[:PROBE])
        watch = train.Watch(model, probe)
        run = _Run(folder, options, recipe, splits, model, recipes.build_loss(recipe), notes, watch)
        _introduce(run)
        start = time.perf_counter()
        with _live(run) as show:
            history = _fit(run, rng, show)
        return _finish(run, history, time.perf_counter() - start)


def _load(options: argparse.Namespace, dataset: str, recipe: Recipe) -> datasets.Splits:
    return datasets.load(
        dataset, data_dir=options.data_dir, download=not options.no_download, rng=recipe.seed
    )


def _introduce(run: _Run) -> None:
    recipe, splits = run.recipe, run.splits
    maps = [f"{maps} maps" for maps in recipe.convolutions]
    widths = "-".join(map(str, (splits.train.x.shape[1], *maps, *recipe.layers, splits.num_classes)))
    count = sum(parameter.size for parameter in run.model.parameters())
    run.say(
        f"{splits.name}: {len(splits.train):,} examples to train on, {len(splits.validation):,} to choose "
        f"the epoch by, {len(splits.test):,} to test\n"
        f"network: {widths}, {recipe.activation}, {recipe.loss}; {count:,} parameters\n\n"
        "              training           validation\n"
        "  epoch     loss  accuracy     loss  accuracy     time"
    )


def _fit(run: _Run, rng: np.random.Generator, show: Callable[[train.History], None] | None) -> train.History:
    def after_epoch(history: train.History) -> None:
        record, is_best = history[-1], history.best is history[-1]
        run.watch.after_epoch(history)
        if is_best:
            run_folder.save_model(run.folder, run.model, run.notes)
        history.save(run.folder / run_folder.HISTORY)
        epoch = f"{record.epoch}/{run.recipe.epochs}"
        columns = [
            f"{values['loss']:8.4f}  {values['accuracy']:8.2%}"
            for values in ({"loss": record.loss, **record.metrics}, record.validation)
        ]
        run.say(f"{epoch:>7} {' '.join(columns)}  {record.seconds:5.2f} s{' *' * is_best}")
        if show is not None:
            show(history)

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
            on_batch=run.watch,
            on_epoch=after_epoch,
            compile=not run.options.no_compile,
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
        **_report(run, history, test["accuracy"]),
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


def _report(run: _Run, history: train.History, accuracy: float) -> dict[str, str]:
    test = run.splits.test
    result = f"test accuracy {accuracy:.2%} on {len(test):,} examples"
    report.write(_reported(run, history, result, test, "the test data"), run.folder / run_folder.REPORT)
    return {run_folder.REPORT: "all of this on one page: open it in a browser"}


def _reported(
    run: _Run, history: train.History, result: str, data: datasets.Dataset, name: str
) -> report.Run:
    """Return what the report shows, with the network as it is now, examined on ``data``."""
    x, _ = recipes.prepare(run.recipe, data)
    with train.in_mode(run.model, training=False), no_grad():
        parts = [run.model(x[i : i + 1000]).data for i in range(0, len(x), 1000)]
    return report.Run(
        title=f"{run.splits.name}: {run.folder.name}",
        result=result,
        settings={"data set": run.splits.name, **asdict(run.recipe)},
        history=history,
        watch=run.watch,
        model=run.model,
        loss_fn=run.loss_fn,
        examples=recipes.prepare(run.recipe, run.splits.train[:8]),
        examined=name,
        x=x,
        y=data.y,
        probabilities=recipes.probabilities(run.recipe, np.concatenate(parts)),
        classes=run.splits.classes,
        image_shape=run.notes.image_shape,
    )


@contextlib.contextmanager
def _live(run: _Run) -> Iterator[Callable[[train.History], None] | None]:
    """Serve the report while training, where that is asked for; yields what shows the newest epoch."""
    if not run.options.live:
        yield None
        return
    with report.Live() as live:
        end = f"the training is over; the report is in {run.folder / run_folder.REPORT}"
        shown = 0.0

        def show(history: train.History) -> None:
            nonlocal shown
            if time.monotonic() - shown < LIVE_PAUSE:
                return
            best = f"{history[-1].validation['accuracy']:.2%} on the validation data"
            result = f"epoch {len(history)} of {run.recipe.epochs}: {best}"
            seen = _reported(run, history, result, run.splits.validation, "the validation data")
            live.show(report.render(seen, live=(live.version + 1, end)))
            shown = time.monotonic()

        live.show(report.waiting(run.folder.name, live=(live.version + 1, end)))
        print(f"the report, while it trains: {live.url}\n")
        yield show


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
        x = image[None, None] if notes.recipe.convolutions else image.reshape(1, -1)
        shares = recipes.probabilities(notes.recipe, model(x)).data[0]
        print(f"{path}, as the network sees it ({width}×{height}):")
        print(picture.as_text(image))
        order = np.argsort(-shares, kind="stable")
        for i in order[:3]:
            bar = "█" * round(40 * float(shares[i]))
            print(f"  {notes.classes[i]}  {shares[i]:7.2%}  {bar}".rstrip())
        print(f"it is {notes.classes[order[0]]}\n")
    return 0


# ---------------------------------------------------------------------- check


def _check(options: argparse.Namespace) -> int:
    source = model_source.read(options.model)
    found = checking.verify(source.model, source.loss_fn, source.x, source.y)
    print(found.to_json() if options.json else found)
    return 0 if found.ok else 1


# ---------------------------------------------------------------------- draw


def _draw(options: argparse.Namespace) -> int:
    """Print the graph of a model's loss, or write it to a file."""
    kind, out = _drawing(options.format, options.out)
    source = model_source.read(options.model)
    with viz.source_lines() if options.source else contextlib.nullcontext():
        loss = source.loss_fn(source.model(source.x), source.y)
    if kind == "html":
        title = f"Backpropagation through {options.model}"
        print(viz.player(loss, out or "graph.html", title=title, depth=options.depth))
        return 0
    show = ("shape", "value", "backward", *(["source"] if options.source else []))
    if kind in {"text", "mermaid"}:
        form: Literal["text", "mermaid"] = "text" if kind == "text" else "mermaid"
        text = viz.draw(loss, format=form, show=show, depth=options.depth, theme=options.theme)
    else:
        graph = viz.draw(loss, show=show, depth=options.depth, theme=options.theme)
        if kind != "dot":
            print(viz.render(graph, out or f"graph.{kind}"))
            return 0
        text = graph.source
    if out is None:
        print(text)
    else:
        out.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        print(out)
    return 0


def _drawing(kind: str | None, out: Path | None) -> tuple[str, Path | None]:
    """Return what is drawn: what is asked for, else what the file's ending says, else text."""
    ending = out.suffix.removeprefix(".").lower() if out else ""
    said = {"txt": "text", "mmd": "mermaid", "gv": "dot"}.get(ending, ending)
    if kind is None and out is not None and said not in DRAWINGS:
        raise ValueError(f"'{out}' does not say what to draw: give --format, one of {', '.join(DRAWINGS)}")
    if kind in {"svg", "png", "pdf"} and out is not None and said != kind:
        raise ValueError(f"--format {kind} does not fit '{out}'; name a file that ends in .{kind}")
    return kind or said or "text", out


# ---------------------------------------------------------------------- derive, explain


def _derive(options: argparse.Namespace) -> int:
    source = model_source.read(options.model)
    print(_formatted(checking.derive(source.model, source.loss_fn, source.x, source.y), options))
    return 0


def _explain(options: argparse.Namespace) -> int:
    published = options.model is None
    source = model_source.Source(*checking.mazur()) if published else model_source.read(options.model)
    x, y = source.x, source.y
    if published or ":" not in options.model:  # one example of a random batch is easier to follow
        x, y = x[:1], y[:1]
    parameters = dict(source.model.named_parameters())
    weights = [path for path, parameter in parameters.items() if parameter.ndim > 1] or list(parameters)
    if not weights:
        raise ValueError(f"{options.model} has no parameters")
    path = weights[-1] if options.parameter is None else options.parameter
    if path not in parameters:
        raise ValueError(f"the model has no parameter '{path}'; it has {', '.join(parameters)}")
    index = (0,) * parameters[path].ndim if options.index is None else options.index
    try:
        found = checking.explain(source.loss_fn(source.model(x), y), parameters[path], index)
    except IndexError as error:
        raise ValueError(str(error)) from None
    print(_formatted(found, options))
    return 0


def _entry(text: str) -> tuple[int, ...]:
    try:
        return tuple([int(part) for part in text.split(",")])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an index such as 0,2") from None


def _formatted(found: checking.Derivation | checking.Explanation, options: argparse.Namespace) -> str:
    return found.latex() if options.latex else found.markdown() if options.markdown else str(found)
