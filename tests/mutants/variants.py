"""Correct implementations that differ in every way that is allowed: the judge must pass them."""

import itertools
import math

import numpy as np


def columns(victim, x, w, stride, padding, dilation, groups):
    """(N, groups, taps i, Ho Wo) patches and the numbers of the convolution."""
    p = victim.Plan(x, w, stride, padding, dilation, groups)
    big = p.padded(x)
    patches = np.empty((p.n, groups, p.kh * p.kw * p.i, p.ho * p.wo), x.dtype)
    for g in range(groups):
        parts = [p.seen(big, g, a, b) for a in range(p.kh) for b in range(p.kw)]
        stacked = np.concatenate(parts, axis=1)
        patches[:, g] = stacked.reshape(p.n, p.kh * p.kw * p.i, p.ho * p.wo)
    return p, patches


def by_terms(victim, add):
    """A convolution whose sum over all terms is ``add(terms)``, terms on axis 0."""

    def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        p, patches = columns(victim, x, w, stride, padding, dilation, groups)
        each = p.o // groups
        flat = w.transpose(0, 2, 3, 1).reshape(groups, each, -1)
        y = np.empty((p.n, p.o, p.ho * p.wo), x.dtype)
        for g in range(groups):
            terms = patches[:, g, None] * flat[g][None, :, :, None]
            y[:, g * each : (g + 1) * each] = add(np.moveaxis(terms, 2, 0))
        y = y.reshape(p.n, p.o, p.ho, p.wo)
        return y if bias is None else y + bias[:, None, None]

    return conv2d


def forwards(terms):
    total = np.zeros(terms.shape[1:], terms.dtype)
    for term in terms:
        total = total + term
    return total


def backwards(terms):
    return forwards(terms[::-1])


def shuffled(terms):
    return forwards(terms[np.random.default_rng(0).permutation(len(terms))])


def pairwise(terms):
    if len(terms) <= 2:
        return terms.sum(axis=0)
    half = len(terms) // 2
    return pairwise(terms[:half]) + pairwise(terms[half:])


def blocks(size):
    def add(terms):
        return forwards(np.stack([forwards(terms[k : k + size])
                                  for k in range(0, len(terms), size)]))  # fmt: skip

    return add


def lanes(count):
    def add(terms):
        return forwards(
            np.stack([forwards(terms[k::count]) for k in range(min(count, len(terms)))])
        )

    return add


def kahan(terms):
    total, lost = np.zeros(terms.shape[1:], terms.dtype), 0
    for term in terms:
        y = term - lost
        new = total + y
        lost = (new - total) - y
        total = new
    return total


def largest_first(terms):
    return forwards(np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=0), axis=0))


def in_float64(victim, name):
    def kernel(*args, **words):
        wide = [a.astype(np.float64) for a in args]
        return getattr(victim, name)(*wide, **words).astype(args[0].dtype)

    return kernel


def fused(victim):
    """Each product is exact and each addition rounded once: FMA."""

    def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        p, patches = columns(victim, x, w, stride, padding, dilation, groups)
        each = p.o // groups
        flat = w.transpose(0, 2, 3, 1).reshape(groups, each, -1).astype(np.float64)
        y = np.zeros((p.n, p.o, p.ho * p.wo), x.dtype)
        if bias is not None:
            y += bias[:, None]
        for g, k in itertools.product(range(groups), range(flat.shape[2])):
            part = y[:, g * each : (g + 1) * each]
            part[...] = part + patches[:, g, None, k].astype(np.float64) * flat[g, :, k, None]
        return y.reshape(p.n, p.o, p.ho, p.wo)

    return conv2d


