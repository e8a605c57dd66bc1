"""A folder of photographs, classified: ``python -m benchmarks.photographs FOLDER``.

FOLDER is made by ``--make SOURCE``, from the photographs in SOURCE: JPEG and PNG files of 0.3, 2
and 12 megapixels, in turn.  Three whole processes take turns, from before they exist until
after they are gone:

    minigrad     minigrad classify FOLDER --json
    plain        a script with ONNX Runtime and Pillow: decode, prepare, run, one after another
    overlapped   the same script, decoding in a pool of threads ahead of the network

All use two threads, the same weights (EfficientNet-Lite0, exported by minigrad for ONNX Runtime)
and the same preparation; all must give the same answers.
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
from pathlib import Path

from minigrad.columns import Column, fit, width

__all__ = ["main"]

MODEL = "efficientnet_lite0"
SIZES = {"0.3": (640, 480), "2": (1632, 1224), "12": (4000, 3000)}  # by megapixels
THREADS = 2

PLAIN = """
import sys
from pathlib import Path
import numpy as np
import onnxruntime
from PIL import Image

def prepare(path):
    image = Image.open(path).convert("RGB")
    w, h = image.size
    c = int(224 / 256 * min(w, h))
    left, top = (w - c + 1) // 2, (h - c + 1) // 2
    square = image.crop((left, top, left + c, top + c)).resize((224, 224), Image.BICUBIC)
    x = (np.asarray(square, np.float32) - np.float32(127)) / np.float32(128)
    return x.transpose(2, 0, 1)[None]

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
files = sorted(Path(sys.argv[1]).iterdir())
"""
SCRIPTS = {
    "plain": PLAIN
    + """
for path in files:
    print(path.name, session.run(None, {name: prepare(path)})[0].argmax())
""",
    "overlapped": PLAIN
    + """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    for path, x in zip(files, pool.map(prepare, files)):
        print(path.name, session.run(None, {name: x})[0].argmax())
""",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folder, or measure; 0, or 1 if the answers differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make", type=Path, metavar="SOURCE", help="write the folder, and stop")
    parser.add_argument("--count", type=int, default=1000, help="files to write (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each process (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    if args.make:
        make(args.make, args.folder, args.count)
        return 0
    count = len(list(args.folder.iterdir()))
    times, answers = measure(args.folder, args.runs)
    rows = [
        {"name": name, "seconds": statistics.median(t), "runs": t}
        for name, t in times.items()
    ]  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))
    print("\n".join(table(rows, count)))
    different = sum(len(set(each)) > 1 for each in zip(*answers.values(), strict=True))
    print(f"{different} of {count} answers differ")
    return int(different > 0)


def make(source: Path, folder: Path, count: int) -> None:
    """``count`` files from the photographs of ``source``: sizes and formats in turn."""
    from PIL import Image

    photographs = []
    for path in sorted(source.iterdir()):
        if path.suffix in (".jpg", ".png", ".bmp") and "mask" not in path.name:
            photographs.append(Image.open(path).convert("RGB"))
    folder.mkdir(parents=True)
    for i in range(count):
        image = photographs[i % len(photographs)]
        megapixels = list(SIZES)[i % 3]
        suffix = ("jpg", "png")[i // 3 % 2]
        shift = i // 6 % 32  # so that no two are the same picture
        w, h = image.size
        part = image.crop((shift, shift, w - shift, h))
        out = folder / f"{i:04}-{megapixels}.{suffix}"
        part.resize(SIZES[megapixels], Image.Resampling.BICUBIC).save(out, quality=90)


def measure(folder: Path, runs: int) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """(seconds of each run, the class of each photograph), by process; the first is untimed."""
    with tempfile.TemporaryDirectory() as temporary:
        onnx = str(Path(temporary) / "lite0.onnx")
        here = [sys.executable, "-m", "minigrad"]
        subprocess.run([*here, "export", MODEL, onnx, "--weights", MODEL], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        commands = {
            "minigrad": [*here, "classify", str(folder), "--json", "--top", "1",
                         "--threads", str(THREADS)],
            **{name: [sys.executable, "-c", script, str(folder), onnx]
               for name, script in SCRIPTS.items()},
        }  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in commands}
        answers: dict[str, list[int]] = {}
        for _ in range(runs):
            for name, command in commands.items():
                start = time.perf_counter()
                done = subprocess.run(command, check=True, capture_output=True, text=True,
                                      env=os.environ)  # fmt: skip
                times[name].append(time.perf_counter() - start)
                answers[name] = list(_classes(name, done.stdout))
    return times, answers


def _classes(name: str, out: str) -> Iterator[int]:
    if name == "minigrad":
        yield from (row["top"][0]["index"] for row in json.loads(out))
    else:
        yield from (int(line.split()[1]) for line in out.splitlines())


def table(rows: Sequence[dict[str, object]], count: int) -> list[str]:
    """Seconds, images a second, and how many times the plain script's."""
    plain = next(float(str(r["seconds"])) for r in rows if r["name"] == "plain")
    seconds = [float(str(r["seconds"])) for r in rows]
    return fit(
        [
            Column("process", [str(r["name"]) for r in rows], right=False),
            Column("seconds", [f"{s:.2f}" for s in seconds]),
            Column("images/s", [f"{count / s:.0f}" for s in seconds]),
            Column("x plain", [f"{plain / s:.2f}" for s in seconds]),
        ],
        width(),
    )


if __name__ == "__main__":
    sys.exit(main())
