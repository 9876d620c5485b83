"""A Bernoulli RBM on digits shifted by a pixel: its features against raw pixels and scikit-learn's RBM.

Every image also stands one pixel left, right, up and down. The RBM never sees a label; the same logistic
regression is trained on each kind of feature. With a file name it draws: boltzmann_machine.py picture.png.
Source: scikit-learn's example "Restricted Boltzmann Machine features for digit classification".
"""

import sys
from typing import Any

import numpy as np

from microgradnet import datasets, nn, optim, train
from microgradnet.viz import plots

HIDDEN, BATCH, RATE = 100, 10, 0.06


def shifted(part: datasets.Dataset) -> tuple[Any, Any]:
    """Return the images as they are and shifted by a pixel four ways, and their labels."""
    padded = np.pad(part.x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moves = [padded[:, i : i + 8, j : j + 8] for i, j in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
    return np.concatenate(moves).reshape(-1, 64), np.tile(part.y, 5)


def trained(x: Any, epochs: int, *, persistent: bool, seed: int = 0) -> nn.RBM:
    """Return an RBM after so many passes of CD-1, or of persistent CD with as many chains as a batch has."""
    rng = np.random.default_rng(seed)
    rbm = nn.RBM(x.shape[1], HIDDEN, rng=rng)
    sgd, chains = optim.SGD(rbm.parameters(), lr=RATE), None
    for _ in range(epochs):
        for batch in rng.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
            loss, samples = rbm.contrastive_divergence(x[batch], start=chains)
            chains = samples if persistent else None
            sgd.zero_grad()
            loss.backward()
            sgd.step()
    return rbm


def accuracy(features: Any, test: Any, epochs: int) -> float:
    """Return the test accuracy of logistic regression on features (x, y)."""
    model = nn.Linear(features[0].shape[1], 10, rng=np.random.default_rng(0))
    sgd, loss_fn = optim.SGD(model.parameters(), lr=0.1, momentum=0.9), nn.CrossEntropyLoss()
    for _ in train.epochs(model, loss_fn, sgd, features, epochs=epochs, batch_size=100, rng=0):
        pass
    return train.evaluate(model, None, test, metrics=["accuracy"])["accuracy"]


def main(picture: str | None = None, epochs: int = 15) -> None:
    """Print the accuracy with each kind of feature, and how well images are reconstructed."""
    from sklearn.neural_network import BernoulliRBM

    splits = datasets.load("digits", rng=0)
    (x, y), (x_test, y_test) = shifted(splits.train), shifted(splits.test)
    rbms = {name: trained(x, epochs, persistent=name != "CD-1") for name in ("CD-1", "persistent CD")}
    theirs = BernoulliRBM(HIDDEN, learning_rate=RATE, batch_size=BATCH, n_iter=epochs, random_state=0).fit(x)
    features: dict[str, Any] = {"raw pixels": lambda v: v, "scikit-learn's BernoulliRBM": theirs.transform}
    features |= {f"nn.RBM, {name}": lambda v, rbm=rbm: rbm(v).data for name, rbm in rbms.items()}
    for name, f in features.items():
        found = accuracy((f(x), y), (f(x_test), y_test), 8 * epochs)
        print(f"logistic regression on {name:28} test accuracy {found:.1%}")
    for name, rbm in rbms.items():
        error = np.square(rbm.reconstruct(x_test).data - x_test).mean()
        print(f"{name}: squared error of a pixel {error:.3f}; with the mean image {x.var(0).mean():.3f}")
    if picture:
        figure, axes = plots.panels(3, size=(4.4, 4.6))
        for ax, (name, rbm) in zip(axes, rbms.items(), strict=False):
            filters = rbm.weight.data / abs(rbm.weight.data).max(1, keepdims=True)
            plots.plot_weights(filters, ax=ax).set_title(f"filters, {name}", loc="left")
        pairs = np.stack([x_test[:32], rbms["persistent CD"].reconstruct(x_test[:32]).data], 1)
        tiles = np.pad(pairs.reshape(4, 8, 2, 8, 8), ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
        axes[2].imshow(tiles.transpose(0, 2, 3, 1, 4).reshape(80, 80), cmap="gray_r")
        axes[2].set(title="images, below each its reconstruction", xticks=[], yticks=[])
        axes[2].grid(visible=False)
        figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:2])
