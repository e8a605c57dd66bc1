"""Files of weights: `load` reads them into NumPy arrays, `save` writes them.

=================  ==========================================================
.pth, .pt, .bin    PyTorch's zip and legacy containers, read without PyTorch
.npz               NumPy's archive, read without pickle
.safetensors       with metadata, as text by name
=================  ==========================================================

A file is taken for what it contains, not for its name, and is never trusted: no code in it
runs, and its sizes are held against the file and a budget before memory is taken.

================================  ==================================================
files                             load and save, whatever the format
source, writing                   bytes of a file: snapshot or mapping; whole or not at all
limits                            the budget of bytes and work that one file has
zip_directory, zip_reader         records of a zip archive
pickle_reader, pickle_machine     pickles, read as data and never run
pickle_opcodes                    what each opcode does
tensors, numbers                  from what a file says to arrays
pth, pth_writer                   PyTorch's containers
npz, safetensors                  the two others
checkpoint, state_dict            the weights among everything else that a trainer saves
prefixes                          what stands before the names of the weights
metadata                          text that travels with the arrays
json_scanner                      JSON, without the time that importing json takes
================================  ==================================================

What may be changed: how a file is read, as long as no hostile file costs more than its
limits (tests/formats). What is written stays readable by the libraries whose formats these
are.
"""

from typing import TYPE_CHECKING

from minigrad.demand import on_demand

if TYPE_CHECKING:
    from minigrad.formats.files import load, save
    from minigrad.formats.state_dict import StateDict

__all__ = ["StateDict", "load", "save"]

on_demand(
    __name__,
    {"minigrad.formats.files": "load save", "minigrad.formats.state_dict": "StateDict"},
)
