"""LiteRT on the XNNPACK delegate: each case as a TFLite model, weights constants, NHWC inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.formats import TFLite, load
from benchmarks.judged.words import convolution
from minigrad.kernels.contract import Array
from minigrad.verify.geometries import Words

__all__ = ["LiteRT"]

PLAIN = {"relu": "RELU", "relu6": "RELU6", "hardswish": "HARD_SWISH", "tanh": "TANH",
         "sigmoid": "LOGISTIC", "exp": "EXP", "neg": "NEG", "absolute": "ABS"}  # fmt: skip
OPTIONS = {"exp": "ExpOptions", "neg": "NegOptions", "absolute": "AbsOptions",
           "hardswish": "HardSwishOptions"}  # fmt: skip


class LiteRT:
    """Functions of LiteRT on NumPy arrays, images as (N, C, H, W) outside."""

    def kernel(self, op: str) -> Callable[..., Array]:
        """The function of one operation."""

        def call(*arrays: Array, **words: Any) -> Array:
            if arrays[0].dtype != np.float32 or not arrays[0].size:
                raise NotImplementedError("float32 with elements only")
            if op in ("conv2d", "depthwise_conv2d"):
                return _convolution(op, *arrays, words=words)
            if op == "linear":
                return _linear(*arrays)
            if op in PLAIN:
                return _plain(op, arrays[0])
            raise NotImplementedError(op)

        return call


def _run(content: bytes, x: Array) -> Array:
    interpreter = load("ai_edge_litert.interpreter", "ai-edge-litert").Interpreter(
        model_content=content, num_threads=1
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    y: Array = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return y


def _convolution(op: str, x: Array, w: Array, bias: Array, words: Words) -> Array:
    s, graph = convolution(op, x, w, words), TFLite()
    depthwise = s.groups > 1 and w.shape[1] == 1
    if s.groups > 1 and not depthwise:
        raise NotImplementedError("groups")
    (top, bottom), (left, right) = s.padding
    n, c, h, v = x.shape
    source = given = graph.tensor("x", (n, h, v, c))
    if any(map(any, s.padding)):
        source = graph.tensor("padded", (n, h + top + bottom, v + left + right, c))
        graph.pad(given, source, s.padding)
    weights = w.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
    inputs = [source, graph.constant("w", weights), graph.constant("bias", bias)]
    ho = (h + top + bottom - s.dilation[0] * (w.shape[2] - 1) - 1) // s.stride[0] + 1
    wo = (v + left + right - s.dilation[1] * (w.shape[3] - 1) - 1) // s.stride[1] + 1
    y = graph.tensor("y", (n, ho, wo, w.shape[0]))
    if s.dilation != (1, 1):
        raise NotImplementedError("dilation")
    if depthwise and len(w) != c:
        raise NotImplementedError("multiplier")
    graph.conv(inputs, y, s.stride, depthwise)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return _run(graph.finish(given, y), nhwc).transpose(0, 3, 1, 2)


def _linear(x: Array, w: Array, bias: Array) -> Array:
    graph = TFLite()
    given, y = graph.tensor("x", x.shape), graph.tensor("y", (len(x), len(w)))
    inputs = [given, graph.constant("w", w), graph.constant("bias", bias)]
    options = graph.schema.FullyConnectedOptionsT()
    graph.operator("FULLY_CONNECTED", inputs, y, "FullyConnectedOptions", options)
    return _run(graph.finish(given, y), x)


def _plain(op: str, x: Array) -> Array:
    graph = TFLite()
    given, y = graph.tensor("x", x.shape), graph.tensor("y", x.shape)
    kind = OPTIONS.get(op, "NONE")
    options = getattr(graph.schema, f"{kind}T")() if kind != "NONE" else None
    graph.operator(PLAIN[op], [given], y, kind, options)
    return _run(graph.finish(given, y), x)
