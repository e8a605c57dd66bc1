"""Tensor and Primitive: what is recorded, and under which layer's name.

A program is a chain of primitives y = f(x_1, ..., x_n).  Evaluating one does two things:
its ``forward`` computes the array, and, if some input wants a gradient, a Node
remembers which primitive ran, on what, and the values that its rules will need.  That
is all the recording there is; ``autograd`` walks the nodes afterwards.

A primitive is declared where a formula sheet would print it:

>>> from minigrad.tensor import Primitive, Tensor
>>> def cube(x): return x * x * x
>>> cube = Primitive(cube, register=False)
>>> @cube.vjp("x", "x̄ = 3 x² ȳ")
... def cube_x(g, x): return g * x * x * 3

The names of a rule's parameters say what it needs, and only that is kept: ``g`` is the
cotangent ȳ = dL/dy, ``y`` the output, any argument or keyword of the forward stands for
itself, ``x_shape`` for the shape of argument ``x``.  A rule computes with Tensors, so it
can be differentiated again; that is why gradients of every order are there.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, overload

import numpy as np

from minigrad.errors import DtypeError, GraphError, MinigradError, ShapeError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "PRIMITIVES",
    "Array",
    "Node",
    "Primitive",
    "Rule",
    "Shape",
    "Tensor",
    "apply",
    "as_tensor",
    "current_scope",
    "enable_grad",
    "evaluate",
    "from_numpy",
    "interpreting",
    "is_grad_enabled",
    "no_grad",
    "primitive",
    "scope",
]

Array: TypeAlias = "npt.NDArray[Any]"  # a string: importing numpy.typing takes milliseconds
Shape = tuple[int, ...]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_grad_enabled: ContextVar[bool] = ContextVar("minigrad_grad_enabled", default=True)
_scope: ContextVar[str] = ContextVar("minigrad_scope", default="")
_interpreter: ContextVar[Any] = ContextVar("minigrad_interpreter", default=None)
_births = itertools.count()


class Version:
    """Counts in-place changes of one piece of memory; views share their base's."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Tensor:
    """An array of float32 or float64 that remembers how it was computed.

    Parameters
    ----------
    data : array_like
        Copied.  Python numbers become float64, as NumPy has it; an array keeps its dtype.
    requires_grad : bool
        Record what is done with this tensor, so that ``backward`` fills ``grad``.
    dtype : float32 or float64, optional
        Convert to this dtype; without it nothing is converted.

    Attributes
    ----------
    array : ndarray
        The values.  Do not write to them: use ``copy_`` and its like, which count.
    grad : Tensor or None
        The sum of dL/dx over all ``backward`` calls, for a leaf that requires it.

    Raises
    ------
    DtypeError
        For any other dtype.
    """

    __slots__ = ("__weakref__", "array", "grad", "node", "requires_grad", "version")
    __array_ufunc__ = None  # np.float64(2) * t asks t, not NumPy

    array: Array
    grad: Tensor | None
    node: Node | None
    requires_grad: bool
    version: Version

    def __init__(
        self,
        data: npt.ArrayLike | Tensor,
        requires_grad: bool = False,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        source = data.array if isinstance(data, Tensor) else data
        if dtype is None and not isinstance(source, (np.ndarray, np.generic)):
            dtype = np.float64
        self.array = _checked(np.array(source, dtype=dtype))
        self.grad, self.node, self.version = None, None, Version()
        self.requires_grad = requires_grad

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.array.size

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was given, not computed by a recorded operation."""
        return self.node is None

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        values = np.array2string(self.array, separator=", ", prefix="Tensor(", threshold=50)
        how = f", grad_fn={self.node.primitive.name}" if self.node else ""
        wants = ", requires_grad=True" if self.requires_grad and not self.node else ""
        return f"Tensor({values}, dtype={self.dtype}{how}{wants})"

    def numpy(self) -> Array:
        """A read-only view of the values."""
        view: Array = self.array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self.dtype:
            if copy is False:
                raise ValueError(f"a tensor of {self.dtype} cannot become {dtype} without a copy")
            return self.array.astype(dtype)
        return self.array.copy() if copy else self.numpy()

    def __dlpack__(self, **how: Any) -> Any:
        return self.detach().array.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def item(self) -> float:
        """The value of a tensor of one element, as a Python float."""
        return float(self.array.item())

    def detach(self) -> Tensor:
        """The same values (and memory), cut off from the graph."""
        return _wrap(self.array, version=self.version)

    def copy_(self, values: npt.ArrayLike | Tensor) -> Tensor:
        """Overwrite the values in place, and count it.

        Raises
        ------
        GraphError
            If the tensor requires a gradient and recording is on: an overwritten value
            has no derivative.  Say ``with no_grad():``.
        ShapeError, DtypeError
            If the new values do not have this tensor's shape and dtype.
        """
        if self.requires_grad and _grad_enabled.get():
            raise GraphError("in-place change of a tensor that requires grad: use mg.no_grad()")
        new = np.asarray(values.array if isinstance(values, Tensor) else values)
        if new.shape != self.shape:
            raise ShapeError(f"copy_: expected shape {self.shape}, got {new.shape}")
        if new.dtype != self.dtype:
            raise DtypeError(f"copy_: expected {self.dtype}, got {new.dtype}")
        self.array[...] = new
        self.version.count += 1
        return self

    if TYPE_CHECKING:  # attached by autograd.py and, in one table, by ops/__init__.py

        def backward(
            self,
            cotangent: Tensor | Array | None = None,
            retain_graph: bool = False,
            create_graph: bool = False,
        ) -> None: ...
        def __getattr__(self, name: str) -> Callable[..., Tensor]: ...
        def __add__(self, other: Operand) -> Tensor: ...
        def __radd__(self, other: Operand) -> Tensor: ...
        def __sub__(self, other: Operand) -> Tensor: ...
        def __rsub__(self, other: Operand) -> Tensor: ...
        def __mul__(self, other: Operand) -> Tensor: ...
        def __rmul__(self, other: Operand) -> Tensor: ...
        def __truediv__(self, other: Operand) -> Tensor: ...
        def __rtruediv__(self, other: Operand) -> Tensor: ...
        def __matmul__(self, other: Operand) -> Tensor: ...
        def __pow__(self, exponent: float) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...


Operand: TypeAlias = "Tensor | float | np.generic | Array"


class Rule(NamedTuple):
    """How the cotangent of one argument follows from the cotangent of the output."""

    function: Callable[..., Tensor]
    needs: tuple[str, ...]
    formula: str


def _positional(function: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """The names of the positional parameters, and whether they are one ``*name``.

    Read off the code object: ``inspect`` would take longer than all of minigrad's import.
    """
    code = function.__code__
    if code.co_flags & 0x04:  # *args follow the keyword-only names
        return (code.co_varnames[code.co_argcount + code.co_kwonlyargcount],), True
    return code.co_varnames[: code.co_argcount], False


class Node:
    """One recorded step: which primitive, on what, under which layer's name.

    ``sources`` holds, per argument, where its cotangent goes: the Node that computed it,
    the leaf Tensor itself, or None.  ``saved`` holds the values the rules named, with
    the version each had.  ``given`` tells a constant from an optional argument left out.
    ``birth`` grows with time: a node is younger than its inputs.
    """

    __slots__ = (
        "birth", "dtype", "given", "params", "primitive", "saved", "scope", "shape", "sources",
    )  # fmt: skip

    def __init__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any], y: Tensor
    ) -> None:
        self.birth = next(_births)
        self.primitive, self.params = op, params
        self.scope, self.shape, self.dtype = _scope.get(), y.shape, y.dtype
        self.sources = tuple(source(x) for x in inputs)
        self.given = tuple(x is not None for x in inputs)
        self.saved: dict[str, Any] | None = {}

    def __repr__(self) -> str:
        where = f" in {self.scope}" if self.scope else ""
        return f"<{self.primitive.name}{where}, output {self.shape}>"


def source(x: Tensor | None) -> Node | Tensor | None:
    """Where the cotangent of x goes: its node, itself if a leaf, nowhere if not wanted."""
    if x is None or not x.requires_grad:
        return None
    return x.node or x


PRIMITIVES: dict[str, Primitive] = {}
Interpreter: TypeAlias = "Callable[[Primitive, Sequence[Tensor | None], dict[str, Any]], Tensor]"


class Primitive:
    """One function with its shape rule and its VJP rules.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays, **params) -> array``, or ``(array, {name: array})`` where the
        named arrays are kept for the rules (the indices of a max pool).  Positional
        parameters are the arguments (None is allowed where the default is None);
        keyword-only parameters are static.  ``*xs`` takes any number of arguments.
    view : bool
        The output shares the memory of its first argument.

    The default shape rule is that of an elementwise function: all shapes equal.
    """

    def __init__(
        self, forward: Callable[..., Any], view: bool = False, register: bool = True
    ) -> None:
        self.forward, self.view = forward, view
        self.name = forward.__name__.lstrip("_")
        self.__doc__ = forward.__doc__
        self.arguments, self.variadic = _positional(forward)
        self.rules: dict[str, Rule] = {}
        self.shape_rule: Callable[..., Shape] = _same_shape
        self.saves: frozenset[str] = frozenset()
        if register:
            PRIMITIVES[self.name] = self

    def __call__(self, *inputs: Tensor | None, **params: Any) -> Tensor:
        return apply(self, inputs, params)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind as a function does, so that a primitive can be a method."""
        return self if instance is None else functools.partial(self, instance)

    def shape(self, rule: Callable[..., Shape]) -> Callable[..., Shape]:
        """Declare the shape rule: ``rule(*shapes, **params) -> shape``."""
        self.shape_rule = rule
        return rule

    def vjp(
        self, argument: str, formula: str
    ) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
        """Declare the rule of one argument; ``formula`` is what ``explain`` prints."""
        if argument not in self.arguments:
            raise ValueError(f"{self.name} has no argument {argument!r}")

        def declare(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
            needs, _ = _positional(function)
            self.rules[argument] = Rule(function, needs, formula)
            self.saves |= frozenset(needs)
            return function

        return declare


@overload
def primitive(forward: Callable[..., Any]) -> Primitive: ...
@overload
def primitive(*, view: bool) -> Callable[[Callable[..., Any]], Primitive]: ...
def primitive(forward: Callable[..., Any] | None = None, *, view: bool = False) -> Any:
    """Decorator form of :class:`Primitive`."""
    return Primitive(forward, view) if forward else lambda f: Primitive(f, view)


def apply(op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]) -> Tensor:
    """Evaluate a primitive and, if some input wants a gradient, record it.

    Raises
    ------
    DtypeError
        If the inputs do not share one dtype: minigrad never casts in silence.
    """
    interpreter = _interpreter.get()
    if interpreter is not None:
        interpreted: Tensor = interpreter(op, inputs, params)
        return interpreted
    return evaluate(op, inputs, params)


