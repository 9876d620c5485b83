"""A linear predictor and a classifier corrected by their error, and errors sent back through weights.

ΔA = E/x makes A·x right for one example and forgets the others; L·E/x listens to each a little. With a file
name it draws: predictor_classifier.py picture.png. Source: T. Rashid, "Make Your Own Neural Network", 2016.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import Tensor, grad
from microgradnet.nn.functional import sigmoid
from microgradnet.viz import plots

KM, MILES = 100.0, 62.137  # the predictor's one example
# Width and length of two insects, and the length at that width which the line A·x should have.
INSECTS = {"ladybird": (3.0, 1.0, 1.1), "caterpillar": (1.0, 3.0, 2.9)}
# Output j gets W[j, i]·h[i] from hidden neuron i, and is wrong by ERRORS[j] = t − a.
W, H, ERRORS = np.array([[2.0, 3.0], [1.0, 0.5]]), np.array([0.4, 0.5]), np.array([0.8, 0.5])


def correction(a: float, x: float, target: float) -> tuple[float, float, float]:
    """Return E = t − A·x, ΔA = E/x, and the same from the gradient: −∂(½E²)/∂A, divided by x²."""
    error = target - (slope := Tensor(a, requires_grad=True)) * x
    (g,) = grad(error**2 / 2, slope)
    return error.item(), error.item() / x, -g.item() / x**2


def classify(rate: float) -> list[float]:
    """Return A at the start and after each insect, A ← A + L·E/x."""
    slopes = [0.25]
    for x, _, target in INSECTS.values():
        slopes.append(slopes[-1] + rate * correction(slopes[-1], x, target)[1])
    return slopes


def sent_back(activation: Any) -> dict[str, Any]:
    """Return the errors of the hidden neurons by three rules, for outputs a = activation(W·h)."""
    a = activation(W @ (h := Tensor(H, requires_grad=True)))
    (g,) = grad(((a.data + ERRORS - a) ** 2).sum() / 2, h)
    shares = W / W.sum(1, keepdims=True)
    return {"shares": shares.T @ ERRORS, "Wᵀe": W.T @ ERRORS, "−∂E/∂h": -g.data}


def draw(path: str) -> None:
    """Draw the line after each insect with both rates, and the errors sent back."""
    figure, axes = plots.panels(3, size=(3.2, 2.8))
    for ax, rate in zip(axes, (1.0, 0.5), strict=False):
        for name, slope in zip(("nothing", *INSECTS), classify(rate), strict=True):
            ax.plot([0, 3.5], [0, 3.5 * slope], label=f"after {name}")
        ax.plot([x for x, _, _ in INSECTS.values()], [y for _, y, _ in INSECTS.values()], "ko")
        ax.set(title=f"the line A·x, L = {rate}", xlabel="width", ylabel="length", ylim=(0, 3.5))
    axes[0].legend(frameon=False, fontsize="small", loc="upper right")
    for i, (rule, e) in enumerate(sent_back(sigmoid).items()):
        axes[2].bar(np.arange(2) + 0.27 * i, e, 0.27, label=rule)
    axes[2].set(title="errors sent back (σ)", ylim=(0, 4), xticks=[0.27, 1.27], xticklabels=["h₁", "h₂"])
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=80)


def main(picture: str | None = None) -> None:
    """Print the corrections, what is forgotten, and the errors sent back."""
    error, step, same = correction(0.5, KM, MILES)
    print(f"predictor: A = 0.5, E = {error:.3f}, ΔA = E/x = {step:.5f}, −∂(½E²)/∂A / x² = {same:.5f}")
    print(f"after it:  A = {0.5 + step:.5f}, E = {correction(0.5 + step, KM, MILES)[0]:.3f}")
    for rate in (1.0, 0.5):
        for name, (x, _, target) in INSECTS.items():
            left = ", ".join(f"{slope:.4f} ({target - slope * x:+.2f})" for slope in classify(rate))
            print(f"L = {rate}  A (and E of the {name}): {left}")
    for name, activation in (("linear", lambda z: z), ("sigmoid", sigmoid)):
        print(
            f"{name} outputs:", ", ".join(f"{rule} {e.round(3)}" for rule, e in sent_back(activation).items())
        )
    if picture:
        draw(picture)


if __name__ == "__main__":
    main(*sys.argv[1:2])
