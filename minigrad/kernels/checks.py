"""What a call must fulfil: one check for each function of the contract, with its error.

A call is checked once, where it is dispatched, so that a wrong one gives the same error on every
backend, and kernels assume that their arguments fit.  A check takes the arguments of its
function, and its docstring says what they must be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from minigrad.arguments import LARGEST, quoted
from minigrad.arrays import FLOATS, Array
from minigrad.errors import DtypeError, ShapeError
from minigrad.geometry import ConvSpec, Pads, Pair, PoolWindow, conv_output_shape


def one_dtype(function: str, **arrays: Array | None) -> np.dtype[np.generic]:
    """The float dtype that all given arrays share, or a DtypeError naming each."""
    dtypes = [a.dtype for a in arrays.values() if a is not None]
    first = dtypes[0]
    if first not in FLOATS or dtypes.count(first) != len(dtypes):
        given = ((name, a.dtype) for name, a in arrays.items() if a is not None)
        got = ", ".join(f"{name} is {d}" for name, d in given)
        raise DtypeError(f"{function} takes float32 or float64, one for all arrays; {got}")
    return first


def same_shape(function: str, g: Array, like: Array, name: str) -> None:
    """g has the shape of ``like``, which the argument ``name`` is."""
    if g.shape != like.shape:
        raise ShapeError(f"{function}: g must have the shape {like.shape} of {name}, got {g.shape}")


def misplaced(function: str, x_shape: Sequence[int]) -> ShapeError:
    """The error of an index that lies outside of its map, which is found while it is used."""
    return ShapeError(f"{function}: an index lies outside of the map {tuple(x_shape[2:])}")


def check_places(function: str, index: Array, x_shape: Sequence[int]) -> None:
    """Every index lies in its map, for kernels that do not see it while they use it."""
    if index.size and not (index.min() >= 0 and index.max() < x_shape[2] * x_shape[3]):
        raise misplaced(function, x_shape)


def conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> None:
    """x (N, Cin, H, W), w (Cout, Cin/groups, kh, kw), bias (Cout,) or None."""
    one_dtype("conv2d", x=x, w=w, bias=bias)
    _check_pair("conv2d", x.shape, w.shape, spec)
    if bias is not None and bias.shape != w.shape[:1]:
        raise ShapeError(f"conv2d: bias must be ({w.shape[0]},) for w {w.shape}, got {bias.shape}")


def conv2d_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> None:
    """g (N, Cout, Ho, Wo), w (Cout, Cin/groups, kh, kw)."""
    one_dtype("conv2d_input_grad", g=g, w=w)
    _check_cotangent("conv2d_input_grad", g.shape, x_shape, w.shape, spec)


def conv2d_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> None:
    """g (N, Cout, Ho, Wo), x (N, Cin, H, W)."""
    one_dtype("conv2d_weight_grad", g=g, x=x)
    _check_cotangent("conv2d_weight_grad", g.shape, x.shape, w_shape, spec)


@lru_cache(maxsize=4096)
def _check_window(
    function: str, strides: Pair, padding: Pads, dilation: Pair, groups: int = 1
) -> None:
    """The numbers of a window are what a kernel can count with."""
    for name, least, values in (
        ("stride", 1, strides), ("dilation", 1, dilation), ("groups", 1, (groups,)),
        ("padding", 0, (*padding[0], *padding[1])),
    ):  # fmt: skip
        if min(values) < least or max(values) > LARGEST:
            raise ShapeError(
                f"{function}: {name} must be from {least} to {LARGEST}, got {quoted(values)}"
            )


@lru_cache(maxsize=4096)
def _check_pair(function: str, x: Sequence[int], w: Sequence[int], spec: ConvSpec) -> None:
    """x and w are what ``spec`` can be a convolution of; remembered, as calls repeat."""
    _check_window(function, *spec)
    fits = len(x) == 4 and len(w) == 4 and x[1] == w[1] * spec.groups and not w[0] % spec.groups
    if not fits or min(w[2:]) < 1:
        raise ShapeError(
            f"{function}: x (N, Cin, H, W) = {tuple(x)} and w (Cout, Cin/groups, kh, kw) = "
            f"{tuple(w)} do not fit with groups={spec.groups}"
        )
    conv_output_shape(x, w, spec)


def _check_cotangent(
    function: str, g: Sequence[int], x: Sequence[int], w: Sequence[int], spec: ConvSpec
) -> None:
    x, w = tuple(x), tuple(w)
    _check_pair(function, x, w, spec)
    expected = conv_output_shape(x, w, spec)
    if tuple(g) != expected:
        raise ShapeError(f"{function}: g must have the output's shape {expected}, got {tuple(g)}")


def floats(function: str, x: Array) -> None:
    """x is of float32 or float64."""
    if x.dtype not in FLOATS:
        one_dtype(function, x=x)  # which says so


def slope(function: str, name: str) -> Callable[[Array, Array], None]:
    def check(g: Array, at: Array) -> None:
        one_dtype(function, g=g, **{name: at})
        same_shape(function, g, at, name)

    return check


def along_the_last_axis(function: str) -> Callable[[Array], None]:
    def check(x: Array) -> None:
        floats(function, x)
        _check_an_axis(function, "x", x)

    return check


def slope_along_the_last_axis(function: str) -> Callable[[Array, Array], None]:
    check_slope = slope(function, "y")

    def check(g: Array, y: Array) -> None:
        check_slope(g, y)
        _check_an_axis(function, "y", y)

    return check


def _check_an_axis(function: str, name: str, x: Array) -> None:
    if x.ndim == 0:
        raise ShapeError(f"{function}: {name} must have an axis, got shape ()")


def sum(x: Array, axes: Sequence[int], keepdims: bool) -> None:
    """Axes of x, each once."""
    floats("sum", x)
    if axes == tuple(range(x.ndim)):
        return
    if not all(-x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) != len(axes):
        raise ShapeError(f"sum: axes must be axes of x {x.shape}, each once, got {tuple(axes)}")


def linear(x: Array, w: Array, bias: Array | None) -> None:
    """x (N, I), w (O, I), bias (O,) or None."""
    one_dtype("linear", x=x, w=w, bias=bias)
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ShapeError(f"linear: x (N, I) = {x.shape} and w (O, I) = {w.shape} do not fit")
    if bias is not None and bias.shape != w.shape[:1]:
        raise ShapeError(f"linear: bias must be ({w.shape[0]},), got {bias.shape}")


def _check_vectors(function: str, x: Array, **vectors: Array) -> None:
    """x (N, C, ...), and vectors of one number a channel."""
    one_dtype(function, x=x, **vectors)
    if x.ndim < 2:
        raise ShapeError(f"{function}: x must be (N, C, ...), got shape {x.shape}")
    for name, v in vectors.items():
        if v.shape != (x.shape[1],):
            raise ShapeError(f"{function}: {name} must be ({x.shape[1]},), got {v.shape}")


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> None:
    """x (N, C, ...), and four vectors (C,)."""
    _check_vectors("batch_norm", x, mean=mean, var=var, gamma=gamma, beta=beta)


def batch_norm_statistics(x: Array) -> None:
    """x (N, C, ...)."""
    _check_vectors("batch_norm_statistics", x)


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> None:
    """g and x (N, C, ...), and two vectors (C,)."""
    _check_vectors("batch_norm_sums", x, mean=mean, var=var)
    _check_g("batch_norm_sums", g, x)


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> None:
    """g and x (N, C, ...), and three vectors (C,)."""
    _check_vectors("batch_norm_input_grad", x, mean=mean, var=var, gamma=gamma)
    _check_g("batch_norm_input_grad", g, x)


def _check_g(function: str, g: Array, x: Array) -> None:
    one_dtype(function, g=g, x=x)
    same_shape(function, g, x, "x")


def _check_pool(function: str, x_shape: Sequence[int], window: PoolWindow) -> None:
    _check_pool_of(function, tuple(x_shape), window)


@lru_cache(maxsize=4096)
def _check_pool_of(function: str, x_shape: Sequence[int], window: PoolWindow) -> None:
    _check_window(function, window.stride, window.padding, window.dilation)
    if not 1 <= min(window.kernel) <= max(window.kernel) <= LARGEST:
        raise ShapeError(f"{function}: kernel must be from 1 to {LARGEST}, got {window.kernel}")
    window.output_shape(x_shape)


def max_pool2d(x: Array, window: PoolWindow) -> None:
    """x (N, C, H, W), of fewer than 2^31 positions, which an index numbers."""
    floats("max_pool2d", x)
    _check_pool("max_pool2d", x.shape, window)
    if x.shape[2] * x.shape[3] > LARGEST:
        raise ShapeError(f"max_pool2d: a map of {x.shape[2:]} has too many positions to number")


def _check_index(function: str, index: Array, x_shape: Sequence[int]) -> None:
    if index.ndim != 4 or len(x_shape) != 4 or index.shape[:2] != tuple(x_shape[:2]):
        raise ShapeError(f"{function}: index {index.shape} does not fit a map {tuple(x_shape)}")
    if index.dtype.kind not in "iu":
        raise DtypeError(f"{function}: index must be of integers, got {index.dtype}")


def max_pool2d_gather(x: Array, index: Array) -> None:
    """x (N, C, H, W), index (N, C, Ho, Wo) of integers."""
    floats("max_pool2d_gather", x)
    _check_index("max_pool2d_gather", index, x.shape)


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> None:
    """g and index (N, C, Ho, Wo)."""
    one_dtype("max_pool2d_input_grad", g=g)
    _check_index("max_pool2d_input_grad", index, x_shape)
    same_shape("max_pool2d_input_grad", g, index, "index")


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> None:
    """x (N, C, H, W)."""
    floats("avg_pool2d", x)
    _check_pool("avg_pool2d", x.shape, window)


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> None:
    """g (N, C, Ho, Wo), the shape that the window makes of x."""
    one_dtype("avg_pool2d_input_grad", g=g)
    _check_pool("avg_pool2d_input_grad", x_shape, window)
    expected = window.output_shape(x_shape)
    if g.shape != expected:
        raise ShapeError(f"avg_pool2d_input_grad: g must be {expected}, got {g.shape}")


def global_avg_pool(x: Array) -> None:
    """x (N, C, H, W)."""
    floats("global_avg_pool", x)
    if x.ndim != 4:
        raise ShapeError(f"global_avg_pool: x must be (N, C, H, W), got shape {x.shape}")
