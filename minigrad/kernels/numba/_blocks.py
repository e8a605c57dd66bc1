"""Weight gradients: sums over the pixels of a batch, block by block (the rule: ``contract``).

Between its visits a chain waits in memory: a visit is of some rows of one image, few enough
that x and g stay in the cache while all tiles of a task pass over them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence

import numpy as np

from minigrad.kernels.contract import PIXELS, Array
from minigrad.kernels.formulas import both_words, error
from minigrad.kernels.layout import empty
from minigrad.kernels.numba._launch import Job, kernel
from minigrad.kernels.numba._segments import Sweep
from minigrad.kernels.numba._template import Template, entry, template
from minigrad.kernels.numba._vectors import LANES, SIZE, load, splat, store
from minigrad.threads import num_threads

__all__ = ["Blocks", "WeightGrad", "blocks_of", "carry", "over_blocks"]

_SHARES = 4  # tasks for each thread: one that wakes late takes fewer
_SHARES_OF_LONG = 16  # between which a long job can end


# How the pixels of g are cut: ``tall`` rows by ``wide`` pixels, ``pieces`` side by side. Rows are
# counted over the whole batch.  A visit takes ``down`` rows of a block.
Blocks = namedtuple("Blocks", "number pieces rows height width tall wide down")


def blocks_of(g: Sequence[int], flat: bool, room: int) -> Blocks:
    """The blocks for g (N, Ho, Wo, ...); a visit has about ``room`` pixels.

    Where the window is 1x1 and nothing is padded (``flat``) the rows are one line.
    """
    rows, height, width = g[0] * g[1], g[1], g[2]
    tall, wide = max(PIXELS // max(width, 1), 1), max(min(PIXELS, width), 1)
    if flat and width <= PIXELS:
        rows, height, width, tall, wide = 1, 1, rows * width, 1, tall * wide
    pieces = -(-width // wide)
    down = max(room // wide, 1)
    return Blocks(-(-rows // tall) * pieces, pieces, rows, height, width, tall, wide, down)


# The first words of every job here: chains, first and second words, and their blocks. ``a`` and
# ``b`` are x and g, in whatever order; ``tiles`` are cut into ``tasks``.
Sums = namedtuple("Sums", "chain hi lo a b blocks tiles tasks")


@kernel
def over_blocks(job: Sums, first: int, last: int, *, TILES: Template) -> None:
    """Some of the tiles, on every pixel; TILES does those of one visit."""
    start, end = job.tiles * first // job.tasks, job.tiles * last // job.tasks
    cut = entry(Blocks, job.blocks, 0)
    for block in range(cut.number):
        row, left = block // cut.pieces * cut.tall, block % cut.pieces * cut.wide
        bottom, right = min(row + cut.tall, cut.rows), min(left + cut.wide, cut.width)
        while row < bottom:
            image, p = divmod(row, cut.height)
            p_end = min(min(p + bottom - row, cut.height), p + cut.down)
            row += p_end - p
            done = cut.number > 1 and row == bottom
            TILES(job, start, end, image, p, p_end, left, right, block if done else -1)


@template
def carry(job: Sums, at: int, rows: int, step: int, lanes: int, block: int) -> None:
    """Add the sums of a block to the words before, and begin the next from +0.

    The chains of a tile begin at ``at``: some rows, ``step`` bytes apart, of so many lanes.
    """
    blocks = entry(Blocks, job.blocks, 0)
    last = blocks.number - 1
    for m in range(rows):
        for v in range(0, lanes, LANES):
            k, n = at + m * step + v * SIZE, lanes - v
            b, rest = load(job.chain + k, n), splat(0)
            if block > 0:
                before = load(job.hi + k, n)
                s = before + b
                rest = load(job.lo + k, n) + error(before, b, s)
                b = both_words(s, rest) if block == last else s
            store(job.chain + k, splat(0), n)
            store(job.hi + k, b, n)
            store(job.lo + k, rest, n)


class WeightGrad:
    """The weight gradient for one shape.

    Parameters
    ----------
    job : whose first words are ``Sums``; its tasks are the tiles
    several : whether there is more than one block
    shape : of the sums, (groups, kh, kw, channels of a, channels of b)
    turned : whether a is g; otherwise it is x
    sweep : the convolution
    """

    def __init__(
        self, job: Job, several: bool, shape: tuple[int, ...], turned: bool, sweep: Sweep
    ) -> None:
        self.job, self.several, self.shape, self.turned = job, several, shape, turned
        self.weights, self.dtype = sweep.weights, sweep.dtype

    def __call__(self, g: Array, x: Array) -> Array:
        """The sums over two channels-last maps, (Cout, Cin/groups, kh, kw)."""
        sums = empty(self.shape, self.dtype)
        # One block needs no words beside the result.
        chains, rests = empty((2, *self.shape), self.dtype) if self.several else (sums, sums)
        (chains if self.job.tasks else sums).fill(0)
        self._run(self.job.on(chains, sums, rests, *((g, x) if self.turned else (x, g))))
        dw = sums.transpose(0, *((3, 4) if self.turned else (4, 3)), 1, 2).reshape(self.weights)
        return dw if self.shape[3] == 1 else np.ascontiguousarray(dw)

    def _run(self, job: Job) -> None:
        """Run all tiles, in a few shares for each thread."""
        if job.tasks:
            workers = num_threads()
            shares = _SHARES_OF_LONG if job.long else _SHARES if workers > 1 else 1
            tasks = min(workers * shares, job.tasks)
            job.cut_into(Sums._fields.index("tasks"), tasks).run(workers)
