"""An operation of one's own: a name, a forward on arrays, and one gradient rule per argument.

A rule maps (g, y, a, b) to ∂L/∂argument, where y is the result and g = ∂L/∂y. It is ordinary arithmetic, so
that it can be differentiated again. An underscore says what it does not read: that array need not be kept. It
says nothing about broadcasting; the backward pass sums where NumPy has repeated.
"""

import numpy as np

from microgradnet import Primitive, Tensor, grad

hypot = Primitive(
    "hypot",
    np.hypot,  # y = √(a² + b²)
    lambda g, y, a, _b: g * a / y,
    lambda g, y, _a, b: g * b / y,
)

a = Tensor([[3.0], [5.0]], requires_grad=True)
b = Tensor([4.0, 12.0], requires_grad=True)
y = hypot(a, b)  # (2, 1) and (2,) broadcast to (2, 2)
y.sum().backward()
print("hypot(a, b) =", y.data.round(4).tolist())
print("∂Σy/∂a =", a.grad.round(4).tolist())
print("∂Σy/∂b =", b.grad.round(4).tolist())

# Is the rule right? Shift one element a little both ways: (f(a + h) − f(a − h)) / 2h.
h = 1e-6
shift = np.array([[h], [0.0]])
slope = (hypot(a.data + shift, b.data).sum() - hypot(a.data - shift, b.data).sum()) / (2 * h)
print(f"the first of ∂Σy/∂a: by the rule {a.grad[0, 0]:.6f}, by a small shift {slope:.6f}")

# The rule is a graph too: the second derivative, ∂²y/∂a² = b²/y³.
u, v = Tensor(3.0, requires_grad=True), Tensor(4.0)
(first,) = grad(hypot(u, v), u, create_graph=True)
(second,) = grad(first, u)
print(f"∂²hypot/∂a² at (3, 4): {second:.6f}, and b²/y³ = {16 / 125:.6f}")
