"""Watch the gradient on its way back, and see it vanish in a deep sigmoid network.

A forward hook sees what a layer returns; a hook on that tensor sees ∂L/∂output when it is known. Every
sigmoid layer multiplies by σ′ ≤ ¼, and so passes on less than it got (Nielsen, Neural Networks and Deep
Learning, chapter 5).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from microgradnet import nn

DEPTH = 6


def gradient_norms(activation: Callable[[], nn.Module]) -> list[float]:
    """Return ‖∂L/∂a‖ after each hidden layer, first to last, in one backward pass."""
    rng = np.random.default_rng(0)
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layer = nn.Linear(30, 30, rng=rng)
        nn.init.kaiming_normal_(layer.weight, rng=rng)
        layers += [layer, activation()]
    model = nn.Sequential(*layers, nn.Linear(30, 10, rng=rng))
    norms: dict[int, float] = {}

    def watch(i: int) -> Callable[..., None]:
        def remember(g: Any) -> None:  # returning None leaves the gradient as it is
            norms[i] = float(np.linalg.norm(g))

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output.register_hook(remember)

        return hook

    for i in range(DEPTH):
        model[2 * i + 1].register_forward_hook(watch(i))
    x, y = rng.normal(size=(100, 30)), rng.integers(10, size=100)
    nn.CrossEntropyLoss()(model(x), y).backward()
    return [norms[i] for i in range(DEPTH)]


columns = {"sigmoid": gradient_norms(nn.Sigmoid), "ReLU": gradient_norms(nn.ReLU)}
print("‖∂L/∂a‖   " + "".join(f"{name:>12}" for name in columns))
for i in range(DEPTH):
    print(f"layer {i + 1}   " + "".join(f"{norms[i]:12.6f}" for norms in columns.values()))
lost = {name: norms[-1] / norms[0] for name, norms in columns.items()}
print("last / first" + "".join(f"{ratio:10.0f} ×" for ratio in lost.values()))
