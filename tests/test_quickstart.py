"""quickstart.py: what it installs and runs, and how it mends what is broken, without a network."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "quickstart.py"
POSIX = pytest.mark.skipif(os.name != "posix", reason="environments have another layout on Windows")


def load(folder: Path) -> ModuleType:
    """Import a copy of quickstart.py that sets up `folder`."""
    folder.mkdir(exist_ok=True)
    script = shutil.copy(SCRIPT, folder)
    (folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("quickstart_copy", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Machine:
    """Stands for the commands that quickstart runs: notes them, and fails those that a test wants to fail."""

    def __init__(self, quickstart: ModuleType) -> None:
        self.quickstart = quickstart
        self.commands: list[str] = []
        self.variables: list[dict[str, str]] = []
        self.failing: dict[str, str] = {}  # part of a command → what it prints

    def attempt(self, command, *, folder=None, variables=None):
        line = " ".join(command)
        self.commands.append(line)
        self.variables.append(variables or {})
        for part, said in self.failing.items():
            if part in line:
                if said == "Ctrl-C":
                    raise KeyboardInterrupt
                return subprocess.CompletedProcess(command, 1, stdout=said)
        if "-m venv" in line:
            self.quickstart.PYTHON.parent.mkdir(parents=True)
            self.quickstart.PYTHON.touch()
        return subprocess.CompletedProcess(command, 0, stdout="")

    def did(self, *parts: str) -> list[str]:
        """List which of the parts each command so far contains, in order, and forget the commands."""
        done = [part for line in self.commands for part in parts if part in line]
        self.commands.clear()
        return done


@pytest.fixture
def quickstart(tmp_path: Path) -> ModuleType:
    return load(tmp_path / "project")


@pytest.fixture
def machine(quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(quickstart)
    monkeypatch.setattr(quickstart, "attempt", machine.attempt)
    monkeypatch.setattr(quickstart, "is_root", lambda: False)
    return machine


# What is run.


@pytest.mark.parametrize(
    ("arguments", "extra", "command"),
    [
        ("", "demo", "-m microgradnet train digits"),
        ("--epochs 3 --seed 1", "demo", "-m microgradnet train digits --epochs 3 --seed 1"),
        ("train mnist --epochs 3", "demo", "-m microgradnet train mnist --epochs 3"),
        ("predict runs/a picture.png", "demo", "-m microgradnet predict runs/a picture.png"),
        ("test", "test", "-m pytest -n auto"),
        ("test -k conv -n 0", "test", "-m pytest -n auto -k conv -n 0"),
        ("setup", "dev", ""),
    ],
)
def test_the_plan(quickstart, arguments, extra, command):
    assert quickstart.plan(arguments.split()) == (extra, command.split())


def test_setup_takes_no_arguments(quickstart, capsys):
    assert quickstart.main(["setup", "mnist"]) == 1
    assert capsys.readouterr().err == "quickstart: `setup` takes no arguments, and was given mnist\n"


def test_help_sets_nothing_up(quickstart, machine, capsys):
    assert quickstart.main(["--help"]) == 0
    assert "python3 quickstart.py test" in capsys.readouterr().out
    assert machine.commands == []


@POSIX
def test_tests_run_in_the_project_and_commands_where_the_caller_is(quickstart, tmp_path, monkeypatch):
    ran = []

    def execve(program, command, environment):
        ran.append((command[1:], Path.cwd()))
        raise SystemExit  # the real one does not return either

    monkeypatch.setattr(quickstart.os, "execve", execve)
    monkeypatch.chdir(tmp_path)
    for command in (["-m", "microgradnet", "train"], ["-m", "pytest"]):
        with pytest.raises(SystemExit):
            quickstart.run(command)
    assert ran == [(["-m", "microgradnet", "train"], tmp_path), (["-m", "pytest"], quickstart.ROOT)]


def test_the_environment_is_its_own(quickstart, monkeypatch):
    for name in ("PYTHONPATH", "PIP_TARGET", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("PIP_FIND_LINKS", "wheels")  # where packages come from is the caller's choice
    inside = quickstart.environment()
    assert not {"PYTHONPATH", "PIP_TARGET"} & set(inside)
    assert inside["VIRTUAL_ENV"] == str(quickstart.VENV)
    assert inside["PATH"].split(os.pathsep)[0] == str(quickstart.PYTHON.parent)
    assert inside["PIP_FIND_LINKS"] == "wheels"


def test_an_older_python_gets_one_line():
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))  # it can be read that far
    pretend = (
        "import sys; sys.version_info = (3, 9, 2)\n"
        "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", pretend, SCRIPT], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "quickstart: microgradnet needs Python 3.10 or newer, and this is Python 3.9. "
        "Run this file with a newer one, e.g. python3.12 quickstart.py\n"
    )


# Setting up, again and again.

VENV, PIP = "-m venv", "-m pip install"


def test_it_is_set_up_once(quickstart, machine):
    quickstart.set_up("demo")
    assert machine.did(VENV, PIP, "[demo]") == [VENV, PIP, "[demo]"]
    quickstart.set_up("demo")
    assert machine.did(VENV, PIP) == []


def test_a_larger_extra_is_added_and_never_taken_away(quickstart, machine):
    quickstart.set_up("demo")
    machine.commands.clear()
    quickstart.set_up("dev")
    assert machine.did(VENV, "[dev]") == ["[dev]"]
    quickstart.set_up("test")
    assert machine.did(VENV, PIP) == []
    (quickstart.ROOT / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    quickstart.set_up("demo")
    assert machine.did(VENV, PIP, "[dev]") == [PIP, "[dev]"]


@pytest.mark.parametrize("interrupted", [VENV, PIP])
def test_an_interrupted_set_up_starts_afresh(quickstart, machine, interrupted, capsys):
    machine.failing[interrupted] = "Ctrl-C"
    assert quickstart.main(["setup"]) == 130
    assert capsys.readouterr().err == "quickstart: interrupted; the same command goes on from here\n"
    machine.failing.clear()
    machine.commands.clear()
    quickstart.set_up("dev")
    assert machine.did(VENV, PIP) == [VENV, PIP]
    assert "making it anew" in capsys.readouterr().out


def test_an_interrupted_addition_starts_afresh(quickstart, machine):
    quickstart.set_up("demo")
    machine.failing["[dev]"] = "Ctrl-C"
    assert quickstart.main(["setup"]) == 130
    machine.failing.clear()
    machine.commands.clear()
    quickstart.set_up("demo")
    assert machine.did(VENV, PIP) == [VENV, PIP]


def test_a_broken_environment_is_made_anew(quickstart, machine):
    quickstart.set_up("demo")
    quickstart.PYTHON.unlink()
    machine.commands.clear()
    quickstart.set_up("demo")
    assert machine.did(VENV, PIP) == [VENV, PIP]


def test_a_moved_project_is_set_up_anew(quickstart, machine, monkeypatch):
    quickstart.set_up("demo")
    moved = quickstart.ROOT.rename(quickstart.ROOT.with_name("moved"))
    again = load(moved)
    machine.quickstart = again
    machine.commands.clear()
    monkeypatch.setattr(again, "attempt", machine.attempt)
    again.set_up("demo")
    assert machine.did(VENV, PIP) == [VENV, PIP]


def test_an_empty_folder_is_no_obstacle(quickstart, machine):
    quickstart.VENV.mkdir()
    quickstart.set_up("demo")
    assert machine.did(VENV, PIP) == [VENV, PIP]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_not_an_environment_is_kept(quickstart, machine, kind, capsys, tmp_path):
    mine = quickstart.VENV
    if kind == "file":
        mine.write_text("mine")
    elif kind == "link":
        mine.symlink_to(tmp_path)
    else:
        mine.mkdir()
        (mine / "notes.txt").write_text("mine")
    assert quickstart.main([]) == 1
    assert "is in the way" in capsys.readouterr().err
    assert mine.is_symlink() or (mine if kind == "file" else mine / "notes.txt").read_text() == "mine"
    assert machine.did(VENV, PIP) == []


@POSIX
def test_real_environments_are_told_apart(quickstart, monkeypatch):
    make = [quickstart.BASE, "-m", "venv", "--without-pip", str(quickstart.VENV)]
    subprocess.run(make, check=True)
    assert not quickstart.works()  # no pip
    with pytest.raises(quickstart.SetupError, match="was not made by quickstart"):
        quickstart.remove_venv()  # but a Python that somebody may use
    pip = next(quickstart.VENV.glob("lib/python*/site-packages")) / "pip.py"
    pip.touch()
    assert quickstart.works()
    quickstart.PYTHON.unlink()
    quickstart.PYTHON.symlink_to("gone")
    assert not quickstart.works()
    quickstart.remove_venv()
    assert not quickstart.VENV.exists()


@POSIX
def test_a_finished_environment_runs_the_command_and_passes_its_status_on(quickstart):
    subprocess.run([quickstart.BASE, "-m", "venv", "--without-pip", str(quickstart.VENV)], check=True)
    packages = next(quickstart.VENV.glob("lib/python*/site-packages"))
    (packages / "pip.py").touch()
    (packages / "microgradnet.py").write_text("import sys; print(sys.argv[1:]); sys.exit(7)\n")
    quickstart.write_stamp({**quickstart.fingerprint(), "extra": "demo"})
    script = quickstart.ROOT / "quickstart.py"
    done = subprocess.run(
        [sys.executable, script, "--epochs", "2"],
        cwd=quickstart.ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.splitlines() == [
        "quickstart: running microgradnet train digits --epochs 2",
        "['train', 'digits', '--epochs', '2']",
    ]


# What may be missing.


def test_without_a_network_it_says_so(quickstart, machine, capsys):
    machine.failing[PIP] = "WARNING: NewConnectionError(...): Temporary failure in name resolution"
    assert quickstart.main([]) == 1
    assert capsys.readouterr().err == (
        f"{machine.failing[PIP]}\n"
        "quickstart: pip install failed: what it needs could not be downloaded. Is this machine online, "
        "or behind a proxy (HTTPS_PROXY)? Then run the same command again\n"
    )


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "error: [Errno 28] No space left on device",
            "the disk is full. Make room, then run the same command again",
        ),
        ("error: invalid pyproject.toml", "its messages are above"),
    ],
)
def test_a_failing_installation_is_shown(quickstart, machine, capsys, said, line):
    machine.failing[PIP] = said
    assert quickstart.main([]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == said
    assert shown[1].startswith("quickstart: pip install failed")
    assert shown[1].endswith(line)


def test_a_folder_that_cannot_be_written(quickstart, machine, capsys, monkeypatch):
    def mkdir(path, *given, **named):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert quickstart.main([]) == 1
    assert capsys.readouterr().err == (
        f"quickstart: cannot write {quickstart.VENV} (Permission denied): "
        "use a copy of the project in a folder of your own\n"
    )


ENSUREPIP = "import venv, ensurepip"


def test_root_installs_what_venv_lacks(quickstart, machine, monkeypatch):
    monkeypatch.setattr(quickstart, "is_root", lambda: True)
    monkeypatch.setattr(quickstart.shutil, "which", lambda name: name)
    monkeypatch.setattr(quickstart, "venv_package", lambda: "python3-venv")
    machine.failing[ENSUREPIP] = "ModuleNotFoundError"
    attempt = machine.attempt

    def apt_helps(command, **named):
        if "python3-venv" in command[-1]:
            machine.failing.clear()
        return attempt(command, **named)

    monkeypatch.setattr(quickstart, "attempt", apt_helps)
    quickstart.set_up("demo")
    assert machine.did("update; ", "recommends python3-venv", VENV, "--without-pip", PIP) == [
        "update; ",
        "recommends python3-venv",
        VENV,
        PIP,
    ]


def test_root_without_a_network_is_told_so(quickstart, machine, monkeypatch, capsys):
    monkeypatch.setattr(quickstart, "is_root", lambda: True)
    monkeypatch.setattr(quickstart.shutil, "which", lambda name: name)
    machine.failing = {ENSUREPIP: "ModuleNotFoundError", "apt-get": "W: Could not connect to 127.0.0.1:9"}
    assert quickstart.main([]) == 1
    assert "failed: what it needs could not be downloaded" in capsys.readouterr().err


def without_root(quickstart, machine, monkeypatch, *, near: list[str], fetched: list[str], good: str):
    """Set up as an ordinary user on an incomplete Debian where only the pip at `good` works."""
    machine.failing[ENSUREPIP] = "ModuleNotFoundError"
    monkeypatch.setattr(quickstart, "pip_sources", lambda: near)
    monkeypatch.setattr(quickstart, "fetch_pip_wheel", lambda folder: fetched)
    attempt, tried = machine.attempt, []

    def borrow(command, *, variables=None, **named):
        source = (variables or {}).get("PYTHONPATH")
        if source:
            tried.append(source)
            return subprocess.CompletedProcess(command, int(source != good), stdout="")
        return attempt(command, variables=variables, **named)

    monkeypatch.setattr(quickstart, "attempt", borrow)
    quickstart.set_up("demo")
    return tried


@pytest.mark.parametrize(
    ("good", "tried"),
    [("site", ["site"]), ("wheel", ["site", "wheel"]), ("fetched", ["site", "wheel", "fetched"])],
)
def test_an_ordinary_user_borrows_a_pip(quickstart, machine, monkeypatch, good, tried):
    done = without_root(
        quickstart, machine, monkeypatch, near=["site", "wheel"], fetched=["fetched"], good=good
    )
    assert done == tried
    assert machine.did("apt-get", "--without-pip", "[demo]") == ["--without-pip", "[demo]"]


def test_an_ordinary_user_is_told_the_one_command(quickstart, machine, monkeypatch):
    monkeypatch.setattr(quickstart, "venv_package", lambda: "python3-venv")
    with pytest.raises(quickstart.SetupError, match=r"\n  sudo apt-get install python3-venv$"):
        without_root(quickstart, machine, monkeypatch, near=["site"], fetched=[], good="none")


def test_the_wheel_is_fetched_with_lists_of_its_own(quickstart, machine, tmp_path):
    assert quickstart.fetch_pip_wheel(tmp_path) == []  # nothing came
    update, download = machine.commands
    assert update.endswith(" update")
    assert download.endswith(" download python3-pip-whl")
    for command in (update, download):
        assert f"Dir::State={tmp_path / 'state'} " in command
        assert f"Dir::Cache={tmp_path / 'cache'} " in command
    wheel = tmp_path / "usr/share/python-wheels/pip-23.0.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    assert quickstart.pip_wheels(tmp_path) == [str(wheel)]
