"""What is judged beside the public operations: compositions of them, in the words of a kernel.

depthwise_conv2d    conv2d with groups = Cin
batch_norm          in training, with the statistics written out, so that their errors count
inverted_residual   MobileNetV2's block, batch norms folded into weights and biases
squeezenext_block   SqueezeNeXt's block, likewise
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.geometry import Padding
from minigrad.tensor import Tensor

__all__ = ["batch_norm", "depthwise_conv2d", "inverted_residual", "squeezenext_block"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "hardswish": ops.hardswish,
    "silu": ops.silu,
}


def depthwise_conv2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """y[n,o,p,q] = bias[o] + sum_{a,b} w[o,0,a,b] x[n, floor(o C / Cout), p s - P + a d, ...].

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
    w : Tensor, (m C, 1, kh, kw)
        m is the channel multiplier.
    bias : Tensor, (m C,), optional
    stride, padding, dilation
        As in ``minigrad.conv2d``.

    Returns
    -------
    Tensor, (N, m C, Ho, Wo)
    """
    if x.ndim != 4:
        raise ShapeError(f"depthwise_conv2d: x must be (N, C, H, W), got shape {x.shape}")
    return ops.conv2d(x, w, bias, stride, padding, dilation, groups=x.shape[1])


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = weight (x - mean) / sqrt(var + eps) + bias for each channel; see ``minigrad.batch_norm``.

    In training mean and var are the batch's, var divided by the number of values.
    """
    if not training:
        return ops.batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    var = (centred * centred).mean(axis=axes)
    return ops.batch_norm(x, mean.reshape(x.shape[1]), var, weight, bias, eps=eps)


def inverted_residual(
    x: Tensor,
    expand_w: Tensor | None,
    expand_bias: Tensor | None,
    depthwise_w: Tensor,
    depthwise_bias: Tensor | None,
    project_w: Tensor,
    project_bias: Tensor | None,
    stride: int = 1,
    padding: Padding = 1,
    activation: str = "relu6",
) -> Tensor:
    """y = project(act(depthwise(act(expand(x))))), and + x where the shapes agree.

    Parameters
    ----------
    x : Tensor, (N, Cin, H, W)
    expand_w : Tensor, (C, Cin, 1, 1), or None if nothing is expanded
    depthwise_w : Tensor, (C, 1, k, k)
    project_w : Tensor, (Cout, C, 1, 1)
    expand_bias, depthwise_bias, project_bias : Tensor, or None
    stride, padding
        Of the depthwise convolution.
    activation : {"relu", "relu6", "hardswish", "silu"}

    Returns
    -------
    Tensor, (N, Cout, Ho, Wo)
    """
    act = ACTIVATIONS[activation]
    y = x if expand_w is None else act(ops.conv2d(x, expand_w, expand_bias))
    y = act(depthwise_conv2d(y, depthwise_w, depthwise_bias, stride, padding))
    y = ops.conv2d(y, project_w, project_bias)
    return y + x if y.shape == x.shape else y


def squeezenext_block(
    x: Tensor,
    reduce_w: Tensor,
    reduce_bias: Tensor,
    squeeze_w: Tensor,
    squeeze_bias: Tensor,
    vertical_w: Tensor,
    vertical_bias: Tensor,
    horizontal_w: Tensor,
    horizontal_bias: Tensor,
    expand_w: Tensor,
    expand_bias: Tensor,
    shortcut_w: Tensor | None = None,
    shortcut_bias: Tensor | None = None,
    stride: int = 1,
) -> Tensor:
    """y = relu(f(x) + s(x)): five convolutions, each with a relu, beside a shortcut.

    Parameters
    ----------
    x : Tensor, (N, Cin, H, W)
    reduce_w, squeeze_w, expand_w : Tensor, 1x1 kernels
        ``stride`` belongs to the first of them.
    vertical_w, horizontal_w : Tensor, 3x1 and 1x3 kernels
    reduce_bias, squeeze_bias, vertical_bias, horizontal_bias, expand_bias : Tensor
    shortcut_w, shortcut_bias : Tensor, optional
        Of a 1x1 convolution with ``stride`` and a relu; without them the shortcut is x itself.
    stride : int

    Returns
    -------
    Tensor, (N, Cout, Ho, Wo)
    """
    y = ops.relu(ops.conv2d(x, reduce_w, reduce_bias, stride))
    y = ops.relu(ops.conv2d(y, squeeze_w, squeeze_bias))
    y = ops.relu(ops.conv2d(y, vertical_w, vertical_bias, padding=(1, 0)))
    y = ops.relu(ops.conv2d(y, horizontal_w, horizontal_bias, padding=(0, 1)))
    y = ops.relu(ops.conv2d(y, expand_w, expand_bias))
    if shortcut_w is not None:
        x = ops.relu(ops.conv2d(x, shortcut_w, shortcut_bias, stride))
    return ops.relu(y + x)
