"""Benchmarks: all that is compared does the same work, and the command measures it and says what it found."""

import gc
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    agreement,
    building,
    floor,
    measure,
    micrograd_demo,
    report,
    scaling,
    steps,
    timing,
    training,
)
from benchmarks.implementations import (
    BY_HAND,
    COMPILED,
    EAGER,
    FAST,
    IMPLEMENTATIONS,
    JAX,
    TORCH,
    TORCH_COMPILE,
    Implementation,
    reference,
)
from benchmarks.peers import numpy_by_hand
from benchmarks.targets import targets
from benchmarks.workloads import DENSE, IMAGES, NIELSEN, PLAIN, WORKLOADS, Workload
from microgradnet import datasets

ROOT = Path(__file__).resolve().parent.parent
NAMED = {workload.name: workload for workload in WORKLOADS}


@pytest.fixture(autouse=True)
def unfrozen():
    """Leave the garbage collector as it was."""
    yield
    gc.unfreeze()


def small(workload: Workload) -> Workload:
    """Return the workload with a smaller network of the same kind."""
    if workload.maps:
        return replace(workload, maps=(3, 4), sizes=(4 * 4 * 4, 6, 10), batch=5)
    hidden = [20] if workload.activation == "sigmoid" else [48, 40]
    return replace(workload, sizes=(60, *hidden, 10), batch=8)


CASES = [
    (peer, small(workload))
    for peer in IMPLEMENTATIONS
    for workload in (*DENSE[0::3], *DENSE[2::3], IMAGES[0])
    if peer.suits(workload) and (workload.dropout or peer is not reference(workload))
]


def maker(peer: Implementation, request: pytest.FixtureRequest):
    if peer.package == "torch":
        request.getfixturevalue("torch")
    if peer is TORCH_COMPILE:  # without machine code, which takes long: what is ours is its use
        torch = request.getfixturevalue("torch")
        monkeypatch = request.getfixturevalue("monkeypatch")
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    elif not peer.present:
        pytest.skip(f"{peer.title}: {peer.missing}")
    return peer.trainer()


@pytest.mark.filterwarnings("default")  # what peers warn of is theirs
@pytest.mark.parametrize(
    ("peer", "workload"), CASES, ids=[f"{peer.name}-{workload.name}" for peer, workload in CASES]
)
def test_it_does_the_same_work(peer, workload, request):
    agreement.check(workload, reference(workload).trainer(), maker(peer, request))


@pytest.mark.parametrize("workload", DENSE, ids=lambda workload: workload.name)
def test_the_loss_by_hand_is_the_one_that_is_meant(workload):
    trainer: Any = BY_HAND.trainer()(workload)
    drawn: list[Any] = []
    draw = trainer.mask

    def mask(layer, a):
        drawn.append(draw(layer, a).copy())
        return drawn[-1].copy()

    trainer.mask = mask
    found = trainer.step(*trainer.batches[0])
    a, y = (part.astype(float) if part.dtype.kind == "f" else part for part in workload.batches()[0])
    arrays = [array.astype(float) for array in workload.weights()]
    last = len(workload.sizes) - 2
    for i, (w, b) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        z = a @ w.T + b
        a = 1 / (1 + np.exp(-z)) if workload.activation == "sigmoid" else np.maximum(z, 0) if i < last else z
        if workload.dropout and i < last:
            a = a * drawn[i]
    assert len(drawn) == (last if workload.dropout else 0)
    if workload.loss == "quadratic":
        expected = ((a - y) ** 2).sum(axis=1).mean() / 2
    else:
        expected = -np.log(np.exp(a) / np.exp(a).sum(axis=1, keepdims=True))[np.arange(len(y)), y].mean()
    assert found == pytest.approx(expected, rel=1e-5)


