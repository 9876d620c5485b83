"""`microgradnet train` and `evaluate`: what they leave, what they print, and what they refuse."""

import builtins
import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import datasets, nn, recipes, report, run_folder, train
from microgradnet.cli import main
from microgradnet.datasets import locate

QUICK = ("--epochs", "2", "--layers", "16", "--dropout", "0")


@pytest.fixture(autouse=True)
def numpy_warns():
    """NumPy's own setting, as in the user's terminal; its warnings are errors here."""
    with np.errstate(divide="warn", over="warn", invalid="warn"):
        yield


@pytest.fixture
def without_pictures(monkeypatch):
    """Leave out curves and report, which take longer than a small training and are not what is tested."""
    monkeypatch.setattr(run_folder, "save_curves", lambda folder, *_: folder / run_folder.CURVES)
    monkeypatch.setattr(report, "write", lambda run, path: path)


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


def run(*arguments, **options):
    """Run the command as a program of its own."""
    return subprocess.run(
        [sys.executable, "-m", "microgradnet", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


# ---------------------------------------------------------------------- what it leaves


def test_a_training_leaves_its_folder(tmp_path, capsys, needs_dot):
    assert main(["train", *QUICK, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "digits"
    names = ["curves.png", "graph.svg", "history.jsonl", "model.npz", "report.html", "settings.json"]
    assert files_of(folder) == names
    assert f"in {folder}:" in out
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in names)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in history] == [1, 2]
    for record in history:
        assert re.search(rf"^ +{record['epoch']}/2 +{record['loss']:.4f} ", out, re.MULTILINE)
        assert f"{record['validation']['accuracy']:.2%}" in out
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["recipe"]["layers"] == [16]
    assert settings["recipe"]["seed"] == 1
    assert f"test accuracy {settings['test']['accuracy']:.2%} on 360 examples" in out
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "graph.svg").read_text().rstrip().endswith("</svg>")
    assert main(["train", *QUICK, "--out", str(tmp_path)]) == 0
    assert files_of(tmp_path) == ["digits", "digits-2"]


def test_the_default_reaches_97_percent(tmp_path, capsys):
    assert main(["train", "--quiet", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    found = re.match(r"test accuracy ([\d.]+)% on 360 examples, by the network of epoch \d+\n", out)
    assert found, out
    assert float(found[1]) >= 97


def test_evaluate_repeats_the_printed_accuracy(tmp_path, capsys):
    main(["train", *QUICK, "--out", str(tmp_path), "--seed", "4"])
    trained = re.search(r"test accuracy ([\d.]+%)", capsys.readouterr().out)
    assert trained
    for path in (tmp_path / "digits", tmp_path / "digits" / "model.npz"):
        assert main(["evaluate", str(path)]) == 0
        validation, test = capsys.readouterr().out.splitlines()
        assert re.fullmatch(rf"digits test +loss [\d.]+  accuracy {trained[1]}  \(360 examples\)", test)
        assert validation.startswith("digits validation")


def test_two_runs_with_one_seed_give_the_same_bytes(tmp_path, without_pictures):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        main(
            [
                "train",
                "moons",
                "--epochs",
                "2",
                "--quiet",
                "--out",
                str(tmp_path),
                "--name",
                name,
                "--seed",
                seed,
            ]
        )
    a, b, c = ((tmp_path / name / "model.npz").read_bytes() for name in "abc")
    assert a == b != c
    assert (tmp_path / "a" / "graph.svg").exists() == (tmp_path / "b" / "graph.svg").exists()


def test_every_setting_can_be_turned(tmp_path, without_pictures):
    network = (
        "--layers 5,4 --activation tanh --loss cross-entropy --dropout 0.1 --start nielsen --dtype float64"
    )
    training = "--epochs 2 --batch-size 50 --lr 0.2 --momentum 0.5 --weight-decay 0.01 --seed 9"
    main(["train", "blobs", *network.split(), *training.split(), "--quiet", "--out", str(tmp_path)])
    model, notes = run_folder.load_model(tmp_path / "blobs")
    assert isinstance(model, nn.Sequential)
    assert notes.recipe == recipes.Recipe(
        (), (5, 4), "tanh", "cross-entropy", 0.1, "nielsen", 2, 50, 0.2, 0.5, 0.01, "float64", 9
    )
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")}


def test_convolutions_see_images(tmp_path, capsys, without_pictures):
    settings = "--convolutions 6 --layers 12 --dropout 0 --activation tanh --epochs 2"
    main(["train", *settings.split(), "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert "network: 64-6 maps-12-10, tanh, softmax; 586 parameters" in out
    model, notes = run_folder.load_model(tmp_path / "digits")
    assert notes.recipe.convolutions == (6,)
    kinds = [type(layer).__name__ for layer in model]  # type: ignore[attr-defined]
    assert kinds == ["Conv2d", "MaxPool2d", "Tanh", "Flatten", "Linear", "Tanh", "Linear"]
    assert main(["evaluate", str(tmp_path / "digits")]) == 0
    tested = re.findall(r"test accuracy +(\S+)", out)[0]
    assert f"accuracy {tested}  (360 examples)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "digits --convolutions 4,4",
            "convolutions 4,4: the 5×5 kernels and 2×2 pooling of number 2 do not fit",
        ),
        ("moons --convolutions 4", "convolutions need images, and these examples are none; leave out"),
        ("digits --convolutions -1", "convolutions must be at least 1 feature map each, not -1"),
    ],
)
def test_convolutions_that_do_not_fit(tmp_path, capsys, arguments, message):
    assert main(["train", *arguments.split(), "--out", str(tmp_path / "runs")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_each_setting_changes_the_model(tmp_path, without_pictures):
    network = (
        "|--activation tanh|--loss quadratic|--loss cross-entropy|--dropout 0.2|--layers 0|--dtype float64"
    )
    start = "--start nielsen|--start nielsen-large|--seed 2"
    training = "--epochs 1|--batch-size 7|--lr 0.01|--momentum 0.5|--weight-decay 0.1"
    changes = f"{network}|{start}|{training}".split("|")
    for i, change in enumerate(changes):
        same = "blobs --layers 4 --epochs 2 --dropout 0 --quiet"
        main(["train", *same.split(), *change.split(), "--out", str(tmp_path), "--name", str(i)])
    states = [mg.load_state(tmp_path / str(i) / "model.npz") for i in range(len(changes))]
    assert len({b"".join(array.tobytes() for array in state.values()) for state in states}) == len(changes)


def test_quiet_prints_the_result_only(tmp_path, capfd):
    main(["train", "moons", "--epochs", "1", "--quiet", "--out", str(tmp_path)])
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    assert out.startswith("test accuracy ")
    assert f"in {tmp_path / 'moons'}: model.npz, history.jsonl" in out
    assert err == ""


def test_without_dot_the_graph_is_text_with_the_command_that_installs_it(tmp_path, capsys, monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *rest: None if name == "dot" else which(name, *rest))
    main(["train", "moons", "--epochs", "1", "--out", str(tmp_path)])
    assert "graph.dot" in files_of(tmp_path / "moons")
    assert "graph.svg" not in files_of(tmp_path / "moons")
    line = next(line for line in capsys.readouterr().out.splitlines() if "graph.dot" in line)
    assert "install graphviz" in line or "graphviz.org/download" in line
    assert (tmp_path / "moons" / "graph.dot").read_text().lstrip().startswith("digraph")


def test_without_matplotlib_one_line_says_what_to_install(tmp_path, capsys, monkeypatch):
    ordinary = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return ordinary(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["train", "moons", "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert "curves need matplotlib: pip install 'microgradnet[plots]'" in capsys.readouterr().out
    assert "curves.png" not in files_of(tmp_path / "moons")


def test_as_a_program_of_its_own(tmp_path):
    done = run("train", "moons", "--epochs", "1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "model.npz" in files_of(tmp_path / "runs" / "moons")
    command = next(line for line in done.stdout.splitlines() if line.endswith("evaluate runs/moons"))
    done = subprocess.run(command.split(), capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "accuracy" in done.stdout


def test_a_nielsen_network_learns_mnist_in_one_epoch(tmp_path, capsys, mnist_dir):
    arguments = ["--preset", "nielsen-quadratic", "--epochs", "1", "--quiet", "--out", str(tmp_path)]
    assert main(["train", "mnist", *arguments, "--data-dir", str(mnist_dir)]) == 0
    found = re.search(r"test accuracy ([\d.]+)% on 10,000", capsys.readouterr().out)
    assert found
    assert float(found[1]) > 90
    assert main(["evaluate", str(tmp_path / "mnist-nielsen-quadratic"), "--data-dir", str(mnist_dir)]) == 0
    assert f"accuracy {found[1]}%" in capsys.readouterr().out


# ---------------------------------------------------------------------- in a terminal


def in_a_terminal(*arguments):
    """Run the command in a terminal of 100 columns; return what it sends and the rows that stay."""
    fcntl, pty, termios = (
        pytest.importorskip(name, reason="Windows has no pseudo-terminals")
        for name in ("fcntl", "pty", "termios")
    )
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))  # rows and columns
    with subprocess.Popen(
        [sys.executable, "-m", "microgradnet", *arguments], stdout=there, stderr=there
    ) as process:
        os.close(there)
        sent = b""
        with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
            while part := os.read(here, 65536):
                sent += part
    os.close(here)
    assert process.returncode == 0
    rows = []
    for line in sent.decode().replace("\r\n", "\n").split("\n"):
        row = ""
        for piece in line.split("\r"):
            row = piece + row[len(piece) :]
        rows.append(row.rstrip())
    return sent.decode(), rows


def test_in_a_terminal_the_bar_and_the_lines_do_not_mix(tmp_path):
    sent, rows = in_a_terminal("train", "--epochs", "8", "--layers", "128,128", "--out", str(tmp_path))
    assert re.search(r"epoch 1/8  loss \d\.\d{4}  accuracy \d\.\d{4} \|.*\| +\d+ %, .* left", sent)
    assert not any("left" in row for row in rows)
    epochs = [row for row in rows if re.match(r" +\d/8 ", row)]
    assert len(epochs) == 8
    assert all(re.fullmatch(r" +\d/8( +[\d.]+ +[\d.]+%){2} +[\d.]+ s( \*)?", row) for row in epochs)


def test_in_a_terminal_quiet_shows_no_bar(tmp_path):
    sent, rows = in_a_terminal("train", "moons", "--epochs", "2", "--quiet", "--out", str(tmp_path))
    assert "left" not in sent
    assert len(rows) == 3  # the result, the files, and where the cursor stands
    assert rows[0].startswith("test accuracy")


# ---------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--preset", "nielson-quadratic"],
            "there is no preset 'nielson-quadratic'; did you mean nielsen-quadratic",
        ),
        (["minst"], "there is no data set 'minst'; did you mean mnist"),
        (["--lr", "-1"], "lr must be at least 0 and finite, not -1.0"),
        (["--lr", "nan"], "lr must be at least 0 and finite, not nan"),
        (["--dropout", "1"], "dropout must be at least 0 and below 1, not 1.0"),
        (["--momentum", "1.5"], "momentum must be at least 0 and below 1, not 1.5"),
        (["--weight-decay", "-1"], "weight decay must be at least 0 and finite, not -1.0"),
        (["--epochs", "0"], "epochs must be at least 1, not 0"),
        (["--batch-size", "0"], "batch size must be at least 1, not 0"),
        (["--layers", "10,0"], "layers must be at least 1 neuron each, not 0"),
        (["--seed", "-3"], "seed must be at least 0, not -3"),
        (
            ["--out", "{file}"],
            "cannot make the output folder {file}/digits: Not a directory; choose another with --out",
        ),
        (["--out", "/dev/null/runs"], "cannot make the output folder /dev/null/runs/digits: Not a directory"),
    ],
)
def test_bad_input_fails_before_anything_is_loaded(tmp_path, capsys, monkeypatch, arguments, words):
    def never(*_, **__):
        raise AssertionError("loaded")

    monkeypatch.setattr(datasets, "load", never)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.touch()
    arguments = [argument.format(file=file) for argument in arguments]
    assert main(["train", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("microgradnet train: " + words.format(file=file))
    assert err.count("\n") == 1
    assert files_of(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "arguments", [["--layers", "a"], ["--activation", "rleu"], ["--epochs", "x"], ["--nonsense"]]
)
def test_wrong_usage_is_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments])
    assert end.value.code == 2
    assert "usage: microgradnet" in capsys.readouterr().err


def test_mnist_that_is_not_there_says_what_was_looked_for(tmp_path, capsys):
    out = tmp_path / "runs"
    assert main(["train", "mnist", "--data-dir", str(tmp_path), "--no-download", "--out", str(out)]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "mnist: looked for train-images-idx3-ubyte[.gz]" in message
    assert str(tmp_path / "mnist") in message
    assert not out.exists()


@pytest.mark.parametrize("where", ["option", "environment"])
def test_mnist_is_looked_for_in(tmp_path, capsys, monkeypatch, where):
    monkeypatch.setenv(locate.ENVIRONMENT, str(tmp_path / where))
    option = ["--data-dir", str(tmp_path / "option")] if where == "option" else []
    assert main(["train", "mnist", "--no-download", *option, "--out", str(tmp_path / "runs")]) == 1
    assert str(tmp_path / where / "mnist") in capsys.readouterr().err


@pytest.mark.parametrize("command", [["evaluate"], ["predict"]])
def test_a_run_that_is_not_there(tmp_path, capsys, command):
    assert main([*command, str(tmp_path), *(["x.png"] if command == ["predict"] else [])]) == 1
    expected = f"there is no trained model at {tmp_path / 'model.npz'}; `microgradnet train` makes one\n"
    assert capsys.readouterr().err == f"microgradnet {command[0]}: {expected}"


def test_a_model_that_was_not_trained_here(tmp_path, capsys):
    mg.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "mine.npz")
    assert main(["evaluate", str(tmp_path / "mine.npz")]) == 1
    assert (
        "does not say what it was trained on; only models of `microgradnet train` do"
        in capsys.readouterr().err
    )


def test_a_damaged_model_file(tmp_path, capsys):
    (tmp_path / "model.npz").write_bytes(b"PK\x03\x04 and nothing more")
    assert main(["evaluate", str(tmp_path)]) == 1
    assert f"{tmp_path / 'model.npz'} is not a whole model file" in capsys.readouterr().err


# ---------------------------------------------------------------------- when it goes wrong


def test_a_loss_that_is_no_number_is_one_line(tmp_path, capsys):
    arguments = ["--lr", "1e9", "--layers", "64,64", "--quiet"]
    assert main(["train", "digits", *arguments, "--out", str(tmp_path / "runs")]) == 1
    err = capsys.readouterr().err
    assert re.match(
        r"microgradnet train: (the loss became (nan|inf) at step \d+|after step \d+ '\d+\.\w+' holds)", err
    ), err
    assert err.count("\n") == 1
    assert err.endswith("no epoch was over to be kept\n")
    assert not (tmp_path / "runs").exists()


def test_the_best_model_is_kept_when_a_later_epoch_goes_wrong(tmp_path, capsys, monkeypatch):
    build, calls = recipes.build_loss, []

    def turns_bad(recipe):
        loss_fn = build(recipe)

        def loss(output, target):
            calls.append(mg.graph.is_recording())
            return loss_fn(output, target) * (float("nan") if sum(calls) > 60 else 1.0)

        return loss

    monkeypatch.setattr(recipes, "build_loss", turns_bad)
    assert main(["train", *QUICK, "--no-compile", "--epochs", "5", "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    path = tmp_path / "digits" / "model.npz"
    assert "the loss became nan at step 61 (epoch 2): " in err
    assert err.endswith(f"the best network until then is in {path}\n")
    assert all(np.isfinite(array).all() for array in mg.load_state(path).values())
    assert len((tmp_path / "digits" / "history.jsonl").read_text().splitlines()) == 1


# A shell lets its background jobs ignore Ctrl-C; a program that a person looks at does not.
WITH_CONTROL_C = """
import signal, sys
from microgradnet.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a process")
def test_control_c_keeps_what_was_trained_and_writes_the_run(tmp_path):
    arguments = ["train", "--epochs", "2000", "--layers", "16", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-u", "-c", WITH_CONTROL_C, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith(" 3/2000 "):
                break
        process.send_signal(signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert (process.returncode, errors) == (130, "")
    assert "what was trained until then is kept" in rest
    assert "test accuracy" in rest
    folder = tmp_path / "digits"
    assert {"curves.png", "history.jsonl", "model.npz", "settings.json"} <= set(files_of(folder))
    assert len((folder / "history.jsonl").read_text().splitlines()) >= 3
    assert main(["evaluate", str(folder)]) == 0


def test_control_c_in_the_first_epoch(tmp_path, capsys, monkeypatch):
    fit = train.fit

    def interrupted(*args, **kwargs):
        def stop(batch):
            if batch.step == 5:
                raise KeyboardInterrupt

        return fit(*args, **{**kwargs, "on_batch": stop})

    monkeypatch.setattr(train, "fit", interrupted)
    assert main(["train", *QUICK, "--out", str(tmp_path)]) == 130
    assert "by the network of the unfinished first epoch" in capsys.readouterr().out
    assert "model.npz" in files_of(tmp_path / "digits")
    assert main(["evaluate", str(tmp_path / "digits")]) == 0


def test_control_c_while_loading(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "load", interrupted)
    assert main(["train", "--out", str(tmp_path / "runs")]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------------- help


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["predict"]])
def test_help_reads_well(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 110
    assert "None" not in text
    assert "==SUPPRESS==" not in text
    assert "%(" not in text


def test_help_of_train_shows_every_default_and_every_preset(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.partition("positional arguments:")[2].split())
    for option, default in {
        "--layers": "256",
        "--activation": "relu",
        "--loss": "softmax",
        "--dropout": "0.5",
        "--epochs": "60",
        "--batch-size": "32",
        "--lr": "0.1",
        "--momentum": "0.9",
        "--weight-decay": "0.0",
        "--seed": "1",
        "--dtype": "float32",
        "--start": "default",
        "--convolutions": "none",
        "--out": "runs",
        "--preset": "default",
    }.items():
        entry = re.findall(rf" {option} (.*?)(?= --|$)", text)[-1]
        assert f"(default: {default})" in entry.split(" --")[0], option
    for name in recipes.PRESETS:
        assert name in text
    for name in datasets.NAMES:
        assert name in text
