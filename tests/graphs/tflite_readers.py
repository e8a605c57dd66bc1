"""What the fuzzer and the measured processes run: makes a network of a TFLite file."""

from __future__ import annotations

from minigrad.graphs.imported import load_graph


def network(path):
    """The names and shapes of its state, and what goes in and out."""
    net = load_graph(path)
    shapes = {name: array.shape for name, array in net.state_dict().items()}
    return repr((shapes, net.inputs, net.outputs))
