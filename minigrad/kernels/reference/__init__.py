"""Every function of the contract in plain loops: what the others mean, slow on purpose.

Numbers are kept in float64 whatever the dtype of the arrays, and rounded once at the end, so
that the reference is at least as accurate as any kernel that is held against it.  Read in
this order:

    layout           the terms of a convolution, and the pixels under a window
    dense            convolution of every kind: one loop over its terms; the linear map
    dense_gradients  both gradients: the same terms, collected elsewhere
    reductions       sums, and the softmax row by row
    elementwise      functions of one number, and their slopes
    normalisation    batch normalisation, channel by channel
    pooling          pools, window by window

A depthwise convolution is one with as many groups as channels: it has no file of its own here.

What may be changed: nothing but the words: it is the definition of every function, which
tests/kernels/test_reference.py holds against the textbook's.
"""

from minigrad.kernels.reference.dense import *
from minigrad.kernels.reference.dense_gradients import *
from minigrad.kernels.reference.elementwise import *
from minigrad.kernels.reference.layout import terms
from minigrad.kernels.reference.normalisation import *
from minigrad.kernels.reference.pooling import *
from minigrad.kernels.reference.reductions import *

UNAVAILABLE: str | None = None
