"""Two layers from scratch: 3 inputs, 4 hidden, squared error, 1,500 steps; the chain rule beside backward().

Each step writes the gradient out in NumPy and holds it against the automatic one. With a file name it draws:
two_layers.py picture.png. Source: J. Loy, "How to build your own neural network from scratch", 2018.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import Tensor
from microgradnet.nn.functional import sigmoid
from microgradnet.viz import plots

X = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])  # the last input is always 1: a bias
Y = np.array([[0.0], [1], [1], [0]])


class TwoLayers:
    """ŷ = σ(σ(x·W₁)·W₂), weights from [0, 1), and the sum of squared errors."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.w1, self.w2 = (Tensor(rng.random(shape), requires_grad=True) for shape in ((3, 4), (4, 1)))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the hidden layer and the predictions."""
        hidden = sigmoid(X @ self.w1)
        return hidden, sigmoid(hidden @ self.w2)

    def step(self) -> tuple[float, float]:
        """Go one step down; return the loss before it, and the error of the gradient by hand."""
        hidden, output = self.forward()
        loss = ((Y - output) ** 2).sum()
        self.w1.grad = self.w2.grad = None
        loss.backward()
        a, h = output.data, hidden.data
        delta2 = 2 * (a - Y) * a * (1 - a)
        delta1 = delta2 @ self.w2.data.T * h * (1 - h)
        by_hand = X.T @ delta1, h.T @ delta2
        apart = 0.0
        for w, gradient in zip((self.w1, self.w2), by_hand, strict=True):
            apart = max(apart, float(np.abs(w.grad - gradient).max()))
            w.data = w.data - w.grad
        return loss.item(), apart


def train(iterations: int = 1500, seed: int = 0) -> tuple[TwoLayers, Any, float]:
    """Return the net, the losses from before the first step to after the last, and the largest difference."""
    net = TwoLayers(seed)
    losses, differences = zip(*[net.step() for _ in range(iterations)], strict=True)
    last = ((Y - net.forward()[1]) ** 2).sum().item()
    return net, np.array([*losses, last]), max(differences)


def main(picture: str | None = None) -> None:
    """Print the loss on its way, and the predictions beside the targets."""
    net, losses, apart = train()
    for i in (0, 1, 10, 100, 500, 1000, 1500):
        print(f"after {i:4} steps: loss {losses[i]:.6f}")
    rises = np.count_nonzero(np.diff(losses) >= 0)
    print(f"steps after which the loss was not smaller: {rises} of {len(losses) - 1}")
    print(f"gradient by hand and by backward(): at most {apart:.0e} apart")
    predictions = net.forward()[1].data.ravel()
    for x, target, prediction in zip(X, Y.ravel(), predictions, strict=True):
        print(f"x = {x.astype(int)}  prediction {prediction:.3f}  target {target:.0f}")
    if picture:
        figure, (left, right) = plots.panels(2, size=(3.6, 2.8))
        left.plot(losses)
        left.set(title="squared error", xlabel="step", yscale="log")
        right.bar(range(4), predictions, color="C1", width=0.5, label="prediction")
        right.plot(range(4), Y.ravel(), "ko", label="target")
        right.set(ylim=(0, 1.4), xticks=range(4), xticklabels=["".join(map(str, x.astype(int))) for x in X])
        right.legend(frameon=False, loc="upper center")
        figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:2])
