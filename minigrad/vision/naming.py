"""Every pixel of a photograph named.

With logits z (K, H, W) of the frame that the network saw, enlarged to the photograph's h x w
pixels (bilinear, half-pixel centres),

    label[i, j] = argmax_k z'[k, i, j],

the first of equal ones.  The enlarged logits of a large photograph would fill the memory, so
they are made a strip of rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.arguments import quoted
from minigrad.errors import ArgumentError, ShapeError
from minigrad.models.preparation import Framing
from minigrad.nn.module import AnyModule, Module
from minigrad.ops.resampling import resample
from minigrad.sampling import Resizing, Taps, resize_taps
from minigrad.tensor import Array, Tensor, no_grad
from minigrad.vision.frames import Frame, frame
from minigrad.vision.photos import MAX_PIXELS

if TYPE_CHECKING:
    from minigrad.vision.photos import Source

__all__ = ["Labels", "framing_of", "label_map", "outputs", "segment"]

Labels: TypeAlias = "npt.NDArray[np.uint8 | np.uint16]"
Network: TypeAlias = "AnyModule | Callable[[npt.NDArray[np.float32]], Array]"
STRIP = 1 << 22  # numbers that a strip of enlarged logits may have


def segment(
    model: Network,
    photo: Source,
    *,
    framing: Framing | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Labels:
    """The class of every pixel of a photograph.

    Parameters
    ----------
    model : Module or callable
        A network of ``minigrad.models.segmentation``, or whatever gives logits (1, K, H, W) of a
        batch (1, 3, H, W): a network of a file, a plan.  With K = 1 it gives the probability
        that a pixel belongs to the foreground, which is class 1.
    photo : path, bytes, file object, Pillow image or array
        See `minigrad.vision.preprocess`.
    framing : Framing, optional
        How the photograph becomes the batch; by default as the network has it.
    max_pixels : int
        A photograph of more is refused before it is decoded.

    Returns
    -------
    ndarray, (h, w)
        Of the photograph's size; uint8, or uint16 with more than 256 classes.

    Raises
    ------
    ArgumentError
        If ``framing`` is missing where the network has none, or the network is in training mode.
    ShapeError
        If the network gives anything else than logits for each place.
    FormatError, OSError, MissingExtra
        See `minigrad.vision.preprocess`.

    Examples
    --------
    >>> import minigrad as mg
    >>> model = mg.models.segmentation.create("lraspp_mobilenet_v3_large", rng=0).eval()
    >>> mg.vision.segment(model, np.zeros((40, 60, 3), np.uint8)).shape
    (40, 60)
    """
    seen = frame(photo, framing or framing_of(model), max_pixels=max_pixels)
    return label_map(outputs(model, seen.x)[0], seen)


def framing_of(model: Network) -> Framing:
    """The framing that a network has.

    Raises
    ------
    ArgumentError
        If it has none.
    """
    framing = getattr(model, "framing", None)
    if not isinstance(framing, Framing):
        raise ArgumentError(
            f"{type(model).__name__} does not say how photographs are framed: give framing=, such "
            "as minigrad.models.preparation.Framing(257, 'squash')"
        )
    return framing


def outputs(model: Network, x: npt.NDArray[np.float32]) -> list[Array]:
    """What a network gives for a batch, without recording anything.

    Raises
    ------
    ArgumentError
        If the network is in training mode, or no function.
    """
    if not callable(model):
        raise ArgumentError(f"a network must be a Module or a function, not {quoted(model)}")
    if isinstance(model, Module) and model.training:
        raise ArgumentError("the network is in training mode: call eval() first")
    with no_grad():
        made = model(Tensor(x)) if isinstance(model, Module) else model(x)
    several = made if isinstance(made, (list, tuple)) else [made]
    return [y.numpy() if isinstance(y, Tensor) else np.asarray(y) for y in several]


def label_map(logits: Array, seen: Frame) -> Labels:
    """The class of each pixel of the photograph, from the logits (1, K, H, W) of its frame.

    Raises
    ------
    ShapeError
        If the logits have another shape.
    """
    if logits.ndim != 4 or logits.shape[0] != 1 or 0 in logits.shape:
        raise ShapeError(f"expected logits (1, K, H, W) of one photograph, got {logits.shape}")
    height, width = logits.shape[2:]
    across = -(-width * seen.filled[0] // seen.x.shape[3])
    down = -(-height * seen.filled[1] // seen.x.shape[2])
    z = logits[:, :, :down, :across]
    if logits.shape[1] == 1:
        z = np.concatenate([np.full_like(z, 0.5), z], axis=1)
    labels = np.empty(seen.photo[::-1], np.uint8 if z.shape[1] <= 256 else np.uint16)
    for start, strip in _strips(z, seen.photo):
        labels[start : start + strip.shape[1]] = strip.argmax(axis=0)
    return labels


def _strips(z: Array, photo: tuple[int, int]) -> Iterator[tuple[int, Array]]:
    """(first row, the logits (K, rows, w) of a strip) from top to bottom."""
    w, h = photo
    how = Resizing("linear")
    rows, columns = (
        resize_taps(n, m, m / n, how)[0].written_out()
        for n, m in zip(z.shape[2:], (h, w), strict=True)
    )
    step = max(1, STRIP // (z.shape[1] * w))
    for start in range(0, h, step):
        pixels = rows.pixels[start : start + step]
        first, last = min(map(min, pixels)), max(map(max, pixels))
        moved = tuple(tuple(i - first for i in line) for line in pixels)
        part = Taps(last + 1 - first, moved, rows.weights[start : start + step])
        yield start, resample(Tensor(z[:, :, first : last + 1]), part, columns).numpy()[0]
