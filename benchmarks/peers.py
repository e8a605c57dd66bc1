"""The others as engines: build once from the work, then ``run`` is the call that is timed.

Every engine gets the same values, has its weights before the clock starts (all but
PyTorch, which has no such step in eager mode, pack them), and writes to memory of its
own choice.  ``reorders`` says that the engine changes the memory layout inside the timed
call, which it would do once in a whole network and not once a layer.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.formats import load, onnx_model, tflite_model
from benchmarks.work import Work
from minigrad.errors import BackendError
from minigrad.kernels.contract import Array

__all__ = ["PEERS", "Engine"]


class Engine(Protocol):
    """What is timed, and how to see what it computed."""

    reorders: bool

    def run(self) -> object:
        """The call that is timed."""
        ...

    def output(self) -> Array:
        """The answer of the last run, logically NCHW (or the gradient's shape)."""
        ...


class OnnxRuntime:
    """One Conv node; all graph optimizations, sequential, spinning threads, bound buffers."""

    package, directions = "onnxruntime", ("forward",)

    def __init__(self, work: Work, threads: int) -> None:
        ort = load("onnxruntime", "onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.log_severity_level = 3
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            options.optimized_model_filepath = str(optimized)
            session = ort.InferenceSession(
                onnx_model(work), options, providers=["CPUExecutionProvider"]
            )
            self.reorders = _onnx_reorders(optimized)
        self.y = np.empty(work.expected.shape, np.float32)
        x = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(work.x))
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_output("y", "cpu", 0, np.float32, self.y.shape, self.y.ctypes.data)
        self._session, self._binding = session, binding

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def output(self) -> Array:
        return self.y


def _onnx_reorders(path: Path) -> bool:
    graph = load("onnx", "onnx").load(path).graph
    return any(node.op_type.startswith("Reorder") for node in graph.node)


class OpenVINO:
    """The same ONNX model; float32 (its default may be bfloat16), latency, one stream.

    Its input and output are declared channels-last, which is faster here than NCHW.
    """

    package, directions = "openvino", ("forward",)

    def __init__(self, work: Work, threads: int) -> None:
        ov = load("openvino", "openvino")
        core = ov.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        model = _channels_last(ov, core.read_model(onnx_model(work)))
        compiled = core.compile_model(model, "CPU", settings)
        runtime = compiled.get_runtime_model().get_ops()
        self.reorders = any(
            op.get_rt_info()["layerType"].astype(str) == "Reorder" for op in runtime
        )
        request = compiled.create_infer_request()
        n, c, h, w = work.expected.shape
        self.x = np.ascontiguousarray(work.x.transpose(0, 2, 3, 1))
        self.y = np.empty((n, h, w, c), np.float32)
        request.set_input_tensor(ov.Tensor(self.x, shared_memory=True))
        request.set_output_tensor(ov.Tensor(self.y, shared_memory=True))
        self._request = request

    def run(self) -> None:
        self._request.infer()

    def output(self) -> Array:
        y: Array = self.y.transpose(0, 3, 1, 2)
        return y


def _channels_last(ov: Any, model: Any) -> Any:
    prepared = ov.preprocess.PrePostProcessor(model)
    for end in (prepared.input(), prepared.output()):
        end.tensor().set_layout(ov.Layout("NHWC"))
        end.model().set_layout(ov.Layout("NCHW"))
    return prepared.build()


class LiteRT:
    """A one-layer TFLite model on the XNNPACK delegate, NHWC."""

    package, directions = "ai-edge-litert", ("forward",)
    reorders = False

    def __init__(self, work: Work, threads: int) -> None:
        interpreter = load("ai_edge_litert.interpreter", "ai-edge-litert").Interpreter(
            model_content=tflite_model(work), num_threads=threads
        )
        interpreter.allocate_tensors()
        if not any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details()):
            raise BackendError(f"LiteRT: XNNPACK did not take the layer {work.layer.name}")
        x = np.ascontiguousarray(work.x.transpose(0, 2, 3, 1))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        self._y = interpreter.get_output_details()[0]["index"]
        self._interpreter = interpreter

    def run(self) -> None:
        self._interpreter.invoke()

    def output(self) -> Array:
        y: Array = self._interpreter.get_tensor(self._y).transpose(0, 3, 1, 2)
        return y


class Torch:
    """Eager mode, every array channels-last; gradients through aten::convolution_backward."""

    package, directions = "torch", ("forward", "input_grad", "weight_grad")
    reorders = False

    def __init__(self, work: Work, threads: int) -> None:
        try:
            torch = load("torch", "torch")
        except ImportError as e:
            raise BackendError("the peer torch needs: pip install torch==2.13.0") from e
        torch.set_num_threads(threads)
        last = torch.channels_last
        x, w, g = (torch.from_numpy(a).to(memory_format=last) for a in (work.x, work.w, work.g))
        bias = torch.from_numpy(work.bias)
        pads = [before for before, _ in work.spec.padding]
        how = (list(work.spec.stride), pads, list(work.spec.dilation))
        groups = work.spec.groups
        self.y: Any = None
        self._inference_mode, self._tensor = torch.inference_mode, torch.Tensor
        if work.direction == "forward":
            self._call = partial(torch.nn.functional.conv2d, x, w, bias, *how, groups)
        else:
            which = work.direction == "input_grad", work.direction == "weight_grad", False
            backward = torch.ops.aten.convolution_backward.default
            self._call = partial(backward, g, x, w, None, *how, False, [0, 0], groups, which)

    def run(self) -> None:
        with self._inference_mode():
            self.y = self._call()

    def output(self) -> Array:
        y = self.y if isinstance(self.y, self._tensor) else next(a for a in self.y if a is not None)
        got: Array = y.numpy()
        return got


PEERS: dict[str, Any] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVINO,
    "litert": LiteRT,
    "torch": Torch,
}
