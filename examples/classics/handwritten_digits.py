"""Handwritten digits with a multilayer net, 64-32-10, beside scikit-learn's MLPClassifier.

Both have ReLU, softmax, cross-entropy, SGD with momentum, batches of 32 and the same examples, without weight
decay; they differ in the random numbers and in how the biases start. With a file name it draws:
handwritten_digits.py picture.png.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import datasets, nn, optim, train
from microgradnet.viz import plots

HIDDEN, BATCH, RATE, MOMENTUM = 32, 32, 0.1, 0.9


def ours(splits: Any, epochs: int, seed: int) -> Any:
    """Return the classes that a net of this library gives to the test images."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(64, HIDDEN, rng=rng), nn.ReLU(), nn.Linear(HIDDEN, 10, rng=rng))
    for layer in (model[0], model[2]):  # as MLPClassifier starts
        nn.init.xavier_uniform_(layer.weight, rng=rng)
    sgd = optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    for _ in train.epochs(
        model, nn.CrossEntropyLoss(), sgd, splits.train, epochs=epochs, batch_size=BATCH, rng=rng
    ):
        pass
    return model(splits.test.x).data.argmax(1)


def theirs(splits: Any, epochs: int, seed: int) -> Any:
    """Return the classes that scikit-learn's MLPClassifier gives to them."""
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        [HIDDEN],
        solver="sgd",
        batch_size=BATCH,
        learning_rate_init=RATE,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        alpha=0,
        random_state=seed,
    )
    for _ in range(epochs):
        model.partial_fit(splits.train.x, splits.train.y, classes=range(10))
    return model.predict(splits.test.x)


def main(picture: str | None = None, epochs: int = 30, seeds: int = 5) -> None:
    """Print the test accuracy of both, and what is taken for what."""
    splits = datasets.load("digits", rng=0)
    truth, answers = splits.test.y, {"microgradnet": ours, "MLPClassifier": theirs}
    found = {name: [fit(splits, epochs, seed) for seed in range(seeds)] for name, fit in answers.items()}
    for name, runs in found.items():
        accuracies = [np.mean(run == truth) for run in runs]
        shown = ", ".join(f"{accuracy:.1%}" for accuracy in accuracies)
        print(f"{name:13} test accuracy {shown}: mean {np.mean(accuracies):.1%}")
    table = np.zeros((10, 10), int)
    np.add.at(table, (truth, found["microgradnet"][0]), 1)
    print("microgradnet's first: rows are the digits, columns what they were taken for")
    print(table)
    if picture:
        figure, axes = plots.panels(2, size=(5.4, 5.2))
        for ax, (name, runs) in zip(axes, found.items(), strict=True):
            plots.plot_confusion(truth, runs[0], ax=ax)
            ax.grid(visible=False)
            ax.set_title(f"{name}: {ax.get_title(loc='left')}", loc="left")
        figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:2])
