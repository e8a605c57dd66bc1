"""A TFLite file as plain data: what the file says, under the schema's names."""

from __future__ import annotations

import numpy as np
import pytest
from graph_files import (
    CONV_OPTIONS,
    Raw,
    flat_tensor,
    flatbuffer,
    i32,
    operator,
    tflite_file,
    tflite_model,
)
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget
from minigrad.graphs.data import Unread
from minigrad.graphs.flatbuffer import root
from minigrad.graphs.tflite_file import read_tflite
from minigrad.graphs.tflite_schema import OPERATORS, OPTIONS


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        (tmp_path / "net.tflite").write_bytes(content)
        return read_tflite(tmp_path / "net.tflite", **options)

    return read


@given(
    number=st.integers(-(1 << 31), (1 << 31) - 1),
    real=st.floats(width=32),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    numbers=st.lists(st.integers(-(1 << 63), (1 << 63) - 1)),
)
def test_fields_of_a_table(number, real, text, numbers):
    fields = {0: Raw("<i", number), 2: Raw("<f", real), 3: text, 4: np.array(numbers, "<i8")}
    content = flatbuffer({**fields, 6: {1: Raw("<B", 1)}, 7: [{}, {0: "x"}]})
    table = root(memoryview(content), b"TFL3", Budget(0))
    assert table.integer(0) == number
    np.testing.assert_equal(table.float32(2), real)
    assert table.text(3) == text
    assert table.integers(4, "<i8") == tuple(numbers)
    assert table.table(6).boolean(1)
    assert [inner.text(0) for inner in table.tables(7)] == ["", "x"]
    assert (table.integer(1, default=5), table.text(9), table.table(5)) == (5, "", None)
    assert (table.has(0), table.has(1), table.has(99)) == (True, False, False)


def test_a_sound_file(read):
    model = read(tflite_file())
    (graph,) = model.graphs
    conv, custom = graph.nodes
    assert conv.operator == "CONV_2D"
    assert conv.options == {
        "padding": "VALID", "stride_w": 2, "stride_h": 2, "fused_activation_function": "RELU6",
        "dilation_w_factor": 1, "dilation_h_factor": 1, "quantized_bias_type": "float32",
    }  # fmt: skip
    assert (custom.operator, custom.custom, custom.inputs) == ("MyOperator", b"options", (3, -1))
    x, w, b, y, _ = graph.tensors
    assert (x.signature, x.shape, x.constant) == ((-1, 8, 8, 3), (1, 8, 8, 3), None)
    np.testing.assert_array_equal(w.constant, np.arange(54, dtype="f4").reshape(2, 3, 3, 3))
    assert (b.dtype, b.constant.tolist()) == ("int32", [1, 2])
    assert b.quantization.scale.tolist() == [0.5, 0.25]
    assert (b.quantization.zero_point.tolist(), b.quantization.axis) == ([0, 3], 0)
    assert y.quantization is None
    assert (model.description, model.metadata) == ("a model", {"note": b"of the file"})
    assert (graph.inputs, graph.outputs, graph.name) == ((0,), (4,), "main")


def test_options_that_are_missing_have_the_schemas_defaults(read):
    model = read(tflite_file(operators=[operator(0, (0, 1, 2), (3,))], outputs=(3,)))
    options = model.graphs[0].nodes[0].options
    assert (options["padding"], options["dilation_w_factor"], options["stride_w"]) == ("SAME", 1, 0)


@pytest.mark.parametrize(("old", "new", "name"), [
    (3, 0, "CONV_2D"), (3, 3, "CONV_2D"), (127, 150, "GELU"), (0, 0, "ADD"),
    (0, 126, "BATCH_MATMUL"), (127, 300, "operator 300"),
])  # fmt: skip
def test_operators_by_their_old_and_new_number(read, old, new, name):
    codes = [{0: Raw("<b", old), 3: Raw("<i", new)}] * 2
    assert read(tflite_file(codes=codes)).graphs[0].nodes[0].operator == name


def test_the_schemas_numbers():
    """Spot checks against schema.fbs, whose numbers never change."""
    numbers = {3: "CONV_2D", 25: "SOFTMAX", 67: "TRANSPOSE_CONV", 83: "PACK",
               97: "RESIZE_NEAREST_NEIGHBOR", 117: "HARD_SWISH", 161: "RIGHT_SHIFT"}  # fmt: skip
    for number, name in numbers.items():
        assert OPERATORS[number] == name
    assert set(OPTIONS) <= set(OPERATORS)


def test_kinds_that_are_not_read_say_what_they_are(read):
    tensors = tflite_model()[2][0][0]
    tensors[1] = flat_tensor("w", (2,), kind=5, buffer=1)
    tensors[2] = flat_tensor("b", (2,), kind=2, buffer=2, f6={0: i32(0)})
    model = read(tflite_file(tensors=tensors))
    assert model.graphs[0].tensors[1].constant == Unread("a tensor of text")
    assert model.graphs[0].tensors[2].constant == Unread("a sparse tensor")


def test_a_buffer_behind_the_tables(read):
    place = 0x123456789ABCDEF
    content = tflite_file(buffers=[{}, {1: Raw("<Q", place), 2: Raw("<Q", 216)},
                                   {0: i32(1, 2).tobytes()}, {0: b""}])  # fmt: skip
    content = content.replace(place.to_bytes(8, "little"), len(content).to_bytes(8, "little"))
    model = read(content + np.arange(54, dtype="<f4").tobytes())
    np.testing.assert_array_equal(model.graphs[0].tensors[1].constant.reshape(-1), np.arange(54))


def test_tensors_share_a_buffer(read):
    tensors = tflite_model()[2][0][0]
    tensors.append(flat_tensor("again", (2, 3, 3, 3), buffer=1))
    found = read(tflite_file(tensors=tensors), budget=54 * 4 + 8).graphs[0].tensors
    assert found[1].constant is found[5].constant


@pytest.mark.parametrize(("changed", "words"), [
    ({"operators": [operator(0, (3, 1, 2), (3,), CONV_OPTIONS)]}, "nothing before computes .* 'y'"),
    ({"operators": [operator(0, (0, 1, 99), (3,))]}, "names a tensor that the file does not have"),
    ({"operators": [operator(0, (0, 1, -2), (3,))]}, "names a tensor that the file does not have"),
    ({"operators": [operator(0, (0, 1, 2), (1,))]}, "computes a tensor that is constant"),
    ({"operators": [operator(0, (0, 1, 2), (-1,))]}, "computes a tensor that is constant"),
    ({"operators": [operator(9, (0, 1, 2), (3,))]}, "operator 9 of 2"),
    ({"operators": []}, "an output that nothing computes"),
    ({"outputs": (77,)}, "names a tensor that the file does not have"),
    ({"buffers": [{}]}, "buffer 1 of 1"),
    ({"graphs": []}, "no graph"),
])  # fmt: skip
def test_files_that_contradict_themselves(read, changed, words):
    with pytest.raises(FormatError, match=words):
        read(tflite_file(**changed))


def test_another_kind_of_file(read):
    for content in (b"", b"TFL3", b"\x1c\0\0\0TFL2" + bytes(40), b"\x1c\0\0\0TFL3"):
        with pytest.raises(FormatError):
            read(content)
