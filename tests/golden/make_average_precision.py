"""Writes average_precision.json.gz: random cases, and what pycocotools says of them.

Needs an environment of its own: pip install pycocotools==2.0.11 numpy==2.4.6

A case is a list of images; an image has objects (left, top, width, height, class, crowd, area) and
detections (left, top, width, height, class, score).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def case(seed: int) -> list[dict]:
    """Objects of all sizes, some crowds; detections near them, elsewhere, and with equal scores."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(int(rng.integers(1, 9))):
        objects, found = [], []
        for _ in range(int(rng.integers(0, 9))):
            w, h = (float(v) for v in np.round(np.exp(rng.uniform(1, 5.5, 2)), 1))
            x, y = (float(v) for v in np.round(rng.uniform(0, 300, 2), 1))
            k = int(rng.integers(1, 4))
            area = round(w * h * rng.uniform(0.4, 1), 1)
            objects.append([x, y, w, h, k, int(rng.random() < 0.15), area])
            for _ in range(int(rng.integers(0, 4))):
                moved = np.array([x, y, w, h]) + rng.normal(0, 0.12, 4) * [w, h, w, h]
                box = [float(v) for v in np.round(np.maximum(moved, 0.5), 1)]
                found.append([*box, k, round(float(rng.random()), 1)])
        for _ in range(int(rng.integers(0, 4))):
            box = [float(v) for v in np.round(rng.uniform(1, 200, 4), 1)]
            found.append([*box, int(rng.integers(1, 5)), round(float(rng.random()), 2)])
        images.append({"objects": objects, "detections": found})
    return images


def judged(images: list[dict]) -> list[float]:
    """The twelve numbers of COCO."""
    truth, found = [], []
    for n, image in enumerate(images, 1):
        for x, y, w, h, k, crowd, area in image["objects"]:
            truth.append({"id": len(truth) + 1, "image_id": n, "category_id": k,
                          "bbox": [x, y, w, h], "iscrowd": crowd, "area": area})  # fmt: skip
        for x, y, w, h, k, score in image["detections"]:
            found.append({"image_id": n, "category_id": k, "bbox": [x, y, w, h], "score": score})
    coco = COCO()
    coco.dataset = {"images": [{"id": n + 1} for n in range(len(images))], "annotations": truth,
                    "categories": [{"id": k} for k in range(1, 5)]}  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(v) for v in run.stats]


def main() -> None:
    cases = [case(seed) for seed in range(40)]
    cases = [c for c in cases if any(i["detections"] for i in c) and any(i["objects"] for i in c)]
    rows = [{"images": images, "stats": judged(images)} for images in cases]
    path = Path(__file__).with_name("average_precision.json.gz")
    text = json.dumps({"made_with": "pycocotools 2.0.11", "cases": rows}, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(path, path.stat().st_size, "bytes,", len(rows), "cases")


if __name__ == "__main__":
    main()
