"""PyTorch's calls of convolutions, pools and normalisations."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.geometry import ConvSpec
from minigrad.kernels.contract import PoolWindow
from minigrad.kernels.numpy.pooling import divisor
from tests.torch_calls.unsupported import refuse


def batched(x):
    """PyTorch takes an image without a batch, too."""
    return x if x.ndim == 4 else x.reshape(1, *x.shape)


def like_input(y, x):
    return y if x.ndim == 4 else y.reshape(*y.shape[1:])


def two(value):
    """An integer, [a] or [a, b] as a pair."""
    if isinstance(value, str):
        return value
    value = [value] if isinstance(value, int) else value
    return tuple(value) * (2 // len(value))


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    how = {"stride": two(stride), "padding": two(padding), "dilation": two(dilation)}
    return like_input(mg.conv2d(batched(x), w, bias, **how, groups=groups), x)


def conv1d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A map of one row."""
    wide, filters = (t.reshape(*t.shape[:-1], 1, t.shape[-1]) for t in (x, w))
    wide = wide if wide.ndim == 4 else wide.reshape(1, *wide.shape)
    how = {"stride": (1, *one(stride)), "dilation": (1, *one(dilation)), "groups": groups}
    pads = padding if isinstance(padding, str) else (0, *one(padding))
    y = mg.conv2d(wide, filters, bias, padding=pads, **how)
    return y.reshape(*(y.shape[1:2] if x.ndim == 2 else y.shape[:2]), y.shape[3])


def one(value):
    return (value,) if isinstance(value, int) else tuple(value)


def conv_transpose2d(x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The adjoint of a convolution from the larger map to the smaller.

    ``output_padding`` takes back some of the cut at the end; what goes beyond that is zeros.
    """
    x4, s, d = batched(x), two(stride), two(dilation)
    before, extra = two(padding), two(output_padding)
    after = [p - e for p, e in zip(before, extra, strict=True)]
    pads = tuple((p, max(e, 0)) for p, e in zip(before, after, strict=True))
    size = (
        (n - 1) * s[i] - sum(pads[i]) + d[i] * (w.shape[2 + i] - 1) + 1
        for i, n in enumerate(x4.shape[2:])
    )
    shape = (x4.shape[0], w.shape[1] * groups, *size)
    y = mg.conv2d_input_grad(x4, w, shape, ConvSpec(s, pads, d, groups))
    y = mg.pad(y, [(0, 0), (0, 0), *((0, max(-e, 0)) for e in after)])
    return like_input(y if bias is None else y + bias.reshape(1, -1, 1, 1), x)


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    how = {"padding": two(padding), "dilation": two(dilation), "ceil_mode": ceil_mode}
    stride = two(stride) if stride else None
    return like_input(mg.max_pool2d(batched(x), two(kernel_size), stride, **how), x)


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    stride = two(stride) if stride else None
    how = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    kernel, pads = two(kernel_size), two(padding)
    y = mg.avg_pool2d(batched(x), kernel, stride, pads, **how)
    if divisor_override is not None:  # a mean times what it divided by is a sum
        around = tuple((p, p) for p in pads)
        window = PoolWindow(kernel, stride or kernel, around, (1, 1), ceil_mode)
        counted = divisor(batched(x).shape, window, count_include_pad).astype(float)
        y = y * (counted / divisor_override)
    return like_input(y, x)


def cells(size, parts):
    """Where an adaptive pool cuts n pixels: from floor(k n / parts) to ceil((k + 1) n / parts)."""
    return [slice(k * size // parts, -(-(k + 1) * size // parts)) for k in range(parts)]


def adaptive_pool2d(function):
    def pool(x, output_size, return_indices=False):
        sizes = [n if s is None else s for n, s in zip(x.shape[-2:], two(output_size), strict=True)]
        if 0 in sizes or 0 in x.shape:
            return mg.zeros(*x.shape[:-2], *sizes, dtype=np.float64) + x.sum() * 0
        rows, cols = map(cells, x.shape[-2:], sizes)
        return mg.stack(
            [mg.stack([function(x[..., r, c], axis=(-2, -1)) for c in cols], -1) for r in rows], -2
        )

    return pool


def tensors(*values):
    return (v if v is None or isinstance(v, mg.Tensor) else mg.Tensor(v) for v in values)


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    refuse("a vector", x.ndim < 2)
    refuse("a momentum outside [0, 1]", not 0 <= momentum <= 1)
    return mg.batch_norm(x, *tensors(mean, var, weight, bias), training, momentum, eps)


def native_batch_norm(x, weight, bias, mean, var, training, momentum, eps):
    return batch_norm(x, mean, var, weight, bias, training, momentum, eps)


def over_channels(v, x):
    return v.reshape(1, -1, *(1,) * (x.ndim - 2))


def affine(y, weight, bias, shape):
    y = y if weight is None else y * weight.reshape(*shape)
    return y if bias is None else y + bias.reshape(*shape)


def normalized(x, rows, eps):
    """Each of ``rows`` equal parts of x, in row-major order, by its own mean and variance."""
    if 0 in x.shape:
        return x
    flat = x.reshape(rows, -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    var = (centred * centred).mean(axis=1, keepdims=True)
    return (centred / mg.sqrt(var + eps)).reshape(*x.shape)


def instance_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True,
    momentum=0.1, eps=1e-5,
):  # fmt: skip
    """Statistics for each image and channel, or those that are given."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if not use_input_stats:
        return mg.batch_norm(x, *tensors(running_mean, running_var, weight, bias), eps=eps)
    flat = x.reshape(1, x.shape[0] * x.shape[1], -1)
    y = mg.batch_norm(flat, None, None, training=True, eps=eps).reshape(*x.shape)
    return affine(y, weight, bias, shape)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return affine(normalized(x, x.shape[0] * num_groups, eps), weight, bias, shape)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    lead = x.shape[: x.ndim - len(normalized_shape)]
    y = normalized(x, int(np.prod(lead)), eps)
    return affine(y, weight, bias, normalized_shape)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """Divided by a power of the mean of the squares over ``size`` channels, zeros outside."""
    before, channels = size // 2, x.shape[1]
    pads = [(0, 0)] * x.ndim
    pads[1] = (before, (size - 1) // 2)
    squares = mg.pad(x * x, pads)
    total = squares[:, :channels]
    for shift in range(1, size):
        total = total + squares[:, shift : shift + channels]
    return x / (total * (alpha / size) + k) ** beta


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Every window as a column: a convolution whose filters are the unit vectors."""
    channels, (kh, kw) = x.shape[-3], two(kernel_size)
    taps = channels * kh * kw
    units = mg.Tensor(np.eye(taps).reshape(taps, channels, kh, kw))
    y = conv2d(x, units, None, two(stride), two(padding), two(dilation))
    return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])
