"""Benchmarks on images: all that is compared does the same work, and the table judges the targets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import agreement, images
from benchmarks.image_workloads import BOOK, IMAGE_WORKLOADS, LENET, ImageWorkload

ROOT = Path(__file__).resolve().parent.parent
SMALL: Any = ImageWorkload("small", (3, 4), (6,), batch=5, steps=2, at_most=1.0)


def maker(name: str, request: pytest.FixtureRequest):
    package = images.PEERS[name][1]
    if package == "torch":
        request.getfixturevalue("torch")
    if name not in images.trainers():
        pytest.skip(f"{images.PEERS[name][0]} is not installed (pip install {package})")
    return images.trainers()[name]


@pytest.mark.filterwarnings("default")  # what peers warn of is theirs
@pytest.mark.parametrize("workload", [SMALL, IMAGE_WORKLOADS[0]], ids=lambda workload: workload.name)
@pytest.mark.parametrize("name", [name for name in images.PEERS if name != images.EAGER])
def test_it_does_the_same_work(name, workload, request):
    agreement.check(workload, images.trainers()[images.EAGER], maker(name, request))


def test_the_loss_is_the_one_that_is_meant():
    """Computed pixel by pixel for the first batch, in float64."""
    trainer = images.trainers()[images.EAGER](SMALL)
    x, labels = (np.asarray(part) for part in trainer.batches[0])
    a, weights = x.astype(float), [array.astype(float) for array in SMALL.weights()]
    for w, b in zip(weights[:4:2], weights[1:4:2], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(a, w.shape[2:], (2, 3))
        z = np.einsum("ncijkl,ockl->noij", windows, w) + b[:, None, None]
        half = z.shape[2] // 2
        a = np.maximum(z.reshape(*z.shape[:2], half, 2, half, 2).max((3, 5)), 0)
    a = a.reshape(len(a), -1)
    a = np.maximum(a @ weights[4].T + weights[5], 0)
    z = a @ weights[6].T + weights[7]
    expected = (np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels]).mean()
    assert trainer.step(*trainer.batches[0]).item() == pytest.approx(expected, rel=1e-5)


def test_other_work_is_noticed():
    def spoilt(workload: Any) -> Any:
        trainer = images.trainers()[images.EAGER](workload)
        trainer.weights()[0][0, 0, 1, 2] += 1e-2
        return trainer

    with pytest.raises(AssertionError, match=r"the loss is|differs by"):
        agreement.check(SMALL, images.trainers()[images.EAGER], spoilt)


def test_the_networks_are_the_published_ones():
    lenet, book = (ImageWorkload("", *sizes, batch=1, steps=1, at_most=1.0) for sizes in (LENET, BOOK))
    assert [w.shape for w in lenet.weights()[::2]] == [
        (6, 1, 5, 5),
        (16, 6, 5, 5),
        (120, 256),
        (84, 120),
        (10, 84),
    ]
    assert [w.shape for w in book.weights()[::2]] == [
        (20, 1, 5, 5),
        (40, 20, 5, 5),
        (1000, 640),
        (1000, 1000),
        (10, 1000),
    ]


def test_targets_are_judged():
    times = {images.EAGER: [2e-6, 2e-6], images.TORCH: [4e-6, 4e-6], images.JAX: [1e-6, 1e-6]}
    measured = {"name": "lenet-10", "title": "LeNet", "results": images.summarised(times)}
    lines = [" ".join(line.split()) for line in images.lines(measured)]
    assert lines[0] == "LeNet"
    assert lines[2] == "microgradnet, eager 2 2 – 2 1.00 ×"
    assert lines[3].startswith("microgradnet, compiled: skipped, microgradnet is not installed")
    assert lines[4] == "PyTorch, eager 4 4 – 4 0.50 × target ≤ 0.75 ×: reached"
    assert lines[5] == "JAX, jit 1 1 – 1 2.00 × target ≤ 1.0 ×: MISSED"


def test_every_file_of_a_peer_is_compared():
    files = {path.stem for path in (ROOT / "benchmarks/image_peers").glob("*.py")}
    assert files == set(images.PEERS)
