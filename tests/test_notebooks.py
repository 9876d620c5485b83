"""Every notebook is clean as it is kept, runs from the top, and shows what it is about."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
nbformat = pytest.importorskip("nbformat", reason="notebooks need pip install 'microgradnet[notebooks]'")
nbclient = pytest.importorskip("nbclient", reason="notebooks need pip install 'microgradnet[notebooks]'")
pytest.importorskip("ipykernel", reason="notebooks need pip install 'microgradnet[notebooks]'")
pytestmark = pytest.mark.filterwarnings("default")  # of Jupyter's own packages; the kernel is another process

# What the outputs must contain: texts that are printed, and the kinds of what is shown.
EXPECTED = {
    "1_one_neuron": {
        "z = 1.5000   a = 0.8176   C = 0.3342",
        "∂C/∂w: by hand 0.121938332428   by the library 0.121938332428",
        "∂C/∂w by a small shift: 0.12193833242",
        "<iframe",
        "image/png",
    },
    "2_backprop_through_a_network": {
        "-30-10",
        "Linear",
        "all three ways agree",
        "largest |by hand − by the library|",
        '<th scope="col"',
        "<iframe",
        "image/png",
    },
    "3_why_topological_order": {
        "∂f/∂a = 13.0: right.   ∂f/∂x = 3.0: wrong, it should be 39",
        "x               39     36",
        "No difference here",
        "mul  has 13.0000, hands on [39.0]",
        "<iframe",
    },
}


def test_every_notebook_is_expected_to_show_something():
    assert {path.stem for path in NOTEBOOKS} == set(EXPECTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert set(notebook.metadata) == {"kernelspec", "language_info"}, (
        "nothing of the machine it was written on"
    )
    assert nbformat.writes(notebook, indent=1) + "\n" == path.read_text(encoding="utf-8")


def shown(notebook):
    """Return everything that the cells printed and showed, as one text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    pieces = [output.get("text", "") for output in outputs]
    for output in outputs:
        pieces += [f"{kind}: {value}" for kind, value in output.get("data", {}).items()]
    return "\n".join(pieces)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_the_top(path, tmp_path, needs_dot):
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": ""})
    text = shown(notebook)
    assert [piece for piece in EXPECTED[path.stem] if piece not in text] == [], text
    assert len(list(tmp_path.glob("*.html"))) == 1, "the player's page"


def test_a_wrong_result_in_a_notebook_is_noticed(tmp_path):
    """The notebooks assert what they show: a rule that is wrong by a factor stops the first one."""
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    broken = "from microgradnet.ops import elementwise\nelementwise.sigmoid.rules = (lambda g, y, _x: g * y,)"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(broken))
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="AssertionError"):
        client.execute(env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": ""})
