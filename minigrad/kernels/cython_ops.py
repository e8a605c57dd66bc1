"""Everything but convolution in the compiled core: the contract's other functions.

What each returns is fixed to the bit by the values and the shape of its arguments: not by the
number of threads, the memory order of the arrays, the other images of a batch, or the registers
of the CPU (given that it has an FMA).

The order of sums is the contract's (``kernels/contract.py``).

**Layout.**  Functions of a number and batch_norm keep the memory order of x; pools return
channels-last maps, and convert what comes in another order once.

``bind_...`` are the same functions prepared for a plan: see ``_cython/bound.py``.
"""

from minigrad.kernels._cython.bound import *  # noqa: F403
from minigrad.kernels._cython.elementwise import *  # noqa: F403
from minigrad.kernels._cython.norm import *  # noqa: F403
from minigrad.kernels._cython.pool import *  # noqa: F403
from minigrad.kernels._cython.sums import *  # noqa: F403
