"""Optimizer: parameter groups, state by position, and saving and loading it."""

import json
import re
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, optim
from microgradnet.optim.optimizer import BLOCK


def parameters(*shapes, dtype=float):
    rng = np.random.default_rng(0)
    return [nn.Parameter(rng.standard_normal(shape), dtype=dtype) for shape in shapes]


def stepped(optimizer, seed, steps=3):
    """Take steps along random gradients that the seed determines."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = rng.standard_normal(p.shape).astype(p.dtype)
        optimizer.step()
    return optimizer


# ---------------------------------------------------------------------- what it takes


def test_parameters_generators_names_and_groups():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    plain = optim.SGD(model.parameters(), lr=0.1)
    named = optim.SGD(model.named_parameters(), lr=0.1)
    grouped = optim.SGD([{"params": model[0].parameters(), "lr": 1.0}, {"params": model[1].weight}], lr=0.1)
    assert [p is q for p, q in zip(plain.param_groups[0]["params"], model.parameters(), strict=True)] == [
        True
    ] * 4
    assert named.param_groups[0]["param_names"] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert "param_names" not in plain.param_groups[0]
    assert [(len(g["params"]), g["lr"], g["momentum"]) for g in grouped.param_groups] == [
        (2, 1.0, 0.0),
        (1, 0.1, 0.0),
    ]
    assert grouped.param_groups[1]["params"][0] is model[1].weight
    assert repr(grouped) == (
        "SGD(2 parameters, lr=1.0, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False; "
        "1 parameters, lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False)"
    )


def test_the_groups_that_were_given_are_not_changed():
    group = {"params": parameters((2,))}
    optim.SGD([group], lr=0.1)
    assert list(group) == ["params"]


W = nn.Parameter([1.0])


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "got no parameters; does the model have any, or was the generator used up before?"),
        (W, TypeError, "SGD takes a list of parameters: write [parameter], or model.parameters()"),
        ([W, W], ValueError, "SGD: parameter 1 of shape (1,) is given twice"),
        ([{"params": [W]}, {"params": [W]}], ValueError, "SGD: parameter 0 of shape (1,) is given twice"),
        ([W, np.ones(2)], TypeError, "SGD: parameter 1 is ndarray; give tensors"),
        ([W * 2], ValueError, "SGD: parameter 0 of shape (1,) was computed from others; give the leaves"),
        (
            [{"params": [W], "rate": 1}],
            ValueError,
            "any of lr, momentum, dampening, weight_decay, nesterov; got params, rate",
        ),
        ([{"lr": 1}], ValueError, "SGD: a group is a dict of 'params' and any of lr,"),
        ([{"params": [W]}, nn.Parameter([2.0])], TypeError, "SGD: group 1 is Parameter; give dicts only"),
    ],
)
def test_what_it_does_not_take(params, error, message):
    with pytest.raises(error, match=re.escape(message)):
        optim.SGD(params)


def test_a_generator_that_is_used_up():
    used = nn.Linear(2, 2).parameters()
    list(used)
    with pytest.raises(ValueError, match="was the generator used up before"):
        optim.SGD(used)


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    first, second = parameters((2,), (3,))
    optimizer = optim.SGD([first], lr=0.1)
    for group in ({"params": [second], "lr": -1}, {"params": [second, first]}):
        with pytest.raises(ValueError, match=r"negative|given twice"):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == len(optimizer.state) == 1
    optimizer.add_param_group({"params": [second]})
    assert len(stepped(optimizer, 0).state) == 2


def test_a_subclass_without_a_rule_says_so():
    (w,) = parameters((2,))
    optimizer = optim.Optimizer([w], {"lr": 0.1})
    w.grad = np.ones(2)
    with pytest.raises(NotImplementedError, match="an optimizer gives its update as a static method `rule`"):
        optimizer.step()


@pytest.mark.parametrize("size", [3, BLOCK + 3])
def test_a_rule_of_ones_own_may_keep_the_old_parameter(size):
    class Remembering(optim.Optimizer):
        @staticmethod
        def rule(parameter, gradient, _state, *, lr):
            return parameter - lr * gradient, {"before": parameter}

    w = nn.Parameter(np.ones(size), dtype=float)
    w.grad = np.ones(size)
    optimizer = Remembering([w], {"lr": 0.5})
    for expected in (1.0, 0.5):
        optimizer.step()
        assert np.unique(optimizer.state[0]["before"].data).tolist() == [expected]


# ---------------------------------------------------------------------- step and zero_grad


def test_zero_grad_and_parameters_without_a_gradient():
    first, second = parameters((2,), (3,))
    optimizer = optim.SGD([first, second], lr=1.0, momentum=0.5)
    first.grad = np.ones(2)
    before = second.data.copy()
    optimizer.step()
    np.testing.assert_array_equal(second.data, before)
    assert [list(state) for state in optimizer.state] == [["momentum_buffer"], []]
    optimizer.zero_grad()
    assert first.grad is None


def test_a_frozen_parameter_is_left_alone():
    first, second = parameters((2,), (2,))
    first.requires_grad = False
    optimizer = optim.SGD([first, second], lr=1.0)
    before = first.data.copy()
    (first * second).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(first.data, before)


def test_a_parameter_keeps_its_storage_and_its_views_see_the_update():
    (w,) = parameters((4,))
    array, view = w.data, w.detach()
    stepped(optim.SGD([w], lr=0.1), 0)
    assert w.data is array
    assert view.data is array


# ---------------------------------------------------------------------- state


def test_state_is_by_position():
    first, second = parameters((2,), (3,))
    optimizer = optim.SGD([{"params": [first]}, {"params": [second]}], lr=0.1, momentum=0.9)
    second.grad = np.ones(3)
    optimizer.step()
    saved = optimizer.state_dict()
    assert list(saved["state"]) == [1]
    assert saved["state"][1]["momentum_buffer"].tolist() == [1.0] * 3
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
    assert saved["shapes"] == [[2], [3]]


@pytest.mark.parametrize("through_json", [False, True])
@pytest.mark.parametrize("shapes", [((2, 3), (3,)), ((2, BLOCK), (1,))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_continues_from_a_saved_state_to_the_bit(shapes, through_json, dtype):
    hyper: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}
    ours, theirs = parameters(*shapes, dtype=dtype), parameters(*shapes, dtype=dtype)
    optimizer = stepped(optim.SGD(ours, **hyper), 1)
    optimizer.param_groups[0]["lr"] = 0.05
    saved: Any = optimizer.state_dict()
    if through_json:
        saved = json.loads(json.dumps(saved, default=np.ndarray.tolist))
    other = optim.SGD(theirs, lr=7.0)
    for p, q in zip(ours, theirs, strict=True):
        q.data = p.data.copy()
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.05
    assert all(p is q for p, q in zip(other.param_groups[0]["params"], theirs, strict=True))
    stepped(optimizer, 2)
    stepped(other, 2)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_a_saved_state_is_a_copy():
    (w,) = parameters((2,))
    optimizer = stepped(optim.SGD([("w", w)], lr=0.1, momentum=0.9), 1)
    saved = optimizer.state_dict()
    kept = saved["state"][0]["momentum_buffer"].copy()
    stepped(optimizer, 2)
    np.testing.assert_array_equal(saved["state"][0]["momentum_buffer"], kept)
    optimizer.load_state_dict(saved)
    stepped(optimizer, 3)
    np.testing.assert_array_equal(saved["state"][0]["momentum_buffer"], kept)
    saved["param_groups"][0]["param_names"][0] = "other"
    assert optimizer.param_groups[0]["param_names"] == ["w"]


def test_a_loaded_state_in_another_memory_order_is_updated():
    shape = (2, BLOCK)
    w = nn.Parameter(np.zeros(shape), dtype=float)
    w.grad = np.ones(shape)
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["momentum_buffer"] = np.asfortranarray(saved["state"][0]["momentum_buffer"])
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert np.unique(optimizer.state[0]["momentum_buffer"].data).tolist() == [1.5]


def changed_hyper(**hyper):
    return lambda saved: saved["param_groups"][0].update(hyper)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda saved: saved["shapes"].__setitem__(0, [3, 2]),
            "load_state_dict: parameter 0 was a of shape (3, 2), here it is a of shape (2, 3)",
        ),
        (
            changed_hyper(param_names=["a", "c"]),
            "load_state_dict: parameter 1 was c of shape (3,), here it is b of shape (3,)",
        ),
        (
            lambda saved: saved["param_groups"][0]["params"].append(2),
            "load_state_dict: groups of [3] parameters were saved, this optimizer has [2]",
        ),
        (
            lambda saved: saved["param_groups"].append({"params": []}),
            "load_state_dict: groups of [2, 0] parameters were saved",
        ),
        (
            lambda saved: saved["param_groups"][0].pop("momentum"),
            "load_state_dict: group 0 was saved without momentum; is it the state of another",
        ),
        (changed_hyper(lr=-1.0), "SGD: the learning rate must not be negative, got lr=-1.0"),
        (
            lambda saved: saved["state"][1].update(momentum_buffer=np.ones(4)),
            "load_state_dict: momentum_buffer of parameter 1 has shape (4,), expected (3,)",
        ),
        (
            lambda saved: saved["state"].update({2: {"momentum_buffer": np.ones(3)}}),
            "load_state_dict: there is state of parameter 2, but there are 2 parameters",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    optimizer = stepped(optim.SGD(zip("ab", parameters((2, 3), (3,)), strict=True), lr=0.1, momentum=0.9), 1)
    before = optimizer.state_dict()
    saved = optimizer.state_dict()
    saved["param_groups"][0]["weight_decay"] = 0.5
    change(saved)
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.load_state_dict(saved)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for i in (0, 1):
        np.testing.assert_array_equal(
            after["state"][i]["momentum_buffer"], before["state"][i]["momentum_buffer"]
        )


def test_names_are_compared_only_where_both_sides_have_them():
    named = stepped(optim.SGD(zip("ab", parameters((2,), (2,)), strict=True), lr=0.1, momentum=0.9), 1)
    unnamed = optim.SGD(parameters((2,), (2,)), lr=0.1)
    unnamed.load_state_dict(named.state_dict())
    assert "param_names" not in unnamed.param_groups[0]
    named.load_state_dict(unnamed.state_dict())
    assert named.param_groups[0]["param_names"] == ["a", "b"]


def test_an_optimizer_of_plain_tensors():
    t = mg.Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([t], lr=0.5)
    (t * t).backward()
    optimizer.step()
    assert t.tolist() == [0.0]
