""".npz files: NumPy's own, read without pickle."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from weight_files import archive, npy

from minigrad.errors import FormatError
from minigrad.formats import load


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@given(
    array=hnp.arrays(
        hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(16, 32, 64)),
        hnp.array_shapes(min_dims=0, min_side=0),
    )
)
def test_reads_what_numpy_wrote(tmp_path_factory, write, mmap, array):
    path = tmp_path_factory.mktemp("npz") / "w.npz"
    write(path, **{"a.weight": array, "transposed": array.T})
    found = load(path, mmap=mmap)
    assert list(found) == ["a.weight", "transposed"]
    for name, expected in (("a.weight", array), ("transposed", array.T)):
        assert found[name].dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], expected)


def test_zeros_of_every_size_unpack(tmp_path):
    """zlib may still hold output when all of its input is used up."""
    path = tmp_path / "w.npz"
    for size in [*range(0, 3000, 37), *range(3000, 200_000, 1013), 1 << 20, (3 << 20) + 1]:
        np.savez_compressed(path, a=np.zeros(size, "u1"))
        assert load(path)["a"].shape == (size,)


@given(
    sizes=st.lists(st.integers(0, 1 << 17), min_size=1, max_size=3),
    kind=st.sampled_from(["zeros", "noise", "ramp"]),
)
def test_packed_arrays_of_any_size_unpack(tmp_path_factory, sizes, kind):
    path = tmp_path_factory.mktemp("npz") / "w.npz"
    make = {"zeros": np.zeros, "noise": np.random.default_rng(0).random, "ramp": np.arange}[kind]
    arrays = {f"{k}": np.asarray(make(size), "f4") for k, size in enumerate(sizes)}
    np.savez_compressed(path, **arrays)
    state = load(path)
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name], array)


def test_an_empty_archive(tmp_path):
    np.savez(tmp_path / "w.npz")
    assert load(tmp_path / "w.npz") == {}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_changed_byte_of_data_is_noticed(tmp_path, write):
    path = tmp_path / "w.npz"
    write(path, a=np.arange(100.0))
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="CRC-32|unpack"):
        load(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}], dtype=object), "array of numbers"),
        (np.array(["text"]), "array of numbers"),
        (np.zeros(2, [("a", "f4")]), "array of numbers"),
        (np.zeros(2, "M8[s]"), "array of numbers"),
    ],
)
def test_only_numbers_are_read(tmp_path, array, message):
    (tmp_path / "w.npz").write_bytes(archive({"a.npy": npy(array)}))
    with pytest.raises(FormatError, match=message):
        load(tmp_path / "w.npz")


class Stream(io.RawIOBase):
    """A file that cannot go back, so that sizes and checksums stand behind each record."""

    def __init__(self):
        self.content = bytearray()

    def writable(self):
        return True

    def write(self, raw):
        self.content += raw
        return len(raw)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_an_archive_written_to_a_stream(tmp_path, write):
    stream = Stream()
    write(stream, a=np.arange(1000.0), b=np.ones(3))
    (tmp_path / "w.npz").write_bytes(stream.content)
    state = load(tmp_path / "w.npz")
    np.testing.assert_array_equal(state["a"], np.arange(1000.0))
    np.testing.assert_array_equal(state["b"], np.ones(3))
