"""One sigmoid neuron: the chain rule by hand, line by line, beside what backward() finds.

The neuron and its numbers are those of the CS231n notes, https://cs231n.github.io/optimization-2/.
"""

import math

from microgradnet import Tensor

w0, x0, w1, x1, b = 2.0, -1.0, -3.0, -2.0, -3.0

# Forward: every intermediate value gets a name, because backward needs it.
p = w0 * x0
q = w1 * x1
z = p + q + b
a = 1 / (1 + math.exp(-z))

# Backward: from the result to the inputs, each line the derivative of one line above, last line first.
da = 1.0
dz = da * a * (1 - a)  # a = σ(z)
dp = dq = db = dz  # z = p + q + b
dw1, dx1 = dq * x1, dq * w1  # q = w1·x1
dw0, dx0 = dp * x0, dp * w0  # p = w0·x0
by_hand = {"w0": dw0, "x0": dx0, "w1": dw1, "x1": dx1, "b": db}

# The same by the library: write the forward, call backward().
leaves = {
    name: Tensor(value, requires_grad=True)
    for name, value in {"w0": w0, "x0": x0, "w1": w1, "x1": x1, "b": b}.items()
}
output = (leaves["w0"] * leaves["x0"] + leaves["w1"] * leaves["x1"] + leaves["b"]).sigmoid()
output.backward()

print(f"output      by hand {a:9.6f}   microgradnet {output:9.6f}")
for name, leaf in leaves.items():
    print(f"∂output/∂{name:2} by hand {by_hand[name]:9.6f}   microgradnet {leaf.grad:9.6f}")
