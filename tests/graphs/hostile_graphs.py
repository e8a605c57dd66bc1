"""Networks made to hurt, in both formats: what each does is its name."""

from __future__ import annotations

import struct

import numpy as np
from graph_files import (
    CONV_OPTIONS,
    Raw,
    attribute,
    flat_tensor,
    flatbuffer,
    graph,
    i32,
    ints,
    message,
    node,
    onnx_file,
    operator,
    sound_nodes,
    tensor,
    tflite_file,
    tflite_model,
    value,
    varint,
)

ONNX, TFLITE = onnx_file(), tflite_file()
HUGE = 1 << 62


def one_tensor(*arguments, **lies):
    return onnx_file(graph([], [tensor(*arguments, **lies)], [], []))


def external(*entries):
    pairs = [message((1, key), (2, text)) for key, text in entries]
    return onnx_file(graph([], [message((1, [4]), (2, 1), (8, "w"), (13, pairs), (14, 1))], [], []))


def nested(depth):
    """A graph in a node in a graph, and so on; made from the inside, in linear time."""
    inner = graph([], [], [], [])
    for _ in range(depth):
        inner = graph([node("If", [], [], attribute("then_branch", 5, 6, inner))], [], [], [])
    return onnx_file(inner)


def edges(count):
    """Nodes that each read all that was computed before, from one list of names."""
    names = [f"v{k}" for k in range(count)]
    nodes = [node("Sum", ["x", *names[:k]], [names[k]]) for k in range(count)]
    return onnx_file(graph(nodes, [], outputs=[value(names[-1])]))


def with_tensors(*tensors):
    return tflite_file(tensors=list(tensors))


def patched(content, at, raw):
    return content[:at] + raw + content[at + len(raw) :]


def shared_vector(count, length):
    """Operators that all point to one long list of inputs."""
    model = tflite_model(operators=[operator(0, (0, 1, 2), (3,))] * count,
                         tensors=[flat_tensor("x", (1,))] * 4, outputs=(3,))  # fmt: skip
    content = bytearray(flatbuffer(model))
    content += bytes(-len(content) % 4)
    target = len(content)
    content += struct.pack("<I", length) + i32(0).tobytes() * length
    needle = struct.pack("<I3i", 3, 0, 1, 2)
    at = content.find(needle)
    while at >= 0:
        point_to(content, at, target)
        at = content.find(needle, at + 1)
    return bytes(content)


def point_to(content, old, new):
    """Let what points to ``old`` point to ``new``."""
    for place in range(max(0, old - 200), old, 4):
        if place + struct.unpack_from("<I", content, place)[0] == old:
            content[place : place + 4] = struct.pack("<I", new - place)


def loop_of_tables():
    """A list of tables whose entries point to the list's own beginning."""
    content = bytearray(TFLITE)
    start = int.from_bytes(content[:4], "little")
    for place in range(start, len(content) - 4, 4):
        content[place : place + 4] = struct.pack("<i", -(place - start) - 4)
    return bytes(content)


