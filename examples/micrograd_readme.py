"""The expression of micrograd's README, unchanged: plain Python numbers, +, *, **, / and relu.

micrograd (https://github.com/karpathy/micrograd) prints 24.7041, 138.8338 and 645.5773.
"""

from microgradnet import Tensor

a = Tensor(-4.0, requires_grad=True)
b = Tensor(2.0, requires_grad=True)
c = a + b
d = a * b + b**3
c = c + (c + 1)
c = c + (1 + c + (-a))
d = d + (d * 2 + (b + a).relu())
d = d + (3 * d + (b - a).relu())
e = c - d
f = e**2
g = f / 2.0
g = g + 10.0 / f
g.backward()

print(f"g     = {g:.4f}")
print(f"∂g/∂a = {a.grad:.4f}")
print(f"∂g/∂b = {b.grad:.4f}")
