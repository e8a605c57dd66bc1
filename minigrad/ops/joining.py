"""Joining tensors: one after another along an axis, or along a new one.

y = [x_1, x_2, ...]   =>   x̄_k = the k-th piece of ȳ
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.arguments import quoted
from minigrad.errors import ArgumentError, ShapeError
from minigrad.ops.indexing import getitem
from minigrad.ops.shaping import axis_of, one_axis, unsqueeze
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive

__all__ = ["concat", "stack"]


@primitive(images=("xs",))
def _concat(*xs: Array, axis: int) -> Array:
    """The arrays one after another along ``axis``."""
    return np.concatenate(xs, axis)


@_concat.shape
def _concat_shape(*xs: Shape, axis: int) -> Shape:
    return (*xs[0][:axis], sum(x[axis] for x in xs), *xs[0][axis + 1 :])


@_concat.mixing
def _concat_mixes(*xs: Shape, axis: int) -> bool:
    return axis == 0


@_concat.vjp("xs", "x̄_k = the k-th piece of ȳ")
def _concat_xs(g: Tensor, xs_shapes: tuple[Shape, ...], which: int, axis: int) -> Tensor:
    start = sum(s[axis] for s in xs_shapes[:which])
    piece = slice(start, start + xs_shapes[which][axis])
    return getitem(g, (*(slice(None),) * axis, piece))


def _several(function: str, xs: object) -> list[Tensor]:
    if isinstance(xs, Tensor) or not isinstance(xs, Sequence) or isinstance(xs, (str, bytes)):
        raise ArgumentError(f"{function} takes a list of Tensors, not {quoted(xs)}")
    if not xs:
        raise ShapeError(f"{function}: expected at least one tensor")
    return [expect_tensor(function, f"xs[{k}]", x) for k, x in enumerate(xs)]


def concat(xs: Sequence[Tensor], axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """The tensors one after another along an axis.

    Parameters
    ----------
    xs : sequence of Tensor
        Of the same shape but for the length of this axis.
    axis : int
        0 by default.
    dim : int, optional
        PyTorch's name for ``axis``.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the shapes do not fit, or there are no tensors.
    DtypeError, ArgumentError
        If xs is no sequence of Tensors of one dtype, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.concat([mg.zeros(2, 3), mg.zeros(2, 1)], axis=1).shape
    (2, 4)
    """
    tensors = _several("concat", xs)
    given = one_axis("concat", axis, dim)
    along = axis_of("concat", 0 if given is None else given, tensors[0].ndim)
    rest = {(x.ndim, *x.shape[:along], *x.shape[along + 1 :]) for x in tensors}
    if len(rest) != 1:
        shapes = quoted([x.shape for x in tensors])
        raise ShapeError(f"concat along axis {along}: shapes {shapes} do not fit")
    return _concat(*tensors, axis=along)


def stack(xs: Sequence[Tensor], axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """The tensors one after another along a new axis.

    Parameters
    ----------
    xs : sequence of Tensor
        All of one shape.
    axis : int
        Where the new axis stands in the result; 0 by default.
    dim : int, optional
        As for ``concat``.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the shapes differ, or there are no tensors.
    DtypeError, ArgumentError
        If xs is no sequence of Tensors of one dtype, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.stack([mg.zeros(3), mg.ones(3)]).numpy()
    array([[0., 0., 0.],
           [1., 1., 1.]], dtype=float32)
    """
    tensors = _several("stack", xs)
    given = one_axis("stack", axis, dim)
    along = axis_of("stack", 0 if given is None else given, tensors[0].ndim + 1)
    if len({x.shape for x in tensors}) != 1:
        raise ShapeError(f"stack: shapes {quoted([x.shape for x in tensors])} differ")
    return concat([unsqueeze(x, along) for x in tensors], along)
