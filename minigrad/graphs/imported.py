"""A network of a file as a Module: the file's graph, run by minigrad's ops."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from minigrad.arguments import integers, one_of, quoted
from minigrad.engine.graph import Value as SymbolValue
from minigrad.engine.trace import Symbol
from minigrad.errors import (
    ArgumentError,
    DtypeError,
    FormatError,
    MinigradError,
    ShapeError,
    listing,
    shown,
)
from minigrad.formats.limits import Budget
from minigrad.formats.numbers import Array
from minigrad.formats.source import source
from minigrad.graphs.data import OnnxModel, QuantizedEnd, Value
from minigrad.graphs.mistaken import kind_of
from minigrad.graphs.onnx_choices import ALL_NUMBERS
from minigrad.graphs.onnx_file import read_onnx
from minigrad.graphs.onnx_folding import MAX_FOLDED
from minigrad.graphs.onnx_steps import Step, Steps, read_steps
from minigrad.graphs.tflite_file import read_tflite
from minigrad.graphs.tflite_steps import read_tflite_steps
from minigrad.nn import Buffer, Module, Parameter
from minigrad.nn.parameter import Stored
from minigrad.tensor import (
    FLOATS,
    Primitive,
    Shape,
    Tensor,
    expect_tensor,
    interpreting,
    no_grad,
    require_room,
    scope,
    tensor,
    under_scope,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ImportedGraph", "load_graph"]

Known: TypeAlias = "Tensor | Array"
Sizes: TypeAlias = "tuple[int | None, ...]"
LAYOUTS = ("NCHW", "NHWC")
LONGEST = 400  # characters of an error about one step
PREPARED = 64 << 20  # bytes that a TFLite file's constants may take beside those of the file,
INTEGERS = 9  # and for each byte of it: integers of 8 bits are carried in float64


class ImportedGraph(Module["Tensor | list[Tensor]"]):
    """The network of a file, in evaluation mode; ``load_graph`` makes it.

    Its parameters and buffers have the file's names.  Calling it runs the file's nodes one after
    another, each under its own name; what depends on shapes alone is computed for the shape of
    the input that comes.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    inputs, outputs : dict
        Name to the sizes that the file gives, None for one that is free.
    quantization : dict
        For those inputs and outputs of a TFLite file that are integers: their dtype, scale and
        zero point.  The integers come and go as floats of the same value.
    """

    def __init__(
        self,
        steps: Steps,
        inputs: Mapping[str, Sizes | None],
        outputs: Sequence[Value],
        quantization: Mapping[str, QuantizedEnd] | None = None,
    ) -> None:
        self.name = ""
        self.quantization = dict(quantization or {})
        self.inputs = dict(inputs)
        self.outputs = {value.name: _sizes(value) for value in outputs}
        self._steps = steps.steps
        self._stored: dict[str, Stored] = {
            name: Buffer(value) if name in steps.buffers else Parameter(value)
            for name, value in steps.constants.items()
            if name in steps.weights
        }
        self._known: dict[str, Known] = {
            name: value for name, value in steps.constants.items() if name not in steps.weights
        }
        self.eval()

    def _named_stored(self, prefix: str = "") -> Iterator[tuple[str, Stored]]:
        yield from ((prefix + name, value) for name, value in self._stored.items())

    def forward(self, *xs: Tensor) -> Tensor | list[Tensor]:
        """The outputs for one Tensor an input, in the file's order; a list if they are several."""
        if len(xs) != len(self.inputs):
            raise ArgumentError(f"the network takes {len(self.inputs)} inputs, got {len(xs)}")
        values: dict[str, Known] = {**self._known, **self._stored}
        for (name, sizes), x in zip(self.inputs.items(), xs, strict=True):
            values[name] = _fitting(name, sizes, expect_tensor("the network", shown(name, 60), x))
        folded = 0
        for step in self._steps:
            made = _run(step, values, xs[0])
            folded += 0 if step.computed else sum(np.size(y) for y in made)
            if folded > MAX_FOLDED:
                raise FormatError(f"the constants take more than {MAX_FOLDED:,} elements")
            values.update(zip(step.outputs, made, strict=False))
            for name in step.last:
                values.pop(name, None)
        several = [_tensor(values[name], xs[0].dtype) for name in self.outputs]
        return several[0] if len(several) == 1 else several

    def extra_repr(self) -> str:
        """The inputs, the outputs and the number of nodes."""
        inputs, outputs = (
            ", ".join(shown(name, 60) for name in names) for names in (self.inputs, self.outputs)
        )
        return f"{inputs} -> {outputs}, {len(self._steps):,} nodes"


