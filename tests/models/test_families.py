"""Each family computes what the original libraries compute, under their own names.

golden/families.json.gz holds, for weights that a formula gives (golden/weights.py), the
names and shapes of each library's state dict and the logits it computed in float64;
golden/make_families.py made it.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import models
from minigrad.errors import StateDictError
from minigrad.models import checkpoints

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads(gzip.decompress((GOLDEN / "families.json.gz").read_bytes()))["cases"]
spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
weights = importlib.util.module_from_spec(spec)
spec.loader.exec_module(weights)


def identify(case):
    return f"{case['name']}-{case['library_model']}-{case['preset']}".replace(" ", "_")


def created(case):
    state = weights.state(case["keys"])
    model = models.create(case["name"], preset=case["preset"], weights=state, **case["switches"])
    return model, state


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_logits_equal_those_of_the_original_library(case):
    model, _ = created(case)
    with mg.no_grad(), mg.backend("numpy"):
        y = model(mg.from_numpy(weights.image(case["size"]))).numpy()[0]
    scale = case["norm"]
    assert abs(np.linalg.norm(y) - case["norm"]) <= 1e-10 * scale
    assert np.abs(y[:8] - case["logits"]).max() <= 1e-10 * scale
    assert abs(y.sum() - case["sum"]) <= 1e-10 * scale


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_keys_convert_back_to_the_same_bytes(case):
    model, state = created(case)
    back = checkpoints.convert(model, checkpoints.detect(state))
    assert list(back) == list(state) or set(back) == set(state)
    for key, array in state.items():
        assert back[key].shape == array.shape
        assert back[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("case", [c for c in CASES if "loss" in c], ids=identify)
def test_gradients_of_the_loss_equal_those_of_the_original_library(case):
    state = weights.state(case["keys"])
    drop = {} if case["name"].startswith("squeezenext") else {"stochastic_depth": 0.0}
    model = models.create(
        case["name"], preset=case["preset"], weights=state, dropout=0.0, **drop, **case["switches"]
    ).train()
    with mg.backend("numpy"):
        logits = model(mg.from_numpy(weights.image(case["size"], 2)))
        loss = mg.cross_entropy(logits, np.array([3, 5]), label_smoothing=0.1)
        loss.backward()
    assert loss.item() == pytest.approx(case["loss"], rel=1e-10)
    theirs = checkpoints.key_map(model, checkpoints.detect(state))
    largest = max(norm for norm, _ in case["gradients"].values())
    for name, p in model.named_parameters():
        norm, first = case["gradients"][theirs[name]]
        got = p.grad.numpy()
        assert abs(np.linalg.norm(got) - norm) <= 1e-9 * norm + 1e-12 * largest, name
        assert abs(got.ravel()[0] - first) <= 1e-9 * norm + 1e-12 * largest, name
    for name, b in model.named_buffers():
        norm, first = case["running"][theirs[name]]
        assert np.linalg.norm(b.numpy()) == pytest.approx(norm, rel=1e-10), name
        assert b.numpy()[0] == pytest.approx(first, rel=1e-9, abs=1e-12 * norm), name


BACKBONES = ["mobilenet_v2", "mobilenet_v3_large", "mobilenetv3_large_100", "mobilenetv3_large_w1",
             "mnasnet1_0", "efficientnet-b0", "sqnxt23_w1", "efficientnet_v2_s"]  # fmt: skip


@pytest.mark.parametrize("theirs", BACKBONES)
def test_a_backbone_takes_the_weights_of_the_whole_network(theirs):
    case = next(c for c in CASES if c["library_model"] == theirs)
    how = {"preset": case["preset"], "weights": weights.state(case["keys"])}
    whole = models.create(case["name"], **how)
    backbone = models.create(case["name"], features_only=True, **how)
    x = mg.from_numpy(weights.image(64))
    with mg.no_grad(), mg.backend("numpy"):
        last = backbone(x)[-1]
        y = whole.blocks(whole.stem(x) if whole.pool is None else whole.pool(whole.stem(x)))
    assert np.array_equal(last.numpy(), y.numpy())


def test_timm_weights_need_to_be_told_apart():
    case = next(c for c in CASES if c["preset"] == "timm_tf")
    with pytest.raises(StateDictError, match=r"preset='timm' or preset='timm_tf'"):
        models.create(case["name"], weights=weights.state(case["keys"]))


def test_the_library_of_the_weights_sets_the_preset():
    for library in ("torchvision", "efficientnet_pytorch"):
        case = next(c for c in CASES if c["preset"] == library and not c["switches"])
        model = models.create(case["name"], weights=weights.state(case["keys"]))
        assert model.preset == library


def test_weights_are_refused_by_a_network_that_would_compute_something_else():
    case = next(c for c in CASES if c["library_model"] == "mobilenet_v2")
    model = models.create("mobilenet_v2").to(np.float64)
    with pytest.raises(StateDictError, match="pads and normalises as 'slim'"):
        model.load_state_dict(weights.state(case["keys"]))


def test_a_key_that_is_missing_is_named():
    case = next(c for c in CASES if c["library_model"] == "mobilenet_v2")
    state = weights.state(case["keys"])
    del state["features.3.conv.2.weight"]
    state["features.99.weight"] = np.zeros(3)
    with pytest.raises(StateDictError) as caught:
        models.create("mobilenet_v2", weights=state)
    message = str(caught.value)
    assert "1 missing: blocks.1.1.project.conv.weight" in message
    assert "1 unexpected: features.99.weight" in message
