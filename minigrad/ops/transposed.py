"""Transposed convolution: each pixel of x scatters a window of weights into y.

    y[n, o, p s - P + a d, q s' - P' + b d'] += sum_i x[n, i, p, q] w[i, o, a, b],   from the bias

(sums over the channels i of o's group).  It is the input gradient of a convolution, computed as
convolutions of its own: the output pixels t = s u + r of one remainder r meet the taps with
a d = r + P (mod s) alone, and those, turned round, are a convolution of x with stride 1.  The
s s' maps that come out are woven into one,

    interleave   y[n, c, h, v] = x_k[n, c, h // s, v // s'],   k = (h mod s) s' + v mod s'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrad.errors import ShapeError
from minigrad.geometry import Padding, Pads, pair, resolve_padding
from minigrad.ops.axes import broadcast_to, permute
from minigrad.ops.conv import conv2d
from minigrad.ops.indexing import getitem
from minigrad.ops.shaping import reshape
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive, require_room, wrap

__all__ = ["conv_transpose2d", "interleave", "transposed", "woven"]

Pair = tuple[int, int]
MOST_MAPS = 1024  # that are woven into one


@primitive(images=("xs",))
def _interleave(*xs: Array, stride: Pair, size: Pair) -> Array:
    """y[n,c,h,v] = x_k[n, c, h // s, v // s'], k = (h mod s) s' + v mod s'."""
    y = np.empty((*xs[0].shape[:2], *size), xs[0].dtype)
    for k, x in enumerate(xs):
        y[woven(k, stride)] = x
    return y


def woven(k: int, stride: Pair) -> tuple[slice, ...]:
    """Where map k of an interleave lies."""
    row, column = divmod(k, stride[1])
    return slice(None), slice(None), slice(row, None, stride[0]), slice(column, None, stride[1])


@_interleave.shape
def _interleave_shape(*xs: Shape, stride: Pair, size: Pair) -> Shape:
    return (*xs[0][:2], *size)


@_interleave.vjp("xs", "x̄_k = the pixels of ȳ that it became")
def _interleave_xs(g: Tensor, which: int, stride: Pair) -> Tensor:
    return getitem(g, woven(which, stride))


def interleave(xs: Sequence[Tensor], stride: Pair, size: Pair) -> Tensor:
    """Maps woven into one: pixel (h, v) comes from map (h mod s) s' + v mod s'.

    Parameters
    ----------
    xs : sequence of Tensor, (N, C, H_k, W_k)
        s s' of them.
    stride : (int, int)
        s and s'.
    size : (int, int)
        Of the woven map.

    Returns
    -------
    Tensor, (N, C, *size)

    Raises
    ------
    ShapeError
        If there are not s s' maps, each with the pixels that are taken of it.
    DtypeError
        If one is no Tensor.
    """
    for x in xs:
        expect_tensor("interleave", "xs", x)
    if min(stride) < 1 or min(size) < 1 or not 1 <= len(xs) == stride[0] * stride[1]:
        raise ShapeError(f"interleave: {len(xs)} maps woven by {stride} into {size}")
    require_room("interleave", (*xs[0].shape[:2], *size), xs[0].dtype)
    for x, remainder in zip(xs, np.ndindex(*stride), strict=True):
        part = tuple(-(-(n - r) // s) for n, r, s in zip(size, remainder, stride, strict=True))
        if x.shape != (*xs[0].shape[:2], *part):
            raise ShapeError(f"interleave: a map of {x.shape} where {part} pixels are taken")
    return _interleave(*xs, stride=stride, size=size)


class Phase(NamedTuple):
    """The taps of one remainder along one axis, and how the convolution with them lies."""

    taps: slice
    dilation: int
    pads: Pair  # negative where x is cut
    size: int


def phase(n: int, k: int, s: int, before: int, d: int, size: int, r: int) -> Phase | None:
    """Output pixels r, r + s, ... of ``size``; None if nothing of x meets them."""
    count, taps = -(-(size - r) // s), [a for a in range(k) if (r + before - a * d) % s == 0]
    if count < 1 or not taps:
        return None
    step = taps[1] - taps[0] if len(taps) > 1 else k
    dilation = step * d // s if len(taps) > 1 else 1
    first = (r + before - taps[-1] * d) // s  # what pixel r reads first
    last = first + dilation * (len(taps) - 1) + count - 1
    if first >= n or last < 0:
        return None
    return Phase(slice(taps[-1], None, -step), dilation, (-first, last - n + 1), count)


def transposed(
    x: Tensor, w: Tensor, bias: Tensor | None, stride: Pair, pads: Pads, dilation: Pair,
    groups: int, size: Pair,
) -> Tensor:  # fmt: skip
    """The transposed convolution for an output of a given size.

    Parameters
    ----------
    x : Tensor, (N, Cin, H, W)
    w : Tensor, (Cin, Cout / groups, kh, kw)
    bias : Tensor, (Cout,), or None
    stride, dilation : (int, int)
    pads : ((int, int), (int, int))
        How many pixels are cut before and after; those before alone matter beside ``size``.
    groups : int
    size : (int, int)
        Of the output.

    Returns
    -------
    Tensor, (N, Cout, *size)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DtypeError
        If an argument is no Tensor.
    """
    expect_tensor("conv_transpose2d", "x", x)
    expect_tensor("conv_transpose2d", "weight", w)
    _check_shapes(x.shape, w.shape, stride, groups, size)
    require_room("conv_transpose2d", (x.shape[0], w.shape[1] * groups, *size), x.dtype)
    turned = _for_convolution(w, groups)
    maps = [
        _phase_map(x, turned, bias, [
            phase(n, k, s, before, d, m, r) for n, k, s, (before, _), d, m, r in zip(
                x.shape[2:], w.shape[2:], stride, pads, dilation, size, remainder, strict=True)
        ], groups, [-(-(m - r) // s) for m, r, s in zip(size, remainder, stride, strict=True)])
        for remainder in np.ndindex(*stride)
    ]  # fmt: skip
    return maps[0] if len(maps) == 1 else _interleave(*maps, stride=stride, size=size)


def _check_shapes(x: Shape, w: Shape, stride: Pair, groups: int, size: Pair) -> None:
    if len(x) != 4 or len(w) != 4 or x[1] != w[0] or groups < 1 or x[1] % groups:
        raise ShapeError(
            f"conv_transpose2d: x (N, Cin, H, W) = {x} and weight (Cin, Cout/groups, kh, kw) = "
            f"{w} do not fit with groups={groups}"
        )
    if stride[0] * stride[1] > MOST_MAPS:
        raise ShapeError(f"conv_transpose2d: a stride of {stride} is larger than any that is used")
    if min(size) < 1 or 0 in (*x[1:], *w):
        raise ShapeError(f"conv_transpose2d: x {x} and weight {w} give nothing ({size})")


def _for_convolution(w: Tensor, groups: int) -> Tensor:
    """(Cin, Cout / groups, kh, kw) as (Cout, Cin / groups, kh, kw)."""
    cin, each, kh, kw = w.shape
    parted = permute(reshape(w, groups, cin // groups, each, kh, kw), 0, 2, 1, 3, 4)
    return reshape(parted, groups * each, cin // groups, kh, kw)


def _phase_map(
    x: Tensor, w: Tensor, bias: Tensor | None, phases: Sequence[Phase | None], groups: int,
    size: Sequence[int],
) -> Tensor:  # fmt: skip
    """The output pixels of one remainder: a convolution with their taps."""
    rows, columns = phases
    if rows is None or columns is None:
        shape = (x.shape[0], w.shape[0], *(max(n, 0) for n in size))
        value = wrap(np.zeros(w.shape[0], x.dtype)) if bias is None else bias
        return broadcast_to(reshape(value, 1, -1, 1, 1), shape)
    cuts = tuple(
        slice(max(-p.pads[0], 0), n - max(-p.pads[1], 0))
        for p, n in zip((rows, columns), x.shape[2:], strict=True)
    )
    if cuts != (slice(0, x.shape[2]), slice(0, x.shape[3])):
        x = getitem(x, (slice(None), slice(None), *cuts))
    taps = getitem(w, (slice(None), slice(None), rows.taps, columns.taps))
    pads = [[max(pad, 0) for pad in p.pads] for p in (rows, columns)]
    return conv2d(x, taps, bias, 1, pads, (rows.dilation, columns.dilation), groups)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """y[o, p s - P + a d, ...] += sum_i x[i, p, ...] w[i, o, a, ...], from the bias, as PyTorch's.

    Parameters
    ----------
    x : Tensor, (N, Cin, H, W)
    weight : Tensor, (Cin, Cout / groups, kh, kw)
    bias : Tensor, (Cout,), optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, (vertical, horizontal) or ((top, bottom), (left, right))
        Pixels cut from the edges of the output.
    output_padding : int or (vertical, horizontal)
        Pixels that the output has more, at the bottom and on the right.
    groups : int

    Returns
    -------
    Tensor, (N, Cout, s (H - 1) + d (kh - 1) + 1 + more - pads, ...)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DtypeError, ArgumentError
        If an argument has a wrong type.

    Examples
    --------
    >>> import minigrad as mg
    >>> x, w = mg.ones(1, 1, 1, 2), mg.Tensor([[[[1.0, 2.0, 3.0]]]])
    >>> mg.conv_transpose2d(x, w, stride=(1, 2)).numpy()
    array([[[[1., 2., 4., 2., 3.]]]], dtype=float32)
    """
    expect_tensor("conv_transpose2d", "x", x)
    expect_tensor("conv_transpose2d", "weight", weight)
    steps, apart = pair(stride, "stride"), pair(dilation, "dilation")
    more, parts = pair(output_padding, "output_padding", 0), pair(groups, "groups")[0]
    if x.ndim != 4 or weight.ndim != 4:
        _check_shapes(x.shape, weight.shape, steps, parts, (1, 1))
    kernel = (weight.shape[2], weight.shape[3])
    pads = resolve_padding(padding, (x.shape[2], x.shape[3]), kernel, steps, apart)
    height, width = (
        s * (n - 1) + d * (k - 1) + 1 + extra - sum(p)
        for n, k, s, d, extra, p in zip(x.shape[2:], kernel, steps, apart, more, pads, strict=True)
    )
    return transposed(x, weight, bias, steps, pads, apart, parts, (height, width))
