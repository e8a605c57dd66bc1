""".npz files: NumPy's own, read without pickle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
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