def test_momentum_by_hand_is_the_one_that_is_meant():
    """Two steps on one batch: the second goes along its gradient and 0.9 times that of the first."""
    workload = replace(small(NAMED["nielsen-momentum"]), rate=0.5)
    plain = replace(workload, momentum=0.0)
    x, y = workload.batches()[0]

    def after(made, weights):
        trainer: Any = BY_HAND.trainer()(made)
        trainer._weights = [w.copy() for w in weights]
        trainer.step(x, y)
        return trainer

    start = workload.weights()
    first = after(plain, start).weights()
    second = after(plain, first).weights()
    trainer = after(workload, start)
    trainer.step(x, y)
    for w0, w1, w2, found in zip(start, first, second, trainer.weights(), strict=True):
        assert np.allclose(found, w2 + 0.9 * (w1 - w0), rtol=0, atol=1e-6)
        assert np.max(np.abs(0.9 * (w1 - w0))) > 1e-4


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
        if kind == "momentum":
            trainer._momentum *= 0.99
        return trainer

    return make


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("loss", "step 0: the loss is"),
        ("rate", "the loss is|differs by"),
        ("bias", "the loss is|differs by"),
        ("momentum", "the loss is|differs by"),
    ],
)
def test_other_work_is_noticed(kind, message):
    with pytest.raises(AssertionError, match=message):
        agreement.check(NAMED["nielsen-momentum"], BY_HAND.trainer(), spoilt(kind))


class Dropping(numpy_by_hand.Trainer):
    """The trainer by hand, with a mistake in what it drops."""

    mistake = ""

    def mask(self, layer, a):
        mask = super().mask(layer, a).copy()
        if self.mistake == "scale":
            return mask * np.float32(1.01)
        if self.mistake == "frozen":
            return np.where(np.arange(mask.shape[1]) % 2, np.float32(2), np.float32(0)) * np.ones_like(mask)
        if self.mistake == "alike":
            return np.repeat(mask[:1], len(mask), axis=0)
        if self.mistake == "share":
            return np.maximum(mask, super().mask(layer, a))
        return mask

    def _quadratic(self, x, y):
        loss = super()._quadratic(x, y)
        if self.mistake == "gradient":
            self._weights[0] -= np.float32(1e-4) * x[0]
        return loss


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("scale", "the loss is|differs by"),
        ("gradient", "differs by"),
        ("frozen", "drop the same elements"),
        ("alike", "all examples drop the same elements"),
        ("share", "of the elements are kept"),
    ],
)
def test_other_dropout_is_noticed(mistake, message):
    workload = NAMED["nielsen-dropout"]
    right = type("Right", (Dropping,), {"mistake": ""})
    agreement.check(workload, BY_HAND.trainer(), right)
    with pytest.raises(AssertionError, match=message):
        agreement.check(workload, BY_HAND.trainer(), type("Wrong", (Dropping,), {"mistake": mistake}))


def test_weights_and_batches_are_equal_whenever_asked_for_and_never_shared():
    def arrays():
        return [*NIELSEN.weights(), *[array for batch in NIELSEN.batches() for array in batch]]

    for a, b in zip(arrays(), arrays(), strict=True):
        assert np.array_equal(a, b)
        assert not np.shares_memory(a, b)


def test_layers_and_titles_say_what_is_trained():
    assert NAMED["deep-dropout"].layers() == [
        ("linear", 784, 512),
        ("relu",),
        ("dropout", 0.5),
        ("linear", 512, 512),
        ("relu",),
        ("dropout", 0.5),
        ("linear", 512, 10),
    ]
    assert [kind for kind, *_ in NIELSEN.layers()] == ["linear", "sigmoid"] * 2
    assert NAMED["wide-momentum"].title == (
        "wide-momentum: 784-128-10, sigmoid, quadratic loss, momentum 0.9, batch 32"
    )


def test_the_floor_has_the_products_of_a_step():
    """Of a layer x·wᵀ, of its weight δᵀ·x, and of all layers but the first δ·w."""
    found = [(asked.a, asked.b) for asked in floor.products(NIELSEN)]
    assert found == [
        ((10, 784), (784, 30)),
        ((10, 30), (30, 10)),
        ((10, 10), (10, 30)),
        ((10, 10), (10, 30)),
        ((30, 10), (10, 784)),
    ]


