"""Sound ONNX files whose networks ask for too much, or for what makes no sense."""

from __future__ import annotations

import numpy as np
from graph_files import attribute, graph, ints, node, onnx_file, tensor, value

HUGE, WIDE = 1 << 40, (1 << 31) - 1


def text(name, word):
    return attribute(name, 3, 4, word)


def integer(name, number):
    return attribute(name, 2, 3, int(number))


def network(nodes, constants=(), x=(1, 2, 4, 4), outputs=("y",)):
    tensors = [tensor(name, np.asarray(array)) for name, array in dict(constants).items()]
    return onnx_file(graph(nodes, tensors, [value("x", x)], [value(n, ()) for n in outputs]))


def one(operator, *attributes, inputs=("x",), **constants):
    return network([node(operator, [*inputs, *constants], ["y"], *attributes)], constants)


def sized(operator, *sizes, **words):
    """Resize to sizes."""
    attributes = [text(name, word) for name, word in words.items()]
    nodes = [node(operator, ["x", "", "", "to"], ["y"], *attributes)]
    return network(nodes, {"to": np.array(sizes)})


W = np.ones((2, 2, 2, 2), "f4")
DOUBLING = [node("Concat", [f"v{k}"] * 2, [f"v{k + 1}"], integer("axis", 1)) for k in range(60)]

HOSTILE = {
    "resized to 2^62 pixels": lambda: sized("Resize", 1, 2, HUGE, 1 << 22),
    "resized to a line of 2^27": lambda: sized("Resize", 1, 2, 1, 1 << 27),
    "resized linearly to 2^24": lambda: sized("Resize", 1, 2, 1, 1 << 24, mode="linear"),
    "resized to nothing": lambda: sized("Resize", 1, 2, 0, 4),
    "resized to fewer axes": lambda: sized("Resize", 4, 4),
    "resized by 10^30": lambda: one("Resize", inputs=("x", ""), by=np.full(4, 1e30, "f4")),
    "resized by NaN": lambda: one("Resize", inputs=("x", ""), by=np.full(4, np.nan, "f4")),
    "resized by less than nothing": lambda: one(
        "Resize", inputs=("x", ""), by=np.full(4, -1, "f4")),
    "tiled 2^40 times": lambda: one("Tile", n=np.array([1, 1, HUGE, 1])),
    "tiled less than no times": lambda: one("Tile", n=np.array([1, 1, -1, 1])),
    "expanded to 2^80": lambda: one("Expand", n=np.array([HUGE, 1, HUGE, 1, 1, 1])),
    "padded by 2^40": lambda: one("Pad", n=np.array([0, 0, 0, HUGE] * 2)),
    "reflected by 2^30": lambda: one(
        "Pad", text("mode", "reflect"), n=np.array([0, 0, 0, 1 << 30] * 2)),
    "wrapped by 2^22": lambda: one("Pad", text("mode", "wrap"), n=np.array([0, 0, 1 << 22, 0] * 2)),
    "cut to less than nothing": lambda: one("Pad", n=np.array([0, 0, -9, 0] * 2)),
    "doubled 60 times": lambda: network(
        [node("Identity", ["x"], ["v0"]), *DOUBLING], outputs=("v60",)),
    "a stride of 2^31 that is transposed": lambda: one(
        "ConvTranspose", ints("strides", WIDE, WIDE), w=W),
    "a stride of 2^20 that is transposed": lambda: one(
        "ConvTranspose", ints("strides", 1 << 20, 1), w=W),
    "an output shape of 2^40": lambda: one(
        "ConvTranspose", ints("output_shape", HUGE, HUGE), w=W),
    "more output than there is, by 2^40": lambda: one(
        "ConvTranspose", ints("output_padding", HUGE, 0), w=W),
    "a transposed convolution of nothing": lambda: one(
        "ConvTranspose", ints("pads", 9, 9, 9, 9), w=W),
    "a pool padded by 2^30": lambda: one(
        "MaxPool", ints("kernel_shape", 2, 2), ints("pads", *[1 << 30] * 4)),
    "a mean padded by 2^30, with gaps": lambda: one(
        "AveragePool", ints("kernel_shape", 2, 2), ints("pads", *[1 << 30] * 4),
        ints("dilations", 2, 2)),
    "a window of 2^31": lambda: one("AveragePool", ints("kernel_shape", WIDE, WIDE)),
    "a convolution padded by 2^31": lambda: one("Conv", ints("pads", *[WIDE] * 4), w=W),
    "blocks of 2^40": lambda: one("DepthToSpace", integer("blocksize", HUGE)),
    "blocks of nothing": lambda: one("SpaceToDepth", integer("blocksize", 0)),
    "more than there is at the top": lambda: one("TopK", k=np.array([HUGE])),
    "less than nothing at the top": lambda: one("TopK", k=np.array([-3])),
    "gathered beyond": lambda: one("Gather", at=np.array([HUGE])),
    "gathered 2^18 times": lambda: one(
        "Gather", integer("axis", 3), at=np.zeros(1 << 19, np.int64)),
    "a largest place on axis 99": lambda: one("ArgMax", integer("axis", 99)),
    "a scale for another axis": lambda: one(
        "QuantizeLinear", integer("axis", 7), s=np.ones(3, "f4"), z=np.zeros(3, "u1")),
    "split into 2^31 parts": lambda: one("Split", integer("num_outputs", WIDE)),
    "a range of 2^60": lambda: network(
        [node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"])],
        {"a": 0, "b": 1 << 60, "c": 1}),
    "a range of no steps": lambda: network(
        [node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"])],
        {"a": 0, "b": 5, "c": 0}),
    "a condition of another shape": lambda: network(
        [node("Where", ["k", "x", "x"], ["y"])], {"k": np.ones((5, 7), "?")}),
    "a slope for no channel": lambda: one("PRelu", s=np.ones((7, 1, 1), "f4")),
    "elements gathered by another shape": lambda: one("GatherElements", at=np.zeros((9, 9), int)),
    "cast to texts": lambda: one("Cast", integer("to", 8)),
}  # fmt: skip
