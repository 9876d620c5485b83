"""Set up microgradnet in a virtual environment of its own, then run it: nothing but Python 3.10 is needed.

python3 quickstart.py                      train a digit classifier on the digits that need no download
python3 quickstart.py --epochs 5           the same, with options of `microgradnet train digits`
python3 quickstart.py COMMAND ...          any command of microgradnet, e.g. `train mnist` or `predict`
python3 quickstart.py test [PYTEST ARGS]   the tests, on all cores (`-n 0`: on one)
python3 quickstart.py setup                only set up, with every tool a developer needs

Everything is installed in the folder .venv beside this file; delete that folder to start afresh.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 (older Pythons get this line; nothing above it needs a newer one)
    sys.exit(
        "quickstart: microgradnet needs Python 3.10 or newer, and this is Python {}.{}. "
        "Run this file with a newer one, e.g. python3.12 quickstart.py".format(*sys.version_info[:2]),
    )

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "quickstart.json"
# The Python under the one that runs this, which may be that of an active environment, even of .venv.
BASE = getattr(sys, "_base_executable", sys.executable)
EXTRAS = ("demo", "test", "dev")  # each contains the one before it
# Settings of the calling shell that would send packages elsewhere or mix other packages in.
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
ELSEWHERE = "use a copy of the project in a folder of your own"
NETWORK_SIGNS = (
    "name resolution",
    "NewConnectionError",
    "Network is unreachable",
    "Connection refused",
    "Connection reset",
    "ConnectionError",
    "ConnectTimeout",
    "ProxyError",
    "ReadTimeout",
    "timed out",
    "Could not resolve",
    "Could not connect",
    "Temporary failure resolving",
    "(from versions: none)",
)


class SetupError(Exception):
    """Something that the user can put right, in words."""


def say(line: str) -> None:
    """Show one step, at once."""
    print(f"quickstart: {line}", flush=True)


def plan(arguments: list[str]) -> tuple[str, list[str]]:
    """Give the extra that a command line needs, and what to run in the environment (nothing: only set up)."""
    first = arguments[0] if arguments else ""
    if first == "setup":
        if arguments[1:]:
            raise SetupError(f"`setup` takes no arguments, and was given {' '.join(arguments[1:])}")
        return "dev", []
    if first == "test":
        return "test", ["-m", "pytest", "-n", "auto", *arguments[1:]]
    command = ["train", "digits", *arguments] if not first or first.startswith("-") else arguments
    return "demo", ["-m", "microgradnet", *command]


def environment() -> dict[str, str]:
    """Return the caller's environment as it is inside .venv, without what would leak into it."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    scripts = str(PYTHON.parent)
    return {
        **kept,
        "VIRTUAL_ENV": str(VENV),
        "PATH": os.pathsep.join([scripts, kept.get("PATH", os.defpath)]),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def attempt(
    command: list[str], *, folder: Path | None = None, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command quietly, in a folder and with environment variables of its own where given."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**environment(), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:  # the program is missing or cannot be started
        return subprocess.CompletedProcess(command, 127, stdout=f"{command[0]}: {error.strerror}\n")


def require(command: list[str], what: str, variables: dict[str, str] | None = None) -> None:
    """Run a command quietly; where it fails, show what it said and stop."""
    done = attempt(command, variables=variables)
    if done.returncode == 0:
        return
    print(done.stdout.rstrip(), file=sys.stderr, flush=True)
    if any(sign in done.stdout for sign in NETWORK_SIGNS):
        raise SetupError(
            f"{what} failed: what it needs could not be downloaded. Is this machine online, or behind a "
            "proxy (HTTPS_PROXY)? Then run the same command again",
        )
    if "No space left" in done.stdout:
        raise SetupError(f"{what} failed: the disk is full. Make room, then run the same command again")
    raise SetupError(f"{what} failed; its messages are above")


# The stamp says what .venv holds. It is completed last, so that an interrupted set-up shows.

UNFINISHED = {"state": "unfinished"}


def fingerprint() -> dict[str, str]:
    """Return what a finished environment depends on: the declared packages, and where it lies."""
    return {
        "pyproject": hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest(),
        "folder": str(ROOT),
    }


def read_stamp() -> dict[str, str]:
    """Return the stamp; empty where there is none that can be read."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(stamp: dict[str, str]) -> None:
    """Replace the stamp in one step."""
    aside = STAMP.with_suffix(".part")
    aside.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    aside.replace(STAMP)


def starts(code: str) -> bool:
    """Tell whether the Python of .venv starts and `code` succeeds in it."""
    return PYTHON.exists() and attempt([str(PYTHON), "-c", code]).returncode == 0


def works() -> bool:
    """Tell whether .venv is an environment with a new enough Python and a pip."""
    return starts("import sys, pip; sys.exit(sys.version_info < (3, 10) or sys.prefix == sys.base_prefix)")


# Making the environment.


def remove_venv() -> None:
    """Remove what is left of an environment, and nothing that somebody else may still use."""
    if VENV.is_symlink() or not VENV.is_dir():
        raise SetupError(f"{VENV} is in the way and is not a folder: move it elsewhere")
    ours = STAMP.exists() or not any(VENV.iterdir())
    dead = (VENV / "pyvenv.cfg").exists() and not starts("pass")
    if not (ours or dead):
        raise SetupError(f"{VENV} is in the way and was not made by quickstart.py: move it elsewhere")
    shutil.rmtree(VENV)


def has_ensurepip() -> bool:
    """Tell whether `python -m venv` can work (Debian packs a part of it separately)."""
    return attempt([BASE, "-c", "import venv, ensurepip"]).returncode == 0


def venv_package() -> str:
    """Return the Debian package that completes the running Python's `venv`."""
    system = Path("/usr/bin/python3").resolve() == Path(BASE).resolve()
    return "python3-venv" if system else "python{}.{}-venv".format(*sys.version_info[:2])


def is_root() -> bool:
    """Tell whether system packages may be installed."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def install_venv_package() -> None:
    """As root: let apt-get install what `venv` lacks."""
    package = venv_package()
    say(f"Python's venv is incomplete here: installing {package} (apt-get)")
    # One unreachable source fails `update` and may not matter, so `install` decides.
    commands = f"apt-get -q update; apt-get -q install -y --no-install-recommends {package}"
    require(["sh", "-c", commands], f"apt-get install {package}", {"DEBIAN_FRONTEND": "noninteractive"})


def pip_sources() -> list[str]:
    """List where a pip already lies on this machine: folders and wheels that PYTHONPATH can name."""
    spec = importlib.util.find_spec("pip")
    installed = [str(Path(spec.origin).parent.parent)] if spec and spec.origin else []
    return installed + pip_wheels(Path("/"))


def pip_wheels(root: Path) -> list[str]:
    """List the pip wheels that Debian's packages put under `root`."""
    return sorted(str(wheel) for wheel in root.glob("usr/share/python-wheels/pip-*.whl"))


def fetch_pip_wheel(folder: Path) -> list[str]:
    """Have apt-get fetch Debian's pip wheel into `folder`, with lists and a cache there: no root needed."""
    private = ["-q"]
    for option, part in (("Dir::State", "state/lists/partial"), ("Dir::Cache", "cache/archives/partial")):
        (folder / part).mkdir(parents=True)
        private += ["-o", f"{option}={folder / part.split('/')[0]}"]
    private += ["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User="]
    for command in (["update"], ["download", "python3-pip-whl"]):
        if attempt(["apt-get", *private, *command], folder=folder).returncode != 0:
            return []
    for package in folder.glob("*.deb"):
        attempt(["dpkg-deb", "-x", str(package), str(folder)])
    return pip_wheels(folder)


def install_pip(sources: list[str]) -> bool:
    """Install pip into .venv with the first of `sources`, each holding a pip, that can do it."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--ignore-installed", "pip"]
    return any(
        attempt(command, variables={"PYTHONPATH": source}).returncode == 0 and works() for source in sources
    )


def make_venv_without_root() -> None:
    """Make .venv where `ensurepip` is missing and nothing may be installed: borrow a pip."""
    say("Python's venv is incomplete here: looking for a pip to set it up without root")
    if attempt([BASE, "-m", "venv", "--without-pip", str(VENV)]).returncode == 0:
        if install_pip(pip_sources()):
            return
        with tempfile.TemporaryDirectory(prefix="quickstart-") as folder:
            if install_pip(fetch_pip_wheel(Path(folder))):
                return
    raise SetupError(
        "no pip was found here, and none could be fetched (is this machine online?). "
        "Type this, then run the same command again:\n"
        f"  sudo apt-get install {venv_package()}",
    )


def make_venv() -> None:
    """Make an empty .venv with a pip."""
    say("making .venv with Python {}.{}.{}".format(*sys.version_info[:3]))
    VENV.mkdir()
    write_stamp(UNFINISHED)  # an interrupted folder is known as ours
    if not has_ensurepip() and is_root() and shutil.which("apt-get"):
        install_venv_package()
    if has_ensurepip():
        require([BASE, "-m", "venv", str(VENV)], "python -m venv")
    else:
        make_venv_without_root()


def set_up(extra: str) -> None:
    """Bring .venv to where it holds the package with at least this extra."""
    stamp, now = read_stamp(), fingerprint()
    held = stamp.get("extra", "")
    wanted = max(extra, held if held in EXTRAS else extra, key=EXTRAS.index)  # takes no tool away
    finished = not stamp or stamp.get("folder") == now["folder"]
    usable = finished and works()
    if usable and stamp == {**now, "extra": wanted}:
        return
    started = time.monotonic()
    if not usable:
        if VENV.exists() or VENV.is_symlink():
            say(".venv is broken, unfinished or from another folder: making it anew")
            remove_venv()
        make_venv()
    elif stamp:
        write_stamp(UNFINISHED)
    say(f"installing microgradnet[{wanted}] (a minute or so, needs the network)")
    package = f"{ROOT}[{wanted}]"
    require([str(PYTHON), "-m", "pip", "install", "--quiet", "--editable", package], "pip install")
    write_stamp({**now, "extra": wanted})
    say(f"ready in {time.monotonic() - started:.0f} s")


def run(command: list[str]) -> int:
    """Run the environment's Python; its exit status becomes ours."""
    if "pytest" in command:
        os.chdir(ROOT)
    say("running " + " ".join(command[1:]))  # without the -m
    if os.name == "posix":  # become the command: signals and the exit status need no passing on
        os.execve(PYTHON, [str(PYTHON), *command], environment())
    return subprocess.run([str(PYTHON), *command], env=environment(), check=False).returncode


def main(arguments: list[str]) -> int:
    """Set up, then run what the arguments say."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    try:
        extra, command = plan(arguments)
        set_up(extra)
        return run(command) if command else 0
    except SetupError as error:
        failure, status = str(error), 1
    except OSError as error:
        failure, status = f"cannot write {error.filename or VENV} ({error.strerror}): {ELSEWHERE}", 1
    except KeyboardInterrupt:
        failure, status = "interrupted; the same command goes on from here", 130
    print(f"quickstart: {failure}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
