"""``minigrad export``: a network as an ONNX file, for other engines and for viewers."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from minigrad.engine.export import to_onnx
from minigrad.models import create

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("model", help="a name that `minigrad models` lists")
    add("out", metavar="OUT.onnx", help="the file to write")
    add("--weights", metavar="FILE", help="default: the authors' initialisation, seed 0")
    add("--input", type=_shape, default=(1, 3, 224, 224), metavar="NxCxHxW",
        help="default: 1x3x224x224")  # fmt: skip
    add("--no-fold", action="store_true", help="keep batch norms as operators of their own")


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in text.split("x"))
    except ValueError:
        shape = ()
    if len(shape) != 4 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 1x3x224x224")
    return shape


def run(args: argparse.Namespace) -> int:
    """Write the file through a temporary one, so that nothing half-done is left."""
    model = create(args.model, weights=args.weights, in_channels=args.input[1],
                   rng=0)  # fmt: skip
    proto = to_onnx(model.eval(), args.input, fold=not args.no_fold, name=args.model)
    partial = Path(f"{args.out}.partial")
    try:
        partial.write_bytes(proto.SerializeToString())
        os.replace(partial, args.out)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{args.out}: {args.model}, {len(proto.graph.node)} operators, opset 17")
    return 0