def test_a_product_of_the_floor_is_the_same_in_every_order_of_memory():
    for asked in floor.products(small(NIELSEN)):
        ways = list(floor._ways(asked))
        assert len(ways) == 3 * 2 ** (3 - len(asked.given))
        rng = np.random.default_rng(3)
        expected = rng.random(asked.a, np.float32) @ rng.random(asked.b, np.float32)
        for multiply, b, out in ways:
            multiply(b, out)
            assert np.allclose(out if out.shape == expected.shape else out.T, expected)
        assert sum(out.flags.contiguous for _, _, out in ways) * 3 == 2 * len(ways)


def test_the_floor_is_timed_like_a_step():
    assert timing.block(floor.Trainer(small(NIELSEN)), 2) > 0


def test_rounds_alternate_their_order_and_always_start_afresh():
    made = []

    def recorder(name):
        def make(workload):
            made.append(name)
            return BY_HAND.trainer()(workload)

        return make

    makers = {"a": recorder("a"), "b": recorder("b")}
    times = timing.rounds(makers, small(NIELSEN), 3, seconds=60)
    assert made == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert all(seconds > 0 for series in times.values() for seconds in series)


def test_rounds_end_with_the_time_but_not_before_three():
    times = timing.rounds({"a": BY_HAND.trainer()}, small(NIELSEN), 31, seconds=0)
    assert len(times["a"]) == 3


TIMES = {
    BY_HAND.name: [1e-6, 2e-6, 4e-6],
    EAGER.name: [3e-6, 4e-6, 8e-6],
    COMPILED.name: [1e-6, 1e-6, 2e-6],
    TORCH.name: [4e-6, 8e-6, 16e-6],
    JAX.name: [1e-6, 1e-6, 2e-6],
    floor.FLOOR: [0.5e-6, 0.5e-6, 1e-6],
}


def test_the_ratio_is_taken_within_each_round():
    found = steps.summarised(NIELSEN, TIMES)["results"][EAGER.name]
    assert found["over"] == {BY_HAND.name: pytest.approx(2), floor.FLOOR: pytest.approx(8)}
    assert found["us"] == pytest.approx(4)


def test_targets_are_judged():
    measured = {"title": NIELSEN.title, **steps.summarised(NIELSEN, TIMES)}
    lines = [" ".join(line.split()) for line in report.workload_lines(measured, "one")]
    assert lines[0] == "nielsen: 784-30-10, sigmoid, quadratic loss, batch 10 (one thread)"
    assert lines[1] == "µs a step quartiles × by hand × floor"
    assert lines[3] == "microgradnet, eager 4.0 3.0 – 8.0 2.00 8.00"
    assert lines[8:] == [
        "microgradnet, eager / NumPy by hand: 2, target ≤ 2: reached",
        "microgradnet, eager / PyTorch, eager: 0.5, target ≤ 0.4: MISSED",
        "microgradnet, compiled / NumPy by hand: 0.5, target ≤ 0.8: reached",
        "microgradnet, compiled / JAX, jit: 1, target ≤ 0.55: MISSED",
        "microgradnet, compiled / PyTorch, eager: 0.125, target ≤ 0.13: reached",
        "microgradnet, compiled / the matrix products alone: 2, hoped for ≤ 1.6: MISSED",
    ]


def test_every_workload_has_targets_for_what_is_compared():
    names = {peer.name for peer in IMPLEMENTATIONS} | {floor.FLOOR}
    for workload in WORKLOADS:
        asked = targets(workload)
        assert asked
        assert {name for target in asked for name in target[:2]} <= names
    limits = {target[:3] for target in targets(NAMED["deep-dropout"])}
    ours = (COMPILED.name, FAST.name)
    assert limits == {
        (name, over, limit)
        for name in ours
        for over, limit in ((BY_HAND.name, 0.85), (JAX.name, 1.0), (TORCH.name, 1.0))
    }


def test_an_absent_peer_is_named(monkeypatch):
    absent = Implementation("nothing", "Nothing", "no_such_package")
    monkeypatch.setattr(report, "IMPLEMENTATIONS", (absent,))
    line = "Nothing: skipped, no_such_package is not installed (pip install no_such_package)"
    assert list(report.machine_lines({"cores": 2})) == ["cores 2", line]


def test_a_peer_without_its_compiler_is_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    peer = Implementation("compiles", "Compiles", "numpy", compiler=True)
    assert peer.missing == "no C++ compiler is on the path (g++ or clang++)"


