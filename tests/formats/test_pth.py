"""Tensors of .pth files: values, shapes, dtypes, strides and sharing, in both containers."""

from __future__ import annotations

import shutil
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weight_files import (
    CONTAINERS,
    TYPES,
    Device,
    Parameter,
    Storage,
    Tensor,
    legacy,
    pickled,
    tensor,
    zipped,
)

from minigrad.errors import FormatError
from minigrad.formats import load

DATA = Path(__file__).parent / "data"
NUMPY_TYPES = sorted(set(TYPES) - {"bfloat16"})

container = pytest.mark.parametrize("write", CONTAINERS.values(), ids=CONTAINERS)


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "weights"
        path.write_bytes(content)
        return load(path, **options)

    return read


def same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def numbers(dtype, size=24):
    return (np.arange(size) % 7 - 2).astype(dtype)


# --- written by PyTorch ----------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "checkpoint.pth"])
def test_reads_what_torch_wrote(name, mmap):
    found = load(DATA / name, mmap=mmap)
    with np.load(DATA / "expected.npz") as expected:
        assert list(found) == list(expected)
        for key, array in expected.items():
            same(found[key], array)


def test_the_content_decides_not_the_name(tmp_path):
    for name in ("zip.pth", "legacy.pth", "expected.npz"):
        path = tmp_path / "weights.bin"
        shutil.copy(DATA / name, path)
        assert len(load(path)) == 18


# --- written by hand -------------------------------------------------------------------------


@container
@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_dtypes_are_kept(read, write, dtype):
    same(read(write({"a": tensor(numbers(dtype))}))["a"], numbers(dtype))


@container
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_pickle_protocol(read, write, protocol):
    state = OrderedDict(a=tensor(numbers("f4")), b=Parameter(tensor(numbers("i8"))))
    found = read(write(state, protocol=protocol))
    same(found["a"], numbers("f4"))
    same(found["b"], numbers("i8"))


@container
@given(bits=st.lists(st.integers(0, 2**16 - 1), min_size=1))
def test_bfloat16_is_exact_in_float32(tmp_path_factory, write, bits):
    """The value of a bfloat16 by its definition: sign, 8 bits of exponent, 7 of fraction."""
    flat = np.array(bits, "u2")
    path = tmp_path_factory.mktemp("bf16") / "w.pth"
    path.write_bytes(write({"a": Tensor(Storage(flat, "bfloat16"), 0, (len(bits),), (1,))}))
    for found, b in zip(load(path)["a"], bits, strict=True):
        sign, exponent, fraction = (-1.0) ** (b >> 15), b >> 7 & 255, b & 127
        if exponent == 255:
            expected = np.nan if fraction else sign * np.inf
        elif exponent:
            expected = sign * 2.0 ** (exponent - 127) * (1 + fraction / 128)
        else:
            expected = sign * 2.0**-126 * fraction / 128
        np.testing.assert_equal(float(found), expected)


