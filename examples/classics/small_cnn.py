"""A small CNN: 10 maps 5×5, max pooling, sigmoid after it, softmax; δ on its way back through all of it.

It learns MNIST where that is at hand ($MICROGRADNET_DATA, or downloaded before), else scikit-learn's 8×8
digits. With a file name it draws: small_cnn.py picture.png. Equations (L18) … (L23): docs/delta.md.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import Tensor, datasets, delta, grad, nn, optim, train
from microgradnet.viz import plots


def trained(splits: datasets.Splits, epochs: int, rate: float = 0.03) -> nn.Sequential:
    """Return the net after so many epochs, the last third of them with a tenth of the rate."""
    rng, side = np.random.default_rng(0), (splits.train.x.shape[-1] - 4) // 2
    conv, last = nn.Conv2d(1, 10, 5, rng=rng), nn.Linear(10 * side * side, 10, rng=rng)
    model = nn.Sequential(conv, nn.MaxPool2d(2), nn.Sigmoid(), nn.Flatten(), last)
    sgd, loss_fn = optim.SGD(model.parameters(), lr=rate, momentum=0.9), nn.CrossEntropyLoss()
    for record in train.epochs(model, loss_fn, sgd, splits.train, epochs=epochs, batch_size=20, rng=0):
        sgd.param_groups[0]["lr"] = rate if record.epoch < epochs * 2 // 3 else rate / 10
        found = train.evaluate(model, None, splits.validation, metrics=["accuracy"])["accuracy"]
        print(f"epoch {record.epoch:2}: loss {record.loss:.4f}, validation accuracy {found:.2%}")
    return model


def both_ways(model: nn.Sequential, x: Any, y: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the activations, and ∂C/∂ by the pooled maps, maps, images and kernels in both ways."""
    steps = [Tensor(x, requires_grad=True)]
    for layer in model:
        steps.append(layer(steps[-1]))
    leaves = {"pooled": steps[2], "maps": steps[1], "image": steps[0], "kernels": model[0].weight}
    found = [g.data for g in grad(nn.CrossEntropyLoss()(steps[-1], y), list(leaves.values()))]
    conv, last = (tuple(p.data for p in model[i].parameters()) for i in (0, 4))
    layers = [delta.Conv2d(*conv), delta.MaxPool2d((2, 2), (2, 2)), delta.Sigmoid(), delta.Flatten()]
    back = delta.Stack([*layers, delta.Linear(*last)], delta.SoftmaxCrossEntropyCost()).backprop(x, y)
    by_hand = [back.deltas[1], back.deltas[0], back.input_gradient, back.gradients[0]["weight"]]
    return steps, dict(zip(leaves, found, strict=True)), dict(zip(leaves, by_hand, strict=True))


def rotated(at_maps: Any, kernels: Any) -> Any:
    """Return δ at the image: δ at the maps, with a border of 4, under the kernels turned by 180°."""
    return delta.Conv2d(kernels.swapaxes(0, 1)[..., ::-1, ::-1], padding=((4, 4), (4, 4))).forward(at_maps)


def main(picture: str | None = None, epochs: int = 9) -> None:
    """Train, print the test accuracy, hold δ against the equations, and follow one δ through a pool."""
    try:
        splits = datasets.load("mnist", download=False, images=True)
    except FileNotFoundError:
        splits = datasets.load("digits", rng=0, images=True)
    model = trained(splits, epochs)
    accuracy = train.evaluate(model, None, splits.test, metrics=["accuracy"])["accuracy"]
    print(f"{splits.name}: accuracy on the {len(splits.test):,} test images {accuracy:.2%}")
    x, y = splits.test.x[:8].astype(np.float64), splits.test.y[:8]
    steps, found, by_hand = both_ways(model.astype(np.float64), x, y)
    for name, slope in found.items():
        apart = abs(slope - by_hand[name]).max()
        print(f"∂C/∂{name:8} by backward() and by (L18) … (L23), equal to 1e-12: {apart < 1e-12}")
    apart = abs(rotated(found["maps"], model[0].weight.data) - found["image"]).max()
    print(f"∂C/∂image    by the kernels turned by 180°, equal to 1e-12: {apart < 1e-12}")
    n, o, i, j = np.unravel_index(abs(found["pooled"]).argmax(), found["pooled"].shape)
    window = np.s_[n, o, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
    print("a window of a map:", *[f"{z:.2f}" for z in steps[1].data[window].ravel()])
    print(
        f"δ of its pool {found['pooled'][n, o, i, j]:.2e}; of the window", found["maps"][window].ravel() + 0
    )
    if picture:
        shown = {"filters": model[0].weight.data, "feature maps": steps[1].data[n]}
        shown |= {"δ at the maps: a pixel in four": found["maps"][n], "δ at the image": found["image"][n]}
        figure, axes = plots.panels(4, size=(3.2, 2.8))
        for ax, (title, tiles) in zip(axes, shown.items(), strict=True):
            plots.plot_weights(tiles.reshape(-1, 1, *tiles.shape[-2:]), ax=ax).set_title(title, loc="left")
        figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:2])
