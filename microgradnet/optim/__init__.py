"""Optimizers: pure update rules, applied to parameter groups."""

from microgradnet.optim.optimizer import Optimizer
from microgradnet.optim.sgd import SGD

__all__ = ["SGD", "Optimizer"]
