"""Every network of ours, saved and read back in every format and dtype."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import models
from minigrad.formats import load, save

DTYPES = ("float32", "float64", "float16")
SUFFIXES = (".npz", ".pth", ".safetensors")
HUGE = {"efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "efficientnet_b8"}
HUGE |= {"efficientnet_v2_l", "efficientnet_v2_xl"}
LARGE = 15_000_000  # numbers


@pytest.fixture
def state_of(monkeypatch):
    """Names and shapes are what counts, so no weights are drawn."""
    monkeypatch.setattr("minigrad.nn.init.initialize", lambda *arguments: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    return lambda name: models.create(name).state_dict()


def check(path, state):
    save(path, state)
    found = load(path)
    assert list(found) == list(state)
    for key, array in state.items():
        assert found[key].dtype == array.dtype
        assert found[key].shape == array.shape
        assert found[key].tobytes() == array.tobytes()


@pytest.mark.newest
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.full if n in HUGE else ()) for n in models.names()],
)
def test_the_names_and_ranks_of_every_network(name, tmp_path, state_of):
    """With arrays cut short: headers of .safetensors take every length, and bytes every place."""
    state = {
        key: np.ascontiguousarray(array[tuple(slice(0, 2) for _ in array.shape)])
        for key, array in state_of(name).items()
    }
    for suffix in SUFFIXES:
        check(tmp_path / f"w{suffix}", state)


@pytest.mark.full
@pytest.mark.parametrize("name", models.names())
def test_the_weights_of_every_network(name, tmp_path, state_of):
    if sum(array.size for array in state_of(name).values()) > LARGE:
        return  # names and ranks are tested above, and gigabytes on the disk show nothing more
    for dtype in DTYPES:
        for suffix in SUFFIXES:
            check(
                tmp_path / f"w{suffix}",
                {k: v.astype(dtype) for k, v in state_of(name).items()},
            )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_weights_of_a_network(suffix, tmp_path):
    model = models.create("mobilenet_v2_0_35", rng=0)
    check(tmp_path / f"w{suffix}", model.state_dict())
    again = models.create("mobilenet_v2_0_35", weights=tmp_path / f"w{suffix}")
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], array)
