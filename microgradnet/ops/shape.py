"""Operations that move elements without changing them: shape, order, joining, cutting, indexing."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from microgradnet.graph import Value, fixed
from microgradnet.primitive import Primitive

if TYPE_CHECKING:
    from collections.abc import Sequence

Axes: TypeAlias = "int | tuple[int, ...] | None"

_reshape: Primitive = Primitive(
    "reshape", lambda x, *, shape: x.reshape(shape), lambda g, _y, _x, **_: _reshape(g, shape=_x.shape)
)
_expand_dims = Primitive(
    "expand_dims",
    lambda x, *, axis: np.expand_dims(x, axis),
    lambda g, _y, _x, **_: _reshape(g, shape=_x.shape),
)
_squeeze = Primitive(
    "squeeze", lambda x, *, axis: np.squeeze(x, axis), lambda g, _y, _x, **_: _reshape(g, shape=_x.shape)
)
_transpose: Primitive = Primitive(
    "transpose",
    lambda x, *, axes: x.transpose(axes),
    lambda g, _y, _x, *, axes: _transpose(g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__))),
)


def _spread(x: Any, *, shape: tuple[int, ...]) -> Any:
    y = np.empty(shape, x.dtype)
    y[...] = x
    return y


_broadcast_to = Primitive("broadcast_to", _spread, lambda g, _y, _x, **_: g, broadcasts=0)


def valued(x: Any) -> Any:
    """Make an array of what is neither an array nor a tensor, so that it has a shape and a dtype."""
    return x if isinstance(x, (Value, np.ndarray)) else np.asarray(x)


def reshape(x: Any, *shape: Any) -> Any:
    """Give x another shape with the same elements; one entry may be −1."""
    return _reshape(x, shape=tuple(shape[0]) if len(shape) == 1 and np.ndim(shape[0]) else shape)


def expand_dims(x: Any, axis: Axes) -> Any:
    """Insert axes of length 1."""
    return _expand_dims(x, axis=axis)


def squeeze(x: Any, axis: Axes = None) -> Any:
    """Remove axes of length 1."""
    return _squeeze(x, axis=axis)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Reverse the axes, or put them in the given order."""
    return _transpose(x, axes=normalize_axis_tuple(range(x.ndim)[::-1] if axes is None else axes, x.ndim))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Exchange two axes."""
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return _transpose(x, axes=tuple(order))


def broadcast_to(x: Any, shape: int | Sequence[int]) -> Any:
    """Repeat x along new or length-1 axes."""
    return _broadcast_to(x, shape=(shape,) if isinstance(shape, int) else tuple(shape))


def _concatenate_rule(i: int) -> Any:
    def rule(g: Any, _y: Any, *_xs: Any, axis: int, sizes: tuple[int, ...]) -> Any:
        start = sum(sizes[:i])
        return index(g, (slice(None),) * axis + (slice(start, start + sizes[i]),))

    return rule


_concatenate = Primitive(
    "concatenate", lambda *xs, axis, sizes: np.concatenate(xs, axis), rule_for=_concatenate_rule
)


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Any:
    """Join along an existing axis."""
    xs = [valued(x) for x in tensors]
    if not xs:
        message = "concatenate: needs at least one array"
        raise ValueError(message)
    (axis,) = normalize_axis_tuple(axis, xs[0].ndim)
    return _concatenate(*xs, axis=axis, sizes=tuple([x.shape[axis] if x.ndim > axis else 1 for x in xs]))


def stack(tensors: Sequence[Any], axis: int = 0) -> Any:
    """Join along a new axis."""
    xs = [expand_dims(valued(x), axis) for x in tensors]
    return concatenate(xs, axis)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Cut into equal sections, or before the given indices: a list of slices."""
    (axis,), size = normalize_axis_tuple(axis, x.ndim), x.shape[axis]
    if isinstance(indices_or_sections, int):
        if size % indices_or_sections:
            message = (
                f"split: {size} elements on axis {axis} do not make {indices_or_sections} equal sections"
            )
            raise ValueError(message)
        cuts = [size // indices_or_sections * i for i in range(indices_or_sections + 1)]
    else:
        cuts = [0, *indices_or_sections, size]
    lead = (slice(None),) * axis
    return [index(x, (*lead, slice(start, stop))) for start, stop in itertools.pairwise(cuts)]


_pad = Primitive(
    "pad",
    lambda x, *, pad_width, constant_values: np.pad(x, pad_width, constant_values=constant_values),
    lambda g, _y, _x, *, pad_width, constant_values: index(
        g,
        tuple(
            [slice(before, size - after) for (before, after), size in zip(pad_width, g.shape, strict=True)]
        ),
    ),
)


def pad(x: Any, pad_width: Any, *, constant_values: float = 0) -> Any:
    """Surround with a constant; ``pad_width`` as NumPy's: n, (before, after), or one such pair per axis."""
    widths = np.broadcast_to(np.asarray(pad_width, int), (x.ndim, 2)).tolist()
    return _pad(
        x, pad_width=tuple([(before, after) for before, after in widths]), constant_values=constant_values
    )


def flip(x: Any, axis: Axes = None) -> Any:
    """Reverse the order along the given axes (all by default)."""
    flipped = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    return index(x, tuple([slice(None, None, -1) if a in flipped else slice(None) for a in range(x.ndim)]))


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Any:
    """Repeat each element ``repeats`` times along an axis (of the flattened array by default)."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    (axis,) = normalize_axis_tuple(axis, x.ndim)
    positions = fixed(np.repeat(np.arange(x.shape[axis]), repeats))
    return index(x, (slice(None),) * axis + (positions,))


class _Here:
    """Stands in the static part of an index for the next array."""

    def __repr__(self) -> str:
        return "array"


HERE = _Here()


def _key(spec: tuple[Any, ...], arrays: Sequence[Any]) -> tuple[Any, ...]:
    rest = iter(arrays)
    return tuple([next(rest) if part is HERE else part for part in spec])


def _scatter_add(g: Any, *arrays: Any, spec: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    out = np.zeros(shape, g.dtype)
    key = _key(spec, arrays)
    if all(array.dtype == bool for array in arrays):  # basic and boolean indices meet no element twice
        out[key] = g
    else:
        np.add.at(out, key, g)
    return out


def _index_rule(g: Any, _y: Any, _x: Any, *arrays: Any, spec: tuple[Any, ...]) -> Any:
    return _index_add(g, *arrays, spec=spec, shape=_x.shape)


def _index_add_rule(
    g: Any, _y: Any, _v: Any, *arrays: Any, spec: tuple[Any, ...], shape: tuple[int, ...]
) -> Any:
    return _index(g, *arrays, spec=spec)


_index = Primitive(
    "index",
    lambda x, *arrays, spec: x[_key(spec, arrays)],
    rule_for=lambda i: _index_rule if i == 0 else None,
)
_index_add = Primitive("index_add", _scatter_add, rule_for=lambda i: _index_add_rule if i == 0 else None)


def index(x: Any, key: Any) -> Any:
    """x[key] by NumPy's rules: basic, fancy, boolean, mixed; repeated indices accumulate in the gradient."""
    spec: list[Any] = []
    arrays: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        if part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)):
            spec.append(part)
        else:
            array = fixed(np.asarray(part)) if isinstance(part, (list, tuple)) else valued(part)
            if array.dtype.kind not in "iub":
                if math.prod(array.shape):
                    message = (
                        f"an index must hold integers or booleans, not {array.dtype}; write `.astype(int)`"
                    )
                    raise IndexError(message)
                array = fixed(array.astype(int))
            arrays.append(array)
            spec.append(HERE)
    return _index(x, *arrays, spec=tuple(spec))
