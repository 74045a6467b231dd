"""A case: contestants with ratios that are hoped for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...harness.contest import Bar, Contest


@dataclass(frozen=True)
class Case:
    """A name, what is measured, how to set it up, and what is hoped for."""

    name: str
    about: str
    names: tuple[str, ...]
    setup: Callable[[Sequence[str]], Contest]  #: a contest with at least some of the names
    bars: tuple[Bar, ...] = ()
    ours: tuple[str, ...] = ()  #: those of `names` that run this project's code
    rounds: int = 15
    unit: str = "ms"
