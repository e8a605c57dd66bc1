"""What networks for every pixel and for objects share: a backbone's maps, names, and a table.

trunk       the maps of a backbone, at named places
network     a network of a backbone and heads, which knows its weights' other names
labels      the names of the classes of COCO and PASCAL VOC
catalogue   such networks by name, and how one is built

What may be changed: how a table is looked up. Names in a state dict, and what a network
computes, stay as its authors and libraries have it (tests/models/test_segmentation.py).
"""

from minigrad.models.dense.catalogue import Catalogue, Entry
from minigrad.models.dense.network import Dense
from minigrad.models.dense.trunk import Trunk

__all__ = ["Catalogue", "Dense", "Entry", "Trunk"]
