"""PyTorch: eager functions, contiguous or channels_last, with the gradients of its autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.formats import load
from benchmarks.judged.words import Refused, convolution, window
from minigrad.kernels.contract import Array
from minigrad.verify.geometries import Words

__all__ = ["Torch"]

PLAIN = {
    "relu": "relu", "relu6": "relu6", "hardswish": "hardswish", "hardsigmoid": "hardsigmoid",
    "silu": "silu", "sigmoid": "sigmoid", "tanh": "tanh",
}  # fmt: skip


class Torch:
    """Functions of torch on NumPy arrays.

    ``channels_last`` is the memory format of every map; ``precision`` goes to
    ``torch.set_float32_matmul_precision``.
    """

    def __init__(self, channels_last: bool = False, precision: str = "highest") -> None:
        self.torch = load("torch", "torch")
        self.torch.set_float32_matmul_precision(precision)
        self.torch.set_num_threads(1)
        self.channels_last = channels_last

    def tensor(self, array: Array, grad: bool = False) -> Any:
        """A tensor of the array, in the memory format."""
        t = self.torch.from_numpy(array)
        if self.channels_last and t.ndim == 4:
            t = t.contiguous(memory_format=self.torch.channels_last)
        return t.requires_grad_(grad)

    def kernel(self, op: str) -> Callable[..., Array]:
        """The function of one operation."""

        def call(*arrays: Array, **words: Any) -> Array:
            with self.torch.no_grad():
                y: Array = self.evaluate(op, [self.tensor(a) for a in arrays], words).numpy()
            return y

        return call

    def gradients(self, op: str) -> Callable[..., list[Any]]:
        """The gradients of one operation, None for the statistics of a batch norm."""

        def call(dy: Array, *arrays: Array, **words: Any) -> list[Any]:
            fixed = (1, 2) if op == "batch_norm" else ()  # the statistics
            leaves = [self.tensor(a, grad=k not in fixed) for k, a in enumerate(arrays)]
            y = self.evaluate(op, leaves, words)
            y.backward(self.tensor(dy.reshape(tuple(y.shape))))
            return [None if t.grad is None else t.grad.numpy() for t in leaves]

        return call

    def evaluate(self, op: str, t: list[Any], words: Words) -> Any:
        """The operation on tensors."""
        torch, f = self.torch, self.torch.nn.functional
        if op in ("conv2d", "depthwise_conv2d"):
            s = convolution(op, t[0], t[1], words) if t[0].numel() else None
            if s is None:
                raise Refused("empty batch")
            (top, bottom), (left, right) = s.padding
            x = f.pad(t[0], (left, right, top, bottom)) if any(map(any, s.padding)) else t[0]
            return f.conv2d(x, t[1], t[2], s.stride, 0, s.dilation, s.groups)
        if op in ("max_pool2d", "avg_pool2d"):
            return self._pool(op, t[0], words)
        if op == "batch_norm":
            statistics = (None, None) if words.get("training") else t[1:3]
            return f.batch_norm(t[0], *statistics, *t[3:], words.get("training", False),
                                0.1, words.get("eps", 1e-5))  # fmt: skip
        if op in PLAIN:
            return getattr(torch if PLAIN[op] in ("sigmoid", "tanh") else f, PLAIN[op])(t[0])
        simple = {
            "linear": lambda: f.linear(*t), "matmul": lambda: t[0] @ t[1],
            "softmax": lambda: f.softmax(t[0], -1), "log_softmax": lambda: f.log_softmax(t[0], -1),
            "global_avg_pool": lambda: f.adaptive_avg_pool2d(t[0], 1), "exp": lambda: t[0].exp(),
            "add": lambda: t[0] + t[1], "mul": lambda: t[0] * t[1], "neg": lambda: -t[0],
            "absolute": lambda: t[0].abs(),
            "sum": lambda: torch.sum(t[0], dim=words.get("axis")),
            "mean": lambda: torch.mean(t[0], dim=words.get("axis")),
        }  # fmt: skip
        if op not in simple:
            raise Refused(op)
        return simple[op]()

    def _pool(self, op: str, x: Any, words: Words) -> Any:
        f, p = self.torch.nn.functional, window(np.empty(x.shape), words)
        if any(a != b for a, b in p.padding):
            raise Refused("one-sided padding")
        pads = [a for a, _ in p.padding]
        if op == "max_pool2d":
            return f.max_pool2d(x, p.kernel, p.stride, pads, ceil_mode=p.ceil_mode)
        counted = words.get("count_include_pad", True)
        return f.avg_pool2d(x, p.kernel, p.stride, pads, p.ceil_mode, counted)
