"""Activations: functions of one element, and the softmax along an axis.

    f            f'(x)                     at the kinks
    relu         1 if x > 0                0 at 0
    relu6        1 if 0 < x < 6            0 at 0 and 6   (clamp(x, 0, 6) has 1 there)
    hardsigmoid  1/6 if -3 < x < 3         0 at -3 and 3
    hardswish    (2x + 3)/6 if -3 < x < 3, 1 if x >= 3    0 at -3, 1 at 3
    sigmoid      y (1 - y)
    tanh         1 - y^2
    silu         s (1 + x (1 - s)),  s = sigmoid(x)

Each slope times a cotangent is one kernel, so one primitive.  Its rule in x is the second
derivative, which is 0 for the functions that are made of straight lines.

The slopes at the kinks are PyTorch's, and where JAX and TensorFlow have one, theirs.
The cotangent of NaN is passed on, never turned into 0.

Sources: ReLU6, MobileNetV2 (arXiv 1801.04381); hardswish, MobileNetV3 (arXiv
1905.02244, section 5.2); SiLU, Elfwing et al. (arXiv 1702.03118).
"""

from __future__ import annotations

from collections.abc import Callable

from minigrad.kernels import run
from minigrad.ops.elementwise import exp
from minigrad.ops.shaping import axis_of, one_axis, transpose
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive, wrap

