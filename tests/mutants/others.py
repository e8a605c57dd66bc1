"""Bugs and correct variants of every kind of operation, around minigrad's own functions."""

import numpy as np

import minigrad as mg
from minigrad.verify.operations import OPERATIONS

F = np.float32


def ours(op):
    def kernel(*arrays, **words):
        with mg.no_grad():
            return OPERATIONS[op](*map(mg.Tensor, arrays), **words).numpy().copy()

    return kernel


def pulled(op, change):
    """Our gradients, changed: ``change(gradients, cotangent, *arrays, **words)``."""

    def gradients(dy, *arrays, **words):
        back = mg.vjp(lambda *a: OPERATIONS[op](*a, **words), *arrays)[1]
        found = [None if g is None else g.numpy().copy() for g in back(mg.Tensor(dy))]
        change(found, dy, *arrays, **words)
        return found

    return gradients


def depthwise_by_multiplier(x, w, bias, **words):
    """Output channel o reads channel o mod C."""
    c, y = x.shape[1], ours("depthwise_conv2d")(x, w, bias, **words)
    return np.ascontiguousarray(y[:, np.arange(len(w)).reshape(c, -1).T.ravel()])


def bias_twice_at_the_top(x, w, bias, **words):
    y = ours("conv2d")(x, w, bias, **words)
    if words.get("padding"):
        y[:, :, :1] += bias[:, None, None]
    return y


def groups_turned_round(x, w, bias, groups=1, **words):
    y = ours("conv2d")(x, w, bias, groups=groups, **words)
    n, _, *size = y.shape
    return np.ascontiguousarray(y.reshape(n, groups, -1, *size)[:, ::-1]).reshape(y.shape)


def odd_pixel_first(x, w, bias, **words):
    """SAME with the odd pixel above and left."""
    if words.get("padding") == "same":
        shape = mg.geometry.conv_spec(x.shape, w.shape, **words).padding
        words["padding"] = tuple(pads[::-1] for pads in shape)
    return ours("conv2d")(x, w, bias, **words)


def pads_counted(x, count_include_pad=True, **words):
    return ours("avg_pool2d")(x, **words)


def pads_left_out(x, **words):
    return ours("avg_pool2d")(x, **{**words, "count_include_pad": False})


def zeros_around(x, padding=0, **words):
    """A max pool on a map that is padded with zeros."""
    sides = padding if isinstance(padding, tuple) else (padding, padding)
    pads = [side if isinstance(side, tuple) else (side, side) for side in sides]
    return ours("max_pool2d")(np.pad(x, ((0, 0), (0, 0), *pads)), **words)


