"""What TFLite's operators mean on integers of 8 bits, as LiteRT's reference kernels round.

Values are carried as q - zero_point in float64, so that 0 is zero and pads are zeros; filters too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.tflite_functions import from_rows, rows_of
from minigrad.graphs.tflite_integers import Factor, Integers, factor, integers_of, table_of
from minigrad.graphs.tflite_layout import axis_of, ranked
from minigrad.graphs.tflite_operation import Operation
from minigrad.graphs.tflite_windows import (
    Window,
    convolved,
    transpose_to,
    window_of,
)
from minigrad.ops.fixed_point import round_away
from minigrad.tensor import Operand, Tensor

__all__ = [
    "Made", "Prepare", "added", "check_same", "convolution", "depthwise", "dequantize",
    "elementwise", "entry", "exit_", "extremum", "fully_connected", "in_and_out", "leaky_relu",
    "multiplied", "prelu", "quantize", "relu", "softmax", "transposed",
]  # fmt: skip

Made = Callable[..., Tensor]
Prepare = Callable[[Operation], Made]
LEFT_SHIFT = 20  # bits that a sum has behind the point


def in_and_out(o: Operation, i: int = 0) -> tuple[Integers, Integers]:
    """What the integers of input i and of the output stand for."""
    return integers_of(o, o.input_type(i)), integers_of(o, o.outputs[0])


# --- to integers and back --------------------------------------------------------------------


def entry(x: Integers) -> Made:
    """An input of the graph: integers of the file, as floats."""
    return partial(_entered, x)


def _entered(x: Integers, q: Tensor) -> Tensor:
    wide = q.astype("float64") - float(x.zero)
    return round_away(wide, x.low, x.high, float(x.zero))


def exit_(y: Integers) -> Made:
    """An output of the graph."""
    return partial(_left, float(y.zero))


def _left(zero: float, q: Tensor) -> Tensor:
    return (q + zero).astype("float32")


def quantize(o: Operation) -> Made:
    """QUANTIZE: numbers as integers, or integers of one scale as those of another."""
    source, y = o.input_type(0), integers_of(o, o.outputs[0])
    if source.dtype in ("float32", "float64"):
        return partial(_quantize, y)
    scale = integers_of(o, source).scale
    to = factor(np.float64(scale) / np.float64(y.scale))
    return partial(to.times, low=y.low, high=y.high)


def _quantize(y: Integers, x: Tensor) -> Tensor:
    return round_away(x / float(y.scale), y.low, y.high).astype("float64")


def dequantize(o: Operation) -> Made:
    """DEQUANTIZE: y = scale (q - zero_point)."""
    return partial(_dequantize, float(integers_of(o, o.input_type(0)).scale))


def _dequantize(scale: float, q: Tensor) -> Tensor:
    return (q * scale).astype("float32")


# --- sums of products ------------------------------------------------------------------------


def product_factor(o: Operation) -> tuple[Factor, Integers]:
    """The factors from products of x and w to y, and between what y's integers are held."""
    x, y = in_and_out(o, 2 if o.node.operator == "TRANSPOSE_CONV" else 0)
    scales = o.scale(o.input_type(1)).scale.astype(np.float64)
    return factor(np.float64(x.scale) * scales / np.float64(y.scale)), y.held(*o.limits)


def convolution(o: Operation) -> Made:
    """CONV_2D."""
    return partial(_convolve, window_of(o), False, *product_factor(o))


def depthwise(o: Operation) -> Made:
    """DEPTHWISE_CONV_2D."""
    return partial(_convolve, window_of(o), True, *product_factor(o))


