"""Everything but convolution in the compiled core: the contract's other functions.

What each returns is fixed to the bit by the values and the shape of its arguments: not by the
number of threads, the memory order of the arrays, the other images of a batch, or the registers
of the CPU (given that it has an FMA).

**Sums** have an order that the shape alone decides; every sum starts from +0.

* In a sum that keeps the last axis of x, or the channels (axis 1) of a 4-D map, each output
  is one chain: its terms are added one after another in row-major order.  Only over the
  whole of a batch, axes (0, 2, 3), each image is summed by itself, and then the images.
* All other sums run along rows.  A row of up to 4096 numbers is 16 chains, chain c taking
  the numbers c, c + 16, c + 32, ...; the chains are added in pairs that lie 8, 4, 2 and 1
  apart.  A longer row is cut into blocks of 4096, and the row of their sums is summed in
  the same way.

A softmax sums its exponentials as a row, and its gradient its products.  A global average is
the sum over axes (2, 3), divided by H W.  linear is a pointwise convolution on a map of one
pixel.

**Layout.**  Functions of a number and batch_norm keep the memory order of x; pools return
channels-last maps, and convert what comes in another order once.

``bind_...`` are the same functions prepared for a plan: see ``_cython/bound.py``.
"""

from minigrad.kernels._cython.bound import *  # noqa: F403
from minigrad.kernels._cython.elementwise import *  # noqa: F403
from minigrad.kernels._cython.norm import *  # noqa: F403
from minigrad.kernels._cython.pool import *  # noqa: F403
from minigrad.kernels._cython.sums import *  # noqa: F403
