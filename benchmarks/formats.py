"""One convolution as a model file, for the peers that read only files.

``onnx_model`` gives an ONNX graph of one Conv node, NCHW; ``tflite_model`` a TFLite
graph of one CONV_2D or DEPTHWISE_CONV_2D, NHWC, with a PAD before it where there is
padding: TFLite's own SAME puts the odd pixel elsewhere than our symmetric pads, and
XNNPACK merges the PAD into the convolution, so it costs nothing.
Weights and bias are constants in both, which lets the engine pack them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.work import Work
from minigrad.errors import MissingExtra
from minigrad.geometry import Pads
from minigrad.kernels.contract import Array

__all__ = ["TFLite", "load", "onnx_model", "tflite_model"]


def load(module: str, package: str) -> Any:
    """The imported module, or the error that says which extra has it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        raise MissingExtra(package, "bench", "this comparison") from e


def onnx_model(work: Work) -> bytes:
    """Conv(x; w, bias) as a serialized ONNX model, x and y in NCHW."""
    onnx = load("onnx", "onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    (top, bottom), (left, right) = work.spec.padding
    node = helper.make_node(
        "Conv",
        ["x", "w", "bias"],
        ["y"],
        kernel_shape=work.layer.kernel,
        strides=work.spec.stride,
        pads=(top, left, bottom, right),
        group=work.spec.groups,
    )
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "one_layer",
        [helper.make_tensor_value_info("x", floats, work.x.shape)],
        [helper.make_tensor_value_info("y", floats, work.expected.shape)],
        [numpy_helper.from_array(work.w, "w"), numpy_helper.from_array(work.bias, "bias")],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, ir_version=8, opset_imports=[opset])
    serialized: bytes = model.SerializeToString()
    return serialized


def tflite_model(work: Work) -> bytes:
    """PAD, then CONV_2D or DEPTHWISE_CONV_2D, as a TFLite flatbuffer, x and y in NHWC."""
    graph = TFLite()
    n, c, h, w = work.x.shape
    (top, bottom), (left, right) = work.spec.padding
    source = x = graph.tensor("x", (n, h, w, c))
    if work.spec.padding != ((0, 0), (0, 0)):
        source = graph.tensor("padded", (n, h + top + bottom, w + left + right, c))
        graph.pad(x, source, work.spec.padding)
    depthwise = work.spec.groups > 1
    weights = work.w.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
    inputs = [source, graph.constant("w", weights), graph.constant("bias", work.bias)]
    n, c, h, w = work.expected.shape
    y = graph.tensor("y", (n, h, w, c))
    graph.conv(inputs, y, work.spec.stride, depthwise)
    return graph.finish(x, y)


class TFLite:
    """A TFLite graph under construction: tensors are numbers, operators name them.

    The tables are those of TFLite's schema.fbs, in the Python classes that LiteRT ships.
    """

    def __init__(self) -> None:
        self.schema = load("ai_edge_litert.schema_py_generated", "ai-edge-litert")
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [self.schema.BufferT()]  # buffer 0 is the empty one
        self.codes: list[Any] = []
        self.operators: list[Any] = []

    def tensor(
        self, name: str, shape: Sequence[int], buffer: int = 0, integer: bool = False
    ) -> int:
        types = self.schema.TensorType
        dtype = types.INT32 if integer else types.FLOAT32
        self.tensors.append(
            self.schema.TensorT(shape=list(shape), type=dtype, buffer=buffer, name=name)
        )
        return len(self.tensors) - 1

    def constant(self, name: str, value: Array) -> int:
        data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self.buffers.append(self.schema.BufferT(data=data))
        return self.tensor(name, value.shape, len(self.buffers) - 1, value.dtype == np.int32)

    def operator(self, code: str, inputs: list[int], output: int, kind: str, options: Any) -> None:
        number = getattr(self.schema.BuiltinOperator, code)
        self.codes.append(self.schema.OperatorCodeT(number, builtinCode=number))
        self.operators.append(
            self.schema.OperatorT(
                opcodeIndex=len(self.codes) - 1,
                inputs=inputs,
                outputs=[output],
                builtinOptionsType=getattr(self.schema.BuiltinOptions, kind),
                builtinOptions=options,
            )
        )

    def pad(self, x: int, y: int, pads: Pads) -> None:
        amounts = self.constant("pads", np.array([(0, 0), *pads, (0, 0)], np.int32))
        self.operator("PAD", [x, amounts], y, "PadOptions", self.schema.PadOptionsT())

    def conv(
        self,
        inputs: list[int],
        y: int,
        stride: tuple[int, int],
        depthwise: bool,
        dilation: tuple[int, int] = (1, 1),
        multiplier: int = 1,
    ) -> None:
        s = self.schema
        where = {"padding": s.Padding.VALID, "strideH": stride[0], "strideW": stride[1],
                 "dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}  # fmt: skip
        if depthwise:
            options = s.DepthwiseConv2DOptionsT(depthMultiplier=multiplier, **where)
            self.operator("DEPTHWISE_CONV_2D", inputs, y, "DepthwiseConv2DOptions", options)
        else:
            self.operator("CONV_2D", inputs, y, "Conv2DOptions", s.Conv2DOptionsT(**where))

    def finish(self, x: int, y: int) -> bytes:
        s = self.schema
        graph = s.SubGraphT(self.tensors, [x], [y], self.operators, "main")
        model = s.ModelT(3, self.codes, [graph], "one layer", self.buffers)
        builder = load("flatbuffers", "flatbuffers").Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
