"""Text that travels with the arrays, in every format."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import FormatError
from minigrad.formats import StateDict, load, save

SUFFIXES = [".npz", ".pth", ".safetensors"]
kinds = pytest.mark.parametrize("suffix", SUFFIXES)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@kinds
@given(metadata=st.dictionaries(texts, texts))
def test_what_is_said_is_read(tmp_path_factory, suffix, metadata):
    path = tmp_path_factory.mktemp("metadata") / f"w{suffix}"
    save(path, {"a": np.ones(3)}, metadata=metadata)
    state = load(path)
    assert state.metadata == metadata
    assert list(state) == ["a"]


@kinds
@pytest.mark.parametrize("other", SUFFIXES)
def test_it_goes_along_from_format_to_format(tmp_path, suffix, other):
    save(tmp_path / f"a{suffix}", {"a": np.ones(3)}, metadata={"preset": "torchvision"})
    save(tmp_path / f"b{other}", load(tmp_path / f"a{suffix}"))
    assert load(tmp_path / f"b{other}").metadata == {"preset": "torchvision"}
    save(tmp_path / f"c{other}", load(tmp_path / f"a{suffix}"), metadata={})
    assert load(tmp_path / f"c{other}").metadata == {}


@kinds
@pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}, {"a": "\ud800"}, {"a": None}])
def test_only_text_by_name_is_written(tmp_path, suffix, metadata):
    with pytest.raises(FormatError, match="metadata are text by name"):
        save(tmp_path / f"w{suffix}", {"a": np.ones(3)}, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def test_numpy_sees_an_array_of_a_reserved_name(tmp_path):
    save(tmp_path / "w.npz", {"a": np.ones(3)}, metadata={"preset": "torchvision"})
    with np.load(tmp_path / "w.npz") as file:
        assert file["__metadata__"].tobytes() == b'{"preset": "torchvision"}'


def test_python_sees_an_attribute_of_an_ordered_dict(tmp_path):
    """So torch's load_state_dict takes the file as if it were not there."""
    save(tmp_path / "w.pth", {}, metadata={"preset": "torchvision"})
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        state = pickle.loads(archive.read("archive/data.pkl"))
    assert type(state) is OrderedDict
    assert state.minigrad_metadata == {"preset": "torchvision"}


def test_the_library_sees_its_own_metadata(tmp_path):
    from safetensors import safe_open

    save(tmp_path / "w.safetensors", {"a": np.ones(3)}, metadata={"preset": "torchvision"})
    with safe_open(tmp_path / "w.safetensors", "np") as file:
        assert file.metadata() == {"preset": "torchvision"}


@kinds
@pytest.mark.parametrize("name", ["a\0b", "\ud800", "__metadata__", "x" * 5000, 3, None])
def test_a_name_that_no_format_can_hold(tmp_path, suffix, name):
    with pytest.raises(FormatError, match=r"^save: ") as caught:
        save(tmp_path / f"w{suffix}", {name: np.ones(3)})
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@kinds
@given(names=st.sets(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
                             max_size=30), max_size=5))  # fmt: skip
def test_any_other_name_is_kept(tmp_path_factory, suffix, names):
    names = sorted(names - {"__metadata__"})
    path = tmp_path_factory.mktemp("names") / f"w{suffix}"
    save(path, {name: np.full(2, k) for k, name in enumerate(names)})
    state = load(path)
    for k, name in enumerate(names):
        np.testing.assert_array_equal(state[name], [k, k])


def test_a_state_dict_is_a_dict():
    state = StateDict({"a": np.ones(3)}, {"b": "c"}, "ema", ("state_dict",))
    assert isinstance(state, dict)
    assert (state.metadata, state.key, state.others) == ({"b": "c"}, "ema", ("state_dict",))
    assert dict(state).keys() == {"a"}
