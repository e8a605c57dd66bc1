"""A recorded network as an ONNX model, for other engines and for viewers.

Each step becomes the ONNX operator of the same meaning, with what was fused into it as
operators of their own, so that the engine that reads it may fuse as it likes:

    conv2d       [Mul gate] Conv [activation] [Add residual [activation]]
    silu(x)      Mul(x, Sigmoid(x))           relu6(x)    Clip(x, 0, 6)
    linear       Gemm with transB              mean of a map    GlobalAveragePool

The operator set is 17 (2022), which every engine of today reads, or 18 where it must be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.export_moves import MOVED
from minigrad.engine.fuse import FOLDS, rewrite
from minigrad.engine.graph import Constant, Graph, Ref, Step, Value
from minigrad.engine.schedule import with_batch
from minigrad.engine.trace import trace
from minigrad.errors import GraphError, MissingExtra
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["to_onnx"]

OPSET = 17
IR_VERSION = 8

# Activations that are one operator, with its attributes.
ACTIVATIONS: dict[str, tuple[str, dict[str, object]]] = {
    "relu": ("Relu", {}),
    "hardswish": ("HardSwish", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "exp": ("Exp", {}),
    "log": ("Log", {}),
    "sqrt": ("Sqrt", {}),
    "neg": ("Neg", {}),
}
BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}


def to_onnx(
    model: Callable[[Tensor], Any],
    shape: Sequence[int],
    *,
    dtype: npt.DTypeLike = np.float32,
    fold: bool = True,
    name: str = "",
    batch: int | str | None = None,
) -> Any:
    """The ONNX model of ``model`` for inputs of one shape.

    Parameters
    ----------
    model : Module or callable
        In evaluation mode.
    shape : (N, C, H, W)
    dtype : float32 or float64
    fold : bool
        Fold batch norms into the convolutions before them.
    name : str, optional
        Of the graph.
    batch : int or "free", optional
        How many images the file takes, whatever ``shape`` says; "free" for any number.

    Returns
    -------
    onnx.ModelProto, with the input "input" and the outputs "output" (or "output_0", ...).

    Raises
    ------
    MissingExtra
        If onnx is not installed.
    GraphError
        If the model cannot be recorded, or uses a primitive that has no ONNX operator here, or
        the batch shall be free and a step mixes its images.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingExtra("onnx", "onnx", "exporting a model") from None
    count = batch if isinstance(batch, int) else shape[0]
    graph, _ = rewrite(trace(model, (count, *shape[1:]), dtype), () if fold else FOLDS)
    if batch == "free" and with_batch(graph, graph.shape[0] + 1) is None:
        raise GraphError("the batch cannot be free: a step of the network mixes its images")
    written = _Writer(graph, batch == "free")
    return written.model(name or getattr(model, "name", "") or "minigrad")


