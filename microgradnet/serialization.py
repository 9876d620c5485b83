"""Saving and loading models: an .npz of arrays with a JSON header, without pickle."""

from __future__ import annotations

import inspect
import io
import json
import os
import secrets
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet import nn
from microgradnet.tensor import Tensor

if TYPE_CHECKING:
    from microgradnet.graph import Array

FORMAT = "microgradnet model 1"
HEADER = "header.json"
PathLike: TypeAlias = str | os.PathLike[str]

# What zipfile and NumPy raise for bytes that are not what they should be.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError, RuntimeError),
    *(ValueError, KeyError, TypeError, SyntaxError, OverflowError, MemoryError),
)


def save(model: nn.Module, path: PathLike, *, notes: dict[str, Any] | None = None) -> None:
    """Write the parameters and buffers of a model, and how it is built if its layers are the library's.

    The file is an ``.npz`` archive (``np.load`` reads it) with a JSON header; nothing in it is pickled. It is
    written aside and renamed: killed at any instant, an earlier file at ``path`` stays whole. The same model
    gives the same bytes. ``notes`` is any JSON data to keep with it. Gradients, hooks and random generators
    are not saved.

    Raises
    ------
    OSError
        If the file cannot be written; names it.
    TypeError
        If ``model`` is not a Module.

    Examples
    --------
    >>> import os, tempfile
    >>> import microgradnet as mg
    >>> model = mg.nn.Sequential(mg.nn.Linear(3, 2), mg.nn.Sigmoid())
    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> mg.save(model, path)
    >>> mg.load(path)
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True),
      (1): Sigmoid()
    )
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"save takes a model, an nn.Module; got {type(model).__name__}")
    header = {
        "format": FORMAT,
        "class": type(model).__name__,
        "model": _spec(model),
        "tied": _tied(model),
        "frozen": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
        "evaluating": [name for name, module in model.named_modules() if not module.training],
        "notes": notes or {},
    }
    text = json.dumps(header, indent=1, ensure_ascii=False).encode()
    target = Path(path)
    aside = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with aside.open("xb") as file:
                _write_archive(file, text, model.state_dict())
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise type(error)(f"cannot write {target}: {error.strerror or error}") from None


def load(path: PathLike) -> Any:
    """Rebuild the model that was saved, if all its layers are the library's.

    Each module is in the mode, and each parameter frozen or not, as it was saved. For any other model, create
    it and write ``model.load_state_dict(mg.load_state(path))``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole model file, or the model is not made of the library's layers alone.
    """
    header, state = _read(path)
    advice = f"create one and write model.load_state_dict(mg.load_state({str(path)!r}))"
    if header["model"] is None:
        raise ValueError(
            f"{path} holds a {header['class']}, which is not made of the library's layers alone; {advice}"
        )
    try:
        model = _build(header["model"])
        for first, *others in header["tied"]:
            for name in others:
                _set(model, name, _get(model, first))
        model.load_state_dict(state)
        for name in header["frozen"]:
            _get(model, name).requires_grad = False
        modules = dict(model.named_modules())
        for name in header["evaluating"]:
            modules[name].training = False
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} holds a {header['class']} that cannot be rebuilt ({error}); {advice}"
        ) from None
    return model


def load_state(path: PathLike) -> dict[str, Array]:
    """Return the saved arrays by name, for ``model.load_state_dict``."""
    return _read(path)[1]


def load_notes(path: PathLike) -> dict[str, Any]:
    """Return the notes that were saved with the model."""
    notes: dict[str, Any] = _read(path)[0]["notes"]
    return notes


def _write_archive(file: Any, header: bytes, state: dict[str, Array]) -> None:
    """Write the header and one .npy per array, as ``np.savez`` does, all at the same date."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(HEADER), header)
        for name, array in state.items():
            with archive.open(zipfile.ZipInfo(f"state/{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read(path: PathLike) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read header and arrays, refusing anything that is not a whole file of this format."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no model file at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}  # read whole: checksums hold
        header = json.loads(members.pop(HEADER, b"{}"))
        arrays = {name: io.BytesIO(content) for name, content in members.items()}
        state = {
            name.removeprefix("state/").removesuffix(".npy"): np.lib.format.read_array(
                array, allow_pickle=False
            )
            for name, array in arrays.items()
        }
    except _BROKEN as error:
        raise ValueError(
            f"{path} is not a whole model file, an .npz that mg.save wrote: {_found(Path(path), error)}"
        ) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else header
        raise ValueError(
            f"{path} is not a model file of this version: "
            f"its {HEADER} should say {FORMAT!r}, and says {found!r}"
        )
    return header, state


def _found(path: Path, error: Exception) -> str:
    """Say in words what a file holds that is not a model."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "it is empty"
    if start.startswith(b"PK"):
        return f"it is damaged or was cut off ({error})"
    kind = "a web page" if start.lstrip().lower().startswith((b"<!doctype", b"<html")) else "something else"
    return f"it is {kind}, beginning with {start[:16]!r}"


def _spec(module: Any) -> dict[str, Any] | None:
    """Describe how a layer of the library is built, by class and arguments; None for any other module."""
    kind = type(module)
    if getattr(nn, kind.__name__, None) is not kind or isinstance(module, nn.Loss):
        return None
    if kind is nn.Sequential:
        layers = [_spec(layer) for layer in module]
        return None if None in layers else {"class": "Sequential", "layers": layers}
    arguments: dict[str, Any] = {}
    for name in inspect.signature(kind).parameters:
        if name == "dtype":
            arguments[name] = str(module.weight.dtype)
        elif name == "bias":
            arguments[name] = module.bias is not None
        elif name != "rng":
            arguments[name] = getattr(module, name)
            if isinstance(arguments[name], Tensor):  # built of arrays, not of numbers
                return None
    return {"class": kind.__name__, **arguments}


def _build(spec: dict[str, Any]) -> Any:
    arguments = dict(spec)
    kind = getattr(nn, arguments.pop("class"))
    if kind is nn.Sequential:
        return kind(*[_build(layer) for layer in arguments["layers"]])
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise TypeError(f"{spec['class']} is not a layer")
    return kind(**arguments)


def _tied(model: nn.Module) -> list[list[str]]:
    """List the names that share one parameter or buffer."""
    names: dict[int, list[str]] = {}
    for name, value in model._named_state().items():  # noqa: SLF001 - every name, where the public walk has one
        names.setdefault(id(value), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _get(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = dict(model._attributes())[name]  # noqa: SLF001 - the walk's names
    return model


def _set(model: Any, path: str, value: Any) -> None:
    owner, _, name = path.rpartition(".")
    setattr(_get(model, owner) if owner else model, name, value)
