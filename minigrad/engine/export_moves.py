"""How steps that move, resize, compare or cut numbers are written as ONNX operators."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from minigrad.engine.graph import Constant, Ref, Step
from minigrad.errors import GraphError
from minigrad.sampling import COORDINATES, MODES, ROUNDINGS, Resizing, Taps, resize_taps

__all__ = ["MOVED", "Writer"]

FLOAT, BOOL, DOUBLE = 1, 9, 11  # of ONNX's element types
RELATIONS = {"<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual",
             "==": "Equal"}  # fmt: skip
ROUNDED = {"nearest": "Round", "down": "Floor", "up": "Ceil", "sign": "Sign"}


class Writer(Protocol):
    """What writes nodes and constants."""

    opset: int

    def node(self, op: str, inputs: list[str], out: str, **attributes: Any) -> str:
        """Write a node, and give the name of what it makes."""

    def constant(self, array: object, dtype: Any = None) -> str:
        """The name of a constant."""


Write = Callable[[Writer, Step, list[str], str], str]


def _values(ref: Ref) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    if not isinstance(ref, Constant):
        raise GraphError("a computed slope has no ONNX operator here")
    return ref.array


def _axes(w: Writer, axes: Sequence[int]) -> str:
    return w.constant(axes, np.int64)


def _clamp(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    limits = [w.constant(step.params[name]) for name in ("low", "high")]
    return w.node("Clip", [inputs[0], *limits], out)


def _prelu(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    slope = _values(step.inputs[1]).reshape((-1,) + (1,) * (len(step.shape) - 2))
    return w.node("PRelu", [inputs[0], w.constant(slope)], out)


def _pad(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    pairs = step.params["pads"]
    pads = [p[k] for k in (0, 1) for p in pairs]
    value = w.constant(step.params["value"])
    return w.node("Pad", [inputs[0], w.constant(pads, np.int64), value], out)


def _getitem(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    index = step.params["index"]
    if any(i is None for i in index):
        raise GraphError("an index with a new axis has no ONNX operator here")
    shape = step.source.shape
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = index[:at] + (slice(None),) * (len(shape) - len(index) + 1) + index[at + 1 :]
    begins, ends, strides, axes, gone = [], [], [], [], []
    for axis, (part, n) in enumerate(zip(index, shape, strict=False)):
        if part == slice(None):
            continue
        if isinstance(part, slice):
            start, stop, stride = part.indices(n)
            stop = stop if stride > 0 or stop >= 0 else -n - 1
        else:
            start, stride = int(part) % n, 1
            stop = start + 1
            gone.append(axis)
        begins.append(start)
        ends.append(stop)
        strides.append(stride)
        axes.append(axis)
    if not axes:
        return w.node("Identity", [inputs[0]], out)
    words = [w.constant(v, np.int64) for v in (begins, ends, axes, strides)]
    y = w.node("Slice", [inputs[0], *words], f"{out}_s" if gone else out)
    return w.node("Squeeze", [y, _axes(w, gone)], out) if gone else y


def _interleave(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    """Maps of one size, woven squarely, are the channels of a DepthToSpace."""
    rows, columns = step.params["stride"]
    sizes = {ref.shape for ref in step.inputs if ref is not None}
    if rows != columns or len(sizes) > 1:
        raise GraphError("maps of unequal sizes that are woven have no ONNX operator here")
    joined = w.node("Concat", inputs, f"{out}_c", axis=1)
    return w.node("DepthToSpace", [joined], out, blocksize=rows, mode="DCR")


def _words(taps: Sequence[Taps]) -> Resizing | None:
    """How the axes were resized, if it was by words of Resize, all axes alike."""
    for mode, rule in itertools.product(MODES, COORDINATES[:-1]):
        for rounding in ROUNDINGS if mode == "nearest" else ("round_prefer_floor",):
            how = Resizing(mode, rule, rounding)
            if rule != "tf_half_pixel_for_nn" and all(
                t.is_identity or resize_taps(t.size, t.length, t.length / t.size, how)[0] == t
                for t in taps
            ):
                return how
    return None


def _resample(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    """Resize where its words say it, else products with the matrices of rows and columns."""
    taps = step.params["rows"], step.params["columns"]
    how = _words(taps)
    if how is not None:
        w.opset = max(w.opset, 18)
        sizes = w.constant([t.length for t in taps], np.int64)
        return w.node(
            "Resize", [inputs[0], "", "", sizes], out, axes=[2, 3], mode=how.mode,
            coordinate_transformation_mode=how.coordinates, nearest_mode=how.rounding,
        )  # fmt: skip
    rows, columns = map(_matrix, taps)
    y = w.node("MatMul", [inputs[0], w.constant(columns.T)], f"{out}_c")
    return w.node("MatMul", [w.constant(rows), y], out)


def _matrix(taps: Taps) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    made, taps = np.zeros((taps.length, taps.size)), taps.written_out()
    for row, pixels, weights in zip(made, taps.pixels, taps.weights, strict=True):
        np.add.at(row, list(pixels), weights)
    return made


def _reduced(op: str) -> Write:
    def write(w: Writer, step: Step, inputs: list[str], out: str) -> str:
        keep, axes = int(step.params["keepdims"]), list(step.params["axes"])
        if op == "ReduceMax":  # whose axes are an attribute in opset 17
            w.opset = max(w.opset, 18)
        return w.node(op, [inputs[0], _axes(w, axes)], out, keepdims=keep)

    return write


def _simple(op: str) -> Write:
    return lambda w, step, inputs, out: w.node(op, inputs, out)


def _power(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    return w.node("Pow", [inputs[0], w.constant(step.params["exponent"])], out)


def _rounded(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    how = step.params["how"]
    if how == "zero":
        size = w.node("Floor", [w.node("Abs", inputs, f"{out}_a")], f"{out}_d")
        return w.node("Mul", [size, w.node("Sign", inputs, f"{out}_g")], out)
    return w.node(ROUNDED[how], inputs, out)


def _compare(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    relation = step.params["relation"]
    truth = w.node(RELATIONS.get(relation, "Equal"), inputs, f"{out}_t")
    if relation == "!=":
        truth = w.node("Not", [truth], f"{out}_n")
    return w.node("Cast", [truth], out, to=_number(step))


def _choose(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    truth = w.node("Cast", [inputs[0]], f"{out}_t", to=BOOL)
    return w.node("Where", [truth, *inputs[1:]], out)


def _number(step: Step) -> int:
    return DOUBLE if step.output.dtype == np.float64 else FLOAT


def _places(w: Writer, step: Step, inputs: list[str], out: str) -> str:
    if step.params["k"] != 1:
        raise GraphError("places of several elements have no ONNX operator here")
    op, last = ("ArgMax" if step.params["largest"] else "ArgMin"), int(step.params["last"])
    axis = step.params["axis"]
    found = w.node(op, inputs, f"{out}_i", axis=axis, keepdims=1, select_last_index=last)
    return w.node("Cast", [found], out, to=_number(step))


MOVED: dict[str, Write] = {
    "absolute": _simple("Abs"),
    "choose": _choose,
    "clamp": _clamp,
    "clone": _simple("Identity"),
    "compare": _compare,
    "getitem": _getitem,
    "interleave": _interleave,
    "matmul": _simple("MatMul"),
    "max": _reduced("ReduceMax"),
    "maximum": _simple("Max"),
    "minimum": _simple("Min"),
    "pad": _pad,
    "places": _places,
    "pow": _simple("Pow"),
    "power": _power,
    "prelu": _prelu,
    "resample": _resample,
    "rounded": _rounded,
    "sum": _reduced("ReduceSum"),
}
