"""An ONNX file as plain data: what the file says, under its own names."""

from __future__ import annotations

import os

import numpy as np
import pytest
from graph_files import (
    ONNX_TYPES,
    attribute,
    field,
    graph,
    message,
    node,
    onnx_file,
    sound_nodes,
    tensor,
    value,
    varint,
)
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget
from minigrad.graphs.data import Unread, Value
from minigrad.graphs.onnx_file import read_onnx
from minigrad.graphs.wire import Message

int64s = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        (tmp_path / "net.onnx").write_bytes(content)
        return read_onnx(tmp_path / "net.onnx", **options)

    return read


# --- the wire ----------------------------------------------------------------------------------


def parsed(content):
    return Message(memoryview(content), Budget(1 << 20))


@given(st.lists(int64s))
def test_integers_packed_or_one_by_one(numbers):
    packed = field(8, b"".join(varint(n) for n in numbers))
    for content in (packed, message((8, numbers)), packed + message((8, numbers))):
        expected = numbers * 2 if content not in (packed, message((8, numbers))) else numbers
        found = parsed(content).integers(8)
        assert found.dtype == np.int64
        assert found.tolist() == expected


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_floats_packed_or_one_by_one(numbers):
    packed = np.array(numbers, "<f4").tobytes()
    assert parsed(field(7, packed)).numbers(7, "<f4").tolist() == numbers
    assert parsed(message((7, [float(n) for n in numbers]))).numbers(7, "<f4").tolist() == numbers


def test_long_runs_of_packed_integers():
    """Longer than the piece that is unpacked at a time, with numbers across its ends."""
    numbers = (np.arange(300_000, dtype=np.int64) - 150_000) ** 3
    packed = b"".join(varint(int(n)) for n in numbers)
    found = Message(memoryview(field(8, packed)), Budget(1 << 24)).integers(8)
    np.testing.assert_array_equal(found, numbers)


@given(int64s, st.floats(width=32), st.text(st.characters(exclude_categories=["Cs"])), st.binary())
def test_the_last_value_of_a_field_counts(number, real, text, raw):
    fields = [(1, 0), (1, number), (2, 1.0), (2, real), (3, "no"), (3, text), (4, b"no"), (4, raw)]
    found = parsed(message(*fields))
    assert found.integer(1) == number
    np.testing.assert_equal(found.float32(2), real)
    assert found.text(3) == text
    assert bytes(found.bytes(4)) == raw
    assert (found.integer(9, 7), found.float32(9, 0.5), found.text(9)) == (7, 0.5, "")
    assert not found.has(9)


@given(st.binary(max_size=50))
def test_any_bytes_are_a_message_or_a_format_error(content):
    try:
        found = parsed(content)
    except FormatError:
        return
    assert all(number > 0 for number in found.fields)


# --- the file ----------------------------------------------------------------------------------


def test_a_sound_file(read):
    model = read(onnx_file())
    assert (model.opsets, model.producer) == ({"": 17}, "tests")
    conv, clip, leaky = model.graph.nodes
    assert (conv.operator, conv.name, conv.inputs) == ("Conv", "conv", ("x", "w", "b"))
    assert conv.attributes == {"pads": (1, 1, 1, 1), "strides": (2, 2), "auto_pad": "NOTSET"}
    assert clip.inputs == ("y", "", "six")
    assert str(clip) == "node 'z' (Clip)"
    assert leaky.attributes == {"alpha": 0.25}
    assert model.graph.inputs == (Value("x", "float32", ("N", 3, 8, 8)),)
    assert [v.name for v in model.graph.outputs] == ["out"]
    np.testing.assert_array_equal(model.graph.constants["b"], np.ones(2, "f4"))
    assert model.graph.constants["six"].shape == ()


@pytest.mark.parametrize("dtype", ONNX_TYPES)
def test_numbers_of_every_type_raw_and_in_their_field(read, dtype):
    array = np.array([0, 1, 3, 100], dtype)
    numbers = [int(n) for n in array.real]
    pairs = np.stack([array.real, array.imag], 1).reshape(-1)
    in_field = {
        "float32": (4, array.tobytes()), "complex64": (4, array.tobytes()),
        "float64": (10, array.tobytes()), "complex128": (10, array.tobytes()),
        "int64": (7, numbers), "uint32": (11, numbers), "uint64": (11, numbers),
        "float16": (5, [int(n) for n in array.real.astype("f2").view("u2")]),
    }.get(dtype, (5, numbers))  # fmt: skip
    assert pairs.size == 8
    for content in (tensor("w", array), tensor("w", array, in_field, raw=None)):
        model = read(onnx_file(graph([], [content], [], [])))
        found = model.graph.constants["w"]
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
        assert found.flags.aligned


