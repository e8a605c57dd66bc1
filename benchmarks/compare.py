"""This commit against another, side by side: ``python -m benchmarks.compare OLD_COMMIT``.

Both are installed from git into folders of their own and run as two processes that take
turns, a slice of calls each, so that a drift of the machine's speed meets both.  A row is
the median of the old commit's calls over the median of the new one's: above 1 the new
commit is faster.  ``start`` has whole processes, which take turns as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks.compare_child import CASES
from benchmarks.timing import geometric_mean

__all__ = ["Row", "install", "main"]

CHILD = Path(__file__).with_name("compare_child.py")
START = {
    "import minigrad": "import minigrad",
    "MobileNetV2, first answer": """
import numpy as np, minigrad as mg
x = np.zeros((1, 3, 224, 224), np.float32)
mg.compile(mg.models.create("mobilenet_v2").eval(), x.shape)(x)
""",
}


class Row(NamedTuple):
    """One case: the medians of both sides in microseconds."""

    group: str
    name: str
    old_us: float
    new_us: float

    @property
    def ratio(self) -> float:
        """Above 1 where the new commit is faster."""
        return self.old_us / self.new_us


class Side:
    """The process of one commit."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD)],
            env=_environment(folder),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()

    def times(self, group: str, name: str, seconds: float) -> list[float]:
        """Microseconds of each call of a slice."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(BrokenPipeError):  # no answer comes then
            print(json.dumps([group, name, seconds]), file=stdin, flush=True)
        answer = stdout.readline()
        if not answer:
            raise SystemExit(f"{group}, {name}: the process of one commit ended")
        times: list[float] = json.loads(answer)
        return times


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}


def install(commit: str, folder: Path) -> Path:
    """The package as it is in ``commit``, built and installed below ``folder``."""
    source, target = folder / "source", folder / "installed"
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True)
    return target


def compare(old: Side, new: Side, group: str, name: str, slices: int, seconds: float) -> Row:
    """The medians of a case over slices that take turns, after one that is not counted."""
    old.times(group, name, seconds), new.times(group, name, seconds)
    olds: list[float] = []
    news: list[float] = []
    for turn in range(slices):
        first, second = (old, new) if turn % 2 else (new, old)
        for side in (first, second):
            (olds if side is old else news).extend(side.times(group, name, seconds))
    return Row(group, name, statistics.median(olds), statistics.median(news))


def _process_us(folder: Path, code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=_environment(folder), cwd=folder, check=True)
    return (time.perf_counter() - start) * 1e6


def starts(old: Path, new: Path, times: int) -> Iterator[Row]:
    """Whole processes, in turn, after one that is not counted."""
    for name, code in START.items():
        for folder in (old, new):
            _process_us(folder, code)
        pairs = [(_process_us(old, code), _process_us(new, code)) for _ in range(times)]
        yield Row("start", name, *map(statistics.median, zip(*pairs, strict=True)))


def rows(old: Path, new: Path, groups: Sequence[str], args: argparse.Namespace) -> Iterator[Row]:
    """A row for each case of the groups."""
    with ExitStack() as stack:
        sides = [stack.enter_context(Side(folder)) for folder in (old, new)]
        for group in groups:
            for name in CASES.get(group, ()):
                yield compare(sides[0], sides[1], group, name, args.slices, args.seconds)
    if "start" in groups:
        yield from starts(old, new, 4 * args.slices)


def report(found: Sequence[Row], out: IO[str]) -> None:
    """The rows, and the geometric mean of each group."""
    for row in found:
        print(
            f"{row.group:10} {row.name:32} {row.old_us:10.1f} {row.new_us:10.1f} {row.ratio:6.3f}",
            file=out,
        )
    for group in dict.fromkeys(row.group for row in found):
        ratios = [row.ratio for row in found if row.group == group]
        print(
            f"{group}: geometric mean {geometric_mean(ratios):.3f}, worst {min(ratios):.3f}",
            file=out,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Install both commits, time them in turn, print a row a case."""
    parser = argparse.ArgumentParser("python -m benchmarks.compare", description=__doc__)
    parser.add_argument("old", help="the commit to compare with")
    parser.add_argument("--new", default="HEAD", help="the commit that is compared (HEAD)")
    parser.add_argument(
        "--groups", default=",".join((*CASES, "start")), help="some of %(default)s, by commas"
    )
    parser.add_argument("--slices", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a turn (0.1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        old, new = (install(c, Path(work) / s) for c, s in ((args.old, "old"), (args.new, "new")))
        found = list(rows(old, new, args.groups.split(","), args))
    report(found, sys.stdout)
    if args.json:
        data = [{**row._asdict(), "ratio": row.ratio} for row in found]
        args.json.write_text(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
