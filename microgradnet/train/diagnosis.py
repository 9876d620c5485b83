"""What the numbers of a watched training say: vanishing, exploding, dead, saturated, too fast or slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from microgradnet.train.watch import Sample, Units, Watch

# Each is far outside what trains well, so that a finding is worth reading.
VANISHING = 1 / 100
"""Gradient per parameter of a layer, compared with that of the last layer."""
EXPLODING = 100.0
"""The same, or the greatest norm of an epoch compared with the middle one of the first."""
TOO_FAST, TOO_SLOW = 0.1, 1e-6
"""‖Δw‖/‖w‖ of a step; about 10⁻³ is usual (Karpathy, CS231n notes, *Ratio of weights:updates*)."""
FUNCTIONS = {"relu": "ReLU", "sigmoid": "σ", "tanh": "tanh"}


@dataclass(frozen=True)
class Finding:
    """Something that stands out: its kind in a word, and a sentence."""

    kind: str
    text: str


def diagnose(watch: Watch) -> list[Finding]:
    """Return what stands out at the end of what was watched; nothing where all is as it should be.

    Norms are medians over the samples of the last epoch; a gradient *per parameter* is ‖∂L/∂w‖/√size.

    >>> from microgradnet.train.watch import Norms, Sample, Watch
    >>> from microgradnet import nn
    >>> watch = Watch(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1)))
    >>> layers = {"0": Norms(1e-6, 1e-3, 1.0, 20), "2": Norms(0.1, 1e-3, 1.0, 5)}
    >>> watch.samples.append(Sample(1, 0.1, layers))
    >>> print(diagnose(watch)[0].text)
    the gradient of layer '0' is 200,000 times smaller per parameter than that of the last layer, '2': it
    hardly learns
    """
    if not watch.samples:
        return []
    found = _gradients(watch.samples)
    found += _updates(_last_epoch(watch.samples))
    if watch.units:
        found += [finding for units in watch.units[-1] if (finding := _stuck(units))]
    return found


def _last_epoch(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.time > samples[-1].time - 1]


def _first_epoch(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.time <= samples[0].time + 1]


def _gradients(samples: list[Sample]) -> list[Finding]:
    last = _last_epoch(samples)
    per_parameter = {
        layer: float(np.median([s.layers[layer].gradient for s in last])) / norms.size**0.5
        for layer, norms in samples[-1].layers.items()
    }
    *hidden, end = per_parameter
    found = [
        Finding("no gradient", f"no gradient reaches layer '{layer}': it does not learn")
        for layer in per_parameter
        if not any(s.layers[layer].gradient for s in last)
    ]
    for layer in hidden:
        if not per_parameter[layer] or not per_parameter[end]:
            continue
        ratio = per_parameter[layer] / per_parameter[end]
        if ratio < VANISHING:
            text = (
                f"the gradient of layer '{layer}' is {1 / ratio:,.0f} times smaller per parameter than that "
                f"of the last layer, '{end}': it hardly learns"
            )
            found.append(Finding("vanishing", text))
        elif ratio > EXPLODING:
            text = (
                f"the gradient of layer '{layer}' is {ratio:,.0f} times larger per parameter than that of "
                f"the last layer, '{end}'"
            )
            found.append(Finding("exploding", text))
    for layer in per_parameter:
        usual = float(np.median([s.layers[layer].gradient for s in _first_epoch(samples)]))
        greatest = max(s.layers[layer].gradient for s in last)
        if usual and greatest > EXPLODING * usual:
            text = (
                f"the gradient norm of layer '{layer}' reached {greatest:.3g} in the last epoch, "
                f"{greatest / usual:,.0f} times what was usual in the first; a smaller learning rate may help"
            )
            found.append(Finding("exploding", text))
    return found


def _updates(last: list[Sample]) -> list[Finding]:
    found = []
    for layer in last[-1].layers:
        ratios = [s.layers[layer].update / s.layers[layer].weight for s in last if s.layers[layer].weight]
        ratio = float(np.median(ratios)) if ratios else 0.0
        if ratio > TOO_FAST:
            text = (
                f"a step changes layer '{layer}' by {ratio:.0%} of its size (about 0.1 % is usual); "
                "a smaller learning rate may help"
            )
            found.append(Finding("large steps", text))
        elif 0 < ratio < TOO_SLOW:
            text = (
                f"a step changes layer '{layer}' by {ratio:.1e} of its size (about 1e-3 is usual): it hardly "
                "moves; a larger learning rate may help"
            )
            found.append(Finding("small steps", text))
    return found


def _stuck(units: Units) -> Finding | None:
    if not units.stuck:
        return None
    kind, meaning = (
        ("dead", "gave 0 for every one of")
        if units.function == "relu"
        else ("saturated", "were in the flat ends for nearly all of")
    )
    name = FUNCTIONS[units.function]
    text = (
        f"{units.stuck:,} of {units.count:,} {name} units of layer '{units.layer}' are {kind}: they "
        f"{meaning} {units.examples:,} examples, and pass hardly any gradient on"
    )
    return Finding(kind, text)
