"""From the layers that were called to a stack of the hand-derived δ: a table of layers, a table of losses.

A layer that δ learns is one line here: its class, and a function that makes delta's layer of its call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet import delta, nn
from microgradnet.nn import functional as F
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from microgradnet.checking.watched_run import Call, WatchedRun
    from microgradnet.graph import Array, Node

Translator: TypeAlias = "Callable[[Any, Call], delta.Layer]"


class UntranslatableError(ValueError):
    """A layer or loss has a form that δ does not know."""


@dataclass
class Translation:
    """The part of a run that δ can follow, from the loss backwards as far as it knows the layers."""

    stack: delta.Stack
    calls: list[Call]
    """The layers of the stack, in order."""
    input: Array
    """What the first of them was given."""
    complete: bool
    """Whether the stack begins at the model's input."""
    unknown: str = ""
    """What it ends at otherwise."""


def translate(run: WatchedRun) -> Translation | str:
    """Return the stack of δ that computes what was recorded, or a sentence that says why there is none.

    The layers are found by following the recorded values back from the prediction: each layer whose output
    they are, then its input, until the model's input or something that δ does not know.
    """
    prediction = run.prediction
    try:
        cost = _cost(run.loss_fn)
    except UntranslatableError as error:
        return str(error)
    if not isinstance(prediction, Tensor):
        return f"δ needs one tensor as the model's output, not {type(prediction).__name__}"
    layers: list[delta.Layer] = []
    calls: list[Call] = []
    value: Any = prediction
    unknown, last = "", len(run.calls)
    while all(value is not x for x in run.inputs):
        node = value._node if isinstance(value, Tensor) else None
        made = [k for k in range(last) if node is not None and run.calls[k].output._node is node]
        known = [k for k in made if type(run.calls[k].module) in LAYERS]
        if not known or run.calls[known[-1]].input is None:
            unknown = _unknown(run, node, made)
            break
        call = run.calls[known[-1]]
        try:
            layers.append(LAYERS[type(call.module)](call.module, call))
        except UntranslatableError as error:
            unknown = str(error)
            break
        calls.append(call)
        value, last = call.input, known[-1]
    if not layers and unknown:
        return unknown
    stack = delta.Stack(layers[::-1], cost)
    return Translation(stack, calls[::-1], np.array(value.data), not unknown, unknown)


def _unknown(run: WatchedRun, node: Node | None, made: list[int]) -> str:
    """Name what δ does not know: a layer, or an operation between the layers."""
    if made:
        call = run.calls[made[-1]]
        return f"δ does not know the layer '{call.path}' ({type(call.module).__name__})"
    if node is None or node.primitive is None:
        return "δ does not know where the values come from that its layers are given"
    layer = run.layer(node)
    where = f" in {layer}" if layer else ""
    return f"δ does not know the operation `{run.labels.get(node.number, node.primitive.name)}`{where}"


# ---------------------------------------------------------------------- layers


def _linear(layer: Any, _call: Call) -> delta.Layer:
    return delta.Linear(layer.weight.data.copy(), None if layer.bias is None else layer.bias.data.copy())


def _dropout(layer: Any, call: Call) -> delta.Layer:
    """Take the mask that was drawn from the recorded multiplication by it."""
    if not layer.training or layer.p == 0:
        return delta.Dropout(layer.p)
    node = call.output._node
    drawn = node.args[1] if node is not None and node.args and len(node.args) == 2 else None
    if drawn is None:
        raise UntranslatableError(
            f"δ does not see which mask '{call.path}' ({type(layer).__name__}) has drawn"
        )
    mask = np.broadcast_to(np.asarray(getattr(drawn, "y", drawn)) != 0, call.output.shape)
    return delta.Dropout(layer.p, mask.astype(float))


def _batch_norm(layer: Any, _call: Call) -> delta.Layer:
    arrays = (layer.weight.data.copy(), layer.bias.data.copy(), layer.eps)
    if layer.training:
        return delta.BatchNorm(*arrays)
    return delta.BatchNorm(*arrays, layer.running_mean.data.copy(), layer.running_var.data.copy())


