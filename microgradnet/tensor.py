"""Tensor: an array that remembers how it was made. Its operators, methods and NumPy protocol; Parameter."""

from __future__ import annotations

import inspect
import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from microgradnet import backprop, ops
from microgradnet.graph import (
    Node,
    Value,
    assign,
    clock,
    is_recording,
    last_change,
    require_floating,
    tracer,
    tracers,
)
from microgradnet.html_table import array_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, DTypeLike
    from typing_extensions import Self

    from microgradnet.graph import Array, Version

Operand: TypeAlias = "Tensor | ArrayLike"
Axes: TypeAlias = "int | tuple[int, ...] | None"


class Tensor(Value):
    """An n-dimensional array whose operations are recorded, so that ``backward()`` finds every derivative.

    ``data`` keeps NumPy's dtype, and an ndarray's memory is shared, not copied. ``requires_grad`` makes it a
    leaf: ``backward()`` on anything computed from it adds the derivative to ``.grad``, an ndarray of the same
    shape and dtype. Only floating-point tensors can require a gradient. Methods and ``np.*`` functions follow
    NumPy.

    >>> from microgradnet import Tensor
    >>> w = Tensor([2.0, 3.0], requires_grad=True)
    >>> loss = (w * w).sum()
    >>> loss.backward()
    >>> w.grad
    array([4., 6.])
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        data: Operand,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if isinstance(data, (list, tuple)) and any(isinstance(item, Tensor) for item in data):
            message = "Tensor: a list of tensors would lose their history; write np.stack([t, u, …])"
            raise TypeError(message)
        if tracers and isinstance(data, Tensor) and tracer() is not None:
            data = data.detach() if dtype is None else ops.astype(data.detach(), dtype=dtype)
            array = data._array
        else:
            array = np.asarray(data, dtype)
        if array.dtype.kind not in "fiub":
            message = f"Tensor: needs real numbers, got dtype {array.dtype} from {type(data).__name__}"
            raise TypeError(message)
        self._array = array
        self._version = data._version if isinstance(data, Tensor) and array is data._array else [0]
        self._node = None
        if requires_grad:
            self.requires_grad = True
        if name is not None:
            self.name = name

    @staticmethod
    def _box(array: Array, node: Node | None, version: Version) -> Tensor:
        tensor = Tensor.__new__(Tensor)
        tensor._array = array
        tensor._node = node
        tensor._version = version
        return tensor

    # ------------------------------------------------------------------ the value

    @property
    def data(self) -> Array:
        """The array itself.

        Assigning another array leaves what was recorded valid. Writing *inside* it (``t.data[...] = v``, or
        into the ndarray that the tensor was made of) is the one change that ``backward()`` cannot notice;
        write ``t[...] = v`` under ``no_grad()`` to be safe.
        """
        if tracers:
            _must_not_escape(self, ".data")
        return self._array

    @data.setter
    def data(self, array: ArrayLike) -> None:
        new = np.asarray(array)
        node = self._node
        if new is self._array:  # `t.data -= …` has written into it
            assign(self, new)
            return
        if node is not None and node.primitive is not None:
            message = f"{node.describe()} was computed; assign .data of a leaf, or take t.detach() first"
            raise RuntimeError(message)
        if node is not None and node.requires_grad:
            require_floating(new.dtype)
        same = (new.shape, new.dtype) == (self.shape, self.dtype)
        self._array, self._version = new, [0]
        last_change[0] = next(clock)
        if node is None:
            return
        if same:  # the same leaf: a graph recorded before still finds it
            node.y, node.version = new, self._version
        else:  # a gradient of the old shape has no place here
            self._node = Node.leaf(new, self._version, requires_grad=node.requires_grad)
            self._node.name, self._node.hooks = node.name, node.hooks

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every axis."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    def item(self) -> Any:
        """Return the value of a single element as a Python number."""
        if tracers:
            _must_not_escape(self, ".item()")
        return self._array.item()

    def tolist(self) -> Any:
        """Return the values as nested lists of Python numbers."""
        if tracers:
            _must_not_escape(self, ".tolist()")
        return self._array.tolist()

    def numpy(self) -> Array:
        """Return the array, if no history would be lost by it: else an error that says what to write."""
        return self.__array__()

    def detach(self) -> Tensor:
        """Return a tensor of the same memory without history; ``backward()`` notices a change through it."""
        return Tensor._box(self._array, None, self._version)

    # ------------------------------------------------------------------ the gradient

    @property
    def requires_grad(self) -> bool:
        """Whether ``backward()`` leads here: set it on a leaf, read it anywhere.

        ``False`` freezes a parameter: no gradient arrives until it is ``True`` again.
        """
        return self._node is not None and self._node.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        node = self._node
        if node is not None and node.primitive is not None:
            if not value:
                message = (
                    f"{node.describe()} was computed from others; take t.detach() to cut it from its history"
                )
                raise RuntimeError(message)
            return
        if value:
            require_floating(self.dtype)
        if node is not None:
            node.requires_grad = value
            last_change[0] = next(clock)
        elif value:
            self._node = Node.leaf(self._array, self._version)
            last_change[0] = next(clock)

    @property
    def grad(self) -> Array | None:
        """∂L/∂self, summed over all ``backward()`` calls: an ndarray, or None where none has arrived."""
        node = self._node
        if node is None:
            return None
        if tracers and (recorder := tracer()) is not None:
            return recorder.gradient_of(node)
        g = node.grad
        return g if g is None or type(g) is np.ndarray else node.gradient()

    @grad.setter
    def grad(self, value: ArrayLike | None) -> None:
        if self._node is None:
            if value is None:
                return
            message = "only a tensor that requires a gradient has .grad; set requires_grad=True first"
            raise RuntimeError(message)
        if tracers and (recorder := tracer()) is not None:
            recorder.set_gradient(self._node, value)
            return
        if value is not None:
            value = np.asarray(value)
            if value.shape != self.shape or value.dtype != self.dtype:
                message = (
                    f".grad must be {self.dtype} of shape {self.shape}, not {value.dtype} of {value.shape}"
                )
                raise ValueError(message)
            if value is not self._node.grad:  # nobody else holds it
                value = value.copy()
        self._node.grad = value

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by its user and not by a recorded operation."""
        return self._node is None or self._node.primitive is None

    @property
    def name(self) -> str | None:
        """The name that pictures and messages use."""
        return None if self._node is None else self._node.name

    @name.setter
    def name(self, name: str | None) -> None:
        if self._node is None:
            self._node = Node.leaf(self._array, self._version, requires_grad=False)
        self._node.name = name

    def backward(self, gradient: Operand | None = None, *, retain_graph: bool = True) -> None:
        """Add ∂self/∂leaf to ``.grad`` of every leaf that this tensor was computed from.

        ``gradient`` is ∂L/∂self, needed where self is not a single number. The graph lives as long as this
        tensor does, so a further call is possible and adds again; ``retain_graph=False`` frees its arrays at
        once. All or nothing: where an error is raised, no ``.grad`` has changed.
        """
        backprop.backward(self, gradient, retain_graph=retain_graph)

    def retain_grad(self) -> None:
        """Have ``backward()`` store ``.grad`` on this computed tensor too."""
        self._recorded("retain_grad").retains_grad = True

    def register_hook(self, hook: Callable[[Any], Any]) -> Callable[[], None]:
        """Call ``hook(g)`` when the whole gradient of this tensor is known; what it returns replaces g.

        ``None`` keeps it. The gradient is read-only: return a new one, of the same shape. Hooks run in the
        order of their registration. Returns a function that removes the hook.

        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> remove = w.register_hook(lambda g: 10 * g)
        >>> w.sum().backward()
        >>> w.grad
        array([10., 10.])
        """
        node = self._recorded("register_hook")
        if node.hooks is None:
            node.hooks = {}
        hooks, key = node.hooks, next(clock)
        last_change[0] = key
        hooks[key] = hook

        def remove() -> None:
            hooks.pop(key, None)
            last_change[0] = next(clock)

        return remove

    def _recorded(self, caller: str) -> Node:
        if self._node is None or not self._node.requires_grad:
            message = (
                f"{caller}: no gradient arrives at this tensor; set requires_grad=True on it, "
                "or compute it from tensors that require one, outside no_grad()"
            )
            raise RuntimeError(message)
        return self._node

    # ------------------------------------------------------------------ arithmetic

    def __add__(self, other: Operand) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ops.absolute(self)

    def __iadd__(self, other: Operand) -> Self:
        return self._in_place(np.add, other, "+")

    def __isub__(self, other: Operand) -> Self:
        return self._in_place(np.subtract, other, "-")

    def __imul__(self, other: Operand) -> Self:
        return self._in_place(np.multiply, other, "*")

    def __itruediv__(self, other: Operand) -> Self:
        return self._in_place(np.divide, other, "/")

    def __ipow__(self, other: Operand) -> Self:
        return self._in_place(np.power, other, "**")

    def __imatmul__(self, other: Operand) -> Self:
        return self._in_place(np.matmul, other, "@")

    def _in_place(self, operation: Any, other: Operand, sign: str) -> Self:
        self._check_writable(f"t {sign}= …", f"t = t {sign} …", other)
        if tracers and tracer() is not None:
            assign(self, _UFUNCS[operation](self.detach(), other))
            return self
        value = operation(self._array, other._array if isinstance(other, Tensor) else other)
        if not np.can_cast(value.dtype, self.dtype, "same_kind"):
            message = (
                f"t {sign}= …: the result is {value.dtype}, which a tensor of {self.dtype} cannot hold; "
                f"write t = t {sign} …, or make the tensor floating-point"
            )
            raise TypeError(message)
        if value.shape != self.shape:
            message = (
                f"t {sign}= …: the result has shape {value.shape}, the tensor {self.shape}; "
                f"write t = t {sign} …"
            )
            raise ValueError(message)
        assign(self, value)
        return self

    def _check_writable(self, written: str, instead: str, other: Any = None) -> None:
        """In-place changes belong under no_grad(), where they are meant; elsewhere they break history."""
        joins = self.requires_grad or (isinstance(other, Tensor) and other.requires_grad)
        if joins and is_recording():
            message = (
                f"`{written}` changes a tensor in place that takes part in a gradient; "
                f"to update a value write it under `with no_grad():`, to compute with it write `{instead}`"
            )
            raise RuntimeError(message)

    # ------------------------------------------------------------------ comparison and logic

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # elementwise, as NumPy's
        return ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]  # elementwise, as NumPy's
        return ops.not_equal(self, other)

    def __lt__(self, other: Operand) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Operand) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return ops.greater_equal(self, other)

    def __and__(self, other: Operand) -> Tensor:
        return ops.logical_and(self, other)

    def __or__(self, other: Operand) -> Tensor:
        return ops.logical_or(self, other)

    def __invert__(self) -> Tensor:
        return ops.logical_not(self)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        if self.size != 1:
            message = (
                f"the truth value of a tensor of shape {self.shape} is ambiguous; "
                "write t.data.any() or t.data.all(), and `any(t is u for u in …)` to look for a tensor"
            )
            raise ValueError(message)
        if tracers:
            _must_not_escape(self, "its truth value")
        return bool(self._array.item())

    def __contains__(self, value: Operand) -> bool:
        if tracers:
            _must_not_escape(self, "`in`")
        return bool((self._array == (value._array if isinstance(value, Tensor) else value)).any())

    # ------------------------------------------------------------------ Python protocols

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            message = "a tensor without axes cannot be iterated over; its value is t.item()"
            raise TypeError(message)
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        if tracers:
            _must_not_escape(self, "float()")
        return float(self._array.item())

    def __int__(self) -> int:
        if tracers:
            _must_not_escape(self, "int()")
        return int(self._array.item())

    def __index__(self) -> int:
        if tracers:
            _must_not_escape(self, "an index()")
        return operator.index(self._array)  # NumPy raises where it is no integer

    def __format__(self, spec: str) -> str:
        return format(self._array.item(), spec) if spec and self.size == 1 else format(str(self), spec)

    def __repr__(self) -> str:
        text = np.array2string(self._array, separator=", ", prefix=type(self).__name__ + "(")
        kind = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        how = ""
        if self._node is not None and self._node.primitive is not None:
            how = f", made_by={self._node.primitive.name}"
        elif self.requires_grad:
            how = ", requires_grad=True"
        return f"{type(self).__name__}({text}{kind}{how})"

    def _repr_html_(self) -> str:
        node = self._node
        facts = [f"{type(self).__name__}", str(self.shape), str(self.dtype)]
        if node is not None and node.name:
            facts.insert(1, f"'{node.name}'")
        if node is not None and node.primitive is not None:
            facts.append(f"made by {node.primitive.name}")
        elif self.requires_grad:
            facts.append("requires a gradient")
        return array_table(" · ".join(facts), self._array, self.grad)

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        self._check_leaf("copied")
        copy = type(self).__new__(type(self))
        copy._array, copy._version, copy._node = self._array.copy(), [0], None
        if self._node is not None:
            copy._node = Node.leaf(copy._array, copy._version, requires_grad=self._node.requires_grad)
            copy._node.name = self._node.name
            copy._node.grad = None if self._node.grad is None else self._node.grad.copy()
        memo[id(self)] = copy
        return copy

    def __getstate__(self) -> Any:
        self._check_leaf("pickled")
        return self._array, self.requires_grad, self.name, self.grad

    def __setstate__(self, state: Any) -> None:
        array, requires_grad, name, grad = state
        Tensor.__init__(self, array, requires_grad=requires_grad, name=name)
        self.grad = grad

    def __reduce__(self) -> Any:
        return _unpickled, (type(self),), self.__getstate__()

    def _check_leaf(self, action: str) -> None:
        if self._node is not None and self._node.primitive is not None:
            message = (
                f"{self._node.describe()} has a history, and a recorded graph cannot be {action}; "
                "use t.detach() for its value alone"
            )
            raise TypeError(message)

    # ------------------------------------------------------------------ indexing

    def __getitem__(self, key: Any) -> Tensor:
        return ops.index(self, key)

    def __setitem__(self, key: Any, value: Operand) -> None:
        self._check_writable("t[…] = …", "t = np.where(mask, value, t)", value)
        parts = key if isinstance(key, tuple) else (key,)
        plain = tuple([part._array if isinstance(part, Tensor) else part for part in parts])
        assign(self, value, plain)

    # ------------------------------------------------------------------ NumPy's protocol

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self._node is not None and self._node.requires_grad:
            message = (
                "a plain array would lose this tensor's gradient; "
                "write `t.data` or `t.detach()` to take the value alone"
            )
            raise TypeError(message)
        if tracers:
            _must_not_escape(self, "a plain array")
        if copy is None and dtype is None:
            return self._array
        return np.array(self._array, dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        operation = _UFUNCS.get(ufunc)
        if method != "__call__" or operation is None or kwargs:
            if any(isinstance(x, Tensor) and x.requires_grad for x in inputs) or "out" in kwargs:
                raise _no_gradient(ufunc.__name__ + (f".{method}" if method != "__call__" else ""), kwargs)
            arrays = [_plain(x) for x in inputs]
            return getattr(ufunc, method)(*arrays, **kwargs)
        return operation(*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        operation = _FUNCTIONS.get(function)
        if operation is not None:
            try:
                return operation(*args, **kwargs)
            except TypeError:
                if _accepts(operation, args, kwargs):
                    raise
                # else it is an argument of NumPy's that the operation does not have
        if function in (np.shape, np.ndim, np.size):
            return function(_plain(args[0], values_only=True), *args[1:], **kwargs)
        try:
            return function(*_plain(args), **_plain(kwargs))
        except _GradientLostError:
            module = function.__module__.removeprefix("numpy").lstrip(".")
            name = f"{module}.{function.__name__}" if module else function.__name__
            raise _no_gradient(name, kwargs) from None

    # ------------------------------------------------------------------ operations, as methods

    def sum(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """Σ along the axes (all by default)."""
        return ops.sum(self, axis, keepdims=keepdims)

    def mean(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """Σ / n along the axes (all by default)."""
        return ops.mean(self, axis, keepdims=keepdims)

    def max(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """Return the largest element along the axes; ties share the gradient evenly."""
        return ops.max(self, axis, keepdims=keepdims)

    def min(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """Return the smallest element along the axes; ties share the gradient evenly."""
        return ops.min(self, axis, keepdims=keepdims)

    def var(self, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """Σ (x − mean)² / (n − ddof)."""
        return ops.var(self, axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """√var; the derivative is 0 where all elements are equal."""
        return ops.std(self, axis, ddof=ddof, keepdims=keepdims)

    def prod(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """Π along the axes (all by default)."""
        return ops.prod(self, axis, keepdims=keepdims)

    def norm(self, ord: float | None = None, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """Vector norm: 2 (by default), 1 or inf."""
        return ops.norm(self, ord, axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """Running sum along an axis."""
        return ops.cumsum(self, axis)

    def logsumexp(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """ln Σ eˣ, without overflow."""
        return ops.logsumexp(self, axis, keepdims=keepdims)

    def softmax(self, axis: Axes = -1) -> Tensor:
        """eˣ / Σ eˣ along the axis."""
        return ops.softmax(self, axis)

    def log_softmax(self, axis: Axes = -1) -> Tensor:
        """x − ln Σ eˣ along the axis."""
        return ops.log_softmax(self, axis)

    def argmax(self, axis: int | None = None) -> Tensor:
        """Return the position of the largest element: the first of those that tie."""
        return ops.argmax(self, axis=axis)

    def argmin(self, axis: int | None = None) -> Tensor:
        """Return the position of the smallest element: the first of those that tie."""
        return ops.argmin(self, axis=axis)

    def exp(self) -> Tensor:
        """eˣ."""
        return ops.exp(self)

    def expm1(self) -> Tensor:
        """eˣ − 1, exact near 0."""
        return ops.expm1(self)

    def log(self) -> Tensor:
        """ln x."""
        return ops.log(self)

    def log1p(self) -> Tensor:
        """ln (1 + x), exact near 0."""
        return ops.log1p(self)

    def sqrt(self) -> Tensor:
        """√x."""
        return ops.sqrt(self)

    def sin(self) -> Tensor:
        """sin x."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """cos x."""
        return ops.cos(self)

    def tanh(self) -> Tensor:
        """tanh x."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """σ(x) = 1 / (1 + e⁻ˣ)."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """max(x, 0)."""
        return ops.relu(self)

    def abs(self) -> Tensor:
        """|x|; the derivative at 0 is 0."""
        return ops.absolute(self)

    def sign(self) -> Tensor:
        """−1, 0 or 1; the derivative is 0."""
        return ops.sign(self)

    def clip(self, a_min: Operand | None = None, a_max: Operand | None = None) -> Tensor:
        """min(max(x, a_min), a_max); the derivative on a bound is 1."""
        return ops.clip(self, a_min, a_max)

    def reshape(self, *shape: Any) -> Tensor:
        """Give the same elements another shape; one entry may be −1."""
        return ops.reshape(self, *shape)

    def ravel(self) -> Tensor:
        """Return all elements on one axis."""
        return ops.reshape(self, -1)

    flatten = ravel

    def transpose(self, *axes: Any) -> Tensor:
        """Reverse the axes, or put them in the given order."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return ops.transpose(self, order)

    @property
    def T(self) -> Tensor:  # noqa: N802 - NumPy's name
        """The axes in reverse order."""
        return ops.transpose(self)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Exchange two axes."""
        return ops.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Axes = None) -> Tensor:
        """Remove axes of length 1."""
        return ops.squeeze(self, axis)

    def repeat(self, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
        """Repeat each element."""
        return ops.repeat(self, repeats, axis)

    def dot(self, other: Operand) -> Tensor:
        """Inner or matrix product."""
        return ops.dot(self, other)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """Return a copy in another dtype; a gradient is cast back on its way, and integers have none."""
        return ops.astype(self, dtype=dtype)


class Parameter(Tensor):
    """A tensor that a module trains: a copy of ``data``, float32 unless ``dtype`` says otherwise.

    >>> from microgradnet import Parameter
    >>> Parameter([1.0, 2.0])
    Parameter([1., 2.], dtype=float32, requires_grad=True)
    """

    __slots__ = ()

    def __init__(
        self,
        data: Operand,
        requires_grad: bool = True,
        dtype: DTypeLike = np.float32,
        *,
        name: str | None = None,
    ) -> None:
        array = np.array(data._array if isinstance(data, Tensor) else data, dtype, order="C")
        super().__init__(array, requires_grad, name=name)


def _must_not_escape(tensor: Tensor, how: str) -> None:
    """Have the recorder of a step that is being compiled refuse that a value leaves the recording."""
    recorder = tracer()
    if recorder is not None:
        recorder.refuse_escape(tensor, how)


def _unpickled(kind: type[Tensor]) -> Tensor:
    return kind.__new__(kind)


def _no_gradient(name: str, kwargs: dict[str, Any]) -> TypeError:
    """Return the error for a NumPy call that would drop a gradient, or write where nobody notices."""
    given = f" with {', '.join([f'{key}=' for key in kwargs])}" if kwargs else ""
    message = f"np.{name}{given} has no gradient here; take `t.data` to compute on the values alone"
    return TypeError(message)


def _accepts(function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


class _GradientLostError(TypeError):
    """A function without a gradient met a tensor with one."""


def _plain(value: Any, *, values_only: bool = False) -> Any:
    """Replace tensors by their arrays, inside lists, tuples and dicts too."""
    if isinstance(value, Tensor):
        if value.requires_grad and not values_only:
            raise _GradientLostError
        if tracers and not values_only:
            _must_not_escape(value, "a plain array")
        return value._array
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(item, values_only=values_only) for item in value])
    if isinstance(value, dict):
        return {key: _plain(item, values_only=values_only) for key, item in value.items()}
    return value


def _where(condition: Any, *values: Any) -> Any:
    if len(values) != 2:
        message = "np.where(condition) without two values has no gradient; write np.nonzero(condition.data)"
        raise TypeError(message)
    return ops.where(condition, *values)


def _pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Any:
    if mode != "constant":
        message = f"np.pad with mode={mode!r} has no gradient here; only 'constant' does"
        raise TypeError(message)
    return ops.pad(x, pad_width, constant_values=constant_values)


_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: ops.add,
    np.subtract: ops.sub,
    np.multiply: ops.mul,
    np.divide: ops.div,
    np.negative: ops.neg,
    np.positive: lambda x: x,
    np.power: ops.power,
    np.float_power: ops.power,
    np.square: lambda x: x * x,
    np.matmul: ops.matmul,
    np.absolute: ops.absolute,
    np.exp: ops.exp,
    np.expm1: ops.expm1,
    np.log: ops.log,
    np.log1p: ops.log1p,
    np.sqrt: ops.sqrt,
    np.sin: ops.sin,
    np.cos: ops.cos,
    np.tanh: ops.tanh,
    np.sign: ops.sign,
    np.maximum: ops.maximum,
    np.minimum: ops.minimum,
    np.equal: ops.equal,
    np.not_equal: ops.not_equal,
    np.less: ops.less,
    np.less_equal: ops.less_equal,
    np.greater: ops.greater,
    np.greater_equal: ops.greater_equal,
    np.logical_and: ops.logical_and,
    np.logical_or: ops.logical_or,
    np.logical_not: ops.logical_not,
    np.isfinite: ops.isfinite,
    np.isnan: ops.isnan,
}

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: ops.sum,
    np.mean: ops.mean,
    np.max: ops.max,
    np.amax: ops.max,
    np.min: ops.min,
    np.amin: ops.min,
    np.var: ops.var,
    np.std: ops.std,
    np.prod: ops.prod,
    np.linalg.norm: ops.norm,
    np.cumsum: ops.cumsum,
    np.argmax: lambda x, axis=None: ops.argmax(x, axis=axis),
    np.argmin: lambda x, axis=None: ops.argmin(x, axis=axis),
    np.clip: ops.clip,
    np.where: _where,
    np.reshape: ops.reshape,
    np.ravel: lambda x: ops.reshape(x, -1),
    np.transpose: ops.transpose,
    np.swapaxes: ops.swapaxes,
    np.expand_dims: ops.expand_dims,
    np.squeeze: ops.squeeze,
    np.broadcast_to: ops.broadcast_to,
    np.concatenate: ops.concatenate,
    np.stack: ops.stack,
    np.split: ops.split,
    np.pad: _pad,
    np.flip: ops.flip,
    np.repeat: ops.repeat,
    np.dot: ops.dot,
    np.outer: ops.outer,
    np.einsum: ops.einsum,
}
