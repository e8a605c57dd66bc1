"""``minigrad vectors``: cases with exact results and bounds, for kernels in any language."""

from __future__ import annotations

import argparse

from minigrad.cli.arguments import file_name
from minigrad.cli.numbers import integer
from minigrad.cli.terminal import print_json
from minigrad.verify import vectors
from minigrad.verify.arithmetic import FORMATS as DTYPES
from minigrad.verify.files import FORMATS
from minigrad.verify.geometries import GEOMETRIES

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("folder", type=file_name, metavar="DIR", help="where to write: a new or empty folder")
    add("--operation", action="append", default=[], choices=sorted(GEOMETRIES), metavar="NAME",
        help=f"may be repeated; default: all of {', '.join(sorted(GEOMETRIES))}")  # fmt: skip
    add("--dtype", default="float32", choices=[*DTYPES, "int8"], help="default: %(default)s")
    add("--accumulator", choices=["float64", "float32", "float16"],
        help="what sums are kept in; default: float32, and float64 for float64")  # fmt: skip
    add("--layout", default="NCHW", choices=["NCHW", "NHWC"],
        help="of images; weights are always (Cout, Cin/groups, kh, kw)")  # fmt: skip
    add("--format", default="npy", choices=FORMATS, help="default: %(default)s")
    add("--seed", type=integer(0), default=0, help="of the values; default: %(default)s")
    add("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> int:
    """Write the folder; 0."""
    count = vectors.write(
        args.folder, args.operation, dtype=args.dtype, accumulator=args.accumulator,
        layout=args.layout, form=args.format, seed=args.seed,
    )  # fmt: skip
    if args.json:
        print_json({"folder": str(args.folder), "cases": count})
    else:
        print(f"{count} cases in {args.folder}: judge results with "
              f"minigrad judge {args.folder} RESULTS")  # fmt: skip
    return 0
