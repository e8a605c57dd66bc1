"""What a file of weights holds: arrays by name, and the text beside them."""

from __future__ import annotations

from collections.abc import Mapping

from minigrad.formats.numbers import Array

__all__ = ["StateDict"]


class StateDict(dict[str, Array]):
    """Arrays by name, a dict, with what else the file says.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    metadata : mapping of str to str, optional
    key : str
    others : tuple of str
        As the attributes.

    Attributes
    ----------
    metadata : dict of str to str
        Text that was saved with the arrays.
    key : str
        Where in a checkpoint of training the arrays are, such as ``"state_dict"``; empty if
        the file holds nothing else.
    others : tuple of str
        Further state dicts of the checkpoint, which ``load(path, key=...)`` reads.

    Examples
    --------
    >>> import numpy as np
    >>> state = StateDict({"conv.weight": np.ones((8, 3, 3, 3))}, {"preset": "torchvision"})
    >>> list(state), state.metadata["preset"]
    (['conv.weight'], 'torchvision')
    """

    metadata: dict[str, str]
    key: str
    others: tuple[str, ...]

    def __init__(
        self,
        arrays: Mapping[str, Array],
        metadata: Mapping[str, str] | None = None,
        key: str = "",
        others: tuple[str, ...] = (),
    ) -> None:
        super().__init__(arrays)
        self.metadata = dict(metadata or {})
        self.key = key
        self.others = others
