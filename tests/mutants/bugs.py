"""The planted bugs: lines of ``victim`` changed, and wrappers that compute in another way.

LINES    (operation, function of the victim, the line as it is, the line with the bug)
WRAPPED  (operation, name, a function that makes a wrong kernel of the right one)
"""

import numpy as np

LINES = [
    # geometry
    ("conv2d", "pads", "total // 2, total - total // 2", "total - total // 2, total // 2"),
    ("conv2d", "pads", "-(-n // s)", "n // s"),
    ("conv2d", "pads", "d * (k - 1) + 1 - n", "k - n"),
    ("conv2d", "pads", "vertical, vertical), (horizontal, horizontal",
     "horizontal, horizontal), (vertical, vertical"),
    ("conv2d", "Plan", "self.sh, self.sw = pair(stride)", "self.sw, self.sh = pair(stride)"),
    ("conv2d", "Plan", "self.dh, self.dw = pair(dilation)", "self.dw, self.dh = pair(dilation)"),
    ("conv2d", "Plan", "self.dh, self.dw = pair(dilation)", "self.dh = self.dw = 1"),
    ("conv2d", "Plan", "(self.top, self.bottom), (self.left, self.right) = around",
     "(self.bottom, self.top), (self.left, self.right) = around"),
    ("conv2d", "Plan", "(self.top, self.bottom), (self.left, self.right) = around",
     "(self.top, self.bottom), (self.right, self.left) = around"),
    ("conv2d", "Plan", "self.top : self.top + self.h", "self.top + 1 : self.top + 1 + self.h"),
    ("conv2d", "Plan", "self.left : self.left + self.v", "0 : self.v"),
    ("conv2d", "Plan", "np.zeros((self.n", "np.full((self.n"),
    # reading
    ("conv2d", "Plan", "a * self.dh, a", "a, a"),
    ("conv2d", "Plan", "b * self.dw, b * self.dw + (self.wo - 1) * self.sw + 1, self.sw",
     "b * self.dw, b * self.dw + self.wo, 1"),
    ("conv2d", "Plan", "g * self.i : (g + 1) * self.i", "0 : self.i"),
    ("conv2d", "Plan", "g * self.i : (g + 1) * self.i", "g * self.i : (g + 1) * self.i - 1"),
    ("conv2d", "Plan", "g * self.i : (g + 1) * self.i", "-(g + 1) * self.i : self.c - g * self.i"),
    ("conv2d", "Plan", "for a in range(self.kh)", "for a in range(max(self.kh - 1, 1))"),
    ("conv2d", "Plan", "for b in range(self.kw)", "for b in range(self.kh)"),
    ("conv2d", "Plan", "for g in range(self.groups)", "for g in range(max(self.groups - 1, 1))"),
    # the sum
    ("conv2d", "conv2d", "y[:, p.outputs(g)] +=", "y[:, p.outputs(g)] ="),
    ("conv2d", "conv2d", "w[p.outputs(g), :, a, b]", "w[p.outputs(g), :, -1 - a, -1 - b]"),
    ("conv2d", "conv2d", "w[p.outputs(g), :, a, b]", "w[p.outputs(g), :, b % p.kh, a % p.kw]"),
    ("conv2d", "conv2d", "w[p.outputs(g), :, a, b]", "w[p.outputs(g), ::-1, a, b]"),
    ("conv2d", "conv2d", "w[p.outputs(g), :, a, b]", "w[p.outputs(0), :, a, b]"),
    ("conv2d", "conv2d", "y += bias[:, None, None]", "pass"),
    ("conv2d", "conv2d", "y += bias[:, None, None]", "y += 2 * bias[:, None, None]"),
    ("conv2d", "conv2d", "y += bias[:, None, None]", "y += bias[::-1, None, None]"),
    ("conv2d", "conv2d", "y += bias[:, None, None]", "y[:1] += bias[:, None, None]"),
    ("conv2d", "conv2d", "return y", "return y[::-1]"),
    ("conv2d", "conv2d", "return y", "return y.swapaxes(2, 3).reshape(y.shape)"),
    # gradients
    ("conv2d", "conv2d_gradients", "w[p.outputs(g), :, a, b])", "w[p.outputs(g), :, -1 - a, b])"),
    ("conv2d", "conv2d_gradients", "[...] += np", "[...] = np"),
    ("conv2d", "conv2d_gradients", "p.top : p.top + p.h", "p.bottom : p.bottom + p.h"),
    ("conv2d", "conv2d_gradients", "dw[p.outputs(g), :, a, b] =", "dw[p.outputs(g), :, a, 0] ="),
    ("conv2d", "conv2d_gradients", "part, p.seen(big, g, a, b))",
     "part[:1], p.seen(big, g, a, b)[:1])"),
    ("conv2d", "conv2d_gradients", "part, p.seen(big, g, a, b))",
     "part, p.seen(big, g, a, b)) / max(p.n, 1)"),
    ("conv2d", "conv2d_gradients", "dy.sum(axis=(0, 2, 3))", "dy.mean(axis=(0, 2, 3))"),
    ("conv2d", "conv2d_gradients", "dy.sum(axis=(0, 2, 3))", "dy.sum(axis=(2, 3))[:1].sum(axis=0)"),
    ("conv2d", "conv2d_gradients", "return dx, dw,", "return -dx, dw,"),
    ("linear", "linear", "+ bias", "- bias"),
    ("linear", "linear", "x @ w.T", "x[:, :-1] @ w[:, :-1].T"),
    ("linear", "linear_gradients", "dy.sum(axis=0)", "dy[0]"),
    ("linear", "linear_gradients", "dy.T @ x", "dy.T @ x * 1.001"),
    # statistics
    ("batch_norm", "batch_norm", "var = np.square(x - channels(mean)).mean(axis=(0, 2, 3))",
     "var = x.var(axis=(0, 2, 3), ddof=1)"),
    ("batch_norm", "batch_norm", "np.sqrt(var + x.dtype.type(eps))",
     "(np.sqrt(var) + x.dtype.type(eps))"),
    ("batch_norm", "batch_norm", "np.sqrt(var + x.dtype.type(eps))", "np.sqrt(var)"),
    ("batch_norm", "batch_norm", "mean = x.mean(axis=(0, 2, 3))", "mean = x[0].mean(axis=(1, 2))"),
    ("batch_norm", "batch_norm", "var = np.square(x - channels(mean)).mean(axis=(0, 2, 3))",
     "var = np.square(x).mean(axis=(0, 2, 3))"),
    ("batch_norm", "batch_norm", "mean, var = running_mean, running_var",
     "mean, var = running_mean, running_var * 1.0001"),
    ("batch_norm", "batch_norm_gradients", "- xhat * along", ""),
    ("batch_norm", "batch_norm_gradients", "- dy.mean(axis=(0, 2, 3), keepdims=True)", ""),
    ("batch_norm", "batch_norm_gradients", "(dy * xhat).sum(axis=(0, 2, 3))",
     "(dy * x).sum(axis=(0, 2, 3))"),
    # activations
    ("relu", "relu", "np.maximum(x, 0)", "np.abs(x)"),
    ("relu", "relu", "np.maximum(x, 0)", "np.where(x > 0, x, 0.01 * x).astype(x.dtype)"),
    ("relu", "relu_gradients", "dy * (x > 0)", "dy"),
    ("relu", "relu_gradients", "dy * (x > 0)", "dy * (x < 0)"),
    ("relu6", "relu6", "np.minimum(np.maximum(x, 0), 6)", "np.maximum(x, 0)"),
    ("relu6", "relu6", "x, 0), 6", "x, 0), 5.9999"),
    ("hardswish", "hardswish", "/ 6", "/ 5.999"),
    ("hardswish", "hardswish", "x + 3, 0", "x + 2, 0"),
    ("sigmoid", "sigmoid", "np.exp(-x)", "np.exp(-x).astype(np.float16).astype(x.dtype)"),
    ("silu", "silu", "x / (1 + np.exp(-x))", "x * np.minimum(np.maximum(x / 6 + 0.5, 0), 1)"),
    ("silu", "silu_gradients", "x * (1 - s)", "(1 - s)"),
    ("softmax", "softmax", "e.sum(axis=-1", "e.sum(axis=0"),
    ("softmax", "softmax", "e / e.sum(axis=-1, keepdims=True)",
     "e / (e.sum(axis=-1, keepdims=True) + x.dtype.type(1e-5))"),
    ("softmax", "softmax_gradients", "dy - (dy * p).sum(axis=-1, keepdims=True)", "dy * (1 - p)"),
    ("log_softmax", "log_softmax", "np.log(np.exp(z).sum", "np.log2(np.exp(z).sum"),
    # pools
    ("max_pool2d", "windows", "max(a, 0), min(a + k, n)", "max(a, 0), min(a + k - 1, n)"),
    ("max_pool2d", "windows", "-(-free // s) + 1 if", "free // s + 1 if"),
    ("max_pool2d", "windows", "j * s - before", "j * s"),
    ("max_pool2d", "max_pool2d", "v.max(axis=(2, 3))", "np.maximum(v.max(axis=(2, 3)), 0)"),
    ("avg_pool2d", "avg_pool2d", "count if count_include_pad else inside", "inside"),
    ("avg_pool2d", "avg_pool2d", "count if count_include_pad else inside", "count"),
    ("avg_pool2d", "windows", "min(a + k, n + after) - a", "k"),
    ("global_avg_pool", "global_avg_pool", "x.mean(axis=(2, 3), keepdims=True)",
     "x[:, :, 1:].sum(axis=(2, 3), keepdims=True) / (x.shape[2] * x.shape[3])"),
    # a block
    ("inverted_residual", "inverted_residual", "return y + x if y.shape == x.shape else y",
     "return y"),
    ("inverted_residual", "inverted_residual", "y = conv2d(y, project_w, project_bias)",
     "y = act(conv2d(y, project_w, project_bias))"),
    ("inverted_residual", "inverted_residual", '"relu6": relu6', '"relu6": relu'),
    ("inverted_residual", "inverted_residual", "stride, padding, groups=y.shape[1])",
     "stride, (padding, 1), groups=y.shape[1])"),
]  # fmt: skip


