"""One layer as work: its arrays, its cost, and how far from exact an answer may be.

Cost is counted, not measured:

    FLOPs = 2 N Cout Ho Wo (Cin / groups) kh kw

in every direction (the three functions hold the same trilinear form), taps on padding
counted.  Bytes are those of each array touched once.

An answer is right if every element lies within gamma_n T(|x|, |w|) of the float64 value,
n being the number of terms in one sum: no order of summation can do worse (Higham,
"Accuracy and Stability of Numerical Algorithms", section 3.1), while bfloat16 or a wrong
tap is far outside.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad import kernels
from minigrad.geometry import ConvSpec, Pair, conv_output_shape, conv_spec
from minigrad.kernels.contract import Array

__all__ = [
    "FUNCTIONS", "Layer", "Work", "dense", "depthwise", "empty_channels_last", "pointwise", "stem",
]  # fmt: skip

FUNCTIONS = {
    "forward": "conv2d",
    "input_grad": "conv2d_input_grad",
    "weight_grad": "conv2d_weight_grad",
}


class Layer(NamedTuple):
    """A convolution of a real network at batch 1.

    ``group`` is the line of the table of figures that the layer belongs to.
    """

    group: str
    cin: int
    cout: int
    kernel: Pair
    size: int
    stride: int = 1
    padding: Pair = (0, 0)
    groups: int = 1

    @property
    def name(self) -> str:
        kh, kw = self.kernel
        kind = self.group.split()[0]
        window = "" if kind == "pointwise" else f" {kh}x{kw}"
        channels = f"{self.cin}->{self.cout}" if self.groups == 1 else f"{self.cin}"
        stride = f" s{self.stride}" if self.stride > 1 else ""
        return f"{kind}{window} {channels}@{self.size}{stride}"

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return self.cout, self.cin // self.groups, *self.kernel

    def x_shape(self, batch: int) -> tuple[int, int, int, int]:
        return batch, self.cin, self.size, self.size

    @property
    def spec(self) -> ConvSpec:
        return conv_spec(
            self.x_shape(1), self.w_shape, self.stride, self.padding, groups=self.groups
        )

    def y_shape(self, batch: int) -> tuple[int, int, int, int]:
        return conv_output_shape(self.x_shape(batch), self.w_shape, self.spec)

    def flops(self, batch: int = 1) -> int:
        """2 x MACs, taps on padding counted.

        >>> dense((3, 3), 64, 64, 56).flops() == 2 * 64 * 56 * 56 * 64 * 9
        True
        """
        return 2 * math.prod(self.y_shape(batch)) * math.prod(self.w_shape[1:])

    def bytes(self, batch: int = 1) -> int:
        """What has to move at least once: input, weights and output, in float32."""
        shapes = self.x_shape(batch), self.w_shape, self.y_shape(batch)
        return 4 * sum(math.prod(shape) for shape in shapes)

    def intensity(self, batch: int = 1) -> float:
        """FLOPs a byte."""
        return self.flops(batch) / self.bytes(batch)


def pointwise(cin: int, cout: int, size: int) -> Layer:
    return Layer("pointwise", cin, cout, (1, 1), size)


def depthwise(k: int, channels: int, size: int, stride: int = 1) -> Layer:
    if stride > 1:
        group = "depthwise s2"
    elif k == 3 and size < 14:
        group = "depthwise 3x3, 7x7 map"
    else:
        group = f"depthwise {k}x{k}"
    return Layer(group, channels, channels, (k, k), size, stride, (k // 2, k // 2), channels)


def dense(kernel: Pair, cin: int, cout: int, size: int) -> Layer:
    return Layer("dense", cin, cout, kernel, size, 1, (kernel[0] // 2, kernel[1] // 2))


def stem(k: int, cout: int, size: int, padding: int) -> Layer:
    return Layer("stem", 3, cout, (k, k), size, 2, (padding, padding))


@dataclass(frozen=True)
class Work:
    """One call that every engine has to make: the same values for all, channels-last.

    x (N, Cin, H, W), w (Cout, Cin/groups, kh, kw), bias (Cout,), g (N, Cout, Ho, Wo),
    all float32; ``expected`` and ``bound`` are float64, of the shape of the answer.
    """

    layer: Layer
    batch: int
    direction: str
    x: Array
    w: Array
    bias: Array
    g: Array
    expected: Array
    bound: Array

    @property
    def spec(self) -> ConvSpec:
        return self.layer.spec

    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the contract's function for this direction."""
        return _arguments(self.direction, self.spec, self.x, self.w, self.bias, self.g)

    def excess(self, got: Array) -> float:
        """The largest error over the bound; above 1 the answer is wrong, NaN included."""
        if got.shape != self.expected.shape or not np.isfinite(got).all():
            return math.inf
        with np.errstate(invalid="ignore"):
            over = np.abs(got - self.expected) / self.bound
        return float(np.nan_to_num(over, nan=0.0).max(initial=0.0))  # 0 / 0: exact, as it must be

    @classmethod
    def make(cls, layer: Layer, batch: int, direction: str) -> Work:
        """General values (a sum of simple ones would be exact in any order)."""
        rng = np.random.default_rng(zlib.crc32(f"{layer.name} {batch}".encode()))
        x, g = (_channels_last(rng, s) for s in (layer.x_shape(batch), layer.y_shape(batch)))
        w = rng.standard_normal(layer.w_shape, np.float32)
        bias = rng.standard_normal(layer.cout, np.float32)
        arrays = (x, w, bias, g)
        expected = _float64(layer, direction, arrays, lambda a: a)
        size = _float64(layer, direction, arrays, np.abs)
        return cls(
            layer, batch, direction, *arrays, expected, _gamma(layer, batch, direction) * size
        )


