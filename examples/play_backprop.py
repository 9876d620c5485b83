"""Watch backpropagation, step by step: as text, as a page that plays it, and as frames for slides.

python examples/play_backprop.py            the steps as text
python examples/play_backprop.py FOLDER     also player.html, digit.html and slides/ (with Graphviz's dot)
"""

import sys
from pathlib import Path

import numpy as np

import microgradnet as mg
from microgradnet import nn
from microgradnet.backprop import visits

# Two neurons in a row that share a weight: its gradient is a sum of two contributions.
x, w = mg.Tensor(1.0, name="x"), mg.Tensor(0.5, requires_grad=True, name="w")
with mg.viz.source_lines():  # every node remembers its line
    hidden = np.tanh(w * x)
    error = w * hidden - 1
    loss = error * error

# There is one sweep, which anybody can watch; the page and the frames show what is printed here.
names = {"hidden": hidden, "error": error, "loss": loss, "w": w}
called = {tensor._node.number: name for name, tensor in names.items()}
for node, g, handed in visits({loss._node: np.array(1.0)}):
    print(f"∂L/∂({called.get(node.number) or node.primitive.name}) = {g:.4f}")
    for _, parent, contribution, total in handed:
        target = called.get(parent.number) or parent.primitive.name
        print(f"    hands {contribution:.4f} to {target}, in sum {total:.4f}")

loss.backward()
print(f"w.grad = {w.grad:.4f}")

if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    mg.viz.player(loss, folder / "player.html", names=names, title="Two neurons that share a weight")
    mg.viz.frames(loss, folder / "slides", names=names)

    # The same for a network and a real digit: arrays are heat maps, the digit is an image.
    mg.manual_seed(0)
    digits = mg.datasets.load("digits").train
    model = nn.Sequential(nn.Linear(64, 12), nn.Sigmoid(), nn.Linear(12, 10))
    cost = nn.CrossEntropyLoss()(model(digits.x[:1]), digits.y[:1])
    mg.viz.player(cost, folder / "digit.html", title="A handwritten digit")
    print("written:", *sorted(path.name for path in folder.iterdir()))