def test_bfloat16_becomes_float32(read):
    halves = np.array([0x3F80, 0xC000], "u2")
    for content in (
        tensor("w", halves, type=16),
        tensor("w", halves, (5, [int(h) for h in halves]), type=16, raw=None),
    ):
        found = read(onnx_file(graph([], [content], [], []))).graph.constants["w"]
        np.testing.assert_array_equal(found, np.array([1, -2], "f4"))


def test_attributes_of_every_kind(read):
    inner = graph([node("Relu", ["x"], ["r"])], [], [], [value("r")])
    kinds = [
        attribute("i", 2, 3, -5), message((1, "zero"), (20, 2)), attribute("f", 1, 2, 0.5),
        attribute("s", 3, 4, "text"), attribute("raw", 3, 4, b"\xff"),
        attribute("ints", 7, 8, [1, -1]), attribute("none", 7, 8, []),
        attribute("floats", 6, 7, [0.5, 2.0]), attribute("strings", 8, 9, ["a", "b"]),
        attribute("t", 4, 5, tensor("", np.arange(3))), attribute("g", 5, 6, inner),
        attribute("tensors", 9, 10, [tensor("", np.ones(2))]), attribute("graphs", 10, 11, [inner]),
        message((1, "old"), (3, 7)), attribute("sparse", 11, 22, b""),
        message((1, "refers"), (21, "outer"), (20, 2)),
    ]  # fmt: skip
    found = read(onnx_file(graph([node("Any", ["x"], ["out"], *kinds)]))).graph.nodes[0].attributes
    assert (found["i"], found["zero"], found["f"], found["s"]) == (-5, 0, 0.5, "text")
    assert (found["raw"], found["ints"], found["none"]) == (b"\xff", (1, -1), ())
    assert (found["floats"], found["strings"], found["old"]) == ((0.5, 2.0), ("a", "b"), 7)
    np.testing.assert_array_equal(found["t"], [0, 1, 2])
    assert found["g"].nodes[0].operator == "Relu"
    assert len(found["tensors"]) == len(found["graphs"]) == 1
    assert isinstance(found["sparse"], Unread)
    assert isinstance(found["refers"], Unread)


def test_what_is_not_read_is_there_and_says_what_it_is(read):
    content = [tensor("t", np.zeros(2, "u1"), type=8), tensor("f", np.zeros(2, "u1"), type=17)]
    constants = read(onnx_file(graph([], content, [], []))).graph.constants
    assert constants == {"t": Unread("a tensor of texts"), "f": Unread("a tensor of float8")}


def test_old_files_list_constants_as_inputs(read):
    model = read(onnx_file(graph(inputs=[value("x"), value("w", (2, 3, 3, 3))])))
    assert [v.name for v in model.graph.inputs] == ["x"]


def test_sizes_that_are_free(read):
    shapes = [("N", 3), (), (1, -1)]
    model = read(onnx_file(graph([], [], [value(f"v{k}", s) for k, s in enumerate(shapes)], [])))
    assert [v.shape for v in model.graph.inputs] == shapes
    unknown = message((1, "v"), (2, message((1, message((1, 1))))))
    assert read(onnx_file(graph([], [], [unknown], []))).graph.inputs[0].shape is None


def test_the_library_writes_what_is_read(tmp_path):
    """The same file through the onnx library, from which nothing here was taken."""
    import onnx

    make, numpy_helper = onnx.helper, onnx.numpy_helper
    weight = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype("f4")
    nodes = [
        make.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], name="first"),
        make.make_node("Elu", ["y"], ["z"], alpha=0.5),
    ]
    info = [make.make_tensor_value_info(n, 1, ["N", 3, None, 8]) for n in "xz"]
    constants = [numpy_helper.from_array(weight, "w")]
    whole = make.make_graph(nodes, "net", info[:1], info[1:], constants)
    opsets = [make.make_opsetid("", 18)]
    onnx.save(make.make_model(whole, opset_imports=opsets), tmp_path / "n.onnx")
    model = read_onnx(tmp_path / "n.onnx")
    assert model.opsets == {"": 18}
    assert [n.attributes for n in model.graph.nodes] == [{"pads": (1, 1, 1, 1)}, {"alpha": 0.5}]
    np.testing.assert_array_equal(model.graph.constants["w"], weight)
    assert model.graph.inputs[0].shape == ("N", 3, None, 8)


