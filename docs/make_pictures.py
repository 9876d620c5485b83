"""Make the pictures of the pages: python docs/make_pictures.py (needs Graphviz's dot and Chromium)."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import microgradnet as mg
from microgradnet import nn
from microgradnet.cli import main
from microgradnet.viz import draw, frames, player, render, source_lines

FOLDER = Path(__file__).resolve().parent / "images"


def graph() -> None:
    """A two-layer network and its loss: every value, and every derivative of the loss."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    model.load_state_dict(
        {
            "0.weight": [[0.5, -1.0], [1.5, 0.25]],
            "0.bias": [0.0, -0.5],
            "2.weight": [[1.0, -2.0]],
            "2.bias": [0.5],
        }
    )
    x = mg.Tensor([[1.0, -0.5]], dtype="float32", name="x")
    target = mg.Tensor([[1.0]], dtype="float32", name="target")
    loss = nn.MSELoss()(model(x), target)
    render(draw(loss, show=("shape", "value", "backward")), FOLDER / "graph.svg")


def shared_weight() -> tuple[mg.Tensor, dict[str, mg.Tensor]]:
    """Return the loss of two neurons in a row that share a weight, and its names."""
    x, w = mg.Tensor(1.0, name="x"), mg.Tensor(0.5, requires_grad=True, name="w")
    with source_lines():
        hidden = np.tanh(w * x)
        error = w * hidden - 1
        loss = error * error
    return loss, {"hidden": hidden, "error": error, "loss": loss}


def digit(size: int) -> mg.Tensor:
    """Return the loss of a network size-30-10 for a handwritten digit, enlarged where the size is 784."""
    mg.manual_seed(1)
    data = mg.datasets.load("digits").train
    image = data.x[3].reshape(8, 8)
    if size == 784:
        image = np.pad(np.kron(image, np.ones((3, 3), np.float32)), 2)
    model = nn.Sequential(nn.Linear(size, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    target = nn.functional.one_hot(data.y[3:4], 10)
    return nn.QuadraticLoss()(model(image.reshape(1, -1)), target)


def rolled() -> None:
    """A network with layers that repeat, drawn once."""
    mg.manual_seed(2)
    blocks = [nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(8)]
    model = nn.Sequential(nn.Linear(2, 16), *blocks, nn.Linear(16, 2))
    loss = nn.CrossEntropyLoss()(model([[1.0, -0.5]]), [1])
    render(draw(loss, roll=True, depth=2, show=("shape", "value", "backward")), FOLDER / "rolled.svg")


def players() -> None:
    """The player at a step, of three models, in light and in dark."""
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    small = nn.MSELoss()(model([[1.0, -0.5]]), [[1.0]])
    loss, names = shared_weight()
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder)
        player(loss, pages / "1.html", names=names, title="Two neurons that share a weight")
        player(small, pages / "2.html", title="A network 2-2-1")
        player(digit(784), pages / "3.html", title="A network 784-30-10 and a digit")
        photograph(pages / "1.html", "step=8&node=1&theme=light", "player-neurons.png")
        photograph(pages / "2.html", "step=6&node=5&theme=dark", "player-network.png")
        photograph(pages / "3.html", "step=8&theme=light", "player-digit.png")
        frames(loss, pages / "slides", names=names)[-1].replace(FOLDER / "backprop.gif")


def report() -> None:
    """The report of a deep network of sigmoid units, whose gradients vanish."""
    with tempfile.TemporaryDirectory() as folder:
        network = "--layers 30,30,30,30,30 --activation sigmoid --dropout 0 --lr 0.5 --seed 2"
        main(["train", *network.split(), "--epochs", "30", "--quiet", "--out", folder, "--name", "deep"])
        photograph(Path(folder) / "deep" / "report.html", "", "report.png", height=1260)
    few = Image.open(FOLDER / "report.png").convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    few.save(FOLDER / "report.png", optimize=True)  # a third of the size


def photograph(page: Path, where: str, name: str, height: int = 800) -> None:
    """Take a picture of a page in Chromium."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = f"--window-size=1280,{height}"
    target = f"--screenshot={FOLDER / name}"
    address = f"{page.resolve().as_uri()}#{where}"
    subprocess.run(
        ["chromium", *options, size, "--virtual-time-budget=1500", target, address],
        check=True,
        capture_output=True,
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    graph()
    rolled()
    players()
    report()
    print(f"written: {FOLDER}")
