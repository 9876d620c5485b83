"""What conftest.py promises: an absent thing is skipped with a reason, and fails where it is required."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
USER = "def test_it(mnist_dir):\n    assert mnist_dir.is_dir()\n"


@pytest.fixture
def run_with(tmp_path):
    """Run a test that needs MNIST, in a project of its own, with the given environment."""
    shutil.copy(HERE / "conftest.py", tmp_path)
    (tmp_path / "test_user.py").write_text(USER, encoding="utf-8")

    def run(**variables: str) -> tuple[int, str]:
        cleared = {
            name: value for name, value in os.environ.items() if not name.startswith(("MICRO", "PYTEST"))
        }
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(tmp_path)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**cleared, **variables},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_an_absent_thing_is_skipped_with_a_reason(run_with):
    status, shown = run_with()
    assert status == 0
    assert "1 skipped" in shown
    assert "MNIST is not at hand: $MICROGRADNET_DATA is not set" in shown


def test_an_absent_thing_fails_where_it_is_required(run_with, tmp_path):
    status, shown = run_with(MICROGRADNET_REQUIRE="dot,mnist", MICROGRADNET_DATA=str(tmp_path))
    assert status == 1
    assert "1 error" in shown
    assert "lacks train-images-idx3-ubyte.gz" in shown
    assert "and MICROGRADNET_REQUIRE asks for mnist" in shown


def test_a_misspelt_requirement_is_refused(run_with):
    status, shown = run_with(MICROGRADNET_REQUIRE="minst")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "MICROGRADNET_REQUIRE names minst; it knows browser, dot, mnist, numba, torch" in shown


def test_numpy_warnings_are_errors():
    for operation in (np.log, np.reciprocal):
        with pytest.raises(FloatingPointError):
            operation(np.zeros(1))
    assert np.exp(np.array([-1e4]))[0] == 0  # underflow is ordinary
