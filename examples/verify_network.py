"""Is every gradient right? Three independent ways, and a planted mistake that is located and diagnosed.

`mg.verify` computes each gradient of a network by autograd, by the δ equations derived by hand, and by moving
each number a little. Then an operation with a wrong rule takes its place in the network, and the report says
where, and what is wrong with it.
"""

import numpy as np

import microgradnet as mg
from microgradnet import nn, ops

rng = np.random.default_rng(1)
x, y = rng.standard_normal((8, 5)), rng.random((8, 3))

network = nn.Sequential(
    nn.Linear(5, 12, rng=rng),
    nn.Tanh(),
    nn.Dropout(0.25, rng=rng),  # the same mask in all three ways
    nn.Linear(12, 3, rng=rng),
    nn.Sigmoid(),
)
report = mg.verify(network, nn.QuadraticLoss(), x, y)
print("the network:", "agrees" if report.ok else "disagrees")
print("gradients compared:", ", ".join([row.title for row in report.rows]))
for pair in ("autograd–δ", "autograd–differences"):
    print(f"{pair}: the largest error is below {'1e-14' if report.error(pair) < 1e-14 else '1e-7'}")

# Somebody averages the gradient of a bias over the batch, where it has to be summed.
add_bias = mg.Primitive(
    "add_bias", np.add, lambda g, _z, _x, _b: g, lambda g, _z, _x, _b: ops.mean(g, axis=0, keepdims=True)
)


class OwnLayer(nn.Module):
    """A linear layer with a bias of its own."""

    def __init__(self) -> None:
        self.linear = nn.Linear(5, 12, bias=False, rng=rng)
        self.shift = nn.Parameter(rng.standard_normal((1, 12)))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        """Return x·wᵀ + shift."""
        return add_bias(self.linear(x), self.shift)


model = nn.Sequential(OwnLayer(), nn.Tanh(), nn.Linear(12, 3, rng=rng))
print("\nwith a layer of one's own:", *mg.verify(model, nn.QuadraticLoss(), x, y).verdict, sep="\n  ")

# The same for a function: tanh, whose derivative somebody remembers as 1 + y² in place of 1 − y².
wrong_tanh = mg.Primitive("wrong_tanh", np.tanh, lambda g, y, _x: g * (1 + y * y))
print(f"\n{mg.gradcheck(wrong_tanh, x[0], order=1, raise_exception=False)}")
