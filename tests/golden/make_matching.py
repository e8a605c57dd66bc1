"""Writes matching.json: which anchor learns which object, by torchvision and by effdet.

Needs an environment of its own, never minigrad's, with Python 3.11:

    pip install torch==2.14.1 torchvision==0.29.1 effdet==0.4.1
    python tests/golden/make_matching.py

Objects are small or doubled, so that several have one best anchor.  For each case, the objects'
and the anchors' corners in eighths, and of each anchor the object, or -1: torchvision's
``SSDMatcher`` and effdet's ``ArgMaxMatcher`` as its ``AnchorLabeler`` builds it.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torchvision
from effdet.object_detection import ArgMaxMatcher, BoxList, IouSimilarity
from torchvision.models.detection._utils import SSDMatcher

CASES = 12


def main() -> None:
    rng = np.random.default_rng(0)
    cases = [matched(*drawn(rng, count)) for count in range(1, CASES + 1)]
    note = {"torch": torch.__version__, "torchvision": torchvision.__version__,
            "effdet": version("effdet"), "script": "tests/golden/make_matching.py"}  # fmt: skip
    path = Path(__file__).with_name("matching.json")
    path.write_text(json.dumps({"made_with": note, "cases": cases}, separators=(",", ":")) + "\n")
    differ = sum(case["torchvision"] != case["effdet"] for case in cases)
    print(path, len(cases), "cases,", differ, "of which differ")


def drawn(rng, count):
    """So many objects, the last two of them equal, and anchors of two sizes."""
    low = rng.integers(0, 7, (count, 2))
    objects = np.concatenate([low, low + rng.integers(1, 4, (count, 2))], axis=1)
    objects[-1] = objects[max(0, count - 2)]
    anchors = [[x, y, x + s, y + s] for s in (2, 4) for y in range(0, 7, 2) for x in range(0, 7, 2)]
    return objects.tolist(), anchors


def matched(objects, anchors) -> dict:
    """One case, as JSON."""
    ours, theirs = (torch.tensor(v, dtype=torch.float32) for v in (objects, anchors))
    one = SSDMatcher(0.5)(torchvision.ops.box_iou(ours, theirs))
    matcher = ArgMaxMatcher(0.5, unmatched_threshold=0.5, negatives_lower_than_unmatched=True,
                            force_match_for_each_row=True)  # fmt: skip
    other = matcher.match(IouSimilarity().compare(BoxList(ours), BoxList(theirs))).match_results
    return {"objects": objects, "anchors": anchors,
            "torchvision": np.maximum(one.numpy(), -1).tolist(),
            "effdet": np.maximum(other.long().numpy(), -1).tolist()}  # fmt: skip


if __name__ == "__main__":
    main()
