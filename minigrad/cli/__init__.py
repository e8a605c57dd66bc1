"""The command line: one module a command, imported when it is asked for.

A module of a command has ``configure(parser)``, which declares its arguments, and
``run(args)``, which returns the exit code.  Errors are reported here, in one place:

    0   done
    1   a verdict of "wrong"
    2   something the user can put right, in one sentence on stderr
    3   a fault of minigrad's own (MINIGRAD_TRACEBACK=1 shows where)

No command uses the internet.  The commands:

    classify, evaluate         what is in a photograph; how often that is right
    detect                     the objects in a photograph
    segment                    what each pixel of a photograph shows
    embed                      what a network sees in photographs, as vectors
    run                        a network of an ONNX file on arrays and photographs
    models, weights, summary   the networks, the packages of weights, the layers of a network
    convert, export, compile   weights, ONNX files and plans, written
    train                      a network learns from a folder of pictures
    bench, doctor              how fast a network runs here; what is on this machine
    vectors, judge, compare    verdicts on kernels and on runs of networks elsewhere

What they share:

    arguments                  a network, the shape of its input, files
    numbers                    numbers, each with those that are allowed
    files                      what a command may write, and what it may not replace
    terminal                   text that is safe to print, JSON, a progress bar
    classifiers, viewers       the network that photographs are shown to, ready to be called
    planned                    the same from a plan file
    mask_scores, box_scores    ``evaluate`` for networks that name pixels, and that find objects
    photographs, labels        photographs prepared ahead; the names of the classes
    answers                    what a command says of each photograph
    packages                   the packages that are known to carry weights
    engines, stopwatch         other engines for ONNX files, and how a time is taken
    training_data, training_setup    what ``train`` learns from, and with what

What may be changed: tables and wording freely. What programs read stays: exit codes, names
of options, the keys of --json (tests/cli).
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from minigrad.cli.terminal import printable, sentence
from minigrad.errors import MinigradError
from minigrad.version import __version__

__all__ = ["COMMANDS", "main"]

OK, WRONG, USER_ERROR, FAULT = range(4)
INTERRUPTED = 130  # what a shell reports for SIGINT

COMMANDS = {
    "classify": "name what is in photographs",
    "embed": "write what a network sees in photographs as vectors",
    "evaluate": "say how often a network is right about a folder of photographs",
    "detect": "find the objects in photographs",
    "segment": "name what each pixel of photographs shows",
    "run": "run a network of an ONNX file on arrays and photographs",
    "models": "list every network: its cost, its accuracy, where weights may come from",
    "weights": "list the packages that carry weights for these networks",
    "summary": "show what each layer of a network costs, as a table or a picture",
    "train": "teach a network the classes of a folder of pictures",
    "convert": "write weights in another file format, or under another library's names",
    "export": "write a network as an ONNX file",
    "compile": "write a network as a plan, a file that runs without the model",
    "bench": "measure a network on this machine, beside other engines that are installed",
    "vectors": "write cases with exact results and bounds, for kernels in any language",
    "judge": "give a verdict on the results that a kernel computed from such cases",
    "compare": "find the first layer that is wrong in a run of a network elsewhere",
    "doctor": "show what minigrad finds on this machine, and which kernels will run",
}


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one sentence and not a page of usage."""

    def error(self, message: str) -> NoReturn:
        message = printable(" ".join(message.split()), 600)
        self.exit(USER_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The command and its arguments; by default those of the process.

    Returns
    -------
    int
        0, 1, 2 or 3 as above; 130 if it was interrupted.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    _interruptible()
    _open_streams()
    try:
        args = _parse(argv)
        code: int = args.run(args)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse: --help, or a mistake that it has reported
        return leaving.code if isinstance(leaving.code, int) else OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _discard_stdout()
        return OK
    except (MinigradError, OSError, MemoryError) as error:
        _discard_unwritable()
        return _report(sentence(error), USER_ERROR)
    except Exception as error:
        if os.environ.get("MINIGRAD_TRACEBACK"):
            raise
        return _report(
            f"this is a fault of minigrad ({type(error).__name__}: {sentence(error)}); "
            "MINIGRAD_TRACEBACK=1 shows where",
            FAULT,
        )
    return code


def _interruptible() -> None:
    """Ctrl-C is an exception from here on; while minigrad was imported it ended the process."""
    default = signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    if default and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _open_streams() -> None:
    """A stream that was closed becomes the null device; a sign that it lacks is replaced."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _discard_stdout() -> None:
    """What is still buffered goes nowhere, so that leaving does not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _discard_unwritable() -> None:
    """The same, if the error was that stdout cannot be written to (a full disk)."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="minigrad", description="Run, study and check small networks on a CPU.")
    parser.add_argument("--version", action="version", version=f"minigrad {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = parser
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
        if name in argv[:1]:
            module = importlib.import_module(f"minigrad.cli.{name}")
            module.configure(command)
            command.set_defaults(run=module.run)
            chosen = command
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        chosen.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _report(message: str, code: int) -> int:
    print(f"minigrad: {message}", file=sys.stderr)
    return code
