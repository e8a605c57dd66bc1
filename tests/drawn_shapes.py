"""Pictures of shapes on noise, by a seed: discs, squares and triangles with boxes and masks.

They are drawn with NumPy alone, so that a seed gives the same picture everywhere.  A pixel belongs
to a shape if its centre lies inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import minigrad as mg
from minigrad.models.detection.matching import match
from minigrad.vision.agreement import Confusion

BATCH, RATE = 8, 0.01
KINDS = ("background", "disc", "square", "triangle")
RADII = (13.0, 22.0)  # pixels
BUNDLED = 9  # a seed
BLOB = 8  # pixels between the corners of the background's slow noise


class Scene(NamedTuple):
    """A picture (h, w, 3) of uint8, the class of each pixel (h, w), and of each shape its box
    (left, top, right, bottom) in pixels and its class."""

    picture: np.ndarray
    mask: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def scene(rng: np.random.Generator, height: int, width: int, most: int, radii: tuple) -> Scene:
    """One to ``most`` shapes that do not overlap, with radii between the two given, each standing
    on its base."""
    pixels = _background(rng, height, width)
    mask = np.zeros((height, width), np.uint8)
    boxes, labels = [], []
    for _ in range(int(rng.integers(1, most + 1))):
        for _ in range(20):  # places that are tried
            radius = rng.uniform(*radii)
            x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
            kind = int(rng.integers(1, len(KINDS)))
            inside = _inside(kind, (height, width), (x, y), radius)
            grown = _inside(1, (height, width), (x, y), radius + 1.5)
            if not mask[grown].any():
                break
        else:
            continue
        pixels[inside] = _colour(rng, pixels[inside].mean(0))
        mask[inside] = kind
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        labels.append(kind)
    pixels += rng.normal(0, 8, pixels.shape)
    picture = np.clip(pixels, 0, 255).astype(np.uint8)
    return Scene(picture, mask, np.array(boxes, float).reshape(-1, 4), np.array(labels, int))


def scenes(seed: int, count: int, size: int = 64) -> list[Scene]:
    """Square pictures of one to four shapes; each has a generator of its own."""
    return [scene(np.random.default_rng((seed, i)), size, size, 4, RADII) for i in range(count)]


def bundled() -> Scene:
    """The picture that comes with minigrad."""
    return scene(np.random.default_rng(BUNDLED), 160, 240, 16, RADII)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A colour, and noise that changes slowly: bilinear between random corners."""
    shape = (height // BLOB + 2, width // BLOB + 2, 3)
    corners = rng.uniform(70, 185, 3) + rng.normal(0, 12, shape)
    rows, columns = (np.arange(n) / BLOB for n in (height, width))
    i, j = rows.astype(int), columns.astype(int)
    v, u = (rows - i)[:, None, None], (columns - j)[None, :, None]
    above = corners[i][:, j] * (1 - u) + corners[i][:, j + 1] * u
    below = corners[i + 1][:, j] * (1 - u) + corners[i + 1][:, j + 1] * u
    return above * (1 - v) + below * v


def _colour(rng: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """A colour that stands out from what is behind it."""
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.abs(colour - behind).max() > 80:
            return colour


def _inside(kind: int, size: tuple, centre: tuple, radius: float) -> np.ndarray:
    """The pixels of a shape whose corners, or whose edge, lie on a circle."""
    x = np.arange(size[1])[None, :] + 0.5 - centre[0]
    y = np.arange(size[0])[:, None] + 0.5 - centre[1]
    if kind == 1:
        return x * x + y * y < radius * radius
    corners = {2: 4, 3: 3}[kind]
    turns = np.pi / 2 + 2 * np.pi * np.arange(corners) / corners
    edge = radius * np.cos(np.pi / corners)
    sides: list[Callable] = [x * np.cos(t) + y * np.sin(t) < edge for t in turns]
    return np.logical_and.reduce(np.broadcast_arrays(*sides))


def inputs(several: list[Scene]) -> np.ndarray:
    """(N, 3, H, W) of the pictures, on the scale -1..1."""
    pixels = np.stack([s.picture for s in several]).transpose(0, 3, 1, 2)
    return (pixels.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)


def masks(several: list[Scene]) -> np.ndarray:
    """(N, H, W) of the classes."""
    return np.stack([s.mask for s in several]).astype(np.int64)


def targets(model, several: list[Scene]) -> list:
    """What the anchors of a detector have to learn."""
    height, width = several[0].mask.shape
    anchors, size = model.anchors(height, width), np.array([width, height] * 2)
    return [match(s.boxes / size, s.labels, anchors) for s in several]


def learn_masks(model, epochs, pictures, fresh=False, told=lambda *said: None):
    """Train a segmenter."""
    learn(model, mg.cross_entropy, masks, epochs, pictures, fresh, told)


def learn_boxes(model, epochs, pictures, told=lambda *said: None):
    """Train a detector."""

    def loss(output, several):
        return mg.models.detection.ssd_loss(output, several, model.coder)

    learn(model, loss, lambda some: targets(model, some), epochs, pictures, False, told)


def learn(model, loss, goals, epochs, pictures, fresh, told):
    """Train with Adam on so many pictures, in each epoch other ones if ``fresh``."""
    optimizer = mg.optim.AdamW(model.train().parameters(), lr=RATE, weight_decay=1e-4)
    schedule = mg.optim.CosineAnnealingLR(optimizer, T_max=epochs * (pictures // BATCH))
    step = None
    for epoch in range(epochs):
        if fresh or not epoch:
            several = scenes(100 + epoch, pictures)
            x, y = inputs(several), goals(several)
        shape = (BATCH, *x.shape[1:])
        step = step or mg.compile_training(model, loss, optimizer, shape, threads=1)
        order, losses = np.random.default_rng(epoch).permutation(pictures), []
        for first in range(0, pictures - BATCH + 1, BATCH):
            some = order[first : first + BATCH]
            losses.append(step(x[some], [y[i] for i in some]))
            schedule.step()
        told(epoch + 1, np.mean(losses))


def mean_iou(model, several):
    """Of a segmenter in evaluation mode, for pictures of one size."""
    confusion = Confusion(len(KINDS))
    with mg.no_grad():
        for one in several:
            confusion.add(model(mg.Tensor(inputs([one]))).numpy()[0].argmax(0), one.mask)
    return confusion.agreement().mean_iou
