"""Activations: functions of one element.

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

from minigrad.docs import of_one_tensor
from minigrad.kernels import run
from minigrad.tensor import Array, Tensor, primitive, wrap

__all__ = ["hardsigmoid", "hardswish", "relu", "relu6", "sigmoid", "silu", "tanh"]


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


@of_one_tensor
def relu(x: Tensor) -> Tensor:
    """y = max(x, 0), element by element.

    The slope at 0 is 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.relu(mg.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    return _relu(x)


@primitive(images=("x",))
def _relu6(x: Array) -> Array:
    """y = min(max(x, 0), 6)."""
    return run("relu6", x)


@_relu6.vjp("x", "x̄ = ȳ where 0 < x < 6, else 0")
def _relu6_x(g: Tensor, y: Tensor) -> Tensor:
    return _line_slope(g, y, of="relu6")


@of_one_tensor
def relu6(x: Tensor) -> Tensor:
    """y = min(max(x, 0), 6), element by element.

    The slope at 0 and at 6 is 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.relu6(mg.Tensor([-1.0, 2.0, 7.0])).numpy()
    array([0., 2., 6.], dtype=float32)
    """
    return _relu6(x)


@primitive(images=("x",))
def _hardsigmoid(x: Array) -> Array:
    """y = relu6(x + 3) / 6."""
    return run("hardsigmoid", x)


@_hardsigmoid.vjp("x", "x̄ = ȳ / 6 where -3 < x < 3, else 0")
def _hardsigmoid_x(g: Tensor, x: Tensor) -> Tensor:
    return _line_slope(g, x, of="hardsigmoid")


@of_one_tensor
def hardsigmoid(x: Tensor) -> Tensor:
    """y = min(max(x + 3, 0), 6) / 6, element by element.

    The slope at -3 and at 3 is 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.hardsigmoid(mg.Tensor([-4.0, 0.0, 4.0])).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return _hardsigmoid(x)


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


@of_one_tensor
def hardswish(x: Tensor) -> Tensor:
    """y = x min(max(x + 3, 0), 6) / 6, element by element.

    The slope at -3 is 0, at 3 it is 1.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.hardswish(mg.Tensor([-4.0, 0.0, 4.0])).numpy()
    array([-0.,  0.,  4.], dtype=float32)
    """
    return _hardswish(x)


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


@of_one_tensor
def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x), element by element.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sigmoid(mg.Tensor([0.0, 1000.0])).numpy()
    array([0.5, 1. ], dtype=float32)
    """
    return _sigmoid(x)


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


@of_one_tensor
def silu(x: Tensor) -> Tensor:
    """y = x / (1 + e^-x), also called swish, element by element.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.silu(mg.Tensor([0.0, 1000.0])).numpy()
    array([   0., 1000.], dtype=float32)
    """
    return _silu(x)


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


@of_one_tensor
def tanh(x: Tensor) -> Tensor:
    """y = (e^x - e^-x) / (e^x + e^-x), element by element.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.tanh(mg.Tensor([0.0, 1000.0])).numpy()
    array([0., 1.], dtype=float32)
    """
    return _tanh(x)


_BENDS = {
    "hardswish": _hardswish_bend,
    "sigmoid": _sigmoid_bend,
    "silu": _silu_bend,
    "tanh": _tanh_bend,
}
