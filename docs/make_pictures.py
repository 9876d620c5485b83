"""Make the pictures of the pages: python docs/make_pictures.py (needs Graphviz's dot)."""

from pathlib import Path

import microgradnet as mg
from microgradnet import nn
from microgradnet.viz import draw, render

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


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    graph()
    print(f"written: {FOLDER}")
