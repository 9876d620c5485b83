"""Assertions for tests of one's own layers and functions: their gradients agree with all that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet.checking import GradcheckReport, GradientMismatch, Report, gradcheck, verify
from microgradnet.nn import Module

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GradientMismatch", "assert_gradients_agree"]


def assert_gradients_agree(
    model: Callable[..., Any],
    loss_fn: Callable[..., Any] | None = None,
    x: Any = None,
    y: Any = None,
    *,
    samples: int = 24,
    seed: int = 0,
) -> Report | GradcheckReport:
    """Fail, with a report that says where and how, unless all gradients agree; for use in tests.

    With a model and its loss it is ``verify``. A layer alone, without ``loss_fn``, is verified under
    Σ w·output with random weights w. A function, or a layer without parameters, is given to ``gradcheck``,
    to order 2; ``x`` is then its float64 input, or a list of them.

    Raises GradientMismatch, an AssertionError whose ``report`` has the details. Returns the report.

    >>> import numpy as np
    >>> from microgradnet import nn
    >>> from microgradnet.testing import assert_gradients_agree
    >>> x = np.linspace(-1, 1, 6).reshape(2, 3)
    >>> bool(assert_gradients_agree(nn.Linear(3, 2), nn.MSELoss(), x, np.zeros((2, 2))))
    True
    >>> bool(assert_gradients_agree(nn.LayerNorm(3), x=x))
    True
    >>> bool(assert_gradients_agree(lambda a, b: (a * b).exp(), x=[x, x]))
    True
    """
    __tracebackhide__ = True
    if x is None:
        raise TypeError("assert_gradients_agree: give the input, x=…")
    if not isinstance(model, Module) or not list(model.parameters()):
        if loss_fn is None:
            return gradcheck(model, x, seed=seed)
        return gradcheck(lambda *inputs: loss_fn(model(*inputs), y), x, seed=seed)

    def weighted(output: Any, _target: Any) -> Any:
        return (output * np.random.default_rng(seed).standard_normal(output.shape)).sum()

    report = verify(model, loss_fn or weighted, x, y, samples=samples, seed=seed)
    if not report.ok:
        raise GradientMismatch(report)
    return report
