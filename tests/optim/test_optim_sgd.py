"""SGD: the trajectories of PyTorch, and one rule for arrays and tensors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet import nn, optim
from microgradnet.optim.optimizer import BLOCK

HYPER = st.fixed_dictionaries(
    {
        "lr": st.floats(0.0, 0.2),
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "weight_decay": st.sampled_from([0.0, 1e-3, 0.3]),
        "dampening": st.sampled_from([0.0, 0.3, 1.0]),
        "nesterov": st.booleans(),
    }
).map(
    lambda h: {
        **h,
        "nesterov": h["nesterov"] and h["momentum"] > 0,
        "dampening": 0.0 if h["nesterov"] else h["dampening"],
    }
)


class Twins:
    """The same parameters here and in PyTorch, given the same gradients."""

    def __init__(self, torch, shapes, seed=0, dtype=np.float64):
        self.torch, self.rng, self.dtype = torch, np.random.default_rng(seed), dtype
        starts = [self.rng.standard_normal(shape).astype(dtype) for shape in shapes]
        self.ours = [nn.Parameter(array, dtype=dtype) for array in starts]
        self.theirs = [torch.nn.Parameter(torch.tensor(array)) for array in starts]

    def set_gradients(self, *, skipped=()):
        for i, (p, q) in enumerate(zip(self.ours, self.theirs, strict=True)):
            g = None if i in skipped else self.rng.standard_normal(p.shape).astype(self.dtype)
            p.grad = g
            q.grad = None if g is None else self.torch.tensor(g)

    def assert_equal(self, rtol=1e-12):
        for p, q in zip(self.ours, self.theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


@given(hyper=HYPER, seed=st.integers(0, 999))
def test_trajectories_as_pytorchs(torch, hyper, seed):
    twins = Twins(torch, [(3, 2), (2,), ()], seed)
    ours, theirs = optim.SGD(twins.ours, **hyper), torch.optim.SGD(twins.theirs, **hyper)
    for _ in range(20):
        twins.set_gradients()
        ours.step()
        theirs.step()
        twins.assert_equal()


@given(first=HYPER, second=HYPER, seed=st.integers(0, 999), data=st.data())
def test_groups_rates_that_change_and_missing_gradients_as_pytorchs(torch, first, second, seed, data):
    twins = Twins(torch, [(3, 2), (2,), (4,)], seed)

    def made(SGD, ps):
        optimizer = SGD([{"params": ps[:2], **first}, {"params": ps[2]}], **second)
        optimizer.add_param_group({"params": [extra[SGD]], "lr": 0.05})
        return optimizer

    extra = {
        optim.SGD: nn.Parameter([1.0], dtype=float),
        torch.optim.SGD: torch.nn.Parameter(torch.tensor([1.0], dtype=torch.double)),
    }
    ours, theirs = made(optim.SGD, twins.ours), made(torch.optim.SGD, twins.theirs)
    twins.ours.append(extra[optim.SGD])
    twins.theirs.append(extra[torch.optim.SGD])
    for step in range(20):
        twins.set_gradients(skipped=data.draw(st.sets(st.integers(0, 3))))
        if step in {7, 13}:
            for optimizer in (ours, theirs):
                optimizer.param_groups[step % 2]["lr"] = 0.1 / step
        ours.step()
        theirs.step()
        twins.assert_equal()


@given(hyper=HYPER)
@settings(max_examples=6)
def test_large_parameters_as_pytorchs(torch, hyper):
    twins = Twins(torch, [(BLOCK + 1,), (3, BLOCK), (2, BLOCK // 2)])
    ours, theirs = optim.SGD(twins.ours, **hyper), torch.optim.SGD(twins.theirs, **hyper)
    for _ in range(3):
        twins.set_gradients()
        ours.step()
        theirs.step()
        twins.assert_equal()


def test_twenty_steps_of_large_parameters_equal_those_of_their_pieces_to_the_bit():
    rng = np.random.default_rng(0)
    start = rng.standard_normal((3, BLOCK // 2 + 7))
    large = nn.Parameter(start, dtype=float)
    pieces = [nn.Parameter(row, dtype=float) for row in start]
    hyper: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}
    optimizers = [optim.SGD([large], **hyper), optim.SGD(pieces, **hyper)]
    assert large.size > BLOCK > pieces[0].size
    for _ in range(20):
        large.grad = rng.standard_normal(large.shape)
        for piece, g in zip(pieces, large.grad, strict=True):
            piece.grad = g
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_array_equal(large.data, [piece.data for piece in pieces])
    np.testing.assert_array_equal(
        optimizers[0].state[0]["momentum_buffer"].data,
        [state["momentum_buffer"].data for state in optimizers[1].state],
    )


def test_a_large_parameter_that_is_not_contiguous_is_updated_too():
    w = nn.Parameter(np.zeros(1), dtype=float)
    w.data = np.zeros((BLOCK, 2)).T
    w.grad = np.ones((2, BLOCK))
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5)
    optimizer.step()
    optimizer.step()
    assert np.unique(w.data).tolist() == [-2.5]
    w.data = np.ascontiguousarray(w.data)  # from now on in blocks, with the velocity of before
    optimizer.step()
    assert np.unique(w.data).tolist() == [-4.25]


def test_training_a_model_as_pytorchs(torch):
    def built(nn):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 3))

    theirs = built(torch.nn).double()
    ours = built(nn).astype(float)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((16, 4)), rng.integers(0, 3, 16)
    optimizers = [
        SGD(m.parameters(), lr=0.1, momentum=0.9) for SGD, m in ((optim.SGD, ours), (torch.optim.SGD, theirs))
    ]
    for _ in range(20):
        for optimizer in optimizers:
            optimizer.zero_grad()
        nn.CrossEntropyLoss()(ours(x), labels).backward()
        torch.nn.CrossEntropyLoss()(theirs(torch.tensor(x)), torch.tensor(labels)).backward()
        for optimizer in optimizers:
            optimizer.step()
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array, theirs.state_dict()[name].numpy(), rtol=1e-9, err_msg=name)


# ---------------------------------------------------------------------- the rule


def test_plain_descent_by_hand():
    w = nn.Parameter([1.0, 2.0], dtype=float)
    w.grad = np.array([10.0, -10.0])
    optim.SGD([w], lr=0.1).step()
    assert w.tolist() == [0.0, 3.0]


def test_momentum_and_weight_decay_by_hand():
    w = nn.Parameter([1.0], dtype=float)
    optimizer = optim.SGD([w], lr=0.5, momentum=0.5, dampening=0.25, weight_decay=1.0)
    w.grad = np.array([1.0])
    optimizer.step()  # v = 1 + 1 = 2, without dampening at the first step
    assert w.tolist() == [0.0]
    optimizer.step()  # v = ½·2 + ¾·(1 + 0) = 1.75
    assert w.tolist() == [-0.875]
    assert optimizer.state[0]["momentum_buffer"].tolist() == [1.75]


RULES: list[dict[str, Any]] = [
    {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False},
    {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.1, "nesterov": False},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "nesterov": False},
    {"momentum": 0.9, "dampening": 0.0, "weight_decay": 0.1, "nesterov": True},
]


@pytest.mark.parametrize("hyper", RULES)
@pytest.mark.parametrize("first", [True, False])
def test_the_rule_works_on_tensors_as_on_arrays(hyper, first):
    rng = np.random.default_rng(0)
    w, g, v = rng.standard_normal((3, 5))
    before = w.copy(), g.copy(), v.copy()
    state = {} if first else {"momentum_buffer": v}
    new, changed = optim.SGD.rule(w, g, state, lr=0.1, **hyper)
    boxed, boxed_changed = optim.SGD.rule(
        mg.Tensor(w), mg.Tensor(g), {name: mg.Tensor(x) for name, x in state.items()}, lr=0.1, **hyper
    )
    assert isinstance(boxed, mg.Tensor)
    np.testing.assert_array_equal(boxed.data, new)
    assert list(boxed_changed) == list(changed)
    for name, array in changed.items():
        np.testing.assert_array_equal(boxed_changed[name].data, array)
    for array, old in zip((w, g, v), before, strict=True):  # pure
        np.testing.assert_array_equal(array, old)


def test_the_rule_can_be_differentiated():
    lr: Any = mg.Tensor(0.1, requires_grad=True)
    g = np.array([2.0, 3.0])
    change, _ = optim.SGD.rule(mg.Tensor([1.0, 1.0]), g, {}, lr=lr, **RULES[0])
    change.sum().backward()
    assert lr.grad.item() == 5.0


# ---------------------------------------------------------------------- dtypes and aliasing


@pytest.mark.parametrize("size", [3, BLOCK + 3])
@pytest.mark.parametrize("number", [float, np.float64, np.float32, np.array])
def test_float32_stays_float32(size, number):
    w = nn.Parameter(np.ones(size))
    array = w.data
    w.grad = np.ones(size, np.float32)
    hyper = {name: number(0.5) for name in ("lr", "momentum", "weight_decay")}
    optimizer = optim.SGD([w], **hyper)
    optimizer.step()
    optimizer.step()
    assert w.data is array
    assert {w.dtype, optimizer.state[0]["momentum_buffer"].dtype} == {np.dtype(np.float32)}
    twin = nn.Parameter(np.ones(3))
    twin.grad = np.ones(3, np.float32)
    plain = optim.SGD([twin], lr=0.5, momentum=0.5, weight_decay=0.5)
    plain.step()
    plain.step()
    np.testing.assert_array_equal(w.data[:3], twin.data)


@pytest.mark.parametrize("size", [3, BLOCK + 3])
@pytest.mark.parametrize("nesterov", [False, True])
def test_the_velocity_shares_nothing_with_gradient_and_parameter(size, nesterov):
    w: Any = nn.Parameter(np.ones(size), dtype=float)
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5, nesterov=nesterov)
    for _ in range(2):
        w.grad = np.full(size, 2.0)
        g = w.grad
        optimizer.step()
        velocity = optimizer.state[0]["momentum_buffer"].data
        assert not np.shares_memory(velocity, g)
        assert not np.shares_memory(velocity, w.data)
        np.testing.assert_array_equal(g, 2.0)
    before = velocity.copy()
    w.grad[...] = 100
    np.testing.assert_array_equal(velocity, before)


# ---------------------------------------------------------------------- the version check


@pytest.mark.parametrize("size", [3, BLOCK + 3])
def test_a_step_between_forward_and_backward_is_noticed(size):
    w, x = nn.Parameter(np.ones(size)), mg.Tensor(np.ones(size, np.float32), requires_grad=True)
    w.grad = np.ones(size, np.float32)
    optimizer = optim.SGD([w], lr=0.1)
    y = (w * x).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"was changed in place after it had been saved for the gradient"):
        y.backward()
    (w * x).sum().backward()


def test_a_step_that_changes_nothing_is_not_noticed():
    w = nn.Parameter([1.0])
    x: Any = mg.Tensor(np.ones(1, np.float32), requires_grad=True)
    y = (w * x).sum()
    optim.SGD([w], lr=0.1).step()  # without a gradient
    y.backward()
    assert x.grad.tolist() == [1.0]


# ---------------------------------------------------------------------- hyperparameters


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"lr": -0.1}, r"SGD: the learning rate must not be negative, got lr=-0\.1"),
        ({"lr": float("nan")}, "the learning rate must not be negative, got lr=nan"),
        ({"momentum": -0.5}, r"SGD: momentum must not be negative, got -0\.5"),
        ({"momentum": float("nan")}, "momentum must not be negative, got nan"),
        ({"weight_decay": -1.0}, r"SGD: weight_decay must not be negative, got -1\.0"),
        ({"nesterov": True}, r"nesterov=True needs momentum above 0 and dampening=0, got 0\.0 and 0\.0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.5}, r"dampening=0, got 0\.9 and 0\.5"),
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused(hyper, message):
    w = nn.Parameter([1.0])
    with pytest.raises(ValueError, match=message):
        optim.SGD([w], **hyper)
    with pytest.raises(ValueError, match=message):
        optim.SGD([{"params": [w], **hyper}])
    optimizer = optim.SGD([w], lr=0.1)
    optimizer.param_groups[0].update(hyper)
    w.grad = np.ones(1, np.float32)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    assert w.tolist() == [1.0]
