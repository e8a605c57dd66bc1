"""Packed filters of a plan file: their shape decides how many numbers they must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minigrad.arguments import LARGEST
from minigrad.arrays import FLOATS, Array
from minigrad.engine.packing import Order, PackedConstant, aligned
from minigrad.errors import FormatError, quote

__all__ = ["check_read_as_filters", "filters_of"]


def filters_of(name: str, array: Array, described: object, register: int) -> PackedConstant:
    """A tensor that holds filters in the order of the kernels."""
    match described:
        case [list(shape), int(groups)] if len(shape) in (2, 4):
            pass
        case _:
            raise FormatError(f"the plan does not say the shape of its filters {quote(name)}")
    if not all(type(n) is int and 0 < n <= LARGEST for n in (*shape, groups)) or shape[0] % groups:
        raise FormatError(f"the filters {quote(name)} cannot have the shape {quote(str(shape))}")
    if array.dtype not in FLOATS:
        raise FormatError(f"the filters {quote(name)} are of {array.dtype}, not of floats")
    order = Order.of(shape, groups, array.itemsize, register)
    if array.shape != (order.stored(array.itemsize),):
        raise FormatError(
            f"the filters {quote(name)} of shape {tuple(shape)} take "
            f"{order.stored(array.itemsize):,} numbers, and the file has {array.shape}"
        )
    return PackedConstant(tuple(shape), order, aligned(array))


def check_read_as_filters(packed: Mapping[str, object], steps: Sequence[object]) -> None:
    """Packed numbers are the filters of convolutions and linear maps, and nothing else."""
    for number, step in enumerate(steps, 1):
        match step:
            case [str(op), list(names), *rest]:
                filters = 1 if op in ("conv2d", "linear") else -1
                fused = [n for words in rest if isinstance(words, dict) for n in words.values()]
                read = [*(n for k, n in enumerate(names) if k != filters), *fused]
                others = {n for n in read if type(n) is str}
                if others & packed.keys():
                    raise FormatError(
                        f"step {number}, {quote(op)}, reads packed filters as other numbers"
                    )
