"""A layer of a network as a row of figures: what `minigrad.models.summary` counts for each."""

from __future__ import annotations

from typing import NamedTuple

from minigrad.tensor import Shape

__all__ = ["COUNTED", "Field", "Fields", "Layer"]

COUNTED = (
    "parameters: trained ones only (BatchNorm's running statistics are not counted); "
    "MACs: multiply-adds of convolution and linear weights for one image; FLOPs = 2 MACs; "
    "bytes: of the layer's output for one image"
)


class Field(NamedTuple):
    """What position 0 of a map sees along an axis, and how far the next position is."""

    jump: int = 1
    first: int = 0
    last: int = 0

    @property
    def size(self) -> int:
        """The receptive field in input pixels."""
        return self.last - self.first + 1

    @property
    def centre(self) -> float:
        """The middle of what position 0 sees."""
        return (self.first + self.last) / 2

    def through(self, kernel: int, stride: int, dilation: int, before: int) -> Field:
        """The field behind a window."""
        reach = dilation * (kernel - 1)
        return Field(
            self.jump * stride,
            self.first - before * self.jump,
            self.last + (reach - before) * self.jump,
        )


Fields = tuple[Field, Field]  # of the rows, of the columns


class Layer(NamedTuple):
    """One recorded operation; receptive field, jump and centre are (vertical, horizontal)."""

    name: str
    operation: str
    output_shape: Shape
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    parameters: int
    macs: int
    activation_bytes: int
    fields: Fields | None

    @property
    def flops(self) -> int:
        """2 MACs."""
        return 2 * self.macs

    def as_dict(self) -> dict[str, object]:
        """The row as plain data."""
        fields = self.fields
        row = {k: v for k, v in self._asdict().items() if k != "fields"} | {"flops": self.flops}
        return row | {
            "receptive_field": [f.size for f in fields] if fields else None,
            "jump": [f.jump for f in fields] if fields else None,
            "centre": [f.centre for f in fields] if fields else None,
        }
