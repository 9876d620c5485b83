"""Backpropagation by hand: the δ equations of each layer, derived on paper and written out in NumPy.

This room is a second implementation, not a second wording of the first. It imports nothing of the engine and
shares no code with it: its own σ and its own softmax, its own shapes and sums. What it computes can therefore
contradict the automatic gradients, and that is what it is for: where two ways that share nothing agree to the
last digits, a mistake would have had to be made twice. A helper borrowed from the engine would end that.

``Stack`` goes back through any sequence of layers (docs/delta.md derives each equation); ``Network`` is the
network of Nielsen's book, for reading beside it.
"""

from microgradnet.delta import network
from microgradnet.delta.convolution import AvgPool2d, Conv2d, MaxPool2d
from microgradnet.delta.costs import (
    BCECost,
    Cost,
    HuberCost,
    L1Cost,
    MSECost,
    NLLCost,
    QuadraticCost,
    SigmoidCrossEntropyCost,
    SoftmaxCrossEntropyCost,
)
from microgradnet.delta.layers import (
    BatchNorm,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from microgradnet.delta.network import Network
from microgradnet.delta.stack import Backprop, Stack

__all__ = [
    "AvgPool2d",
    "BCECost",
    "Backprop",
    "BatchNorm",
    "Conv2d",
    "Cost",
    "Dropout",
    "Flatten",
    "HuberCost",
    "L1Cost",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSECost",
    "MaxPool2d",
    "NLLCost",
    "Network",
    "QuadraticCost",
    "ReLU",
    "Sigmoid",
    "SigmoidCrossEntropyCost",
    "Softmax",
    "SoftmaxCrossEntropyCost",
    "Stack",
    "Tanh",
    "network",
]
