"""A Hopfield network: digits recalled from corrupted ones, energy going down, and how much fits in.

With a file name it draws: hopfield.py picture.png. Sources: Hopfield, 1982; Amit et al., 1985.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import datasets, nn
from microgradnet.viz import plots


def network(patterns: Any, rule: str = "hebb") -> nn.Hopfield:
    """Return a network that stores the patterns."""
    net = nn.Hopfield(patterns.shape[1], dtype=np.float64)
    net.store(patterns, rule)
    return net


def recalled(net: nn.Hopfield, pattern: Any, flips: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Turn some units over; return every state from there and its energy, which never rises."""
    start = pattern * np.where(rng.permutation(len(pattern)) < flips, -1, 1)
    states = np.array([state.data for state in net.recall(start, rng=rng)])
    energies = net.energy(states).data
    assert (np.diff(energies) <= 1e-12).all()
    return states, energies


def errors(units: int, load: float, rng: np.random.Generator, rounds: int = 8) -> float:
    """Return which share of units ends wrong from load × units random patterns, stored by Hebb's rule."""
    patterns = rng.choice([-1.0, 1.0], (round(load * units), units))
    net, s = network(patterns), patterns
    for unit in np.tile(rng.permutation(units), rounds):
        s = net.update(s, unit).data
    return float((s != patterns).mean())


def draw(path: str, digits: Any, wrong: dict[float, float], rng: np.random.Generator) -> None:
    """Draw three digits on their way back, their energies, and the share of wrong units by load."""
    figure, (steps, energy, full) = plots.panels(3, size=(4.2, 3.2))
    net, rows = network(digits, "pseudo-inverse"), []
    for k in (0, 2, 3):
        states, energies = recalled(net, digits[k], 8, rng)
        energy.plot(energies, "o-", markersize=3, label=f"digit {k}")
        shown = states[np.linspace(0, len(states) - 1, 6).astype(int)].reshape(6, 8, 8)
        rows.append(np.pad(np.hstack(np.pad(shown, ((0, 0), (0, 0), (1, 1)))), ((1, 1), (0, 0))))
    steps.imshow(np.vstack(rows), cmap="gray_r", zorder=2)
    steps.set(title="from corrupted to recalled", xticks=[], yticks=[])
    energy.set(title="energy", xlabel="units turned, one by one")
    full.plot([*wrong], [*wrong.values()], "o-", label="measured")
    full.axvline(0.138, color="0.4", linestyle="--", label="0.138·N")
    full.set(title="share of units that end wrong", xlabel="patterns / N")
    _ = energy.legend(frameon=False), full.legend(frameon=False)
    figure.savefig(path, dpi=80)


def main(picture: str | None = None, units: int = 200) -> None:
    """Print what either rule recalls, a synchronous cycle, the capacity, and the modern form."""
    rng, train = np.random.default_rng(0), datasets.load("digits", rng=0).train
    digits = np.array([np.where(train.x[train.y == k][0] > 0.5, 1.0, -1.0) for k in range(10)])
    for count, rule in ((2, "hebb"), (3, "hebb"), (3, "pseudo-inverse"), (10, "pseudo-inverse")):
        net, wanted = network(digits[:count], rule), np.tile(digits[:count], (10, 1))
        right = sum(np.array_equal(recalled(net, digit, 6, rng)[0][-1], digit) for digit in wanted)
        print(f"{rule:14} {count:2} digits: {right} of {10 * count} recalled, with 6 of 64 units flipped")
    pair = network(np.array([[1.0, -1.0]]))
    path = [s.tolist() for s in pair.recall([1, 1], synchronous=True)]
    print("all units at once:", *path, "… a cycle; energies", *pair.energy(path).tolist())
    wrong = {load: errors(units, load, rng) for load in (0.05, 0.08, 0.11, 0.13, 0.145, 0.16, 0.2, 0.25)}
    for load, share in wrong.items():
        print(f"{load * units:3.0f} random patterns, {load:.3f}·N: {share:5.1%} of the units end wrong")
    found = nn.ModernHopfield(digits)(digits + rng.standard_normal(digits.shape)).data.round()
    print(f"modern form: {(found == digits).all(1).sum()} of 10 digits recalled from N(digit, 1) in one step")
    if picture:
        draw(picture, digits, wrong, rng)


if __name__ == "__main__":
    main(*sys.argv[1:2])
