"""Proof: gradients checked against differences and against the hand-derived δ equations, and explained."""

from microgradnet.checking.derivation import Derivation, derive
from microgradnet.checking.explanation import Explanation, explain
from microgradnet.checking.gradient_check import GradcheckReport, GradientMismatch, gradcheck
from microgradnet.checking.numpy_export import export_numpy
from microgradnet.checking.published_network import mazur
from microgradnet.checking.report import Report
from microgradnet.checking.verification import verify

__all__ = [
    "Derivation",
    "Explanation",
    "GradcheckReport",
    "GradientMismatch",
    "Report",
    "derive",
    "explain",
    "export_numpy",
    "gradcheck",
    "mazur",
    "verify",
]
