"""Weight gradients: sums over the pixels of a batch, block by block.

The pixels of g are cut into blocks of about PIXELS, by the shape of g alone.  Within a block
a weight has one chain of fused multiply-adds, from +0; the block sums are added in two words,
hi and lo, and hi + lo is the result.  Between its visits a chain waits in memory: a visit is
of some rows of one image, few enough that x and g stay in the cache while all tiles of a task
pass over them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence

from minigrad.kernels.contract import PIXELS, Array
from minigrad.kernels.numba._launch import Job, empty, kernel
from minigrad.kernels.numba._template import Template, entry, static, template
from minigrad.kernels.numba._vectors import add, load, load_n, store, store_n, zero
from minigrad.kernels.numba.reductions import both_words, error

__all__ = ["Blocks", "SumCall", "blocks_of", "carry", "over_blocks"]

_SHARES = 4  # tasks for each thread: one that wakes late takes fewer


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
def carry(chain: int, hi: int, lo: int, n: int, block: int, blocks: int, *, PARTIAL: bool) -> None:
    """Add the sum of a block to the words before, and begin the next from +0."""
    b = load_n(chain, n) if static(PARTIAL) else load(chain)
    rest = zero()
    if block > 0:
        before = load_n(hi, n) if static(PARTIAL) else load(hi)
        rest = load_n(lo, n) if static(PARTIAL) else load(lo)
        s = add(before, b)
        rest = add(rest, error(before, b, s))
        b = both_words(s, rest) if block == blocks - 1 else s
    if static(PARTIAL):
        store_n(chain, zero(), n)
        store_n(hi, b, n)
        store_n(lo, rest, n)
    else:
        store(chain, zero())
        store(hi, b)
        store(lo, rest)


class SumCall:
    """A weight gradient with its arrays; ``run`` sums, and brings the sums to where they belong.

    Parameters
    ----------
    job : whose first words are ``Sums``; its tasks are the tiles
    several : whether there is more than one block
    a, b : x and g
    sums : where hi goes
    deliver : brings ``sums`` to their place
    """

    def __init__(
        self, job: Job, several: bool, a: Array, b: Array, sums: Array, deliver: Callable[[], None]
    ) -> None:
        # One block needs no words beside the result.
        words = empty((2, *sums.shape), sums.dtype) if several else (sums, sums)
        self._job, self._sums, self._chain = job.on(words[0], sums, words[1], a, b), sums, words[0]
        self._deliver = deliver

    def run(self, threads: int = 1) -> None:
        """Run all tiles on so many threads."""
        tiles = self._job.tasks
        (self._chain if tiles else self._sums).fill(0)
        if tiles:
            tasks = min(threads * _SHARES if threads > 1 else 1, tiles)
            self._job.cut_into(Sums._fields.index("tasks"), tasks).run(threads)
        self._deliver()
