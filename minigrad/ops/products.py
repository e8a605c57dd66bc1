"""Products of matrices: one bilinear form, twice transposed.

    y[n,o] = bias[o] + sum_i x[n,i] w[o,i]

With L(x, w) for the sum, each of its transposes is L again, of other transposed matrices:

    x̄ = ȳ w      = L(ȳ, w^T)
    w̄ = ȳ^T x    = L(ȳ^T, x^T)
    bias̄ = sum_n ȳ[n]

so the rules below need no kernel of their own.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.errors import ShapeError
from minigrad.kernels import run
from minigrad.kernels.contract import INNER
from minigrad.ops.axes import broadcast_to, transpose
from minigrad.ops.shaping import reshape, squeeze, unsqueeze
from minigrad.tensor import Array, Operand, Shape, Tensor, as_tensor, expect_tensor, primitive

__all__ = ["linear", "matmul"]


@primitive(images=("x",))
def _linear(x: Array, w: Array, bias: Array | None = None) -> Array:
    """y = x w^T + bias."""
    return run("linear", x, w, bias)


@_linear.shape
def _linear_shape(x: Shape, w: Shape, bias: Shape | None = None) -> Shape:
    return x[0], w[0]


@_linear.vjp("x", "x̄ = ȳ w")
def _linear_x(g: Tensor, w: Tensor) -> Tensor:
    return linear(g, _turned(w))


@_linear.vjp("w", "w̄ = ȳᵀ x")
def _linear_w(g: Tensor, x: Tensor) -> Tensor:
    return linear(_turned(g), _turned(x))


@_linear.vjp("bias", "bias̄ = Σ_n ȳ")
def _linear_bias(g: Tensor) -> Tensor:
    return g.sum(axis=0)


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[..., o] = bias[o] + sum_i x[..., i] w[o, i].

    Parameters
    ----------
    x : Tensor, (..., I)
    w : Tensor, (O, I)
    bias : Tensor, (O,), optional

    Returns
    -------
    Tensor, (..., O)

    Raises
    ------
    ShapeError
        If the last axes of x and w differ, or bias is not (O,).
    DtypeError
        If x, w and bias are not Tensors of one dtype.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.linear(mg.Tensor([1.0, 2.0]), mg.Tensor([[1.0, 1.0], [0.0, 3.0]])).numpy()
    array([3., 6.], dtype=float32)
    """
    expect_tensor("linear", "x", x)
    expect_tensor("linear", "w", w)
    if w.ndim != 2 or not x.ndim or x.shape[-1] != w.shape[1]:
        raise ShapeError(f"linear: x (..., I) = {x.shape} and w (O, I) = {w.shape} do not fit")
    if bias is not None and expect_tensor("linear", "bias", bias).shape != w.shape[:1]:
        raise ShapeError(f"linear: bias must be ({w.shape[0]},), got {bias.shape}")
    rows = reshape(x, math.prod(x.shape[:-1]), x.shape[-1])
    return reshape(_linear(rows, w, bias), *x.shape[:-1], w.shape[0])


@primitive(arithmetic=True)
def _matmul(a: Array, b: Array) -> Array:
    """y = a b, matrix by matrix, over equal leading axes.

    Long sums go to the kernel of ``linear``, which cuts them; the others to NumPy's product.
    """
    if a.shape[-1] <= INNER:
        y: Array = a @ b
        return y
    y = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    for place in np.ndindex(a.shape[:-2]):
        y[place] = run("linear", a[place], b[place].T, None)
    return y


@_matmul.shape
def _matmul_shape(a: Shape, b: Shape) -> Shape:
    return (*a[:-1], b[-1])


@_matmul.vjp("a", "ā = ȳ bᵀ")
def _matmul_a(g: Tensor, b: Tensor) -> Tensor:
    return matmul(g, _turned(b))


@_matmul.vjp("b", "b̄ = aᵀ ȳ")
def _matmul_b(g: Tensor, a: Tensor) -> Tensor:
    return matmul(_turned(a), g)


def _turned(x: Tensor) -> Tensor:
    """The last two axes exchanged."""
    return transpose(x, -1, -2)


def matmul(a: Operand, b: Operand) -> Tensor:
    """The product of matrices, ``a @ b``: y[..., i, j] = sum_k a[..., i, k] b[..., k, j].

    A vector on the left is a row, on the right a column; leading axes broadcast.

    Parameters
    ----------
    a, b : Tensor or array
        At least one axis each.  Arrays are copied.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DtypeError, ArgumentError
        If the dtypes differ, or an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> a = mg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (a @ a).numpy()
    array([[ 7., 10.],
           [15., 22.]], dtype=float32)
    """
    dtype = a.dtype if isinstance(a, Tensor) else b.dtype if isinstance(b, Tensor) else None
    a, b = as_tensor(a, dtype, "matmul"), as_tensor(b, dtype, "matmul")
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(f"matmul: {a.shape} and {b.shape} do not fit")
    if a.ndim == 1:
        return squeeze(matmul(unsqueeze(a, 0), b), -2 if b.ndim > 1 else -1)
    if b.ndim == 1:
        return squeeze(matmul(a, unsqueeze(b, 1)), -1)
    if a.ndim == b.ndim == 2:
        return linear(a, _turned(b))
    return _stacked(a, b)


def _stacked(a: Tensor, b: Tensor) -> Tensor:
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"matmul: {a.shape} and {b.shape} do not fit") from None
    both = (broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
    result: Tensor = _matmul(*both)
    return result
