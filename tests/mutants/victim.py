"""Plain kernels, written as a stranger might: what the planted bugs are planted in."""

import numpy as np


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def pads(padding, size, kernel, stride, dilation):
    if padding == "same":
        both = []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            out = -(-n // s)
            total = max((out - 1) * s + d * (k - 1) + 1 - n, 0)
            both.append((total // 2, total - total // 2))
        return both
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        return padding
    vertical, horizontal = pair(padding)
    return (vertical, vertical), (horizontal, horizontal)


class Plan:
    """The numbers of one convolution."""

    def __init__(self, x, w, stride, padding, dilation, groups):
        self.n, self.c, self.h, self.v = x.shape
        self.o, self.i, self.kh, self.kw = w.shape
        self.sh, self.sw = pair(stride)
        self.dh, self.dw = pair(dilation)
        self.groups = groups
        size, kernel = (self.h, self.v), (self.kh, self.kw)
        around = pads(padding, size, kernel, (self.sh, self.sw), (self.dh, self.dw))
        (self.top, self.bottom), (self.left, self.right) = around
        self.ho = (self.h + self.top + self.bottom - self.dh * (self.kh - 1) - 1) // self.sh + 1
        self.wo = (self.v + self.left + self.right - self.dw * (self.kw - 1) - 1) // self.sw + 1

    def padded(self, x):
        height, width = self.h + self.top + self.bottom, self.v + self.left + self.right
        big = np.zeros((self.n, self.c, height, width), x.dtype)
        big[:, :, self.top : self.top + self.h, self.left : self.left + self.v] = x
        return big

    def seen(self, big, g, a, b):
        """The part of group g that tap (a, b) reads."""
        rows = slice(a * self.dh, a * self.dh + (self.ho - 1) * self.sh + 1, self.sh)
        columns = slice(b * self.dw, b * self.dw + (self.wo - 1) * self.sw + 1, self.sw)
        return big[:, g * self.i : (g + 1) * self.i, rows, columns]

    def outputs(self, g):
        each = self.o // self.groups
        return slice(g * each, (g + 1) * each)

    def taps(self):
        for g in range(self.groups):
            for a in range(self.kh):
                for b in range(self.kw):
                    yield g, a, b


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    p = Plan(x, w, stride, padding, dilation, groups)
    big = p.padded(x)
    y = np.zeros((p.n, p.o, p.ho, p.wo), x.dtype)
    for g, a, b in p.taps():
        seen = p.seen(big, g, a, b)
        y[:, p.outputs(g)] += np.einsum("nihv,oi->nohv", seen, w[p.outputs(g), :, a, b])
    if bias is not None:
        y += bias[:, None, None]
    return y


def conv2d_gradients(dy, x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    p = Plan(x, w, stride, padding, dilation, groups)
    big = p.padded(x)
    dbig, dw = np.zeros_like(big), np.zeros_like(w)
    for g, a, b in p.taps():
        part = dy[:, p.outputs(g)]
        dw[p.outputs(g), :, a, b] = np.einsum("nohv,nihv->oi", part, p.seen(big, g, a, b))
        p.seen(dbig, g, a, b)[...] += np.einsum("nohv,oi->nihv", part, w[p.outputs(g), :, a, b])
    dx = dbig[:, :, p.top : p.top + p.h, p.left : p.left + p.v]
    return dx, dw, None if bias is None else dy.sum(axis=(0, 2, 3))


def linear(x, w, bias=None):
    return x @ w.T + bias


def linear_gradients(dy, x, w, bias):
    return dy @ w, dy.T @ x, dy.sum(axis=0)


def channels(v):
    return v[:, None, None]


def batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=1e-5):
    mean, var = running_mean, running_var
    if training:
        mean = x.mean(axis=(0, 2, 3))
        var = np.square(x - channels(mean)).mean(axis=(0, 2, 3))
    scale = weight / np.sqrt(var + x.dtype.type(eps))
    return (x - channels(mean)) * channels(scale) + channels(bias)


def batch_norm_gradients(dy, x, running_mean, running_var, weight, bias, training=False, eps=1e-5):
    if not training:
        raise NotImplementedError("only training")
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    var = np.square(x - mean).mean(axis=(0, 2, 3), keepdims=True)
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    xhat = (x - mean) * r
    along = (dy * xhat).mean(axis=(0, 2, 3), keepdims=True)
    dx = channels(weight) * r * (dy - dy.mean(axis=(0, 2, 3), keepdims=True) - xhat * along)
    return dx, None, None, (dy * xhat).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))


def relu(x):
    return np.maximum(x, 0)


def relu_gradients(dy, x):
    return (dy * (x > 0),)


def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


def hardswish(x):
    return x * np.minimum(np.maximum(x + 3, 0), 6) / 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x / (1 + np.exp(-x))


def silu_gradients(dy, x):
    s = 1 / (1 + np.exp(-x))
    return (dy * s * (1 + x * (1 - s)),)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x):
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def softmax_gradients(dy, x):
    p = softmax(x)
    return (p * (dy - (dy * p).sum(axis=-1, keepdims=True)),)


def windows(x, kernel_size, stride, padding, ceil_mode):
    """(rows, columns) of every window of a map, cut to the map, and how many it counts."""
    (kh, kw), (sh, sw) = pair(kernel_size), pair(kernel_size if stride is None else stride)
    around = pads(padding, x.shape[2:], (kh, kw), (sh, sw), (1, 1))
    spans = []
    for n, k, s, (before, after) in zip(x.shape[2:], (kh, kw), (sh, sw), around, strict=True):
        free = n + before + after - k
        out = -(-free // s) + 1 if ceil_mode else free // s + 1
        if ceil_mode and (out - 1) * s >= n + before:
            out -= 1
        starts = [j * s - before for j in range(out)]
        spans.append([
            (slice(max(a, 0), min(a + k, n)), min(a + k, n + after) - a) for a in starts
        ])  # fmt: skip
    return spans


def pool(reduce, x, kernel_size, stride, padding, ceil_mode):
    rows, columns = windows(x, kernel_size, stride, padding, ceil_mode)
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    for j, (r, height) in enumerate(rows):
        for k, (c, width) in enumerate(columns):
            y[:, :, j, k] = reduce(x[:, :, r, c], height * width)
    return y


def max_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False):
    return pool(lambda v, _: v.max(axis=(2, 3)), x, kernel_size, stride, padding, ceil_mode)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    def mean(part, count):
        inside = part.shape[2] * part.shape[3]
        return part.sum(axis=(2, 3)) / x.dtype.type(count if count_include_pad else inside)

    return pool(mean, x, kernel_size, stride, padding, ceil_mode)


def global_avg_pool(x):
    return x.mean(axis=(2, 3), keepdims=True)


def inverted_residual(
    x, expand_w, expand_bias, depthwise_w, depthwise_bias, project_w, project_bias,
    stride=1, padding=1, activation="relu6",
):  # fmt: skip
    act = {"relu6": relu6, "hardswish": hardswish}[activation]
    y = act(conv2d(x, expand_w, expand_bias))
    y = act(conv2d(y, depthwise_w, depthwise_bias, stride, padding, groups=y.shape[1]))
    y = conv2d(y, project_w, project_bias)
    return y + x if y.shape == x.shape else y
