"""Saving and loading models: an .npz of arrays with a JSON header, without pickle."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradnet import nn

if TYPE_CHECKING:
    from microgradnet.graph import Array

FORMAT = "microgradnet model 1"
_HEADER = "header.json"
PathLike = str | os.PathLike[str]


def save(model: nn.Module, path: PathLike, *, notes: dict[str, Any] | None = None) -> None:
    """Write the parameters and buffers of a model, and how it is built if its layers are the library's.

    The file is written aside and renamed: killed at any instant, an earlier file at ``path`` stays whole. ``notes``
    is any JSON data to keep with it. The same model gives the same bytes.

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
    state = model.state_dict()
    header = {
        "format": FORMAT,
        "model": _spec(model),
        "class": type(model).__name__,
        "tied": _tied(model),
        "training": model.training,
        "notes": notes or {},
    }
    arrays = {f"state/{name}": array for name, array in state.items()}
    text = json.dumps(header, indent=1, ensure_ascii=False).encode()
    target = Path(path)
    try:
        handle, aside = tempfile.mkstemp(prefix=target.name, suffix=".part", dir=target.parent)
    except OSError as error:
        message = f"cannot write {target}: {error.strerror}"
        raise type(error)(error.errno, message) from None
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **{_HEADER: np.frombuffer(text, np.uint8), **arrays})
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(target)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def load(path: PathLike) -> Any:
    """Rebuild the model that was saved, if all its layers are the library's.

    For any other model, create it and write ``model.load_state_dict(mg.load_state(path))``.
    """
    header, state = _read(path)
    if header["model"] is None:
        message = (
            f"{path} holds a {header['class']}, which is not made of the library's layers alone; "
            f"create one and write model.load_state_dict(mg.load_state({str(path)!r}))"
        )
        raise ValueError(message)
    model = _build(header["model"])
    for first, *others in header["tied"]:
        for name in others:
            _set(model, name, _get(model, first))
    model.load_state_dict(state)
    return model.train(header["training"])


def load_state(path: PathLike) -> dict[str, Array]:
    """Return the saved arrays by name, for ``model.load_state_dict``."""
    return _read(path)[1]


def load_notes(path: PathLike) -> dict[str, Any]:
    """Return the notes that were saved with the model."""
    notes: dict[str, Any] = _read(path)[0]["notes"]
    return notes


def _read(path: PathLike) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read header and arrays, refusing anything that is not a whole file of this format."""
    if not Path(path).is_file():
        message = f"there is no model file at {path}"
        raise FileNotFoundError(message)
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            if _HEADER not in names:
                message = f"{path} is not a model file of this library: it has no {_HEADER}"
                raise ValueError(message)
            header = json.loads(file[_HEADER].tobytes())
            state = {name.removeprefix("state/"): file[name] for name in file.files if name != _HEADER}
    except (zipfile.BadZipFile, EOFError, OSError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        message = f"{path} is not a whole model file (an .npz archive was expected): {error}"
        raise ValueError(message) from None
    except ValueError as error:
        message = f"{path} is not a model file: {error}"
        raise ValueError(message) from None
    if header.get("format") != FORMAT:
        message = f"{path} has format {header.get('format')!r}; this version reads {FORMAT!r}"
        raise ValueError(message)
    return header, state


def _spec(module: Any) -> dict[str, Any] | None:
    """Describe how a library layer is built: its class and the arguments of its constructor; None for any other."""
    kind = type(module)
    if getattr(nn, kind.__name__, None) is not kind:
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
        elif name not in ("rng", "weight"):
            arguments[name] = getattr(module, name)
    return {"class": kind.__name__, **arguments}


def _build(spec: dict[str, Any]) -> Any:
    arguments = dict(spec)
    kind = getattr(nn, arguments.pop("class"))
    if kind is nn.Sequential:
        return kind(*[_build(layer) for layer in arguments["layers"]])
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    return kind(**arguments)


def _tied(model: nn.Module) -> list[list[str]]:
    """List the names that share one parameter."""
    groups: list[tuple[Any, list[str]]] = []
    for name, value in model._named_state().items():
        for tensor, names in groups:
            if tensor is value:
                names.append(name)
                break
        else:
            groups.append((value, [name]))
    return [names for _, names in groups if len(names) > 1]


def _get(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = dict(model._attributes())[name]
    return model


def _set(model: Any, path: str, value: Any) -> None:
    owner, _, name = path.rpartition(".")
    setattr(_get(model, owner) if owner else model, name, value)
