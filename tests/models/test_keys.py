"""Every library's names and shapes of every network it has, by digest.

golden/keys.json holds, for each of 127 models of other libraries, a digest of its sorted
"name shape" lines; golden/make_keys.py made it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from minigrad import models, nn
from minigrad.errors import StateDictError
from minigrad.models import checkpoints

ROWS = json.loads((Path(__file__).parents[1] / "golden" / "keys.json").read_text())


def library(preset: str) -> str:
    return preset.removesuffix("_tf").removesuffix("_b")


def identify(row):
    return f"{row['preset']}-{row['model']}".replace(" ", "_")


def zeros(model):
    """The model's state without memory: every value the same 0."""
    for _, stored in [*model.named_parameters(), *model.named_buffers()]:
        stored.adopt(np.broadcast_to(np.zeros((), np.float32), stored.shape))
    return model


@pytest.mark.parametrize("row", ROWS, ids=identify)
def test_names_and_shapes_are_the_library_s_own(row):
    model = zeros(models.create(row["name"], preset=row["preset"]))
    theirs = checkpoints.convert(model, library(row["preset"]))
    lines = sorted(f"{k} {v.shape}" for k, v in theirs.items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == row["keys"]
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == set(row["eps"])


@pytest.mark.parametrize("row", ROWS[::7], ids=identify)
def test_what_was_converted_can_be_read_back(row):
    model = zeros(models.create(row["name"], preset=row["preset"]))
    theirs = checkpoints.convert(model, library(row["preset"]))
    tracked = {"any.num_batches_tracked": np.array(3)}
    model.load_state_dict({**theirs, **tracked})
    assert checkpoints.detect(theirs) == library(row["preset"])


def test_names_of_nobody_are_refused():
    with pytest.raises(StateDictError, match="the names are of no library known here"):
        models.create("mobilenet_v2", weights={"encoder.0.weight": np.zeros(1, np.float32)})
    with pytest.raises(StateDictError, match="there are no tensors in it"):
        models.create("mobilenet_v2", weights={})


def test_a_library_without_the_network_is_refused():
    state = {"features.0.0.weight": np.zeros((32, 3, 3, 3), np.float32)}
    with pytest.raises(StateDictError, match="torchvision's, which has no such network"):
        models.create("efficientnet_lite0", weights=state)


@pytest.mark.parametrize(
    ("name", "library"),
    [("squeezenext_1_0_23", "timm"), ("efficientnet_v2_s", "pytorchcv")],
)
def test_a_library_without_the_block_is_refused_by_name(name, library):
    with pytest.raises(StateDictError, match=f"{library} has no networks of"):
        checkpoints.key_map(models.create(name), library)


@pytest.mark.parametrize("name", models.names())
def test_every_library_that_a_preset_names_has_names_for_the_network(name):
    model = models.create(name)
    for preset in model.entry.presets:
        for of in checkpoints.LIBRARIES:
            if preset == of or preset.startswith(f"{of}_"):
                assert checkpoints.key_map(model, of)