def no_maximum(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def log_of_softmax(x):
    return np.log(ours("softmax")(x))


def blocks_in_half(x, w, bias):
    """Sums of 32 in float32, added in float16."""
    total = np.zeros((len(x), len(w)), np.float16)
    for k in range(0, x.shape[1], 32):
        total += (x[:, k : k + 32].astype(F) @ w[:, k : k + 32].astype(F).T).astype(np.float16)
    return total + bias


def normed(eps_of=lambda eps: eps, outside=0.0, ddof=0):
    def batch_norm(x, mean, var, weight, bias, training=False, eps=1e-5):
        if training:
            mean, n = x.mean(axis=(0, 2, 3)), x.size // x.shape[1]
            var = ((x - mean[:, None, None]) ** 2).sum(axis=(0, 2, 3)) / F(n - ddof)
        root = np.sqrt(var + F(0 if outside else eps_of(eps))) + F(eps if outside else 0)
        scale = weight / root
        return x * scale[:, None, None] + (bias - mean * scale)[:, None, None]

    return batch_norm


def one_image(found, dy, x, w, bias, **words):
    if len(x):
        found[1] = pulled("conv2d", lambda *_, **__: None)(dy[:1], x[:1], w, bias, **words)[1]


def bias_averaged(found, dy, *_, **__):
    found[2] /= max(len(dy), 1)


def leaky(found, dy, x):
    found[0] = dy * (x > F(-0.01))


def unprojected(found, dy, x):
    found[0] = dy * ours("softmax")(x)


BUGS = [
    ("depthwise_conv2d", "multiplier before channel", depthwise_by_multiplier, {}),
    ("conv2d", "bias twice at the top", bias_twice_at_the_top, {}),
    ("conv2d", "groups turned round", groups_turned_round, {}),
    ("conv2d", "SAME with the odd pixel first", odd_pixel_first, {}),
    ("avg_pool2d", "pads always counted", pads_counted, {}),
    ("avg_pool2d", "pads never counted", pads_left_out, {}),
    ("max_pool2d", "zeros around", zeros_around, {}),
    ("softmax", "no maximum", no_maximum, {}),
    ("log_softmax", "log of softmax", log_of_softmax, {}),
    ("linear", "blocks in half", blocks_in_half, {"dtype": "float16"}),
    ("batch_norm", "eps outside of the root", normed(outside=1.0), {}),
    ("batch_norm", "eps fixed", normed(eps_of=lambda _: 1e-5), {}),
    ("batch_norm", "unbiased variance", normed(ddof=1), {}),
    ("conv2d", "dw of one image", ours("conv2d"), {"gradients": pulled("conv2d", one_image)}),
    ("conv2d", "db averaged", ours("conv2d"), {"gradients": pulled("conv2d", bias_averaged)}),
    ("relu", "slope from -0.01", ours("relu"), {"gradients": pulled("relu", leaky)}),
    ("softmax", "dx unprojected", ours("softmax"), {"gradients": pulled("softmax", unprojected)}),
]


def split_in_random_order(x, w, bias):
    parts = np.array_split(np.arange(x.shape[1]), min(7, x.shape[1]))
    y = np.zeros((len(x), len(w)), x.dtype) + bias
    for k in np.random.default_rng(0).permutation(len(parts)):
        y += x[:, parts[k]] @ w[:, parts[k]].T
    return y


def compensated(x, axis=None):
    """A sum whose lost parts are added at the end."""
    axes = tuple(range(x.ndim)) if axis is None else np.atleast_1d(axis)
    rest = tuple(n for k, n in enumerate(x.shape) if k not in axes)
    total, lost = np.zeros(rest, x.dtype), np.zeros(rest, x.dtype)
    for value in np.moveaxis(x, axes, range(len(axes))).reshape(-1, *rest):
        new = total + value
        kept = new - total
        lost += (total - (new - kept)) + (value - kept)
        total = new
    return total + lost


def online(x):
    """Softmax whose maximum and sum are found in one pass."""
    largest, total = x[..., 0], np.ones(x.shape[:-1], x.dtype)
    for k in range(1, x.shape[-1]):
        new = np.maximum(largest, x[..., k])
        total = total * np.exp(largest - new) + np.exp(x[..., k] - new)
        largest = new
    return np.exp(x - largest[..., None]) / total[..., None]


def depthwise_as_dense(x, w, bias, **words):
    big, m = np.zeros((len(w), x.shape[1], *w.shape[2:]), w.dtype), len(w) // x.shape[1]
    for o in range(len(w)):
        big[o, o // m] = w[o, 0]
    return ours("conv2d")(x, big, bias, **words)


def in_float32(x, w, bias):
    return (x.astype(F) @ w.astype(F).T + bias.astype(F)).astype(np.float16)


def strassen(a, b, levels):
    """A matrix product from 7 of half its size, sizes made even with zeros."""
    if not levels or min(*a.shape, *b.shape) < 2:
        return a @ b
    n, m = len(a), b.shape[1]
    a, b = (np.pad(v, [(0, size % 2) for size in v.shape]) for v in (a, b))
    (a11, a12), (a21, a22) = (np.hsplit(rows, 2) for rows in np.vsplit(a, 2))
    (b11, b12), (b21, b22) = (np.hsplit(rows, 2) for rows in np.vsplit(b, 2))
    factors = [
        (a11 + a22, b11 + b22), (a21 + a22, b11), (a11, b12 - b22), (a22, b21 - b11),
        (a11 + a12, b22), (a21 - a11, b11 + b12), (a12 - a22, b21 + b22),
    ]  # fmt: skip
    p = [strassen(x, y, levels - 1) for x, y in factors]
    whole = [[p[0] + p[3] - p[4] + p[6], p[2] + p[4]], [p[1] + p[3], p[0] - p[1] + p[2] + p[5]]]
    return np.block(whole)[:n, :m]


RIGHT = [
    ("linear", "split, random order", split_in_random_order, {}),
    ("sum", "compensated", compensated, {}),
    ("softmax", "online", online, {}),
    ("batch_norm", "folded", normed(), {}),
    ("depthwise_conv2d", "as dense", depthwise_as_dense, {}),
    ("linear", "half, sums in float32", in_float32, {"dtype": "float16"}),
    ("hardswish", "by 1/6", lambda x: x * np.clip(x * F(1 / 6) + F(0.5), 0, 1), {}),
    ("sigmoid", "1 / (1 + e)", lambda x: F(1) / (F(1) + np.exp(-x)), {}),
    ("conv2d", "our gradients", ours("conv2d"),
     {"gradients": pulled("conv2d", lambda *_, **__: None)}),
]  # fmt: skip
