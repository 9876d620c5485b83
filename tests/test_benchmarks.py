"""Benchmarks: all that is compared does the same work, and the command measures it and says what it found."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import agreement, chain, measure, report, timing
from benchmarks.implementations import BY_HAND, EAGER, IMPLEMENTATIONS, Implementation
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).resolve().parent.parent
NIELSEN = WORKLOADS[0]
PEERS = [peer for peer in IMPLEMENTATIONS if peer is not BY_HAND]


def maker(peer: Implementation, request: pytest.FixtureRequest):
    if peer.package == "torch":
        request.getfixturevalue("torch")
    elif not peer.present:
        pytest.skip(f"{peer.title} is not installed (pip install {peer.package})")
    return peer.trainer()


@pytest.mark.filterwarnings("default")  # what peers warn of is theirs
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_it_does_the_same_work(peer, workload, request):
    agreement.check(workload, BY_HAND.trainer(), maker(peer, request))


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_the_loss_by_hand_is_the_one_that_is_meant(workload):
    trainer = BY_HAND.trainer()(workload)
    a, last = trainer.batches[0][0].astype(float), len(workload.sizes) - 2
    arrays = [array.astype(float) for array in workload.weights()]
    for i, (w, b) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        z = a @ w.T + b
        a = 1 / (1 + np.exp(-z)) if workload.activation == "sigmoid" else np.maximum(z, 0) if i < last else z
    y = trainer.batches[0][1]
    if workload.loss == "quadratic":
        expected = ((a - y) ** 2).sum(axis=1).mean() / 2
    else:
        expected = -np.log(np.exp(a) / np.exp(a).sum(axis=1, keepdims=True))[np.arange(len(y)), y].mean()
    assert trainer.step(*trainer.batches[0]) == pytest.approx(expected, rel=1e-5)


def spoilt(kind: str):
    """Make trainers by hand that do one thing wrong."""

    def make(workload: Workload):
        trainer: Any = BY_HAND.trainer()(workload)
        right = trainer.step

        def wrong(x, y):
            loss = right(x, y)
            if kind == "bias":
                trainer.weights()[1][:] -= 1e-3
            return loss * (1.01 if kind == "loss" else 1)

        trainer.step = wrong
        if kind == "rate":
            trainer._rate *= 1.01
        return trainer

    return make


@pytest.mark.parametrize(
    ("kind", "message"),
    [("loss", "step 0: the loss is"), ("rate", "the loss is|differs by"), ("bias", "the loss is|differs by")],
)
def test_other_work_is_noticed(kind, message):
    with pytest.raises(AssertionError, match=message):
        agreement.check(NIELSEN, BY_HAND.trainer(), spoilt(kind))


def test_weights_and_batches_are_equal_whenever_asked_for_and_never_shared():
    def arrays():
        return [*NIELSEN.weights(), *[array for batch in NIELSEN.batches() for array in batch]]

    for a, b in zip(arrays(), arrays(), strict=True):
        assert np.array_equal(a, b)
        assert not np.shares_memory(a, b)


def test_rounds_alternate_their_order_and_always_start_afresh():
    made = []

    def recorder(name):
        def make(workload):
            made.append(name)
            return BY_HAND.trainer()(workload)

        return make

    times = timing.rounds({"a": recorder("a"), "b": recorder("b")}, NIELSEN, 3)
    assert made == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert all(seconds > 0 for series in times.values() for seconds in series)


def test_the_ratio_is_taken_within_each_round():
    times = {BY_HAND.name: [1e-6, 2e-6, 4e-6], EAGER.name: [3e-6, 4e-6, 8e-6]}
    found = measure.summarised(times)[EAGER.name]
    assert found["ratio"] == pytest.approx(2)
    assert found["us"] == pytest.approx(4)


def test_targets_are_judged():
    results = {BY_HAND.name: 1.0, EAGER.name: 2.5, "pytorch_eager": 5.0, "mygrad_eager": 9.0, "jax_jit": 1.0}
    rows = {name: {"us": r, "low_us": r, "high_us": r, "ratio": r} for name, r in results.items()}
    measured = {"name": NIELSEN.name, "title": NIELSEN.title, "results": rows}
    assert [report.target(measured, name) for name in results] == [
        "",
        "≤ 2.0 × by hand: MISSED",
        "≥ 2.5 × eager: 2.00, MISSED",
        "≥ 3.5 × eager: 3.60, reached",
        "",
    ]
    lines = list(report.workload_lines(measured, "one"))
    assert lines[0] == "nielsen: 784-30-10, sigmoid, quadratic loss, batch 10 (one thread)"
    assert " ".join(lines[3].split()) == "microgradnet, eager 2.5 2.5 – 2.5 2.50 ≤ 2.0 × by hand: MISSED"


def test_an_absent_peer_is_named(monkeypatch):
    absent = Implementation("nothing", "Nothing", "no_such_package")
    monkeypatch.setattr(report, "IMPLEMENTATIONS", (absent,))
    line = "Nothing: skipped, no_such_package is not installed (pip install no_such_package)"
    assert list(report.machine_lines({"cores": 2})) == ["cores 2", line]


def test_the_exponent_of_a_chain_is_the_slope(monkeypatch):
    monkeypatch.setattr(chain, "backward_seconds", lambda n: 1e-6 * n**1.5)
    found = chain.measure(10_000)
    assert [row["n"] for row in found["lengths"]] == [10, 100, 1000, 10_000]
    assert found["exponent"] == pytest.approx(1.5)


def test_backward_of_a_chain_is_timed():
    assert chain.backward_seconds(10, operations=30) > 0


def test_the_command_prints_and_writes(tmp_path):
    file = tmp_path / "chain.json"
    command = [sys.executable, "benchmarks/run.py", "--quick", "--only", "chain", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True)
    assert "µs an operation" in done.stdout
    results = json.loads(file.read_text(encoding="utf-8"))
    assert [result["threads"] for result in results] == ["one", "all"]
    for result in results:
        assert result["machine"]["numpy"] == np.__version__
        assert [row["n"] for row in result["chain"]["lengths"]] == [10, 100, 1000, 10_000]


def test_every_file_of_a_peer_is_compared():
    assert {path.stem for path in (ROOT / "benchmarks/peers").glob("*.py")} == {
        peer.name for peer in IMPLEMENTATIONS
    }
