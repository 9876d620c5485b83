"""What the tests of the compiler share: two equal trainings, one eager and one compiled, in lock step."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, optim
from microgradnet.compiler import machine_code


class Twins:
    """Two equal models with equal optimizers: one is trained eagerly, the other by a compiled step."""

    def __init__(
        self, make: Callable[[], nn.Module], loss_fn: Any, settings: dict[str, Any] | None = None
    ) -> None:
        self.models = [make(), make()]
        self.models[1].load_state_dict(self.models[0].state_dict())
        self.optimizers = [optim.SGD(m.parameters(), **(settings or {"lr": 0.1})) for m in self.models]
        self.loss_fn = loss_fn
        self.steps = [self.step_of(*pair) for pair in zip(self.models, self.optimizers, strict=True)]
        self.compiled = mg.compile(self.steps[1])

    def step_of(self, model: nn.Module, optimizer: optim.Optimizer) -> Callable[..., Any]:
        loss_fn = self.loss_fn

        def step(x: Any, y: Any) -> Any:
            output = model(x)
            loss = loss_fn(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss, output

        return step

    def both(self, x: Any, y: Any, seed: int = 0) -> None:
        """Take a step with each, and compare everything to the last bit."""
        mg.manual_seed(seed)
        eager = self.steps[0](x, y)
        after = mg.ops.generator().random()
        mg.manual_seed(seed)
        compiled = self.compiled(x, y)
        assert mg.ops.generator().random() == after
        for a, b in zip(eager, compiled, strict=True):
            assert same(a.data, b.data)
        self.same_state()

    def same_state(self) -> None:
        a, b = self.models
        for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
            assert same(p.data, q.data), name
            assert (p.grad is None) == (q.grad is None), name
            if p.grad is not None and q.grad is not None:
                assert same(p.grad, q.grad), name
                assert q.grad.flags.carray
        for (name, buffer), other in zip(a.named_buffers(), b.buffers(), strict=True):
            assert same(buffer.data, other.data), name
        for mine, theirs in zip(self.optimizers[0].state, self.optimizers[1].state, strict=True):
            assert mine.keys() == theirs.keys()
            assert all(same(mine[key].data, theirs[key].data) for key in mine)


def same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal to the last bit, with dtype and shape."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Have machine code kept in a folder of the test run's own; return it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_code, "cache_dir", lambda: folder)
        yield folder / "kernels"


@pytest.fixture
def twins() -> type[Twins]:
    return Twins


@pytest.fixture
def same_bits() -> Callable[[Any, Any], bool]:
    return same


@pytest.fixture
def perceptron() -> Callable[..., nn.Module]:
    """Return what makes 4-8-3 networks with given layers in the middle."""

    def make(*middle: Callable[[], nn.Module], dtype: Any = np.float32) -> nn.Module:
        layers = [layer() for layer in middle] or [nn.Tanh()]
        rng = np.random.default_rng(0)
        return nn.Sequential(
            nn.Linear(4, 8, rng=rng, dtype=dtype), *layers, nn.Linear(8, 3, rng=rng, dtype=dtype)
        )

    return make
