"""minigrad: a small autograd engine, and the two blocks that mobile vision is made of.

Reading order, each file opening with its formula:

    tensor               what is recorded
    autograd             the chain rule, iteratively
    ops/elementwise      a rule for each function
    gradcheck            why to believe it
    geometry             the arithmetic of windows
    kernels/reference    the definition of convolution, in loops
    ops/conv             convolution as one trilinear form
    kernels/numpy_backend, kernels/numba_backend, ext/    the same sums, made fast
    nn/blocks            the inverted residual and the SqueezeNeXt block
    models               tables that became networks
    verify               the judge
"""

from __future__ import annotations

from minigrad import ops
from minigrad.autograd import backward, grad, gradients, hvp, jvp, value_and_grad, vjp
from minigrad.errors import (
    BackendError,
    DtypeError,
    FormatError,
    GraphError,
    MinigradError,
    MissingExtra,
    ShapeError,
    StateDictError,
)
from minigrad.gradcheck import check_grads
from minigrad.kernels import backend, backends, current_backend
from minigrad.ops import *  # noqa: F403  the operations, under PyTorch's names
from minigrad.tensor import (
    Tensor,
    enable_grad,
    from_numpy,
    is_grad_enabled,
    no_grad,
    scope,
)
from minigrad.threads import num_threads, threads

__version__ = "0.1.0"
