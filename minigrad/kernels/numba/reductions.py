"""Sums in an order that the shape alone decides (the rule: ``contract``), and softmax.

    columns   y[b, k] = x[b, 0, k] + x[b, 1, k] + ...   lanes run across k
    rows      y[b]    = x[b, 0] + x[b, 1] + ...         lanes are the 16 chains of a block

Sums of blocks are added in two words (``join``).  Subtraction, division and the like are
NumPy's: rounded correctly, they have one result.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from minigrad.kernels.contract import CHAIN, Array
from minigrad.kernels.formulas import both_words, error
from minigrad.kernels.numba import elementwise
from minigrad.kernels.numba._launch import kernel, kernel_of, lanes_of, run
from minigrad.kernels.numba._template import branch, registers, template, unroll

from minigrad.kernels.numba._vectors import (  # isort: skip
    BYTES, LANES, SIZE, Vec, down, fma, load, load_wide, splat, store, widen,
)  # fmt: skip
from minigrad.kernels.layout import dense
from minigrad.kernels.numba.layout import channels_last
from minigrad.kernels.softmax import Softmax
from minigrad.kernels.sums import Sums

WIDE = 4  # vectors of a task of columns
_F64 = np.dtype(np.float64)


# -- on arrays


def column_sums(
    terms: str, x: Array, g: Array | None = None, mean: Array | None = None
) -> tuple[Array, ...]:
    """Sums over m of x[b, m, k] ("plain"), d d ("square"), or both g and g d ("product").

    d is x[b, m, k] - mean[k].  x and g are (batch, length, width) in C order, the mean is
    float64, and so are the sums, (batch, width) each.
    """
    batch, length, width = x.shape
    results, blocks = 2 if terms == "product" else 1, -(-length // CHAIN)
    padded = -(-width // 16) * 16  # so that no sum needs a mask
    sums = np.zeros((results, batch, max(blocks, 1), padded))
    if x.size:
        x, g = (np.require(a, requirements="A") for a in (x, x if g is None else g))
        means = np.zeros(padded)
        means[:width] = 0 if mean is None else mean
        parts = -(-width // (WIDE * lanes_of(x.dtype)))
        words = Columns(sums, x, g, means, parts, blocks, length, width, padded, sums[0].nbytes)
        run(column_blocks.of(x.dtype, terms), words, batch * blocks * parts)
    y = _joined(sums.reshape(results * batch, *sums.shape[2:])).reshape(results, batch, padded)
    return tuple(y[..., :width])


def row_sums(x: Array, g: Array | None = None) -> Array:
    """(batch, length) in C order to (batch,) in float64: the sums of x, or of the products g x."""
    batch, length = x.shape
    blocks, padded = -(-length // (16 * CHAIN)), -(-batch // 16) * 16
    sums = np.zeros((1, max(blocks, 1), padded))
    if x.size:
        x, other = (np.require(a, requirements="A") for a in (x, x if g is None else g))
        words = Rows(sums, x, other, blocks, length, padded)
        run(row_blocks.of(x.dtype, g is not None), words, batch * blocks)
    row: Array = _joined(sums)[0, :batch]
    return row


def _joined(sums: Array) -> Array:
    """(batch, blocks, width) to (batch, width): the blocks added in two words."""
    batch, blocks, width = sums.shape
    if blocks == 1:
        return sums[:, 0]
    y = np.empty((batch, width))
    run(join.of(_F64), Blocks(y, sums, blocks, width), batch * (width // 16))
    return y


sum = Sums(
    lambda x: column_sums("plain", dense(x))[0].astype(x.dtype),
    lambda x: row_sums(x).astype(x.dtype),
    channels_last,
).sum


def _along_the_last(x: Array, g: Array | None = None) -> Array:
    """The sums of x, or of g x, along the last axis, which is kept."""
    rows = [np.ascontiguousarray(a).reshape(math.prod(a.shape[:-1]), a.shape[-1])
            for a in ((x,) if g is None else (x, g))]  # fmt: skip
    return row_sums(*rows).astype(x.dtype).reshape(*x.shape[:-1], 1)


_softmax = Softmax(elementwise.exp, elementwise.log, _along_the_last, _along_the_last)
softmax, softmax_input_grad = _softmax.softmax, _softmax.softmax_input_grad
log_softmax, log_softmax_input_grad = _softmax.log_softmax, _softmax.log_softmax_input_grad


# -- compiled


# The words of a job on columns; ``result`` is from one result to the next.
Columns = namedtuple("Columns", "y x g mean parts blocks length width padded result")


@kernel
def column_blocks(job: Columns, first: int, last: int, *, TERMS: str) -> None:
    """A task: one block of some neighbouring columns."""
    step = job.width * SIZE
    for task in range(first, last):
        rest, part = divmod(task, job.parts)
        batch, block = divmod(rest, job.blocks)
        start = block * CHAIN
        count = min(CHAIN, job.length - start)
        at = (batch * job.length + start) * step
        k = part * WIDE * LANES
        end = min(k + WIDE * LANES, job.width)
        y = job.y + (rest * job.padded + k) * 8
        while k < end:
            n = end - k
            x, g, mean = job.x + at + k * SIZE, job.g + at + k * SIZE, job.mean + k * 8
            vectors = WIDE if n == WIDE * LANES else 1
            chains[TERMS, branch(vectors == WIDE, WIDE, 1)](
                y, job.result, x, g, mean, step, count, n
            )
            k += vectors * LANES
            y += LANES * 8


@template
def chains(
    y: int, result: int, x: int, g: int, mean: int, step: int, count: int, n: int,
    *, TERMS: str, V: int,
) -> None:  # fmt: skip
    """One chain for each column of V vectors; of a single one, the first n columns."""
    s, t, means = registers(3)
    for v in unroll(range(V)):
        s[v] = t[v] = widen(splat(0))
        means[v] = load_wide(mean + v * LANES * 8)
    for _ in range(count):
        for v in unroll(range(V)):
            d = widen(load(x + v * BYTES, n if V == 1 else LANES))
            if TERMS == "plain":
                s[v] += d
            if TERMS == "square":
                s[v] = fma(d - means[v], d - means[v], s[v])
            if TERMS == "product":
                h = widen(load(g + v * BYTES, n if V == 1 else LANES))
                s[v] += h
                t[v] = fma(h, d - means[v], t[v])
        x += step
        g += step
    for v in unroll(range(V)):
        store(y + v * LANES * 8, s[v])
        if TERMS == "product":
            store(y + result + v * LANES * 8, t[v])


# The words of a job on rows.
Rows = namedtuple("Rows", "y x g blocks length padded")


@kernel_of(lanes=16)
def row_blocks(job: Rows, first: int, last: int, *, PRODUCT: bool) -> None:
    """A task: one block of a row, in 16 chains.  A chain that has run out adds +0."""
    for task in range(first, last):
        row, block = divmod(task, job.blocks)
        start = block * 16 * CHAIN
        count = min(16 * CHAIN, job.length - start)
        x = job.x + (row * job.length + start) * SIZE
        g = job.g + (row * job.length + start) * SIZE
        c = widen(splat(0))
        for k in range(0, count - 15, 16):
            c = more[PRODUCT, False](c, x + k * SIZE, g + k * SIZE, count - k)
        if count % 16 > 0:
            k = count - count % 16
            c = more[PRODUCT, True](c, x + k * SIZE, g + k * SIZE, count - k)
        for apart in unroll((8, 4, 2, 1)):
            c += down(c, apart)
        store(job.y + (block * job.padded + row) * 8, c, 1)


@template
def more(c: Vec, x: int, g: int, n: int, *, PRODUCT: bool, PARTIAL: bool) -> Vec:
    """c and the next term of every chain, or of the first n."""
    lanes = n if PARTIAL else LANES
    terms = widen(load(x, lanes))
    return fma(widen(load(g, lanes)), terms, c) if PRODUCT else c + terms


# The words of a job that adds blocks: y (batch, width), sums (batch, blocks, width).
Blocks = namedtuple("Blocks", "y sums blocks width")


@kernel_of(lanes=16)
def join(job: Blocks, first: int, last: int) -> None:
    """A task: the sums of 16 neighbours, block after block."""
    parts = job.width // 16
    for task in range(first, last):
        batch, part = divmod(task, parts)
        place = job.sums + (batch * job.blocks * job.width + part * 16) * 8
        hi, lo = load(place), splat(0)
        for block in range(1, job.blocks):
            b = load(place + block * job.width * 8)
            s = hi + b
            lo += error(hi, b, s)
            hi = s
        store(job.y + task * BYTES, both_words(hi, lo))
