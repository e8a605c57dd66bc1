"""Our own networks, a tenth as wide, under weights from a formula.

``make_exported.py`` and ``make_converted.py`` give these weights to the same networks of others,
and write them with their exporters; ``tests/graphs/test_exported.py`` compares the files with
these.
"""

from __future__ import annotations

import numpy as np
import weights

from minigrad.models import create
from minigrad.models.network import Network

CLASSES = 5


def own(name: str, preset: str) -> Network:
    """A network in evaluation mode, in float32."""
    model = create(name, preset=preset, width=0.1, num_classes=CLASSES)
    shapes = [(key, array.shape) for key, array in model.state_dict().items()]
    state = {key: coarse(array) for key, array in weights.state(shapes).items()}
    model.load_state_dict(state)
    return model.eval()


def coarse(array: np.ndarray) -> np.ndarray:
    """About sixteen values, so that files of them are small when they are packed."""
    step = 2.0 ** np.floor(np.log2(np.abs(array).max() / 8))
    return (np.round(array / step) * step).astype(np.float32)
