"""What changes a network and no shape travels with its weights, and is used or asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import Tensor, formats, no_grad
from minigrad.errors import StateDictError
from minigrad.formats import StateDict
from minigrad.models import convert, create, identify, preparation
from minigrad.models.metadata import Description, describe

NAME = "mobilenet_v2_0_35"
SUFFIXES = (".npz", ".pth", ".safetensors")


def logits(model):
    x = Tensor(np.random.default_rng(0).standard_normal((1, 3, 33, 47), np.float32))
    with no_grad():
        return model.eval()(x).numpy()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("preset", "switches"),
    [("torchvision", {}), ("slim", {}), ("timm", {"output_stride": 16}), ("slim", {"bn_eps": 0.1}),
     ("slim", {"padding": "symmetric", "width": 0.5}), ("torchvision", {"num_classes": 0})],
)  # fmt: skip
def test_a_saved_network_computes_the_same_when_it_is_read(tmp_path, suffix, preset, switches):
    model = create(NAME, preset=preset, rng=0, **{"num_classes": 5, **switches})
    path = tmp_path / f"a{suffix}"
    formats.save(path, model.state_dict())
    back = create(NAME, weights=path)
    assert (back.preset, back.preparation) == (preset, model.preparation)
    np.testing.assert_array_equal(logits(back), logits(model))
    assert identify(formats.load(path)).presets == (preset,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_and_preparation_travel(tmp_path, suffix):
    model = create(NAME, num_classes=2, rng=0)
    model.labels = ("cat", "d\u00f6g")
    model.preparation = preparation.IMAGENET._replace(size=96, std=(1.0, 2.5, 3.0))
    formats.save(tmp_path / f"a{suffix}", model.state_dict())
    back = create(NAME, weights=tmp_path / f"a{suffix}")
    assert back.labels == model.labels
    assert back.preparation == model.preparation


def test_weights_that_do_not_say_whose_they_are_are_asked_about():
    plain = dict(create(NAME, preset="torchvision", rng=0).state_dict())
    with pytest.raises(StateDictError, match="say preset='slim' or preset='torchvision'"):
        create(NAME, weights=plain)
    assert create(NAME, weights=plain, preset="torchvision").preset == "torchvision"


def test_what_the_caller_says_wins():
    state = create(NAME, preset="torchvision", rng=0, output_stride=16).state_dict()
    model = create(NAME, preset="slim", weights=state, output_stride=32)
    assert (model.preset, model.switches) == ("slim", {"output_stride": 32})


def test_weights_of_another_network_are_named():
    state = create("squeezenext_1_0_23", rng=0).state_dict()
    with pytest.raises(StateDictError, match="weights of 'squeezenext_1_0_23', not of mobilenet"):
        create("mobilenet_v2", weights=state)


def test_a_conversion_to_our_names_states_the_preset_and_to_others_does_not():
    theirs = convert(create(NAME, preset="torchvision", rng=0).state_dict(), "torchvision")
    assert Description.of(theirs.state.metadata).preset == ""
    back = convert(theirs.state, "minigrad").state
    assert create(NAME, weights=back).preset == "torchvision"
    v3 = create("mobilenet_v3_small", preset="timm_tf", rng=0)
    ambiguous = convert(dict(convert(v3.state_dict(), "timm").state), "minigrad").state
    with pytest.raises(StateDictError, match="say preset="):
        create("mobilenet_v3_small", weights=ambiguous)


texts = st.text(max_size=30) | st.sampled_from(
    ["{}", "[]", "null", '{"width": 1e400}', '{"a": {"b": 1}}', "[1]", '["x"]', "[" * 9999,
     json.dumps(preparation.IMAGENET._asdict()),
     json.dumps(preparation.IMAGENET._replace(size=10**9)._asdict()),
     json.dumps(preparation.IMAGENET._replace(std=(0, 0, 0))._asdict()),
     json.dumps(preparation.IMAGENET._replace(resample="x")._asdict())]
)  # fmt: skip


@given(st.dictionaries(
    st.sampled_from(["network", "preset", "switches", "labels", "preparation", "other"]).map(
        "minigrad.".__add__) | st.text(max_size=5), texts, max_size=4))  # fmt: skip
def test_any_metadata_are_read_or_refused(metadata):
    try:
        stated = Description.of(metadata)
    except StateDictError as error:
        assert len(str(error)) < 300  # noqa: PT017
        return
    again = describe(*stated)
    assert Description.of(again) == stated


def test_an_unknown_preset_or_switch_in_a_file_is_a_sentence():
    state = create(NAME, rng=0).state_dict()
    for key, text in (("preset", "keras"), ("switches", '{"x": 1}')):
        odd = StateDict(state, {**state.metadata, f"minigrad.{key}": text})
        with pytest.raises(ValueError, match="keras|no switch"):
            create(NAME, weights=odd)


def test_a_librarys_name_decides_where_the_weights_leave_it_open_and_only_there():
    v3 = create("mobilenet_v3_small", preset="timm_tf", rng=0)
    theirs = convert(v3.state_dict(), "timm").state
    with pytest.raises(StateDictError, match="say preset='timm' or preset='timm_tf'"):
        create("mobilenet_v3_small", weights=theirs)
    assert create("tf_mobilenetv3_small_100", weights=theirs).preset == "timm_tf"
    torchvision = convert(create(NAME, preset="torchvision", rng=0).state_dict(), "torchvision")
    assert create("mobilenetv2_035", weights=torchvision.state).preset == "torchvision"


def test_a_trunk_with_flat_names_gives_features():
    """As older ports of MobileNetV2 have them, without a classifier."""
    model = create(NAME, preset="pytorch_mobilenet_v2", num_classes=0, rng=0)
    theirs = convert(dict(model.state_dict()), "pytorch_mobilenet_v2", NAME).state
    assert "features.2.conv.7.running_var" in theirs
    back = create(NAME, weights=dict(theirs))
    assert (back.preset, back.classifier) == ("pytorch_mobilenet_v2", None)
    np.testing.assert_array_equal(logits(back), logits(model))
    assert logits(back).shape == (1, 1280)
