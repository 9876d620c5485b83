"""The network of Nielsen's book from its formulas alone: (BP1) … (BP4), no automatic gradient.

On the digits of 8×8 pixels that scikit-learn carries (pip install 'microgradnet[digits]'). With the word
mnist it trains 784-30-10 for 30 epochs on 50,000 images, as the book does: nielsen_network.py mnist
"""

import sys
from typing import Any

from microgradnet import datasets, delta
from microgradnet.datasets import mnist_loader


def digits() -> tuple[list[Any], list[Any]]:
    """Return pairs of columns to train with, and pairs of a column and a digit to test with."""
    splits = datasets.load("digits", rng=0)
    train, test = (
        [(x.reshape(-1, 1), int(y)) for x, y in zip(part.x, part.y, strict=True)]
        for part in (splits.train, splits.test)
    )
    return [(x, mnist_loader.vectorized_result(y)) for x, y in train], test


if sys.argv[1:] == ["mnist"]:
    training_data, _, test_data = mnist_loader.load_data_wrapper()
    net, epochs = delta.Network([784, 30, 10], rng=0), 30
else:
    training_data, test_data = digits()
    net, epochs = delta.Network([64, 30, 10], rng=0), 10

# The gradient of one example by the four equations, and one entry of it by a small shift of that weight.
x, y = training_data[0]
nabla_b, nabla_w = net.backprop(x, y)
pixel = int(x.argmax())


def cost_with(shift: float) -> float:
    """Return the cost of the example with one weight of the first layer shifted."""
    net.weights[0][0, pixel] += shift
    cost = net.cost.fn(net.feedforward(x), y)
    net.weights[0][0, pixel] -= shift
    return cost


slope = (cost_with(1e-5) - cost_with(-1e-5)) / 2e-5
print(f"∂C/∂w by (BP1) … (BP4) {nabla_w[0][0, pixel]:.9f}, by a small shift {slope:.9f}")

records = net.SGD(training_data, epochs, mini_batch_size=10, eta=3.0, test_data=test_data, report=print)
print(f"test accuracy {net.evaluate(test_data) / len(test_data):.2%} after {len(records)} epochs")
