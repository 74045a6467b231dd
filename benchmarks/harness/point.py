"""A size of one layer, as `speedup` and its figures have it."""

from __future__ import annotations

from typing import NamedTuple

from .rows import Row


class Point(NamedTuple):
    """Neurons, steps and batch size."""

    n: int
    T: int
    b: int

    @classmethod
    def of(cls, row: Row) -> Point:
        return cls(row.number("n"), row.number("T"), row.number("b"))
