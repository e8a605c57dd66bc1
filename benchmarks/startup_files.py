"""One network in the file of every engine: ``python -m benchmarks.startup_files FOLDER``.

Writes mobilenet_v2.pth and .plan (ours), .onnx (ONNX Runtime, OpenVINO), .tflite (LiteRT),
.param and .bin (ncnn), all with the same weights.  A process of its own, because it imports
what the processes that are measured must not share.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.ncnn_graph import ncnn_network
from benchmarks.recorded import ordinary, recorded
from benchmarks.tflite_graph import tflite_network
from minigrad import formats, models
from minigrad.engine import compile
from minigrad.engine.export import to_onnx

__all__ = ["NAME", "write"]

NAME, SHAPE = "mobilenet_v2", (1, 3, 224, 224)


def write(folder: Path) -> None:
    """All the files, of one network with values of order one in every layer."""
    model = ordinary(models.create(NAME, rng=0), SHAPE)
    file = folder / NAME
    formats.save(file.with_suffix(".pth"), model.state_dict())
    compile(model.eval(), SHAPE).save(file.with_suffix(".plan"))
    file.with_suffix(".onnx").write_bytes(to_onnx(model, SHAPE).SerializeToString())
    graph = recorded(model, SHAPE)
    file.with_suffix(".tflite").write_bytes(tflite_network(graph))
    param, weights = ncnn_network(graph)
    file.with_suffix(".param").write_text(param)
    file.with_suffix(".bin").write_bytes(weights)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
