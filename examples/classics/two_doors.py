"""The recipe of network.py through both doors: the book's class with (BP1) … (BP4), and a net of layers.

Quadratic cost, weights from N(0, 1), mini-batches of 10, η = 3; equal seeds, float64; scikit-learn's digits.
With a file name it draws: two_doors.py picture.png. Source: M. Nielsen, chapter 1, network.py.
"""

import sys
from itertools import pairwise
from typing import Any

import numpy as np

from microgradnet import datasets, delta, nn, optim
from microgradnet.viz import plots

SIZES, BATCH, ETA = [64, 30, 10], 10, 3.0


def book(seed: int) -> delta.Network:
    """Return the book's network, whose generator draws its biases, weights and orders."""
    net = delta.Network(SIZES, delta.network.QuadraticCost, rng=seed)
    net.rng = np.random.default_rng(seed)
    net.large_weight_initializer()
    return net


def layers(rng: np.random.Generator) -> nn.Sequential:
    """Return the same net from layers, its biases and weights drawn in the same order."""
    linear = [nn.Linear(m, n, dtype=np.float64) for m, n in pairwise(SIZES)]
    for parameter in [layer.bias for layer in linear] + [layer.weight for layer in linear]:
        nn.init.nielsen_large_(parameter, rng=rng)
    return nn.Sequential(linear[0], nn.Sigmoid(), linear[1], nn.Sigmoid())


def apart(net: delta.Network, model: nn.Sequential) -> float:
    """Return the largest difference between any weight or bias of one and that of the other."""
    theirs = [a for w, b in zip(net.weights, net.biases, strict=True) for a in (w, b.ravel())]
    return max(float(np.abs(p.data - a).max()) for p, a in zip(model.parameters(), theirs, strict=True))


def train(epochs: int, seed: int = 1) -> Any:
    """Train both; return accuracies by both doors and the largest difference, at the start and each epoch."""
    splits = datasets.load("digits", rng=0)
    x, y = splits.train.x.astype(float), np.eye(10)[splits.train.y]
    columns = [(one[:, None], wanted[:, None]) for one, wanted in zip(x, y, strict=True)]
    net, rng = book(seed), np.random.default_rng(seed)
    model, loss_fn, records = layers(rng), nn.QuadraticLoss(), []
    optimizer = optim.SGD(model.parameters(), lr=ETA)
    for epoch in range(epochs + 1):
        if epoch:
            net.SGD(columns, 1, BATCH, ETA)
            for batch in np.split(rng.permutation(len(x)), range(BATCH, len(x), BATCH)):
                optimizer.zero_grad()
                loss_fn(model(x[batch]), y[batch]).backward()
                optimizer.step()
        answers = net.feedforward(splits.test.x.T).argmax(0), model(splits.test.x).data.argmax(1)
        records.append([*(np.mean(answer == splits.test.y) for answer in answers), apart(net, model)])
    return np.array(records)


def main(picture: str | None = None, epochs: int = 15) -> None:
    """Print accuracies and the largest difference of any weight after each epoch."""
    records = train(epochs)
    for epoch, (first, second, difference) in enumerate(records):
        print(f"epoch {epoch:2}  (BP1) … (BP4): {first:.2%}  layers: {second:.2%}  apart {difference:.1e}")
    print("weights equal to 1e-10 after an epoch:", records[1, 2] <= 1e-10)
    if picture:
        figure, (left, right) = plots.panels(2, size=(3.6, 2.8))
        left.plot(records[:, 0], label="(BP1) … (BP4)")
        left.plot(records[:, 1], "o", markersize=4, label="layers")
        left.set(title="test accuracy", xlabel="epoch")
        left.legend(frameon=False)
        right.semilogy(records[:, 2], "o-")
        right.axhline(1e-10, color="0.5", linestyle="--")
        right.set(title="largest difference of a weight", xlabel="epoch")
        figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:2])