@st.composite
def strided(draw):
    """A strided tensor within a storage of float32, overlapping itself or not."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    strides = [draw(st.integers(0, 9)) for _ in shape]
    offset = draw(st.integers(0, 5))
    reach = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n) + 1
    flat = np.arange(reach + draw(st.integers(0, 3)), dtype="f4")
    return Tensor(Storage(flat), offset, tuple(shape), tuple(strides))


@container
@pytest.mark.parametrize("mmap", [False, True])
@given(record=strided())
def test_an_element_lies_where_offset_and_strides_say(tmp_path_factory, write, mmap, record):
    path = tmp_path_factory.mktemp("strided") / "w.pth"
    path.write_bytes(write({"a": record}))
    found = load(path, mmap=mmap)["a"]
    assert found.shape == record.shape
    for index in np.ndindex(record.shape):
        place = record.offset + sum(i * s for i, s in zip(index, record.strides, strict=True))
        assert found[index] == record.storage.flat[place]


@container
@pytest.mark.parametrize("mmap", [False, True])
def test_tensors_of_one_storage_share_memory(read, write, mmap):
    shared, alone = Storage(numbers("f4")), Storage(numbers("f4"))
    found = read(
        write({
            "tied": Tensor(shared, 0, (4, 6), (6, 1)),
            "other": Tensor(shared, 6, (18,), (1,)),
            "alone": Tensor(alone, 0, (24,), (1,)),
        }),
        mmap=mmap,
    )  # fmt: skip
    found["tied"][1, 0] = 99
    assert found["other"][0] == 99
    assert not np.shares_memory(found["tied"], found["alone"])


@container
def test_mapped_arrays_never_change_the_file(tmp_path, write):
    path = tmp_path / "w.pth"
    path.write_bytes(write({"a": tensor(numbers("f4"))}))
    load(path, mmap=True)["a"][:] = 0
    same(load(path)["a"], numbers("f4"))


@container
def test_without_mmap_the_arrays_outlive_the_file(tmp_path, write):
    path = tmp_path / "w.pth"
    path.write_bytes(write({"a": tensor(numbers("f4"))}))
    found = load(path)["a"]
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    same(found, numbers("f4"))


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_big_endian_files(read, dtype):
    state = {"a": tensor(numbers(dtype))}
    for content in (legacy(state, little_endian=False), zipped(state, byteorder="big")):
        found = read(content)["a"]
        same(found, numbers(dtype))
        assert found.dtype.isnative


def test_packed_records(read):
    same(read(zipped({"a": tensor(numbers("f4"))}, compression=8))["a"], numbers("f4"))


@container
@pytest.mark.parametrize(
    "key", ["state_dict", "model_state_dict", "model", "net", "network", "params", "weights"]
)
def test_the_state_dict_of_a_checkpoint(read, write, key):
    state = OrderedDict([("conv.weight", tensor(numbers("f4"))), ("steps", 3)])
    beside = {
        "epoch": 3, "lr": 0.1, "device": Device(), "rng": tensor(numbers("u1")),
        "milestones": Counter([1, 2]), "history": defaultdict(list, loss=[0.5]),
        "optimizer": {"state": {0: {"momentum": tensor(numbers("f4"))}}}, "seen": {1, 2},
    }  # fmt: skip
    found = read(write({**beside, key: state}))
    assert list(found) == ["conv.weight"]


@container
def test_the_prefix_of_data_parallel_is_cut_if_all_names_have_it(read, write):
    one = tensor(numbers("f4"))
    assert list(read(write({"module.a": one, "module.b.module.c": one}))) == ["a", "b.module.c"]
    assert list(read(write({"module.a": one, "b": one}))) == ["module.a", "b"]


@container
@pytest.mark.parametrize("value", [[1], 3, None, {"epoch": 3}, {"a": {"b": [1]}}])
def test_a_file_without_a_state_dict(read, write, value):
    with pytest.raises(FormatError, match=r"weights: the file holds (no|an?) "):
        read(write(value))


@container
def test_a_tensor_alone(read, write):
    with pytest.raises(FormatError, match="not a dict of tensors"):
        read(write(tensor(numbers("f4"))))


def test_an_empty_state_dict(read):
    assert read(zipped({})) == {}
    assert read(legacy(OrderedDict())) == {}


@container
def test_the_budget_is_the_bytes_of_the_arrays(read, write):
    content = write({"a": tensor(numbers("f4")), "b": tensor(numbers("f4"))})
    assert len(read(content, budget=192)) == 2
    with pytest.raises(FormatError, match="tensor 'b' needs 96 bytes, more than the budget of 191"):
        read(content, budget=191)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.pth")


@given(data=st.data(), write=st.sampled_from([legacy, zipped]))
def test_damage_gives_arrays_or_a_format_error(tmp_path_factory, data, write):
    """Any byte changed, anywhere outside of what is checked, never gives another exception."""
    content = bytearray(write({"a": tensor(numbers("f4")), "b": Tensor(
        Storage(numbers("i2")), 2, (2, 3), (1, 4))}))  # fmt: skip
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "w.pth"
    path.write_bytes(content)
    try:
        arrays = load(path)
    except FormatError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


@container
def test_every_truncation_is_refused(tmp_path, write):
    content = write({"a": tensor(numbers("f4")), "b": tensor(numbers("i2"))})
    path = tmp_path / "w.pth"
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(FormatError):
            load(path)


def test_the_builders_write_what_torch_writes():
    """The pickles made here name torch's functions, at every protocol."""
    for protocol in (2, 4):
        body, _ = pickled({"a": Parameter(tensor(numbers("f4")))}, protocol)
        for name in (b"_rebuild_tensor_v2", b"_rebuild_parameter", b"FloatStorage"):
            assert name in body