class _Writer:
    """Collects the nodes and constants of one graph."""

    def __init__(self, graph: Graph, free: bool = False) -> None:
        self.graph, self.free, self.opset = graph, free, OPSET
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names: dict[int, str] = {0: "input"}
        self.bare: dict[int, str] = {}  # before the epilogue
        self.uses: dict[str, int] = {}

    def model(self, name: str) -> Any:
        from onnx import checker, helper, shape_inference

        for number, step in self.graph.steps.items():
            self.bare[number] = self.unused(f"{step.layer}/{step.op}".strip("/"))
            self.names[number] = self.step(step, self.bare[number])
        several = not self.graph.returns_one
        outputs = [
            (f"output_{k}" if several else "output", value)
            for k, value in enumerate(self.graph.outputs)
        ]
        for out, value in outputs:
            self.node("Identity", [self.names[value.number]], out)
        graph = helper.make_graph(
            self.nodes,
            name,
            [self.info("input", self.graph.input)],
            [self.info(out, value) for out, value in outputs],
            self.constants,
        )
        opset = helper.make_opsetid("", self.opset)
        made = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        made.producer_name = "minigrad"
        checker.check_model(made)
        return shape_inference.infer_shapes(made)  # a viewer shows the shape of every value

    def unused(self, name: str) -> str:
        """The name of a value and its node: its layer and operation, numbered if repeated."""
        count = self.uses[name] = self.uses.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def info(self, name: str, value: Value) -> Any:
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(name, kind, self.sizes(value, "N"))

    def sizes(self, value: Value, images: int | str) -> list[int | str]:
        """The shape, with ``images`` for the number of images where that is free."""
        return [images, *value.shape[1:]] if self.free else list(value.shape)

    def node(self, op: str, inputs: list[str], out: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def constant(self, array: object, dtype: Any = None) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        values = np.ascontiguousarray(array, dtype or self.graph.dtype)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def ref(self, ref: Ref) -> str:
        if ref is None:
            return ""
        if isinstance(ref, Constant):
            return self.constant(ref.array, ref.dtype)
        return self.names[ref.number]

    def step(self, step: Step, out: str) -> str:
        """Write one step and its epilogue; returns the name of its value."""
        inputs, epilogue = [self.ref(r) for r in step.inputs], step.epilogue
        if epilogue.gate:
            inputs[0] = self.node("Mul", [inputs[0], self.ref(epilogue.gate)], f"{out}_x")
        y = self.plain(step, inputs, out)
        suffix = "f"  # of an activation; "a" of one after the sum, which may be the same function
        for op, others in epilogue.after():
            named = [y, *map(self.ref, others)]
            if op == "add":
                y, suffix = self.node("Add", named, f"{out}_r"), "a"
            elif op == "prelu":
                prelu = step._replace(inputs=(None, *others))
                y = MOVED[op](self, prelu, named, f"{out}_{suffix}")
            else:
                y = self.activation(op, y, f"{out}_{suffix}")
        return y

    def activation(self, name: str, x: str, out: str) -> str:
        if name == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x], f"{out}_s")], out)
        if name == "relu6":
            return self.node("Clip", [x, self.constant(0), self.constant(6)], out)
        if name not in ACTIVATIONS:
            raise GraphError(f"{name} has no ONNX operator here")
        op, attributes = ACTIVATIONS[name]
        return self.node(op, [x], out, **attributes)

    def plain(self, step: Step, inputs: list[str], out: str) -> str:
        """The step without what was fused into it."""
        write = getattr(self, f"_{step.op}", None)
        if write is not None:
            named: str = write(step, inputs, out)
            return named
        if step.op in MOVED:
            return MOVED[step.op](self, step, inputs, out)
        if step.op in BINARY:
            return self.node(BINARY[step.op], inputs, out)
        return self.activation(step.op, inputs[0], out)

    def _conv2d(self, step: Step, inputs: list[str], out: str) -> str:
        spec = step.params["spec"]
        attributes = {
            "kernel_shape": list(step.filters.shape[2:]),
            "strides": list(spec.stride),
            "dilations": list(spec.dilation),
            "pads": _pads(spec.padding),
            "group": spec.groups,
        }
        return self.node("Conv", [i for i in inputs if i], out, **attributes)

    def _linear(self, step: Step, inputs: list[str], out: str) -> str:
        return self.node("Gemm", [i for i in inputs if i], out, transB=1)

    def _batch_norm_eval(self, step: Step, inputs: list[str], out: str) -> str:
        x, mean, var, gamma, beta = inputs
        return self.node("BatchNormalization", [x, gamma, beta, mean, var], out,
                         epsilon=step.params["eps"])  # fmt: skip

    def _global_avg_pool(self, step: Step, inputs: list[str], out: str) -> str:
        return self.node("GlobalAveragePool", inputs, out)

    def _max_pool2d(self, step: Step, inputs: list[str], out: str) -> str:
        window = step.params["window"]
        attributes = {"dilations": list(window.dilation), **_window(window)}
        return self.node("MaxPool", inputs, out, **attributes)

    def _avg_pool2d(self, step: Step, inputs: list[str], out: str) -> str:
        attributes = _window(step.params["window"])
        counts = int(step.params["count_include_pad"])
        return self.node("AveragePool", inputs, out, count_include_pad=counts, **attributes)

    def _reshape(self, step: Step, inputs: list[str], out: str) -> str:
        to = self.constant(self.sizes(step.output, 0), np.int64)  # 0 is the input's
        return self.node("Reshape", [inputs[0], to], out)

    def _transpose(self, step: Step, inputs: list[str], out: str) -> str:
        return self.node("Transpose", inputs, out, perm=list(step.params["axes"]))

    def _broadcast_to(self, step: Step, inputs: list[str], out: str) -> str:
        to = self.constant(self.sizes(step.output, 1), np.int64)
        return self.node("Expand", [inputs[0], to], out)

    def _softmax(self, step: Step, inputs: list[str], out: str) -> str:
        return self.node("Softmax", inputs, out, axis=-1)

    def _log_softmax(self, step: Step, inputs: list[str], out: str) -> str:
        return self.node("LogSoftmax", inputs, out, axis=-1)

    def _concat(self, step: Step, inputs: list[str], out: str) -> str:
        if self.free:
            inputs = [
                self.for_every_image(ref, f"{out}_{k}") if isinstance(ref, Constant) else name
                for k, (ref, name) in enumerate(zip(step.inputs, inputs, strict=True))
            ]
        return self.node("Concat", inputs, out, axis=step.params["axis"])

    def for_every_image(self, constant: Constant, out: str) -> str:
        """What is joined to one image, for as many images as come."""
        shape = self.node("Shape", ["input"], f"{out}_shape")
        places = [self.constant([k], np.int64) for k in (0, 1, 0)]
        images = self.node("Slice", [shape, *places], f"{out}_images")
        rest = self.constant(constant.shape[1:], np.int64)
        whole = self.node("Concat", [images, rest], f"{out}_sizes", axis=0)
        return self.node("Expand", [self.constant(constant.array[:1]), whole], out)


def _pads(padding: Sequence[Sequence[int]]) -> list[int]:
    """((top, bottom), (left, right)) as ONNX's top, left, bottom, right."""
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


def _window(window: Any) -> dict[str, object]:
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": _pads(window.padding),
        "ceil_mode": int(window.ceil_mode),
    }