# --- numbers in other files --------------------------------------------------------------------


def external(location, offset=None, length=None, shape=(4,)):
    entries = [message((1, "location"), (2, location))]
    entries += [message((1, "offset"), (2, str(offset)))] if offset is not None else []
    entries += [message((1, "length"), (2, str(length)))] if length is not None else []
    return message((1, list(shape)), (2, 1), (8, "w"), (13, entries), (14, 1))


def with_external(*arguments, **options):
    return onnx_file(graph([], [external(*arguments, **options)], [], []))


def test_numbers_in_a_file_beside_the_model(read, tmp_path):
    numbers = np.arange(8, dtype="f4")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(numbers.tobytes())
    for offset, length, expected in ((16, 16, numbers[4:]), (0, 16, numbers[:4]),
                                     (16, None, numbers[4:]), (None, 16, numbers[:4])):  # fmt: skip
        model = read(with_external("data/w.bin", offset, length))
        np.testing.assert_array_equal(model.graph.constants["w"], expected)


@pytest.mark.parametrize("location", [
    "/etc/passwd", "../secret", "data/../../secret", "..", ".", "", "data//w", "./w", "c:\\secret",
    "..\\secret", "data\\..\\..\\secret", "link", "linked/w.bin", "w\0.bin", "none", "folder",
    "pipe", "\x1b[31m", "~", "a" * 5000,
])  # fmt: skip
def test_numbers_lie_below_the_folder_of_the_model(read, tmp_path, location):
    (tmp_path.parent / "secret").write_bytes(bytes(16))
    (tmp_path / "link").symlink_to(tmp_path.parent / "secret")
    (tmp_path / "linked").symlink_to(tmp_path.parent)
    (tmp_path.parent / "w.bin").write_bytes(bytes(16))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="external data") as caught:
        read(with_external(location, 0, 16))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


@pytest.mark.parametrize(("offset", "length"), [
    (0, 17), (16, 1), (17, 0), (1 << 62, 16), (0, 1 << 62), ("-1", 16), ("x", 16), (0, "1e3"),
    (0, 8), (8, None), ("٣", 4),
])  # fmt: skip
def test_sizes_of_numbers_in_other_files_are_checked(read, tmp_path, offset, length):
    (tmp_path / "w.bin").write_bytes(bytes(16))
    with pytest.raises(FormatError):
        read(with_external("w.bin", offset, length))


# --- the order of the nodes ----------------------------------------------------------------------


@pytest.mark.parametrize(("nodes", "words"), [
    ([node("Relu", ["y"], ["out"])], r"node 'out' \(Relu\): nothing before computes 'y'"),
    ([node("Relu", ["out"], ["out"])], "nothing before computes 'out'"),
    ([node("Add", ["x", "b"], ["a"]), node("Add", ["x", "a"], ["b"])], "nothing before"),
    ([node("Relu", ["x"], ["x"])], "computes 'x', which is there already"),
    ([node("Relu", ["x"], ["out"]), node("Relu", ["x"], ["out"])], "there already"),
    ([node("Relu", ["x"], ["y"])], "the graph's outputs: nothing before computes 'out'"),
])  # fmt: skip
def test_nodes_that_cannot_be_computed_in_their_order(read, nodes, words):
    with pytest.raises(FormatError, match=words):
        read(onnx_file(graph(nodes, [])))


def test_the_budget_is_the_bytes_of_the_constants(read):
    content = onnx_file()
    assert len(read(content, budget=54 * 4 + 12).graph.constants) == 3
    with pytest.raises(FormatError, match="needs 4 bytes, more than the budget of 227"):
        read(content, budget=54 * 4 + 11)


def test_a_graph_reads_the_values_around_it(read):
    inner = graph([node("Relu", ["y"], ["r"])], [], [], [value("r")])
    nodes = [sound_nodes()[0], node("If", ["x"], ["out"], attribute("then_branch", 5, 6, inner))]
    assert len(read(onnx_file(graph(nodes))).graph.nodes) == 2
    with pytest.raises(FormatError, match="nothing before computes 'y'"):
        read(onnx_file(graph([nodes[1]])))
