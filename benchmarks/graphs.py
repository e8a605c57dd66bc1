"""Networks of others: what ours says, what the file's own engine said, and how fast each is.

    python -m benchmarks.graphs FOLDER [--seconds 1] [--threads 1,2] [--out docs/graphs.md]

FOLDER holds the files and ``expected/NAME-PHOTO.npz``: the pixels of a photograph, how they become
the input, and the outputs of the file's own engine (ONNX Runtime, LiteRT).  Engines that are
installed take turns on the very input; ONNX Runtime and OpenVINO are given ONNX files with the
input's sizes fixed.  With ``--out`` the table between the marks of that file is written anew.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from benchmarks.timing import geometric_mean, interleave
from minigrad.errors import MinigradError
from minigrad.graphs.onnx_file import read_onnx
from minigrad.graphs.tflite_file import read_tflite

MARKS = "<!-- graphs -->", "<!-- /graphs -->"
Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Call = Callable[[], object]


class Case(NamedTuple):
    """A file, a photograph, and what its own engine said."""

    path: Path
    photo: str
    x: Array
    outputs: list[Array]


def cases(folder: Path) -> Iterator[Case]:
    """Every file of ``expected``, by name; the last photograph of a network is timed."""
    for stored in sorted((folder / "expected").glob("*.npz")):
        name, _, photo = stored.stem.partition("-")
        path = next(p for ending in ("onnx", "tflite") for p in folder.glob(f"{name}.{ending}"))
        with np.load(stored) as file:
            values = dict(file)
        pixels, scale = values["pixels"], float(values["scale"])
        if scale:
            shift = np.float32(values["shift"])
            pixels = ((pixels.astype(np.float32) - shift) / np.float32(scale)).astype(np.float32)
        x = pixels.transpose(0, 3, 1, 2).copy() if str(values["layout"]) == "NCHW" else pixels
        outputs = [v for k, v in values.items() if k.startswith("out:")]
        yield Case(path, photo, x, outputs)


def operators(path: Path) -> str:
    """The kinds of nodes of a file, the most frequent first."""
    if path.suffix == ".onnx":
        nodes = [node.operator for node in read_onnx(path).graph.nodes]
    else:
        nodes = [node.operator for node in read_tflite(path).graphs[0].nodes]
    counted = Counter(n for n in nodes if n != "Constant").most_common()
    return f"{sum(n for _, n in counted)} of {len(counted)} kinds: " + ", ".join(
        f"{name} {n}" for name, n in counted[:4]
    )


def loaded(case: Case) -> Any:
    """The network, for inputs of the case's sizes; that of a TFLite file takes (N, C, H, W)."""
    sizes = None if case.path.suffix == ".tflite" else case.x.shape
    return mg.load_graph(case.path, shape=sizes)


def difference(got: list[Array], case: Case) -> str:
    """The largest, as a part of the largest output; of integers, in units."""
    worst, units = 0.0, False
    for y, meant in zip(got, case.outputs, strict=True):
        off = np.abs(np.asarray(y, np.float64).reshape(meant.shape) - meant.astype(np.float64))
        units = meant.dtype.kind in "iu"
        worst = max(worst, float(off.max() if units else off.max() / np.abs(meant).max()))
    return f"{worst:.0f} units" if units else f"{worst:.1e}"


# --- engines ---------------------------------------------------------------------------------


def _ours(case: Case, threads: int) -> Call:
    shape, layout = case.x.shape, "NCHW"
    if case.path.suffix == ".tflite":
        shape, layout = (shape[0], shape[3], *shape[1:3]), "NHWC"
    plan = mg.compile(loaded(case), shape, threads=threads, layout=layout)
    x = np.asarray(case.x, np.float32)
    places = plan.outputs(x)  # for every call, as LiteRT and OpenVINO have theirs

    def call() -> list[Array]:
        plan(x, out=places)
        return places

    return call


def _fixed(case: Case) -> bytes:
    """The ONNX file with the input's sizes, and none said of what follows."""
    import onnx

    model = onnx.load(case.path)
    known = {tensor.name for tensor in model.graph.initializer}
    (first, *_) = [value for value in model.graph.input if value.name not in known]
    for dim, size in zip(first.type.tensor_type.shape.dim, case.x.shape, strict=True):
        dim.dim_value = size
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    kept = [value for value in model.graph.input if value.name not in known]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    content: bytes = model.SerializeToString()
    return content


