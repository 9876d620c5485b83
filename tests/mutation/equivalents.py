"""The mutants that compute the same, each with the reason; anything else that survives is a gap."""

import re

ZERO = "the gradient is 0, and stays 0 however it is scaled or ordered"
SUMMED = "the terms are summed, in any order"
SQUARED = "(a − y)² is (y − a)²"
EVEN = "the Huber loss is even in a − y"

EQUIVALENTS = (  # campaigns, a pattern of `subject: what stood there → what the mutant has`, the reason
    (
        {"rules", "gradcheck"},
        r"(sign|pow_number), argument 0: zeros_like\(g\) → (× 1.001|negated|× 0|transposed)",
        ZERO,
    ),
    (
        {"rules"},
        r"max, argument 0: broadcast_to\((.*), x.shape\) → \1",
        "where() broadcasts its values itself; spreading them first is for the reader",
    ),
    (
        {"losses"},
        r"(quadratic|mse)_loss: _squared_error\(input, target, (.*)\) → _squared_error\(target, input, \2\)",
        SQUARED,
    ),
    ({"losses"}, r"squared_error, forward: np.subtract\(a, y\) → np.subtract\(y, a\)", SQUARED),
    ({"losses"}, r"huber_loss: input - target → negated", EVEN),
    ({"equations"}, r"costs.HuberCost._terms: a - y → negated", EVEN),
    ({"equations"}, r"costs\.\w+\._terms: .* → transposed", SUMMED),
    ({"equations"}, r"costs._times: .* → transposed", SUMMED),
    (
        {"equations"},
        r"functions._largest: .* → × 1.001",
        "softmax is the same whatever is subtracted from a row; the largest keeps it from overflowing",
    ),
)


def reason(mutant: str) -> str | None:
    """Return why a mutant computes the same, None where it does not."""
    return next((why for _, pattern, why in EQUIVALENTS if re.fullmatch(pattern, mutant)), None)
