"""The others as engines for whole networks and blocks: built once, then ``run`` is timed.

ONNX Runtime and OpenVINO read the file that ``minigrad export`` writes; LiteRT and ncnn,
which cannot, read the same recorded steps in formats of their own, and PyTorch runs them as
a frozen TorchScript function on channels-last tensors.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.formats import load
from benchmarks.ncnn_graph import ncnn_network
from benchmarks.recorded import Job
from benchmarks.tflite_graph import tflite_network
from benchmarks.torch_graph import torch_network
from minigrad.cli.engines import Engine, OnnxRuntime, OpenVINO, OpenVINOBf16
from minigrad.engine import compile
from minigrad.errors import BackendError
from minigrad.kernels.contract import Array
from minigrad.kernels.cython.layout import channels_last

__all__ = ["PEERS", "Peer", "Plan"]


class Plan:
    """Ours; like the others' outputs, its own lies in memory that every call writes to again."""

    def __init__(self, job: Job, threads: int) -> None:
        self._plan = compile(job.model, job.x.shape, threads=threads)
        last = job.channels_last and job.x.ndim == 4
        self._x = channels_last(job.x) if last else job.x
        self._y = self._plan(self._x)

    def run(self) -> None:
        self._plan(self._x, out=self._y)

    def output(self) -> Array:
        return self._y


class LiteRT:
    """A TFLite graph of the network on the XNNPACK delegate."""

    def __init__(self, job: Job, threads: int) -> None:
        interpreter = load("ai_edge_litert.interpreter", "ai-edge-litert").Interpreter(
            model_content=tflite_network(job.graph), num_threads=threads
        )
        interpreter.allocate_tensors()
        left = [op["op_name"] for op in interpreter._get_ops_details()]
        self.delegated = left.count("DELEGATE")
        if not self.delegated:
            raise BackendError(f"LiteRT: XNNPACK took nothing of {job.name}")
        x = np.ascontiguousarray(job.x.transpose(0, 2, 3, 1))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        self._y = interpreter.get_output_details()[0]["index"]
        self._interpreter = interpreter

    def run(self) -> None:
        self._interpreter.invoke()

    def output(self) -> Array:
        y: Array = self._interpreter.get_tensor(self._y)
        return y if y.ndim != 4 else y.transpose(0, 3, 1, 2)


class Ncnn:
    """A .param and .bin pair pinned to float32; one image."""

    def __init__(self, job: Job, threads: int) -> None:
        ncnn = load("ncnn", "ncnn")
        param, weights = ncnn_network(job.graph)
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        for half in ("bf16_storage", "fp16_packed", "fp16_storage", "fp16_arithmetic"):
            setattr(self._net.opt, f"use_{half}", False)
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "net.param", Path(folder) / "net.bin"
            files[0].write_text(param)
            files[1].write_bytes(weights)
            if self._net.load_param(str(files[0])) or self._net.load_model(str(files[1])):
                raise BackendError(f"ncnn: {job.name} was not read")
        self._x = ncnn.Mat(job.x[0])
        self._shape, self._y = job.expected.shape, np.empty(0)

    def run(self) -> None:
        extractor = self._net.create_extractor()
        extractor.input("in", self._x)
        _, self._y = extractor.extract("out")

    def output(self) -> Array:
        return np.array(self._y).reshape(self._shape)


class Torch:
    """TorchScript, frozen; channels-last; float32."""

    def __init__(self, job: Job, threads: int) -> None:
        try:
            torch = load("torch", "torch")
        except ImportError as e:
            raise BackendError("the peer torch needs: pip install torch==2.13.0") from e
        torch.set_num_threads(threads)
        self._call = torch_network(torch, job.graph)
        self._x = torch.from_numpy(job.x).to(memory_format=torch.channels_last)
        self._inference_mode, self._y = torch.inference_mode, self._x

    def run(self) -> None:
        with self._inference_mode():
            self._y = self._call(self._x)

    def output(self) -> Array:
        y: Array = self._y.numpy()
        return y


class Peer(NamedTuple):
    """How to build an engine; its package; whether it computes in float32 and is counted."""

    build: Any
    package: str
    counted: bool = True
    batches: bool = True


def _of_file(engine: Any) -> Any:
    """An engine of an ONNX file as an engine of a job."""

    def build(job: Job, threads: int) -> Engine:
        built: Engine = engine(job.onnx, job.x, threads)
        return built

    return build


PEERS: dict[str, Peer] = {
    "onnxruntime": Peer(_of_file(OnnxRuntime), "onnxruntime"),
    "openvino": Peer(_of_file(OpenVINO), "openvino"),
    "litert": Peer(LiteRT, "ai-edge-litert"),
    "ncnn": Peer(Ncnn, "ncnn", batches=False),
    "torch": Peer(Torch, "torch"),
    "openvino-bf16": Peer(_of_file(OpenVINOBf16), "openvino", counted=False),
}
