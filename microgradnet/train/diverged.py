"""Where training breaks: the first step and operation whose result was not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microgradnet.graph import ancestors

if TYPE_CHECKING:
    from microgradnet.graph import Array
    from microgradnet.nn import Module
    from microgradnet.tensor import Tensor


class DivergedError(ArithmeticError):
    """The loss or a parameter became NaN or infinite."""


def check_finite(model: Module, steps: int) -> None:
    """Raise DivergedError where a parameter or buffer is not finite."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not np.isfinite(tensor.data).all():
            raise DivergedError(
                f"after step {steps} '{name}' holds {_kind(tensor.data)}, though every loss was finite: "
                "an update was too large or a gradient infinite. Try a smaller learning rate"
            )


def first_not_finite(loss: Tensor, model: Module | None = None) -> str:
    """Say which recorded operation was the first to turn finite numbers into NaN or infinity, in words.

    The graph keeps every value, so that nothing has to be run again. ``model`` gives parameters their names.

    >>> import microgradnet as mg
    >>> x = mg.Tensor([1.0, 0.0], requires_grad=True)
    >>> with np.errstate(divide="ignore"):
    ...     loss = x.log().sum()
    >>> first_not_finite(loss)
    'the first operation to give infinity was log#... of shape (2,)'
    """
    if loss._node is None:
        return "it was not recorded, so that its origin is not known"
    named = model.named_parameters() if model is not None else ()
    names = {parameter._node.number: name for name, parameter in named if parameter._node is not None}
    for number, node in sorted(ancestors([loss._node]).items()):
        if np.isfinite(node.y).all():
            continue
        if node.primitive is None:
            name = f"parameter '{names[number]}'" if number in names else node.describe()
            return f"{name} already held {_kind(node.y)} before it"
        pairs = list(zip(node.args, node.parents, strict=True))
        constants = [arg for arg, parent in pairs if parent is None and isinstance(arg, np.ndarray)]
        bad = [arg for arg in constants if arg.dtype.kind == "f" and not np.isfinite(arg).all()]
        if bad:
            return f"the data given to {node.describe()} already held {_kind(*bad)}"
        unknown = any(arg is None and parent is None for arg, parent in pairs)
        doubt = " (or data given to it already held it)" if unknown else ""
        return f"the first operation to give {_kind(node.y)} was {node.describe()}{doubt}"
    return "every recorded value is finite; it was made so outside the graph"


def _kind(*arrays: Array) -> str:
    return "NaN" if any(np.isnan(array).any() for array in arrays) else "infinity"
