"""Compile a training step: the same bits as the eager step, and the program that replays it.

The first call is the eager step with a recorder on; every later one replays a straight line of NumPy calls.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import microgradnet as mg
from microgradnet import nn, optim


def training() -> tuple[nn.Module, Callable[..., Any]]:
    """Return a network and its training step."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(20, 16, rng=rng), nn.Sigmoid(), nn.Linear(16, 4, rng=rng), nn.Sigmoid())
    loss_fn, optimizer = nn.QuadraticLoss(), optim.SGD(model.parameters(), lr=1.0, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, step


(eager, step), (compiled, fast) = training(), training()
fast = mg.compile(fast)

rng = np.random.default_rng(1)
for _ in range(200):
    x = rng.random((10, 20), dtype=np.float32)
    y = np.eye(4, dtype=np.float32)[(x[:, :4]).argmax(axis=1)]
    a, b = step(x, y), fast(x, y)
    assert a.data == b.data

pairs = zip(eager.parameters(), compiled.parameters(), strict=True)
print("after 200 steps, all bits are equal:", all(p.data.tobytes() == q.data.tobytes() for p, q in pairs))
print("the function itself ran", fast.traces, "times: once to make the momentum, once to be recorded")
program = fast.program
print(len(program.operations), "operations;", "; ".join(program.notes))
print(*str(program).splitlines()[-13:], sep="\n")
memory = fast.memory()
print("memory at most eager's:", memory["compiled"] <= memory["eager"])
