"""Dropout: the same net with and without it on 1,000 images; training and validation curves, and the gap.

The images are MNIST's where they are at hand ($MICROGRADNET_DATA, or downloaded before), else scikit-learn's
8×8 digits. With a file name it draws: dropout.py picture.png. Sources: N. Srivastava et al., "Dropout", 2014;
M. Nielsen, chapter 3, which overfits to 1,000 images too.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import datasets, nn, optim, train
from microgradnet.viz import plots

Part = tuple[Any, Any]


def images(count: int = 1000) -> tuple[str, Part, Part]:
    """Return the name of the set, so many images for training, and up to 2,000 others for validation."""
    try:
        splits = datasets.load("mnist", download=False)
    except FileNotFoundError:
        splits = datasets.load("digits", rng=0)
    x, y = (np.concatenate([getattr(part, k) for part in (splits.train, splits.validation)]) for k in "xy")
    return splits.name, (x[:count], y[:count]), (x[count:][-2000:], y[count:][-2000:])


def trained(data: Part, others: Part, p: float, epochs: int, hidden: int = 200) -> train.History:
    """Return what training a net with dropout p tells: after each epoch, the loss and accuracy of both parts.

    The training images are asked again after the epoch, without dropout, so that the two are comparable.
    """
    rng = np.random.default_rng(0)
    first, last = nn.Linear(data[0].shape[1], hidden, rng=rng), nn.Linear(hidden, 10, rng=rng)
    model = nn.Sequential(nn.Dropout(p / 2, rng=rng), first, nn.ReLU(), nn.Dropout(p, rng=rng), last)
    sgd, loss_fn, told = optim.SGD(model.parameters(), lr=0.05, momentum=0.9), nn.CrossEntropyLoss(), []
    for epoch in train.epochs(model, loss_fn, sgd, data, epochs=epochs, batch_size=20, rng=0):
        both = [train.evaluate(model, loss_fn, part, metrics=["accuracy"]) for part in (data, others)]
        told.append(train.Record(epoch.epoch, epoch.steps, both[0]["loss"], both[0], both[1]))
    return train.History(told)


def draw(path: str, runs: dict[str, train.History]) -> None:
    """Draw the loss and the accuracy of both nets by epoch."""
    figure, axes = plots.panels(2, size=(4.2, 3.2))
    for i, (name, history) in enumerate(runs.items()):
        axis = range(1, len(history) + 1)
        for ax, what in zip(axes, ("loss", "accuracy"), strict=True):
            ax.plot(axis, history.column("metrics", what), "--", color=f"C{i}", label=f"{name}, training")
            ax.plot(axis, history.column("validation", what), color=f"C{i}", label=f"{name}, validation")
            ax.set(title=what, xlabel="epoch")
    axes[0].set_yscale("log")
    axes[1].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=80)


def main(picture: str | None = None, epochs: int = 60) -> None:
    """Print the mean loss and accuracy of both nets at the end, and the gaps."""
    name, data, others = images()
    print(f"{name}: {len(data[0]):,} images for training, {len(others[0]):,} for validation, {epochs} epochs")
    runs = {f"dropout {p:g}" if p else "without": trained(data, others, p, epochs) for p in (0.0, 0.5)}
    for which, history in runs.items():
        losses = history.column("validation", "loss")
        for what in ("loss", "accuracy"):  # of the last ten epochs: with dropout one is not like the next
            ours, theirs = [np.mean(history.column(part, what)[-10:]) for part in ("metrics", "validation")]
            gap = f"apart {abs(ours - theirs):.4f}"
            print(f"{which:11} {what:8} training {ours:.4f}, validation {theirs:.4f}, {gap}")
        print(f"{which:11} validation loss was least, {min(losses):.4f}, at epoch {np.argmin(losses) + 1}")
    if picture:
        draw(picture, runs)


if __name__ == "__main__":
    main(*sys.argv[1:2])
