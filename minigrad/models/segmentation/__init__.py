"""Networks that name every pixel of a photograph.

heads       what is set on a backbone's maps
networks    the networks as a table, and what torchvision calls their layers

    model = mg.models.segmentation.create("lraspp_mobilenet_v3_large", weights="lraspp.pth")

What may be changed: how a head is written. What it computes, and its names in a state dict,
stay (tests/models/test_segmentation.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy.typing as npt

from minigrad.formats.numbers import Array
from minigrad.models.dense.catalogue import Catalogue
from minigrad.models.segmentation.heads import ASPP, LRASPP, DeepLabV3Head, FCNHead
from minigrad.models.segmentation.networks import NETWORKS, Segmenter
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["ASPP", "LRASPP", "DeepLabV3Head", "FCNHead", "Segmenter", "create", "names"]

CATALOGUE = Catalogue("segmentation", NETWORKS)


def names() -> list[str]:
    """The name of every network.

    Returns
    -------
    list of str

    Examples
    --------
    >>> "lraspp_mobilenet_v3_large" in names()
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
) -> Segmenter:
    """Build a network that names every pixel.

    Parameters
    ----------
    name : str
        One of ``names()``.
    weights : path or mapping, optional
        A file that ``minigrad.load`` reads, or its arrays, under minigrad's names or those of
        the library that published the network.
    num_classes : int, optional
        With the background; by default as the weights have it, or as published.
    rng : numpy.random.Generator or int, optional
        For the first weights.
    dtype : float32 or float64, optional
    switches
        Of the network's builder, such as ``output_stride``.

    Returns
    -------
    Segmenter
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
    >>> model = create("lraspp_mobilenet_v3_large", rng=0)
    >>> sum(p.size for p in model.parameters())
    3221538
    """
    return CATALOGUE.create(name, weights, num_classes, rng, dtype, switches)
