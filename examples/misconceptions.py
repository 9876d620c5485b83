"""A lesson on what goes wrong: a wrong engine beside the right one, and a student's backward pass marked."""

from typing import Any

import numpy as np

from microgradnet import lab, nn

print("What people believe:")
for misconception in lab.misconceptions():
    print(f"  {misconception.name:16} “{misconception.belief}”")

print("\n--- on the smallest graph that shows it\n")
print(lab.demonstrate("overwrite"))

print("\n--- on a model: a chain of layers hides it, a residual connection does not\n")


class Residual(nn.Module):
    """x + tanh(W·x + b)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.first = nn.Linear(3, 3, rng=rng)
        self.second = nn.Linear(3, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        """Use the hidden value twice."""
        hidden = self.first(x)
        return hidden + self.second(hidden).tanh()


rng = np.random.default_rng(1)
x, y = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
chain = nn.Sequential(nn.Linear(3, 3, rng=rng), nn.Tanh(), nn.Linear(3, 3, rng=rng))
print("chain: hidden" if lab.compare("overwrite", chain, nn.MSELoss(), x, y).agrees else "chain: shows")
print(lab.compare("overwrite", Residual(rng), nn.MSELoss(), x, y))

print("\n--- a student's backward pass of a linear layer\n")


def student_backward(x: Any, weight: Any, bias: Any, grad_output: Any) -> tuple[Any, ...]:
    """Return the gradients of x, weight and bias; two of them wrong."""
    return grad_output @ weight, x.T @ grad_output, grad_output.mean(axis=0)


print(lab.grade(student_backward, nn.Linear(4, 2)))