def evaluate(op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]) -> Tensor:
    """What ``apply`` does where no other interpreter stands in between."""
    try:
        _one_dtype(op, inputs)
        result = op.forward(*(None if x is None else x.array for x in inputs), **params)
    except MinigradError as error:
        raise under_scope(error) from None
    array, extra = result if type(result) is tuple else (result, None)
    first = inputs[0]
    y = _wrap(array, first.version if op.view and first is not None else None)
    if _grad_enabled.get() and any(x is not None and x.requires_grad for x in inputs):
        y.requires_grad = True
        y.node = Node(op, inputs, params, y)
        y.node.saved = _kept(op, inputs, y, extra)
    return y


def _kept(
    op: Primitive, inputs: Sequence[Tensor | None], y: Tensor, extra: dict[str, Array] | None
) -> dict[str, Any]:
    """The values that the rules of ``op`` name, each Tensor with its present version."""
    kept: dict[str, Any] = {}
    if op.variadic:
        kept[op.arguments[0] + "_shapes"] = tuple(x.shape for x in inputs if x is not None)
    for name, x in zip(op.arguments, inputs, strict=False):
        if name + "_shape" in op.saves and x is not None:
            kept[name + "_shape"] = x.shape
        if name in op.saves:
            kept[name] = x if x is None else (x, x.version.count)
    if "y" in op.saves:
        kept["y"] = (_wrap(y.array, y.version), y.version.count)
    return kept | extra if extra else kept


