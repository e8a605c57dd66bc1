"""What `save` writes, `load` reads; a failure leaves the old file."""

from __future__ import annotations

import io
import json
import pickletools
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from minigrad import formats
from minigrad.errors import DtypeError, FormatError
from minigrad.formats import files, load, save

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


def _many(count, size):
    """So many arrays, whose names are as JSON writes them ``size`` bytes in all."""
    names = [f"{i:04d}\1".ljust(size // count - 7, "x") for i in range(count)]
    rest = size - sum(len(json.dumps(name)) for name in names)
    names[0] += "y" * rest
    return {name: np.zeros(1, np.float32) for name in names}


@pytest.mark.parametrize("suffix", ["npz", "pth", "safetensors"])
def test_what_load_would_refuse_is_not_written(tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    for count in (files.MAX_SAVED, 300):
        state = _many(count, files.MAX_SAVED_TEXT - 4)
        formats.save(path, state, metadata={"": ""})
        assert len(formats.load(path)) == count
    before = path.read_bytes()
    with pytest.raises(FormatError, match="names and metadata take 1,048,577 bytes"):
        formats.save(path, state, metadata={"": "z"})
    with pytest.raises(FormatError, match="8,001 arrays"):
        formats.save(path, {str(i): np.zeros(0) for i in range(files.MAX_SAVED + 1)})
    assert path.read_bytes() == before
