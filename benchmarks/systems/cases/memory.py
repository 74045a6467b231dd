"""Cases of memory, each contestant in a fresh process (Linux only)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ...harness.contest import Bar, Contest, Figure
from ..names import ANCHOR, LOOP, SPARSE
from ..peaks import fresh
from .case import Case


def _case(
    name: str, about: str, calls: dict[str, Callable[[], float]], ours: tuple[str, ...], bar: Bar
) -> Case:
    def setup(names: Sequence[str]) -> Contest:
        figures = {who: Figure(call) for who, call in calls.items()}
        return Contest(figures, lambda outputs: "each process checks its own result")

    return Case(name, about, tuple(calls), setup, (bar,), ours, rounds=3, unit="MB")


CASES = (
    _case(
        "memory-train",
        "peak extra memory of a training step, 784-200-10, T = 100, batch 128",
        {"ours": partial(fresh, "train", ANCHOR), LOOP: partial(fresh, "train", LOOP)},
        ("ours",),
        Bar("ours", LOOP, 5.0),
    ),
    _case(
        "memory-train-sparse",
        "the same in the dense engine: on `SpikeTimes`, and on a dense input",
        {
            SPARSE: partial(fresh, "train", SPARSE),
            "ours, dense": partial(fresh, "train", "ours, dense"),
        },
        (SPARSE, "ours, dense"),
        Bar(SPARSE, "ours, dense", 3.0),
    ),
    _case(
        "memory-stream",
        "peak memory of the whole process, 500-200-10 in chunks of 1,000 steps",
        {
            "T = 1,000": partial(fresh, "stream", "1"),
            "T = 100,000": partial(fresh, "stream", "100"),
        },
        ("T = 1,000", "T = 100,000"),
        Bar("T = 100,000", "T = 1,000", 1 / 1.1),
    ),
)