HOSTILE = {
    # the wire
    "nothing": lambda: b"",
    "text": lambda: b"version https://git-lfs.github.com/spec/v1\n",
    "a model without a graph": lambda: message((1, 8)),
    "a graph that is a number": lambda: message((7, 5)),
    "a name that is a number": lambda: onnx_file(message((2, 5))),
    "an opset that is text": lambda: onnx_file(None, (8, message((2, "seventeen")))),
    "cut in half": lambda: ONNX[: len(ONNX) // 2],
    "without its last byte": lambda: ONNX[:-1],
    "a number of 11 bytes": lambda: b"\x08" + b"\xff" * 10 + b"\1",
    "a number without an end": lambda: b"\x08\xff",
    "a tag without an end": lambda: b"\xff" * 9,
    "field 0": lambda: b"\0\0",
    "a group": lambda: b"\x0b\x0c",
    "wire type 6": lambda: b"\x0e\0",
    "a length of 2^63": lambda: varint(7 << 3 | 2) + varint(1 << 63),
    "a length past the end": lambda: varint(7 << 3 | 2) + varint(100) + b"x",
    "a name that is not UTF-8": lambda: onnx_file(graph([message((4, b"\xff"))])),
    "packed numbers without an end": lambda: onnx_file(graph([node(
        "Conv", ["x"], ["out"], attribute("pads", 7, 8, b"\x01\xff"))])),
    "packed numbers of 20 bytes": lambda: onnx_file(graph([node(
        "Conv", ["x"], ["out"], attribute("pads", 7, 8, b"\xff" * 20 + b"\1"))])),
    "packed floats of 5 bytes": lambda: onnx_file(graph([node(
        "Conv", ["x"], ["out"], attribute("a", 6, 7, b"12345"))])),
    "300,000 empty nodes": lambda: onnx_file(message((1, [b""] * 300_000))),
    "3,000,000 bytes of small fields": lambda: b"\x08\1" * 1_500_000,
    "a million empty texts": lambda: onnx_file(graph([message((1, [b""] * 1_000_000))])),
    "a million wide names": lambda: onnx_file(graph([message(
        (1, ["\U0001f600"] * 500_000))])),
    "an attribute of 10 million integers": lambda: onnx_file(graph([node(
        "Conv", ["x"], ["out"], attribute("pads", 7, 8, b"\1" * 10_000_000))])),
    "an attribute of a million floats": lambda: onnx_file(graph([node(
        "Conv", ["x"], ["out"], attribute("a", 6, 7, bytes(4_000_000)))])),
    "30 million small integers for a tensor": lambda: one_tensor(
        "w", np.zeros(30_000_000, "u1"), (5, b"\0" * 30_000_000), raw=None, type=6),
    # tensors
    "a tensor of 10^12 numbers": lambda: one_tensor("w", np.ones(2, "f4"), dims=[10**6, 10**6]),
    "a tensor of 2^2000 numbers": lambda: one_tensor("w", np.ones(2, "f4"), dims=[HUGE] * 32),
    "a tensor of no numbers, but too many": lambda: one_tensor(
        "w", np.ones(0, "f4"), dims=[0, HUGE, HUGE]),
    "a tensor of a negative size": lambda: one_tensor("w", np.ones(2, "f4"), dims=[-2]),
    "a tensor of two negative sizes": lambda: one_tensor("w", np.ones(2, "f4"), dims=[-1, -2]),
    "a tensor of 33 axes": lambda: one_tensor("w", np.ones(1, "f4"), dims=[1] * 33),
    "a tensor of a million axes": lambda: one_tensor("w", np.ones(1, "f4"), dims=[1] * 200_000),
    "a tensor with a number too few": lambda: one_tensor("w", np.ones(2, "f4"), dims=[3]),
    "a tensor with half a number": lambda: one_tensor("w", np.ones(2, "f4"), raw=b"1234567"),
    "a tensor without numbers": lambda: one_tensor("w", np.ones(2, "f4"), raw=None),
    "a tensor with numbers in the wrong field": lambda: one_tensor(
        "w", np.ones(2, "f4"), (7, [1, 2]), raw=None),
    "bools that are neither": lambda: one_tensor("w", np.ones(2, "?"), raw=b"\2\3"),
    "a tensor over the budget": lambda: one_tensor("w", np.ones(2, "f4"), dims=[1 << 28]),
    "two tensors of one name": lambda: onnx_file(graph([], [tensor("w", np.ones(1))] * 2, [], [])),
    "an attribute of two tensors for one": lambda: onnx_file(graph([node(
        "Constant", [], ["out"], message((1, "value"), (20, 4), (5, [b"", b""])))])),
    "an attribute without its tensor": lambda: onnx_file(graph([node(
        "Constant", [], ["out"], message((1, "value"), (20, 4)))])),
    "external data elsewhere": lambda: external(("location", "/etc/passwd")),
    "external data above": lambda: external(("location", "../w.bin")),
    "external data without a place": lambda: external(("offset", "0")),
    "external data of the model itself, and more": lambda: external(
        ("location", "weights"), ("offset", "0"), ("length", str(HUGE))),
    "external data at a device": lambda: external(("location", "/dev/zero"), ("length", "16")),
    # graphs
    "a node that reads itself": lambda: onnx_file(graph([node("Relu", ["out"], ["out"])])),
    "nodes in a circle": lambda: onnx_file(graph(
        [node("Add", ["x", "b"], ["a"]), node("Add", ["x", "a"], ["b"])], [])),
    "nodes out of order": lambda: onnx_file(graph(sound_nodes()[::-1])),
    "a value computed twice": lambda: onnx_file(graph([node("Relu", ["x"], ["out"])] * 2)),
    "a constant that is computed": lambda: onnx_file(graph([node("Relu", ["x"], ["w"])])),
    "an output that nothing computes": lambda: onnx_file(graph([])),
    "an input twice": lambda: onnx_file(graph(inputs=[value("x"), value("x")])),
    "an attribute twice": lambda: onnx_file(graph([node(
        "Conv", ["x"], ["out"], ints("pads", 1), ints("pads", 2))])),
    "graphs 9 deep": lambda: nested(9),
    "graphs 400 deep": lambda: nested(400),
    "1,500 nodes that read all before them": lambda: edges(1_500),
    "a name of 20 MB": lambda: onnx_file(graph([node("x" * 20_000_000, ["q"], ["out"])])),
    "names with escapes": lambda: onnx_file(graph([node("\x1b[31m", ["\x07"], ["\x1b]0;"])])),
    "90,000 unknown names": lambda: onnx_file(graph([node(
        "Sum", [f"\x1b{k}" for k in range(90_000)], ["out"])])),
    # FlatBuffers
    "tflite of nothing": lambda: b"\0\0\0\0TFL3",
    "tflite cut in half": lambda: TFLITE[: len(TFLITE) // 2],
    "tflite cut in its first table": lambda: TFLITE[:20],
    "tflite with a root outside": lambda: patched(TFLITE, 0, b"\xff\xff\xff\x7f"),
    "tflite with a root at its end": lambda: patched(
        TFLITE, 0, struct.pack("<I", len(TFLITE) - 2)),
    "tflite with a vtable before the file": lambda: patched(
        TFLITE, int.from_bytes(TFLITE[:4], "little"), struct.pack("<i", 1 << 30)),
    "tflite with a vtable behind the file": lambda: patched(
        TFLITE, int.from_bytes(TFLITE[:4], "little"), struct.pack("<i", -(1 << 30))),
    "tflite with a vtable of 65,535 bytes": lambda: patched(TFLITE, 8, b"\xff\xff"),
    "tflite with a vtable of 2 bytes": lambda: patched(TFLITE, 8, b"\2\0"),
    "tflite with a table of 65,535 bytes": lambda: patched(TFLITE, 10, b"\xff\xff"),
    "tflite with a field outside its table": lambda: patched(TFLITE, 14, b"\xf0\xff"),
    "tflite whose tables point to themselves": loop_of_tables,
    "tflite without graphs": lambda: tflite_file(graphs=[]),
    "tflite with 2^32 tensors": lambda: TFLITE.replace(
        struct.pack("<I", 5), b"\xff\xff\xff\xff", 1),
    "tflite of 100,000 tensors": lambda: with_tensors(*[flat_tensor("x", (1,))] * 100_000),
    "tflite with a text that is not UTF-8": lambda: tflite_file(tensors=[
        flat_tensor(b"\xff", (1,))]),
    "tflite of long names": lambda: with_tensors(*[flat_tensor("x" * 60_000, (1,))] * 1_000),
    "tflite of a negative size": lambda: with_tensors(flat_tensor("x", (-3,), buffer=1)),
    "tflite of 2^2000 numbers": lambda: with_tensors(
        flat_tensor("x", (1 << 30,) * 32, buffer=1)),
    "tflite of 33 axes": lambda: with_tensors(flat_tensor("x", (1,) * 33, buffer=1)),
    "tflite of 200,000 axes": lambda: with_tensors(flat_tensor("x", (1,) * 200_000, buffer=1)),
    "tflite of an unknown dtype": lambda: with_tensors(flat_tensor("x", (1,), kind=99)),
    "tflite of dtype -1": lambda: with_tensors(flat_tensor("x", (1,), kind=-1)),
    "tflite with a buffer too short": lambda: with_tensors(flat_tensor("x", (99,), buffer=1)),
    "tflite with a buffer that is not there": lambda: with_tensors(
        flat_tensor("x", (99,), buffer=1 << 31)),
    "tflite with a buffer behind the file": lambda: tflite_file(
        buffers=[{1: Raw("<Q", 1 << 40), 2: Raw("<Q", 1)}] * 4),
    "tflite with a buffer of 2^64 bytes": lambda: tflite_file(
        buffers=[{1: Raw("<Q", 16), 2: Raw("<Q", (1 << 64) - 8)}] * 4),
    "tflite of one buffer read 10,000 times": lambda: tflite_file(
        buffers=[{}, {0: bytes(1 << 20)}],
        tensors=[flat_tensor("x", (1 << 18, *(1,) * k), buffer=1) for k in range(30)] * 100),
    "tflite with scales and zero points that differ": lambda: with_tensors(flat_tensor(
        "x", (1,), f4={2: np.ones(3, "<f4"), 3: np.ones(2, "<i8")})),
    "tflite with an operator that is not there": lambda: tflite_file(
        operators=[operator(77, (0,), (3,))]),
    "tflite with an index outside": lambda: tflite_file(operators=[operator(0, (0, 9), (3,))]),
    "tflite with an index of -2": lambda: tflite_file(operators=[operator(0, (0, -2), (3,))]),
    "tflite with a node that reads itself": lambda: tflite_file(
        operators=[operator(0, (3,), (3,))]),
    "tflite that writes a constant": lambda: tflite_file(operators=[operator(0, (0,), (1,))]),
    "tflite with an unknown padding": lambda: tflite_file(
        operators=[operator(0, (0,), (3,), CONV_OPTIONS | {0: Raw("<b", 9)})]),
    "tflite with an unknown activation": lambda: tflite_file(
        operators=[operator(0, (0,), (3,), CONV_OPTIONS | {3: Raw("<b", -1)})]),
    "tflite of 60,000 operators": lambda: tflite_file(
        operators=[operator(0, (0,), (3,))] * 60_000),
    "tflite with a shared list of 500,000 inputs": lambda: shared_vector(100, 500_000),
    "tflite with names of escapes": lambda: tflite_file(
        tensors=[flat_tensor("\x1b[31m", (1,))] * 4, operators=[operator(1, (2,), (3,))]),
}  # fmt: skip
