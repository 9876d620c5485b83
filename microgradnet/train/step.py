"""One step of training, eager or compiled: forward, loss, backward, update."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.compiler import compile
from microgradnet.primitive import Primitive
from microgradnet.tensor import Tensor
from microgradnet.train.diverged import DivergedError, first_not_finite

if TYPE_CHECKING:
    from microgradnet.nn import Module
    from microgradnet.optim import Optimizer


class _NotFiniteError(ArithmeticError):
    """The loss is NaN or infinite."""


def _checked(loss: Any) -> Any:
    if not math.isfinite(loss):
        raise _NotFiniteError(float(loss))
    return loss


_finite = Primitive("finite", _checked, lambda g, _y, _loss: g)


class Step:
    """The step as a function of a batch; it updates only where the loss is finite, else: DivergedError.

    ``gradients`` says whether they are kept after it.
    """

    def __init__(
        self, model: Module, loss_fn: Any, optimizer: Optimizer, *, compiled: bool | str, gradients: bool
    ) -> None:
        self._model = model
        self._loss_fn = loss_fn
        self._optimizer = optimizer
        self._gradients = gradients
        backend = "numpy" if compiled is True else str(compiled)
        self._compiled = compile(self._whole, backend=backend) if compiled else None

    def __call__(self, x: Any, y: Any, epoch: int, step: int) -> tuple[float, Any]:
        """Take the step; return the loss and the model's output."""
        if self._compiled is not None:
            try:
                loss, output = self._compiled(x, y)
            except _NotFiniteError as error:
                loss = one_number(self._loss_fn(self._model(x), y))  # once more, for the graph
                raise _diverged(error.args[0], loss, self._model, epoch, step) from None
            return float(loss.item()), output
        output = self._model(x)
        loss = one_number(self._loss_fn(output, y))
        value = float(loss.item())
        if not math.isfinite(value):
            raise _diverged(value, loss, self._model, epoch, step)
        self._update(loss)
        return value, output

    def _whole(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Do all of it on tensors alone, as it is compiled."""
        output = self._model(x)
        loss = _finite(one_number(self._loss_fn(output, y)))
        self._update(loss)
        return loss, output

    def _update(self, loss: Any) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        if not self._gradients:
            self._optimizer.zero_grad()


def _diverged(value: float, loss: Tensor, model: Module, epoch: int, step: int) -> DivergedError:
    return DivergedError(
        f"the loss became {value} at step {step} (epoch {epoch}): {first_not_finite(loss, model)}. "
        "The update was not applied; a smaller learning rate may help"
    )


def one_number(loss: Any) -> Tensor:
    """Return the loss, if it is a tensor of one number."""
    if not isinstance(loss, Tensor) or loss.size != 1:
        given = f"{type(loss).__name__} of shape {loss.shape if isinstance(loss, Tensor) else np.shape(loss)}"
        raise ValueError(
            f"the loss must be a tensor of one number, got a {given}; give it a reduction such as 'mean'"
        )
    return loss
