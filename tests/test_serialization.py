"""Saving and loading: round trips to the bit, refusal of what is no model, no half-written file."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, serialization


def rng():
    return np.random.default_rng(3)


def layers():
    x = rng().normal(size=(4, 6)).astype(np.float32)
    indices = np.array([[0, 1], [4, 4]])
    images = x.reshape(4, 1, 2, 3)
    return {
        "Linear": (nn.Linear(6, 3), x),
        "Linear without bias": (nn.Linear(6, 3, bias=False), x),
        "Linear float64": (nn.Linear(6, 3, dtype=np.float64), x.astype(float)),
        "Embedding": (nn.Embedding(5, 3), indices),
        "BatchNorm1d": (nn.BatchNorm1d(6, eps=1e-3, momentum=0.2), x),
        "LayerNorm": (nn.LayerNorm(6, eps=1e-3), x),
        "LayerNorm of two axes": (nn.LayerNorm((2, 3)), images),
        "BatchNorm2d": (nn.BatchNorm2d(1, eps=1e-3, momentum=0.2), images),
        "Conv1d": (nn.Conv1d(2, 4, 2, groups=2), images[:, 0]),
        "Conv2d": (nn.Conv2d(1, 2, (2, 1), stride=(1, 2), padding=1), images),
        "Conv2d without bias": (nn.Conv2d(1, 2, 3, padding="same", bias=False), images),
        "ConvTranspose2d": (nn.ConvTranspose2d(1, 2, 2, stride=2, output_padding=1), images),
        "MaxPool2d": (nn.MaxPool2d(2, stride=1), images),
        "AvgPool2d": (nn.AvgPool2d((1, 2), padding=(0, 1), count_include_pad=False), images),
        "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((None, 2)), images),
        "Dropout": (nn.Dropout(0.25), x),
        "Dropout2d": (nn.Dropout2d(0.25), images),
        "Flatten": (nn.Flatten(), images),
        "Sigmoid": (nn.Sigmoid(), x),
        "Tanh": (nn.Tanh(), x),
        "ReLU": (nn.ReLU(), x),
        "LeakyReLU": (nn.LeakyReLU(0.3), x),
        "ELU": (nn.ELU(0.7), x),
        "GELU": (nn.GELU("tanh"), x),
        "Softplus": (nn.Softplus(), x),
        "Softmax": (nn.Softmax(0), x),
        "LogSoftmax": (nn.LogSoftmax(0), x),
        "Perceptron": (nn.Perceptron(6, 2), x),
        "RBM": (nn.RBM(6, 4), np.abs(np.tanh(x))),
        "Hopfield": (nn.Hopfield(6), np.sign(x)),
        "Sequential": (nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(5, 2)), x),
    }


def round_trip(model, tmp_path):
    mg.save(model, tmp_path / "model.npz")
    return mg.load(tmp_path / "model.npz")


@pytest.mark.parametrize("name", layers())
def test_a_layer_comes_back_the_same(tmp_path, name):
    model, x = layers()[name]
    if not name.startswith("Dropout"):  # which has no generator of its own, and draws
        model(x)  # so that running statistics have moved
    model.eval()
    again = round_trip(model, tmp_path)
    assert repr(again) == repr(model)
    assert [(key, array.dtype) for key, array in again.state_dict().items()] == [
        (key, array.dtype) for key, array in model.state_dict().items()
    ]
    expected = model(x).data
    assert again(x).data.tobytes() == expected.tobytes()
    assert again(x).data.dtype == expected.dtype


def test_every_layer_of_the_library_is_in_that_table():
    kinds = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    losses = {name for name in kinds if issubclass(getattr(nn, name), nn.Loss)}
    assert {name.split()[0] for name in layers()} == kinds - losses - {
        "Module",
        "Parameter",
        "ModernHopfield",
    }


def test_a_layer_built_of_arrays_is_not_rebuilt_but_its_state_is_there(tmp_path):
    model = nn.ModernHopfield(np.eye(3))
    with pytest.raises(ValueError, match="load_state_dict"):
        round_trip(model, tmp_path)
    again = nn.ModernHopfield(np.ones((3, 3)))
    again.load_state_dict(mg.load_state(tmp_path / "model.npz"))
    assert again.patterns.tolist() == np.eye(3).tolist()


def test_modes_and_frozen_parameters_come_back(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[1].eval()
    model[0].bias.requires_grad = False
    again = round_trip(model, tmp_path)
    assert [module.training for module in again.modules()] == [True, True, False, True]
    assert [name for name, p in again.named_parameters() if not p.requires_grad] == ["0.bias"]
    assert not any(module.training for module in round_trip(model.eval(), tmp_path).modules())


def test_tied_weights_come_back_tied(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[2].weight = model[0].weight
    model.append(model[3])
    again = round_trip(model, tmp_path)
    assert again[2].weight is again[0].weight
    assert again[2].bias is not again[0].bias
    assert again[4].running_mean is again[3].running_mean
    x = rng().normal(size=(5, 3)).astype(np.float32)
    assert (again.eval()(x).data == model.eval()(x).data).all()


def test_a_model_of_other_layers_says_what_to_write(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            self.blocks: dict[str, Any] = {"a": nn.Linear(2, 2), "b": [nn.Linear(2, 2)]}

        def forward(self, x):
            return self.blocks["b"][0](self.blocks["a"](x))

    path, model = tmp_path / "net.npz", Net()
    mg.save(model, path)
    with pytest.raises(
        ValueError, match="holds a Net, which is not made of the library's layers alone"
    ) as error:
        mg.load(path)
    assert f"create one and write model.load_state_dict(mg.load_state({str(path)!r}))" in str(error.value)
    other = Net()
    other.load_state_dict(mg.load_state(path))
    assert (other(np.eye(2)).data == model(np.eye(2)).data).all()


@pytest.mark.parametrize("inside", [False, True])
def test_a_subclass_of_a_layer_is_not_taken_for_it(tmp_path, inside):
    class Linear(nn.Linear):
        """Same name, other forward."""

    model = nn.Sequential(Linear(2, 2)) if inside else Linear(2, 2)
    with pytest.raises(ValueError, match="not made of the library's layers alone"):
        round_trip(model, tmp_path)


def test_a_layer_with_more_than_its_own_parameters_is_not_rebuilt_in_part(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2))
    model.extra = nn.Parameter([1.0])  # type: ignore[attr-defined]  # as people do
    with pytest.raises(
        ValueError, match=r"(?s)cannot be rebuilt .*unexpected: extra \(1,\).*create one and write"
    ):
        round_trip(model, tmp_path)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        model = nn.Sequential(nn.Linear(3, 4, rng=rng()), nn.BatchNorm1d(4))
        mg.save(model, tmp_path / name, notes={"name": "α"})
        time.sleep(0.01)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert serialization.load_notes(tmp_path / "a") == {"name": "α"}
    os.utime(tmp_path / "b", (0, 0))
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_numpy_reads_the_arrays(tmp_path):
    model = nn.Linear(2, 1)
    mg.save(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert (arrays["state/weight"] == model.weight.data).all()
        assert json.loads(arrays["header.json"])["class"] == "Linear"


# ---------------------------------------------------------------------- what is no model


def saved(tmp_path):
    path = tmp_path / "model.npz"
    mg.save(nn.Linear(2, 1, rng=rng()), path)
    return path


def write_archive(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "it is a web page, beginning with"),
        (b"\x93NUMPY\x01\x00", r"it is something else, beginning with b'\\x93NUMPY"),
        (b"\x80\x04\x95", "it is something else, beginning with"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"weights.npz is not a whole model file.*{words}"):
        mg.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no model file at .*nowhere\.npz"):
        mg.load(tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match="there is no model file at"):
        mg.load_state(tmp_path)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.npz is not a whole model file"):
            mg.load(path)


def test_a_flipped_bit_never_changes_the_model_silently(tmp_path):
    path = saved(tmp_path)
    model, whole = mg.load(path), path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(
            whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :]
        )
        try:
            again = mg.load(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - most are refused, some bits mean nothing
            refused += 1
        else:
            assert repr(again) == repr(model)
            assert {name: a.tobytes() for name, a in again.state_dict().items()} == {
                name: a.tobytes() for name, a in model.state_dict().items()
            }
    assert refused > len(whole) / 2


def test_a_pickled_array_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    header = json.dumps({"format": serialization.FORMAT})
    write_archive(path, **{"header.json": header, "state__w.npy": npy(np.array([{}], object))})
    with pytest.raises(ValueError, match=r"is not a whole model file.*Object arrays cannot be loaded"):
        mg.load_state(path)


def test_an_archive_of_other_arrays_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="should say 'microgradnet model 1', and says None"):
        mg.load(path)


def test_a_file_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    write_archive(path, **{"header.json": '{"format": "microgradnet model 2"}'})
    with pytest.raises(ValueError, match=r"not a model file of this version.*says 'microgradnet model 2'"):
        mg.load(path)


@pytest.mark.parametrize("kind", ["functional", "Parameter", "Nonsense"])
def test_a_header_can_only_name_layers(tmp_path, kind):
    header = {"format": serialization.FORMAT, "class": kind, "model": {"class": kind}, "tied": []}
    write_archive(tmp_path / "model.npz", **{"header.json": json.dumps(header)})
    with pytest.raises(ValueError, match=f"holds a {kind} that cannot be rebuilt"):
        mg.load(tmp_path / "model.npz")


def test_only_modules_are_saved(tmp_path):
    with pytest.raises(TypeError, match=r"save takes a model, an nn\.Module; got dict"):
        mg.save({}, tmp_path / "model.npz")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- files that are never half written


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("instant", ["an array", "the rename"])
def test_an_error_leaves_the_last_good_file_and_no_litter(tmp_path, monkeypatch, error, instant):
    path = saved(tmp_path)
    before = path.read_bytes()
    written = []

    def write(file, array, **_):
        written.append(array)
        file.write(b"half of it")
        if len(written) == 2:
            raise error

    def replace(self, target):
        raise error

    if instant == "an array":
        monkeypatch.setattr(np.lib.format, "write_array", write)
    else:
        monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(type(error)) as caught:
        mg.save(nn.Linear(2, 1), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert str(caught.value) == f"cannot write {path}: No space left on device"


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "no" / "model.npz"
    with pytest.raises(FileNotFoundError) as error:
        mg.save(nn.Linear(2, 1), path)
    assert str(error.value) == f"cannot write {path}: No such file or directory"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_the_file_has_the_ordinary_permissions(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = saved(tmp_path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


SAVE_FOR_EVER = """
import sys, itertools
from microgradnet import nn, save
models = [nn.Sequential(nn.Linear(200, 200)) for _ in range(2)]
for i in itertools.count():
    nn.init.constant_(models[i % 2][0].weight, i % 2)
    save(models[i % 2], sys.argv[1])
    if i == 2:
        print("ready", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_any_instant_the_last_good_file_is_whole(tmp_path):
    path = tmp_path / "model.npz"
    for attempt in range(4):
        process = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.003 * attempt + 0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
        weight = mg.load(path)[0].weight.data
        assert (weight == weight[0, 0]).all()
