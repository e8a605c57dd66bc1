"""Every network built from the two blocks: tables, builders, and other libraries' weights.

===============  ================================================================
families         one table and one builder each, with the other libraries' names
registry         every network by name; ``create``
network          the frame that every network shares, and the rows of the tables
family           what the registry knows of a network
naming           what other libraries call layers: the parts that families share
checkpoints      weights recognised by their names, and adapted
identity         which network weights are of; the same under other names
preparation      how photographs were prepared: plain data
layer            a layer as a row of figures
cost_table       those rows as a table
costs            parameters, multiply-adds, receptive fields, layer by layer
metadata         what changes a network and no shape, as text beside its weights
dense            what networks for every pixel and for objects share
detection        networks that find objects
segmentation     networks that name every pixel
block_memory     the activation memory of each block, split or not
drawing          a network as a picture
===============  ================================================================

What may be changed: how costs, drawings and tables look. What a network computes stays as
its authors and libraries have it (tests/models), as do the names in a state dict.
"""

from typing import TYPE_CHECKING

from minigrad.models.metadata import Description
from minigrad.models.network import Network
from minigrad.models.preparation import Preparation
from minigrad.models.registry import create, entry, names, resolve

if TYPE_CHECKING:
    from minigrad.models import detection, segmentation
    from minigrad.models.block_memory import memory
    from minigrad.models.costs import summary
    from minigrad.models.drawing import svg
    from minigrad.models.identity import convert, identify

__all__ = [
    "Description",
    "Network",
    "Preparation",
    "convert",
    "create",
    "detection",
    "entry",
    "identify",
    "memory",
    "names",
    "resolve",
    "segmentation",
    "summary",
    "svg",
]

# Imported when they are first asked for: most of them need the engine.
LATE = {
    "convert": "identity",
    "identify": "identity",
    "memory": "block_memory",
    "detection": "",
    "segmentation": "",
    "summary": "costs",
    "svg": "drawing",
}


def __getattr__(name: str) -> object:
    if name not in LATE:
        from minigrad.tensor import hints

        known = {name: f"mg.models.create({name!r})"} if name in names() else hints.MODELS
        raise hints.missing("minigrad.models", name, known, __all__)
    from importlib import import_module

    if not LATE[name]:  # a package of its own
        return import_module(f"{__name__}.{name}")
    globals()[name] = getattr(import_module(f"{__name__}.{LATE[name]}"), name)
    return globals()[name]
