"""Both blocks learn to read: 98 % of the digits they have not seen, in a stated number of epochs.

Bits do not depend on threads or instruction sets, so on one machine or another this is the
same run.  What would make it fail: a wrong gradient in a block, in batch norm or in the loss,
an update with a wrong sign or rate, labels that leave their pictures while shuffling.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import ArrayDataset, Compose, Loader, Normalize, RandomCrop
from minigrad.optim import SGD, CosineAnnealingLR
from minigrad.training import Run, Settings, fit

NORMALIZE = Normalize((127.5,), (127.5,))


def digits(part):
    """Every fifth picture is for validation; 8x8 pictures of 0 to 16 become 16x16 of 0 to 240."""
    with np.load(Path(__file__).parents[1] / "golden" / "digits.npz") as file:
        images, labels = file["images"] * 15, file["labels"].astype(np.int64)
    chosen = (np.arange(len(labels)) % 5 == 0) == (part == "validation")
    return ArrayDataset(images[chosen].repeat(2, axis=1).repeat(2, axis=2), labels[chosen])


@pytest.mark.parametrize(
    ("name", "epochs", "lr"),
    [("inverted_residual_small", 6, 0.05), ("squeezenext_small", 10, 0.1)],
)
def test_a_small_network_of_each_block_reads_digits(name, epochs, lr):
    moved = Compose((RandomCrop(16, padding=1), NORMALIZE))
    loader = Loader(digits("training"), 32, moved, shuffle=True, drop_last=True)
    validation = Loader(digits("validation"), 64, NORMALIZE)
    model = mg.models.create(name, in_channels=1, num_classes=10)
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
    run = Run(model, optimizer, CosineAnnealingLR(optimizer, T_max=epochs * len(loader)))
    fit(run, loader, Settings(epochs=epochs), validation=validation)
    assert run.history[0].val_accuracy < 0.5  # nothing was known before
    assert run.history[-1].val_accuracy >= 0.98
