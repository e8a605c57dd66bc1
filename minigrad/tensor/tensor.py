"""Tensor: values that remember how they were computed.

The methods that compute are the functions of ``minigrad.ops``, one floor above, which put
themselves into ``OPERATIONS``; ``help(minigrad.sum)`` says what ``Tensor.sum`` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from minigrad.arguments import flag, quoted
from minigrad.errors import ArgumentError, DtypeError, ShapeError
from minigrad.tensor.convert import (
    Array,
    checked,
    float_dtype,
    foreign,
    get_default_dtype,
    numbers,
)
from minigrad.tensor.inplace import Changing
from minigrad.tensor.registry import Registry
from minigrad.tensor.values import Values, Version

if TYPE_CHECKING:
    from types import EllipsisType

    import numpy.typing as npt

__all__ = ["OPERATIONS", "Axes", "Index", "Operand", "Place", "Tensor", "wrap"]

OPERATIONS: Registry[Callable[..., Tensor]] = Registry("minigrad.ops", "add_method")
Operand: TypeAlias = "Tensor | float | np.generic | Array"
Index: TypeAlias = "Place | tuple[Place, ...]"
Place: TypeAlias = "int | np.integer | slice | EllipsisType | None"
Axes: TypeAlias = "int | Sequence[int] | None"
Real: TypeAlias = float  # inside the class, float is a method


class Tensor(Changing):
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

    __slots__ = ("_grad",)

    _grad: Tensor | None

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
            from minigrad.tensor import hints

            raise hints.missing("Tensor", name, hints.METHODS, dir(Tensor))

    @property
    def grad(self) -> Tensor | None:
        """The sum of dL/dx over all ``backward`` calls, for a leaf that requires it."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise ArgumentError(f"grad must be a Tensor or None, not {quoted(value)}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ShapeError(
                    f"grad must be {self.dtype} of shape {self.shape}, "
                    f"got {value.dtype} of shape {value.shape}"
                )
        self._grad = value

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

    def __getitem__(self, index: Index) -> Tensor:
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
        self, axis: Axes = None, keepdims: bool = False, correction: int = 1,
        *, dim: Axes = None, keepdim: bool = False,
    ) -> Tensor:  # fmt: skip
        """The variance over axes; see ``minigrad.var``."""
        return OPERATIONS["var"](self, axis, keepdims, correction, dim=dim, keepdim=keepdim)

    def std(
        self, axis: Axes = None, keepdims: bool = False, correction: int = 1,
        *, dim: Axes = None, keepdim: bool = False,
    ) -> Tensor:  # fmt: skip
        """The square root of the variance; see ``minigrad.std``."""
        return OPERATIONS["std"](self, axis, keepdims, correction, dim=dim, keepdim=keepdim)

    def max(self, dim: None = None, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """The maximum over axes; see ``minigrad.max``."""
        return OPERATIONS["max"](self, dim, axis=axis, keepdims=keepdims)

    def min(self, dim: None = None, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """The minimum over axes; see ``minigrad.min``."""
        return OPERATIONS["min"](self, dim, axis=axis, keepdims=keepdims)

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
        """In float32 or float64, as ``astype``; "cpu" is where every tensor is."""
        return self if isinstance(dtype, str) and dtype == "cpu" else self.astype(dtype)

    def float(self) -> Tensor:
        """In float32."""
        return OPERATIONS["astype"](self, np.float32)

    def double(self) -> Tensor:
        """In float64."""
        return OPERATIONS["astype"](self, np.float64)


def _scaled(other: Operand, alpha: float) -> Operand:
    return other if alpha == 1 else OPERATIONS["mul"](other, alpha)


def wrap(array: Array, version: Version | None = None) -> Tensor:
    """A leaf around ``array`` itself, without checks or a copy."""
    t = Tensor.__new__(Tensor)
    t.array = array if type(array) is np.ndarray else np.asarray(array)
    t.version = version or Version()
    t._grad, t.node, t.requires_grad = None, None, False
    return t