def _one_dtype(op: Primitive, inputs: Sequence[Tensor | None]) -> None:
    first = None
    for x in inputs:
        if x is None:
            continue
        if not isinstance(x, Tensor):
            raise DtypeError(f"{op.name} takes Tensors, not {type(x).__name__}: use mg.Tensor(...)")
        if first is None:
            first = x.array.dtype
        elif x.array.dtype != first:
            raise DtypeError(
                f"{op.name}: the inputs are of {first} and {x.dtype}; "
                "minigrad never casts in silence: use astype"
            )


def under_scope(error: MinigradError) -> MinigradError:
    where = _scope.get()
    if where and not getattr(error, "layer", None):
        error.args = (f"layer {where}: {error}",)
        error.layer = where  # type: ignore[attr-defined]
    return error


def _same_shape(*shapes: Shape, **_: Any) -> Shape:
    if any(s != shapes[0] for s in shapes):
        raise ShapeError(f"expected equal shapes, got {', '.join(map(str, shapes))}")
    return shapes[0]


def _checked(array: Array) -> Array:
    if array.dtype not in FLOATS:
        raise DtypeError(
            f"a Tensor holds float32 or float64, not {array.dtype}; "
            "convert it yourself, or pass indices and labels as NumPy arrays"
        )
    return array


