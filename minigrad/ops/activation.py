"""Activations: functions of one element, and the softmax along an axis.

    f            f'(x)                     at the kinks
    relu         1 if x > 0                0 at 0
    relu6        1 if 0 < x < 6            0 at 0 and 6   (clamp(x, 0, 6) has 1 there)
    hardsigmoid  1/6 if -3 < x < 3         0 at -3 and 3
    hardswish    (2x + 3)/6 if -3 < x < 3, 1 if x >= 3    0 at -3, 1 at 3
    sigmoid      y (1 - y)
    tanh         1 - y^2
    silu         s (1 + x (1 - s)),  s = sigmoid(x)

The slopes at the kinks are PyTorch's, and where JAX and TensorFlow have one, theirs.
The cotangent of NaN is passed on, never turned into 0.

Sources: ReLU6, MobileNetV2 (arXiv 1801.04381); hardswish, MobileNetV3 (arXiv
1905.02244, section 5.2); SiLU, Elfwing et al. (arXiv 1702.03118).
"""

from __future__ import annotations

from minigrad.errors import ShapeError
from minigrad.kernels import run
from minigrad.ops.elementwise import exp, mask
from minigrad.ops.shaping import transpose
from minigrad.tensor import Array, Tensor, primitive

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
def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return run("relu", x)


@relu.vjp("x", "x̄ = ȳ where x > 0, else 0")
def _relu_x(g: Tensor, y: Tensor) -> Tensor:
    return mask(g, ~(y.array <= 0))


@primitive
def relu6(x: Array) -> Array:
    """y = min(max(x, 0), 6)."""
    return run("relu6", x)


@relu6.vjp("x", "x̄ = ȳ where 0 < x < 6, else 0")
def _relu6_x(g: Tensor, y: Tensor) -> Tensor:
    return mask(g, ~((y.array <= 0) | (y.array >= 6)))


@primitive
def hardsigmoid(x: Array) -> Array:
    """y = relu6(x + 3) / 6."""
    return run("hardsigmoid", x)


@hardsigmoid.vjp("x", "x̄ = ȳ / 6 where -3 < x < 3, else 0")
def _hardsigmoid_x(g: Tensor, x: Tensor) -> Tensor:
    return mask(g / 6, ~((x.array <= -3) | (x.array >= 3)))


@primitive
def hardswish(x: Array) -> Array:
    """y = x relu6(x + 3) / 6."""
    return run("hardswish", x)


@hardswish.vjp("x", "x̄ = 0 where x <= -3, ȳ where x >= 3, else ȳ (2x + 3) / 6")
def _hardswish_x(g: Tensor, x: Tensor) -> Tensor:
    below, above = x.array <= -3, x.array >= 3
    return mask(g * (x * 2 + 3) / 6, ~(below | above)) + mask(g, above)


@primitive
def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + e^-x)."""
    return run("sigmoid", x)


@sigmoid.vjp("x", "x̄ = ȳ y (1 - y)")
def _sigmoid_x(g: Tensor, y: Tensor) -> Tensor:
    return g * y * (1 - y)


@primitive
def silu(x: Array) -> Array:
    """y = x sigmoid(x)."""
    return run("silu", x)


@silu.vjp("x", "x̄ = ȳ s (1 + x (1 - s)), s = sigmoid(x)")
def _silu_x(g: Tensor, x: Tensor) -> Tensor:
    s = sigmoid(x)
    return g * s * (x * (1 - s) + 1)


@primitive
def tanh(x: Array) -> Array:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return run("tanh", x)


@tanh.vjp("x", "x̄ = ȳ (1 - y²)")
def _tanh_x(g: Tensor, y: Tensor) -> Tensor:
    return g * (1 - y * y)


@primitive
def _softmax(x: Array) -> Array:
    """y_k = e^(x_k) / sum_j e^(x_j) along the last axis."""
    return run("softmax", x)


@_softmax.vjp("x", "x̄ = y (ȳ - Σ ȳ y)")
def _softmax_x(g: Tensor, y: Tensor) -> Tensor:
    return y * (g - (g * y).sum(axis=-1, keepdims=True))


@primitive
def _log_softmax(x: Array) -> Array:
    """y_k = x_k - ln sum_j e^(x_j) along the last axis."""
    return run("log_softmax", x)


@_log_softmax.vjp("x", "x̄ = ȳ - e^y Σ ȳ")
def _log_softmax_x(g: Tensor, y: Tensor) -> Tensor:
    return g - exp(y) * g.sum(axis=-1, keepdims=True)


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
