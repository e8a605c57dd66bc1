"""Checkpoints as trainers write them load by one line, and give the trainer's numbers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg

STORED = Path(__file__).parents[1] / "golden" / "checkpoints"
FILES = ["lightning.ckpt", "timm_ema.pth.tar", "compiled.pt", "parallel.pth", "averaged.pth",
         "half.pth", "bfloat16.pth", "everything.pth"]  # fmt: skip
NARROW = {"width": 0.1}


@pytest.fixture
def file(tmp_path):
    def unpack(name):
        path = tmp_path / name
        path.write_bytes(gzip.decompress((STORED / f"{name}.gz").read_bytes()))
        return path

    return unpack


def expected(library):
    with gzip.open(STORED / "expected.npz.gz") as file, np.load(file) as arrays:
        theirs = {k.removeprefix(f"{library}/"): v for k, v in arrays.items() if library in k}
    preset = "timm" if library == "timm" else None
    model = mg.models.create("mobilenet_v2", weights=theirs, preset=preset, **NARROW)
    return model.state_dict()


def check(model, library="torchvision", times=1):
    state = model.state_dict()
    for name, array in expected(library).items():
        assert state[name].dtype == np.float32
        np.testing.assert_array_equal(state[name], times * array)


@pytest.mark.parametrize("name", FILES)
def test_a_trainers_checkpoint_loads_by_one_line(file, name):
    model = mg.models.create("mobilenet_v2", weights=file(name), **NARROW)
    check(model, "timm" if "timm" in name else "torchvision")
    assert model.classifier.weight.shape == (2, 1280)


def test_a_moving_average_is_asked_for_by_its_key(file):
    path = file("timm_ema.pth.tar")
    assert mg.load(path).others == ("state_dict_ema",)
    average = mg.load(path, key="state_dict_ema")
    check(mg.models.create("mobilenet_v2", weights=average, **NARROW), "timm", times=2)


@pytest.mark.newest
@pytest.mark.parametrize(
    "prefix",
    ["model.", "module.encoder.net.", "student.0."]
    + [pytest.param(p, marks=pytest.mark.full) for p in ("net.", "encoder.", "backbone.")],
)
def test_a_network_inside_a_larger_module(prefix):
    model = mg.models.create("mnasnet_small", rng=0)
    own = model.state_dict()
    larger = {prefix + k: v for k, v in own.items()} | {"criterion.weight": np.ones(3, "f4")}
    again = mg.models.create("mnasnet_small", weights=larger, preset="tensorflow")
    for name, array in own.items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    assert mg.models.identify(larger).name == "mnasnet_small"
    model.load_state_dict(larger)
