"""XOR by backpropagation with momentum: 2-5-1, rate 0.05, momentum 0.1, 10,000 rounds, one example at a time.

Ten nets for each start are trained side by side: weights have a leading axis of nets, and the gradient of the
sum of all errors by one net's weights is that net's own. Δw ← −η·∂E/∂w + α·Δw, E = ½(y − t)².
With a file name it draws: xor_momentum.py picture.png. Sources: D. Rumelhart, G. Hinton and R. Williams,
"Learning representations by back-propagating errors", 1986 (momentum); N. Schemenauer, bpnn.py (the start).
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from microgradnet import nn, optim
from microgradnet.viz import plots

INPUTS, TRUTH = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
# Weights and biases start uniform: the hidden layer's in ± the first number, the output's in ± the second.
STARTS = {"±0.2": (0.2, 0.2), "±2": (2.0, 2.0), "±0.2, then ±2": (0.2, 2.0)}
PAIRS = {"tanh, tanh": (np.tanh, np.tanh), "tanh, σ": (np.tanh, nn.functional.sigmoid)}
PAIRS["σ, σ"] = (nn.functional.sigmoid, nn.functional.sigmoid)


class Nets(nn.Module):
    """Nets of 2-5-1 side by side, ``seeds`` for each start."""

    def __init__(self, hidden: Callable[[Any], Any], output: Callable[[Any], Any], seeds: int) -> None:
        rngs = [np.random.default_rng(seed) for seed in range(seeds)]
        shapes = {"w": (0, (5, 2)), "b": (0, (5, 1)), "v": (1, (1, 5)), "c": (1, (1, 1))}
        draws = [[rng.uniform(-1, 1, shape) for _, shape in shapes.values()] for rng in rngs]
        for i, (name, (layer, _)) in enumerate(shapes.items()):
            values = [ranges[layer] * draw[i] for ranges in STARTS.values() for draw in draws]
            setattr(self, name, nn.Parameter(np.array(values), dtype=float))
        self.hidden, self.output = hidden, output

    def forward(self, x: Any) -> Any:
        """Return the outputs (nets, 1, n) for columns x (2, n)."""
        return self.output(self.v @ self.hidden(self.w @ x + self.b) + self.c)


def train(pair: str, rounds: int, seeds: int) -> tuple[Any, Any]:
    """Return the outputs (starts, seeds, 4), and the mean error on the way, (records, starts, seeds)."""
    model = Nets(*PAIRS[pair], seeds)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.1)
    cases, errors = [(x[:, None], float(t)) for x, t in zip(INPUTS, TRUTH, strict=True)], []
    for i in range(rounds + 1):
        if i % max(1, rounds // 100) == 0:
            outputs = model(INPUTS.T).data.reshape(len(STARTS), seeds, 4)
            errors.append(((outputs - TRUTH) ** 2).mean(-1) / 2)
        for x, t in cases if i < rounds else []:
            optimizer.zero_grad()
            (((model(x) - t) ** 2).sum() / 2).backward()
            optimizer.step()
    return outputs, np.array(errors)


def main(picture: str | None = None, rounds: int = 10_000, seeds: int = 10) -> None:
    """Print how many nets learn XOR from each start, and the outputs of the first."""
    figure, axes = plots.panels(3, size=(3.2, 2.6)) if picture else (None, [None] * 3)
    for ax, pair in zip(axes, PAIRS, strict=True):
        outputs, errors = train(pair, rounds, seeds)
        for i, start in enumerate(STARTS):
            learnt = np.count_nonzero((outputs[i].round() == TRUTH).all(-1))
            first = f"the first gives {outputs[i, 0].round(3)}"
            print(f"{pair:11} {start:14} {learnt:2} of {seeds} nets round to the truth; {first}")
            if ax:
                ax.plot(np.linspace(0, rounds, len(errors)), errors[:, i], color=f"C{i}", linewidth=0.8)
                ax.plot([], color=f"C{i}", label=start)
                ax.set(title=pair, xlabel="round", ylim=(0, 0.2))
    if picture:
        axes[0].legend(frameon=False)
        figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:2])