def test_nielsens_algorithm_is_asked_only_for_what_it_does():
    suited = [workload.name for workload in WORKLOADS if IMPLEMENTATIONS[-1].suits(workload)]
    assert suited == ["nielsen", "wide"]


def test_an_exponent_is_the_slope():
    sizes = [10, 100, 1000, 10_000]
    found = scaling.series(sizes, {"a": [5.0, *[1e-6 * n**1.5 for n in sizes[1:]]]}, first=100)
    assert found["exponents"] == {"a": pytest.approx(1.5)}
    assert found["seconds"]["a"][0] == 5


def test_a_chain_is_built_swept_and_compiled():
    chain = scaling.Chain(10)
    assert chain.step().item() == pytest.approx(scaling.FACTOR**10)
    assert chain._w.grad == pytest.approx(scaling.FACTOR**10)
    found = scaling.depth(1000, seconds=0)
    assert found["sizes"] == [10, 100, 1000]
    assert all(len(times) == 3 and min(times) > 0 for times in found["seconds"].values())


def test_width_and_batch_are_timed():
    for found in (scaling.width([2, 4, 8], 0), scaling.batch([1, 2, 4], 0)):
        assert set(found["seconds"]) == {BY_HAND.name, EAGER.name, COMPILED.name}
        assert all(len(times) == 3 and min(times) > 0 for times in found["seconds"].values())


def test_both_ways_to_write_micrograds_demo_agree_and_learn():
    losses = {}
    for make in (micrograd_demo.Tensors, micrograd_demo.CompiledTensors):
        demo = make()
        losses[make] = [demo.epoch() for _ in range(100)]
        assert min(losses[make]) < losses[make][0] / 5
    micrograd_demo.check(*losses.values())


def test_micrograd_does_the_same_work():
    if missing := micrograd_demo.missing():
        pytest.skip(missing)
    scalars, demo = micrograd_demo.Scalars(), micrograd_demo.Tensors()
    expected = scalars.epoch()
    micrograd_demo.check([expected], [demo.epoch()])
    with pytest.raises(AssertionError, match="epoch 0: the loss is"):
        micrograd_demo.check([expected], [demo.epoch()])


def test_micrograds_first_loss_is_the_one_that_is_meant():
    a, y = (part.astype(float) for part in micrograd_demo.data())
    arrays = [array.astype(float) for array in micrograd_demo.weights()]
    for i, (w, b) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        z = a @ w.T + b
        a = np.maximum(z, 0) if i < 2 else z
    expected = np.maximum(0, 1 - y * a).mean() + 1e-4 * sum((w**2).sum() for w in arrays)
    assert micrograd_demo.Tensors().epoch() == pytest.approx(expected, rel=1e-5)
    assert set(y.ravel()) == {-1, 1}


def test_building_a_step_takes_time_and_its_memory_is_counted():
    workload = replace(small(NIELSEN), sizes=(600, 40, 10), batch=64)
    assert building.build_seconds(COMPILED, workload) > 0
    parameters = sum(w.nbytes for w in workload.weights())
    for ours in (EAGER, COMPILED):
        assert 2 * parameters <= building.peak_bytes(ours, workload) <= 6 * parameters


@pytest.mark.usefixtures("needs_numba")
def test_the_second_process_finds_the_machine_code_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # is for others
    workload = replace(small(NIELSEN), sizes=(12, 7, 10))
    first, second = building.process_seconds(workload)
    assert 0 < second < 0.75 * first
    assert list(tmp_path.iterdir()) == []


def test_memory_that_a_step_takes_for_a_moment_is_counted():
    class Hungry:
        def __init__(self, workload):
            self.batches = workload.batches()

        def step(self, x, y):
            np.ones(1_000_000, np.uint8)

    ours: Any = type("Ours", (), {"trainer": lambda self: Hungry})()
    assert building.peak_bytes(ours, NIELSEN) == pytest.approx(1_000_000, rel=0.01)


