"""Channels that become pixels, and pixels that become channels: maps that are linear and exact.

    depth_to_space   y[c, h b + i, w b + j] = x[(i b + j) C + c, h, w]     order "DCR"
                                            = x[(c b + i) b + j, h, w]     order "CRD" (PyTorch)
    space_to_depth   the inverse

b is the block, C the number of channels of the larger map.
"""

from __future__ import annotations

from minigrad.arguments import integer, one_of
from minigrad.errors import ShapeError
from minigrad.ops.axes import permute
from minigrad.ops.shaping import reshape
from minigrad.tensor import Tensor, expect_tensor

__all__ = ["depth_to_space", "space_to_depth"]

ORDERS = ("DCR", "CRD")


def _checked(function: str, x: object, block: object, order: object) -> tuple[Tensor, int, bool]:
    tensor = expect_tensor(function, "x", x)
    if tensor.ndim != 4:
        raise ShapeError(f"{function}: x must be (N, C, H, W), got {tensor.shape}")
    size = integer(function, "block", block, 1, 4096)
    return tensor, size, one_of(function, "order", order, ORDERS) == "DCR"


def depth_to_space(x: Tensor, block: int, order: str = "DCR") -> Tensor:
    """Groups of block^2 channels as squares of pixels, as ONNX's DepthToSpace.

    Parameters
    ----------
    x : Tensor, (N, C block^2, H, W)
    block : int
    order : {"DCR", "CRD"}
        Whether a channel's pixels lie C channels apart, or side by side as in PyTorch's
        ``pixel_shuffle``.

    Returns
    -------
    Tensor, (N, C, H block, W block)

    Raises
    ------
    ShapeError
        If x is no map, or its channels are no multiple of block^2.
    DtypeError, ArgumentError
        If x is no Tensor, or another argument is not what is said above.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.depth_to_space(mg.tensor([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]), 2).numpy()
    array([[[[1., 2.],
             [3., 4.]]]], dtype=float32)
    """
    x, b, far = _checked("depth_to_space", x, block, order)
    n, channels, h, w = x.shape
    c, rest = divmod(channels, b * b)
    if rest:
        raise ShapeError(f"depth_to_space: {channels} channels are no multiple of {b}^2")
    if far:
        apart = permute(reshape(x, n, b, b, c, h, w), 0, 3, 4, 1, 5, 2)
    else:
        apart = permute(reshape(x, n, c, b, b, h, w), 0, 1, 4, 2, 5, 3)
    return reshape(apart, n, c, h * b, w * b)


def space_to_depth(x: Tensor, block: int, order: str = "DCR") -> Tensor:
    """Squares of pixels as groups of block^2 channels, as ONNX's SpaceToDepth.

    Parameters
    ----------
    x : Tensor, (N, C, H block, W block)
    block : int
    order : {"DCR", "CRD"}
        As for ``depth_to_space``.

    Returns
    -------
    Tensor, (N, C block^2, H, W)

    Raises
    ------
    ShapeError
        If x is no map, or its sizes are no multiples of the block.
    DtypeError, ArgumentError
        As ``depth_to_space`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.space_to_depth(mg.zeros(1, 3, 4, 6), 2).shape
    (1, 12, 2, 3)
    """
    x, b, far = _checked("space_to_depth", x, block, order)
    n, c, high, wide = x.shape
    if high % b or wide % b:
        raise ShapeError(f"space_to_depth: {x.shape} is no multiple of blocks of {b}")
    apart = reshape(x, n, c, high // b, b, wide // b, b)
    turned = permute(apart, 0, 3, 5, 1, 2, 4) if far else permute(apart, 0, 1, 3, 5, 2, 4)
    return reshape(turned, n, c * b * b, high // b, wide // b)
