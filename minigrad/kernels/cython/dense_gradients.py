"""Both gradients of a convolution that mixes channels, in the compiled core.

One trilinear form T(x, w, g) stands behind all three functions of a kind (``contract``).
The input gradient asks the forward sum from the other side,

    dx[n,i,h,v] = sum_{a,b,o} w[o,i,a,b] g[n,o,p,q],    p s = h + P - a d,  q alike:

for one remainder r of h modulo s it is a convolution of g with those taps that divide, at
stride 1.  As a goes up p goes down, so both maps are walked backwards (``Remainder``), and
the taps come in the order of the contract, (a, b, o) ascending, with the kernels of the
forward sum.

The weight gradient is the same form with the sum over pixels (n, p, q) ascending:
``ext/weight_grad.pyx.tp``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minigrad.arrays import Array
from minigrad.geometry import ConvSpec, Pair
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import channels_last, empty_channels_last, regular
from minigrad.threads import num_threads

__all__ = [
    "Calls",
    "Weights",
    "Zeros",
    "bind_dense_input_grad",
    "bind_dense_weight_grad",
    "bind_remainders",
    "by_groups",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "swap_channels",
]

ALL = slice(None)
Weights: TypeAlias = "Callable[[Array, ConvSpec], Any]"  # packs them


def conv2d_input_grad(
    g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec, *, threads: int | None = None
) -> Array:
    """dx[n,i,h,v] = sum_{a,b,o} w[o,i,a,b] g[n,o,p,q], terms in that order of (a, b, o).

    Parameters
    ----------
    g : (N, Cout, Ho, Wo), w : (Cout, Cin/groups, kh, kw)
    x_shape : (N, Cin, H, W), the shape of the result, which is channels-last in memory
    """
    if not regular(w):
        w = np.array(w, order="C")
    workers = threads or num_threads()
    dx = empty_channels_last(tuple(x_shape), g.dtype)
    bind_dense_input_grad(channels_last(g, workers), w, dx, spec).run(workers)
    return dx


def conv2d_weight_grad(
    g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec, *, threads: int | None = None
) -> Array:
    """dw[o,i,a,b] = sum_{n,p,q} g[n,o,p,q] x[n, ch(o,i), h, v], terms in that order of (n, p, q).

    Parameters
    ----------
    g : (N, Cout, Ho, Wo), x : (N, Cin, H, W)
    w_shape : (Cout, Cin/groups, kh, kw), the shape of the result
    """
    workers = threads or num_threads()
    dw = np.empty(tuple(w_shape), g.dtype)
    g, x = channels_last(g, workers), channels_last(x, workers)
    bind_dense_weight_grad(g, x, dw, spec).run(workers)
    return dw


def bind_dense_weight_grad(g: Array, x: Array, dw: Array, spec: ConvSpec) -> Any:
    """The call that writes dT/dw to dw, of which only the number of threads is open.

    g and x are channels-last; dw is C-contiguous.
    """
    if dw.size == 0:
        return Calls(())
    return core.WeightGradCall(g, x, dw, spec)


def bind_dense_input_grad(
    g: Array, w: Array, dx: Array, spec: ConvSpec, weights: Weights | None = None
) -> Any:
    """The call that writes dT/dx to dx; g and dx are channels-last.

    The weights are read when the call is bound, g each time it is run.  ``weights(w, spec)``
    packs them, as ``core.DenseWeights`` does; with one group it is given views of w.
    """
    if dx.size == 0:
        return Calls(())
    if g.size == 0:
        return Zeros(dx)
    turned = swap_channels(w, spec.groups)
    return Calls(tuple(bind_remainders(weights or core.DenseWeights, g, turned, dx, spec)))


class Calls(NamedTuple):
    """Several calls as one."""

    calls: tuple[Any, ...]

    def run(self, threads: int = 1) -> None:
        for call in self.calls:
            call.run(threads)


class Zeros(NamedTuple):
    """The call for positions that no tap reaches."""

    part: Array

    def run(self, threads: int = 1) -> None:
        self.part[...] = 0


class Remainder(NamedTuple):
    """The input positions h = first + j s of one axis, and the taps that reach them.

    The taps are a = tap, tap + every, ...; with j and p counted from the end of their axes,
    tap number t of position j reads p = j - before + t apart.

    >>> remainders(size=6, out=3, kernel=3, stride=2, pad=1, dilation=1)[0]
    Remainder(first=0, length=3, tap=1, every=2, taps=1, before=0, apart=1)
    """

    first: int
    length: int
    tap: int
    every: int
    taps: int
    before: int
    apart: int

    def after(self, out: int) -> int:
        """The pad that makes a window of these taps give ``length`` positions."""
        return self.length + self.apart * (self.taps - 1) - out - self.before


@functools.lru_cache(maxsize=1024)
def remainders(
    size: int, out: int, kernel: int, stride: int, pad: int, dilation: int
) -> tuple[Remainder, ...]:
    """The remainders of h modulo the stride, along one axis; see the module's docstring."""
    every = stride // math.gcd(stride, dilation)
    found = []
    for first in range(min(stride, size)):
        length = -(-(size - first) // stride)
        reached = [a for a in range(kernel) if (first + pad - a * dilation) % stride == 0]
        tap = reached[0] if reached else 0
        start = (first + pad - tap * dilation) // stride  # the p of j = 0
        found.append(
            Remainder(
                first, length, tap, every, len(reached), length + start - out,
                every * dilation // stride,
            )
        )  # fmt: skip
    return tuple(found)


class Part(NamedTuple):
    """The pixels of dx with one pair of remainders, backwards; their taps; the convolution."""

    pixels: tuple[slice, ...]
    taps: tuple[slice, ...]
    spec: ConvSpec | None  # None where no tap reaches them


@functools.lru_cache(maxsize=1024)
def _parts(size: Pair, out: Pair, kernel: Pair, spec: ConvSpec) -> tuple[Part, ...]:
    (sh, sw), ((top, _), (left, _)), (dh, dw), groups = spec
    found = []
    for r in remainders(size[0], out[0], kernel[0], sh, top, dh):
        for c in remainders(size[1], out[1], kernel[1], sw, left, dw):
            last = (r.first + (r.length - 1) * sh, c.first + (c.length - 1) * sw)
            pads = (r.before, r.after(out[0])), (c.before, c.after(out[1]))
            each = ConvSpec((1, 1), pads, (r.apart, c.apart), groups) if r.taps and c.taps else None
            pixels = slice(last[0], None, -sh), slice(last[1], None, -sw)
            taps = slice(r.tap, None, r.every), slice(c.tap, None, c.every)
            found.append(Part((ALL, ALL, *pixels), (ALL, ALL, *taps), each))
    return tuple(found)


def bind_remainders(
    weights: Weights, g: Array, w: Array, dx: Array, spec: ConvSpec
) -> Iterator[Any]:
    """One forward call for each pair of remainders, on maps that are walked backwards.

    ``weights`` packs what w, (Cin, Cout/groups, kh, kw), is for one of them.
    """
    backwards = g[:, :, ::-1, ::-1]
    for pixels, taps, each in _parts(dx.shape[2:], g.shape[2:], w.shape[2:], spec):
        if each is None:
            yield Zeros(dx[pixels])
        else:
            yield weights(w[taps], each).bind(backwards, dx[pixels])


def swap_channels(w: Array, groups: int) -> Array:
    """(Cout, Cin/groups, kh, kw) as (Cin, Cout/groups, kh, kw): what maps g back to x.

    A view of w with one group, otherwise a copy.
    """
    parts = by_groups(w, groups)
    swapped: Array = parts.reshape(-1, *parts.shape[2:])
    return swapped


def by_groups(w: Array, groups: int) -> Array:
    """(groups, Cin/groups, Cout/groups, kh, kw), a view of w."""
    cout, cin, kh, kw = w.shape
    view: Array = w.reshape(groups, cout // groups, cin, kh, kw).transpose(0, 2, 1, 3, 4)
    return view
