"""LiteRT on the XNNPACK delegate: each case as a TFLite model, weights constants, NHWC inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.formats import TFLite, load
from benchmarks.judged.words import Refused, axes_of, convolution, window
from minigrad.kernels.contract import Array
from minigrad.verify.geometries import Words

__all__ = ["LiteRT"]

PLAIN = {"relu": "RELU", "relu6": "RELU6", "hardswish": "HARD_SWISH", "tanh": "TANH",
         "sigmoid": "LOGISTIC", "exp": "EXP", "neg": "NEG", "absolute": "ABS",
         "softmax": "SOFTMAX", "log_softmax": "LOG_SOFTMAX"}  # fmt: skip
REDUCED = {"sum": "SUM", "mean": "MEAN", "global_avg_pool": "MEAN"}
OPTIONS = {"exp": "ExpOptions", "neg": "NegOptions", "absolute": "AbsOptions",
           "hardswish": "HardSwishOptions", "softmax": "SoftmaxOptions",
           "log_softmax": "LogSoftmaxOptions"}  # fmt: skip


class LiteRT:
    """Functions of LiteRT on NumPy arrays, images as (N, C, H, W) outside."""

    def kernel(self, op: str) -> Callable[..., Array]:
        """The function of one operation."""

        def call(*arrays: Array, **words: Any) -> Array:
            if arrays[0].dtype != np.float32 or not arrays[0].size:
                raise Refused("float32 with elements only")
            if op in ("conv2d", "depthwise_conv2d"):
                return _convolution(op, *arrays, words=words)
            if op in ("linear", "matmul"):
                return _linear(*arrays) if op == "linear" else _linear(arrays[0], arrays[1].T)
            if op in ("max_pool2d", "avg_pool2d"):
                return _pool(op, arrays[0], words)
            if op in REDUCED:
                return _reduced(op, arrays[0], words)
            if op in ("add", "mul"):
                return _pair(op, *arrays)
            if op in PLAIN:
                return _plain(op, arrays[0])
            raise Refused(op)

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
        raise Refused("groups")
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
    graph.conv(inputs, y, s.stride, depthwise, s.dilation, len(w) // c)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return _run(graph.finish(given, y), nhwc).transpose(0, 3, 1, 2)


def _linear(x: Array, w: Array, bias: Array | None = None) -> Array:
    graph = TFLite()
    given, y = graph.tensor("x", x.shape), graph.tensor("y", (len(x), len(w)))
    inputs = [given, graph.constant("w", w)]
    inputs.append(-1 if bias is None else graph.constant("bias", bias))
    options = graph.schema.FullyConnectedOptionsT()
    graph.operator("FULLY_CONNECTED", inputs, y, "FullyConnectedOptions", options)
    return _run(graph.finish(given, y), x)


def _pool(op: str, x: Array, words: Words) -> Array:
    p, graph = window(x, words), TFLite()
    if any(map(any, p.padding)) or p.ceil_mode:
        raise Refused("pads other than SAME's, ceil_mode")
    n, c, h, w = x.shape
    ho, wo = ((m - k) // s + 1 for m, k, s in zip((h, w), p.kernel, p.stride, strict=True))
    given, y = graph.tensor("x", (n, h, w, c)), graph.tensor("y", (n, ho, wo, c))
    s = graph.schema
    options = s.Pool2DOptionsT(
        padding=s.Padding.VALID, strideH=p.stride[0], strideW=p.stride[1],
        filterHeight=p.kernel[0], filterWidth=p.kernel[1],
    )  # fmt: skip
    code = "MAX_POOL_2D" if op == "max_pool2d" else "AVERAGE_POOL_2D"
    graph.operator(code, [given], y, "Pool2DOptions", options)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return _run(graph.finish(given, y), nhwc).transpose(0, 3, 1, 2)


def _reduced(op: str, x: Array, words: Words) -> Array:
    graph, whole = TFLite(), op == "global_avg_pool"
    axes = (2, 3) if whole else axes_of(x, words)
    shape = [1 if k in axes else m for k, m in enumerate(x.shape) if whole or k not in axes]
    given, y = graph.tensor("x", x.shape), graph.tensor("y", shape)
    listed = graph.constant("axes", np.array(axes, np.int32))
    options = graph.schema.ReducerOptionsT(keepDims=whole)
    graph.operator(REDUCED[op], [given, listed], y, "ReducerOptions", options)
    return _run(graph.finish(given, y), x)


def _pair(op: str, a: Array, b: Array) -> Array:
    graph = TFLite()
    given, y = graph.tensor("a", a.shape), graph.tensor("y", a.shape)
    kind = "AddOptions" if op == "add" else "MulOptions"
    options = getattr(graph.schema, f"{kind}T")()
    graph.operator(op.upper(), [given, graph.constant("b", b)], y, kind, options)
    return _run(graph.finish(given, y), a)


def _plain(op: str, x: Array) -> Array:
    graph = TFLite()
    given, y = graph.tensor("x", x.shape), graph.tensor("y", x.shape)
    kind = OPTIONS.get(op, "NONE")
    options = getattr(graph.schema, f"{kind}T")() if kind != "NONE" else None
    if op == "softmax":
        options.beta = 1.0
    graph.operator(PLAIN[op], [given], y, kind, options)
    return _run(graph.finish(given, y), x)
