"""A network as a picture: one box a block, so that its shape is seen at a glance.

A box is as high as its map has rows and as wide as it has channels, both as square roots,
which leaves the large in sight and the small visible.  Its colour is the kind of block, dark
for a window larger than 3x3; a dot is squeeze and excitation; an arc is a shortcut, dashed
where it projects.  Below, each block's share of the MACs and of the parameters.  The picture
is SVG: plain text that every browser shows, with the numbers under the pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import groupby
from math import sqrt
from typing import Any, NamedTuple

from minigrad.models.costs import Layer, Summary, summary
from minigrad.models.network import Network
from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.module import Module

__all__ = ["svg"]

# kind: (name, colour, colour of windows larger than 3x3)
KINDS: dict[type, tuple[str, str, str]] = {
    InvertedResidual: ("inverted residual", "#5b8fc9", "#2f5f98"),
    FusedMBConv: ("fused inverted residual", "#e0934a", "#b0662a"),
    SqueezeNeXtBlock: ("SqueezeNeXt", "#4fa58f", "#4fa58f"),
}
OTHER, SE, INK, SOFT, RULE = "#a9b2bd", "#f5c04a", "#23303f", "#6d7a88", "#d5dbe2"
SHARES = (("MACs", "#8793a3", "macs"), ("parameters", "#b79bb8", "parameters"))
FONT = "'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
ENDS = ("stem", "pool", "head", "hidden", "classifier")
LEFT, RIGHT, GAP, LEAST = 104.0, 28.0, 7.0, 13.0
TALLEST, WIDEST = 168.0, 46.0  # the largest map, and 1280 channels
AXIS, LANE = 196.0, 66.0
BELOW = AXIS + TALLEST / 2


class Box(NamedTuple):
    """One part of the network, and where it is drawn."""

    name: str
    kind: type
    channels: int
    size: int
    kernel: int
    macs: int
    parameters: int
    gated: bool
    shortcut: str | None
    left: float = 0.0
    largest: int = 1  # rows of the network's largest map

    @property
    def width(self) -> float:
        """As the square root of the channels."""
        return max(3.0, WIDEST * sqrt(self.channels / 1280))

    @property
    def height(self) -> float:
        """As the square root of the rows."""
        return TALLEST * sqrt(self.size / self.largest)

    @property
    def slot(self) -> float:
        """The width it takes, its gap included."""
        return max(self.width, LEAST) + GAP

    @property
    def middle(self) -> float:
        """The centre of its slot."""
        return self.left + self.slot / 2


def svg(model: Network, input_shape: Sequence[int] = (1, 3, 224, 224)) -> str:
    """The picture of ``model`` for images of ``input_shape``.

    Parameters
    ----------
    model : Network
    input_shape : (N, C, H, W)

    Returns
    -------
    str
        The text of an SVG file.

    Raises
    ------
    ShapeError
        If the shape is not that of images, or too small for the network.

    Examples
    --------
    >>> import minigrad as mg
    >>> svg(mg.models.create("mobilenet_v2")).startswith("<svg")
    True
    """
    found = summary(model, input_shape)
    boxes = _placed(list(_boxes(model, found)))
    width = max(boxes[-1].left + boxes[-1].slot + RIGHT, 700.0)
    height = BELOW + 62 + 2 * LANE + 58
    parts = [
        *_title(found),
        *(line for box in boxes for line in _block(box, found)),
        *_runs(boxes, lambda b: (b.size, b.channels), lambda b: str(b.channels), BELOW + 16),
        *_runs(boxes, lambda b: b.size, lambda b: f"{b.size}²", BELOW + 40),
        *_caption(BELOW + 16, "channels"),
        *_caption(BELOW + 40, "map"),
        *_shares(boxes, found),
        *_legend(boxes, height - 22),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="{FONT}" fill="{INK}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _boxes(model: Network, found: Summary) -> Iterator[Box]:
    """stem, pool, every block, head, hidden, classifier: those that the network has."""
    for name, part in model.named_children():
        if name == "blocks":
            for inner, block in part.named_modules("blocks"):
                if type(block) in KINDS:
                    yield _box(inner, block, found.layers)
        elif name in ENDS and any(x.name.split(".")[0] == name for x in found.layers):
            yield _box(name, part, found.layers)


def _box(name: str, part: Module, layers: Sequence[Layer]) -> Box:
    own = [layer for layer in layers if f"{layer.name}.".startswith(f"{name}.")]
    shape = own[-1].output_shape
    return Box(
        name,
        type(part),
        shape[1],
        shape[2] if len(shape) == 4 else 1,
        max((max(layer.kernel) for layer in own if layer.kernel), default=1),
        sum(layer.macs for layer in own),
        sum(layer.parameters for layer in own),
        getattr(part, "se", None) is not None,
        _shortcut(part),
    )


def _shortcut(part: Any) -> str | None:
    """ "identity" or "projection", if there is one."""
    if isinstance(part, SqueezeNeXtBlock):
        return "identity" if part.shortcut is None else "projection"
    return "identity" if getattr(part, "residual", False) else None


def _placed(boxes: Sequence[Box]) -> list[Box]:
    """The boxes side by side."""
    placed: list[Box] = []
    left, largest = LEFT, max(box.size for box in boxes)
    for box in boxes:
        placed.append(box._replace(left=left, largest=largest))
        left += box.slot
    return placed


def _title(found: Summary) -> Iterator[str]:
    size = " × ".join(map(str, found.input_shape[1:]))
    yield _text(28, 38, found.name or "network", 20, weight=600)
    yield _text(
        28, 60, f"{found.parameters:,} parameters, {found.macs:,} MACs for {size}", 12, SOFT
    )


def _block(box: Box, found: Summary) -> Iterator[str]:
    """The box with its dot and its arc; the numbers are its title."""
    x, top = box.middle - box.width / 2, AXIS - box.height / 2
    _, light, dark = KINDS.get(box.kind, ("", OTHER, OTHER))
    about = f"{box.name}: {box.channels} × {box.size} × {box.size}, {box.kernel}x{box.kernel}"
    costs = ", ".join(
        f"{value:,} {what} ({value / max(total, 1):.1%})"
        for value, what, total in (
            (box.macs, "MACs", found.macs),
            (box.parameters, "parameters", found.parameters),
        )
    )
    yield f"<g><title>{escape(about)}; {costs}</title>"
    yield _rect(x, top, box.width, box.height, dark if box.kernel > 3 else light, 2)
    if box.gated:
        radius = min(3.2, box.width / 2)
        yield f'<circle cx="{box.middle:.1f}" cy="{AXIS:.1f}" r="{radius:.1f}" fill="{SE}"/>'
    if box.shortcut:
        yield _arc(box, top - 5)
    yield "</g>"


def _arc(box: Box, y: float) -> str:
    dashed = ' stroke-dasharray="3 2.5"' if box.shortcut == "projection" else ""
    start, end = box.left + 1.5, box.left + box.slot - 1.5
    return (
        f'<path d="M{start:.1f} {y:.1f} C{start:.1f} {y - 17:.1f} {end:.1f} {y - 17:.1f} '
        f'{end:.1f} {y:.1f}" fill="none" stroke="{INK}" stroke-width="1.3" '
        f'stroke-linecap="round"{dashed}/>'
    )


def _runs(
    boxes: Sequence[Box], key: Callable[[Box], Any], label: Callable[[Box], str], y: float
) -> Iterator[str]:
    """A rule below each run of boxes that are alike, with what they share in its middle."""
    for _, run in groupby(boxes, key):
        alike = list(run)
        start, end = alike[0].left + 2, alike[-1].left + alike[-1].slot - 2
        yield (
            f'<line x1="{start:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}" '
            f'stroke="{RULE}" stroke-width="2"/>'
        )
        yield _text((start + end) / 2, y + 13, label(alike[0]), 9.5, anchor="middle")


def _caption(y: float, text: str) -> Iterator[str]:
    yield _text(LEFT - 14, y + 13, text, 10.5, SOFT, "end")


def _shares(boxes: Sequence[Box], found: Summary) -> Iterator[str]:
    """For MACs and for parameters: a bar a block, and what the highest stands for."""
    end = boxes[-1].left + boxes[-1].slot
    for lane, (what, colour, field) in enumerate(SHARES):
        base = BELOW + 62 + (lane + 1) * LANE
        values = [getattr(box, field) for box in boxes]
        most = max(values)
        yield (
            f'<line x1="{LEFT:.1f}" y1="{base:.1f}" x2="{end:.1f}" y2="{base:.1f}" '
            f'stroke="{RULE}"/>'
        )
        yield from _caption(base - 15, what)
        for box, value in zip(boxes, values, strict=True):
            high = (LANE - 22) * value / max(most, 1)
            wide = box.slot - GAP
            yield _rect(box.middle - wide / 2, base - high, wide, high, colour, 1)
        highest = boxes[values.index(most)]
        share = most / max(getattr(found, field), 1)
        yield _text(highest.middle, base - LANE + 18, f"{share:.0%}", 9.5, SOFT, "middle")


def _legend(boxes: Sequence[Box], y: float) -> Iterator[str]:
    x = 28.0
    for mark, words in _marks(boxes):
        words_drawn = _text(19, 0, words, 10.5, SOFT)
        yield f'<g transform="translate({x:.1f} {y:.1f})">{mark}{words_drawn}</g>'
        x += 38 + 5.9 * len(words)


def _marks(boxes: Sequence[Box]) -> Iterator[tuple[str, str]]:
    """What the picture uses, and no more."""
    for kind, (name, light, dark) in KINDS.items():
        kernels = {box.kernel > 3 for box in boxes if box.kind is kind}
        for large in sorted(kernels):
            window = " 5x5" if large else " 3x3"
            yield (
                _rect(0, -9, 11, 11, dark if large else light, 2),
                name + ("" if kind is SqueezeNeXtBlock else window),
            )
    yield _rect(0, -9, 11, 11, OTHER, 2), "other"
    if any(box.gated for box in boxes):
        yield f'<circle cx="6" cy="-3.5" r="3.6" fill="{SE}"/>', "squeeze and excitation"
    for how in ("identity", "projection"):
        if any(box.shortcut == how for box in boxes):
            dashed = ' stroke-dasharray="3 2.5"' if how == "projection" else ""
            line = (
                '<polyline points="0,1 0.3,-2.5 1.6,-5.2 3.6,-6.8 6,-7.4 8.4,-6.8 10.4,-5.2 '
                f'11.7,-2.5 12,1" fill="none" stroke="{INK}" stroke-width="1.3"{dashed}/>'
            )
            yield line, "shortcut" if how == "identity" else "projected"


def _rect(x: float, y: float, width: float, height: float, colour: str, round_: float) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{round_:g}" fill="{colour}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    size: float,
    colour: str = INK,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" '
        f'text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )
