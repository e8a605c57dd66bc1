"""ncnn: each case as a network of one layer, image by image, float32 storage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats import load
from benchmarks.judged.words import Refused, convolution, window
from minigrad.kernels.contract import Array
from minigrad.verify.geometries import Words

__all__ = ["Ncnn"]

PLAIN = {"relu": "ReLU", "relu6": "Clip", "hardswish": "HardSwish", "sigmoid": "Sigmoid",
         "silu": "Swish", "tanh": "TanH", "softmax": "Softmax", "hardsigmoid": "HardSigmoid",
         "absolute": "UnaryOp", "neg": "UnaryOp", "exp": "UnaryOp"}  # fmt: skip
NUMBERS = {"relu6": "0=0.0 1=6.0", "hardswish": "0=1.66666667e-1 1=0.5",
           "hardsigmoid": "0=1.66666667e-1 1=0.5", "absolute": "0=0", "neg": "0=1",
           "exp": "0=7"}  # fmt: skip
REDUCED = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "int8_inference",
           "bf16_packed")  # fmt: skip


class Ncnn:
    """Functions of ncnn on NumPy arrays; Winograd as told, no reduced storage."""

    def __init__(self, winograd: bool) -> None:
        self.ncnn, self.winograd = load("ncnn", "ncnn"), winograd

    def kernel(self, op: str) -> Callable[..., Array]:
        """The function of one operation."""

        def call(*arrays: Array, **words: Any) -> Array:
            if arrays[0].dtype != np.float32 or not arrays[0].size:
                raise Refused("float32 with elements only")
            layer, weights = self._layer(op, arrays, words)
            return np.stack([self._run(layer, weights, image) for image in arrays[0]])

        return call

    def _layer(self, op: str, arrays: tuple[Array, ...], words: Words) -> Any:
        """The line of a .param file, and the bytes of a .bin file."""
        if op in ("conv2d", "depthwise_conv2d"):
            x, w, bias = arrays
            s = convolution(op, x, w, words)
            (top, bottom), (left, right) = s.padding
            kind = "Convolution" if s.groups == 1 else "ConvolutionDepthWise"
            numbers = {0: w.shape[0], 1: w.shape[3], 11: w.shape[2], 2: s.dilation[1],
                       12: s.dilation[0], 3: s.stride[1], 13: s.stride[0], 4: left, 15: right,
                       14: top, 16: bottom, 5: 1, 6: w.size}  # fmt: skip
            if s.groups > 1:
                numbers[7] = s.groups
            text = " ".join(f"{k}={v}" for k, v in numbers.items())
            return f"{kind} layer 1 1 x y {text}", _binary(w, bias)
        if op == "linear":
            _, w, bias = arrays
            return f"InnerProduct layer 1 1 x y 0={len(w)} 1=1 2={w.size}", _binary(w, bias)
        if op in ("max_pool2d", "avg_pool2d"):
            return _pool(op, arrays[0], words), b""
        if op == "global_avg_pool":
            return "Pooling layer 1 1 x y 0=1 4=1", b""
        if op == "batch_norm" and not words.get("training"):
            _, mean, var, weight, bias = arrays
            numbers = f"0={len(mean)} 1={words.get('eps', 1e-5)}"
            return f"BatchNorm layer 1 1 x y {numbers}", b"".join(
                a.tobytes() for a in (weight, mean, var, bias)
            )
        if op in PLAIN:
            return f"{PLAIN[op]} layer 1 1 x y {NUMBERS.get(op, '')}", b""
        raise Refused(op)

    def _run(self, layer: str, weights: bytes, image: Array) -> Array:
        net = self.ncnn.Net()
        net.opt.num_threads = 1
        net.opt.use_winograd_convolution = self.winograd
        for name in REDUCED:
            if hasattr(net.opt, f"use_{name}"):
                setattr(net.opt, f"use_{name}", False)
        with tempfile.TemporaryDirectory() as folder:
            param, binary = Path(folder) / "net.param", Path(folder) / "net.bin"
            param.write_text(f"7767517\n2 2\nInput input 0 1 x\n{layer}\n")
            binary.write_bytes(weights)
            if net.load_param(str(param)) or net.load_model(str(binary)):
                raise Refused(f"ncnn refuses {layer}")
            with net.create_extractor() as extractor:
                extractor.input("x", self.ncnn.Mat(np.ascontiguousarray(image)).clone())
                code, out = extractor.extract("y")
        if code:
            raise Refused(f"ncnn refuses {layer}")
        y = np.array(out)
        return y.reshape(-1, 1, 1) if layer.endswith(" 4=1") else y  # a global pool drops its axes


def _pool(op: str, x: Array, words: Words) -> str:
    p = window(x, words)
    if p.ceil_mode and op == "avg_pool2d":
        raise Refused("ncnn divides by what overhangs the map too, PyTorch does not")
    (top, bottom), (left, right) = p.padding
    numbers = {0: int(op == "avg_pool2d"), 1: p.kernel[1], 11: p.kernel[0], 2: p.stride[1],
               12: p.stride[0], 3: left, 13: top, 14: right, 15: bottom,
               5: 0 if p.ceil_mode else 1,
               6: int(words.get("count_include_pad", True))}  # fmt: skip
    return "Pooling layer 1 1 x y " + " ".join(f"{k}={v}" for k, v in numbers.items())


def _binary(w: Array, bias: Array) -> bytes:
    """A flag word of 0 says float32."""
    return bytes(4) + w.tobytes() + bias.tobytes()
