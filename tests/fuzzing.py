"""Files damaged at random, read in a process of its own whose time and memory are measured.

    from fuzzing import fuzz
    report = fuzz("my_module:read_file", [path, ...], count=2000, refusals=["FormatError"])
    assert report.faults == []

``read_file`` takes a path; it returns a value, or raises one of the refusals.  Whatever else it
does is a fault: another exception, a message of several lines, too much time or memory, the end
of the process.  A fault is told with the number of its mutant, from which the mutant can be
made again (`mutant`).
"""

from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from measured import peak_memory

SECONDS, MEMORY = 2.0, 200 << 20
WORDS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 24, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40,
         (1 << 63) - 1, (1 << 64) - 1]  # fmt: skip
DIGITS = b"0123456789"
FAULTS_SHOWN = 10


@dataclass
class Report:
    """What became of the mutants."""

    refused: int = 0
    read: int = 0
    changed: int = 0  # read, but with another value than the file that was damaged
    slowest: float = 0.0  # seconds of CPU time
    peak: int = 0  # bytes, above what the process took before the first
    faults: list[str] = field(default_factory=list)


def mutant(bases: Sequence[bytes], number: int) -> tuple[int, bytes]:
    """The mutant of that number, and which of the files it was made of."""
    draw = random.Random(number)
    which = draw.randrange(len(bases))
    content = bytearray(bases[which])
    for _ in range(draw.choice([1, 1, 1, 1, 2, 3, 8])):
        if content:
            draw.choice(MUTATIONS)(draw, content, bases)
    return which, bytes(content)


def _place(draw: random.Random, content: bytearray) -> int:
    """Anywhere; but the ends of a file, where headers and directories stand, more often."""
    end = len(content)
    near = min(end, 200)
    return draw.choice([draw.randrange(end), draw.randrange(near), end - 1 - draw.randrange(near)])


def _flip(draw, content, bases):
    content[_place(draw, content)] ^= 1 << draw.randrange(8)


def _byte(draw, content, bases):
    content[_place(draw, content)] = draw.randrange(256)


def _word(draw, content, bases):
    at, size = _place(draw, content), draw.choice([1, 2, 4, 8])
    word = (draw.choice(WORDS) + draw.choice([0, 0, 1, -1])) % (1 << 8 * size)
    content[at : at + size] = word.to_bytes(size, draw.choice(["little", "big"]))


def _nudge(draw, content, bases):
    """A number of 4 or 8 bytes a little changed: sizes and offsets that nearly agree."""
    at, size = _place(draw, content), draw.choice([2, 4, 8])
    word = int.from_bytes(content[at : at + size], "little") + draw.choice([-8, -4, -1, 1, 4, 8])
    content[at : at + size] = (word % (1 << 8 * size)).to_bytes(size, "little")


def _digits(draw, content, bases):
    """A number in text becomes another."""
    places = [at for at, byte in enumerate(content[:4096]) if byte in DIGITS]
    if places:
        at = draw.choice(places)
        content[at : at + 1] = str(draw.choice([*WORDS, -1, 10**30])).encode()


def _cut(draw, content, bases):
    del content[_place(draw, content) :]


def _delete(draw, content, bases):
    at = _place(draw, content)
    del content[at : at + draw.choice([1, 2, 4, 16, 100])]


def _repeat(draw, content, bases):
    at, size = _place(draw, content), draw.choice([1, 4, 16, 100, 1000])
    content[at:at] = content[at : at + size] * draw.choice([1, 2, 20])


def _insert(draw, content, bases):
    at = _place(draw, content)
    content[at:at] = draw.randbytes(draw.choice([1, 2, 8, 64]))


def _splice(draw, content, bases):
    """A piece of another file, or of this one at another place."""
    other = draw.choice(bases)
    start, at = draw.randrange(len(other)), _place(draw, content)
    piece = other[start : start + draw.choice([1, 4, 16, 100])]
    content[at : at + len(piece)] = piece


MUTATIONS = [_flip, _byte, _word, _word, _nudge, _digits, _cut, _delete, _repeat, _insert, _splice]


def fuzz(
    reader: str, paths: Sequence[Path], count: int, refusals: Sequence[str], first: int = 0
) -> Report:
    """Read ``count`` mutants of the files with ``reader`` ("module:function"), in a child."""
    order = {"reader": reader, "paths": [str(p) for p in paths], "count": count, "first": first,
             "refusals": list(refusals)}  # fmt: skip
    child = subprocess.run(
        [sys.executable, __file__], input=json.dumps(order), capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}, check=False,
    )  # fmt: skip
    lines = child.stdout.splitlines()
    if child.returncode:
        last = f"the process ended with {child.returncode} after {lines[-1:]}"
        return Report(faults=[f"{last}: {child.stderr[-500:]}"])
    return Report(**json.loads(lines[-1]))


def _run(order: dict) -> Report:
    module, _, name = order["reader"].partition(":")
    read = getattr(importlib.import_module(module), name)
    bases = [Path(path).read_bytes() for path in order["paths"]]
    expected = [repr(read(path)) for path in order["paths"]]
    report, before = Report(), peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mutant" + Path(order["paths"][0]).suffix)
        for number in range(order["first"], order["first"] + order["count"]):
            if number % 1000 == 0:
                print("mutant", number, flush=True)
            which, content = mutant(bases, number)
            Path(path).write_bytes(content)
            _read_one(read, path, f"mutant {number}", expected[which], order["refusals"], report)
    report.peak = peak_memory() - before
    if report.peak > MEMORY:
        report.faults.append(f"the mutants took {report.peak:,} bytes")
    return report


def _read_one(read, path, name, expected, refusals, report):
    start = time.process_time()
    try:
        value = read(path)
    except Exception as error:
        report.refused += 1
        if type(error).__name__ not in refusals or "\n" in str(error) or len(str(error)) > 600:
            report.faults.append(f"{name}: {type(error).__name__}: {error!s:.300}")
    else:
        report.read += 1
        report.changed += repr(value) != expected
    seconds = time.process_time() - start
    report.slowest = max(report.slowest, seconds)
    if seconds > SECONDS:
        report.faults.append(f"{name}: {seconds:.1f} s")
    del report.faults[FAULTS_SHOWN:]


if __name__ == "__main__":
    print(json.dumps(asdict(_run(json.load(sys.stdin)))))
