"""The command line: one module a command, imported when it is asked for.

A module of a command has ``configure(parser)``, which declares its arguments, and
``run(args)``, which returns the exit code.  What went wrong is told here, in one place:

    0   done
    1   a verdict of "wrong"
    2   something the user can put right, told in one sentence on stderr
    3   a fault of minigrad's own (MINIGRAD_TRACEBACK=1 shows where)

No command ever reaches for the network.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from minigrad.cli.terminal import sentence
from minigrad.errors import MinigradError

__all__ = ["COMMANDS", "main"]

OK, WRONG, USER_ERROR, FAULT = range(4)
INTERRUPTED = 130  # what a shell reports for SIGINT

COMMANDS = {
    "classify": "name what is in photographs",
    "models": "list every network: its cost, its accuracy, where weights may come from",
    "summary": "show what each layer of a network costs, as a table or a picture",
    "convert": "write weights in another file format, or under another library's names",
    "export": "write a network as an ONNX file",
    "bench": "measure a network on this machine, beside other engines that are installed",
    "doctor": "show what minigrad finds on this machine, and which kernels will run",
}


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one sentence and not a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a bar that the encoding lacks is no fault
        sys.stdout.reconfigure(errors="replace")
    try:
        args = _parse(argv)
        code: int = args.run(args)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse: --help, or a mistake it has told already
        return leaving.code if isinstance(leaving.code, int) else OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (MinigradError, OSError) as error:
        return _tell(sentence(error), USER_ERROR)
    except Exception as error:
        if os.environ.get("MINIGRAD_TRACEBACK"):
            raise
        return _tell(
            f"this is a fault of minigrad ({type(error).__name__}: {sentence(error)}); "
            "MINIGRAD_TRACEBACK=1 shows where",
            FAULT,
        )
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="minigrad", description="Run, study and check small networks on a CPU.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
        if name in argv[:1]:
            module = importlib.import_module(f"minigrad.cli.{name}")
            module.configure(command)
            command.set_defaults(run=module.run)
    return parser.parse_args(argv)


def _tell(message: str, code: int) -> int:
    print(f"minigrad: {message}", file=sys.stderr)
    return code
