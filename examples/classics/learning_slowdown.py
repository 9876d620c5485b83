"""Why learning slows down: saturated sigmoids, large initial weights, the quadratic cost, and depth.

With a file name it draws: learning_slowdown.py picture.png. Source: M. Nielsen, chapters 3 and 5.
"""

import sys
from itertools import pairwise
from typing import Any

import numpy as np

from microgradnet import Tensor, datasets, grad, nn, optim, train
from microgradnet.nn.functional import sigmoid
from microgradnet.viz import plots

COSTS = {"quadratic": nn.QuadraticLoss(), "cross-entropy": nn.BCEWithLogitsLoss()}
STARTS = {"N(0, 1)": nn.init.nielsen_large_, "N(0, 1/n)": nn.init.nielsen_}


def neuron(cost: str, start: float = 2.0, steps: int = 300, rate: float = 0.15) -> list[float]:
    """Return the outputs of σ(w·1 + b), which should learn 0, from w = b = start."""
    leaves, outputs = [Tensor([[start]], requires_grad=True) for _ in "wb"], []
    for _ in range(steps):
        z = leaves[0] * 1.0 + leaves[1]
        outputs.append(sigmoid(z).item())
        loss = COSTS[cost](sigmoid(z) if cost == "quadratic" else z, np.zeros((1, 1)))
        for leaf, slope in zip(leaves, grad(loss, leaves), strict=True):
            leaf.data = leaf.data - rate * slope.data
    return outputs


def net(sizes: list[int], start: str) -> nn.Sequential:
    """Return layers of sigmoid neurons, weights and biases from the given start; the last layer is linear."""
    rng, layers = np.random.default_rng(0), [(nn.Linear(n, m), nn.Sigmoid()) for n, m in pairwise(sizes)]
    model = nn.Sequential(*[layer for pair in layers for layer in pair][:-1])
    for parameter in model.parameters():
        STARTS[start](parameter, rng=rng)
    return model


def measured(start: str, parts: list[Any], epochs: int) -> tuple[Any, Any, Any]:
    """Return σ′ of the hidden neurons at first, accuracies by epoch, and ‖∂C/∂b‖ of five hidden layers."""
    (x, y), loss_fn, deep = parts[0], nn.CrossEntropyLoss(), net([1024, *[30] * 5, 10], start)
    slopes = grad(loss_fn(deep(x), y), [deep[i].bias for i in range(0, 10, 2)])
    shallow = net([1024, 30, 10], start)
    a, sgd = shallow[1](shallow[0](x)).data.ravel(), optim.SGD(shallow.parameters(), lr=0.1)
    how: Any = {"epochs": epochs, "batch_size": 10, "validation": parts[1], "metrics": ["accuracy"], "rng": 0}
    told = [record.validation["accuracy"] for record in train.epochs(shallow, loss_fn, sgd, (x, y), **how)]
    return a * (1 - a), told, [float(np.linalg.norm(slope.data)) for slope in slopes]


def main(picture: str | None = None, epochs: int = 10) -> None:
    """Print what slows learning down, in four ways; the digits are enlarged to 32×32, so that n is 1,024."""
    data = datasets.load("digits", rng=0, images=True)
    parts = [(d.x.repeat(4, 2).repeat(4, 3).reshape(-1, 1024), d.y) for d in (data.train, data.validation)]
    found = {start: measured(start, parts, epochs) for start in STARTS}
    for start, (slopes, accuracies, lengths) in found.items():
        print(f"{start:9} mean σ′ {slopes.mean():.3f}; accuracy {accuracies[0]:.3f} → {accuracies[-1]:.3f}")
        print(f"{start:9} ‖∂C/∂b‖ of hidden layers 1 … 5:", *[f"{length:.1e}" for length in lengths])
    for cost in COSTS:
        print(f"{cost:13} one neuron: from 0.98 to 0.5 in {np.argmax(np.less(neuron(cost), 0.5))} steps")
    if picture:
        titles = "σ′ of hidden neurons", "accuracy by epoch", "one neuron's output", "‖∂C/∂b‖ by hidden layer"
        figure, axes = plots.panels(4, size=(3.2, 2.8))
        for start, (slopes, accuracies, lengths) in found.items():
            axes[0].hist(slopes, bins=25, range=(0, 0.25), alpha=0.6, label=start)
            axes[1].plot(range(1, epochs + 1), accuracies, label=start)
            axes[3].semilogy(range(1, 6), lengths, "o-", label=start)
        for cost in COSTS:
            axes[2].plot(neuron(cost), label=cost)
        for ax, title in zip(axes, titles, strict=True):
            ax.set_title(title)
            ax.legend(frameon=False)
        figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:2])
