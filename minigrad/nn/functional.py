"""The functions of ``minigrad`` that PyTorch has in ``torch.nn.functional``, under that name.

    import minigrad.nn.functional as F
    F.relu(x) is mg.relu(x)

Each takes what ``help(minigrad.NAME)`` says.
"""

from minigrad.ops import (
    avg_pool2d,
    batch_norm,
    conv2d,
    cross_entropy,
    dropout,
    elu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    linear,
    log_softmax,
    max_pool2d,
    mse_loss,
    pad,
    prelu,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    tanh,
)

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "elu",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "pad",
    "prelu",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def __getattr__(name: str) -> object:
    from minigrad.tensor import hints

    raise hints.missing("minigrad.nn.functional", name, hints.FUNCTIONS, __all__)
