"""Every function of the contract in NumPy: sums over taps, and sums over axes.

``layout`` says where the pixels of a tap lie; the other files have the names that they have
in every backend.
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
