"""Timing a market: a net sees the returns of ten days and decides whether to be invested on the next.

market_timing.py [picture.png [prices.csv]]: the column "close" of a CSV file, oldest price first; else
log returns rₜ = m + φ·(rₜ₋₁ − m) + 0.01·εₜ are drawn, m = 0.0003, ε normal; φ = 0: a random walk.
"""

import sys
from typing import Any

import numpy as np

from microgradnet import datasets, nn, optim, train
from microgradnet.viz import plots

WINDOW, PAST, AHEAD, COST, COINS = 10, 750, 125, 0.001, 1000


def drawn(memory: float, days: int = 3000, seed: int = 1) -> Any:
    """Return prices of the random process, with φ = memory."""
    noise, returns = np.random.default_rng(seed).standard_normal(days), np.zeros(days)
    for t in range(1, days):
        returns[t] = 0.0003 + memory * (returns[t - 1] - 0.0003) + 0.01 * noise[t]
    return 100 * np.exp(np.cumsum(returns))


def walked_forward(returns: Any, epochs: int) -> Any:
    """Return if a net is invested, from day PAST on: every AHEAD days a new one learns the last PAST days."""
    invested, t, loss_fn = np.zeros(len(returns)), np.arange(len(returns)), nn.BCEWithLogitsLoss()
    windows = np.lib.stride_tricks.sliding_window_view(returns, WINDOW)  # windows[t − WINDOW] ends before t
    for now in range(PAST, len(returns), AHEAD):
        past, days, rng = t[now - PAST + WINDOW : now], t[now : now + AHEAD], np.random.default_rng(now)
        x = windows / returns[now - PAST : now].std()
        model = nn.Sequential(nn.Linear(WINDOW, 8, rng=rng), nn.Tanh(), nn.Linear(8, 1, rng=rng))
        sgd = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.001)
        known = x[past - WINDOW], np.float32(returns[past, None] > 0)
        _ = [*train.epochs(model, loss_fn, sgd, known, epochs=epochs, batch_size=50, rng=rng)]
        invested[days] = model(x[days - WINDOW]).data[:, 0] > 0
    return invested[PAST:]


def wealth(invested: Any, returns: Any, cost: float = 0.0) -> Any:
    """Return what 1 becomes, day by day, paying the cost whenever it is put in or taken out."""
    changes = np.abs(np.diff(invested, prepend=0.0))
    return np.exp(np.cumsum(invested * returns + changes * np.log1p(-cost), -1))


def conclusion(as_good: float, net: float, hold: float) -> str:
    """Say in words what the share of coins that did as well, and the wealth after costs, allow to say."""
    if as_good > 0.01:
        return f"{as_good:.0%} of the coins did as well: the net foresees nothing that shows"
    return "the net foresees something; " + ("it pays" if net > hold else "costs eat it, holding was better")


def main(picture: str | None = None, csv: str | None = None, epochs: int = 10) -> None:
    """Print what the net, holding, and coins made of each series, and what to think of it."""
    series = {csv: datasets.read_prices(csv)} if csv else {f"φ = {phi}": drawn(phi) for phi in (0.0, 0.15)}
    figure, axes = plots.panels(len(series), size=(4.8, 3.2)) if picture else (None, [None] * len(series))
    for ax, (name, prices) in zip(axes, series.items(), strict=True):
        if len(prices) < PAST + AHEAD:
            raise SystemExit(f"{name}: {len(prices)} prices, at least {PAST + AHEAD} are needed")
        returns, rng = np.diff(np.log(prices)), np.random.default_rng(0)
        net, tested = walked_forward(returns, epochs), returns[PAST:]
        coins = wealth(rng.binomial(1, net.mean(), (COINS, len(net))), tested)
        lines = {"buy and hold": wealth(net**0, tested, COST), "net, no costs": wealth(net, tested)}
        lines["net, 0.1% a change"] = wealth(net, tested, COST)
        hold, free, paid = (line[-1] for line in lines.values())
        print(f"{name}: 1 became", ", ".join(f"{line[-1]:.2f} ({who})" for who, line in lines.items()))
        low, high = np.percentile(coins, [5, 95], axis=0)
        print(f"{name}: nine coins in ten, no costs, from {low[-1]:.2f} to {high[-1]:.2f}")
        print(f"{name}: {conclusion(float(np.mean(coins[:, -1] >= free)), paid, hold)}")
        if picture:
            ax.fill_between(range(len(net)), low, high, color="0.5", alpha=0.3, label="nine coins in ten")
            for who, line in lines.items():
                ax.plot(line, label=who)
            ax.legend(title=name, frameon=False, fontsize=7)
            figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:3])
