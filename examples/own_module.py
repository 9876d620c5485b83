"""A module of one's own: attributes are its parts, forward is its formula; the rest comes with nn.Module."""

from typing import Any

import numpy as np

from microgradnet import datasets, nn, optim, train


class Residual(nn.Module):
    """y = x + W₂·tanh(W₁·x): the layers add to their input, so that the gradient has a short way too."""

    def __init__(self, features: int, rng: np.random.Generator) -> None:
        self.first = nn.Linear(features, features, rng=rng)
        self.second = nn.Linear(features, features, rng=rng)

    def forward(self, x: Any) -> Any:
        """Return x plus the correction."""
        return x + self.second(self.first(x).tanh())


class SpiralNet(nn.Module):
    """Two residual blocks between two linear layers; blocks in a list are found like any attribute."""

    def __init__(self, width: int, rng: np.random.Generator) -> None:
        self.scale = nn.Parameter([3.0])  # a parameter of one's own
        self.enter = nn.Linear(2, width, rng=rng)
        self.blocks = [Residual(width, rng) for _ in range(2)]
        self.leave = nn.Linear(width, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        """Return one logit per spiral arm."""
        x = self.enter(x * self.scale)
        for block in self.blocks:
            x = block(x)
        return self.leave(x)


rng = np.random.default_rng(0)
splits = datasets.load("spirals", rng=rng)
model = SpiralNet(24, rng)
for name, parameter in model.named_parameters():
    print(f"{name:24} {parameter.shape}")

optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
train.fit(model, nn.CrossEntropyLoss(), optimizer, splits.train, epochs=40, rng=rng, progress=False)
found = train.evaluate(model, nn.CrossEntropyLoss(), splits.test, metrics=["accuracy"])
print(f"test accuracy on the spirals: {found['accuracy']:.1%}")
