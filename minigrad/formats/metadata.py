"""Text that travels with the arrays of a file, by name: what changes a network and no shape.

Each format keeps it where its own readers expect or overlook it: .safetensors in
``__metadata__``, .npz in an array of a reserved name (the bytes of JSON), .pth in an
attribute of the OrderedDict, which torch's ``load_state_dict`` never looks at.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minigrad.errors import FormatError
from minigrad.formats.numbers import Array

__all__ = ["ATTRIBUTE", "RESERVED", "checked_metadata", "decode_metadata", "encode_metadata"]

RESERVED = "__metadata__"  # the name that no array may have
ATTRIBUTE = "minigrad_metadata"  # of the OrderedDict in a .pth
MAX_BYTES = 1 << 20


def encode_metadata(metadata: Mapping[str, str]) -> Array:
    """The texts as an array of bytes."""
    import json  # here and below: it makes the start slower, and few files need it

    return np.frombuffer(json.dumps(dict(metadata)).encode(), np.uint8)


def decode_metadata(array: Array | None) -> dict[str, str]:
    """The texts in an array of bytes; none if there is no array."""
    if array is None:
        return {}
    if array.dtype != np.uint8 or array.nbytes > MAX_BYTES:
        raise FormatError(f"the array {RESERVED!r} does not hold bytes of metadata")
    import json

    try:
        return checked_metadata(json.loads(array.tobytes()))
    except (ValueError, RecursionError):
        raise FormatError(f"the array {RESERVED!r} does not hold metadata in JSON") from None


def checked_metadata(value: object) -> dict[str, str]:
    """A dict of texts, or a FormatError."""
    if not isinstance(value, dict):
        raise FormatError("the metadata of the file are not texts by name")
    texts = {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, str)}
    if len(texts) != len(value):
        raise FormatError("the metadata of the file are not texts by name")
    return texts