def _convolve(
    window: Window, apart: bool, to: Factor, y: Integers, x: Tensor, w: Tensor,
    bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    total = convolved(window, apart, x, w, bias)
    check_factor(to, w)
    return to.times(total, y.low, y.high)


def check_factor(to: Factor, w: Tensor, axis: int = 0) -> None:
    """One factor for all, or one for each filter."""
    if to.shift.size not in (1, w.shape[axis]):
        raise ShapeError(f"{to.shift.size} scales for weights {w.shape}")


def transposed(o: Operation) -> Made:
    """TRANSPOSE_CONV."""
    return partial(_transposed, window_of(o, dilated=False), *product_factor(o))


def _transposed(
    window: Window, to: Factor, y: Integers, x: Tensor, w: Tensor, *given: Tensor | Array | None
) -> Tensor:
    total = transpose_to(window, x, w, *given)
    check_factor(to, w, axis=1)
    return to.times(total, y.low, y.high)


def fully_connected(o: Operation) -> Made:
    """FULLY_CONNECTED, whose sums are rounded once."""
    if o.integer("weights_format"):
        raise UnreadNode("its weights are shuffled")
    to, y = product_factor(o)
    return partial(_fully_connected, o.flag("keep_num_dims"), to._replace(once=True), y)


def _fully_connected(
    keep: bool, to: Factor, y: Integers, x: Tensor, w: Tensor, bias: Tensor | None = None
) -> Tensor:
    total = ops.linear(rows_of(x, w), w, bias)
    check_factor(to, w)
    return from_rows(keep, x, to.times(total, y.low, y.high))


# --- two operands ----------------------------------------------------------------------------


def added(function: Callable[[Operand, Operand], Tensor]) -> Prepare:
    """ADD or SUB: both operands come to twice the larger scale, with 20 bits behind the point."""

    def prepare(o: Operation) -> Made:
        (a, y), (b, _) = in_and_out(o, 0), in_and_out(o, 1)
        twice = np.float64(2 * max(a.scale, b.scale))
        to_a, to_b = (factor(np.float64(x.scale) / twice) for x in (a, b))
        to_y = factor(twice / np.float64((1 << LEFT_SHIFT) * y.scale))
        return partial(_added, function, (to_a, to_b, to_y), y.held(*o.limits))

    return prepare


def _added(
    function: Callable[[Operand, Operand], Tensor], to: Sequence[Factor], y: Integers,
    a: Tensor, b: Tensor,
) -> Tensor:  # fmt: skip
    wide = [of.times(x * float(1 << LEFT_SHIFT)) for of, x in zip(to, (a, b), strict=False)]
    return to[2].times(function(*ranked(wide)), y.low, y.high)


def multiplied(o: Operation) -> Made:
    """MUL."""
    (a, y), (b, _) = in_and_out(o, 0), in_and_out(o, 1)
    return partial(_multiplied, factor(float(a.scale * b.scale / y.scale)), y.held(*o.limits))


def _multiplied(to: Factor, y: Integers, a: Tensor, b: Tensor) -> Tensor:
    return to.times(ops.mul(*ranked((a, b))), y.low, y.high)


def extremum(function: Callable[[Operand, Operand], Tensor]) -> Prepare:
    """MAXIMUM or MINIMUM of integers of one scale."""

    def prepare(o: Operation) -> Made:
        check_same(o)
        return partial(_extremum, function)

    return prepare


def _extremum(function: Callable[[Operand, Operand], Tensor], a: Tensor, b: Tensor) -> Tensor:
    return function(*ranked((a, b)))


def check_same(o: Operation) -> None:
    """All integers of the node must stand for the same numbers."""
    tensors = [t for t in (*o.inputs, *o.outputs) if t is not None and t.quantization]
    kinds = {integers_of(o, t) for t in tensors if t.dtype != "int32"}
    if len(kinds) != 1:
        raise UnreadNode("its inputs and outputs have not one scale and zero point")


# --- one operand -----------------------------------------------------------------------------


def elementwise(function: Callable[[Array], Array]) -> Prepare:
    """A function of elements, as a table."""

    def prepare(o: Operation) -> Made:
        return table_of(*in_and_out(o), function)

    return prepare


def relu(low: float, high: float) -> Prepare:
    """An activation that holds x between two numbers."""

    def prepare(o: Operation) -> Made:
        x, y = in_and_out(o)
        held = y.held(low, high)
        to = factor(float(x.scale / y.scale))
        return partial(to.times, low=held.low, high=held.high)

    return prepare


def leaky_relu(o: Operation) -> Made:
    """y = x for x > 0, else alpha x, each with a factor of its own."""
    x, y = in_and_out(o)
    alpha = np.float32(o.real("alpha"))
    slope = float(x.scale * np.abs(alpha) / y.scale)
    sign = -1.0 if alpha < 0 else 1.0
    to = factor(float(x.scale / y.scale)), factor(slope)
    return partial(_leaky, to, sign, y)


def _leaky(to: tuple[Factor, Factor], slope: Operand, y: Integers, x: Tensor) -> Tensor:
    below = to[1].times(-ops.relu(-x) * slope, y.low, y.high)
    return to[0].times(ops.relu(x), y.low, y.high) + below


def prelu(o: Operation) -> Made:
    """y = x for x > 0, else slope x."""
    (x, y), (slope, _) = in_and_out(o, 0), in_and_out(o, 1)
    to = factor(float(x.scale / y.scale)), factor(float(x.scale * slope.scale / y.scale))
    return partial(_prelu, to, y)


def _prelu(to: tuple[Factor, Factor], y: Integers, x: Tensor, slope: Tensor) -> Tensor:
    x, slope = ranked((x, slope))
    return _leaky(to, slope, y, x)


def softmax(o: Operation) -> Made:
    """SOFTMAX of beta x over the last axis."""
    x, y = in_and_out(o)
    return partial(_softmax, float(x.scale) * o.real("beta"), y)


def _softmax(scale: float, y: Integers, x: Tensor) -> Tensor:
    p = ops.softmax(x * scale, axis_of(-1, x.ndim, "SOFTMAX"))
    zero = float(y.zero)
    return round_away(p * (1 / float(y.scale)), y.low, y.high, zero)
