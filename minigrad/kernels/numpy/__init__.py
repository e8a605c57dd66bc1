"""Every function of the contract in NumPy: sums over taps, and sums over axes.

The files have the names that they have in every backend.  Read in this order:

    layout         where the pixels of a tap lie
    dense          a convolution as one matrix product for each tap; the linear map
    dense_gradients    both gradients, with the same taps
    depthwise, depthwise_gradients    the same where no channel meets another
    reductions     sums in float64, and the softmax that is made of them
    elementwise    functions of one number, and their slopes
    normalisation  batch normalisation and its gradient
    pooling        pools, tap by tap

What may be changed: anything that stays within the bound of the judge
(tests/kernels/test_numpy.py): these sums have no order of their own.
"""

from minigrad.kernels.numpy.dense import *
from minigrad.kernels.numpy.dense_gradients import *
from minigrad.kernels.numpy.depthwise import *
from minigrad.kernels.numpy.depthwise_gradients import *
from minigrad.kernels.numpy.elementwise import *
from minigrad.kernels.numpy.normalisation import *
from minigrad.kernels.numpy.pooling import *
from minigrad.kernels.numpy.reductions import *

UNAVAILABLE: str | None = None
