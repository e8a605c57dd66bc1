"""Other engines that run an ONNX file, each with its weights packed and its buffers given.

An engine is built once for one file, one input and a number of threads; ``run`` is the call
that is timed, ``output`` what it computed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from minigrad.errors import MissingExtra
from minigrad.tensor import Array

__all__ = ["ENGINES", "Engine", "OnnxRuntime", "OpenVINO", "OpenVINOBf16", "installed"]


class Engine(Protocol):
    """What is timed, and how to see what it computed."""

    def run(self) -> object:
        """The call that is timed."""
        ...

    def output(self) -> Array:
        """The answer of the last run."""
        ...


class OnnxRuntime:
    """All graph optimisations, sequential, spinning threads, bound buffers; the first output."""

    def __init__(self, onnx: bytes, x: Array, threads: int) -> None:
        ort = _module("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.log_severity_level = 3
        session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        out, *others = session.get_outputs()
        self._y = np.empty(out.shape, x.dtype)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(
            session.get_inputs()[0].name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x))
        )
        self._binding.bind_output(
            out.name, "cpu", 0, x.dtype, self._y.shape, self._y.ctypes.data
        )  # fmt: skip
        for other in others:
            self._binding.bind_output(other.name)
        self._session = session

    def run(self) -> None:
        """One inference."""
        self._session.run_with_iobinding(self._binding)

    def output(self) -> Array:
        """Of the last run."""
        return self._y


class OpenVINO:
    """Pinned to float32 (its default may be bfloat16); latency, one stream, shared buffers."""

    precision = "f32"

    def __init__(self, onnx: bytes, x: Array, threads: int) -> None:
        ov = _module("openvino")
        core = ov.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        compiled = core.compile_model(core.read_model(onnx), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._x = np.ascontiguousarray(x)
        self._y = np.empty(tuple(compiled.output(0).shape), np.float32)
        self._request.set_input_tensor(ov.Tensor(self._x, shared_memory=True))
        self._request.set_output_tensor(0, ov.Tensor(self._y, shared_memory=True))

    def run(self) -> None:
        """One inference."""
        self._request.infer()

    def output(self) -> Array:
        """Of the last run."""
        return self._y


class OpenVINOBf16(OpenVINO):
    """The same in bfloat16: another product, for a row of its own."""

    precision = "bf16"


ENGINES: dict[str, Callable[[bytes, Array, int], Engine]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVINO,
}


def installed() -> list[str]:
    """Which of ``ENGINES`` this environment has."""
    return [name for name in ENGINES if find_spec(name)]


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise MissingExtra(name, "bench", "this comparison") from None
