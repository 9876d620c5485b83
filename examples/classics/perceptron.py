"""The perceptron: w·x + b > 0. What it learns, what it cannot, and the sigmoid neuron that it is the edge of.

With a file name it draws: perceptron.py picture.png. Sources: F. Rosenblatt, "The Perceptron", 1958;
M. Minsky and S. Papert, "Perceptrons", 1969 (XOR); M. Nielsen, chapter 1, exercises on sigmoid neurons.
"""

import sys

import numpy as np

from microgradnet import datasets, nn
from microgradnet.viz import plots

CORNERS = datasets.xor().x  # (0, 0), (0, 1), (1, 0), (1, 1)
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0], "XOR": [0, 1, 1, 0]}
# A line that parts the classes, (w, b): by Novikoff's theorem it bounds the mistakes on the way.
PARTING = {"AND": (2, 2, -3), "OR": (2, 2, -1), "NAND": (-2, -2, 3)}


def learnt(truth: list[int], passes: int = 1000) -> tuple[nn.Perceptron, list[int]]:
    """Return a perceptron and its mistakes in each pass, up to the first without any."""
    neuron, mistakes = nn.Perceptron(2), [1]
    while mistakes[-1] and len(mistakes) <= passes:
        mistakes.append(neuron.learn(CORNERS, np.reshape(truth, (4, 1))))
    return neuron, mistakes[1:]


def network(c: float = 1.0, soft: bool = False) -> nn.Sequential:
    """Return XOR as AND(OR, NAND), of perceptrons or of sigmoid neurons; weights and biases times c."""
    hard = [nn.Perceptron(2, 2), nn.Perceptron(2, 1)]
    model = nn.Sequential(*[nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1), nn.Sigmoid()] if soft else hard)
    gates = [PARTING["OR"], PARTING["NAND"]], [PARTING["AND"]]
    values = [np.array(part) for layer in gates for part in ([g[:2] for g in layer], [g[2] for g in layer])]
    model.load_state_dict(dict(zip(model.state_dict(), [c * value for value in values], strict=True)))
    return model


def draw(path: str) -> None:
    """Draw the four gates with the lines that were learnt, and σ(cz) on its way to the step."""
    figure, axes = plots.panels(5, size=(2.6, 2.8))
    across = np.linspace(-0.4, 1.4, 2)
    for ax, (gate, truth) in zip(axes, GATES.items(), strict=False):
        (w1, w2), b = (p.data.ravel() for p in learnt(truth)[0].parameters())
        lines = [PARTING["OR"], PARTING["NAND"]] if gate == "XOR" else [(w1, w2, b[0])]
        for u, v, k in lines:
            ax.plot(across, -(u * across + k) / v, color="0.4")
        ax.scatter(*CORNERS.T, c=truth, cmap="cividis", edgecolor="0.3", s=90, zorder=3)
        ax.set(xlim=(-0.4, 1.4), ylim=(-0.4, 1.4), title=gate + (": two lines" if len(lines) > 1 else ""))
    z = np.linspace(-1, 1, 401)
    for c in (1, 4, 16, 256):
        axes[4].plot(z, nn.functional.sigmoid(c * z), label=f"c = {c}")
    axes[4].set(title="σ(c·z)", xlabel="z = w·x + b")
    axes[4].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=80)


def main(picture: str | None = None) -> None:
    """Print what is learnt, why XOR is not, and what scaling does."""
    for gate, truth in GATES.items():
        neuron, mistakes = learnt(truth)
        count = f"{sum(mistakes)} mistakes in {len(mistakes)} passes, {mistakes[-1]} in the last"
        print(f"{gate:4} w = {neuron.weight.tolist()[0]}, b = {neuron.bias.item()}: {count}")
        if gate in PARTING:
            *v, k = PARTING[gate]
            margin = np.abs(CORNERS @ v + k).min()
            print(f"     at most {3 * np.dot([*v, k], [*v, k]) / margin**2:.0f} by Novikoff's theorem")
    print("XOR asks for b ≤ 0, w₁ + b > 0, w₂ + b > 0: so w₁ + w₂ + b > −b ≥ 0, but it asks for ≤ 0 too")
    points = np.random.default_rng(0).uniform(-2, 2, (1000, 2))
    hard = network()
    print("XOR = AND(OR, NAND):", hard(CORNERS).data.ravel())
    for c in (0.1, 1, 3, 10, 30):
        same = np.count_nonzero(network(c)(points).data == hard(points).data)
        gap = np.abs(network(c, soft=True)(CORNERS).data - hard(CORNERS).data).max()
        print(f"all × {c:<3}  perceptrons: {same} of 1000 outputs the same, sigmoid neurons: {gap:.1e} off")
    if picture:
        draw(picture)


if __name__ == "__main__":
    main(*sys.argv[1:2])
