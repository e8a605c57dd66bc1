"""A network as a picture: one box a block, so that its shape is seen at a glance.

A box is as high as its output map (each halving one step down) and as wide as its channels
(logarithmically); an arc is a shortcut; the bars below are its share of the MACs and of the
parameters.  The picture is SVG: plain text that every browser shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import log2
from typing import NamedTuple

from minigrad.models.costs import Layer, Summary, summary
from minigrad.models.network import Network
from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.module import Module

__all__ = ["svg"]

COLOURS = {
    InvertedResidual: "#4c78a8",
    FusedMBConv: "#e07b39",
    SqueezeNeXtBlock: "#59a14f",
}
OTHER, MACS, PARAMETERS, INK = "#8a8a8a", "#b33a3a", "#7a5195", "#222222"
GAP, BASE, BAR, MARGIN = 10, 270, 64, 24


class Box(NamedTuple):
    """One part of the network, as it is drawn."""

    label: str
    note: str
    channels: int
    size: int
    macs: int
    parameters: int
    colour: str
    shortcut: bool

    @property
    def width(self) -> float:
        """Grows with the logarithm of the channels."""
        return 4 * log2(self.channels + 1)

    @property
    def height(self) -> float:
        """One step for each doubling of the map."""
        return 12 + 22 * log2(self.size)


def svg(model: Network, input_shape: Sequence[int] = (1, 3, 224, 224)) -> str:
    """The picture of ``model`` for images of ``input_shape``, as the text of an SVG file."""
    s = summary(model, input_shape)
    boxes = list(_boxes(model, s))
    places, x = [], float(MARGIN)
    for box in boxes:
        places.append(x)
        x += box.width + GAP
    width = max(x + MARGIN, 640)
    parts = [
        _text(MARGIN, 28, f"{s.name or 'network'}, {'x'.join(map(str, s.input_shape[1:]))}", 18)
    ]
    parts.append(_text(MARGIN, 48, f"{s.parameters:,} parameters, {s.macs:,} MACs", 12))
    for box, left in zip(boxes, places, strict=True):
        parts += [f"<g><title>{escape(_caption(box))}</title>", *_drawn(box, left)]
        parts += [*_bars(box, left, boxes), "</g>"]
    parts += _legend(boxes, s)
    height = BASE + 2 * BAR + 92
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" font-family="sans-serif" fill="{INK}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _boxes(model: Network, s: Summary) -> Iterator[Box]:
    """stem, pool, every block, head, hidden, classifier: those that the network has."""
    for name, part in model.named_children():
        if name == "blocks":
            for block_name, block in part.named_modules("blocks"):
                if type(block) in COLOURS:
                    yield _box(block_name.removeprefix("blocks."), block, block_name, s.layers)
        elif name in ("stem", "pool", "head", "hidden", "classifier"):
            yield _box(name, part, name, s.layers)


def _box(label: str, part: Module, name: str, layers: Sequence[Layer]) -> Box:
    own = [x for x in layers if x.name == name or x.name.startswith(name + ".")]
    shape = own[-1].output_shape
    return Box(
        label,
        _note(part),
        shape[1],
        shape[2] if len(shape) == 4 else 1,
        sum(x.macs for x in own),
        sum(x.parameters for x in own),
        COLOURS.get(type(part), OTHER),
        bool(getattr(part, "residual", isinstance(part, SqueezeNeXtBlock))),
    )


def _note(part: Module) -> str:
    """The kernels that look around, and SE where there is squeeze and excitation."""
    if isinstance(part, InvertedResidual):
        k = part.dw.conv.weight.shape[-1]
        return f"{k}x{k}" + (" SE" if part.se is not None else "")
    if isinstance(part, FusedMBConv):
        return "3x3"
    if isinstance(part, SqueezeNeXtBlock):
        units = (part.spatial1, part.spatial2)
        return " ".join("{}x{}".format(*unit.conv.weight.shape[2:]) for unit in units)
    return ""


def _caption(box: Box) -> str:
    words = f"{box.label}: {box.channels} channels, {box.size}x{box.size} {box.note}".strip()
    return f"{words}, {box.macs:,} MACs, {box.parameters:,} parameters"


def _bars(box: Box, left: float, boxes: Sequence[Box]) -> Iterator[str]:
    """The box's MACs and parameters against the largest of all boxes."""
    shares = [(box.macs, max(b.macs for b in boxes), MACS),
              (box.parameters, max(b.parameters for b in boxes), PARAMETERS)]  # fmt: skip
    for i, (part, most, colour) in enumerate(shares):
        length = (BAR - 16) * part / max(most, 1)
        yield _rect(left, BASE + 46 + (i + 1) * BAR - length, box.width, length, colour)


def _drawn(box: Box, left: float) -> list[str]:
    top, middle = BASE - box.height, left + box.width / 2
    parts = [_rect(left, top, box.width, box.height, box.colour)]
    if box.shortcut:
        parts.append(
            f'<path d="M{left - GAP / 2:.1f} {top - 4:.1f} q{box.width / 2 + GAP / 2:.1f} -22 '
            f'{box.width + GAP:.1f} 0" fill="none" stroke="{INK}" stroke-width="1.2"/>'
        )
    parts.append(
        f'<text transform="translate({middle + 3:.1f} {BASE - 6}) rotate(-90)" font-size="9" '
        f'fill="white">{escape(box.note)}</text>'
    )
    parts.append(
        f'<text transform="translate({middle + 3:.1f} {BASE + 8}) rotate(90)" '
        f'font-size="9">{box.channels}@{box.size}</text>'
    )
    return parts


def _legend(boxes: Sequence[Box], s: Summary) -> list[str]:
    y = BASE + 2 * BAR + 72
    names = {
        COLOURS[InvertedResidual]: "inverted residual",
        COLOURS[FusedMBConv]: "fused",
        COLOURS[SqueezeNeXtBlock]: "SqueezeNeXt",
    }
    used = {
        colour: name for colour, name in names.items() if any(b.colour == colour for b in boxes)
    }
    macs = max(b.macs for b in boxes) / max(s.macs, 1)
    parameters = max(b.parameters for b in boxes) / max(s.parameters, 1)
    used |= {MACS: f"MACs (the highest bar: {macs:.0%})"}
    used |= {PARAMETERS: f"parameters ({parameters:.0%})"}
    parts, x = [], float(MARGIN)
    for colour, name in used.items():
        parts += [_rect(x, y - 9, 10, 10, colour), _text(x + 15, y, name, 11)]
        x += 32 + 6.2 * len(name)
    return parts


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, size: int) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}">{escape(text)}</text>'
