"""What the fuzzer and the measured processes run: reads a network into a value."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from minigrad.graphs.imported import load_graph
from minigrad.graphs.onnx_file import read_onnx
from minigrad.graphs.tflite_file import read_tflite


def described(value):
    """A value without arrays, which can be compared."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}", hashlib.sha256(value.tobytes()).hexdigest()[:16]
    if isinstance(value, dict):
        return {name: described(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [described(item) for item in value]
    assert not dataclasses.is_dataclass(value)
    return value


def onnx(path):
    return described(read_onnx(path))


def tflite(path):
    return described(read_tflite(path))


def any_size(path):
    """Reads a file of either kind; nothing of it needs to be counted to the arrays' favour."""
    with open(path, "rb") as file:
        is_tflite = file.read(8)[4:] == b"TFL3"
    (read_tflite if is_tflite else read_onnx)(path)


def network(path):
    """Makes a network of an ONNX file, which runs its shape rules."""
    load_graph(path)


def network_of_photographs(path):
    """The same for an image of 32 pixels."""
    load_graph(path, shape=(1, 3, 32, 32))