__all__ = [
    "hardsigmoid",
    "hardswish",
    "log_softmax",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


@primitive(images=("dy", "at"), flat=("at",))
def _line_slope(dy: Array, at: Array, *, of: str) -> Array:
    """y = dy f'(x) for an f made of straight lines; ``at`` is the x or y that tells which line."""
    return run(f"{of}_input_grad", dy, at)


@_line_slope.vjp("dy", "d̄y = ȳ f'(x)")
def _line_slope_dy(g: Tensor, at: Tensor, of: str) -> Tensor:
    return _line_slope(g, at, of=of)


@primitive(images=("dy", "at"))
def _curve_slope(dy: Array, at: Array, *, of: str) -> Array:
    """y = dy s(at): the slope of f as a function of f's x or of its y, see the table above."""
    return run(f"{of}_input_grad", dy, at)


@_curve_slope.vjp("dy", "d̄y = ȳ s")
def _curve_slope_dy(g: Tensor, at: Tensor, of: str) -> Tensor:
    return _curve_slope(g, at, of=of)


@_curve_slope.vjp("at", "āt = ȳ dy s'")
def _curve_slope_at(g: Tensor, dy: Tensor, at: Tensor, of: str) -> Tensor:
    return g * dy * _BENDS[of](at)


@primitive(images=("x",))
def _relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return run("relu", x)


@_relu.vjp("x", "x̄ = ȳ where x > 0, else 0")
def _relu_x(g: Tensor, y: Tensor) -> Tensor:
    return _line_slope(g, y, of="relu")


@primitive(images=("x",))
def _relu6(x: Array) -> Array:
    """y = min(max(x, 0), 6)."""
    return run("relu6", x)


@_relu6.vjp("x", "x̄ = ȳ where 0 < x < 6, else 0")
def _relu6_x(g: Tensor, y: Tensor) -> Tensor:
    return _line_slope(g, y, of="relu6")


@primitive(images=("x",))
def _hardsigmoid(x: Array) -> Array:
    """y = relu6(x + 3) / 6."""
    return run("hardsigmoid", x)


@_hardsigmoid.vjp("x", "x̄ = ȳ / 6 where -3 < x < 3, else 0")
def _hardsigmoid_x(g: Tensor, x: Tensor) -> Tensor:
    return _line_slope(g, x, of="hardsigmoid")


@primitive(images=("x",))
def _hardswish(x: Array) -> Array:
    """y = x relu6(x + 3) / 6."""
    return run("hardswish", x)


@_hardswish.vjp("x", "x̄ = 0 where x <= -3, ȳ where x >= 3, else ȳ (2x + 3) / 6")
def _hardswish_x(g: Tensor, x: Tensor) -> Tensor:
    return _curve_slope(g, x, of="hardswish")


def _hardswish_bend(x: Tensor) -> Tensor:
    """1/3 where -3 < x < 3, else 0."""
    between = ~((x.array <= -3) | (x.array >= 3))
    return wrap((between / 3).astype(x.dtype))


@primitive(images=("x",))
def _sigmoid(x: Array) -> Array:
    """y = 1 / (1 + e^-x)."""
    return run("sigmoid", x)


@_sigmoid.vjp("x", "x̄ = ȳ y (1 - y)")
def _sigmoid_x(g: Tensor, y: Tensor) -> Tensor:
    return _curve_slope(g, y, of="sigmoid")


def _sigmoid_bend(y: Tensor) -> Tensor:
    """The derivative of y (1 - y)."""
    return 1 - y * 2


@primitive(images=("x",))
def _silu(x: Array) -> Array:
    """y = x sigmoid(x)."""
    return run("silu", x)


@_silu.vjp("x", "x̄ = ȳ s (1 + x (1 - s)), s = sigmoid(x)")
def _silu_x(g: Tensor, x: Tensor) -> Tensor:
    return _curve_slope(g, x, of="silu")


def _silu_bend(x: Tensor) -> Tensor:
    """The derivative of s (1 + x (1 - s)), s' being s (1 - s)."""
    s = _sigmoid(x)
    return s * (1 - s) * (x * (1 - s * 2) + 2)


@primitive(images=("x",))
def _tanh(x: Array) -> Array:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return run("tanh", x)


@_tanh.vjp("x", "x̄ = ȳ (1 - y²)")
def _tanh_x(g: Tensor, y: Tensor) -> Tensor:
    return _curve_slope(g, y, of="tanh")


def _tanh_bend(y: Tensor) -> Tensor:
    """The derivative of 1 - y²."""
    return y * -2


_BENDS = {
    "hardswish": _hardswish_bend,
    "sigmoid": _sigmoid_bend,
    "silu": _silu_bend,
    "tanh": _tanh_bend,
}


@primitive(images=("x",))
def _softmax(x: Array) -> Array:
    """y_k = e^(x_k) / sum_j e^(x_j) along the last axis."""
    return run("softmax", x)


def _one_axis_alone(x: Shape, *_: Shape) -> bool:
    return len(x) < 2  # the axis that is summed over is then the images'


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


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0), element by element.

    The slope at 0 is 0.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype; NaN where x is NaN.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.relu(mg.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    return _relu(x)


def relu6(x: Tensor) -> Tensor:
    """y = min(max(x, 0), 6), element by element.

    The slope at 0 and at 6 is 0.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype; NaN where x is NaN.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.relu6(mg.Tensor([-1.0, 2.0, 7.0])).numpy()
    array([0., 2., 6.], dtype=float32)
    """
    return _relu6(x)


def hardsigmoid(x: Tensor) -> Tensor:
    """y = min(max(x + 3, 0), 6) / 6, element by element.

    The slope at -3 and at 3 is 0.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype; NaN where x is NaN.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.hardsigmoid(mg.Tensor([-4.0, 0.0, 4.0])).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return _hardsigmoid(x)


def hardswish(x: Tensor) -> Tensor:
    """y = x min(max(x + 3, 0), 6) / 6, element by element.

    The slope at -3 is 0, at 3 it is 1.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype; NaN where x is NaN.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.hardswish(mg.Tensor([-4.0, 0.0, 4.0])).numpy()
    array([-0.,  0.,  4.], dtype=float32)
    """
    return _hardswish(x)


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x), element by element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype; NaN where x is NaN.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sigmoid(mg.Tensor([0.0, 1000.0])).numpy()
    array([0.5, 1. ], dtype=float32)
    """
    return _sigmoid(x)


def silu(x: Tensor) -> Tensor:
    """y = x / (1 + e^-x), also called swish, element by element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype; NaN where x is NaN.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.silu(mg.Tensor([0.0, 1000.0])).numpy()
    array([   0., 1000.], dtype=float32)
    """
    return _silu(x)


def tanh(x: Tensor) -> Tensor:
    """y = (e^x - e^-x) / (e^x + e^-x), element by element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype; NaN where x is NaN.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.tanh(mg.Tensor([0.0, 1000.0])).numpy()
    array([0., 1.], dtype=float32)
    """
    return _tanh(x)


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
    axis : int
        The last by default.
    dim : int, optional
        PyTorch's name for ``axis``.

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    ShapeError
        If there is no such axis.
    DtypeError, ArgumentError
        If x is no Tensor, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.log_softmax(mg.Tensor([5.0, 5.0])).numpy()
    array([-0.6931472, -0.6931472], dtype=float32)
    """
    return _along("log_softmax", _log_softmax, x, axis, dim)


def _along(
    function: str, op: Callable[[Tensor], Tensor], x: Tensor, axis: int, dim: int | None
) -> Tensor:
    """Apply an operation on the last axis along another one."""
    expect_tensor(function, "x", x)
    given = axis if dim is None else one_axis(function, None if axis == -1 else axis, dim)
    along = axis_of(function, given, x.ndim)
    if x.size == 0:
        return x
    if along == x.ndim - 1:
        return op(x)
    return transpose(op(transpose(x, along, -1)), along, -1)
