"""What can be asked of every network: sizes, classes, strides, maps, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import formats, models
from minigrad.errors import StateDictError
from minigrad.models.costs import record
from minigrad.models.families.mobilenet_v2 import FAMILY
from minigrad.models.family import entries
from minigrad.models.network import dilated

SOME = ["squeezenext_1_0_23v5", "mobilenet_v2_0_35", "mobilenet_v3_small", "mnasnet_small",
        "efficientnet_lite0", "efficientnet_v2_b0"]  # fmt: skip


def shapes(model, size=224, channels=3):
    graph = record(model, (1, channels, size, size))
    return [value.shape for value in graph.outputs]


@pytest.mark.parametrize("name", models.names())
def test_every_network_builds_and_ends_in_its_classes(name):
    model = models.create(name, num_classes=7, in_channels=1)
    assert shapes(model, models.entry(name).input_size, 1) == [(1, 7)]


@pytest.mark.parametrize("name", models.names())
def test_every_preset_builds(name):
    for preset in models.entry(name).presets:
        assert models.create(name, preset=preset).preset == preset


@pytest.mark.parametrize("name", models.names())
def test_features_are_the_maps_they_say(name):
    model = models.create(name, features_only=True)
    small = name.endswith("_small") and models.entry(name).input_size == 32
    assert [f.stride for f in model.features] == ([1, 2, 4] if small else [2, 4, 8, 16, 32])
    size = 224
    for feature, shape in zip(model.features, shapes(model, size), strict=True):
        assert shape[1] == feature.channels
        # Unpadded stems (SqueezeNext) lose a few pixels at the border.
        assert size // feature.stride - 3 <= shape[2] <= size // feature.stride + 1


def test_features_of_known_networks():
    def channels(name):
        return [f.channels for f in models.create(name, features_only=True).features]

    assert channels("mobilenet_v2") == [16, 24, 32, 96, 320]
    assert channels("mobilenet_v3_small") == [16, 16, 24, 48, 96]
    assert channels("efficientnet_b0") == [16, 24, 40, 112, 320]
    assert channels("squeezenext_1_0_23") == [64, 32, 64, 128, 256]


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("rule", ["slim", "torchvision"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_keeps_the_weights_and_the_finer_map(name, rule, output_stride):
    plain = models.create(name, rng=0)
    dense = models.create(name, output_stride=output_stride, dilation_rule=rule, rng=0)
    assert {k: v.shape for k, v in plain.state_dict().items()} == {
        k: v.shape for k, v in dense.state_dict().items()
    }
    backbone = models.create(
        name, features_only=True, output_stride=output_stride, dilation_rule=rule
    )
    last = shapes(backbone)[-1]
    assert (
        last[2] == shapes(models.create(name, features_only=True))[{8: 2, 16: 3}[output_stride]][2]
    )
    assert backbone.features[-1].stride == output_stride


def test_slim_dilates_behind_the_block_and_torchvision_the_block_itself():
    def dilations(rule):
        model = models.create("mobilenet_v3_large", output_stride=16, dilation_rule=rule)
        return [block.dw.conv.dilation[0] for stage in model.blocks for block in stage][12:]

    assert dilations("slim") == [1, 2, 2]
    assert dilations("torchvision") == [2, 2, 2]


def test_a_stride_that_was_taken_bars_the_shortcut_under_torchvisions_rule():
    assert [s.residual for s in dilated([2, 2], 8, "torchvision", start=8)] == [False, False]
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32, not 12"):
        dilated([1], 12)


def test_stochastic_depth_grows_with_the_block():
    """drop_i = 0.2 i / N, i from 0: the last of B0's 16 blocks drops 0.1875."""
    model = models.create("efficientnet_b0")
    drops = [block.drop.p for stage in model.blocks for block in stage]
    assert drops == pytest.approx([0.2 * i / 16 for i in range(16)])
    assert drops[-1] == pytest.approx(0.1875)


def test_squeezenext_blocks_take_turns():
    model = models.create("squeezenext_1_0_23")
    blocks = [block for stage in model.blocks for block in stage]
    kernels = [block.spatial1.conv.weight.shape[2:] for block in blocks]
    assert kernels == [(3, 1), (1, 3)] * 10 + [(3, 1)]
    assert [block.shortcut is not None for block in blocks] == [
        i in (0, 6, 12, 20) for i in range(21)
    ]
    assert not any(block.serial for block in blocks)
    v5 = models.create("squeezenext_1_0_23v5")
    assert [block.serial for stage in v5.blocks for block in stage].count(True) == 4


