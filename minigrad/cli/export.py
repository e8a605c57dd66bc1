"""``minigrad export``: a network as an ONNX file, for other engines and for viewers."""

from __future__ import annotations

import argparse
from pathlib import Path

from minigrad.cli.arguments import add_input, add_network, build, input_shape
from minigrad.cli.files import write_bytes
from minigrad.cli.terminal import print_json
from minigrad.engine.export import OPSET, to_onnx

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add_network(parser)
    add("out", type=Path, metavar="OUT.onnx", help="the file to write")
    add_input(parser)
    add("--no-fold", action="store_true", help="keep batch norms as operators of their own")
    add("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> int:
    """Write the file, or nothing if something is wrong; 0."""
    model, shape = build(args), input_shape(args)
    dtype = next(model.parameters()).dtype
    proto = to_onnx(model, shape, dtype=dtype, fold=not args.no_fold, name=args.model)
    write_bytes(args.out, proto.SerializeToString())
    told = {"model": args.model, "out": str(args.out), "shape": shape, "opset": OPSET,
            "operators": len(proto.graph.node)}  # fmt: skip
    if args.json:
        print_json(told)
    else:
        print(f"{args.out}: {args.model}, {told['operators']} operators, opset {OPSET}")
    return 0