def _onnxruntime(case: Case, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(_fixed(case), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: case.x})


def _openvino(case: Case, threads: int) -> Call:
    import openvino

    core = openvino.Core()
    source = core.read_model(str(case.path)) if case.path.suffix == ".tflite" else (
        core.read_model(_fixed(case)))  # fmt: skip
    how = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
           "INFERENCE_PRECISION_HINT": "f32"}  # fmt: skip
    request = core.compile_model(source, "CPU", how).create_infer_request()
    return lambda: request.infer([case.x])


def _litert(case: Case, threads: int) -> Call:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(case.path), num_threads=threads)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]

    def call() -> None:
        interpreter.set_tensor(place, case.x)
        interpreter.invoke()

    return call


PEERS = {
    ".onnx": {"ONNX Runtime": _onnxruntime, "OpenVINO": _openvino},
    ".tflite": {"LiteRT": _litert, "OpenVINO": _openvino},
}


def measured(case: Case, threads: int, seconds: float) -> dict[str, float]:
    """Median milliseconds of each engine that reads the file."""
    calls = {"minigrad": _ours(case, threads)}
    for name, peer in PEERS[case.path.suffix].items():
        try:
            calls[name] = peer(case, threads)
        except (ImportError, RuntimeError) as error:
            print(f"{name} does not run {case.path.name}: {str(error).splitlines()[0][:100]}")
    times = interleave(calls, seconds)
    return {name: timing.median_us / 1e3 for name, timing in times.items()}


# --- the table -------------------------------------------------------------------------------


class Row(NamedTuple):
    """What is said of one network, and at each number of threads the times of the engines."""

    name: str
    operators: str
    differences: dict[str, str]
    times: dict[int, dict[str, float]]

    def ratio(self, threads: int) -> float:
        """The fastest other engine's time over ours."""
        others = [ms for name, ms in self.times[threads].items() if name != "minigrad"]
        return min(others) / self.times[threads]["minigrad"] if others else float("nan")


def rows(folder: Path, threads: list[int], seconds: float) -> Iterator[Row]:
    """One for each network that is read; the others are named, with the reason."""
    by_file: dict[Path, list[Case]] = {}
    for case in cases(folder):
        by_file.setdefault(case.path, []).append(case)
    for path, group in by_file.items():
        try:
            said = {c.photo: difference(_ours(c, 1)(), c) for c in group}  # type: ignore[arg-type]
            times = {n: measured(group[-1], n, seconds) for n in threads}
        except (MinigradError, TypeError) as error:
            print(f"{path.name} is not run: {error}")
            continue
        yield Row(path.name, operators(path), said, times)


def table(found: list[Row], threads: list[int]) -> str:
    """Markdown."""
    head = "| file | nodes | ours against its own engine | " + " | ".join(
        f"ms, {n} thread{'s' * (n > 1)}: ours / others | ratio" for n in threads
    )
    lines = [head + " |", "|---|---|---|" + "---|---|" * len(threads)]
    for row in found:
        said = "; ".join(f"{photo}: {off}" for photo, off in row.differences.items())
        cells = [f"`{row.name}`", row.operators, said]
        for n in threads:
            others = ", ".join(f"{k} {v:.2f}" for k, v in row.times[n].items() if k != "minigrad")
            cells += [f"{row.times[n]['minigrad']:.2f} / {others}", f"{row.ratio(n):.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    floats = [row for row in found if "units" not in "".join(row.differences.values())]
    means = ", ".join(
        f"{geometric_mean(row.ratio(n) for row in floats):.2f} at {n} thread{'s' * (n > 1)}"
        for n in threads
    )
    return "\n".join([*lines, "", f"Geometric mean of the ratios of the float files: {means}."])


def main() -> None:
    """Measure, print, and write the table where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    threads = [int(n) for n in args.threads.split(",")]
    text = table(list(rows(args.folder, threads, args.seconds)), threads)
    print(text)
    if args.out:
        page = args.out.read_text(encoding="utf-8")
        between = re.compile(f"{MARKS[0]}.*{MARKS[1]}", re.DOTALL)
        args.out.write_text(
            between.sub(lambda _: "\n".join((MARKS[0], text, MARKS[1])), page), "utf-8"
        )


if __name__ == "__main__":
    main()
