"""Writes ONNX and TFLite files with the standard library alone, sound or as strange as wished."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

# --- protocol buffers ------------------------------------------------------------------------


def varint(value):
    value %= 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """One field: an int as a varint, a float in 4 bytes, bytes or text with their length."""
    if isinstance(value, bool | int):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    raw = value.encode() if isinstance(value, str) else bytes(value)
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def message(*fields):
    """A message of (number, value) pairs; a list of values is a field there several times."""
    out = []
    for number, value in fields:
        values = value if isinstance(value, list) else [value]
        out += [field(number, one) for one in values]
    return b"".join(out)


ONNX_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
              "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13,
              "complex64": 14, "complex128": 15}  # fmt: skip


def tensor(name, array, *more, **lies):
    """A TensorProto with raw numbers; ``more`` fields behind the others."""
    array = np.asarray(array)
    given = {"dims": list(array.shape), "type": ONNX_TYPES[str(array.dtype)],
             "raw": array.tobytes(), **lies}  # fmt: skip
    raw = [] if given["raw"] is None else [(9, given["raw"])]
    return message((1, given["dims"]), (2, given["type"]), (8, name), *raw, *more)


def attribute(name, kind, number, value):
    return message((1, name), (20, kind), (number, value))


def ints(name, *values):
    return attribute(name, 7, 8, list(values))


def node(operator, inputs, outputs, *attributes, name="", domain=""):
    return message((1, list(inputs)), (2, list(outputs)), (3, name), (4, operator),
                   (5, list(attributes)), (7, domain))  # fmt: skip


def value(name, shape=(1, 3, 8, 8), kind=1):
    dims = [message((2, n) if isinstance(n, str) else (1, n)) for n in shape]
    return message((1, name), (2, message((1, message((1, kind), (2, message((1, dims))))))))


WEIGHT = np.arange(54, dtype="f4").reshape(2, 3, 3, 3)


def sound_nodes():
    return [
        node("Conv", ["x", "w", "b"], ["y"], ints("pads", 1, 1, 1, 1), ints("strides", 2, 2),
             attribute("auto_pad", 3, 4, "NOTSET"), name="conv"),
        node("Clip", ["y", "", "six"], ["z"]),
        node("LeakyRelu", ["z"], ["out"], attribute("alpha", 1, 2, 0.25), name="leaky"),
    ]  # fmt: skip


def graph(nodes=None, tensors=None, inputs=None, outputs=None, *more):
    default = [tensor("w", WEIGHT), tensor("b", np.ones(2, "f4")), tensor("six", np.float32(6))]
    return message(
        (1, sound_nodes() if nodes is None else nodes), (2, "g"),
        (5, default if tensors is None else tensors),
        (11, [value("x", ("N", 3, 8, 8))] if inputs is None else inputs),
        (12, [value("out")] if outputs is None else outputs), *more,
    )  # fmt: skip


def onnx_file(of_graph=None, *more, opset=17):
    """A ModelProto."""
    return message((1, 8), (2, "tests"), (7, graph() if of_graph is None else of_graph),
                   (8, message((1, ""), (2, opset))), *more)  # fmt: skip


# --- FlatBuffers -----------------------------------------------------------------------------


@dataclass
class Raw:
    """A number in the table itself, as ``struct`` writes it."""

    form: str
    number: float


class Writer:
    """Tables from the front to the back, so that every offset points ahead."""

    def __init__(self):
        self.out = bytearray()

    def align(self, size):
        self.out += bytes(-len(self.out) % size)

    def put(self, item):
        """Write a table (a dict of fields), text, vector or list of tables; where it begins."""
        if isinstance(item, dict):
            return self.table(item)
        if isinstance(item, str | bytes):
            raw = item.encode() if isinstance(item, str) else item
            return self.vector(raw, len(raw), 16)
        if isinstance(item, np.ndarray):
            return self.vector(item.tobytes(), item.size, item.itemsize)
        return self.tables(item)

    def vector(self, raw, count, size):
        self.out += bytes(-(len(self.out) + 4) % size)
        start = len(self.out)
        self.out += struct.pack("<I", count) + raw + b"\0"
        return start

    def tables(self, items):
        self.align(4)
        start = len(self.out)
        self.out += struct.pack("<I", len(items)) + bytes(4 * len(items))
        for index, item in enumerate(items):
            self.point(start + 4 + 4 * index, self.put(item))
        return start

    def point(self, place, target):
        self.out[place : place + 4] = struct.pack("<I", target - place)

    def table(self, fields):
        self.align(8)
        vtable = len(self.out)
        count = max(fields, default=-1) + 1
        places = bytearray(2 * count)
        body = bytearray(4)
        for index, item in fields.items():
            form = item.form if isinstance(item, Raw) else "<I"
            size = struct.calcsize(form)
            body += bytes(-len(body) % size)
            places[2 * index : 2 * index + 2] = struct.pack("<H", len(body))
            body += struct.pack(form, item.number) if isinstance(item, Raw) else bytes(4)
        self.out += struct.pack("<2H", 4 + len(places), len(body)) + places
        self.align(8)
        start = len(self.out)
        body[:4] = struct.pack("<i", start - vtable)
        self.out += body
        for index, item in fields.items():
            if not isinstance(item, Raw):
                offset = struct.unpack_from("<H", places, 2 * index)[0]
                self.point(start + offset, self.put(item))
        return start


def flatbuffer(root, identifier=b"TFL3"):
    writer = Writer()
    writer.out += bytes(4) + identifier
    start = writer.put(root)
    writer.out[:4] = struct.pack("<I", start)
    return bytes(writer.out)


def i32(*numbers):
    return np.array(numbers, "<i4")


def flat_tensor(name, shape, kind=0, buffer=0, **more):
    fields = {0: i32(*shape), 1: Raw("<b", kind), 2: Raw("<I", buffer), 3: name}
    return fields | {int(k[1:]): v for k, v in more.items()}


def operator(code, inputs, outputs, options=None, **more):
    fields = {0: Raw("<I", code), 1: i32(*inputs), 2: i32(*outputs)}
    if options is not None:
        fields |= {3: Raw("<B", 1), 4: options}
    return fields | {int(k[1:]): v for k, v in more.items()}


CONV_OPTIONS = {0: Raw("<b", 1), 1: Raw("<i", 2), 2: Raw("<i", 2), 3: Raw("<b", 3)}
CONV_2D, CUSTOM, SOFTMAX = 3, 32, 25


def tflite_model(**changed):
    """A model whose parts (tensors, operators, buffers, codes, ...) can be changed."""
    scale = {2: np.array([0.5, 0.25], "<f4"), 3: np.array([0, 3], "<i8"), 6: Raw("<i", 0)}
    weight = np.arange(54, dtype="<f4").tobytes()
    parts = {
        "codes": [{0: Raw("<b", CONV_2D), 2: Raw("<i", 1), 3: Raw("<i", CONV_2D)},
                  {0: Raw("<b", CUSTOM), 1: "MyOperator", 3: Raw("<i", CUSTOM)}],
        "tensors": [
            flat_tensor("x", (1, 8, 8, 3), f7=i32(-1, 8, 8, 3)),
            flat_tensor("w", (2, 3, 3, 3), buffer=1),
            flat_tensor("b", (2,), buffer=2, kind=2, f4=scale),
            flat_tensor("y", (1, 3, 3, 2)),
            flat_tensor("z", (1, 3, 3, 2)),
        ],
        "operators": [operator(0, (0, 1, 2), (3,), CONV_OPTIONS),
                      operator(1, (3, -1), (4,), f5=b"options")],
        "inputs": (0,), "outputs": (4,),
        "buffers": [{}, {0: weight}, {0: i32(1, 2).tobytes()}, {0: b"of the file"}],
    } | changed  # fmt: skip
    subgraph = {0: parts["tensors"], 1: i32(*parts["inputs"]), 2: i32(*parts["outputs"]),
                3: parts["operators"], 4: "main"}  # fmt: skip
    return {0: Raw("<I", 3), 1: parts["codes"], 2: parts.get("graphs", [subgraph]), 3: "a model",
            4: parts["buffers"], 6: [{0: "note", 1: Raw("<I", 3)}]}  # fmt: skip


def tflite_file(**changed):
    return flatbuffer(tflite_model(**changed))
