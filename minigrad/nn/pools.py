"""Pools as layers: the largest value, or the mean, of each window."""

from __future__ import annotations

from minigrad import ops
from minigrad.arguments import flag
from minigrad.geometry import Padding, pair, resolve_padding
from minigrad.nn.module import Module
from minigrad.ops.pool import Size
from minigrad.tensor import Tensor

__all__ = ["AvgPool2d", "MaxPool2d"]


class MaxPool2d(Module):
    """The largest value of each window; the pad is -inf and never wins.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode
        As for ``minigrad.max_pool2d``.

    Raises
    ------
    ArgumentError
        If an argument has a type or value that is not allowed.

    Examples
    --------
    >>> from minigrad import nn, zeros
    >>> nn.MaxPool2d(3, stride=2, padding=1)(zeros(1, 8, 8, 8)).shape
    (1, 8, 4, 4)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Padding = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.padding = _kernel(kernel_size, padding), padding
        self.stride = self.kernel_size if stride is None else pair(stride, "stride")
        self.dilation = pair(dilation, "dilation")
        self.ceil_mode = flag("MaxPool2d", "ceil_mode", ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def extra_repr(self) -> str:
        window = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{window}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class AvgPool2d(Module):
    """The mean of each window.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As for ``minigrad.avg_pool2d``.

    Raises
    ------
    ArgumentError
        If an argument has a type or value that is not allowed.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.AvgPool2d(2)(ones(1, 1, 2, 2)).item()
    1.0
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.padding = _kernel(kernel_size, padding), padding
        self.stride = self.kernel_size if stride is None else pair(stride, "stride")
        self.ceil_mode = flag("AvgPool2d", "ceil_mode", ceil_mode)
        self.count_include_pad = flag("AvgPool2d", "count_include_pad", count_include_pad)

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        window = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{window}, ceil_mode={self.ceil_mode}, count_include_pad={self.count_include_pad}"


def _kernel(kernel_size: Size, padding: Padding) -> tuple[int, int]:
    """The kernel as a pair, after a check of the padding."""
    kernel = pair(kernel_size, "kernel_size")
    resolve_padding(padding, kernel, kernel, (1, 1))
    return kernel
