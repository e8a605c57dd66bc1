"""``minigrad judge``: a verdict on the results that somebody's kernel gave for some vectors."""

from __future__ import annotations

import argparse

from minigrad.cli.arguments import file_name
from minigrad.cli.terminal import print_json, print_lines, printable
from minigrad.errors import MinigradError
from minigrad.verify.vectors import Judgement, judge_folder

__all__ = ["configure", "finite", "run"]

SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("folder", type=file_name, metavar="DIR", help="a folder that minigrad vectors wrote")
    add("results", type=file_name, metavar="RESULTS", help="y, and grad_X, of each case")
    add("--allow-missing", action="store_true", help="cases without a result are left out")
    add("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> int:
    """Print the verdict; 0 if all is right, 1 if something is wrong."""
    if not args.results.is_dir():
        raise MinigradError(f"{args.results}: there is no such folder")
    found = list(judge_folder(args.folder, args.results))
    if args.allow_missing:
        found = [j for j in found if j.fault != "there is no y"]
    if not any(j.verdict is not None for j in found):
        raise MinigradError(f"{args.results}: there are no results of these vectors")
    wrong = [j for j in found if j.wrong]
    if args.json:
        print_json(_as_dict(found, wrong))
    else:
        print_lines(list(_lines(found, wrong)))
    return int(bool(wrong))


def _as_dict(found: list[Judgement], wrong: list[Judgement]) -> dict[str, object]:
    return {
        "decision": "wrong" if wrong else "right",
        "arrays": len(found),
        "uninformative": sum(_decision(j) == "uninformative" for j in found),
        "failures": [
            {"case": j.case, "title": j.title, "part": j.part, "fault": j.fault}
            | ({} if j.verdict is None else finite(j.verdict.as_dict()))
            for j in wrong
        ],
    }


def _decision(judgement: Judgement) -> str:
    return "" if judgement.verdict is None else judgement.verdict.decision


def finite(value: dict[str, object]) -> dict[str, object]:
    """JSON has no infinities and no NaN: they become text."""
    return {
        k: str(v) if isinstance(v, float) and not abs(v) < float("inf") else v
        for k, v in value.items()
    }


def _lines(found: list[Judgement], wrong: list[Judgement]) -> list[str]:
    unsure = sum(_decision(j) == "uninformative" for j in found)
    lines = [f"{len(found)} arrays judged: {len(wrong)} wrong, {unsure} uninformative"]
    for judgement in wrong[:SHOWN]:
        lines += ["", f"{judgement.case}: {printable(judgement.title)}, {judgement.part}"]
        told = judgement.fault if judgement.verdict is None else str(judgement.verdict)
        lines += [f"  {printable(line)}" for line in told.splitlines()]
    if len(wrong) > SHOWN:
        lines += ["", f"and {len(wrong) - SHOWN} more"]
    return lines
