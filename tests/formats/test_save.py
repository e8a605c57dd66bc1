"""What `save` writes, `load` reads; a failure leaves the old file."""

from __future__ import annotations

import io
import pickletools
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from minigrad.errors import DtypeError, FormatError
from minigrad.formats import load, save

kinds = pytest.mark.parametrize("suffix", [".npz", ".pth", ".safetensors"])


@kinds
@given(
    array=hnp.arrays(
        hnp.boolean_dtypes()
        | hnp.integer_dtypes()
        | hnp.floating_dtypes(sizes=(16, 32, 64))
        | hnp.unsigned_integer_dtypes(sizes=(8,)),
        hnp.array_shapes(min_dims=0, min_side=0),
    )
)
def test_what_is_saved_is_loaded(tmp_path_factory, suffix, array):
    path = tmp_path_factory.mktemp("save") / f"w{suffix}"
    save(path, {"file": array, "b.weight": array.T, "module.c": array[..., None][::-1]})
    found = load(path)
    assert set(found) == {"file", "b.weight", "module.c"}
    for name, expected in (("file", array), ("b.weight", array.T)):
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], expected)


@kinds
def test_a_file_can_be_saved_over_while_its_arrays_are_mapped(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    save(path, {"a": np.arange(10_000.0)})
    mapped = load(path, mmap=True)
    save(path, {"a": mapped["a"] + 1})
    np.testing.assert_array_equal(mapped["a"], np.arange(10_000.0))
    np.testing.assert_array_equal(load(path)["a"], np.arange(10_000.0) + 1)


@kinds
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    save(path, {"a": np.ones(3)})
    with pytest.raises((AttributeError, TypeError, DtypeError)):
        save(path, {"a": np.ones(3), "b": np.array([object()])})
    assert list(tmp_path.iterdir()) == [path]
    assert list(load(path)) == ["a"]


def test_the_pickle_of_a_pth_is_well_formed(tmp_path):
    save(tmp_path / "w.pth", {"a": np.ones((2, 3), "f4")})
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        pickletools.dis(archive.read("archive/data.pkl"), out=io.StringIO())


def test_an_unknown_ending(tmp_path):
    with pytest.raises(FormatError, match="not '.h5'"):
        save(tmp_path / "w.h5", {})
