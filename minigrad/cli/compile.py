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
from minigrad.cli.labels import read_labels
from minigrad.cli.numbers import positive
from minigrad.cli.terminal import print_json, printable
from minigrad.engine import Plan, compile
from minigrad.engine.batches import LAYOUTS
from minigrad.errors import MinigradError
from minigrad.graphs.imported import ImportedGraph
from minigrad.models import Network, Preparation
from minigrad.models.metadata import Description, describe
from minigrad.vision import preparation_for

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add_network(parser)
    add("-o", "--out", type=file_name, metavar="OUT.plan", required=True, help="the file to write")
    add_input(parser)
    add("--batch", type=positive, metavar="N", help="images at a time (default: 1)")
    add("--layout", choices=LAYOUTS, default="NCHW", help="of the arrays that the plan will take")
    add("--no-fold", action="store_true", help="keep batch norms as steps of their own")
    add("--labels", type=file_name, metavar="FILE",
        help="names of the classes: a line each, or JSON (default: the weights')")  # fmt: skip
    add("--preparation", metavar="NAME",
        help="a network that photographs are prepared for (default: this one)")  # fmt: skip
    add("--bytes", action="store_true",
        help="prepare photographs in the plan: it takes their uint8 pixels as well")  # fmt: skip
    add_output(parser)
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Write the file, or nothing if something is wrong; 0."""
    check_output(args.out, (".plan",), args.force)
    model = build(args)
    plan = _compiled(args, model)
    about = _about(args, plan)
    if args.bytes:
        found = Description.of(about).preparation
        if found is None:
            raise MinigradError("--bytes needs to know the preparation: --preparation names one")
        plan = _compiled(args, model, found)
    plan.save(args.out, about)
    steps = len(plan.graph.steps)
    if args.json:
        print_json({"model": plan.name, "out": str(args.out), "shape": plan.graph.shape,
                    "layout": plan.layout, "steps": steps})  # fmt: skip
    else:
        print(f"wrote {printable(str(args.out))}: {plan.name}, {steps} steps")
    return 0


def _compiled(
    args: argparse.Namespace, model: Network | ImportedGraph, preparation: Preparation | None = None
) -> Plan:
    """The plan that the arguments say, for photographs of bytes if it knows their preparation."""
    return compile(
        model, _shape(args), dtype=dtype_of(model), fold=not args.no_fold, layout=args.layout,
        preparation=preparation,
    )  # fmt: skip


def _shape(args: argparse.Namespace) -> tuple[int, ...]:
    """The input's shape, with as many images as --batch says."""
    shape = input_shape(args)
    if args.batch is None:
        return shape
    if args.input is not None and args.input[0] != args.batch:
        raise MinigradError(
            f"--input has {args.input[0]} images and --batch {args.batch}: give one of the two"
        )
    return args.batch, *shape[1:]


def _about(args: argparse.Namespace, plan: Plan) -> dict[str, str]:
    """What travels with the plan: its network, its labels, and how photographs are prepared."""
    stated = Description.of(plan.metadata)
    labels = stated.labels if args.labels is None else _labels(args, plan)
    return describe(
        stated.network, stated.preset, stated.switches, labels, _preparation(args, plan, stated)
    )


def _labels(args: argparse.Namespace, plan: Plan) -> list[str]:
    """The names that the user gave, one for each number that the network answers with."""
    names, shape = read_labels(args.labels), plan.graph.outputs[0].shape
    if len(shape) != 2 or shape[1] != len(names):
        raise MinigradError(
            f"{args.labels} has {len(names)} names, but the network gives an array of {shape}"
        )
    return names


def _preparation(args: argparse.Namespace, plan: Plan, stated: Description) -> Preparation | None:
    """What makes the plan's input of photographs; None if it is unknown, or no square of colours.

    A network that is compiled for another size is shown photographs of that size.
    """
    found = stated.preparation
    if args.preparation:
        found = preparation_for(args.preparation)
    elif found is None and stated.network:
        found = preparation_for(stated.network)
    match plan.graph.shape:
        case (_, 3, height, width) if found is not None and height == width:
            return found._replace(size=height)
    return None