def test_training_stops_at_the_last_accuracy_and_says_when_each_was_reached():
    class Learner:
        epochs = 0

        def epoch(self, rng):
            self.epochs += 1

        def right(self):
            return [9000, 9700, 9750, 9800, 9900][self.epochs - 1]

    found = training.trained(Learner(), 10)
    assert found["accuracies"] == [0.9, 0.97, 0.975, 0.98]
    assert found["seconds_to"] == {
        "97%": pytest.approx(sum(found["epoch_seconds"][:2])),
        "98%": pytest.approx(sum(found["epoch_seconds"])),
    }
    assert training.trained(Learner(), 2)["seconds_to"]["98%"] is None


@pytest.mark.filterwarnings("default")  # what PyTorch warns of is its own
def test_both_trainings_take_the_same_way(torch):
    """On made-up images: the same weights after an epoch of the same batches."""
    rng = np.random.default_rng(0)
    part = datasets.Dataset(rng.random((100, 784), np.float32), rng.integers(10, size=100), 10)
    splits = datasets.Splits("made up", tuple("0123456789"), part, part, part)
    ours, theirs = training.Ours(splits, "numpy"), training.torch_run(splits)
    for run in (ours, theirs):
        order = np.random.default_rng(3)
        for _ in range(10):
            run.epoch(order)
    assert ours.right() == theirs.right()
    assert ours.right() > 30


@pytest.mark.parametrize("named", [False, True])
def test_without_mnist_the_training_says_what_to_do(monkeypatch, tmp_path, named):
    monkeypatch.setattr("microgradnet.datasets.locate.cache_dir", lambda: tmp_path / "cache")
    monkeypatch.delenv("MICROGRADNET_DATA", raising=False)
    if named:
        monkeypatch.setenv("MICROGRADNET_DATA", str(tmp_path))
    _, *lines = report.training_lines(training.measure(quick=True), "one")
    wanted = "set $MICROGRADNET_DATA to the folder that has MNIST's four files, in itself or in mnist/"
    assert lines == [f"  skipped: {wanted}"]


def test_damaged_mnist_is_named(monkeypatch, tmp_path):
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (tmp_path / f"{part}-{kind}-ubyte").write_bytes(b"<html>")
    monkeypatch.setenv("MICROGRADNET_DATA", str(tmp_path))
    _, *lines = report.training_lines(training.measure(quick=True), "one")
    (line,) = lines
    assert line.startswith(f"  skipped: {tmp_path}")
    assert line.endswith("found a web page (HTML)")


def test_each_name_is_measured_and_some_with_one_thread_only():
    assert measure.chosen(None, "one") == measure.NAMES
    assert measure.chosen("scaling", "all") == []
    assert measure.chosen("nielsen", "all") == ["nielsen"]
    assert set(measure.chosen(None, "all")) == {*NAMED, "training"}


def test_the_command_prints_writes_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    file, folder = tmp_path / "scaling.json", tmp_path / "charts"
    command = [sys.executable, "benchmarks/run.py", "--quick", "--only", "scaling"]
    command += ["--json", str(file), "--charts", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True)
    assert "depth: chains of n multiplications of numbers (one thread); µs" in done.stdout
    (result,) = json.loads(file.read_text(encoding="utf-8"))
    assert result["threads"] == "one"
    assert result["machine"]["numpy"] == np.__version__
    assert result["scaling"]["depth"]["sizes"] == [10, 100, 1000]
    assert (folder / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_charts_show_every_workload_and_implementation():
    pytest.importorskip("matplotlib")
    from benchmarks import charts

    measured = [
        {"title": workload.title, **steps.summarised(workload, TIMES)} for workload in (*PLAIN, DENSE[3])
    ]
    figure = charts.bars(measured, 3, "one thread")
    panels = [panel for panel in figure.axes if panel.axison]
    assert len(panels) == 4
    titles = [label.get_text() for label in panels[0].get_yticklabels()]
    assert titles[-1] == floor.TITLE  # the fastest on top
    assert set(titles) == {report.TITLES[name] for name in TIMES}


def test_every_file_of_a_peer_is_compared():
    assert {path.stem for path in (ROOT / "benchmarks/peers").glob("*.py")} == {
        peer.name for peer in IMPLEMENTATIONS
    }
