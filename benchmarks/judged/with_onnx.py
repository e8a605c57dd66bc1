"""ONNX Runtime and OpenVINO: each case as an ONNX model of one operator, all arrays inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.formats import load
from benchmarks.judged.words import Refused, axes_of, convolution, window
from minigrad.kernels.contract import Array
from minigrad.verify.geometries import Words

__all__ = ["OnnxRuntime", "OpenVINO"]

OPERATORS = {
    "absolute": "Abs", "add": "Add", "exp": "Exp", "global_avg_pool": "GlobalAveragePool",
    "hardsigmoid": "HardSigmoid", "hardswish": "HardSwish", "log_softmax": "LogSoftmax",
    "matmul": "MatMul", "mul": "Mul", "neg": "Neg", "relu": "Relu", "sigmoid": "Sigmoid",
    "softmax": "Softmax", "tanh": "Tanh",
}  # fmt: skip


def model(op: str, arrays: list[Array], words: Words) -> bytes:
    """One operator as a serialized model: inputs a0, a1, ..., output y."""
    onnx = load("onnx", "onnx")
    helper, names = onnx.helper, [f"a{k}" for k in range(len(arrays))]
    if not arrays[0].size:
        raise Refused("empty batch")
    constants: list[Any] = []
    if op in ("conv2d", "depthwise_conv2d"):
        s = convolution(op, arrays[0], arrays[1], words)
        node = helper.make_node("Conv", names, ["y"], strides=s.stride, group=s.groups,
                                dilations=s.dilation, pads=_pads(s.padding))  # fmt: skip
    elif op in ("max_pool2d", "avg_pool2d"):
        p = window(arrays[0], words)
        how = {"kernel_shape": p.kernel, "strides": p.stride, "pads": _pads(p.padding),
               "ceil_mode": int(p.ceil_mode)}  # fmt: skip
        if op == "avg_pool2d":
            how["count_include_pad"] = int(words.get("count_include_pad", True))
        node = helper.make_node("MaxPool" if op[0] == "m" else "AveragePool", names, ["y"], **how)
    elif op == "linear":
        node = helper.make_node("Gemm", names, ["y"], transB=1)
    elif op == "relu6":
        limits = (np.float32(0), np.float32(6))
        constants = [
            onnx.numpy_helper.from_array(np.array(v), f"c{k}") for k, v in enumerate(limits)
        ]
        node = helper.make_node("Clip", [*names, "c0", "c1"], ["y"])
    elif op == "batch_norm" and not words.get("training"):
        order = ["a0", "a3", "a4", "a1", "a2"]
        node = helper.make_node("BatchNormalization", order, ["y"], epsilon=words.get("eps", 1e-5))
    elif op in ("sum", "mean"):
        node, constants = _reduction(onnx, op, arrays[0], words)
    elif op in OPERATORS:
        how = {"alpha": 1 / 6, "beta": 0.5} if op == "hardsigmoid" else {}
        node = helper.make_node(OPERATORS[op], names, ["y"], **how)
    else:
        raise Refused(op)
    kind = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
    given = [helper.make_tensor_value_info(n, kind, a.shape)
             for n, a in zip(names, arrays, strict=True)]  # fmt: skip
    result = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "one", given, [result], constants)
    opset = helper.make_opsetid("", 17)
    proto: bytes = helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString()
    return proto


def _reduction(onnx: Any, op: str, x: Array, words: Words) -> tuple[Any, list[Any]]:
    """ReduceSum, whose axes are an input, or ReduceMean, whose axes are an attribute."""
    axes, make = list(axes_of(x, words)), onnx.helper.make_node
    if op == "mean":
        return make("ReduceMean", ["a0"], ["y"], axes=axes, keepdims=0), []
    listed = onnx.numpy_helper.from_array(np.array(axes, np.int64), "axes")
    return make("ReduceSum", ["a0", "axes"], ["y"], keepdims=0), [listed]


def _pads(padding: Any) -> list[int]:
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


class OnnxRuntime:
    """CPUExecutionProvider, default optimizations."""

    def kernel(self, op: str) -> Callable[..., Array]:
        """The function of one operation."""
        ort = load("onnxruntime", "onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1

        def call(*arrays: Array, **words: Any) -> Array:
            proto = model(op, list(arrays), words)
            session = ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
            y: Array = session.run(None, {f"a{k}": a for k, a in enumerate(arrays)})[0]
            return y

        return call


class OpenVINO:
    """CPU, at a stated precision or at its default (``None``)."""

    def __init__(self, precision: str | None) -> None:
        self.settings = {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}

    def kernel(self, op: str) -> Callable[..., Array]:
        """The function of one operation."""
        ov = load("openvino", "openvino")
        core = ov.Core()

        def call(*arrays: Array, **words: Any) -> Array:
            read = core.read_model(model(op, list(arrays), words))
            compiled = core.compile_model(read, "CPU", {**self.settings, "NUM_STREAMS": 1})
            y: Array = np.array(compiled(list(arrays))[0])
            return y

        return call
