"""Gradient descent itself, on a valley: what a step changes, which step is steepest, which rate is right.

With a file name it draws: gradient_descent.py picture.gif. Source: M. Nielsen, chapter 1, eq. 7 to 11.
"""

import sys
from itertools import accumulate
from typing import Any

import numpy as np

from microgradnet import Tensor, grad
from microgradnet.viz import plots

START = np.array([-9.0, 2.0])
RATES = {"too small": 0.01, "right": 0.17, "too large": 0.202}  # above 2/10 the steep side throws it out


def valley(v: Any) -> Any:
    """Return C(v) = ½(v₁² + 10·v₂²): ten times as steep across as along."""
    return (v[0] ** 2 + 10 * v[1] ** 2) / 2


def slope(at: Any) -> Any:
    """Return ∇C."""
    return grad(valley(v := Tensor(at, requires_grad=True)), v)[0].data


def descent(rate: float) -> Any:
    """Return the points (41, 2) of 40 steps v → v − η∇C."""
    return np.array(list(accumulate(range(40), lambda v, _: v - rate * slope(v), initial=START)))


def steepest(length: float) -> float:
    """Try 3,600 steps of one length, a tenth of a degree apart; return the angle of the best to −∇C."""
    angles = np.radians(np.arange(0, 360, 0.1))
    costs = valley(START[:, None] + length * np.array([np.cos(angles), np.sin(angles)]))
    downhill = np.arctan2(*-slope(START)[::-1])
    return float(abs((np.degrees(angles[costs.argmin()] - downhill) + 180) % 360 - 180))


def draw(path: str, frames: int = 26) -> None:
    """Draw the three descents, a frame for each step."""
    from matplotlib.animation import FuncAnimation

    figure, axes = plots.panels(3, size=(3.2, 2.4))
    v1, v2 = np.meshgrid(np.linspace(-11, 11, 89), np.linspace(-5, 5, 81))
    for ax, (name, rate) in zip(axes, RATES.items(), strict=True):
        ax.contour(v1, v2, valley([v1, v2]), levels=np.arange(1, 12) ** 2, cmap="cividis", linewidths=0.7)
        ax.set(title=f"{name}: η = {rate}", xlim=(-11, 11), ylim=(-5, 5))
    lines = [ax.plot([], [], "o-", markersize=3, linewidth=1, color="#D55E00")[0] for ax in axes]
    paths = [descent(rate) for rate in RATES.values()]

    def frame(i: int) -> None:
        for line, points in zip(lines, paths, strict=True):
            line.set_data(*points[: i + 1].T)

    FuncAnimation(figure, frame, frames=frames).save(path, writer="pillow", fps=6, dpi=60)


def main(picture: str | None = None) -> None:
    """Print what one step changes, which direction is best, and where each rate leads."""
    for size in (1.0, 0.1, 0.01):
        step = size * np.array([0.6, 0.8])
        change, linear = valley(START + step) - valley(START), slope(START) @ step
        print(f"‖Δv‖ = {size:<5} ΔC = {change:.6f}   ∇C·Δv = {linear:.6f}   apart {change - linear:.1e}")
    for length in (1.0, 0.1, 0.001):
        print(f"best of 3600 steps of length {length}: {steepest(length):.2f}° from −∇C")
    for name, rate in RATES.items():
        costs = np.array([valley(v) for v in descent(rate)])
        falls = np.count_nonzero(np.diff(costs) <= 0)
        print(
            f"{name:9} η = {rate:<5}  C falls in {falls} of 40 steps, from {costs[0]:.3g} to {costs[-1]:.2g}"
        )
    if picture:
        draw(picture)


if __name__ == "__main__":
    main(*sys.argv[1:2])
