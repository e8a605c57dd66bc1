"""PyTorch's activations and changes of shape, as operations and compositions of them."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from tests.torch_calls.unsupported import refuse


def leaky_relu(x, negative_slope=0.01):
    return mg.relu(x) - mg.relu(-x) * negative_slope


def prelu(x, weight):
    """One slope, or one for each channel of axis 1."""
    if x.ndim > 1 and weight.size > 1:
        weight = weight.reshape(1, -1, *(1,) * (x.ndim - 2))
    return mg.relu(x) - mg.relu(-x) * (weight.reshape(()) if x.ndim == 0 else weight)


def softplus(x, beta=1, threshold=20):
    """log(1 + e^x), without overflow; beyond the threshold PyTorch gives x itself."""
    z = x * beta
    y = (mg.relu(z) + mg.log(1 + mg.exp(-mg.absolute(z)))) / beta
    return mg.where(z.numpy() > threshold, x, y)


def elu(x, alpha=1.0):
    return mg.relu(x) + (mg.exp(-mg.relu(-x)) - 1) * alpha


def selu(x):
    return elu(x, 1.6732632423543772848170429916717) * 1.0507009873554804934193349852946


def erf(x):
    """2 / sqrt(pi) e^(-x^2) sum_k 2^k x^(2k+1) / (2k+1)!!: terms of one sign; +-1 beyond 6."""
    x = mg.clamp(x, -6, 6)
    square = x * x
    total = term = x
    for k in range(1, 130):
        term = term * square * (2 / (2 * k + 1))
        total = total + term
    return total * mg.exp(-square) * (2 / np.sqrt(np.pi))


def gelu(x, approximate="none"):
    if approximate == "none":
        return x * 0.5 * (1 + erf(x * np.sqrt(0.5)))
    return x * 0.5 * (1 + mg.tanh((x + x**3 * 0.044715) * np.sqrt(2 / np.pi)))


def glu(x, dim=-1):
    half, at = x.shape[dim] // 2, [slice(None)] * x.ndim
    halves = []
    for piece in (slice(half), slice(half, None)):
        at[dim] = piece
        halves.append(x[tuple(at)])
    return halves[0] * mg.sigmoid(halves[1])


def along(function):
    """A number is a vector of one."""

    def softened(x, dim):
        return function(x, dim) if x.ndim else function(x.reshape(1), 0).reshape(())

    return softened


def logsumexp(x, dim, keepdim=False):
    axes = (dim,) if isinstance(dim, int) else tuple(dim) or tuple(range(x.ndim))
    if x.ndim == 0:
        return logsumexp(x.reshape(1), 0)
    refuse("the maximum of nothing", 0 in x.shape)
    largest = mg.Tensor(x.numpy().max(axis=axes, keepdims=True))
    y = mg.log(mg.exp(x - largest).sum(axis=axes, keepdims=True)) + largest
    shape = [n for k, n in enumerate(x.shape) if k not in {a % x.ndim for a in axes}]
    return y if keepdim else y.reshape(*shape)


def normalize(x, p=2.0, dim=1, eps=1e-12):
    if x.ndim == 0:
        return normalize(x.reshape(1), p, 0, eps).reshape(())
    if p == 0:  # how many are not 0, which has no slope
        count = (x.numpy() != 0).sum(axis=dim, keepdims=True)
        return x / mg.clamp(mg.Tensor(count.astype(x.dtype)), min=eps)
    size = (mg.absolute(x) ** p).sum(axis=dim, keepdims=True) ** (1 / p)
    return x / mg.clamp(size, min=eps)


def pixel_shuffle(x, upscale_factor):
    """(..., C r r, H, W) to (..., C, H r, W r)."""
    *lead, c, h, w = x.shape
    r, k = upscale_factor, len(lead)
    split = x.reshape(*lead, c // (r * r), r, r, h, w)
    return split.permute(*range(k + 1), k + 3, k + 1, k + 4, k + 2).reshape(
        *lead, c // (r * r), h * r, w * r
    )


def pixel_unshuffle(x, downscale_factor):
    """The other way round."""
    *lead, c, h, w = x.shape
    r, k = downscale_factor, len(lead)
    split = x.reshape(*lead, c, h // r, r, w // r, r)
    return split.permute(*range(k + 1), k + 2, k + 4, k + 1, k + 3).reshape(
        *lead, c * r * r, h // r, w // r
    )


def channel_shuffle(x, groups):
    n, c, *size = x.shape
    split = x.reshape(n, groups, c // groups, *size)
    return split.permute(0, 2, 1, *range(3, split.ndim)).reshape(*x.shape)


def embedding(weight, indices, padding_idx=None, max_norm=None, norm_type=2.0,
              scale_grad_by_freq=False, sparse=False):  # fmt: skip
    """Rows of a table: the table times unit vectors."""
    refuse("rows that are scaled in place", max_norm is not None)
    refuse("gradients by frequency", scale_grad_by_freq)
    units = indices.reshape(-1, 1) == np.arange(weight.shape[0])
    rows = mg.matmul(mg.Tensor(units.astype(float)), weight)
    if padding_idx is not None:  # its row is read, and gets no gradient
        rows = (
            mg.mask(rows, np.broadcast_to(~units[:, [padding_idx]], rows.shape))
            + units[:, [padding_idx]] * weight.numpy()[padding_idx]
        )
    return rows.reshape(*indices.shape, weight.shape[1])


def pairs_of(x, pads):
    """From the last axis on, as PyTorch numbers them."""
    pairs = [(0, 0)] * (x.ndim - len(pads) // 2)
    return pairs + [tuple(pads[i : i + 2]) for i in range(len(pads) - 2, -1, -2)]


def pad_constant(x, pads, mode="constant", value=None):
    """A negative pad cuts."""
    pairs = pairs_of(x, pads)
    cut = tuple(
        slice(max(-before, 0), n - max(-after, 0))
        for n, (before, after) in zip(x.shape, pairs, strict=True)
    )
    positive = [(max(before, 0), max(after, 0)) for before, after in pairs]
    return mg.pad(x[cut], positive, 0.0 if value is None else value)


def pad_with(index):
    """A pad whose pixels are those of the map, position h at ``index(h, size)``.

    A negative pad cuts, before the other is put on.
    """

    def pad(x, pads, mode):
        for axis, (before, after) in enumerate(pairs_of(x, pads)):
            everything = (slice(None),) * axis
            x = x[(*everything, slice(max(-before, 0), x.shape[axis] - max(-after, 0)))]
            size, before, after = x.shape[axis], max(before, 0), max(after, 0)
            if before or after:
                x = mg.concat(
                    [x[(*everything, slice(k, k + 1))]
                     for k in (index(h, size) for h in range(-before, size + after))],
                    axis,
                )  # fmt: skip
        return x

    return pad


def mirrored(h, size):
    h = abs(h)
    return h if h < size else 2 * (size - 1) - h


PADS = {
    "nn.functional.pad.constant": pad_constant,
    "nn.functional.pad.reflect": pad_with(mirrored),
    "nn.functional.pad.replicate": pad_with(lambda h, size: min(max(h, 0), size - 1)),
    "nn.functional.pad.circular": pad_with(lambda h, size: h % size),
}
