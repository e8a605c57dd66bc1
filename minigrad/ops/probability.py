"""The softmax along an axis, and its logarithm.

    p_k = e^(x_k) / sum_j e^(x_j)       x̄ = p (ȳ - Σ ȳ p)
    z_k = x_k - ln sum_j e^(x_j)        x̄ = ȳ - e^z Σ ȳ

Each of the two gradients is one kernel, so one primitive, with rules of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from minigrad.kernels import run
from minigrad.ops.axes import transpose
from minigrad.ops.powers import exp
from minigrad.ops.shaping import axis_of, one_axis
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive

__all__ = ["log_softmax", "softmax"]


def _one_axis_alone(x: Shape, *_: Shape) -> bool:
    return len(x) < 2  # the axis that is summed over is then the images'


@primitive(images=("x",))
def _softmax(x: Array) -> Array:
    """y_k = e^(x_k) / sum_j e^(x_j) along the last axis."""
    return run("softmax", x)


@_softmax.vjp("x", "x̄ = y (ȳ - Σ ȳ y)")
def _softmax_x(g: Tensor, y: Tensor) -> Tensor:
    return _softmax_input_grad(g, y)


@primitive(images=("dy", "p"))
def _softmax_input_grad(dy: Array, p: Array) -> Array:
    """y = p (dy - sum dy p) along the last axis."""
    return run("softmax_input_grad", dy, p)


@_softmax_input_grad.vjp("dy", "d̄y = p (ȳ - Σ ȳ p)")
def _softmax_input_grad_dy(g: Tensor, p: Tensor) -> Tensor:
    return _softmax_input_grad(g, p)


@_softmax_input_grad.vjp("p", "p̄ = ȳ (dy - Σ dy p) - dy Σ ȳ p")
def _softmax_input_grad_p(g: Tensor, dy: Tensor, p: Tensor) -> Tensor:
    along, across = ((u * p).sum(axis=-1, keepdims=True) for u in (dy, g))
    return g * (dy - along) - dy * across


@primitive(images=("x",))
def _log_softmax(x: Array) -> Array:
    """y_k = x_k - ln sum_j e^(x_j) along the last axis."""
    return run("log_softmax", x)


@_log_softmax.vjp("x", "x̄ = ȳ - e^y Σ ȳ")
def _log_softmax_x(g: Tensor, y: Tensor) -> Tensor:
    return _log_softmax_input_grad(g, y)


@primitive(images=("dy", "z"))
def _log_softmax_input_grad(dy: Array, z: Array) -> Array:
    """y = dy - e^z sum dy along the last axis."""
    return run("log_softmax_input_grad", dy, z)


@_log_softmax_input_grad.vjp("dy", "d̄y = ȳ - Σ ȳ e^z")
def _log_softmax_input_grad_dy(g: Tensor, z: Tensor) -> Tensor:
    return g - (g * exp(z)).sum(axis=-1, keepdims=True)


@_log_softmax_input_grad.vjp("z", "z̄ = -ȳ e^z Σ dy")
def _log_softmax_input_grad_z(g: Tensor, dy: Tensor, z: Tensor) -> Tensor:
    return -(g * exp(z) * dy.sum(axis=-1, keepdims=True))


for _rowwise in (_softmax, _softmax_input_grad, _log_softmax, _log_softmax_input_grad):
    _rowwise.mixing(_one_axis_alone)


def _along(
    function: str, op: Callable[[Tensor], Tensor], x: Tensor, axis: int, dim: int | None
) -> Tensor:
    """Apply an operation on the last axis along another one."""
    expect_tensor(function, "x", x)
    given = axis if dim is None else one_axis(function, None if axis == -1 else axis, dim)
    along = axis_of(function, given, x.ndim)
    if 0 in x.shape:
        return x
    if along == x.ndim - 1:
        return op(x)
    return transpose(op(transpose(x, along, -1)), along, -1)


def softmax(x: Tensor, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """y_k = e^(x_k) / sum_j e^(x_j) along an axis.

    The maximum is taken out first, so nothing overflows.

    Parameters
    ----------
    x : Tensor
    axis : int
        The last by default.
    dim : int, optional
        PyTorch's name for ``axis``.

    Returns
    -------
    Tensor
        Of x's shape and dtype; its sum along the axis is 1.

    Raises
    ------
    ShapeError
        If there is no such axis.
    DtypeError, ArgumentError
        If x is no Tensor, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.softmax(mg.Tensor([5.0, 5.0])).numpy()
    array([0.5, 0.5], dtype=float32)
    """
    return _along("softmax", _softmax, x, axis, dim)


def log_softmax(x: Tensor, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """y_k = x_k - ln sum_j e^(x_j) along an axis.

    The logarithm of a rounded 0 is never taken.

    Parameters
    ----------
    x : Tensor
    axis, dim : int
        As for ``softmax``.

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``softmax`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.log_softmax(mg.Tensor([5.0, 5.0])).numpy()
    array([-0.6931472, -0.6931472], dtype=float32)
    """
    return _along("log_softmax", _log_softmax, x, axis, dim)
