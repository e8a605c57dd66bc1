"""What TFLite's operators on windows mean, in floats: convolutions, transposes, pools, sizes.

Filters are turned when the file is read: of CONV_2D (O, kh, kw, I) to (O, I, kh, kw), of
DEPTHWISE_CONV_2D (1, kh, kw, O) to (O, 1, kh, kw), of TRANSPOSE_CONV (O, kh, kw, I), where I
counts the channels of its input, to (I, O, kh, kw).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from minigrad import ops
from minigrad.arguments import quoted
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.geometry import ConvSpec, Pads, conv_output_shape, resolve_padding
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.onnx_shapes import numbers_of
from minigrad.graphs.tflite_operation import Operation
from minigrad.ops.resampling import resample
from minigrad.ops.transposed import transposed as spread
from minigrad.sampling import picked
from minigrad.tensor import Tensor, require_room

__all__ = [
    "Window", "active", "average_pool", "bias_transposed", "convolution", "convolved", "depthwise",
    "max_pool", "resize_bilinear", "resize_nearest", "sizes_of", "transpose_to", "transposed",
    "window_of",
]  # fmt: skip

Made = Callable[..., Tensor]
Pair = tuple[int, int]
Window = tuple[Pair, Pair, str]  # stride, dilation, padding
LARGEST = 1 << 14  # pixels of an axis
CUSTOM_PADDING = {1: "same", 2: "valid"}


def window_of(o: Operation, dilated: bool = True) -> Window:
    """How the window of a node moves."""
    stride = o.pair("stride_h", "stride_w")
    dilation = o.pair("dilation_h_factor", "dilation_w_factor") if dilated else (1, 1)
    return stride, dilation, o.word("padding").lower()


def active(activation: Callable[[Tensor], Tensor] | None, y: Tensor) -> Tensor:
    """What a fused activation makes of a result."""
    return y if activation is None else activation(y)


def check_map(operator: str, x: Tensor) -> None:
    """x must be a map."""
    if x.ndim != 4:
        raise ShapeError(f"{operator}: x must have four axes, got {x.shape}")


def convolution(o: Operation) -> Made:
    """CONV_2D; the filters' channels say how many groups there are."""
    return partial(_convolve, window_of(o), False, o.activation)


def depthwise(o: Operation) -> Made:
    """DEPTHWISE_CONV_2D: each channel has filters of its own."""
    return partial(_convolve, window_of(o), True, o.activation)