def _run(step: Step, values: Mapping[str, Known], like: Tensor) -> Sequence[Known]:
    """What the step makes, a value for each output that it has a value for."""
    arguments = [_argument(step, i, values, like) for i in range(len(step.inputs))]
    with scope(step.label):
        try:
            made = step.function(*arguments)
        except MinigradError as error:
            raise under_scope(_cut(error)) from None
        except (ValueError, IndexError, TypeError) as error:
            if step.computed:
                raise
            raise under_scope(ShapeError(f"its constants do not fit: {error}")) from None
    if isinstance(made, list):
        return made
    assert isinstance(made, (Tensor, np.ndarray, np.generic))
    return [made if isinstance(made, Tensor) else np.asarray(made)]


def _cut(error: MinigradError) -> MinigradError:
    """An error in a sentence of bounded length: a file's shapes have as many axes as it likes."""
    text = str(error)
    return error if len(text) <= LONGEST else type(error)(shown(text, LONGEST))


def _argument(step: Step, i: int, values: Mapping[str, Known], like: Tensor) -> Known | None:
    """Input i as the step takes it: a Tensor, or an array that is known."""
    if not step.inputs[i]:
        return None
    value = values[step.inputs[i]]
    if i < step.computed:
        return _tensor(value, like.dtype)
    return value.array if isinstance(value, Stored) else value


def _tensor(value: Known, dtype: np.dtype[np.generic]) -> Tensor:
    return value if isinstance(value, Tensor) else tensor(value, dtype=dtype)


def _sizes(value: Value) -> Sizes | None:
    if value.shape is None:
        return None
    return tuple(n if isinstance(n, int) and n > 0 else None for n in value.shape)


def _fitting(name: str, sizes: Sizes | None, x: Tensor) -> Tensor:
    """x, if it has the sizes."""
    if sizes is not None and (
        x.ndim != len(sizes)
        or any(n is not None and n != m for n, m in zip(sizes, x.shape, strict=True))
    ):
        says = "x".join("?" if n is None else str(n) for n in sizes)
        raise ShapeError(
            f"the input {shown(name, 60)} is {says}, got {x.shape}; if the network takes other "
            "sizes than its file says, load_graph(path, shape=...) says so, None being a free size"
        )
    return x


def load_graph(
    path: str | os.PathLike[str], shape: Sequence[int | None] | None = None, layout: str = "NCHW"
) -> ImportedGraph:
    """Read the network of an ONNX or TFLite file as a Module in evaluation mode.

    The initialisers that computed values need are its parameters and buffers, under the file's
    names; ``state_dict``, ``to``, ``grad`` and ``mg.compile`` work as for other modules.

    A TFLite file has its maps as (N, H, W, C).  They come and go as (N, C, H, W), and its filters
    are turned once, when the file is read.  Its integers of 8 bits are computed as LiteRT's
    reference kernels compute them, and are floats of the same value outside; ``quantization``
    says what they stand for.

    Parameters
    ----------
    path : path
        The file; an ONNX file of opset 7 or newer.
    shape : sequence of int or None, optional
        The sizes of the input, None for one that is free, where the file says too much or too
        little.  Default: the file's.
    layout : {"NCHW", "NHWC"}
        "NHWC" if the maps of a TFLite file come and go as the file has them.

    Returns
    -------
    ImportedGraph

    Raises
    ------
    FormatError
        If the file is broken, or has nodes that are not read, all of which are named.
    ShapeError
        If the network does not fit an input of this shape.
    GraphError
        If its output does not depend on its input.
    ArgumentError
        If ``shape`` is no shape, the network has several inputs, or ``layout`` is none.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> import os, tempfile
    >>> import minigrad as mg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "relu.onnx")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(bytes.fromhex(
    ...             "3a290a0c0a0178120179220452656c755a140a0178120f0a"
    ...             "0d080112090a0312014e0a02080262030a017942021011"
    ...         ))
    ...     net = mg.load_graph(path)
    >>> net(mg.tensor([[1.0, -2.0]])).numpy()
    array([[1., 0.]], dtype=float32)
    """
    one_of("load_graph", "layout", layout, LAYOUTS)
    if _head(os.fspath(path))[4:8] == b"TFL3":
        return _load_tflite(path, shape, layout)
    return _load_onnx(path, shape, layout)


def _load_onnx(
    path: str | os.PathLike[str], shape: Sequence[int | None] | None, layout: str
) -> ImportedGraph:
    """The network of an ONNX file."""
    if layout != "NCHW":
        raise ArgumentError(
            "load_graph: an ONNX file says the layout of its input itself; leave layout out"
        )
    model = _read_onnx(path)
    try:
        inputs = _inputs(model.graph.inputs, shape)
        steps, dtype = read_steps(model), _dtype(model.graph.inputs)
        net = ImportedGraph(steps, inputs, model.graph.outputs).to(dtype)
        net.name = _title(path)
        if len(inputs) == 1 and not steps.by_values:
            _try(net, next(iter(inputs.values())), dtype)
    except FormatError as error:
        raise FormatError(f"{shown(os.fspath(path), 5000)}: {error}") from None
    return net