def test_squeezenext_sizes_on_the_training_crop():
    model = models.create("squeezenext_1_0_23", features_only=True)
    assert [s[2] for s in shapes(model, 227)] == [111, 55, 28, 14, 7]
    v5 = models.create("squeezenext_1_0_23v5", features_only=True)
    assert [s[2] for s in shapes(v5, 227)] == [112, 56, 28, 14, 7]


@pytest.mark.parametrize("name", ["squeezenext_1_0_23", "mobilenet_v2_0_35", "efficientnet_lite0"])
def test_a_step_of_training_lowers_the_loss(name):
    how = {"width": 0.25} if "squeeze" in name else {"stochastic_depth": 0.0}
    model = models.create(name, num_classes=3, rng=0, dropout=0.0, **how)
    x = mg.Tensor(np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32))
    labels = np.array([0, 1, 2, 0])
    loss = mg.cross_entropy(model(x), labels)
    loss.backward()
    norm = sum(float((p.grad.numpy() ** 2).sum()) for p in model.parameters())
    with mg.no_grad():
        for p in model.parameters():
            p.copy_(p.numpy() - np.float32(0.01 / norm**0.5) * p.grad.numpy())
    assert mg.cross_entropy(model(x), labels).item() < loss.item()


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(ValueError, match="no network 'mobilenetv2'; did you mean mobilenet_v2"):
        models.create("mobilenetv2")


def test_a_wrong_switch_or_preset_is_named():
    with pytest.raises(ValueError, match="mobilenet_v2 has no switch 'depthh'"):
        models.create("mobilenet_v2", depthh=2)
    with pytest.raises(ValueError, match="has the presets slim, torchvision"):
        models.create("mobilenet_v2", preset="caffe")


def test_adding_a_network_is_adding_a_row(monkeypatch):
    rows = entries(FAMILY, "ours", ("tiny", {"width": 0.25}, 96, None))
    monkeypatch.setattr("minigrad.models.registry.NETWORKS", rows)
    assert models.names() == ["tiny"]
    assert shapes(models.create("tiny", num_classes=4), 96) == [(1, 4)]


def test_half_precision_weights_become_float32():
    state = models.create("mnasnet_small", rng=0).state_dict()
    half = {k: v.astype(np.float16) for k, v in state.items()}
    mixed = {**state, "classifier.bias": half["classifier.bias"]}
    for weights in (half, mixed):
        model = models.create("mnasnet_small", weights=weights, preset="timm")
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, weights[name].astype(np.float32))
    model = models.create("mnasnet_small", weights=half, preset="timm", dtype=np.float64)
    assert model.classifier.weight.dtype == np.float64
    several = {**state, "classifier.bias": state["classifier.bias"].astype(np.float64)}
    with pytest.raises(StateDictError, match=r"several dtypes \(float32, float64\): say dtype="):
        models.create("mnasnet_small", weights=several, preset="timm")


def test_a_map_of_a_backbone_is_named_like_the_network_s():
    whole = models.create("mobilenet_v2")
    names = {step.layer for step in record(whole, (1, 3, 64, 64)).steps.values()}
    backbone = models.create("mobilenet_v2", features_only=True)
    own = {step.layer for step in record(backbone, (1, 3, 64, 64)).steps.values()}
    assert own < names


def test_reconstructions_say_so_in_their_names():
    for name in models.names():
        source = models.entry(name).source
        assert name.endswith("_reconstructed") == ("reconstructed" in source)


def test_weights_may_be_saved_and_given_again(tmp_path):
    model = models.create("mobilenet_v2_0_35", rng=0)
    path = tmp_path / "weights.npz"
    formats.save(path, model.state_dict())
    again = models.create("mobilenet_v2_0_35", weights=path)
    assert not again.training
    for name, array in model.state_dict().items():
        assert np.array_equal(again.state_dict()[name], array)
    wide = models.create("mobilenet_v2_0_35", weights=path, dtype="float64")
    assert wide.classifier.weight.dtype == np.float64
