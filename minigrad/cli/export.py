"""``minigrad export``: a network as an ONNX file, for other engines and for viewers."""

from __future__ import annotations

import argparse

from minigrad.cli.arguments import (
    add_input,
    add_json,
    add_network,
    add_output,
    build,
    dtype_of,
    file_name,
    input_shape,
)
from minigrad.cli.files import check_output
from minigrad.cli.numbers import positive
from minigrad.cli.terminal import print_json, printable
from minigrad.engine.export import to_onnx
from minigrad.formats.writing import write_bytes

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add_network(parser)
    add("out", type=file_name, metavar="OUT.onnx", help="the file to write")
    add_input(parser)
    add("--batch", type=_batch, metavar="N|free",
        help="how many images the file takes (default: --input's, or 1)")  # fmt: skip
    add("--no-fold", action="store_true", help="keep batch norms as operators of their own")
    add_output(parser)
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Write the file, or nothing if something is wrong; 0."""
    check_output(args.out, (".onnx",), args.force)
    model, shape = build(args), input_shape(args)
    dtype = dtype_of(model)
    proto = to_onnx(
        model, shape, dtype=dtype, fold=not args.no_fold, name=model.name, batch=args.batch
    )
    write_bytes(args.out, proto.SerializeToString())
    opset = proto.opset_import[0].version
    report = {"model": model.name, "out": str(args.out), "shape": shape, "opset": opset,
              "operators": len(proto.graph.node)}  # fmt: skip
    if args.json:
        print_json(report)
    else:
        print(f"wrote {printable(str(args.out))}: {model.name}, {report['operators']} operators, "
              f"opset {opset}")  # fmt: skip
    return 0


def _batch(text: str) -> int | str:
    return text if text == "free" else positive(text)
