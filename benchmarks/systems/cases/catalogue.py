"""All cases."""

from __future__ import annotations

from . import core, event, memory, sparse, spiking, training, whole
from .case import Case

CASES = (
    *core.CASES,
    *whole.CASES,
    *event.CASES,
    *sparse.CASES,
    *spiking.CASES,
    *training.CASES,
    *memory.CASES,
)


def case(name: str) -> Case:
    """A case by name.

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    return {one.name: one for one in CASES}[name]
