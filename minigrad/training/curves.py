"""Loss and accuracy by epoch, as a picture: SVG for a page, PNG for a mail.

Two panels of one size stand side by side, training and validation in two colours that are
told apart without colour vision as well.  Both pictures are drawn from one list of shapes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from minigrad.errors import MissingExtra
from minigrad.training.run import EpochRecord

__all__ = ["curves_png", "curves_svg"]

WIDTH, HEIGHT, MARGIN = 380, 260, 46
COLORS = {"training": "#0072b2", "validation": "#d55e00"}  # Okabe and Ito's, 2008


class Line(NamedTuple):
    """A polyline in pixels."""

    points: tuple[tuple[float, float], ...]
    color: str
    width: float


class Text(NamedTuple):
    """Words at a point; ``anchor`` is "start", "middle" or "end"."""

    x: float
    y: float
    words: str
    color: str
    anchor: str


Shape = Line | Text


def curves_svg(history: Sequence[EpochRecord]) -> str:
    """The curves as the text of an SVG file.

    Parameters
    ----------
    history : sequence of EpochRecord

    Returns
    -------
    str
    """
    shapes = "\n".join(map(_svg, _shapes(history)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" '
        f'fill="white"/>\n{shapes}\n</svg>\n'
    )


def curves_png(history: Sequence[EpochRecord]) -> bytes:
    """The curves as the bytes of a PNG file.

    Parameters
    ----------
    history : sequence of EpochRecord

    Returns
    -------
    bytes

    Raises
    ------
    MissingExtra
        If Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtra("pillow", "images", "drawing a PNG") from None
    image = Image.new("RGB", (2 * WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    anchors = {"start": "ls", "middle": "ms", "end": "rs"}
    for shape in _shapes(history):
        if isinstance(shape, Line):
            draw.line(shape.points, shape.color, round(shape.width) or 1)
        else:
            draw.text((shape.x, shape.y), shape.words, shape.color, anchor=anchors[shape.anchor])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _shapes(history: Sequence[EpochRecord]) -> Iterator[Shape]:
    loss = {
        "training": [(r.epoch, r.loss) for r in history],
        "validation": [(r.epoch, r.val_loss) for r in history if r.val_loss is not None],
    }
    accuracy = {
        "training": [(r.epoch, 100 * r.accuracy) for r in history],
        "validation": [
            (r.epoch, 100 * r.val_accuracy) for r in history if r.val_accuracy is not None
        ],
    }
    yield from _panel(0, "loss", loss, 40)
    yield from _panel(WIDTH, "accuracy, %", accuracy, HEIGHT - MARGIN - 28)


def _panel(
    left: float, title: str, curves: dict[str, list[tuple[int, float]]], legend: float
) -> Iterator[Shape]:
    points = [p for curve in curves.values() for p in curve if math.isfinite(p[1])]
    xs, ys = [x for x, _ in points] or [1], [y for _, y in points] or [0.0]
    x0, x1 = min(xs), max(max(xs), min(xs) + 1)
    ticks = list(_ticks(min(ys), max(ys)))
    y0, y1 = ticks[0], ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x0) / (x1 - x0) * (WIDTH - 1.5 * MARGIN)
        up = (y - y0) / (y1 - y0) * (HEIGHT - 2 * MARGIN)
        return left + MARGIN + across, HEIGHT - MARGIN - up

    yield Text(left + WIDTH / 2, 20, title, "#000000", "middle")
    for tick in ticks:
        yield Line((place(x0, tick), place(x1, tick)), "#dddddd", 1)
        yield Text(left + MARGIN - 6, place(x0, tick)[1] + 4, f"{tick:g}", "#444444", "end")
    for x in sorted({x0, x1}):
        yield Text(place(x, y0)[0], HEIGHT - MARGIN + 18, f"{x:g}", "#444444", "middle")
    yield Text(left + WIDTH / 2, HEIGHT - 8, "epoch", "#444444", "middle")
    for k, (name, curve) in enumerate(curves.items()):
        finite = [place(*p) for p in curve if math.isfinite(p[1])]
        if len(finite) == 1:  # one epoch has no line yet
            ((right, up),) = finite
            finite = [(right - 3, up), (right + 3, up)]
        if finite:
            yield Line(tuple(finite), COLORS[name], 2)
            yield Text(left + WIDTH - 24, legend + 16 * k, name, COLORS[name], "end")


def _ticks(low: float, high: float) -> Iterator[float]:
    """Round numbers from at or below ``low`` to at or above ``high``, four to eight of them."""
    span = max(high - low, 1e-6 * max(abs(high), 1.0))
    step = 10.0 ** math.floor(math.log10(span / 4))
    while span / step > 6:
        step *= 2.0 if span / step < 12 else 5.0
    first, last = math.floor(low / step), math.ceil(high / step)
    return (k * step for k in range(first, max(last, first + 1) + 1))


def _svg(shape: Shape) -> str:
    if isinstance(shape, Text):
        return (
            f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" fill="{shape.color}" '
            f'text-anchor="{shape.anchor}">{escape(shape.words)}</text>'
        )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    return (
        f'<polyline points="{points}" fill="none" stroke="{shape.color}" '
        f'stroke-width="{shape.width:g}"/>'
    )
