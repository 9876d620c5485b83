"""Batches made up for a model that comes without data: from its first layer and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microgradnet.graph import Array


def made_up_input(model: nn.Module, count: int) -> Array:
    """Return ``count`` examples that the first layer with a size takes, always the same ones.

    A ValueError where no layer tells the size.

    >>> made_up_input(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 5).shape
    (5, 784)
    """
    rng = np.random.default_rng(0)
    for layer in model.modules():
        if isinstance(layer, nn.Embedding):
            return np.arange(2 * count).reshape(count, 2) % layer.num_embeddings
        if isinstance(layer, nn.LayerNorm):
            return rng.uniform(0.1, 0.9, (count, *layer.normalized_shape))
        if isinstance(layer, nn.Linear):
            return rng.uniform(0.1, 0.9, (count, layer.in_features))
        if isinstance(layer, nn.BatchNorm1d):
            return rng.uniform(0.1, 0.9, (count, layer.num_features))
    raise ValueError(
        f"the input of {type(model).__name__} cannot be guessed from its layers; give an example batch x"
    )


def made_up_targets(loss_fn: Any, shape: tuple[int, ...]) -> Iterator[Array]:
    """Yield targets for predictions of a shape: those that the loss should take first.

    >>> [target.tolist() for target in made_up_targets(nn.CrossEntropyLoss(), (3, 2))]
    [[0, 1, 0]]
    """
    labels = np.arange(shape[0] if shape else 1) % (shape[-1] if len(shape) > 1 else 1)
    if not isinstance(loss_fn, (nn.CrossEntropyLoss, nn.NLLLoss)):
        yield np.random.default_rng(1).uniform(0.1, 0.9, shape)
        if isinstance(loss_fn, nn.Module) and type(loss_fn).__module__.startswith("microgradnet."):
            return
    yield labels
