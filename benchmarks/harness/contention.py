"""How much of the machine others took while something was timed (Linux; elsewhere nothing is said).

On a shared machine a figure taken under foreign load looks like any other: its row should say so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

REMARK = "other processes took"
_WORTH_SAYING = 0.1
_TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


class Contention:
    """Between entering and leaving: CPU time that neither this process nor its children used."""

    def __enter__(self) -> Contention:
        self._start = _readings()
        self.share = 0.0
        return self

    def __exit__(self, *_: Any) -> None:
        end = _readings()
        if self._start is None or end is None:
            return
        total, busy, own = (b - a for a, b in zip(self._start, end, strict=True))
        self.share = max(busy - own, 0.0) / total if total > 0 else 0.0

    def remark(self) -> str:
        """What to add to a note; nothing where others took less than a tenth."""
        if self.share < _WORTH_SAYING:
            return ""
        return f"; {REMARK} {100 * self.share:.0f} % of the machine"


def undisturbed(take: Callable[[], Any], attempts: int = 2) -> tuple[Contention, Any]:
    """Take a measurement, once more if others were busy, and keep the less disturbed one."""
    kept: tuple[Contention, Any] | None = None
    for _ in range(attempts):
        with Contention() as foreign:
            values = take()
        if kept is None or foreign.share < kept[0].share:
            kept = foreign, values
        if not foreign.remark():
            break
    assert kept is not None
    return kept


def _readings() -> tuple[float, float, float] | None:
    """Seconds of all cores, of those the busy ones (stolen by the host included), and our own."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        user, nice, system, idle, wait, irq, softirq, steal = (_TICK_S * int(n) for n in first)
    except (OSError, ValueError):
        return None
    busy = user + nice + system + irq + softirq + steal
    return busy + idle + wait, busy, _own(os.getpid())


def _own(pid: int) -> float:
    """CPU seconds of a process, of its finished children, and of those that live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it ended in between
        return 0.0
    return _TICK_S * sum(map(int, fields[11:15])) + sum(_own(int(child)) for child in children)
