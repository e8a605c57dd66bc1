"""JAX on the CPU: lax convolutions, with the gradients of its autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.formats import load
from benchmarks.judged.words import Refused, convolution, window
from minigrad.kernels.contract import Array
from minigrad.verify.geometries import Words

__all__ = ["Jax"]


class Jax:
    """Functions of jax on NumPy arrays, at the highest precision."""

    def __init__(self) -> None:
        self.jax = load("jax", "jax")
        self.jax.config.update("jax_enable_x64", True)
        self.jax.config.update("jax_default_matmul_precision", "highest")

    def kernel(self, op: str) -> Callable[..., Array]:
        """The function of one operation."""
        return lambda *arrays, **words: np.asarray(self.evaluate(op, words)(*arrays))

    def gradients(self, op: str) -> Callable[..., list[Array]]:
        """The gradients of one operation."""

        def call(dy: Array, *arrays: Array, **words: Any) -> list[Array]:
            back = self.jax.vjp(self.evaluate(op, words), *arrays)[1]
            return [np.asarray(g) for g in back(dy)]

        return call

    def evaluate(self, op: str, words: Words) -> Callable[..., Any]:
        """The operation as a function of jax arrays."""
        _jax, jnp, nn, axis = self.jax, self.jax.numpy, self.jax.nn, words.get("axis")
        simple: dict[str, Callable[..., Any]] = {
            "conv2d": lambda *a: self._convolution(op, words, *a),
            "depthwise_conv2d": lambda *a: self._convolution(op, words, *a),
            "linear": lambda x, w, b: x @ w.T + b, "matmul": lambda a, b: a @ b,
            "max_pool2d": lambda x: self._max_pool(x, words),
            "avg_pool2d": lambda x: self._avg_pool(x, words),
            "global_avg_pool": lambda x: jnp.mean(x, axis=(2, 3), keepdims=True),
            "softmax": nn.softmax, "log_softmax": nn.log_softmax, "relu": nn.relu,
            "relu6": nn.relu6, "hardswish": nn.hard_swish, "hardsigmoid": nn.hard_sigmoid,
            "silu": nn.silu, "sigmoid": nn.sigmoid, "tanh": jnp.tanh, "exp": jnp.exp,
            "add": jnp.add, "mul": jnp.multiply, "neg": jnp.negative, "absolute": jnp.abs,
            "sum": lambda x: jnp.sum(x, axis=axis), "mean": lambda x: jnp.mean(x, axis=axis),
        }  # fmt: skip
        if op not in simple:
            raise Refused(op)
        return simple[op]

    def _convolution(self, op: str, words: Words, x: Any, w: Any, bias: Any) -> Any:
        s = convolution(op, x, w, words)
        y = self.jax.lax.conv_general_dilated(
            x, w, s.stride, s.padding, rhs_dilation=s.dilation, feature_group_count=s.groups,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )  # fmt: skip
        return y + bias[:, None, None]

    def _max_pool(self, x: Any, words: Words) -> Any:
        return self._pool(x, words, -np.inf, self.jax.lax.max)

    def _avg_pool(self, x: Any, words: Words) -> Any:
        total = self._pool(x, words, 0.0, self.jax.lax.add)
        if words.get("count_include_pad", True):
            return total / np.prod(window(x, words).kernel).astype(x.dtype)
        return total / self._pool(self.jax.numpy.ones_like(x), words, 0.0, self.jax.lax.add)

    def _pool(self, x: Any, words: Words, start: float, add: Any) -> Any:
        p = window(x, words)
        if p.ceil_mode:
            raise Refused("ceil_mode")
        reduce, around = self.jax.lax.reduce_window, ((0, 0), (0, 0), *p.padding)
        return reduce(x, start, add, (1, 1, *p.kernel), (1, 1, *p.stride), around)
