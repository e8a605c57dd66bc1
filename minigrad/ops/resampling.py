"""Maps in another size: a weighted sum of few pixels for each, rows and columns apart.

    y[n,c,p,q] = sum_s r[p,s] sum_t k[q,t] x[n, c, i(p,s), j(q,t)]

with the pixels i, j and the weights r, k of ``minigrad.sampling``.  The map is linear in x; its
rule is its transpose, which adds each weighted cotangent to the pixels that were read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minigrad.arguments import flag, number, one_of, quoted
from minigrad.errors import ArgumentError, ShapeError
from minigrad.geometry import pair
from minigrad.ops.scattering import CHAIN, Part, added_at
from minigrad.ops.shaping import reshape
from minigrad.sampling import (
    COORDINATES,
    MODES,
    ROUNDINGS,
    Resizing,
    Taps,
    kept,
    picked,
    resize_taps,
)
from minigrad.tensor import (
    FLOATS,
    Array,
    Shape,
    Tensor,
    expect_tensor,
    primitive,
    require_room,
)

__all__ = ["resample", "resize", "take"]


def _along(x: Array, taps: Taps, axis: int) -> Array:
    """y[p] = sum_t weight[p,t] x[index[p,t]] along an axis, t ascending."""
    if taps.is_identity:
        return x
    index = np.array(taps.pixels, np.intp)
    if taps.is_selection:
        return np.asarray(np.take(x, index[:, 0], axis))
    shape = (-1,) + (1,) * (x.ndim - 1 - axis)
    weight = np.array(taps.weights, x.dtype)
    y: Array = np.take(x, index[:, 0], axis) * weight[:, 0].reshape(shape)
    for t in range(1, index.shape[1]):
        y += np.take(x, index[:, t], axis) * weight[:, t].reshape(shape)
    return y


def _back_along(g: Array, taps: Taps, axis: int, dtype: np.dtype[np.generic]) -> Array:
    """The transpose of ``_along``, whose weights are of this dtype, in float64."""
    if taps.is_identity:
        return g
    shape = (*g.shape[:axis], taps.size, *g.shape[axis + 1 :])
    return added_at(shape, FLOATS[1], _added_along(g, taps, axis, dtype))


def _added_along(g: Array, taps: Taps, axis: int, dtype: np.dtype[np.generic]) -> Iterator[Part]:
    """CHAIN outputs at a time: the stretch of pixels that they read, and what each gets."""
    index, weight = np.array(taps.pixels, np.intp), np.array(taps.weights, dtype)
    wide = weight.astype(np.float64).reshape(*weight.shape, *(1,) * (g.ndim - 1 - axis))
    before = (slice(None),) * axis
    for start in range(0, len(index), CHAIN):
        part = slice(start, start + CHAIN)
        first, last = int(np.min(index[part])), int(np.max(index[part])) + 1
        here = (*before, part)
        values = g[here]
        for t in range(index.shape[1]):
            at = (*before, index[part, t] - first)
            yield (*before, slice(first, last)), at, values * wide[part, t]


@primitive(images=("x",), arithmetic=True)
def _resample(x: Array, *, rows: Taps, columns: Taps) -> Array:
    """y[n,c,p,q] = sum_s r[p,s] sum_t k[q,t] x[n, c, i(p,s), j(q,t)]."""
    y = _along(_along(x, columns, 3), rows, 2)
    return y.copy() if y is x else y


@_resample.shape
def _resample_shape(x: Shape, *, rows: Taps, columns: Taps) -> Shape:
    return (*x[:2], rows.length, columns.length)


@_resample.vjp("x", "x̄[i(p,s), j(q,t)] += r[p,s] k[q,t] ȳ[p,q]")
def _resample_x(g: Tensor, rows: Taps, columns: Taps) -> Tensor:
    return _resample_input_grad(g, rows=rows, columns=columns)


@primitive(images=("dy",), arithmetic=True)
def _resample_input_grad(dy: Array, *, rows: Taps, columns: Taps) -> Array:
    """y[n, c, i(p,s), j(q,t)] += r[p,s] k[q,t] dy[n,c,p,q], from zeros."""
    y = _back_along(_back_along(dy, rows, 2, dy.dtype), columns, 3, dy.dtype)
    return y.copy() if y is dy else y.astype(dy.dtype)


@_resample_input_grad.shape
def _resample_input_grad_shape(dy: Shape, *, rows: Taps, columns: Taps) -> Shape:
    return (*dy[:2], rows.size, columns.size)


@_resample_input_grad.vjp("dy", "d̄y = ȳ resampled")
def _resample_input_grad_dy(g: Tensor, rows: Taps, columns: Taps) -> Tensor:
    return _resample(g, rows=rows, columns=columns)


def resample(x: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """y[n,c,p,q] = sum_s r[p,s] sum_t k[q,t] x[n, c, i(p,s), j(q,t)].

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
    rows, columns : Taps
        Of sizes H and W.

    Returns
    -------
    Tensor, (N, C, Ho, Wo)

    Raises
    ------
    ShapeError
        If x is no map of these sizes.
    DtypeError
        If x is no Tensor.
    """
    expect_tensor("resample", "x", x)
    if x.ndim != 4 or x.shape[2:] != (rows.size, columns.size):
        raise ShapeError(f"resample: x must be (N, C, {rows.size}, {columns.size}), got {x.shape}")
    require_room("resample", (*x.shape[:2], rows.length, columns.length), x.dtype)
    return _resample(x, rows=rows, columns=columns)


def take(x: Tensor, index: Sequence[int], axis: int) -> Tensor:
    """The elements of x at places of one axis, in the order of the places.

    Parameters
    ----------
    x : Tensor
    index : sequence of int
        From 0 to below the axis' length; some may come twice.
    axis : int
        From 0 on.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If a place is not on the axis.
    DtypeError
        If x is no Tensor.
    """
    expect_tensor("take", "x", x)
    n = x.shape[axis]
    if not index:
        raise ShapeError("take: there is no place to take from")
    if any(not 0 <= i < n for i in index):
        raise ShapeError(f"take: places {quoted(tuple(index))} on an axis of {n}")
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    if x.ndim == 4 and axis >= 2:
        other, along = kept(x.shape[5 - axis]), picked(n, index)
        return resample(x, *((along, other) if axis == 2 else (other, along)))
    outer, inner = int(np.prod(before)), int(np.prod(after))
    lines = reshape(x, outer, 1, n, inner)
    y = resample(lines, picked(n, index), kept(inner))
    return reshape(y, (*before, len(index), *after))


def resize(
    x: Tensor,
    size: int | Sequence[int],
    mode: str = "nearest",
    coordinates: str = "half_pixel",
    rounding: str = "round_prefer_floor",
    scales: Sequence[float] | None = None,
    cubic: float = -0.75,
    exclude_outside: bool = False,
    antialias: bool = False,
) -> Tensor:
    """The maps in another size, as ONNX's Resize, whose words these are.

    PyTorch's ``interpolate(mode="bilinear")`` is ``mode="linear"``, and with ``align_corners``
    ``coordinates="align_corners"``; its ``mode="nearest"`` is ``coordinates="asymmetric",
    rounding="floor"``.  ``minigrad.sampling`` has the formulas.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
    size : int or (Ho, Wo)
    mode : {"nearest", "linear", "cubic"}
    coordinates : str
        Where a pixel of the output lies in the input: "half_pixel", "half_pixel_symmetric",
        "pytorch_half_pixel", "tf_half_pixel_for_nn", "align_corners" or "asymmetric".
    rounding : {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}
        Of nearest.
    scales : (float, float), optional
        Output over input size where it is not ``size`` over x's.
    cubic : float
        a of the cubic kernel.
    exclude_outside : bool
        Pixels beyond an edge have no weight, instead of the edge's pixel.
    antialias : bool
        Where the map becomes smaller, the kernel becomes wider.

    Returns
    -------
    Tensor, (N, C, Ho, Wo)

    Raises
    ------
    ShapeError
        If x is of another shape, or empty.
    DtypeError, ArgumentError
        If x is no Tensor, or another argument is not what is said above.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.resize(mg.Tensor([[[[1.0, 3.0]]]]), (1, 4), mode="linear").numpy()
    array([[[[1. , 1.5, 2.5, 3. ]]]], dtype=float32)
    """
    expect_tensor("resize", "x", x)
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ShapeError(f"resize: x must be (N, C, H, W), not empty; got {x.shape}")
    sizes = pair(size, "size")
    require_room("resize", (*x.shape[:2], *sizes), x.dtype)
    how = _resizing(mode, coordinates, rounding, cubic, exclude_outside, antialias)
    return resample(x, *_taps_of_axes((x.shape[2], x.shape[3]), sizes, scales, how))


def _resizing(
    mode: str, coordinates: str, rounding: str, cubic: float, exclude_outside: bool, antialias: bool
) -> Resizing:
    """How a map is resized, its words checked."""
    return Resizing(
        one_of("resize", "mode", mode, MODES),
        one_of("resize", "coordinates", coordinates, COORDINATES[:-1]),
        one_of("resize", "rounding", rounding, tuple(ROUNDINGS)),
        number("resize", "cubic", cubic, -1e3, 1e3),
        flag("resize", "exclude_outside", exclude_outside),
        flag("resize", "antialias", antialias),
    )


def _taps_of_axes(
    given: tuple[int, int], sizes: tuple[int, int], scales: Sequence[float] | None, how: Resizing
) -> Iterator[Taps]:
    """The taps of the rows and of the columns."""
    for n, m, scale in zip(given, sizes, _factors(scales, sizes, given), strict=True):
        yield resize_taps(n, m, scale, how)[0]


def _factors(
    scales: Sequence[float] | None, sizes: tuple[int, int], old: tuple[int, int]
) -> tuple[float, float]:
    """Output over input size of rows and columns."""
    if scales is None:
        return sizes[0] / old[0], sizes[1] / old[1]
    if not isinstance(scales, (tuple, list)) or len(scales) != 2:
        raise ArgumentError(f"resize: scales must be two numbers > 0, not {quoted(scales)}")
    first, second = (number("resize", "a scale", s, above=0.0, below=1e6) for s in scales)
    for n, m, scale in zip(old, sizes, (first, second), strict=True):
        if abs(n * scale - m) > 1:
            raise ArgumentError(f"resize: {n} pixels become {m}, which is no scale of {scale:g}")
    return first, second