def _title(path: str | os.PathLike[str]) -> str:
    """The name of the file, without its ending."""
    return shown(os.path.splitext(os.path.basename(os.fspath(path)))[0], 60)


def _head(path: str) -> bytes:
    """The first bytes of the file."""
    try:
        with source(path) as file:
            return bytes(file.read(0, min(32, file.size)))
    except FormatError:
        return b""


def _read_onnx(path: str | os.PathLike[str]) -> OnnxModel:
    """The model of an ONNX file; of another file, what it is."""
    try:
        return read_onnx(path)
    except FormatError:
        kind = kind_of(_head(os.fspath(path)))
        if kind is None:
            raise
        raise FormatError(
            f"{shown(os.fspath(path), 5000)}: expected an ONNX or TFLite file, and this is {kind}"
        ) from None


def _load_tflite(
    path: str | os.PathLike[str], shape: Sequence[int | None] | None, layout: str
) -> ImportedGraph:
    model = read_tflite(path)
    room = Budget(PREPARED + INTEGERS * os.path.getsize(path))
    try:
        found = read_tflite_steps(model, layout, room)
        inputs = _inputs(found.inputs, shape)
        net = ImportedGraph(found.steps, inputs, found.outputs, found.quantization)
        net.name = _title(path)
        if len(inputs) == 1:
            sizes: Sizes | None = found.sizes[0] if shape is None else tuple(shape)
            _try(net, sizes, np.dtype(np.float32))
    except FormatError as error:
        raise FormatError(f"{shown(os.fspath(path), 5000)}: {error}") from None
    return net


def _inputs(values: Sequence[Value], shape: Sequence[int | None] | None) -> dict[str, Sizes | None]:
    if not values:
        raise FormatError("the graph has no input")
    for value in values:
        if value.dtype not in ALL_NUMBERS:
            raise FormatError(
                f"the input {shown(value.name, 60)} is {value.dtype or 'no tensor'}, "
                "and float32, float64, integers or truth values are read"
            )
    sizes = {value.name: _sizes(value) for value in values}
    if shape is None:
        return sizes
    if len(values) > 1:
        raise ArgumentError(
            f"load_graph: shape is for one input, and there are {len(values)}: {listing(sizes)}"
        )
    if not isinstance(shape, (tuple, list)):
        raise ArgumentError(f"load_graph: shape must be a tuple, not {quoted(shape)}")
    lengths = iter(integers("load_graph", "shape", [n for n in shape if n is not None]))
    given = tuple(None if n is None else next(lengths) for n in shape)
    if any(n is not None and n < 1 for n in given):
        raise ArgumentError(f"load_graph: sizes are at least 1, got {quoted(shape)}")
    return {values[0].name: given}


def _dtype(inputs: Sequence[Value]) -> np.dtype[np.generic]:
    """float64 if an input is, else float32."""
    return FLOATS[1] if any(value.dtype == "float64" for value in inputs) else FLOATS[0]


def _try(net: ImportedGraph, sizes: Sizes | None, dtype: np.dtype[np.generic]) -> None:
    """Run the shape rules, if the sizes are all known, so that misfits are told now.

    Weights are shapes too, so that a file cannot ask for memory by what it computes from them;
    single numbers stay, which may be limits or factors.
    """
    if sizes is None or None in sizes:
        return
    shapes = copy.copy(net)
    shapes.__dict__["_stored"] = {
        name: value if value.size == 1 else _symbol(value.shape, value.dtype)
        for name, value in net._stored.items()
    }
    with no_grad(), interpreting(_shape_of):
        shapes.forward(_symbol(tuple(n for n in sizes if n is not None), dtype))


def _symbol(shape: Shape, dtype: np.dtype[np.generic]) -> Symbol:
    return Symbol(SymbolValue(0, shape, dtype))


def _shape_of(op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, object]) -> Tensor:
    """What an operation makes, by its shape rule."""
    given = [x for x in inputs if x is not None]
    dtypes = sorted({str(x.dtype) for x in given})
    if len(dtypes) > 1:
        raise DtypeError(f"{op.name}: {' and '.join(dtypes)} do not go together")
    shape = op.shape_rule(*(None if x is None else x.shape for x in inputs), **params)
    dtype = np.dtype(str(params["target"])) if op.name == "astype" else given[0].dtype
    require_room(op.name, tuple(shape), dtype)
    return _symbol(tuple(shape), dtype)
