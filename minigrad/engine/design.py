"""All that is decided about a plan before a kernel is bound, as data.

From the recorded and rewritten steps follow: which of them are streamed as blocks, how a batch
goes through them, and where each value lies.
"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.engine.bind import has_kernel
from minigrad.engine.blocks import recognise, scratch_bytes
from minigrad.engine.graph import Graph, Note, needed
from minigrad.engine.schedule import Schedule, schedule, with_batch
from minigrad.errors import GraphError
from minigrad.records import NamedTuple

__all__ = ["Design", "classifier_input", "design"]


class Design(NamedTuple):
    """A plan without its kernels.

    Attributes
    ----------
    name : str
        Of the network.
    unfused : Graph
        The steps without blocks.
    graph : Graph
        The same steps, those of a streamed block as one.
    notes : sequence of Note
        What each rewrite did or did not do, and why.
    schedule : Schedule
        Which steps see one image of a batch at a time, and which several.
    """

    name: str
    unfused: Graph
    graph: Graph
    notes: Sequence[Note]
    schedule: Schedule

    @property
    def scratch_bytes(self) -> int:
        """Memory that each thread needs for the rows of streamed blocks."""
        return scratch_bytes(self.graph)

    @property
    def one_image(self) -> Graph:
        """The unfused steps for one image; for the batch, if its images cannot be parted."""
        return with_batch(self.unfused, 1) or self.unfused


def design(unfused: Graph, notes: Sequence[Note], name: str) -> Design:
    """Decide about steps that have been rewritten."""
    graph, blocks = _with_blocks(unfused)
    return Design(name, unfused, graph, [*notes, *blocks], schedule(graph, has_kernel))


CLASSIFIERS = ("linear", "conv2d")
BEHIND = ("reshape", "softmax", "log_softmax", "sigmoid")  # what may follow a classifier


def classifier_input(graph: Graph) -> Graph:
    """The steps up to what the last linear or pointwise step before the output reads.

    Raises
    ------
    GraphError
        If the network does not end in such a step, or it reads maps.
    """
    step = graph.maker(graph.outputs[0]) if len(graph.outputs) == 1 else None
    while step is not None and step.op in BEHIND:
        step = graph.maker(step.inputs[0])
    x = step.source if step is not None and step.op in CLASSIFIERS else None
    if x is None or x.shape[2:] not in ((), (1, 1)):
        raise GraphError("the network does not end in a classifier, so it has no features")
    return Graph(graph.input, needed(graph.steps, (x,)), (x,), True)


def _with_blocks(graph: Graph) -> tuple[Graph, list[Note]]:
    """The graph with whole blocks as steps, as they are chosen for one image."""
    one = with_batch(graph, 1) if graph.shape and graph.shape[0] > 1 else None
    if one is None:
        return recognise(graph)
    blocks, notes = recognise(one)
    whole = with_batch(blocks, graph.shape[0])
    assert whole is not None
    return whole, notes
