"""Detection and segmentation against the peers: ``python -m benchmarks.dense --help``.

Whole networks without what is done to their outputs, untrained, at the size that each was published
with.  ``--told PHOTO`` measures what is done to the outputs instead (``dense_told``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import dense_told, whole
from benchmarks.recorded import Job, ordinary
from minigrad.models import detection, segmentation
from minigrad.models.dense import Dense

__all__ = ["FIGURES", "SIZES", "built", "main"]

SIZES = {
    "ssdlite320_mobilenet_v3_large": 320,
    "lraspp_mobilenet_v3_large": 520,
    "deeplabv3_mobilenet_v2": 513,
}
# The best peer's median over ours that is to be reached, by (threads, batch).
FIGURES = {name: {(1, 1): 1.2, (2, 1): 1.2} for name in SIZES}
PEERS = ("onnxruntime", "openvino", "litert")


def built(name: str) -> Dense[object]:
    """The network, with values of order one in every layer."""
    family = detection if name in detection.names() else segmentation
    model: Dense[object] = family.create(name, rng=0)
    ordinary(model, (2, 3, SIZES[name], SIZES[name]))
    return model


def make(name: str, batch: int) -> Job:
    """The work of the network."""
    return Job.make(name, built(name), (batch, 3, SIZES[name], SIZES[name]))


def main(argv: Sequence[str] | None = None) -> int:
    """See ``whole.main`` and ``dense_told.main``."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["--told"] and len(words) == 2:
        return dense_told.main(Path(words[1]))
    return whole.main(words, tuple(SIZES), make, FIGURES, "dense", PEERS)


if __name__ == "__main__":
    sys.exit(main())