def _wrap(array: Array, version: Version | None = None) -> Tensor:
    """A leaf around ``array`` itself, without checks or a copy."""
    t = Tensor.__new__(Tensor)
    t.array = np.asarray(array)
    t.version = version or Version()
    t.grad, t.node, t.requires_grad = None, None, False
    return t


def from_numpy(array: Array) -> Tensor:
    """A Tensor that shares the array's memory (``Tensor(array)`` copies).

    Changes that you make to ``array`` afterwards are not counted.
    """
    return _wrap(_checked(np.asarray(array)))


def as_tensor(value: Operand, dtype: npt.DTypeLike | None = None) -> Tensor:
    """``value`` itself if it is a Tensor; numbers and 0-d arrays take ``dtype``."""
    if isinstance(value, Tensor):
        return value
    scalar = np.ndim(value) == 0
    return _wrap(_checked(np.asarray(value, dtype=dtype if scalar else None)))


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return _grad_enabled.get()


def current_scope() -> str:
    """The dotted name of the layer that is running, "" outside of any."""
    return _scope.get()


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def no_grad() -> Any:
    """Record nothing inside the ``with`` block (or the decorated function)."""
    return _set(_grad_enabled, False)


def enable_grad() -> Any:
    """Record again inside a ``no_grad`` block."""
    return _set(_grad_enabled, True)


def interpreting(interpreter: Interpreter) -> Any:
    """Hand every primitive inside the ``with`` block to ``interpreter`` instead of running it.

    ``interpreter(op, inputs, params) -> Tensor`` may call ``evaluate`` for the usual meaning.
    """
    return _set(_interpreter, interpreter)


def scope(name: str) -> Any:
    """Put ``name`` behind the current layer's name inside the ``with`` block.

    >>> with scope("blocks"), scope("3"):
    ...     current_scope()
    'blocks.3'
    """
    outer = _scope.get()
    return _set(_scope, f"{outer}.{name}" if outer else name)