def _convolve(
    window: Window, apart: bool, activation: Callable[[Tensor], Tensor] | None, x: Tensor,
    w: Tensor, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    return active(activation, convolved(window, apart, x, w, bias))


def convolved(window: Window, apart: bool, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of a map; ``apart`` says that each channel is a group."""
    check_map("a convolution", x)
    stride, dilation, padding = window
    if w.ndim != 4 or not w.shape[1] or x.shape[1] % w.shape[1]:
        raise ShapeError(f"filters {w.shape} for maps {x.shape}")
    groups = x.shape[1] if apart else x.shape[1] // w.shape[1]
    return ops.conv2d(x, w, bias, stride, padding, dilation, groups)


def transposed(o: Operation) -> Made:
    """TRANSPOSE_CONV, the input gradient of a convolution, to the shape that it is given."""
    return partial(_transposed, window_of(o, dilated=False), o.activation)


def _transposed(
    window: Window, activation: Callable[[Tensor], Tensor] | None, x: Tensor, w: Tensor,
    *given: Tensor | Array | None,
) -> Tensor:  # fmt: skip
    return active(activation, transpose_to(window, x, w, *given))


def transpose_to(window: Window, x: Tensor, w: Tensor, *given: Tensor | Array | None) -> Tensor:
    """The transpose plus its bias, if there is one, to the four sizes that are given last."""
    *biases, size = given
    sizes = numbers_of(np.asarray(size))
    if len(sizes) != 4:
        raise ShapeError(f"TRANSPOSE_CONV: a map has four sizes, not {quoted(sizes)}")
    bias = biases[0] if biases else None
    assert bias is None or isinstance(bias, Tensor)
    return transpose(window, x, w, bias, (sizes[1], sizes[2]))


def transpose(window: Window, x: Tensor, w: Tensor, bias: Tensor | None, size: Pair) -> Tensor:
    """The input gradient of a convolution with filters w for maps of this size, and the bias."""
    check_map("TRANSPOSE_CONV", x)
    stride, dilation, padding = window
    if min(size) < 1 or w.ndim != 4:
        raise ShapeError(f"TRANSPOSE_CONV: filters {w.shape} for maps of {size}")
    pads: Pads = resolve_padding(padding, size, (w.shape[2], w.shape[3]), stride)
    shape, spec = (x.shape[0], w.shape[1], *size), ConvSpec(stride, pads, dilation)
    if conv_output_shape(shape, w.shape, spec) != x.shape:
        raise ShapeError(f"TRANSPOSE_CONV of {x.shape} with filters {w.shape} has no map of {size}")
    return spread(x, w, bias, stride, pads, dilation, 1, size)


def bias_transposed(o: Operation) -> Made:
    """MediaPipe's Convolution2DTransposeBias, whose map has the least size for its padding."""
    padding, width, height = o.custom_integers(3)
    if padding not in CUSTOM_PADDING or min(width, height) < 1:
        raise UnreadNode(f"its options are {(padding, width, height)}")
    return partial(_bias_transposed, ((height, width), (1, 1), CUSTOM_PADDING[padding]))


def _bias_transposed(window: Window, x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
    check_map("Convolution2DTransposeBias", x)
    (sh, sw), _, padding = window
    least = (sh, sw) if padding == "same" else (w.shape[2], w.shape[3])
    size = sh * (x.shape[2] - 1) + least[0], sw * (x.shape[3] - 1) + least[1]
    return transpose(window, x, w, bias, size)


def pool_of(o: Operation) -> tuple[Pair, Window]:
    """The size of a pool's window, and how it moves."""
    size = o.pair("filter_height", "filter_width")
    if max(size) > LARGEST:
        raise UnreadNode(f"its window is {size}, and up to {LARGEST:,} pixels are read")
    return size, window_of(o, dilated=False)


def max_pool(o: Operation) -> Made:
    """MAX_POOL_2D."""
    return partial(_max_pool, *pool_of(o), o.activation)


def _max_pool(
    size: Pair, window: Window, activation: Callable[[Tensor], Tensor] | None, x: Tensor
) -> Tensor:
    return active(activation, ops.max_pool2d(x, size, window[0], window[2]))


def average_pool(o: Operation) -> Made:
    """AVERAGE_POOL_2D, which counts no pixel of the pads."""
    return partial(_average_pool, *pool_of(o), o.activation)


def _average_pool(
    size: Pair, window: Window, activation: Callable[[Tensor], Tensor] | None, x: Tensor
) -> Tensor:
    check_map("AVERAGE_POOL_2D", x)
    if window[2] == "valid" and size == x.shape[2:]:
        return active(activation, ops.global_avg_pool(x))
    y = ops.avg_pool2d(x, size, window[0], window[2], count_include_pad=False)
    return active(activation, y)


def _coordinates(o: Operation, half: str) -> str:
    corners, centres = o.flag("align_corners"), o.flag("half_pixel_centers")
    if corners and centres:
        raise UnreadNode("its options align_corners and half_pixel_centers are both set")
    return "align_corners" if corners else half if centres else "asymmetric"


def resize_bilinear(o: Operation) -> Made:
    """RESIZE_BILINEAR."""
    return partial(_resize, _coordinates(o, "half_pixel"))


def _resize(coordinates: str, x: Tensor, size: Array) -> Tensor:
    return ops.resize(x, sizes_of(x, size), "linear", coordinates)


def sizes_of(x: Tensor, size: Array) -> Pair:
    """The size that maps are to have."""
    check_map("RESIZE", x)
    sizes = numbers_of(size)
    if len(sizes) != 2 or min(sizes) < 1 or max(sizes) > LARGEST or 0 in x.shape:
        raise ShapeError(
            f"RESIZE: {x.shape} to {quoted(sizes)}; from 1 to {LARGEST:,} pixels are read"
        )
    return sizes[0], sizes[1]


def resize_nearest(o: Operation) -> Made:
    """RESIZE_NEAREST_NEIGHBOR: the pixel below, or with ``align_corners`` the nearest."""
    _coordinates(o, "")
    return partial(_nearest, o.flag("align_corners"), o.flag("half_pixel_centers"))


def _nearest(corners: bool, half: bool, x: Tensor, size: Array) -> Tensor:
    sizes = sizes_of(x, size)
    require_room("RESIZE_NEAREST_NEIGHBOR", (*x.shape[:2], *sizes), x.dtype)
    rows, columns = (
        picked(n, _pixels(n, m, corners, half)) for n, m in zip(x.shape[2:], sizes, strict=True)
    )
    return resample(x, rows, columns)


def _pixels(n: int, m: int, corners: bool, half: bool) -> list[int]:
    """Which of n pixels each of m is, found in float32."""
    scale = np.float32(n - 1) / np.float32(m - 1) if corners and m > 1 else np.float32(n) / m
    at = (np.arange(m, dtype=np.float32) + np.float32(0.5 if half else 0)) * np.float32(scale)
    nearest = np.floor(at + np.float32(0.5)) if corners else np.floor(at)
    return [int(i) for i in np.clip(nearest, 0, n - 1)]
