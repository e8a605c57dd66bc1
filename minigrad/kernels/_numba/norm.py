"""BatchNorm: what happens to each number, and the sums over a batch.

    y  = (x - mean) scale + shift                    evaluation, and training's forward
    dx = scale ((g - a) - x̂ b),  x̂ = (x - mean) r    training's gradient
    sum (x - mean)^2;   sum g and sum g x̂            over the pixels of one image

Lanes are channels.  Every operation is rounded by itself, in the order of the formula.  A sum
is one chain for each image and channel, from +0, its pixels row by row; then the images are
added in order (``sums``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.functions import Functions
from minigrad.kernels._numba.launch import address, compiled, job, run, vector_bytes
from minigrad.kernels._numba.sums import column_sums, total
from minigrad.kernels._numba.transpose import channels_last
from minigrad.kernels._numba.vectors import Value, fold, int64, intrinsic, literal, word
from minigrad.kernels.contract import Array

_NUMBERS = 16_384  # of one task
_VECTORS = 4  # of channels, summed side by side


# -- the formulas, on vectors


def _normalized(v: Functions, x: Value, mean: Value, scale: Value, shift: Value) -> list[Value]:
    return [v.add(v.mul(v.sub(x, mean), scale), shift)]


def _gradient(
    v: Functions, x: Value, g: Value, mean: Value, r: Value, scale: Value, a: Value, b: Value
) -> list[Value]:
    xhat = v.mul(v.sub(x, mean), r)
    return [v.mul(scale, v.sub(v.sub(g, a), v.mul(xhat, b)))]


def _square(v: Functions, x: Value, mean: Value) -> list[Value]:
    centred = v.sub(x, mean)
    return [v.mul(centred, centred)]


def _products(v: Functions, x: Value, g: Value, mean: Value, r: Value) -> list[Value]:
    return [g, v.mul(g, v.mul(v.sub(x, mean), r))]


class Formula(NamedTuple):
    """``compute`` takes a number of each map and of each vector (one a channel)."""

    compute: Callable[..., list[Value]]
    maps: int
    vectors: int
    results: int


FORMULAS = (
    Formula(_normalized, 1, 3, 1),
    Formula(_gradient, 2, 5, 1),
    Formula(_square, 1, 1, 1),
    Formula(_products, 2, 2, 2),
)
NORMALIZED, GRADIENT, SQUARE, PRODUCTS = range(4)


# -- on arrays


def normalize(x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """(x - mean) scale + shift, for x (N, C, ...)."""
    return _each(NORMALIZED, [x], mean, scale, shift)


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel: sum x / m, then sum (x - mean)^2 / m."""
    count = x.dtype.type(math.prod(x.shape) // max(x.shape[1], 1))
    pixels = _channels_to_end(x).reshape(len(x), math.prod(x.shape[2:]), x.shape[1])
    mean = np.asarray(total(column_sums(pixels), (0,), False) / count)
    squares = _over_images(SQUARE, [x], mean)[0]
    return mean, np.asarray(squares / count)


def products(g: Array, x: Array, mean: Array, r: Array) -> tuple[Array, Array]:
    """sum g and sum g x̂ of each channel."""
    along, across = _over_images(PRODUCTS, [x, g], mean, r)
    return along, across


def gradient(g: Array, x: Array, mean: Array, r: Array, scale: Array) -> Array:
    """dx = scale ((g - mean(g)) - x̂ mean(g x̂))."""
    count = x.dtype.type(x.size // max(x.shape[1], 1))
    a, b = (np.asarray(t / count) for t in products(g, x, mean, r))
    return _each(GRADIENT, [x, g], mean, r, scale, a, b)


def _channels_to_end(x: Array) -> Array:
    """(N, C, ...) as (N, ..., C) in C order."""
    if x.ndim == 4:
        return channels_last(x)
    return np.require(np.moveaxis(x, 1, -1), requirements=["C", "A"])


def _each(which: int, maps: Sequence[Array], *vectors: Array) -> Array:
    """The formula at every number of the maps."""
    last = [_channels_to_end(x) for x in maps]
    y, table = np.empty_like(last[0]), np.stack(vectors)
    if y.size:
        size, channels = y.itemsize, y.shape[-1]
        pixels, each = y.size // channels, max(_NUMBERS // channels, 1)
        words = address(y), address(last[0]), address(last[-1]), address(table)
        kernel = _each_kernel(which, size, vector_bytes() // size)
        run(kernel, job(*words, channels, pixels, each), -(-pixels // each))
    return np.moveaxis(y, -1, 1)


def _over_images(which: int, maps: Sequence[Array], *vectors: Array) -> list[Array]:
    """The sums of the formula's results over all pixels: image by image, then the images."""
    last = [_channels_to_end(x) for x in maps]
    images, channels = last[0].shape[0], last[0].shape[-1]
    y = np.empty((FORMULAS[which].results, images, channels), last[0].dtype)
    if y.size:
        table = np.stack(vectors)
        size, lanes = y.itemsize, vector_bytes() // y.itemsize
        parts, length = -(-channels // (_VECTORS * lanes)), math.prod(last[0].shape[1:-1])
        words = address(y), address(last[0]), address(last[-1]), address(table)
        run(
            _sum_kernel(which, size, lanes),
            job(*words, channels, parts, length, y[0].nbytes),
            images * parts,
        )
    return [total(t, (0,), False) for t in y]


# -- compiled


@functools.cache
def _each_kernel(which: int, itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def each(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        channels, pixels, count = word(table, 4), word(table, 5), word(table, 6)
        y, x, g, vectors = word(table, 0), word(table, 1), word(table, 2), word(table, 3)
        step = channels * itemsize
        for pixel in range(first * count, min(last * count, pixels)):
            at = pixel * step
            for k in range(0, channels, lanes):
                to, c, tail = at + k * itemsize, vectors + k * itemsize, channels - k
                if tail >= lanes:
                    apply(y + to, x + to, g + to, c, step, tail, which, itemsize, lanes, 0)
                else:
                    apply(y + to, x + to, g + to, c, step, tail, which, itemsize, lanes, 1)

    return compiled(each)


@intrinsic
def apply(
    typing: Any, y: Any, x: Any, g: Any, vectors: Any, step: Any, tail: Any,
    which: Any, itemsize: Any, lanes: Any, masked: Any,
) -> Any:  # fmt: skip
    """The formula for one vector of channels of one pixel."""
    formula = FORMULAS[literal(which)]

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        y, x, g, vectors, step, tail = args[:6]
        v = Functions(builder, literal(itemsize), literal(lanes), tail if literal(masked) else None)
        maps = [v.load_tail(p) for p in (x, g)[: formula.maps]]
        constants = [v.load_tail(v.at(vectors, step, j)) for j in range(formula.vectors)]
        v.store_tail(formula.compute(v, *maps, *constants)[0], y)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, which, itemsize, lanes, masked), codegen


@functools.cache
def _sum_kernel(which: int, itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def over_pixels(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        channels, parts, length = word(table, 4), word(table, 5), word(table, 6)
        step, results = channels * itemsize, word(table, 7)
        for task in range(first, last):
            image, part = divmod(task, parts)
            k = part * _VECTORS * lanes
            end = min(k + _VECTORS * lanes, channels)
            y = word(table, 0) + image * step
            x, g = word(table, 1) + image * length * step, word(table, 2) + image * length * step
            while k < end:
                at = k * itemsize
                if end - k == _VECTORS * lanes:
                    chain(
                        y + at, x + at, g + at, word(table, 3) + at, step, length, results, end - k,
                        which, itemsize, lanes, _VECTORS, 0,
                    )  # fmt: skip
                    k = end
                else:
                    chain(
                        y + at, x + at, g + at, word(table, 3) + at, step, length, results, end - k,
                        which, itemsize, lanes, 1, 1,
                    )  # fmt: skip
                    k += lanes

    return compiled(over_pixels)


@intrinsic
def chain(
    typing: Any, y: Any, x: Any, g: Any, vectors: Any, step: Any, length: Any, results: Any,
    tail: Any, which: Any, itemsize: Any, lanes: Any, wide: Any, masked: Any,
) -> Any:  # fmt: skip
    """The sum over pixels, for ``wide`` vectors of channels: a chain for each and each result."""
    formula, blocks = FORMULAS[literal(which)], range(literal(wide))

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        y, x, g, vectors, step, length, results, tail = args[:8]
        v = Functions(builder, literal(itemsize), literal(lanes), tail if literal(masked) else None)

        def block(address: Value, i: int) -> Value:
            return builder.add(address, int64(i * v.bytes))

        constants = [
            [v.load_tail(block(v.at(vectors, step, j), i)) for j in range(formula.vectors)]
            for i in blocks
        ]

        def add(pixel: Value, acc: list[Value]) -> list[Value]:
            down = builder.mul(pixel, step)
            terms = []
            for i in blocks:
                at = [block(builder.add(p, down), i) for p in (x, g)[: formula.maps]]
                terms += formula.compute(v, *(v.load_tail(p) for p in at), *constants[i])
            return [v.add(a, t) for a, t in zip(acc, terms, strict=True)]

        acc = fold(builder, length, [v.zero] * (len(blocks) * formula.results), add)
        for n, sum_ in enumerate(acc):
            i, result = divmod(n, formula.results)
            v.store_tail(sum_, block(v.at(y, results, result), i))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8, which, itemsize, lanes, wide, masked), codegen