def _channels_last(rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Array:
    """On a cache line, where any engine puts the map that one layer hands to the next."""
    n, c, h, w = shape
    nchw = empty_channels_last(shape)
    nchw[...] = rng.standard_normal((n, h, w, c), np.float32).transpose(0, 3, 1, 2)
    return nchw


def empty_channels_last(shape: Sequence[int]) -> Array:
    """A float32 map that begins on a cache line; ``np.empty`` begins 16 bytes after one."""
    n, c, h, w = shape
    memory = np.empty(4 * math.prod(shape) + 64, np.uint8)
    start = -memory.ctypes.data % 64
    pixels = memory[start : start + 4 * math.prod(shape)].view(np.float32)
    nchw: Array = pixels.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return nchw


def _arguments(
    direction: str, spec: ConvSpec, x: Array, w: Array, bias: Array, g: Array
) -> tuple[Any, ...]:
    if direction == "forward":
        return x, w, bias, spec
    if direction == "input_grad":
        return g, w, x.shape, spec
    return g, x, w.shape, spec


def _float64(
    layer: Layer, direction: str, arrays: tuple[Array, ...], f: Callable[[Array], Array]
) -> Array:
    """The answer for f(arrays) in float64, by the NumPy backend."""
    kind = kernels.classify(layer.spec, layer.w_shape)
    with kernels.backend("numpy"):
        kernel = kernels.find(FUNCTIONS[direction], kind)
    x, w, bias, g = (f(a).astype(np.float64) for a in arrays)
    result: Array = kernel.call(*_arguments(direction, layer.spec, x, w, bias, g))
    return result


def _gamma(layer: Layer, batch: int, direction: str) -> float:
    """n u / (1 - n u) for float32, n = terms of one sum + 2.

    One for the rounding of a product, one that covers the float64 value's own error.
    """
    kh, kw = layer.kernel
    _, _, ho, wo = layer.y_shape(batch)
    terms = {
        "forward": layer.cin // layer.groups * kh * kw + 1,
        "input_grad": layer.cout // layer.groups * kh * kw,
        "weight_grad": batch * ho * wo,
    }[direction]
    nu = (terms + 2) * 2.0**-24
    return nu / (1 - nu)
