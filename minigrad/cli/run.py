"""``minigrad run``: a network of a file on arrays and photographs, and what it says of them."""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigrad.cli.arguments import add_json, add_output, add_shape, file_name
from minigrad.cli.files import check_output
from minigrad.cli.numbers import finite
from minigrad.cli.terminal import print_json, print_lines, printable
from minigrad.columns import Column, fit, width
from minigrad.engine import compile
from minigrad.errors import MinigradError, ShapeError, listing
from minigrad.formats.writing import write_bytes
from minigrad.graphs.imported import ImportedGraph, load_graph
from minigrad.tensor import FLOATS, Array, require_room
from minigrad.verify.files import read_npy
from minigrad.vision import read_photo

__all__ = ["configure", "run"]


class Result(NamedTuple):
    """One output for one input."""

    source: Path
    name: str
    values: Array
    file: Path | None

    def row(self) -> dict[str, object]:
        """What a program is told of it."""
        y = self.values
        some = y.size > 0
        return {
            "input": str(self.source),
            "output": self.name,
            "shape": list(y.shape),
            "least": float(y.min()) if some else None,
            "mean": float(y.mean(dtype=np.float64)) if some else None,
            "largest": float(y.max()) if some else None,
            "file": None if self.file is None else str(self.file),
        }


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("graph", type=file_name, metavar="FILE", help="the network, .onnx or .tflite")
    add("--input", dest="values", type=file_name, nargs="+", required=True, metavar="X",
        help="an .npy file, which is a whole batch, or a photograph; each is a run; of a network "
        "with several inputs an .npy file for each, in order")  # fmt: skip
    add_shape(parser, "of photographs, if the file says too much or too little")
    add("--mean", type=finite, default=0.0, help="taken from the pixels, 0 to 255; default: 0")
    add("--std", type=finite, default=255.0, help="which then divides them; default: 255; "
        "a network in integers takes the pixels as they are, or less 128")  # fmt: skip
    add("--output", type=file_name, metavar="DIR", help="where to write the outputs, as .npy")
    add_output(parser)
    add_json(parser, "an object for each output")


def run(args: argparse.Namespace) -> int:
    """Run the network on each input, and print what came out; 0."""
    if args.std == 0:
        raise MinigradError("--std must not be 0")
    results = list(_results(args))
    _write(results, args.force)
    if args.json:
        print_json([result.row() for result in results])
    else:
        print_lines(_table(results))
    return 0


def _write(results: Sequence[Result], force: bool) -> None:
    """Write the outputs that have a file, unless one of them is there already."""
    files = {result.file: result.values for result in results if result.file is not None}
    if files and len(files) < len(results):
        raise MinigradError("two inputs have the same name, so their outputs cannot share a folder")
    for file in files:
        check_output(file, (".npy",), force)
    for file, values in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, _npy(values))


def _results(args: argparse.Namespace) -> Iterator[Result]:
    """A run for each input; one run of a network that has several."""
    sources: list[Path] = args.values
    if len(sources) > 1 or sources[0].suffix != ".npy":
        net = load_graph(args.graph, shape=args.shape)
        if len(net.inputs) > 1:
            yield from _joint(net, sources, args)
            return
    for source in sources:
        yield from _single(source, args)


def _single(source: Path, args: argparse.Namespace) -> Iterator[Result]:
    """The run of one array or photograph."""
    if source.suffix == ".npy":
        x = _array(source)
        net = load_graph(args.graph, shape=x.shape)
    else:
        net = load_graph(args.graph, shape=args.shape)
        x = _photograph(source, net, args)
    x = np.ascontiguousarray(x)
    plan = compile(net.to(x.dtype), x.shape, dtype=x.dtype)
    yield from _named(source, net, plan.outputs(x), args)


def _joint(net: ImportedGraph, sources: list[Path], args: argparse.Namespace) -> Iterator[Result]:
    """The run of an array for each input, in the file's order."""
    if len(sources) != len(net.inputs) or any(source.suffix != ".npy" for source in sources):
        raise MinigradError(
            f"{args.graph} has the inputs {listing(net.inputs)}: --input takes an .npy file for "
            "each of them, in this order"
        )
    xs = [_array(source) for source in sources]
    dtype = np.result_type(*xs)
    plan = compile(net.to(dtype), [x.shape for x in xs], dtype=dtype)
    yield from _named(sources[0], net, plan.outputs([x.astype(dtype) for x in xs]), args)


def _array(source: Path) -> Array:
    """The numbers of a file in float64 if they are so, else in float32."""
    x: Array = read_npy(source)
    if x.dtype in FLOATS:
        return x
    if x.dtype.kind not in "iub" and x.dtype != np.float16:
        raise MinigradError(f"{source}: expected floats or integers, got {x.dtype}")
    y = x.astype(np.float32)
    if x.dtype.kind in "iu" and not np.array_equal(y, x):
        raise MinigradError(f"{source}: an integer is above 2^24, which float32 does not hold")
    return y


def _named(
    source: Path, net: ImportedGraph, outputs: Sequence[Array], args: argparse.Namespace
) -> Iterator[Result]:
    """The outputs under their names, and the files that they go to."""
    for i, (name, values) in enumerate(zip(net.outputs, outputs, strict=True)):
        safe = re.sub(r"[^0-9A-Za-z_]+", "_", name)[:60].strip("_") or "output"
        file = args.output / f"{source.stem}.{i}.{safe}.npy" if args.output else None
        yield Result(source, name, np.asarray(values), file)


def _photograph(source: Path, net: ImportedGraph, args: argparse.Namespace) -> Array:
    """(pixels - mean) / std, scaled to the size of the network's input, if it has one.

    An input of uint8 takes the pixels themselves, one of int8 the pixels less 128.
    """
    name, sizes = next(iter(net.inputs.items()))
    if sizes is None or len(sizes) != 4 or sizes[0] not in (None, 1):
        raise ShapeError(f"the input {printable(name)} is {sizes}, not one photograph: use --shape")
    last = sizes[3] == 3 and sizes[1] != 3
    if not last and sizes[1] not in (None, 3):
        raise ShapeError(f"the input {printable(name)} is {sizes}: its channels are not three")
    image = read_photo(source)
    height, width = sizes[1:3] if last else sizes[2:]
    size = (width or image.width, height or image.height)
    require_room("run", (size[1], size[0], 3), np.dtype(np.float32))
    pixels = np.asarray(image if size == image.size else image.resize(size, resample=2))
    mean, std = (args.mean, args.std)
    if name in net.quantization:
        mean, std = (128.0 if net.quantization[name].dtype == "int8" else 0.0), 1.0
    x = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)
    batch: Array = x[None] if last else x.transpose(2, 0, 1)[None]
    return batch


def _npy(values: Array) -> bytes:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    return content.getvalue()


def _table(results: Sequence[Result]) -> Iterator[str]:
    rows = [result.row() for result in results]

    def numbers(name: str) -> list[str]:
        return [f"{row[name]:.6g}" if row[name] is not None else "" for row in rows]

    yield from fit(
        [
            Column("input", [printable(r.source.name) for r in results], rank=2, right=False),
            Column("output", [printable(r.name) for r in results], right=False),
            Column("shape", ["x".join(map(str, r.values.shape)) for r in results]),
            Column("least", numbers("least"), rank=1),
            Column("mean", numbers("mean"), rank=1),
            Column("largest", numbers("largest"), rank=1),
        ],
        width(),
    )
    yield from (f"wrote {printable(str(r.file))}" for r in results if r.file is not None)