def _softmax(kind: Callable[[], delta.Layer]) -> Translator:
    def made(layer: Any, call: Call) -> delta.Layer:
        if layer.dim % call.output.ndim != call.output.ndim - 1:
            raise UntranslatableError(
                f"δ knows a softmax over the last axis only; '{call.path}' has dim={layer.dim}"
            )
        return kind()

    return made


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _conv2d(layer: Any, _call: Call) -> delta.Layer:
    bias = None if layer.bias is None else layer.bias.data.copy()
    sides: Any = [(0, 0), (0, 0)]
    if layer.padding == "same":  # an odd pixel comes at the end
        spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        sides = [(span // 2, span - span // 2) for span in spans]
    elif layer.padding != "valid":
        sides = [(n, n) for n in layer.padding]
    steps = (layer.stride, tuple(sides), layer.dilation, layer.groups)
    return delta.Conv2d(layer.weight.data.copy(), bias, *steps)


def _pool(layer: Any) -> tuple[Any, Any, Any]:
    """Return kernel, stride and padding as δ wants them."""
    high, wide = _pair(layer.padding)
    return _pair(layer.kernel_size), _pair(layer.stride), ((high, high), (wide, wide))


LAYERS: dict[type[nn.Module], Translator] = {
    nn.Linear: _linear,
    nn.Sigmoid: lambda _layer, _call: delta.Sigmoid(),
    nn.Tanh: lambda _layer, _call: delta.Tanh(),
    nn.ReLU: lambda _layer, _call: delta.ReLU(),
    nn.LeakyReLU: lambda layer, _call: delta.LeakyReLU(layer.negative_slope),
    nn.Softmax: _softmax(delta.Softmax),
    nn.LogSoftmax: _softmax(delta.LogSoftmax),
    nn.Dropout: _dropout,
    nn.Dropout2d: _dropout,
    nn.Flatten: lambda _layer, _call: delta.Flatten(),
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Conv2d: _conv2d,
    nn.MaxPool2d: lambda layer, _call: delta.MaxPool2d(*_pool(layer), _pair(layer.dilation)),
    nn.AvgPool2d: lambda layer, _call: delta.AvgPool2d(*_pool(layer), layer.count_include_pad),
    nn.LayerNorm: lambda layer, _call: delta.LayerNorm(
        layer.weight.data.copy(), layer.bias.data.copy(), layer.eps
    ),
}
"""What δ knows, by the exact class: a subclass may compute something else."""


# ---------------------------------------------------------------------- losses


def _plain(kind: Callable[[str], delta.Cost]) -> Callable[[Any], delta.Cost]:
    return lambda loss: kind(loss.reduction)


def _weighted(kind: Callable[..., delta.Cost]) -> Callable[[Any], delta.Cost]:
    def made(loss: Any) -> delta.Cost:
        weight = None if loss.weight is None else loss.weight.data.copy()
        more = {"label_smoothing": loss.label_smoothing} if hasattr(loss, "label_smoothing") else {}
        return kind(loss.reduction, weight, **more)

    return made


LOSSES: dict[type[nn.Loss], Callable[[Any], delta.Cost]] = {
    nn.QuadraticLoss: _plain(delta.QuadraticCost),
    nn.MSELoss: _plain(delta.MSECost),
    nn.L1Loss: _plain(delta.L1Cost),
    nn.HuberLoss: lambda loss: delta.HuberCost(loss.reduction, loss.delta),
    nn.BCELoss: _plain(delta.BCECost),
    nn.BCEWithLogitsLoss: _plain(delta.SigmoidCrossEntropyCost),
    nn.CrossEntropyLoss: _weighted(delta.SoftmaxCrossEntropyCost),
    nn.NLLLoss: _weighted(delta.NLLCost),
}
"""The losses that δ knows, by the exact class."""
FUNCTIONS: dict[Any, Callable[[], nn.Loss]] = {
    F.quadratic_loss: nn.QuadraticLoss,
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.huber_loss: nn.HuberLoss,
    F.binary_cross_entropy: nn.BCELoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    F.cross_entropy: nn.CrossEntropyLoss,
    F.nll_loss: nn.NLLLoss,
}
"""The loss that a function of nn.functional computes by its defaults."""


def _cost(loss_fn: Any) -> delta.Cost:
    """Return delta's cost for a loss."""
    try:
        loss = FUNCTIONS[loss_fn]() if loss_fn in FUNCTIONS else loss_fn
    except TypeError:  # an object that cannot be looked up
        loss = loss_fn
    made = LOSSES.get(type(loss))
    name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
    if made is None:
        raise UntranslatableError(f"δ does not know the loss {name}")
    if loss.reduction == "none":
        raise UntranslatableError(f"δ does not know the loss {name} with reduction='none'")
    return made(loss)