def im2col(victim):
    def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        p, patches = columns(victim, x, w, stride, padding, dilation, groups)
        flat = w.transpose(0, 2, 3, 1).reshape(groups, p.o // groups, -1)
        y = (flat @ patches).reshape(p.n, p.o, p.ho, p.wo)
        return y if bias is None else y + bias[:, None, None]

    return conv2d


def channels_last(victim):
    def conv2d(x, w, *rest, **words):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        y = victim.conv2d(x, w, *rest, **words)
        return np.ascontiguousarray(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    return conv2d


def image_by_image(victim):
    def conv2d(x, *rest, **words):
        if not len(x):
            return victim.conv2d(x, *rest, **words)
        return np.concatenate([victim.conv2d(x[k : k + 1], *rest, **words) for k in range(len(x))])

    return conv2d


def bias_first(victim):
    """The sum starts from the bias, taps from the last to the first."""

    def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        p = victim.Plan(x, w, stride, padding, dilation, groups)
        big = p.padded(x)
        y = np.zeros((p.n, p.o, p.ho, p.wo), x.dtype) + bias[:, None, None]
        for g, a, b in reversed(list(p.taps())):
            kernel = w[p.outputs(g), :, a, b]
            y[:, p.outputs(g)] += np.einsum("nihv,oi->nohv", p.seen(big, g, a, b), kernel)
        return y

    return conv2d


def winograd(victim, tile, matrices):
    """F(tile, 3) by F(tile, 3) for 3x3 kernels of stride 1 and dilation 1."""

    def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if w.shape[2:] != (3, 3) or stride != 1 or dilation != 1 or groups != 1 or not len(x):
            return victim.conv2d(x, w, bias, stride, padding, dilation, groups)
        at, g, bt = (a.astype(x.dtype) for a in matrices(tile, 3))
        p = victim.Plan(x, w, stride, padding, dilation, groups)
        rows, cols = math.ceil(p.ho / tile), math.ceil(p.wo / tile)
        big = np.zeros((p.n, p.c, rows * tile + 2, cols * tile + 2), x.dtype)
        inner = p.padded(x)
        big[:, :, : inner.shape[2], : inner.shape[3]] = inner
        kernels = g @ w @ g.T
        y = np.empty((p.n, p.o, rows * tile, cols * tile), x.dtype)
        for r, c in itertools.product(range(rows), range(cols)):
            piece = big[:, :, r * tile : (r + 1) * tile + 2, c * tile : (c + 1) * tile + 2]
            product = np.einsum("niab,oiab->noab", bt @ piece @ bt.T, kernels)
            at_place = np.s_[:, :, r * tile : (r + 1) * tile, c * tile : (c + 1) * tile]
            y[at_place] = at @ product @ at.T
        y = np.ascontiguousarray(y[:, :, : p.ho, : p.wo])
        return y if bias is None else y + bias[:, None, None]

    return conv2d


def fft(victim):
    """Stride 1 and dilation 1 through numpy.fft in float32."""

    def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if stride != 1 or dilation != 1 or not len(x):
            return victim.conv2d(x, w, bias, stride, padding, dilation, groups)
        p = victim.Plan(x, w, stride, padding, dilation, groups)
        big = p.padded(x)
        size = big.shape[2] + p.kh - 1, big.shape[3] + p.kw - 1
        fx, fw = np.fft.rfft2(big, size), np.conj(np.fft.rfft2(w, size))
        y = np.empty((p.n, p.o, *size), x.dtype)
        for g in range(groups):
            part = fx[:, g * p.i : (g + 1) * p.i]
            spectrum = np.einsum("nihv,oihv->nohv", part, fw[p.outputs(g)])
            y[:, p.outputs(g)] = np.fft.irfft2(spectrum, size)
        y = np.ascontiguousarray(y[:, :, : p.ho, : p.wo])
        return y if bias is None else y + bias[:, None, None]

    return conv2d


def conv_variants(victim, matrices):
    """[(name, kernel, algorithm)]."""
    orders = {
        "forwards": forwards, "backwards": backwards, "shuffled": shuffled, "pairwise": pairwise,
        "blocks of 4": blocks(4), "blocks of 64": blocks(64), "8 lanes": lanes(8),
        "16 lanes": lanes(16), "Kahan": kahan, "largest term first": largest_first,
    }  # fmt: skip
    return [
        *((name, by_terms(victim, add), None) for name, add in orders.items()),
        ("as it is", victim.conv2d, None),
        ("float64, rounded", in_float64(victim, "conv2d"), None),
        ("FMA", fused(victim), None),
        ("im2col", im2col(victim), None),
        ("channels last", channels_last(victim), None),
        ("image by image", image_by_image(victim), None),
        ("from the bias, taps reversed", bias_first(victim), None),
        ("Winograd F(2, 3)", winograd(victim, 2, matrices), "winograd"),
        ("Winograd F(4, 3)", winograd(victim, 4, matrices), "winograd"),
        ("FFT", fft(victim), "fft"),
    ]
