"""Training: ``fit``, and ``epochs`` as a generator of records; metrics, history, and where it broke."""

from microgradnet.train.diagnosis import diagnose
from microgradnet.train.diverged import DivergedError, first_not_finite
from microgradnet.train.loop import epochs, evaluate, fit, in_mode
from microgradnet.train.metrics import METRICS, accuracy
from microgradnet.train.records import Batch, History, Record
from microgradnet.train.watch import Watch, stuck_units

__all__ = [
    "METRICS",
    "Batch",
    "DivergedError",
    "History",
    "Record",
    "Watch",
    "accuracy",
    "diagnose",
    "epochs",
    "evaluate",
    "first_not_finite",
    "fit",
    "in_mode",
    "stuck_units",
]
