"""Layers of images: PyTorch's defaults, names, values and starting weights; errors that name the layer."""

import re
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.nn import functional as F

RNG = np.random.default_rng(30)

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv2d", (3, 4, 3), {}, (2, 3, 7, 6)),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "groups": 2}, (2, 4, 7, 6)),
    ("Conv2d", (2, 3, 3, 1, "same", 2), {"bias": False}, (2, 2, 7, 6)),
    ("Conv2d", (2, 3, 3, 2, "valid"), {}, (1, 2, 5, 5)),
    ("Conv1d", (3, 4, 3), {}, (2, 3, 9)),
    ("Conv1d", (4, 6, 3, 2, 1, 2, 2, False), {}, (2, 4, 9)),
    ("ConvTranspose2d", (3, 4, 3), {}, (2, 3, 4, 5)),
    ("ConvTranspose2d", (4, 2, (3, 2), 2, 1, 1, 2, True, 2), {}, (2, 4, 4, 5)),
    ("MaxPool2d", (2,), {}, (2, 3, 6, 7)),
    ("MaxPool2d", ((3, 2), (2, 1), (1, 0), (1, 2)), {}, (2, 3, 6, 7)),
    ("AvgPool2d", (2,), {}, (2, 3, 6, 7)),
    ("AvgPool2d", ((3, 2), 2, 1), {"count_include_pad": False}, (2, 3, 6, 7)),
    ("AdaptiveAvgPool2d", (3,), {}, (2, 3, 7, 6)),
    ("AdaptiveAvgPool2d", ((None, 4),), {}, (2, 3, 7, 6)),
    ("BatchNorm2d", (3,), {}, (2, 3, 4, 5)),
    ("BatchNorm2d", (3, 0.01, 0.3), {}, (2, 3, 4, 5)),
    ("Dropout2d", (0.0,), {}, (2, 3, 4, 5)),
]
IDS = [f"{name}{args}{options}" for name, args, options, _ in LAYERS]


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS, ids=IDS)
def test_a_layer_is_pytorchs(torch, name, args, options, shape):
    """The same call, the same names and shapes in the state, the same values, gradients and statistics."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in state.items()
    }
    ours.load_state_dict(state)
    x = RNG.standard_normal(shape, np.float32)
    for train in (True, False):
        t, u = mg.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours.train(train)(t), theirs.train(train)(u)
        np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-5, atol=1e-5)
        v = RNG.standard_normal(y.shape, np.float32)
        ours.zero_grad()
        theirs.zero_grad()
        y.backward(v)
        z.backward(torch.tensor(v))
        assert t.grad is not None
        np.testing.assert_allclose(t.grad, u.grad.numpy(), rtol=1e-5, atol=1e-5)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-5, atol=2e-5)
        for key, value in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS, ids=IDS)
def test_a_layer_survives_the_file(tmp_path, name, args, options, shape):
    layer = getattr(nn, name)(*args, **options)
    mg.save(nn.Sequential(layer), tmp_path / "model.npz")
    again = mg.load(tmp_path / "model.npz")[0]
    assert repr(again) == repr(layer)
    x = RNG.standard_normal(shape, np.float32)
    np.testing.assert_array_equal(again.eval()(x).data, layer.eval()(x).data)


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [case[:3] for case in LAYERS if "Conv" in case[0]],
    ids=str,
)
def test_weights_start_in_pytorchs_bounds(torch, name, args, options):
    theirs = getattr(torch.nn, name)(*args, **options)
    fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(theirs.weight)
    rng = np.random.default_rng(0)
    values: list[Any] = [[], []]
    for _ in range(200):
        layer = getattr(nn, name)(*args, **options, rng=rng)
        values[0].append(layer.weight.data.ravel())
        if layer.bias is not None:
            values[1].append(layer.bias.data.ravel())
    for kind in values:
        if kind:
            found = np.abs(np.concatenate(kind)) * np.sqrt(fan_in)
            assert found.max() <= 1 + 1e-6
            assert found.max() > 0.97
            assert found.mean() == pytest.approx(0.5, abs=0.05)


def test_equal_seeds_start_alike():
    first, second = (nn.Conv2d(1, 2, 3, rng=np.random.default_rng(5)) for _ in range(2))
    assert (first.weight.data == second.weight.data).all()


def test_texts():
    assert repr(nn.Conv2d(1, 20, 5)) == "Conv2d(1, 20, kernel_size=(5, 5), stride=(1, 1))"
    assert repr(nn.Conv1d(4, 6, 3, 2, 1, 2, 2, False)) == (
        "Conv1d(4, 6, kernel_size=(3,), stride=(2,), padding=(1,), dilation=(2,), groups=2, bias=False)"
    )
    assert repr(nn.Conv2d(1, 1, 3, padding="same")).endswith("stride=(1, 1), padding='same')")
    assert repr(nn.ConvTranspose2d(1, 1, 3, 2, 1, 1)) == (
        "ConvTranspose2d(1, 1, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))"
    )
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1)"
    assert repr(nn.AvgPool2d((3, 2))) == "AvgPool2d(kernel_size=(3, 2), stride=(3, 2), padding=0)"


def test_dropout2d_drops_whole_channels_and_keeps_the_mean():
    layer, x = nn.Dropout2d(0.4, rng=np.random.default_rng(1)), mg.Tensor(np.ones((200, 50, 2, 3)))
    y = layer(x).data
    assert (y == y[:, :, :1, :1]).all()
    assert set(np.unique(y).round(6)) == {0.0, round(1 / 0.6, 6)}
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert layer.eval()(x) is x


def test_dropout2d_sends_the_gradient_through_the_same_mask():
    x = mg.Tensor(np.ones((3, 4, 2, 2)), requires_grad=True)
    y = nn.Dropout2d(0.5, rng=np.random.default_rng(2))(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)


def test_a_network_of_images_is_verified_three_ways():
    rng = np.random.default_rng(3)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same", groups=2, rng=rng),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.3, rng=rng),
        nn.Conv2d(4, 3, 2, stride=(1, 2), padding=(0, 1), dilation=(1, 2), rng=rng),
        nn.AvgPool2d(2, 1, 1, count_include_pad=False),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(27, 5, rng=rng),
    )
    x, labels = rng.standard_normal((3, 2, 6, 6)), np.array([0, 1, 4])
    report = mg.verify(model, nn.CrossEntropyLoss(), x, labels, samples=6)
    assert report.ok, report
    assert all(row.delta is not None for row in report.rows)
    assert report.error("autograd–δ") < 1e-12


def test_arrays_are_cast_to_the_weights_and_tensors_are_not():
    layer = nn.Conv2d(1, 1, 2)
    assert layer(np.zeros((1, 1, 2, 2))).dtype == np.float32
    assert layer(np.zeros((1, 1, 2, 2), np.uint8)).dtype == np.float32
    with pytest.raises(TypeError, match=r"Conv2d: the input is a tensor of float64, the parameters are"):
        layer(mg.Tensor(np.zeros((1, 1, 2, 2))))
    assert layer.astype("float64")(np.zeros((1, 1, 2, 2))).dtype == np.float64


NET = nn.Sequential(nn.Conv2d(1, 2, 5), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: NET(np.zeros((1, 1, 4, 9))),
            (
                "conv2d in layer '0' Conv2d(1, 2, kernel_size=(5, 5), stride=(1, 1)): "
                "the kernel 5×5, the padded image is 4×9"
            ),
        ),
        (
            lambda: NET(np.zeros((1, 1, 5, 5))),
            (
                "max_pool2d in layer '1' MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1): "
                "the kernel 2×2, the padded image is 1×1"
            ),
        ),
        (
            lambda: NET(np.zeros((1, 1, 12, 12))),
            (
                "conv2d in layer '2' Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1)): "
                "the input (1, 2, 4, 4) has 2 channels, the weight (4, 3, 3, 3) expects 3"
            ),
        ),
        (
            lambda: nn.Conv1d(2, 4, 3)(np.zeros((1, 3, 9))),
            "has 3 channels, the weight (4, 2, 1, 3) expects 2",
        ),
        (
            lambda: nn.ConvTranspose2d(2, 4, 3)(np.zeros((1, 3, 9, 9))),
            "conv_transpose2d in ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(1, 1)): the input",
        ),
        (lambda: nn.AvgPool2d(3)(np.zeros((1, 2, 2, 2))), "avg_pool2d in AvgPool2d(kernel_size=3"),
        (
            lambda: nn.AdaptiveAvgPool2d(0)(np.zeros((1, 2, 2, 2))),
            "adaptive_avg_pool2d in AdaptiveAvgPool2d(output_size=0): output_size must be an integer of",
        ),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "Conv2d: groups=2 does not divide in_channels=3"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "Conv2d: groups=2 does not divide out_channels=3"),
        (lambda: nn.Conv2d(0, 3, 3), "Conv2d: in_channels must be at least 1, not 0"),
        (lambda: nn.Conv1d(1, 3, 0), "Conv1d: kernel_size must be at least 1, not 0"),
        (
            lambda: nn.BatchNorm2d(3)(np.zeros((2, 4, 5, 5))),
            (
                "BatchNorm2d(3, eps=1e-05, momentum=0.1): the input has shape (2, 4, 5, 5), "
                "expected (N, 3, H, W)"
            ),
        ),
        (lambda: nn.BatchNorm2d(3)(np.zeros((2, 3))), "expected (N, 3, H, W)"),
        (lambda: nn.Dropout2d(1.0), "Dropout2d: p must be at least 0 and below 1, not 1.0"),
        (
            lambda: nn.Dropout2d()(np.zeros((2, 3))),
            "dropout2d in Dropout2d(p=0.5): the input has shape (2, 3), expected (N, C, H, W)",
        ),
        (lambda: F.dropout2d(np.zeros((1, 1, 1, 1)), 2.0), "p must be at least 0 and below 1, not 2.0"),
    ],
)
def test_messages_name_the_layer_and_both_numbers(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
