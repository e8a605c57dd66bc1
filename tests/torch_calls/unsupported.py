"""What minigrad does not have, on purpose or not yet, said with the reason."""

from __future__ import annotations


class Unsupported(Exception):
    """A call that no operation, and no composition of them, can stand for."""


def refuse(reason: str, when: bool = True) -> None:
    if when:
        raise Unsupported(reason)
