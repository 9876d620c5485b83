"""A 2-2-2 network whose every number was published: one step, then a thousand.

M. Mazur, "A step by step backpropagation example", https://mattmazur.com/2015/03/17/. Like him, we train the
weights and leave the biases; float64, so that all nine digits agree.
"""

import numpy as np

from microgradnet import nn, optim

model = nn.Sequential(
    nn.Linear(2, 2, dtype=np.float64),
    nn.Sigmoid(),
    nn.Linear(2, 2, dtype=np.float64),
    nn.Sigmoid(),
)
model.load_state_dict(
    {
        "0.weight": [[0.15, 0.20], [0.25, 0.30]],
        "0.bias": [0.35, 0.35],
        "2.weight": [[0.40, 0.45], [0.50, 0.55]],
        "2.bias": [0.60, 0.60],
    }
)
x, target = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
loss_fn = nn.QuadraticLoss()  # E = ½ Σ (target − output)²
optimizer = optim.SGD([p for p in model.parameters() if p.ndim > 1], lr=0.5)


def step() -> float:
    """Take one gradient step and return the error before it."""
    error = loss_fn(model(x), target)
    optimizer.zero_grad()
    error.backward()
    optimizer.step()
    return float(error)


print(f"error            {step():.9f}     published 0.298371109")
print(f"∂E/∂w5           {model[2].weight.grad[0, 0]:.9f}     published 0.082167041")
print(f"w5 after a step  {model[2].weight.data[0, 0]:.8f}      published 0.35891648")
print(f"w1 after a step  {model[0].weight.data[0, 0]:.9f}     published 0.149780716")
for _ in range(1_000 - 1):
    step()
outputs = model(x)
print(f"after 1,000 steps: error {loss_fn(outputs, target):.6f}, outputs {outputs.data.round(4).tolist()[0]}")
