"""Layers, losses and the Module that they are made of, with PyTorch's names."""

from microgradnet.nn import functional, init
from microgradnet.nn.activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from microgradnet.nn.containers import Flatten, Sequential
from microgradnet.nn.convolution import Conv1d, Conv2d, ConvTranspose2d
from microgradnet.nn.hopfield import Hopfield, ModernHopfield
from microgradnet.nn.linear import Embedding, Linear
from microgradnet.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    NLLLoss,
    QuadraticLoss,
)
from microgradnet.nn.module import Module
from microgradnet.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm
from microgradnet.nn.perceptron import Perceptron
from microgradnet.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from microgradnet.nn.rbm import RBM
from microgradnet.nn.regularization import Dropout, Dropout2d
from microgradnet.tensor import Parameter

__all__ = [
    "ELU",
    "GELU",
    "RBM",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "Hopfield",
    "HuberLoss",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "MaxPool2d",
    "ModernHopfield",
    "Module",
    "NLLLoss",
    "Parameter",
    "Perceptron",
    "QuadraticLoss",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "functional",
    "init",
]
