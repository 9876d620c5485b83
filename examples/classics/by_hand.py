"""One neuron forward and backward by hand: x = [0.1, 0.2, 0.4], y = 1; every derivative beside `explain`.

a = w·x + b; absolute error |a − y|, squared error (a − y)². The left column is worked out on paper, with
∂|a − y|/∂a = ±1 and ∂(a − y)²/∂a = 2(a − y). With a file name it draws: by_hand.py picture.png.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import Tensor, explain
from microgradnet.viz import plots

X, Y = np.array([0.1, 0.2, 0.4]), 1.0
W, B = np.array([0.3, -0.5, 0.8]), 0.05


def forward() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return w, b, x and a, and the two errors, by name."""
    leaves = {name: Tensor(data, True, name=name) for name, data in {"w": W, "b": B, "x": X}.items()}
    a = (leaves["w"] * leaves["x"]).sum() + leaves["b"]
    a.name = "a"
    losses = {"|a − y|": abs(a - Y), "(a − y)²": (a - Y) ** 2}
    for loss in losses.values():
        loss.name = "E"
    return {**leaves, "a": a}, losses


def by_hand() -> tuple[float, dict[str, tuple[float, dict[str, Any]]]]:
    """Return a, and of each error its value and its derivatives by a, w, b and x."""
    a = sum(w * x for w, x in zip(W, X, strict=True)) + B
    errors = {}
    for name, error, slope in (
        ("|a − y|", abs(a - Y), np.sign(a - Y)),
        ("(a − y)²", (a - Y) ** 2, 2 * (a - Y)),
    ):
        errors[name] = (error, {"w": slope * X, "b": slope, "x": slope * W, "a": slope})
    return a, errors


def draw(path: str) -> None:
    """Draw both errors over a, with the tangents whose slopes are ∂E/∂a, and the derivatives by w and b."""
    a, errors = by_hand()
    figure, (left, right) = plots.panels(2, size=(3.6, 2.8))
    axis = np.linspace(-0.5, 2.5, 301)
    for i, (name, curve) in enumerate({"|a − y|": abs(axis - Y), "(a − y)²": (axis - Y) ** 2}.items()):
        error, slopes = errors[name]
        near = a + np.array([-0.4, 0.4])
        left.plot(axis, curve, color=f"C{i}", label=name)
        left.plot(near, error + slopes["a"] * (near - a), color=f"C{i}", linewidth=4, alpha=0.4)
        left.plot(a, error, "o", color=f"C{i}")
        right.bar(np.arange(4) + 0.4 * i, [*slopes["w"], slopes["b"]], 0.4, color=f"C{i}")
    left.set(title="the error at a, and its slope", xlabel="a", ylim=(0, 2.2))
    left.legend(frameon=False)
    right.set(title="∂E by each parameter", xticks=np.arange(4) + 0.2, xticklabels=["w₁", "w₂", "w₃", "b"])
    figure.savefig(path, dpi=80)


def main(picture: str | None = None) -> None:
    """Print the forward pass and every derivative, by hand and explained."""
    leaves, losses = forward()
    a, errors = by_hand()
    terms = " + ".join(f"({w})·{x}" for w, x in zip(W, X, strict=True))
    print(f"w·x     = {terms} = {W @ X:.2f}")
    print(f"a       = w·x + b = {W @ X:.2f} + {B} = {a:.2f}")
    for name, loss in losses.items():
        error, slopes = errors[name]
        print(f"\nE = {name} = {error:.4f} by hand, {loss.item():.4f} computed")
        for leaf, tensor in leaves.items():
            for i, slope in enumerate(np.ravel(slopes[leaf])):
                told = str(explain(loss, tensor, (i,) * tensor.ndim)).splitlines()[-2].strip()
                print(f"by hand {slope:+.5f}   {told}")
    if picture:
        draw(picture)


if __name__ == "__main__":
    main(*sys.argv[1:2])
