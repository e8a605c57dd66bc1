"""The plan of a file for other shapes than the one that it was saved for.

Another number of images is a matter of the graph (``schedule.with_batch``).  Another size is one
of the network: the file has what the network did at its own size, and some of that follows from
the size.  So a step must be of a kind that does not (``outline``), and a window have the pads
that it would have anyway: pads that are TensorFlow's SAME may be other ones at another size.
"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.arrays import Shape
from minigrad.engine.build import OpenPlan
from minigrad.engine.graph import Graph, Step
from minigrad.engine.outline import RULES
from minigrad.engine.plan import Plan
from minigrad.engine.saved import Saved
from minigrad.errors import ArgumentError, FormatError, ShapeError
from minigrad.geometry import same_padding

__all__ = ["for_any_shape"]


def for_any_shape(saved: Saved, name: str, threads: int | None) -> OpenPlan:
    """The plan of a file for whatever shape comes."""
    if saved.inputs:
        raise ArgumentError(f"{name} is the plan of several inputs, and has their shapes for good")
    return OpenPlan(SavedRecipe(saved, threads))


class SavedRecipe:
    """How the steps of a file become a plan for a shape."""

    def __init__(self, saved: Saved, threads: int | None) -> None:
        self.saved, self.threads = saved, threads
        self.name, self.layout = saved.name, saved.layout

    def plan(self, shape: Shape) -> Plan:
        """The plan for an input of this shape (N, C, H, W).

        Raises
        ------
        ShapeError
            If there is none, or the steps of the file may not be what the network does there.
        """
        own = self.saved.shape
        try:
            if len(shape) != len(own):
                raise FormatError(f"it has {len(shape)} axes")
            if shape[1:] != own[1:]:
                here = self.saved.recorded((*own[:1], *shape[1:]))
                _check_same(here, self.saved.recorded(own))
            return self.saved.plan(self.threads, shape)
        except FormatError as error:
            raise ShapeError(
                f"the plan of {self.name} was saved for {own} and cannot take {shape}: {error}"
            ) from None


def _check_same(here: Graph, own: Graph) -> None:
    """Refuse a size at which the network may have other steps than the file."""
    if list(here.steps) != list(own.steps):
        raise FormatError("it is recorded in other steps; compile the network for it")
    for step, known in zip(here.steps.values(), own.steps.values(), strict=True):
        if step.op not in RULES or step.op != known.op or not _is_free(step, known):
            raise FormatError(
                f"{step.layer or step.op} was saved for its size; compile the network for the other"
            )


def _is_free(step: Step, known: Step) -> bool:
    """Whether a step would be the same at both sizes."""
    if step.op == "reshape":
        return step.source.shape[1:] == known.source.shape[1:]
    if step.op == "conv2d":
        spec = step.params["spec"]
        kernel = step.filters.shape[2:]
        return _keeps_pads(step, known, kernel, spec.stride, spec.padding, spec.dilation)
    if step.op == "max_pool2d":
        kernel, stride, padding, dilation, _ = step.params["window"]
        return _keeps_pads(step, known, kernel, stride, padding, dilation)
    return True


def _keeps_pads(
    step: Step, known: Step, kernel: Sequence[int], stride: Sequence[int],
    padding: Sequence[tuple[int, int]], dilation: Sequence[int],
) -> bool:  # fmt: skip
    """Whether pads that may be SAME at the one size are so at the other, too."""
    for axis in (0, 1):
        window = kernel[axis], stride[axis], dilation[axis]
        then, now = (same_padding(s.source.shape[2 + axis], *window) for s in (known, step))
        if padding[axis] == then != now:
            return False
    return True
