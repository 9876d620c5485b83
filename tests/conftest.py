"""What tests share: outside things that may be absent (dot, a browser, …), and how hypothesis searches.

A test that needs such a thing names its fixture, and skips with a reason where it is absent. The things that
$MICROGRADNET_REQUIRE lists ("dot,browser,mnist,torch", as .ci/run sets it) must be there: a test fails
without them.
"""

import importlib
import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import hypothesis
import pytest

OUTSIDE = {"dot", "browser", "mnist", "torch", "numba"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

hypothesis.settings.register_profile("dev", max_examples=25, deadline=None)
hypothesis.settings.register_profile(
    "ci",
    max_examples=100,
    deadline=None,
    derandomize=True,
    print_blob=True,
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def required() -> set[str]:
    """Return the outside things that must be there."""
    return {word for word in os.environ.get("MICROGRADNET_REQUIRE", "").split(",") if word}


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a misspelt requirement, which would require nothing."""
    if unknown := required() - OUTSIDE:
        raise pytest.UsageError(
            f"MICROGRADNET_REQUIRE names {', '.join(sorted(unknown))}; it knows {', '.join(sorted(OUTSIDE))}",
        )


def absent(thing: str, reason: str) -> NoReturn:
    """Skip the test that needs `thing`, or fail it where `thing` is required."""
    if thing in required():
        pytest.fail(f"{reason}, and MICROGRADNET_REQUIRE asks for {thing}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def needs_dot() -> str:
    """Return where Graphviz's `dot` is."""
    return shutil.which("dot") or absent("dot", "Graphviz's dot is not on the path")


@pytest.fixture(scope="session")
def needs_browser() -> str:
    """Return where a Chromium or a Chrome is, which shows the pages that the library writes."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return found or absent("browser", "no Chromium is on the path (apt install chromium)")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Return the folder of MNIST's four files: mnist/ in $MICROGRADNET_DATA."""
    data = os.environ.get("MICROGRADNET_DATA")
    if not data:
        absent("mnist", "MNIST is not at hand: $MICROGRADNET_DATA is not set")
    folder = Path(data) / "mnist"
    if missing := [name for name in MNIST_FILES if not (folder / name).is_file()]:
        absent("mnist", f"MNIST is not at hand: {folder} lacks {', '.join(missing)}")
    return folder


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """Return PyTorch, the outside oracle."""
    if not importlib.util.find_spec("torch"):
        absent("torch", "PyTorch is not installed (pip install torch)")
    return importlib.import_module("torch")


@pytest.fixture(scope="session")
def needs_numba() -> ModuleType:
    """Return Numba, which makes machine code of kernels."""
    if not importlib.util.find_spec("numba"):
        absent("numba", "Numba is not installed (pip install 'microgradnet[fast]')")
    return importlib.import_module("numba")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the mutation campaigns counted: it is their result, and workers cannot print it."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    counted = [value for report in reports for name, value in report.user_properties if name == "mutation"]
    if counted:
        terminalreporter.section("mutants: subject | must notice | made | caught | the same | share")
        terminalreporter.write("\n".join([*map(str, counted), ""]))
