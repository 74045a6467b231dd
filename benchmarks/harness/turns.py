"""The one way to measure: contestants run in turns, with a pause before each.

Libraries' threads spin for a while after their work is done, OpenBLAS's for 0.12 s, and would take
a core from the next contestant. After the pause a short run is preceded by an untimed one, which
finds caches and threads again; a long run finds them on its way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from .contest import Contestant, Figures
from .timers import Timer, wall_clock

SETTLE_S = 0.2
_SHORT_MS = 50


def turns(
    contestants: Mapping[str, Contestant], rounds: int, timer: Timer = wall_clock
) -> dict[str, Figures]:
    """The figures of every round by contestant and phase. Each contestant has run before."""
    figures: dict[str, Figures] = {name: {} for name in contestants}
    last: dict[str, float] = {}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            time.sleep(SETTLE_S)
            if last.get(name, _SHORT_MS) < _SHORT_MS:
                contestant.warm()
            turn = contestant.turn(timer)
            last[name] = sum(sum(v) for phase, v in turn.items() if phase != "total")
            for phase, values in turn.items():
                figures[name].setdefault(phase, []).extend(values)
    return figures
