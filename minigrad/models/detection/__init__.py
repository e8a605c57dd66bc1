"""Networks that find objects: boxes, classes and scores.

anchors     the boxes that a network starts from
boxes       how a network's numbers move such a box, and how boxes overlap
matching    which anchor learns which object
heads       what is set on maps so that every anchor gets its numbers
bifpn       EfficientDet's maps of five sizes, told of each other
detector    what every network that finds objects has
ssdlite     SSDLite on three backbones, and what torchvision and TensorFlow call its layers
efficientdet    EfficientDet on EfficientNets, and what effdet calls its layers
networks    the networks as a table
losses      what is minimised

    model = mg.models.detection.create("ssdlite320_mobilenet_v3_large", weights="ssdlite.pth")

What may be changed: how a head is written. What it computes, and its names in a state dict,
stay (tests/models/test_detection.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy.typing as npt

from minigrad.formats.numbers import Array
from minigrad.models.dense.catalogue import Catalogue
from minigrad.models.detection.detector import Detector
from minigrad.models.detection.losses import (
    efficientdet_loss,
    focal_loss,
    smooth_l1_loss,
    ssd_loss,
)
from minigrad.models.detection.networks import NETWORKS
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "Detector",
    "create",
    "efficientdet_loss",
    "focal_loss",
    "names",
    "smooth_l1_loss",
    "ssd_loss",
]

CATALOGUE = Catalogue("detection", NETWORKS)


def names() -> list[str]:
    """The name of every network.

    Returns
    -------
    list of str

    Examples
    --------
    >>> "ssdlite320_mobilenet_v3_large" in names()
    True
    """
    return list(NETWORKS)


def create(
    name: str,
    *,
    weights: str | os.PathLike[str] | Mapping[str, Array | Tensor] | None = None,
    num_classes: int | None = None,
    rng: Generator | int | None = None,
    dtype: npt.DTypeLike | None = None,
    **switches: object,
) -> Detector:
    """Build a network that finds objects.

    Parameters
    ----------
    name : str
        One of ``names()``.
    weights : path or mapping, optional
        A file that ``minigrad.load`` reads, or its arrays, under minigrad's names or those of
        the library that published the network; of TensorFlow, a frozen graph (.pb).
    num_classes : int, optional
        With the background; by default as the weights have it, or as published.
    rng : numpy.random.Generator or int, optional
        For the first weights.
    dtype : float32 or float64, optional
    switches
        Of the network's builder, such as ``width``.

    Returns
    -------
    Detector
        In evaluation mode if weights were given, in training mode if not.

    Raises
    ------
    UnknownNameError
        For a name or switch that there is not.
    StateDictError
        If the weights do not fit.

    Examples
    --------
    >>> import minigrad as mg
    >>> model = create("ssdlite320_mobilenet_v3_large", rng=0)
    >>> sum(p.size for p in model.parameters())
    3440060
    """
    return CATALOGUE.create(name, weights, num_classes, rng, dtype, switches)
