"""What TFLite's operators on elements and rows mean, in floats, as calls of minigrad's ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.onnx_shapes import numbers_of
from minigrad.graphs.tflite_layout import axes_of, axis_of, carried, in_file_order, ranked
from minigrad.graphs.tflite_operation import Operation, held
from minigrad.graphs.tflite_windows import active
from minigrad.tensor import Operand, Tensor

__all__ = [
    "add_n", "arg_extreme", "arithmetic", "cast", "fully_connected", "l2_normalization",
    "leaky_relu", "limited", "log_softmax", "plain_arithmetic", "prelu", "reduction",
    "rounded", "rsqrt", "softmax", "square", "squared_difference",
]  # fmt: skip

Made = Callable[..., Tensor]
Prepare = Callable[[Operation], Made]
Activation = Callable[[Tensor], Tensor]
Binary = Callable[[Operand, Operand], Tensor]


def limited(low: float, high: float) -> Prepare:
    """An activation that holds x between two bounds."""

    def prepare(o: Operation) -> Made:
        activation = held(low, high)
        assert activation is not None
        return activation

    return prepare


def arithmetic(function: Binary) -> Prepare:
    """A function of two operands with a fused activation."""

    def prepare(o: Operation) -> Made:
        return partial(_arithmetic, function, o.activation)

    return prepare


def plain_arithmetic(function: Binary) -> Prepare:
    """The same without one."""

    def prepare(o: Operation) -> Made:
        return partial(_arithmetic, function, None)

    return prepare


def _arithmetic(function: Binary, activation: Activation | None, a: Tensor, b: Tensor) -> Tensor:
    return active(activation, function(*ranked((a, b))))


def add_n(o: Operation) -> Made:
    """ADD_N."""
    return _sum


def _sum(*xs: Tensor) -> Tensor:
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


def rounded(how: str) -> Made:
    """FLOOR, CEIL or ROUND."""
    return partial(_rounded, how)


def _rounded(how: str, x: Tensor) -> Tensor:
    return ops.rounded(x, how)


def square(x: Tensor) -> Tensor:
    """y = x^2."""
    return x * x


def rsqrt(x: Tensor) -> Tensor:
    """y = 1 / sqrt(x)."""
    return 1.0 / ops.sqrt(x)


def squared_difference(a: Operand, b: Operand) -> Tensor:
    """y = (a - b)^2."""
    return square(ops.sub(a, b))


def leaky_relu(o: Operation) -> Made:
    """y = x for x > 0, else alpha x."""
    return partial(_leaky_relu, o.real("alpha"))


def _leaky_relu(slope: float, x: Tensor) -> Tensor:
    return ops.leaky_relu(x, slope)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """y = x for x > 0, else slope x, with a slope for each channel or for each element."""
    x, slope = ranked((x, slope))
    if x.ndim == 4 and slope.size == slope.shape[1]:
        return ops.prelu(x, ops.reshape(slope, slope.size))
    return ops.relu(x) - slope * ops.relu(-x)


def softmax(o: Operation) -> Made:
    """SOFTMAX of beta x over the last axis, which are the channels of a map."""
    return partial(_softmax, o.real("beta"))


def _softmax(beta: float, x: Tensor) -> Tensor:
    x = x if beta == 1 else x * beta
    return ops.softmax(x, axis_of(-1, x.ndim, "SOFTMAX"))


def log_softmax(x: Tensor) -> Tensor:
    """LOG_SOFTMAX over the last axis."""
    return ops.log_softmax(x, axis_of(-1, x.ndim, "LOG_SOFTMAX"))


def l2_normalization(o: Operation) -> Made:
    """y = x / sqrt(sum of x^2 over the last axis), which is at least 1e-6 before the root."""
    return partial(_l2_normalization, o.activation)


def _l2_normalization(activation: Activation | None, x: Tensor) -> Tensor:
    along = axis_of(-1, x.ndim, "L2_NORMALIZATION")
    size = ops.clamp(square(x).sum(axis=along, keepdims=True), 1e-6)
    return active(activation, x / ops.sqrt(size))


def reduction(function: Callable[..., Tensor]) -> Prepare:
    """A sum, mean or extremum over axes that are an input."""

    def prepare(o: Operation) -> Made:
        return partial(reduce, function, o.flag("keep_dims"), o.node.operator)

    return prepare


def reduce(
    function: Callable[..., Tensor], keep: bool, operator: str, x: Tensor, axes: Array
) -> Tensor:
    """The function over axes of the file's order."""
    along = axes_of(numbers_of(axes), x.ndim, operator)
    if function is ops.mean and x.ndim == 4 and set(along) == {2, 3} and x.size:
        y = ops.global_avg_pool(x)
    else:
        y = function(x, axis=along, keepdims=True)
    return y if keep else without(y, along)


def without(y: Tensor, along: Sequence[int]) -> Tensor:
    """y without axes of length 1, which are named as they are carried."""
    named = [i for i in range(y.ndim) if axis_of(i, y.ndim, "") not in along]
    rows = in_file_order(y)
    return ops.reshape(rows, tuple(rows.shape[i] for i in named))


def fully_connected(o: Operation) -> Made:
    """FULLY_CONNECTED: the rows of x times a matrix, x being cut into rows of its width."""
    if o.integer("weights_format"):
        raise UnreadNode("its weights are shuffled")
    return partial(_fully_connected, o.flag("keep_num_dims"), o.activation)


def _fully_connected(
    keep: bool, activation: Activation | None, x: Tensor, w: Tensor, bias: Tensor | None = None
) -> Tensor:
    return active(activation, from_rows(keep, x, ops.linear(rows_of(x, w), w, bias)))


def rows_of(x: Tensor, w: Tensor) -> Tensor:
    """x in the file's order as a matrix that w can be multiplied with."""
    if w.ndim != 2 or not w.shape[1] or x.size % w.shape[1]:
        raise ShapeError(f"FULLY_CONNECTED: weights {w.shape} for x of {x.size:,} numbers")
    return ops.reshape(in_file_order(x), x.size // w.shape[1], w.shape[1])


def from_rows(keep: bool, x: Tensor, y: Tensor) -> Tensor:
    """The rows again with x's axes, if they are kept."""
    if not keep or x.ndim == 2:
        return y
    shape = (*in_file_order(x).shape[:-1], y.shape[1])
    return carried(ops.reshape(y, shape))


def arg_extreme(largest: bool) -> Prepare:
    """ARG_MAX or ARG_MIN: the first place, as a float of the same value."""

    def prepare(o: Operation) -> Made:
        return partial(_arg_extreme, largest, o.node.operator)

    return prepare


def _arg_extreme(largest: bool, operator: str, x: Tensor, axis: Array) -> Tensor:
    (named,) = numbers_of(axis)
    along = axis_of(named, x.ndim, operator)
    return without(ops.places(x, 1, along, largest), (along,))


def cast(o: Operation) -> Made:
    """CAST between kinds of numbers that are carried as floats: integers to floats."""
    source, target = o.input_type(0).dtype, o.outputs[0].dtype
    if target in ("float32", "float64") or (source, target) in (
        ("int32", "int64"), ("int64", "int32"), ("uint8", "int32")):  # fmt: skip
        return _same
    raise UnreadNode(f"it casts {source} to {target}, which is not read")


def _same(x: Tensor) -> Tensor:
    return x
