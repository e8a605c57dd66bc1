"""Activations: functions of one element, and the softmax along an axis.

    f            f'(x)                     at the kinks
    relu         1 if x > 0                0 at 0
    relu6        1 if 0 < x < 6            0 at 0 and 6   (clamp(x, 0, 6) has 1 there)
    hardsigmoid  1/6 if -3 < x < 3         0 at -3 and 3
    hardswish    (2x + 3)/6 if -3 < x < 3, 1 if x >= 3    0 at -3, 1 at 3
    sigmoid      y (1 - y)
    tanh         1 - y^2
    silu         s (1 + x (1 - s)),  s = sigmoid(x)

Each slope times a cotangent is one kernel, so one primitive; where it bends with x its rule
has the second derivative.

The slopes at the kinks are PyTorch's, and where JAX and TensorFlow have one, theirs.
The cotangent of NaN is passed on, never turned into 0.

Sources: ReLU6, MobileNetV2 (arXiv 1801.04381); hardswish, MobileNetV3 (arXiv
1905.02244, section 5.2); SiLU, Elfwing et al. (arXiv 1702.03118).
"""

from __future__ import annotations

from minigrad.errors import ShapeError
from minigrad.kernels import run
from minigrad.ops.elementwise import exp
from minigrad.ops.shaping import transpose
from minigrad.tensor import Array, Tensor, from_numpy, primitive

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


@primitive
def _line_slope(dy: Array, *, at: Array, of: str) -> Array:
    """y = dy f'(x) for an f made of straight lines; ``at`` is the x or y that tells which line."""
    return run(f"{of}_input_grad", dy, at)


@_line_slope.vjp("dy", "d̄y = ȳ f'(x)")
def _line_slope_dy(g: Tensor, at: Array, of: str) -> Tensor:
    return _line_slope(g, at=at, of=of)


@primitive
def _curve_slope(dy: Array, at: Array, *, of: str) -> Array:
    """y = dy s(at): the slope of f as a function of f's x or of its y, see the table above."""
    return run(f"{of}_input_grad", dy, at)


@_curve_slope.vjp("dy", "d̄y = ȳ s")
def _curve_slope_dy(g: Tensor, at: Tensor, of: str) -> Tensor:
    return _curve_slope(g, at, of=of)


@_curve_slope.vjp("at", "āt = ȳ dy s'")
def _curve_slope_at(g: Tensor, dy: Tensor, at: Tensor, of: str) -> Tensor:
    return g * dy * _BENDS[of](at)


@primitive
def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return run("relu", x)


@relu.vjp("x", "x̄ = ȳ where x > 0, else 0")
def _relu_x(g: Tensor, y: Tensor) -> Tensor:
    return _line_slope(g, at=y.array, of="relu")


@primitive
def relu6(x: Array) -> Array:
    """y = min(max(x, 0), 6)."""
    return run("relu6", x)


@relu6.vjp("x", "x̄ = ȳ where 0 < x < 6, else 0")
def _relu6_x(g: Tensor, y: Tensor) -> Tensor:
    return _line_slope(g, at=y.array, of="relu6")


@primitive
def hardsigmoid(x: Array) -> Array:
    """y = relu6(x + 3) / 6."""
    return run("hardsigmoid", x)


@hardsigmoid.vjp("x", "x̄ = ȳ / 6 where -3 < x < 3, else 0")
def _hardsigmoid_x(g: Tensor, x: Tensor) -> Tensor:
    return _line_slope(g, at=x.array, of="hardsigmoid")


@primitive
def hardswish(x: Array) -> Array:
    """y = x relu6(x + 3) / 6."""
    return run("hardswish", x)


@hardswish.vjp("x", "x̄ = 0 where x <= -3, ȳ where x >= 3, else ȳ (2x + 3) / 6")
def _hardswish_x(g: Tensor, x: Tensor) -> Tensor:
    return _curve_slope(g, x, of="hardswish")


def _hardswish_bend(x: Tensor) -> Tensor:
    """1/3 where -3 < x < 3, else 0."""
    between = ~((x.array <= -3) | (x.array >= 3))
    return from_numpy((between / 3).astype(x.dtype))


@primitive
def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + e^-x)."""
    return run("sigmoid", x)


@sigmoid.vjp("x", "x̄ = ȳ y (1 - y)")
def _sigmoid_x(g: Tensor, y: Tensor) -> Tensor:
    return _curve_slope(g, y, of="sigmoid")


def _sigmoid_bend(y: Tensor) -> Tensor:
    """The derivative of y (1 - y)."""
    return 1 - y * 2


@primitive
def silu(x: Array) -> Array:
    """y = x sigmoid(x)."""
    return run("silu", x)


@silu.vjp("x", "x̄ = ȳ s (1 + x (1 - s)), s = sigmoid(x)")
def _silu_x(g: Tensor, x: Tensor) -> Tensor:
    return _curve_slope(g, x, of="silu")


def _silu_bend(x: Tensor) -> Tensor:
    """The derivative of s (1 + x (1 - s)), s' being s (1 - s)."""
    s = sigmoid(x)
    return s * (1 - s) * (x * (1 - s * 2) + 2)


@primitive
def tanh(x: Array) -> Array:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return run("tanh", x)


@tanh.vjp("x", "x̄ = ȳ (1 - y²)")
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


@primitive
def _softmax(x: Array) -> Array:
    """y_k = e^(x_k) / sum_j e^(x_j) along the last axis."""
    return run("softmax", x)


@_softmax.vjp("x", "x̄ = y (ȳ - Σ ȳ y)")
def _softmax_x(g: Tensor, y: Tensor) -> Tensor:
    return _softmax_input_grad(g, y)


@primitive
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


@primitive
def _log_softmax(x: Array) -> Array:
    """y_k = x_k - ln sum_j e^(x_j) along the last axis."""
    return run("log_softmax", x)


@_log_softmax.vjp("x", "x̄ = ȳ - e^y Σ ȳ")
def _log_softmax_x(g: Tensor, y: Tensor) -> Tensor:
    return _log_softmax_input_grad(g, y)


@primitive
def _log_softmax_input_grad(dy: Array, z: Array) -> Array:
    """y = dy - e^z sum dy along the last axis."""
    return run("log_softmax_input_grad", dy, z)


@_log_softmax_input_grad.vjp("dy", "d̄y = ȳ - Σ ȳ e^z")
def _log_softmax_input_grad_dy(g: Tensor, z: Tensor) -> Tensor:
    return g - (g * exp(z)).sum(axis=-1, keepdims=True)


@_log_softmax_input_grad.vjp("z", "z̄ = -ȳ e^z Σ dy")
def _log_softmax_input_grad_z(g: Tensor, dy: Tensor, z: Tensor) -> Tensor:
    return -(g * exp(z) * dy.sum(axis=-1, keepdims=True))


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x over its sum along ``axis``; the maximum is taken out first, so nothing overflows."""
    return _along(_softmax, x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """The logarithm of ``softmax``, without ever taking the logarithm of a rounded 0."""
    return _along(_log_softmax, x, axis)


def _along(op: object, x: Tensor, axis: int) -> Tensor:
    """Apply an operation on the last axis along ``axis``."""
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"softmax: there is no axis {axis} in shape {x.shape}")
    if x.size == 0:
        return x
    if axis % x.ndim == x.ndim - 1:
        return op(x)  # type: ignore[operator, no-any-return]
    order = list(range(x.ndim))
    order[axis % x.ndim], order[-1] = order[-1], order[axis % x.ndim]
    return transpose(op(transpose(x, order)), order)  # type: ignore[operator]
