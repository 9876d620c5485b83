"""Derivatives of derivatives: a gradient that is a graph can be differentiated again, to any order."""

import numpy as np

from microgradnet import Tensor, grad, hessian

# Four derivatives of exp(−x²) at 0; by hand: 0, −2, 0, 12.
x = Tensor(0.0, requires_grad=True)
y = np.exp(-(x**2))
for order in range(1, 5):
    (y,) = grad(y, x, create_graph=True)
    print(f"derivative {order} of exp(−x²) at 0: {y.item() + 0.0:g}")  # + 0.0: not −0


# Newton's method: the Hessian says how far to go, not only where to.
def rosenbrock(p: Tensor) -> Tensor:
    """Return (1 − p₀)² + 100 (p₁ − p₀²)², a curved valley with its lowest point at (1, 1)."""
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


point = Tensor([-1.2, 1.0], requires_grad=True)
for iteration in range(1, 8):
    (slope,) = grad(rosenbrock(point), point)
    step = np.linalg.solve(hessian(rosenbrock, point).data, slope.data)
    point = Tensor(point.data - step, requires_grad=True)
    print(f"Newton {iteration}: f = {rosenbrock(point).item():.3e} at {point.data.round(6).tolist()}")
