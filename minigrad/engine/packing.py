"""Filters in the order in which the compiled kernels read them: the definition, in NumPy.

A register holds L numbers of as many output channels.  The channels of a group are cut into
panels of V registers (3 if there are exactly 3, else 2, and 1 for one that is left over), and

    packed[panel, a, b, i, lane] = w[first channel of the panel + lane, i, a, b]
    packed[register, a, b, lane] = w[L register + lane, 0, a, b]                  if depthwise

with zeros in the lanes beyond the last channel.  A plan file holds filters like this, with the
four registers of zeros that kernels may read too far, up to the end of a page.  Every
instruction set has its own L, so a file says what L it was written for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minigrad.arrays import Array, Shape
from minigrad.engine.graph import Constant
from minigrad.engine.slab import LINE, Slab
from minigrad.geometry import ConvSpec, classify
from minigrad.kernels.cython.core import core, current_level
from minigrad.records import NamedTuple

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["PAGE", "REGISTERS", "Order", "PackedConstant", "aligned", "register_bytes"]

PAGE = 4096  # bytes
SLACK = 4  # registers
ZERO = bytes(16)  # what stands for numbers that nobody reads
REGISTERS = (16, 32, 64)  # bytes that a register may have


def register_bytes() -> int:
    """The size of a register of the compiled core that is used; 0 without one."""
    size: int = core.REGISTER_BYTES if current_level() else 0
    return size


def aligned(array: Array) -> Array:
    """The array itself if it begins with a cache line, else a copy that does."""
    if array.ctypes.data % LINE == 0:
        return array
    copy: Array = Slab(array.nbytes)(array.nbytes).view(array.dtype)
    copy[...] = array
    return copy


class Panel(NamedTuple):
    """A few registers of output channels, and where their filters begin, in numbers."""

    channel: int
    channels: int
    width: int
    start: int


class Order(NamedTuple):
    """How filters of (Cout, Cin/groups, kh, kw) are packed for registers of L numbers."""

    shape: tuple[int, int, int, int]
    groups: int
    lanes: int

    @staticmethod
    def of(shape: Sequence[int], groups: int, itemsize: int, register: int) -> Order:
        """That of filters, or of the two axes of a linear map, for registers of so many bytes."""
        cout, cin, kh, kw = (*shape, 1, 1)[:4]
        return Order((cout, cin, kh, kw), groups, register // itemsize)

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has a filter of its own."""
        return classify(ConvSpec(groups=self.groups), self.shape) == "depthwise"

    @property
    def numbers(self) -> int:
        """How many there are up to the slack."""
        cout, cin, kh, kw = self.shape
        if self.is_depthwise:
            return -(-cout // self.lanes) * kh * kw * self.lanes
        registers = self.groups * -(-(cout // self.groups) // self.lanes)
        return registers * cin * kh * kw * self.lanes

    def stored(self, itemsize: int) -> int:
        """How many numbers a file has for them: with the slack, whole pages."""
        page = PAGE // itemsize
        return -(-(self.numbers + SLACK * self.lanes) // page) * page

    def panels(self) -> Iterator[Panel]:
        """From the first channel to the last."""
        cout = self.shape[0] // self.groups
        reduction, start = math.prod(self.shape[1:]), 0
        for group in range(self.groups):
            channel, left = 0, -(-cout // self.lanes)
            while left:
                vectors = 3 if left == 3 and channel == 0 else min(left, 2)
                width = vectors * self.lanes
                channels = min(width, cout - channel)
                yield Panel(group * cout + channel, channels, width, start)
                start += width * reduction
                channel, left = channel + width, left - vectors

    def pack(self, w: Array) -> Array:
        """The filters as a file has them."""
        flat = np.zeros(self.stored(w.itemsize), w.dtype)
        w = w.reshape(self.shape)
        if self.is_depthwise:
            by_register = self._registers(flat)
            padded = np.zeros(self._padded(), w.dtype)
            padded[: self.shape[0]] = w[:, 0]
            by_register[...] = padded.reshape(len(by_register), self.lanes, -1).swapaxes(1, 2)
            return flat
        for panel, part in self._parts(flat):
            channels = slice(panel.channel, panel.channel + panel.channels)
            part[..., : panel.channels] = w[channels].transpose(2, 3, 1, 0)
        return flat

    def unpack(self, flat: Array) -> Array:
        """The filters that ``pack`` made this of, (Cout, Cin/groups, kh, kw)."""
        w = np.empty(self.shape, flat.dtype)
        if self.is_depthwise:
            whole = self._registers(flat).swapaxes(1, 2).reshape(self._padded())
            w[:, 0] = whole[: self.shape[0]]
            return w
        for panel, part in self._parts(flat):
            channels = slice(panel.channel, panel.channel + panel.channels)
            w[channels] = part[..., : panel.channels].transpose(3, 2, 0, 1)
        return w

    def _parts(self, flat: Array) -> Iterator[tuple[Panel, Array]]:
        """Each panel, and where it lies: (a, b, i, lane)."""
        _, cin, kh, kw = self.shape
        for panel in self.panels():
            size = cin * kh * kw * panel.width
            part = flat[panel.start : panel.start + size]
            yield panel, part.reshape(kh, kw, cin, panel.width)

    def _registers(self, flat: Array) -> Array:
        """Depthwise filters where they lie: (register, tap, lane)."""
        taps = self.shape[2] * self.shape[3]
        return flat[: self.numbers].reshape(-1, taps, self.lanes)

    def _padded(self) -> Shape:
        """The shape of depthwise filters for whole registers of channels."""
        cout, _, kh, kw = self.shape
        return -(-cout // self.lanes) * self.lanes, kh, kw


class PackedConstant(Constant):
    """Filters of a plan file as they lie there, unpacked when somebody asks for the numbers.

    Parameters
    ----------
    shape : tuple of int
        (Cout, Cin/groups, kh, kw), or (N, K) of a linear map.
    order : Order
    packed : ndarray
        ``order.stored`` numbers, beginning with a cache line.
    """

    __slots__ = ("_order", "_packed", "_unpacked")

    def __init__(self, shape: Shape, order: Order, packed: Array) -> None:
        super().__init__(np.ndarray(shape, packed.dtype, ZERO, strides=(0,) * len(shape)))
        self._order, self._packed = order, packed
        self._unpacked: Array | None = None

    @property
    def array(self) -> Array:
        """The filters unpacked."""
        if self._unpacked is None:
            self._unpacked = self._order.unpack(self._packed).reshape(self.shape)
        return self._unpacked

    def ready(self, groups: int) -> npt.NDArray[np.generic] | None:
        """The packed numbers, if the kernels of this machine read them as they lie."""
        lanes = register_bytes() // self.dtype.itemsize
        return self._packed if (groups, lanes) == self._order[1:] else None

    def __reduce__(self) -> tuple[type[Constant], tuple[Array]]:
        return Constant, (self.array,)