def bfloat16(a):
    """a rounded to 8 bits, ties to even."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded & np.uint32(0xFFFF0000)).astype(np.uint32).view(np.float32)


def tf32(a):
    """a rounded to 11 bits."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)


def inputs_in(rounded):
    return lambda f: lambda x, w, *rest, **words: f(rounded(x), rounded(w), *rest, **words)


def half_sums(f):
    """Every partial sum in float16: one input channel at a time."""

    def kernel(x, w, bias=None, groups=1, **words):
        if groups > 1:
            return f(x, w, bias, groups=groups, **words)
        y = np.float16(0)
        for k in range(x.shape[1]):
            y = (y + f(x[:, k : k + 1], w[:, k : k + 1], **words)).astype(np.float16)
        return y.astype(np.float32) + bias[:, None, None]

    return kernel


def result_in(dtype):
    return lambda f: lambda *args, **words: f(*args, **words).astype(dtype).astype(np.float32)


def edited(change):
    """The result is changed in place by ``change(y)``."""

    def wrap(f):
        def kernel(*args, **words):
            y = np.array(f(*args, **words))
            change(y)
            return y

        return kernel

    return wrap


def weight_off(f):
    """One weight is off by 0.1 %."""

    def kernel(x, w, *rest, **words):
        w = w.copy()
        w.flat[w.size // 2] *= np.float32(1.001)
        return f(x, w, *rest, **words)

    return kernel


def dropped_channel(f):
    def kernel(x, w, *rest, **words):
        w = w.copy()
        if w.shape[1] > 1:
            w[:, -1] = 0
        return f(x, w, *rest, **words)

    return kernel


def cached(f):
    """The first result for each shape is kept for ever."""
    kept = {}

    def kernel(*args, **words):
        key = (tuple(a.shape for a in args), tuple(words.items()))
        if key not in kept:
            kept[key] = f(*args, **words)
        return kept[key]

    return kernel


def cached_by_address(f):
    """The result is kept for as long as the arrays lie where they lay."""
    kept = {}

    def kernel(*args, **words):
        key = tuple(id(a) for a in args)
        if kept.get("key") != key:
            kept.update(key=key, args=args, y=f(*args, **words))
        return kept["y"]

    return kernel


def stale(f):
    """Results are added to what the buffer of the last call held."""
    buffers = {}

    def kernel(*args, **words):
        y = f(*args, **words)
        held = buffers.get(y.shape, np.zeros_like(y)) + y
        buffers[y.shape] = held
        return held

    return kernel


def changes_input(f):
    def kernel(x, *rest, **words):
        y = f(x, *rest, **words)
        x *= 2
        return y

    return kernel


def unwritten(tail):
    """The last columns are left as the memory was."""

    def wrap(f):
        def kernel(*args, **words):
            y = f(*args, **words)
            out = np.empty_like(y)
            end = max(y.shape[-1] - tail, 0)
            out[..., :end] = y[..., :end]
            return out

        return kernel

    return wrap


def race(f):
    """Two tiles of rows add to a shared row, and now and then one of them is lost."""
    calls = [0]

    def kernel(*args, **words):
        y = np.array(f(*args, **words))
        calls[0] += 1
        if calls[0] % 3 == 0 and y.shape[2] > 3:
            y[:, :, y.shape[2] // 2] = 0
        return y

    return kernel


def every_tile(size):
    """The last column of each tile of ``size`` columns is one too far right."""

    def change(y):
        if y.shape[-1] > size:
            y[..., size - 1 :: size] = y[..., size - 2 : -1 : size][
                ..., : y[..., size - 1 :: size].shape[-1]
            ]

    return edited(change)


def border(y):
    y[:, :, 0] = 0


def last_channel(y):
    if y.shape[1] > 16:
        y[:, 16:] = 0


def corner(y):
    if y.size:
        y[-1, -1, -1, -1] *= np.float32(1.0001)


WRAPPED = [
    ("conv2d", "bfloat16 inputs", inputs_in(bfloat16)),
    ("conv2d", "TF32 inputs", inputs_in(tf32)),
    ("conv2d", "float16 inputs", inputs_in(lambda a: a.astype(np.float16).astype(np.float32))),
    ("conv2d", "float16 sums", half_sums),
    ("conv2d", "float16 result", result_in(np.float16)),
    ("conv2d", "one weight off by 0.1 %", weight_off),
    ("conv2d", "last input channel dropped", dropped_channel),
    ("conv2d", "cached output", cached),
    ("conv2d", "output cached by address", cached_by_address),
    ("conv2d", "stale buffer", stale),
    ("conv2d", "input changed", changes_input),
    ("conv2d", "last column unwritten", unwritten(1)),
    ("conv2d", "race between tiles", race),
    ("conv2d", "last column of each tile of 8", every_tile(8)),
    ("conv2d", "first row zero", edited(border)),
    ("conv2d", "channels above 16 zero", edited(last_channel)),
    ("conv2d", "one corner off by 1e-4", edited(corner)),
    ("conv2d", "zeros", edited(lambda y: y.fill(0))),
    ("conv2d", "a constant", edited(lambda y: y.fill(1))),
    ("linear", "bfloat16 inputs", inputs_in(bfloat16)),
    ("softmax", "float16 result", result_in(np.float16)),
    ("relu", "zeros", edited(lambda y: y.fill(0))),
    ("max_pool2d", "cached output", cached),
]
