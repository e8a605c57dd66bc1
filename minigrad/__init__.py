"""minigrad: a small autograd engine, and the two blocks that mobile vision is made of.

Reading order, each file opening with its formula:

    tensor               what is recorded
    autograd             the chain rule, iteratively
    ops/elementwise      a rule for each function
    explain              the backward pass told step by step
    gradcheck            why to believe it
    geometry             the arithmetic of windows
    sampling             the arithmetic of resizing
    kernels/reference    the definition of convolution, in loops
    ops/conv             convolution as one trilinear form
    kernels/numpy, kernels/numba, kernels/cython    the same sums, made fast; the last from ext/
    nn/blocks            the inverted residual and the SqueezeNeXt block
    models               tables that became networks
    engine               a network recorded, rewritten, placed, bound and run
    optim                what a step does to the parameters
    data                 pictures and labels, in batches
    training             steps, epochs, and a run that can be stopped and go on
    verify               the judge

The packages that they stand on, and those around them:

    ops, nn, kernels     the other operations and layers; the contract of all kernels
    formats              files of weights
    graphs               ONNX and TFLite files, read, and ONNX networks as modules
    vision               from a photograph to a network's batch
    cli                  the command line

and the files that stand by themselves:

    errors               every error that minigrad raises on purpose
    arrays               what an array is here
    arguments            what an argument may be, checked where a user hands it in
    demand               names that are imported when they are first asked for
    docs                 sections that several docstrings share
    shaped               tensors whose shape is known before their values
    threads              how many threads a compiled kernel may use
    resources            the CPUs and the memory that this process may use
    forks                a child that is forked while another thread imports
    interrupts           Ctrl-C while the command line is still being imported
    columns              tables of text that fit their page
    sizes                bytes in words: KiB, MiB and GiB
    records              named tuples that are made quickly
    version              the name and the version
    __main__             ``python -m minigrad``

What may be changed: names that __all__ lists stay, as do their arguments and defaults; what
they promise beyond PyTorch stands in CONVENTIONS.md with the test that holds it. The files
that stand by themselves may be rewritten as long as tests/test_arguments.py,
tests/test_threads.py and tests/test_forks.py hold.
"""

from __future__ import annotations

from minigrad import interrupts  # isort: skip  before anything that takes time

from typing import TYPE_CHECKING

from minigrad import forks, ops
from minigrad.demand import on_demand

if TYPE_CHECKING:
    from minigrad import data, engine, formats, models, nn, optim, verify, vision
    from minigrad.autograd import backward, grad, gradients, hvp, jvp, value_and_grad, vjp
    from minigrad.engine import compile
    from minigrad.engine.loading import load_plan
    from minigrad.errors import (
        ArgumentError,
        BackendError,
        DtypeError,
        FormatError,
        GraphError,
        MinigradError,
        MissingExtra,
        NotEnoughMemory,
        ShapeError,
        StateDictError,
    )
    from minigrad.explain import explain
    from minigrad.formats import load
    from minigrad.gradcheck import check_grads
    from minigrad.graphs.imported import load_graph
    from minigrad.kernels import backend, backends, current_backend
    from minigrad.models import summary
    from minigrad.ops import *  # noqa: F403  all of them, as ops.__all__ lists them
    from minigrad.ops.activation import *  # noqa: F403  ops.__all__ computes their names
    from minigrad.tensor import (
        Tensor,
        enable_grad,
        from_dlpack,
        from_numpy,
        get_default_dtype,
        is_grad_enabled,
        no_grad,
        scope,
        set_default_dtype,
        tensor,
    )
    from minigrad.threads import num_threads, set_threads, threads
    from minigrad.training.compiled import compile_training
    from minigrad.version import __version__

forks.await_imports_at_fork()


def _missing(name: str) -> AttributeError:
    """The error for a name that is not here, with ours for PyTorch's or NumPy's."""
    from minigrad.tensor import hints

    return hints.missing("minigrad", name, hints.FUNCTIONS, __all__)


__all__ = [
    *ops.__all__,
    "ArgumentError",
    "BackendError",
    "DtypeError",
    "FormatError",
    "GraphError",
    "MinigradError",
    "MissingExtra",
    "NotEnoughMemory",
    "ShapeError",
    "StateDictError",
    "Tensor",
    "backend",
    "backends",
    "backward",
    "check_grads",
    "compile",
    "compile_training",
    "current_backend",
    "data",
    "enable_grad",
    "engine",
    "explain",
    "formats",
    "from_dlpack",
    "from_numpy",
    "get_default_dtype",
    "grad",
    "gradients",
    "hvp",
    "is_grad_enabled",
    "jvp",
    "load",
    "load_graph",
    "load_plan",
    "models",
    "nn",
    "no_grad",
    "num_threads",
    "ops",
    "optim",
    "scope",
    "set_default_dtype",
    "set_threads",
    "summary",
    "tensor",
    "threads",
    "value_and_grad",
    "verify",
    "vision",
    "vjp",
]


PACKAGES = ("data", "engine", "formats", "models", "nn", "optim", "verify", "vision")

# Where a name lives that is imported when it is first asked for: what a process does not use
# costs its start nothing.
on_demand(
    __name__,
    {
        "minigrad.autograd": "backward grad gradients hvp jvp value_and_grad vjp",
        "minigrad.engine": "compile",
        "minigrad.engine.loading": "load_plan",
        "minigrad.errors": "ArgumentError BackendError DtypeError FormatError GraphError "
        "MinigradError MissingExtra NotEnoughMemory ShapeError StateDictError",
        "minigrad.explain": "explain",
        "minigrad.formats": "load",
        "minigrad.gradcheck": "check_grads",
        "minigrad.graphs.imported": "load_graph",
        "minigrad.kernels": "backend backends current_backend",
        "minigrad.models": "summary",
        "minigrad.ops": " ".join(ops.__all__),
        "minigrad.tensor": "Tensor enable_grad from_dlpack from_numpy get_default_dtype "
        "is_grad_enabled no_grad scope set_default_dtype tensor",
        "minigrad.threads": "num_threads set_threads threads",
        "minigrad.training.compiled": "compile_training",
        "minigrad.version": "__version__",
    },
    PACKAGES,
    _missing,
)
