"""The chain rule of Mazur's network with the numbers put in, its equations, and the step written out by hand.

M. Mazur, "A step by step backpropagation example", https://mattmazur.com/2015/03/17/.
"""

import microgradnet as mg
from microgradnet import Tensor

# The network as the article draws it: every number has a name.
w1, w2, w3, w4, w5, w6, w7, w8 = [
    Tensor(value, requires_grad=True, name=f"w{i}")
    for i, value in enumerate([0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55], 1)
]
i1, i2, target_o1, target_o2 = 0.05, 0.10, 0.01, 0.99

h1 = w1 * i1 + w2 * i2 + 0.35
h2 = w3 * i1 + w4 * i2 + 0.35
out_h1, out_h2 = h1.sigmoid(), h2.sigmoid()
o1 = w5 * out_h1 + w6 * out_h2 + 0.60
o2 = w7 * out_h1 + w8 * out_h2 + 0.60
out_o1, out_o2 = o1.sigmoid(), o2.sigmoid()
E = 0.5 * (target_o1 - out_o1) ** 2 + 0.5 * (target_o2 - out_o2) ** 2
h1.name, h2.name, out_h1.name, out_h2.name = "h1", "h2", "out_h1", "out_h2"
o1.name, o2.name, out_o1.name, out_o2.name, E.name = "o1", "o2", "out_o1", "out_o2", "E"

print(mg.explain(E, w5))  # one path
print()
print(mg.explain(E, w1))  # two paths: through o1 and through o2

# The same network as layers: its equations, one entry of a weight matrix, and the step as NumPy code.
model, loss_fn, x, target = mg.checking.mazur()
print()
print(mg.derive(model, loss_fn))
print()
print(mg.explain(loss_fn(model(x), target), model[2].weight[0, 0]))
script = mg.export_numpy(model, loss_fn)
backward = script[script.index("    # Backward") : script.index("    return loss")]
print(f"\n{backward}")
