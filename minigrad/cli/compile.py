"""``minigrad compile``: a network as a plan file, which ``mg.load_plan`` runs."""

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
from minigrad.cli.terminal import print_json, printable
from minigrad.engine import compile
from minigrad.engine.build import LAYOUTS

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add_network(parser)
    add("-o", "--out", type=file_name, metavar="OUT.plan", required=True, help="the file to write")
    add_input(parser)
    add("--layout", choices=LAYOUTS, default="NCHW", help="of the arrays that the plan will take")
    add("--no-fold", action="store_true", help="keep batch norms as steps of their own")
    add_output(parser)
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Write the file, or nothing if something is wrong; 0."""
    check_output(args.out, (".plan",), args.force)
    model = build(args)
    dtype = dtype_of(model)
    plan = compile(model, input_shape(args), dtype=dtype, fold=not args.no_fold, layout=args.layout)
    plan.save(args.out)
    steps = len(plan.graph.steps)
    if args.json:
        print_json({"model": plan.name, "out": str(args.out), "shape": plan.graph.shape,
                    "layout": plan.layout, "steps": steps})  # fmt: skip
    else:
        print(f"wrote {printable(str(args.out))}: {plan.name}, {steps} steps")
    return 0
