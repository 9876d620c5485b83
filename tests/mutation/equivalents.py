"""The mutants that compute the same, each with the reason; anything else that survives is a gap."""

import re

ZERO = "the gradient is 0, and stays 0 however it is scaled or ordered"
SUMMED = "the terms are summed, in any order"
SQUARED = "(a − y)² is (y − a)²"
EVEN = "the Huber loss is even in a − y"

EQUIVALENTS = (  # a pattern of `subject: what stood there → what the mutant has`, and why nothing changes
    (r"(sign|pow_number), argument 0: zeros_like\(g\) → (× 1.001|negated|× 0|transposed)", ZERO),
    (
        r"max, argument 0: broadcast_to\((.*), x.shape\) → \1",
        "where() broadcasts its values itself; spreading them first is for the reader",
    ),
    (
        r"(quadratic|mse)_loss: _squared_error\(input, target, (.*)\) → _squared_error\(target, input, \2\)",
        SQUARED,
    ),
    (r"squared_error, forward: np.subtract\(a, y\) → np.subtract\(y, a\)", SQUARED),
    (r"huber_loss: input - target → negated", EVEN),
    (r"costs.HuberCost._terms: a - y → negated", EVEN),
    (r"costs\.\w+\._terms: .* → transposed", SUMMED),
    (r"costs._times: .* → transposed", SUMMED),
    (
        r"functions._largest: .* → × 1.001",
        "softmax is the same whatever is subtracted from a row; the largest keeps it from overflowing",
    ),
)


def reason(mutant: str) -> str | None:
    """Return why a mutant computes the same, None where it does not."""
    return next((why for pattern, why in EQUIVALENTS if re.fullmatch(pattern, mutant)), None)
