"""Writes minigrad/data/shapes.safetensors and shapes.png: a small network for segmentation.

    python tests/golden/make_shapes.py [--epochs 10]

It learns discs, squares and triangles on noise (``tests/drawn_shapes.py``), new ones in each epoch,
from a seed.  The weights are stored in half precision.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2]))
sys.path.append(str(Path(__file__).parents[1]))

from drawn_shapes import bundled, learn_masks, mean_iou, scenes
from PIL import Image

import minigrad as mg

NAME = "lraspp_inverted_residual_small"
DATA = Path(__file__).parents[2] / "minigrad" / "data"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    model = mg.models.segmentation.create(NAME, rng=0)
    learn_masks(model, epochs, pictures=640, fresh=True, told=print)
    model.eval()
    print("mIoU", mean_iou(model, scenes(1, 100, 64)))
    state = model.state_dict()
    half = {k: v.astype(np.float16) for k, v in state.items()}
    mg.formats.save(DATA / "shapes.safetensors", half, metadata=state.metadata)
    Image.fromarray(bundled().picture).save(DATA / "shapes.png", optimize=True)
    model = mg.models.segmentation.create(NAME, weights=DATA / "shapes.safetensors")
    print("mIoU of the bundled picture", mean_iou(model, [bundled()]))


if __name__ == "__main__":
    main()
