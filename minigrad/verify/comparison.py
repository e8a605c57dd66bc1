"""A run of a network elsewhere, compared with the network: which layer is wrong first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from minigrad.engine.graph import Graph
from minigrad.errors import FormatError, MinigradError
from minigrad.tensor import Array
from minigrad.verify.alignment import align
from minigrad.verify.files import read_npy
from minigrad.verify.networks import Layer, Network, first_order, layer_outputs
from minigrad.verify.onnx_runs import OnnxRun, parameter_fault

__all__ = ["Comparison", "compare_dump", "compare_onnx", "read_dump"]


@dataclass(frozen=True)
class Comparison:
    """What is said of a run.

    Attributes
    ----------
    layers : list of Layer
        In the order of the network.
    unknown : list of str
        Names of the run that the network has not.
    end_to_end : dict
        The error of the output and its first-order bound; {} if the run has no output.
    """

    layers: list[Layer]
    unknown: list[str] = field(default_factory=list)
    end_to_end: dict[str, object] = field(default_factory=dict)

    @property
    def first(self) -> Layer | None:
        """The first layer that is wrong."""
        return next((layer for layer in self.layers if layer.wrong), None)

    def __bool__(self) -> bool:
        return self.first is None


def read_dump(path: Path) -> dict[str, Array]:
    """The values of a run: an .npz file, or a folder of .npy files, by the names of layers.

    Raises
    ------
    FormatError
        If it is neither.
    """
    if path.is_dir():
        return {p.relative_to(path).with_suffix("").as_posix().replace("/", "."): read_npy(p)
                for p in sorted(path.rglob("*.npy"))}  # fmt: skip
    from minigrad.formats import load

    if path.suffix != ".npz":
        raise FormatError(f"{path.name!r} must be an .npz file or a folder of .npy files")
    return dict(load(path))


def compare_dump(graph: Graph, x: Array, dump: Mapping[str, Array]) -> Comparison:
    """Judge the values of a run by the names of the layers.

    Parameters
    ----------
    graph : Graph
        Recorded from the model, nothing folded.
    x : array
        The input of the run.
    dump : mapping of names to arrays

    Returns
    -------
    Comparison

    Raises
    ------
    MinigradError
        If no name is one of a layer.
    """
    outputs = layer_outputs(graph)
    outputs["output"] = graph.outputs[0].number
    values = {outputs[name]: np.asarray(a) for name, a in dump.items() if name in outputs}
    unknown = sorted(set(dump) - set(outputs))
    if not values:
        raise MinigradError(
            f"no name of the run is one of a layer: it has {', '.join(unknown[:3])}, "
            f"the network {', '.join(list(outputs)[:3])}"
        )
    layers = list(Network(graph, x).judge(values))
    return Comparison(layers, unknown, _end_to_end(graph, x, values.get(graph.outputs[0].number)))


def compare_onnx(graph: Graph, x: Array, run: OnnxRun) -> Comparison:
    """Judge a run of an ONNX file: its values, and its parameters.

    Parameters
    ----------
    graph : Graph
    x : array
    run : OnnxRun

    Returns
    -------
    Comparison
    """
    operators = align(graph, run)
    values = {n: run.values[o.output] for n, o in operators.items() if o.kind != "reshape"}
    values[graph.outputs[0].number] = run.output
    layers = []
    # ONNX Runtime computes the logistic function from tanh
    network = Network(graph, x, functions="absolute")
    for number, layer in zip(sorted(values), network.judge(values), strict=True):
        fault = layer.fault
        if not fault and number in operators:
            fault = parameter_fault(graph, number, operators[number])
        layers.append(replace(layer, fault=fault))
    return Comparison(layers, [], _end_to_end(graph, x, run.output))


def _end_to_end(graph: Graph, x: Array, y: Array | None) -> dict[str, object]:
    if y is None or y.shape != graph.outputs[0].shape:
        return {}
    return first_order(graph, x, y)
