"""What a command says of each photograph: as JSON, or as a table under the time that it took."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

from minigrad.cli.terminal import print_json, print_lines, printable
from minigrad.columns import width

__all__ = ["Answer", "say"]

Answer = dict[str, object]


def say(
    answers: Sequence[Answer],
    name: str,
    table: Callable[[Answer, int], Iterator[str]],
    *,
    as_json: bool,
) -> int:
    """Print the answers of the network ``name``; 0, or 2 if a photograph could not be read.

    ``table`` makes the lines of an answer, of at most so many columns.
    """
    if as_json:
        print_json(answers)
    else:
        for answer in answers:
            _show(answer, name, table)
    return 2 if any("error" in answer for answer in answers) else 0


def _show(answer: Answer, name: str, table: Callable[[Answer, int], Iterator[str]]) -> None:
    if "error" in answer:
        print(f"minigrad: {answer['error']}", file=sys.stderr)
    else:
        print_lines([*_heading(answer, name), "", *table(answer, width())])


def _heading(answer: Answer, name: str) -> Iterator[str]:
    yield printable(str(answer["photo"]))
    yield (f"{name}, {answer['time_ms']:.1f} ms ({answer['backend']}, "
           f"threads: {answer['threads']})")  # fmt: skip
