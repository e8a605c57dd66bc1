"""``minigrad compare``: which layer of a run elsewhere is wrong first."""

from __future__ import annotations

import argparse

from minigrad.cli.arguments import add_network, build, file_name
from minigrad.cli.judge import finite
from minigrad.cli.terminal import print_json, print_lines, printable
from minigrad.engine.formulas import recognise_formulas
from minigrad.engine.lift import lift
from minigrad.engine.trace import trace
from minigrad.errors import MinigradError
from minigrad.verify.comparison import Comparison, compare_dump, compare_onnx, read_dump
from minigrad.verify.files import read_npy
from minigrad.verify.networks import Layer
from minigrad.verify.onnx_runs import run_onnx

__all__ = ["configure", "run"]

SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add_network(parser)
    add("dump", nargs="?", type=file_name, metavar="DUMP",
        help="values of the run: an .npz file or a folder of .npy files, by layer")  # fmt: skip
    # argparse gives a positional argument that may be missing no second chance behind an option,
    # so --input takes what follows its file: compare MODEL --input X.npy DUMP.
    add(
        "--input",
        dest="x",
        type=file_name,
        required=True,
        nargs="+",
        metavar="X.npy",
        help="its input",
    )
    add("--onnx", type=file_name, metavar="FILE", help="run this file in ONNX Runtime instead")
    add("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> int:
    """Print the comparison; 0 if no layer is wrong, 1 if one is."""
    path, *dumps = args.x
    dumps += [] if args.dump is None else [args.dump]
    if len(dumps) + (args.onnx is not None) != 1:
        raise MinigradError("compare takes either DUMP or --onnx FILE")
    x = read_npy(path)
    if x.ndim != 4 or x.dtype.kind != "f" or x.dtype.itemsize < 4:
        raise MinigradError(f"{path}: expected images (N, C, H, W) of float32 or float64, "
                            f"got {x.dtype} of shape {x.shape}")  # fmt: skip
    args.input = x.shape
    graph = recognise_formulas(lift(trace(build(args), x.shape, x.dtype)))
    if args.onnx:
        found = compare_onnx(graph, x, run_onnx(args.onnx, x))
    else:
        found = compare_dump(graph, x, read_dump(dumps[0]))
    if args.json:
        print_json(_as_dict(found))
    else:
        print_lines(_lines(found))
    return int(not found)


def _as_dict(found: Comparison) -> dict[str, object]:
    wrong = [layer for layer in found.layers if layer.wrong]
    return {
        "decision": "wrong" if wrong else "right",
        "first": wrong[0].name if wrong else None,
        "layers": len(found.layers),
        "wrong": [
            {"name": layer.name, "steps": layer.steps, "fault": layer.fault}
            | ({} if layer.verdict is None else {"verdict": finite(layer.verdict.as_dict())})
            for layer in wrong
        ],
        "remarks": {layer.name: layer.remarks for layer in found.layers if layer.remarks},
        "unknown": found.unknown,
        "end_to_end": found.end_to_end,
    }


def _lines(found: Comparison) -> list[str]:
    wrong = [layer for layer in found.layers if layer.wrong]
    lines = [f"{len(found.layers)} values judged: {len(wrong)} wrong"]
    if wrong:
        lines += ["", f"the first layer that is wrong: {printable(wrong[0].name)}"]
        lines += _about(wrong[0])
    if wrong[1:]:
        more = ", ".join(printable(layer.name) for layer in wrong[1 : 1 + SHOWN])
        lines += ["", f"wrong from their own inputs too: {more}"]
    for layer in found.layers:
        lines += [f"{printable(layer.name)}: {remark}" for remark in layer.remarks]
    if found.unknown:
        lines.append(f"{len(found.unknown)} names that the network has not, such as "
                     f"{printable(found.unknown[0])}")  # fmt: skip
    if found.end_to_end:
        end = found.end_to_end
        lines += ["", f"end to end: output {end['index']} is off by {end['error']:.3g}, "
                  f"{end['share']:.2g} of the first-order bound {end['bound']:.3g}"]  # fmt: skip
    return lines


def _about(layer: Layer) -> list[str]:
    lines = [f"  {layer.steps}"]
    if layer.fault:
        lines.append(f"  {printable(layer.fault)}")
    if layer.verdict is not None and layer.verdict.decision == "wrong":
        lines += [f"  {line}" for line in str(layer.verdict).splitlines()]
    return lines
