"""Frozen graphs: the weights as they are, and one sentence for whatever else a file holds."""

from __future__ import annotations

import numpy as np
import pytest
from graph_files import message
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import FormatError
from minigrad.graphs.tensorflow_file import load_frozen
from minigrad.models import detection


def constant(name, array, kind=1, *, dims=None, listed=False, operator="Const"):
    """A node that holds an array; ``dims`` may lie."""
    sizes = [message((1, n)) for n in (array.shape if dims is None else dims)]
    numbers = array.astype("<f4").tobytes()
    tensor = message((1, kind), (2, message((2, sizes))), (5 if listed else 4, numbers))
    value = message((1, "value"), (2, message((8, tensor))))
    return message((1, name), (2, operator), (5, [value]))


def frozen(*nodes):
    return message((1, list(nodes)))


def read(tmp_path, content):
    path = tmp_path / "graph.pb"
    path.write_bytes(content)
    return load_frozen(path)


def sound():
    rng = np.random.default_rng(0)
    return {
        "a/weights": rng.random((3, 2, 4, 5)), "a/BatchNorm/gamma": rng.random(5),
        "b/depthwise_weights": rng.random((3, 3, 7, 1)), "c/biases": rng.random(2),
        "a/BatchNorm/moving_variance": rng.random(5),
    }  # fmt: skip


@pytest.mark.parametrize("listed", [False, True])
def test_weights_are_read_in_pytorchs_axes_and_names(tmp_path, listed):
    arrays = {k: v.astype(np.float32) for k, v in sound().items()}
    nodes = [constant(k, v, listed=listed) for k, v in arrays.items()]
    other = constant("anchors", np.ones(3)), constant("a/weights", np.ones(1), operator="Add")
    state = read(tmp_path, frozen(*nodes, *other))
    assert set(state) == {"a.weight", "a/BatchNorm.weight", "b.weight", "c.bias",
                          "a/BatchNorm.running_var"}  # fmt: skip
    np.testing.assert_array_equal(state["a.weight"], arrays["a/weights"].transpose(3, 2, 0, 1))
    turned = arrays["b/depthwise_weights"].transpose(2, 3, 0, 1)
    np.testing.assert_array_equal(state["b.weight"], turned)
    np.testing.assert_array_equal(state["c.bias"], arrays["c/biases"])
    assert {v.dtype for v in state.values()} == {np.dtype(np.float32)}


def test_one_number_may_stand_for_all(tmp_path):
    state = read(tmp_path, frozen(constant("a/biases", np.array([2.5]), dims=(4,), listed=True)))
    assert state["a.bias"].tolist() == [2.5] * 4


HOSTILE = {
    "nothing": b"",
    "no weights": frozen(constant("x", np.ones(2))),
    "bytes of a picture": b"\x89PNG\r\n\x1a\n" * 9,
    "more elements than bytes": frozen(constant("a/biases", np.ones(2), dims=(3,))),
    "a shape that is negative": frozen(constant("a/biases", np.ones(2), dims=((1 << 64) - 2,))),
    "a number for a world": frozen(constant("a/biases", np.ones(1), dims=(1 << 40,), listed=True)),
    "a shape beyond all": frozen(constant("a/biases", np.ones(1), dims=(1 << 62,) * 9)),
    "forty axes": frozen(constant("a/biases", np.ones(1), dims=(1,) * 40)),
    "integers": frozen(constant("a/biases", np.ones(2), kind=3)),
    "a filter of two axes": frozen(constant("a/weights", np.ones((2, 2)))),
    "twice the same": frozen(*[constant("a/biases", np.ones(2))] * 2),
    "no value": frozen(message((1, "a/biases"), (2, "Const"))),
    "a name that is no text": frozen(message((1, b"\xff/biases"), (2, "Const"))),
    "a million nodes": frozen(message((2, "Const"))) * 1_000_000,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_gets_one_sentence(tmp_path, content):
    with pytest.raises(FormatError) as told:
        read(tmp_path, content)
    assert len(str(told.value)) < 600
    assert "\n" not in str(told.value)


@given(st.data())
def test_changed_bytes_give_weights_or_one_sentence(tmp_path_factory, data):
    content = bytearray(frozen(*(constant(k, v) for k, v in sound().items())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    try:
        state = read(tmp_path_factory.mktemp("frozen"), bytes(content))
    except FormatError:
        return
    assert all(v.dtype == np.float32 for v in state.values())


def test_a_detector_takes_its_weights_from_a_frozen_graph(tmp_path):
    model = detection.create("ssdlite_mobilenet_v2", num_classes=2, rng=0, width=0.1)
    back = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
            "running_var": "moving_variance"}  # fmt: skip
    nodes = []
    for (ours, theirs), value in zip(
        model.key_map().items(), model.state_dict().values(), strict=True
    ):
        layer, _, leaf = theirs.rpartition(".")
        name, array = back[leaf], value
        if not layer.endswith("BatchNorm"):
            name = {"weight": "weights", "bias": "biases"}[leaf]
        if array.ndim == 4:
            deep = array.shape[1] == 1 and "out" not in ours and array.shape[2] == 3
            name = "depthwise_weights" if deep else "weights"
            array = array.transpose((2, 3, 0, 1) if deep else (2, 3, 1, 0))
        nodes.append(constant(f"{layer}/{name}", np.ascontiguousarray(array)))
    (tmp_path / "g.pb").write_bytes(frozen(*nodes))
    loaded = detection.create("ssdlite_mobilenet_v2", weights=tmp_path / "g.pb", width=0.1)
    assert loaded.num_classes == 2
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], value)
