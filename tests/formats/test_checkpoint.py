"""Where trainers put the weights, and what they put before the names."""

from __future__ import annotations

import datetime
import enum
import pathlib
import random
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weight_files import CONTAINERS, Storage, Tensor, archive, npy, pickled, tensor, zipped

from minigrad.errors import FormatError
from minigrad.formats import load, save
from minigrad.formats.checkpoint import WRAPPERS
from minigrad.formats.prefixes import below_prefix, without_wrappers

container = pytest.mark.parametrize("write", CONTAINERS.values(), ids=CONTAINERS)


class Stage(enum.Enum):
    TRAINING = "training"


class Config:
    """A class that the reader has never heard of."""

    def __init__(self):
        self.lr, self.inner = 0.1, {"path": pathlib.PurePosixPath("/data")}


def one(value=1.0):
    return tensor(np.full(3, value, "f4"))


def weights(value=1.0):
    return OrderedDict({"conv.weight": one(value), "conv.bias": one(value)})


BESIDE = {
    "epoch": 3, "best": np.float64(0.5), "curve": np.arange(3.0),
    "when": datetime.datetime(2020, 1, 1), "out": pathlib.PurePosixPath("/runs"),
    "windows": pathlib.PureWindowsPath("c:/runs"),
    "stage": Stage.TRAINING, "last": deque([1.0], 5), "seen": Counter("aab"), "args": Config(),
    "numpy_rng": np.random.default_rng(0), "python_rng": random.getstate(), "log": "x" * 200_000,
    ("train", 0): 0.5, 0.25: "a", 1 << 70: "b", "optimizer": {
        "state": {0: {"step": one(), "average": one()}}, "param_groups": [{"params": [0]}]},
    "lr_schedulers": [{"base": one()}], "amp_scaler": {"scale": one()}, "rng_state": one(),
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        (tmp_path / "w.pth").write_bytes(content)
        return load(tmp_path / "w.pth", **options)

    return read


def value_of(state):
    assert set(state) == {"conv.weight", "conv.bias"}
    return float(state["conv.weight"][0])


@container
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("key", WRAPPERS)
def test_the_weights_are_found_among_everything_else(read, write, protocol, key):
    state = read(write({**BESIDE, key: weights(2)}, protocol=protocol))
    assert value_of(state) == 2
    assert state.key == key


@container
def test_the_weights_come_before_their_average_and_the_average_is_told(read, write):
    content = write({"state_dict_ema": weights(3), **BESIDE, "state_dict": weights(2)})
    state = read(content)
    assert (value_of(state), state.key, state.others) == (2, "state_dict", ("state_dict_ema",))
    state = read(content, key="state_dict_ema")
    assert (value_of(state), state.key, state.others) == (3, "state_dict_ema", ("state_dict",))


@pytest.mark.parametrize("path", [
    ("state", "model"), ("model", "state_dict"), ("ema", "state_dict"), ("checkpoint", "weights"),
    ("a", "b", "c"), ("net",), ("trainer", "best", "model_state_dict"),
])  # fmt: skip
def test_nested_wrappers(read, path):
    value = weights(2)
    for key in reversed(path):
        value = {"note": "x", key: value, "optimizer": BESIDE["optimizer"]}
    state = read(zipped(value))
    assert value_of(state) == 2
    assert state.key == ".".join(path)
    assert value_of(read(zipped(value), key=state.key)) == 2


def test_several_that_nobody_knows_are_asked_for(read):
    content = zipped({"student": weights(1), "teacher": weights(2)})
    with pytest.raises(FormatError, match=r"say which by key= \('student', 'teacher'\)"):
        read(content)
    assert value_of(read(content, key="teacher")) == 2
    with pytest.raises(FormatError, match="no state dict under the key 'pupil'.* 'student', 'tea"):
        read(content, key="pupil")


def test_a_key_of_a_file_without_parts(read, tmp_path):
    with pytest.raises(FormatError, match="under the key 'ema'; it has: none"):
        read(zipped(weights()), key="ema")
    save(tmp_path / "w.npz", {"a": np.ones(3)})
    with pytest.raises(FormatError, match="no parts, so none under the key 'ema'"):
        load(tmp_path / "w.npz", key="ema")


def test_a_whole_model_is_told_apart(read):
    with pytest.raises(FormatError, match=r"Config', of which nothing was run"):
        read(zipped({"model": Config(), "epoch": 3}))
    with pytest.raises(FormatError, match=r"holds '.*Config', which is not a dict of tensors"):
        read(zipped(Config()))


def test_a_tensor_of_a_kind_that_is_not_read(read):
    """Beside the weights it does no harm; among them it is not left out in silence."""
    body, storages = pickled({"state_dict": weights(), "b": one()})
    strange = body.replace(b"_rebuild_tensor_v2", b"_rebuild_qtensor")
    records = {f"w/data/{key}": storage.flat.tobytes() for key, storage in storages.items()}
    with pytest.raises(FormatError, match=r"tensor 'conv.weight' .*_rebuild_qtensor'"):
        read(archive({"w/data.pkl": strange, **records}))
    call = b"X\x01\x00\x00\x00bctorch._utils\n_rebuild_qtensor\n)R"
    beside = b"\x80\x02}(" + call + b"X\x05\x00\x00\x00model" + pickled(weights())[0][2:-1] + b"u."
    assert value_of(read(archive({"w/data.pkl": beside, **records}))) == 1


def test_a_storage_of_a_kind_that_is_not_read(read):
    body, storages = pickled(weights())
    strange = body.replace(b"FloatStorage", b"QInt8Storage")
    records = {f"w/data/{key}": storage.flat.tobytes() for key, storage in storages.items()}
    with pytest.raises(FormatError, match="QInt8Storage"):
        read(archive({"w/data.pkl": strange, **records}))


def test_values_shared_and_in_circles_are_looked_at_once(read):
    value = {"epoch": 1}
    value["self"] = value
    value["model"] = weights(2)
    for _ in range(30):
        value = {"a": value, "b": value}
    value["model"] = weights(3)
    assert value_of(read(zipped(value))) == 3


# --- names -----------------------------------------------------------------------------------

NAMES = ["conv.weight", "conv.bias", "module_a.weight"]


@pytest.mark.parametrize("prefix", [
    "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.",
])  # fmt: skip
def test_the_names_of_wrappers_are_cut_off(read, prefix):
    state = {prefix + name: one() for name in NAMES}
    assert list(read(zipped(state))) == NAMES
    assert list(read(zipped({"state_dict": state}))) == NAMES


def test_averaged_model_has_a_counter(read):
    state = {"n_averaged": tensor(np.array(3)), **{f"module.{name}": one() for name in NAMES}}
    assert list(read(zipped(state))) == NAMES
    assert list(read(zipped({"n_averaged": one(), "a": one()}))) == ["n_averaged", "a"]


def test_compiled_parts_of_a_model(read):
    names = ["model._orig_mod.conv.weight", "head.weight"]
    assert list(read(zipped({n: one() for n in names}))) == ["model.conv.weight", "head.weight"]


def test_names_that_would_become_one_stay():
    state = {"_orig_mod.a": 1, "a": 2}
    assert without_wrappers(state) == state


@given(st.dictionaries(st.lists(st.sampled_from(["module", "_orig_mod", "a", "n_averaged", ""]),
                                min_size=1, max_size=4).map(".".join), st.integers()))  # fmt: skip
def test_cutting_loses_no_value_but_a_counter(state):
    short = without_wrappers(state)
    lost = [name for name in state if name.split(".")[-1] == "n_averaged"]
    assert len(state) - len(short) <= len(lost)
    assert set(short.values()) <= set(state.values())


ANCHORS = ["stem.conv.weight", "features.0.0.weight"]


@pytest.mark.parametrize("prefix", [
    "", "model.", "net.", "encoder.", "backbone.", "model.backbone.", "module.encoder.model.",
    "0.", "wrapped.any.name.",
])  # fmt: skip
@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_network_is_found_below_any_prefix(prefix, anchor):
    own = {anchor: 1, "blocks.0.weight": 2, "classifier.bias": 3}
    others = {"criterion.weight": 4, "head.weight": 5}
    state = {prefix + name: value for name, value in own.items()} | (others if prefix else {})
    assert below_prefix(state, ANCHORS) == (own, prefix, ())


def test_an_average_beside_the_network_comes_second():
    own = {"stem.conv.weight": 1}
    state = {"ema.stem.conv.weight": 2, "model.stem.conv.weight": 1}
    assert below_prefix(state, ANCHORS) == (own, "model.", ("ema.",))


def test_names_without_an_anchor_stay():
    assert below_prefix({"a.b": 1, "xstem.conv.weight": 2}, ANCHORS)[1:] == ("", ())


def test_numpy_arrays_of_a_reserved_name_are_no_weights(tmp_path):
    text = np.frombuffer(b'{"preset": "timm"}', "u1")
    (tmp_path / "w.npz").write_bytes(archive({"__metadata__.npy": npy(text), "a.npy": npy(text)}))
    state = load(tmp_path / "w.npz")
    assert (list(state), state.metadata) == (["a"], {"preset": "timm"})


def test_an_expanded_tensor_shares_its_element(read):
    state = read(zipped({"a": Tensor(Storage(np.ones(1, "f4")), 0, (4, 5), (0, 0))}))
    np.testing.assert_array_equal(state["a"], np.ones((4, 5)))
