"""The table of a network's layers: a line for each operation and what follows it at once.

Where the page is narrow, the columns that matter least are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from minigrad.columns import Column, fit
from minigrad.models.layer import COUNTED, Layer
from minigrad.nn.activations import ACTIVATIONS
from minigrad.sizes import KiB, kibibytes

__all__ = ["cost_table", "times"]

FOLLOWERS = ("batch_norm_eval", "reshape", *ACTIVATIONS)
FIELDS = (
    "A position of a map sees `field` pixels of the image (0 at its edge: the padding counts); "
    "the next one lies `jump` pixels further, and the first one's middle is at `centre`. Two "
    "numbers are vertical x horizontal. The gate of squeeze and excitation sees everything and "
    "is left out."
)


def cost_table(title: str, layers: Sequence[Layer], parameters: int, limit: int) -> Iterator[str]:
    """The lines of the table of a network's layers, none longer than ``limit``."""
    yield title
    yield ""
    yield from fit(_columns(list(_units(layers))), limit)
    yield ""
    yield from _totals(layers, parameters)
    for line in (COUNTED[0].upper() + COUNTED[1:] + ".", FIELDS):
        yield from wrap(line, limit)


def _totals(layers: Sequence[Layer], parameters: int) -> Iterator[str]:
    largest = max((layer.activation_bytes for layer in layers), default=0)
    macs = sum(layer.macs for layer in layers)
    for value, what in (
        (parameters, "parameters"),
        (macs, "MACs"),
        (2 * macs, "FLOPs (2 x MACs)"),
        (round(largest / KiB), "KiB, the largest activation"),
    ):
        yield f"{value:15,}  {what}"
    yield ""


def _units(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Each operation with what is done to its result at once."""
    unit: list[Layer] = []
    for layer in layers:
        if layer.operation == "broadcast_to":
            continue
        if unit and layer.operation not in FOLLOWERS:
            yield unit
            unit = []
        unit.append(layer)
    if unit:
        yield unit


def _columns(units: Sequence[Sequence[Layer]]) -> list[Column]:
    firsts = [unit[0] for unit in units]
    rows = [_tracked(layer) for layer in firsts]
    return [
        Column("layer", [_name(layer) for layer in firsts], right=False),
        Column("output", [times(layer.output_shape[1:]) for layer in firsts], right=False),
        Column("kernel", [_window(layer) for layer in firsts], right=False),
        Column("params", [_number(sum(x.parameters for x in unit)) for unit in units]),
        Column("MACs", [_number(layer.macs) for layer in firsts]),
        Column("FLOPs", [_number(layer.flops) for layer in firsts], rank=5),
        Column("KiB", [kibibytes(layer.activation_bytes) for layer in firsts], rank=3),
        Column("field", [row[0] for row in rows], rank=1),
        Column("jump", [row[1] for row in rows], rank=2),
        Column("centre", [row[2] for row in rows], rank=4),
        Column("then", [_followers(unit) for unit in units], rank=6, right=False),
    ]


def _name(layer: Layer) -> str:
    """The layer; with what it does where that is neither a convolution nor linear."""
    operation = "mean" if layer.operation == "global_avg_pool" else layer.operation
    plain = operation in ("conv2d", "linear")
    return layer.name.removesuffix(".conv") if plain else f"{layer.name} {operation}".strip()


def _window(layer: Layer) -> str:
    """Kernel and stride: 3x3 /2."""
    if layer.kernel is None or layer.stride is None:
        return ""
    stride = layer.stride
    return f"{times(layer.kernel)} /{times(stride) if stride[0] != stride[1] else stride[0]}"


def _tracked(layer: Layer) -> tuple[str, str, str]:
    """Receptive field, jump and centre."""
    if layer.fields is None:
        return "", "", ""
    size, jump, centre = (
        [getattr(field, what) for field in layer.fields] for what in ("size", "jump", "centre")
    )
    return _one_or_two(size), _one_or_two(jump), _one_or_two(centre)


def _one_or_two(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if values[0] == values[1] else "x".join(f"{v:g}" for v in values)


def _followers(unit: Sequence[Layer]) -> str:
    names = (layer.operation.removesuffix("_eval") for layer in unit[1:])
    return " ".join(name for name in names if name != "reshape")


def times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _number(n: int) -> str:
    return f"{n:,}" if n else ""
