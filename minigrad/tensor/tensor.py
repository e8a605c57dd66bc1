"""Tensor: values that remember how they were computed.

The methods that compute are the functions of ``minigrad.ops``, one floor above, which put
themselves into ``OPERATIONS``; ``help(minigrad.sum)`` says what ``Tensor.sum`` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minigrad.arguments import flag, quoted
from minigrad.errors import ArgumentError, DtypeError, GraphError, ShapeError
from minigrad.tensor import hints
from minigrad.tensor.convert import (
    Array,
    checked,
    float_dtype,
    foreign,
    get_default_dtype,
    numbers,
)
from minigrad.tensor.modes import is_grad_enabled
from minigrad.tensor.values import Values, Version

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "OPERATIONS",
    "Operand",
    "Tensor",
    "as_tensor",
    "constant",
    "expect_tensor",
    "from_dlpack",
    "from_numpy",
    "tensor",
    "wrap",
]

OPERATIONS: dict[str, Callable[..., Tensor]] = {}
Operand: TypeAlias = "Tensor | float | np.generic | Array"
Axes: TypeAlias = "int | Sequence[int] | None"
Real: TypeAlias = float  # inside the class, float is a method


class Tensor(Values):
    """An array of float32 or float64 that remembers how it was computed.

    Parameters
    ----------
    data : array_like
        Copied.  Python numbers and lists of them take the default dtype, float32; an array,
        also another library's, keeps its own.
    requires_grad : bool
        Record what is done with this tensor, so that ``backward`` fills ``grad``.
    dtype : float32 or float64, optional
        Convert to this dtype.

    Attributes
    ----------
    array : ndarray
        The values.  Do not write to them: use ``copy_`` and its like, which count.
    grad : Tensor or None
        The sum of dL/dx over all ``backward`` calls, for a leaf that requires it.

    Raises
    ------
    DtypeError
        For an array of any other dtype.
    ArgumentError
        If the data are no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4.], dtype=float32)
    """

    __slots__ = ("grad",)

    grad: Tensor | None

    def __init__(
        self,
        data: npt.ArrayLike | Values,
        requires_grad: bool = False,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        source = data.array if isinstance(data, Values) else foreign(data)
        if source is None:
            to = get_default_dtype() if dtype is None else float_dtype("Tensor", dtype)
            self.array = numbers("Tensor", data, to)
        elif dtype is None:
            self.array = checked(np.array(source))
        elif source.dtype.kind in "iufb":
            self.array = np.array(source, float_dtype("Tensor", dtype))
        else:
            raise DtypeError(f"Tensor: an array of {source.dtype} holds no numbers")
        self.grad, self.node, self.version = None, None, Version()
        self.requires_grad = flag("Tensor", "requires_grad", requires_grad)

    if not TYPE_CHECKING:  # for the type checker a name that is not there is an error

        def __getattr__(self, name: str) -> object:
            raise hints.missing("Tensor", name, hints.METHODS)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def backward(
        self,
        cotangent: Tensor | Array | None = None,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add dL/dx to ``x.grad`` for every leaf x; see ``minigrad.backward``."""
        OPERATIONS["backward"](self, cotangent, retain_graph, create_graph)

    # The same values, and changes of them in place.

    def detach(self) -> Tensor:
        """The same values (and memory), cut off from the graph."""
        return wrap(self.array, self.version)

    def clone(self) -> Tensor:
        """A copy with memory of its own, through which gradients flow; see ``minigrad.clone``."""
        return OPERATIONS["clone"](self)

    @property
    def data(self) -> Tensor:
        """The values cut off from the graph, as ``detach``; assigning overwrites them."""
        return self.detach()

    @data.setter
    def data(self, values: npt.ArrayLike | Tensor) -> None:
        self._write("data", values)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients of this leaf are wanted, and return it."""
        if self.node is not None:
            raise GraphError("requires_grad_ is for leaves: use detach() first")
        self.requires_grad = flag("requires_grad_", "requires_grad", requires_grad)
        return self

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
        self._check_silent()
        self._write("copy_", values)
        return self

    def zero_(self) -> Tensor:
        """Overwrite every value with 0, as ``copy_`` does."""
        return self.fill_(0.0)

    def fill_(self, value: Real) -> Tensor:
        """Overwrite every value with a number, as ``copy_`` does."""
        self._check_silent()
        self._writable()[...] = numbers("fill_", value, self.dtype)
        self.version.count += 1
        return self

    def __setitem__(self, index: Any, values: Operand) -> None:
        self._check_silent()
        if isinstance(values, Tensor) and values.requires_grad and is_grad_enabled():
            raise GraphError(
                "x[index] = y has no gradient in y: use mg.where, mg.concat, or mg.no_grad()"
            )
        new = as_tensor(values, self.dtype, "x[index] = y").array
        if new.dtype != self.dtype:
            raise DtypeError(f"x[index] = y: expected {self.dtype}, got {new.dtype}")
        try:
            self._writable()[index] = new
        except (IndexError, ValueError) as error:
            raise ShapeError(f"x[{quoted(index)}] of shape {self.shape}: {error}") from None
        self.version.count += 1

    def _check_silent(self) -> None:
        if self.requires_grad and is_grad_enabled():
            raise GraphError("in-place change of a tensor that requires grad: use mg.no_grad()")

    def _write(self, name: str, values: object) -> None:
        new = as_tensor(values, self.dtype, name).array
        if new.shape != self.shape:
            raise ShapeError(f"{name}: expected shape {self.shape}, got {new.shape}")
        if new.dtype != self.dtype:
            raise DtypeError(f"{name}: expected {self.dtype}, got {new.dtype}")
        self._writable()[...] = new
        self.version.count += 1

    def _writable(self) -> Array:
        """The memory to write to."""
        if not self.array.flags.writeable:
            raise GraphError("this memory is read-only or repeated: write to a clone()")
        return self.array

    def _become(self, new: Tensor) -> Tensor:
        """Take the values of ``new``, which was computed from this tensor, in place."""
        if self.is_leaf:
            self._check_silent()
        if new.requires_grad and self.version.shared:
            raise GraphError(
                "an in-place change of a view, or of a tensor that has views, cannot be recorded: "
                "write x = x + y, or use mg.no_grad()"
            )
        self._write("in-place change", new)
        if new.requires_grad:
            self.node, self.requires_grad = new.node, True
        return self

    def __iadd__(self, other: Operand) -> Tensor:
        return self._become(OPERATIONS["add"](self, other))

    def __isub__(self, other: Operand) -> Tensor:
        return self._become(OPERATIONS["sub"](self, other))

    def __imul__(self, other: Operand) -> Tensor:
        return self._become(OPERATIONS["mul"](self, other))

    def __itruediv__(self, other: Operand) -> Tensor:
        return self._become(OPERATIONS["div"](self, other))

    def add_(self, other: Operand, alpha: Real = 1) -> Tensor:
        """x += alpha other, in place."""
        return self._become(OPERATIONS["add"](self, _scaled(other, alpha)))

    def sub_(self, other: Operand, alpha: Real = 1) -> Tensor:
        """x -= alpha other, in place."""
        return self._become(OPERATIONS["sub"](self, _scaled(other, alpha)))

    def mul_(self, other: Operand) -> Tensor:
        """x *= other, in place."""
        return self.__imul__(other)

    def div_(self, other: Operand) -> Tensor:
        """x /= other, in place."""
        return self.__itruediv__(other)

    # Arithmetic.

    def __add__(self, other: Operand) -> Tensor:
        return OPERATIONS["add"](self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return OPERATIONS["add"](other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return OPERATIONS["sub"](self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return OPERATIONS["sub"](other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return OPERATIONS["mul"](self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return OPERATIONS["mul"](other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return OPERATIONS["div"](self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return OPERATIONS["div"](other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return OPERATIONS["matmul"](self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return OPERATIONS["matmul"](other, self)

    def __pow__(self, exponent: Operand) -> Tensor:
        return OPERATIONS["power"](self, exponent)

    def __rpow__(self, base: Operand) -> Tensor:
        return OPERATIONS["power"](base, self)

    def __neg__(self) -> Tensor:
        return OPERATIONS["neg"](self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return OPERATIONS["absolute"](self)

    def __getitem__(self, index: Any) -> Tensor:
        return OPERATIONS["getitem"](self, index)

    def matmul(self, other: Operand) -> Tensor:
        """The product of matrices, x @ other; see ``minigrad.matmul``."""
        return OPERATIONS["matmul"](self, other)

    def pow(self, exponent: Operand) -> Tensor:
        """x ** exponent; see ``minigrad.power``."""
        return OPERATIONS["power"](self, exponent)

    def abs(self) -> Tensor:
        """|x|; see ``minigrad.absolute``."""
        return OPERATIONS["absolute"](self)

    def exp(self) -> Tensor:
        """e^x; see ``minigrad.exp``."""
        return OPERATIONS["exp"](self)

    def log(self) -> Tensor:
        """ln x; see ``minigrad.log``."""
        return OPERATIONS["log"](self)

    def sqrt(self) -> Tensor:
        """The square root; see ``minigrad.sqrt``."""
        return OPERATIONS["sqrt"](self)

    def clamp(self, min: Real | None = None, max: Real | None = None) -> Tensor:
        """x held between two bounds; see ``minigrad.clamp``."""
        return OPERATIONS["clamp"](self, min, max)

    # Activations.

    def relu(self) -> Tensor:
        """max(x, 0); see ``minigrad.relu``."""
        return OPERATIONS["relu"](self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + e^-x); see ``minigrad.sigmoid``."""
        return OPERATIONS["sigmoid"](self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent; see ``minigrad.tanh``."""
        return OPERATIONS["tanh"](self)

    def softmax(self, axis: int = -1, *, dim: int | None = None) -> Tensor:
        """e^x over its sum along an axis; see ``minigrad.softmax``."""
        return OPERATIONS["softmax"](self, axis, dim=dim)

    def log_softmax(self, axis: int = -1, *, dim: int | None = None) -> Tensor:
        """The logarithm of the softmax; see ``minigrad.log_softmax``."""
        return OPERATIONS["log_softmax"](self, axis, dim=dim)

    # Reductions.

    def sum(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """The sum over axes; see ``minigrad.sum``."""
        return OPERATIONS["sum"](self, axis, keepdims, dim=dim, keepdim=keepdim)

    def mean(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """The mean over axes; see ``minigrad.mean``."""
        return OPERATIONS["mean"](self, axis, keepdims, dim=dim, keepdim=keepdim)

    def var(
        self,
        axis: Axes = None,
        keepdims: bool = False,
        correction: int = 1,
        *,
        dim: Axes = None,
        keepdim: bool = False,
    ) -> Tensor:
        """The variance over axes; see ``minigrad.var``."""
        return OPERATIONS["var"](self, axis, keepdims, correction, dim=dim, keepdim=keepdim)

    def std(
        self,
        axis: Axes = None,
        keepdims: bool = False,
        correction: int = 1,
        *,
        dim: Axes = None,
        keepdim: bool = False,
    ) -> Tensor:
        """The square root of the variance; see ``minigrad.std``."""
        return OPERATIONS["std"](self, axis, keepdims, correction, dim=dim, keepdim=keepdim)

    def max(self, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """The maximum over axes; see ``minigrad.max``."""
        return OPERATIONS["max"](self, axis=axis, keepdims=keepdims)

    def min(self, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """The minimum over axes; see ``minigrad.min``."""
        return OPERATIONS["min"](self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, dim: int | None = None) -> Array:
        """Where the first maximum is, as an array of integers; see ``minigrad.argmax``."""
        return np.asarray(OPERATIONS["argmax"](self, axis, dim=dim))

    def argmin(self, axis: int | None = None, *, dim: int | None = None) -> Array:
        """Where the first minimum is, as an array of integers; see ``minigrad.argmin``."""
        return np.asarray(OPERATIONS["argmin"](self, axis, dim=dim))

    # Shapes and dtypes.

    @property
    def T(self) -> Tensor:  # noqa: N802  as in NumPy and PyTorch
        """The axes in reverse order."""
        return OPERATIONS["permute"](self, range(self.ndim)[::-1])

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The same elements under another shape; see ``minigrad.reshape``."""
        return OPERATIONS["reshape"](self, *shape)

    def view(self, *shape: int | Sequence[int]) -> Tensor:
        """The same elements under another shape, as ``reshape``."""
        return OPERATIONS["reshape"](self, *shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Several axes as one; see ``minigrad.flatten``."""
        return OPERATIONS["flatten"](self, start_dim, end_dim)

    def squeeze(self, axis: int | None = None, *, dim: int | None = None) -> Tensor:
        """Without axes of length 1; see ``minigrad.squeeze``."""
        return OPERATIONS["squeeze"](self, axis, dim=dim)

    def unsqueeze(self, axis: int | None = None, *, dim: int | None = None) -> Tensor:
        """With one more axis of length 1; see ``minigrad.unsqueeze``."""
        return OPERATIONS["unsqueeze"](self, axis, dim=dim)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged; see ``minigrad.transpose``."""
        return OPERATIONS["transpose"](self, dim0, dim1)

    def permute(self, *axes: int | Sequence[int]) -> Tensor:
        """The axes in another order; see ``minigrad.permute``."""
        return OPERATIONS["permute"](self, *axes)

    def broadcast_to(self, shape: int | Sequence[int]) -> Tensor:
        """Repeated to a shape; see ``minigrad.broadcast_to``."""
        return OPERATIONS["broadcast_to"](self, shape)

    def astype(self, dtype: npt.DTypeLike) -> Tensor:
        """In float32 or float64; see ``minigrad.astype``."""
        return OPERATIONS["astype"](self, dtype)

    def to(self, dtype: npt.DTypeLike) -> Tensor:
        """In float32 or float64, as ``astype``."""
        return OPERATIONS["astype"](self, dtype)

    def float(self) -> Tensor:
        """In float32."""
        return OPERATIONS["astype"](self, np.float32)

    def double(self) -> Tensor:
        """In float64."""
        return OPERATIONS["astype"](self, np.float64)


def _scaled(other: Operand, alpha: float) -> Any:
    return other if alpha == 1 else OPERATIONS["mul"](other, alpha)


def wrap(array: Array, version: Version | None = None) -> Tensor:
    """A leaf around ``array`` itself, without checks or a copy."""
    t = Tensor.__new__(Tensor)
    t.array = np.asarray(array)
    t.version = version or Version()
    t.grad, t.node, t.requires_grad = None, None, False
    return t


def tensor(
    data: npt.ArrayLike | Tensor,
    requires_grad: bool = False,
    dtype: npt.DTypeLike | None = None,
) -> Tensor:
    """A new Tensor with a copy of the data.

    Parameters
    ----------
    data : array_like
        Numbers and lists of them take the default dtype; an array keeps its own.
    requires_grad : bool
        Record what is done with the tensor.
    dtype : float32 or float64, optional
        Convert to this dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    DtypeError, ArgumentError
        As ``Tensor`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.tensor([1.0, 2.0])
    Tensor([1., 2.], dtype=float32)
    """
    return Tensor(data, requires_grad, dtype)


def from_numpy(array: Array) -> Tensor:
    """A Tensor that shares the array's memory (``Tensor(array)`` copies).

    Changes that are made to ``array`` afterwards are not counted, so a gradient may see them.

    Parameters
    ----------
    array : ndarray of float32 or float64

    Returns
    -------
    Tensor

    Raises
    ------
    DtypeError
        For any other dtype.
    ArgumentError
        If ``array`` is no array.

    Examples
    --------
    >>> import minigrad as mg
    >>> array = np.zeros(2)
    >>> x = mg.from_numpy(array)
    >>> array[0] = 5
    >>> x
    Tensor([5., 0.], dtype=float64)
    """
    if not isinstance(array, (np.ndarray, np.generic)):
        raise ArgumentError(
            f"from_numpy shares the memory of a NumPy array, not {quoted(array)}: use mg.tensor"
        )
    return wrap(checked(np.asarray(array)))


def from_dlpack(source: object) -> Tensor:
    """A Tensor that shares the memory of another library's tensor, where that allows it.

    Parameters
    ----------
    source : object with ``__dlpack__``
        On the CPU, of float32 or float64: of PyTorch, JAX, CuPy's CPU side, NumPy, ...

    Returns
    -------
    Tensor

    Raises
    ------
    DtypeError
        For any other dtype.
    ArgumentError
        If the source is none that can be shared.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.from_dlpack(np.ones(2))
    Tensor([1., 1.], dtype=float64)
    """
    array = foreign(source) if hasattr(source, "__dlpack__") else None
    if array is None:
        raise ArgumentError(f"from_dlpack takes an object with __dlpack__, not {quoted(source)}")
    return wrap(checked(array))


def expect_tensor(function: str, name: str, x: object) -> Tensor:
    """x, which must be a Tensor."""
    if isinstance(x, Tensor):
        return x
    raise DtypeError(
        f"{function} takes Tensors, not {type(x).__name__}, as {name}: use mg.Tensor(...)"
    )


def constant(function: str, array: object) -> Tensor:
    """A user's array as a constant of the graph: a copy, so that later changes are not seen."""
    source = foreign(array)
    if source is None:
        raise ArgumentError(f"{function} takes a Tensor or an array, not {quoted(array)}")
    return wrap(checked(np.array(source)))


def as_tensor(value: object, dtype: npt.DTypeLike | None, function: str) -> Tensor:
    """``value`` itself if it is a Tensor; what has no dtype, and 0-d arrays, take ``dtype``.

    Arrays are copied: a graph must not change when their owner writes to them.
    """
    if isinstance(value, Tensor):
        return value
    dtype = get_default_dtype() if dtype is None else dtype
    source = foreign(value)
    if source is None:
        return wrap(numbers(function, value, dtype))
    if source.ndim == 0 and source.dtype.kind in "iuf":
        return wrap(source.astype(dtype))
    return wrap(checked(np.array(source)))
