"""Small scopes: every convolution and every pool of a few pixels, none left out by `--full`.

A convolution of two axes has one map for each axis, M[p, a, h] = 1 where window p's tap a
lies on pixel h, and with them it is its definition again:

    y[o,p,q] = sum_{i,a,b,h,v} w[o,i,a,b] M[p,a,h] M'[q,b,v] x[i,h,v]

and likewise for both gradients.  On small integers every kernel must give exactly that.  One
axis runs through every size, kernel, stride, dilation and pad of its scope; the other is one
or two pixels wide, so that a kernel which reads across the end of a row is seen.  The quick
profile takes every fifth convolution of the core's, and fewer of the others'.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
import pytest
from needs import needs

from minigrad.errors import ShapeError
from minigrad.geometry import ConvSpec, output_size
from minigrad.kernels import backend, find
from minigrad.kernels.contract import PoolWindow, classify


class Axis(NamedTuple):
    """How a window moves along one axis."""

    size: int
    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int]
    ceil_mode: bool = False

    @property
    def out(self) -> int:
        return output_size(
            self.size, self.kernel, self.stride, self.pads, self.dilation, self.ceil_mode
        )

    def positions(self):
        """[p, a]: the position that tap a of window p reads, inside the input or not."""
        p, a = np.ogrid[: self.out, : self.kernel]
        return p * self.stride - self.pads[0] + a * self.dilation

    def reads(self):
        """M[p, a, h], as numbers."""
        return (self.positions()[:, :, None] == np.arange(self.size)).astype(float)


def alone(size):
    """An axis along which nothing happens."""
    return Axis(size, 1, 1, 1, (0, 0))


def axes(sizes, kernels, strides, dilations, pads, ceil=(False,)):
    """Every axis of a scope whose window fits."""
    pairs = itertools.product(range(pads + 1), repeat=2)
    for each in itertools.product(sizes, kernels, strides, dilations, pairs, ceil):
        if each[1] == 1 and each[3] > 1:  # one tap has no dilation
            continue
        axis = Axis(*each)
        try:
            reached = axis.out > 0
        except ShapeError:
            continue
        if reached:
            yield axis


KINDS = {"dense": (2, 3, 1), "general": (4, 2, 2), "depthwise": (3, 3, 3)}  # Cin, Cout, groups
FUNCTIONS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")


@functools.cache
def numbers(shape, seed):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def sums(x, w, g, groups, rows, cols):
    """y, dx and dw of one image by the formula above, group by group."""
    m, m_ = rows.reads(), cols.reads()
    x, w, g = (a.astype(float) for a in (x[0], w, g[0]))
    x, g = (a.reshape(groups, -1, *a.shape[1:]) for a in (x, g))
    w = w.reshape(groups, -1, *w.shape[1:])
    seen = np.einsum("pah,qbv,kihv->kipaqb", m, m_, x, optimize=["einsum_path", (0, 2), (0, 1)])
    y = (
        np.tensordot(w[0], seen[0], ([1, 2, 3], [0, 2, 4]))
        if groups == 1
        else np.einsum("koiab,kipaqb->kopq", w, seen)
    )
    spread = np.einsum("kopq,koiab->kipaqb", g, w)
    dx = np.einsum("pah,kipaqb,qbv->kihv", m, spread, m_, optimize=["einsum_path", (0, 1), (0, 1)])
    dw = np.einsum("kopq,kipaqb->koiab", g, seen)
    return (
        y.reshape(1, -1, *g.shape[2:]),
        dx.reshape(1, -1, *x.shape[2:]),
        dw.reshape(-1, *w.shape[2:]),
    )


def differences(scope, kinds=tuple(KINDS)):
    """The calls of all three functions whose result is not the sum, as sentences."""
    for rows, cols in scope:
        for kind in kinds:
            cin, cout, groups = KINDS[kind]
            spec = ConvSpec(
                (rows.stride, cols.stride), (rows.pads, cols.pads),
                (rows.dilation, cols.dilation), groups,
            )  # fmt: skip
            x = numbers((1, cin, rows.size, cols.size), 0)
            w = numbers((cout, cin // groups, rows.kernel, cols.kernel), 1)
            g = numbers((1, cout, rows.out, cols.out), 2)
            expected = sums(x, w, g, groups, rows, cols)
            calls = (x, w, None, spec), (g, w, x.shape, spec), (g, x, w.shape, spec)
            for function, arguments, right in zip(FUNCTIONS, calls, expected, strict=True):
                got = find(function, classify(spec, w.shape)).call(*arguments)
                if not np.array_equal(got, right):
                    yield f"{function} x {x.shape} w {w.shape} {spec}"


def one_axis(pads=5, beside=(1, 2), every=1):
    """Every convolution of up to 6 pixels, as rows and as columns."""
    scope = itertools.islice(
        axes(range(1, 7), range(1, 4), range(1, 4), range(1, 4), pads), 0, None, every
    )
    for axis, other in itertools.product(scope, beside):
        yield axis, alone(other)
        yield alone(other), axis


def two_axes(every=1):
    """Every convolution of up to 3 x 3 pixels and 2 x 2 taps."""
    scope = list(axes(range(1, 4), (1, 2), (1, 2), (1, 2), 1))
    return itertools.islice(itertools.product(scope, repeat=2), 0, None, every)


SHARES = [
    pytest.param("numpy", 11, id="numpy"),
    pytest.param("cython", 5, id="cython", marks=needs("cython")),
    pytest.param("cython", 1, id="all of cython", marks=[needs("cython"), pytest.mark.full]),
    pytest.param("numba", 37, id="numba", marks=needs("numba")),
    pytest.param("numba", 1, id="all of numba", marks=[needs("numba"), pytest.mark.full]),
    pytest.param("reference", 101, id="reference"),
]


@pytest.mark.newest
@pytest.mark.parametrize(("name", "every"), SHARES)
def test_every_convolution_along_one_axis(name, every):
    with backend(name):
        assert list(differences(one_axis(every=every))) == []


@pytest.mark.newest
@pytest.mark.parametrize(("name", "every"), SHARES)
def test_every_convolution_along_two_axes(name, every):
    with backend(name):
        assert list(differences(two_axes(every))) == []


# --- pools ------------------------------------------------------------------------------


def pool_axes(pads=2):
    """Every axis of up to 6 pixels on which each window touches the input."""
    for axis in axes(range(1, 7), range(1, 5), range(1, 4), (1, 2), pads, (False, True)):
        inside = (axis.positions() >= 0) & (axis.positions() < axis.size)
        if inside.any(axis=1).all():
            yield axis


def pools(every=1):
    """Pools along one axis, as rows and as columns, the other axis one or two pixels wide."""
    for axis in itertools.islice(pool_axes(), 0, None, every):
        for other in (alone(1), Axis(2, 1, 1, 1, (0, 0), axis.ceil_mode)):
            yield axis, other
            yield other, axis


def window_of(rows, cols):
    return PoolWindow(
        (rows.kernel, cols.kernel), (rows.stride, cols.stride), (rows.pads, cols.pads),
        (rows.dilation, cols.dilation), rows.ceil_mode or cols.ceil_mode,
    )  # fmt: skip


def taps_of(rows, cols):
    """[p, q, a b]: the flat position that each tap reads, and whether it is inside."""
    h, v = rows.positions()[:, None, :, None], cols.positions()[None, :, None, :]
    inside = (h >= 0) & (h < rows.size) & (v >= 0) & (v < cols.size)
    return tuple(a.reshape(rows.out, cols.out, -1) for a in (h * cols.size + v, inside))


def counted(axis, include_pad):
    """How many positions each window of a mean counts."""
    before, after = axis.pads if include_pad else (0, 0)
    at = axis.positions()
    return ((at >= -before) & (at < axis.size + after)).sum(axis=1)


def wrong_max_pools(scope):
    for rows, cols in scope:
        window = window_of(rows, cols)
        x = numbers((1, 2, rows.size, cols.size), 3)
        at, inside = taps_of(rows, cols)
        seen = np.where(inside, x.reshape(2, -1)[:, np.where(inside, at, 0)], -np.inf)
        first = np.take_along_axis(at[None], seen.argmax(axis=-1)[..., None], -1)[..., 0]
        y, index = find("max_pool2d").call(x, window)
        dx = find("max_pool2d_input_grad").call(y, index, x.shape)
        right = np.array([np.bincount(first[c].ravel(), y[0, c].ravel(), x[0, 0].size)
                          for c in (0, 1)]).reshape(x.shape)  # fmt: skip
        if not (
            np.array_equal(y[0], seen.max(axis=-1))
            and np.array_equal(index[0], first)
            and np.array_equal(dx, right)
        ):
            yield f"max_pool2d x {x.shape} {window}"


def wrong_mean_pools(scope):
    for (rows, cols), include_pad in itertools.product(scope, (False, True)):
        window = window_of(rows, cols)
        if window.dilation != (1, 1):
            continue
        x = numbers((1, 2, rows.size, cols.size), 3)
        at, inside = taps_of(rows, cols)
        count = np.multiply.outer(counted(rows, include_pad), counted(cols, include_pad))
        total = np.where(inside, x.reshape(2, -1)[:, np.where(inside, at, 0)], 0).sum(axis=-1)
        # Of whole numbers: every share is one, and so is every sum of them.
        g = (numbers((1, 2, rows.out, cols.out), 4) * count).astype(np.float32)
        read = (at[..., None] == np.arange(x[0, 0].size)) & inside[..., None]
        dx = np.einsum("cpq,pqtx->cx", (g / count)[0], read.astype(float))
        y = find("avg_pool2d").call(x, window, include_pad)
        back = find("avg_pool2d_input_grad").call(g, x.shape, window, include_pad)
        if not (
            np.array_equal(y[0], (total / count).astype(np.float32))
            and np.array_equal(back[0].reshape(2, -1), dx)
        ):
            yield f"avg_pool2d x {x.shape} {window} count_include_pad={include_pad}"


@pytest.mark.newest
@pytest.mark.parametrize(("name", "every"), SHARES)
@pytest.mark.parametrize("wrong", [wrong_max_pools, wrong_mean_pools])
def test_every_pool_along_one_axis(name, every, wrong):
    with backend(name):
        assert list(wrong(pools(every))) == []
