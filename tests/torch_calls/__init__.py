"""PyTorch's functions in minigrad's operations: what its operator samples are called with."""

from __future__ import annotations

import minigrad as mg
from tests.torch_calls import elementwise, kernels
from tests.torch_calls.elementwise import PADS, along
from tests.torch_calls.losses import LOSSES
from tests.torch_calls.unsupported import Unsupported

__all__ = ["TORCH", "Unsupported"]

OURS = "relu relu6 hardswish hardsigmoid silu linear"
KERNELS = (
    "conv1d conv2d conv_transpose2d max_pool2d avg_pool2d batch_norm instance_norm group_norm "
    "layer_norm local_response_norm unfold"
)
COMPOSED = (
    "leaky_relu prelu softplus elu selu gelu glu normalize pixel_shuffle pixel_unshuffle "
    "channel_shuffle embedding"
)

TORCH = {
    **{f"nn.functional.{name}": getattr(mg, name) for name in OURS.split()},
    **{f"nn.functional.{name}": getattr(kernels, name) for name in KERNELS.split()},
    **{f"nn.functional.{name}": getattr(elementwise, name) for name in COMPOSED.split()},
    **LOSSES,
    **PADS,
    "nn.functional.adaptive_avg_pool2d": kernels.adaptive_pool2d(mg.mean),
    "nn.functional.adaptive_max_pool2d": kernels.adaptive_pool2d(mg.max),
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: mg.clamp(x, min_val, max_val),
    "nn.functional.mish": lambda x: x * mg.tanh(elementwise.softplus(x)),
    "nn.functional.softsign": lambda x: x / (1 + mg.absolute(x)),
    "nn.functional.softmin": along(lambda x, dim: mg.softmax(-x, dim)),
    "softmax": along(mg.softmax),
    "log_softmax": along(mg.log_softmax),
    "logsumexp": elementwise.logsumexp,
    "native_batch_norm": kernels.native_batch_norm,
    "sigmoid": mg.sigmoid,
    "tanh": mg.tanh,
    "matmul": mg.matmul,
    "mm": mg.matmul,
    "bmm": mg.matmul,
    "addmm": lambda x, a, b, beta=1, alpha=1: x * beta + mg.matmul(a, b) * alpha,
}
