"""``peers``: every system in its own process, compared, then timed in turns."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

from .foreign import undisturbed
from .peer_process import Peer, PeerError
from .peers import ANCHOR, PEERS, TASKS, Judge
from .results import Row, summary
from .runner import SETTLE_S
from .session import Session

PHASES = {"time": "ms", "peak memory": "MB"}


def run(session: Session, options: Any) -> None:
    """Measure a group of systems against ours.

    Raises
    ------
    SystemExit
        If there is no such group.
    """
    from . import figures

    groups = sorted({entry.group for entry in PEERS.values()})
    if options.group not in (*groups, "all"):
        raise SystemExit(f"no group {options.group!r}; there are {', '.join(groups)} and all")
    if session.device != "cpu":
        raise SystemExit("the peers are measured on the CPU: not all of them have a GPU version")
    chosen = [n for n, e in PEERS.items() if options.group in (e.group, "all") or n == ANCHOR]
    rounds = session.rounds or (7 if session.quick else 15)
    duel = Duel(session, options.group, chosen)
    try:
        for task in session.progress(TASKS, "task"):
            duel.task(task, rounds)
    finally:
        duel.close()
    print(table(session.results.latest("peers")))
    figures.draw_peers(session.results)


class Duel:
    """The processes of one run."""

    def __init__(self, session: Session, group: str, names: list[str]) -> None:
        self.session, self.group, self.names = session, group, names
        self.judge = Judge(session.seed)
        self.peers: dict[str, Any] = {}

    def start(self, name: str) -> Any:
        """The process of a peer, started when it is first needed."""
        return Peer(name, self.session.seed)

    def rows(self, name: str, task: str) -> dict[str, Row]:
        return {
            phase: self.session.row(task, name, phase, f"group={self.group}", unit=unit)
            for phase, unit in PHASES.items()
        }

    def task(self, task: str, rounds: int) -> None:
        """Check, time and weigh everyone in one task; who failed or was refused gets a row too."""
        results = self.session.results
        todo = [n for n in self.names if not all(map(results.has, self.rows(n, task).values()))]
        if not set(todo) - {ANCHOR}:
            return
        remarks: dict[str, str] = {}
        for name in dict.fromkeys([ANCHOR, *todo]):
            try:
                if name not in self.peers:
                    self.peers[name] = self.start(name)
                remarks[name] = self.judge.check(task, self.peers[name].output(task))
            except (AssertionError, PeerError) as error:
                refused = isinstance(error, AssertionError)
                status = "refused" if refused else "failed"
                note = ("outputs disagree: " if refused else "") + str(error).splitlines()[0]
                print(f"{name}, {task}: {note}", file=sys.stderr)
                failed = [
                    replace(row, status=status, note=note) for row in self.rows(name, task).values()
                ]
                results.add(failed)
        foreign, values = undisturbed(lambda: self._turns(task, list(remarks), rounds))
        for name, remark in remarks.items():
            rows = self.rows(name, task)
            peak = self.peers[name].ask("memory", task)
            results.add(
                [
                    replace(rows["time"], note=remark + foreign.remark(), **summary(values[name])),
                    replace(
                        rows["peak memory"],
                        note="beyond what is held between calls",
                        **summary([peak]),
                    ),
                ]
            )

    def _turns(self, task: str, names: list[str], rounds: int) -> dict[str, list[float]]:
        values: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                time.sleep(SETTLE_S)
                values[name].append(self.peers[name].ask("time", task))
        return values

    def close(self) -> None:
        for peer in self.peers.values():
            peer.close()


def relative(rows: list[Row], phase: str = "time") -> dict[str, dict[str, float]]:
    """Contestant -> task -> how many times ours, measured in the same run, it takes."""
    ours = {(r.run, r.case): r.median for r in rows if r.contestant == ANCHOR and r.phase == phase}
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        base = ours.get((row.run, row.case))
        if row.phase == phase and row.status == "ok" and row.median and base:
            found.setdefault(row.contestant, {})[row.case] = row.median / base
    return found


def times(value: float, digits: int = 2) -> str:
    """Two digits or three, without an exponent."""
    return f"{value:.0f}" if value >= 10**digits else f"{value:.{digits}g}"


def table(rows: list[Row]) -> str:
    """Markdown: times in ms and, in brackets, as multiples of ours; then peak memory."""
    ratios = relative(rows)
    lines = []
    for phase, unit in PHASES.items():
        lines += [
            f"| {phase}, {unit} | " + " | ".join(TASKS) + " |",
            "|---|" + "---:|" * len(TASKS),
        ]
        medians = {(r.contestant, r.case): r for r in rows if r.phase == phase}
        for name in dict.fromkeys(r.contestant for r in rows):
            cells = []
            for task in TASKS:
                row = medians.get((name, task))
                if row is None or row.median is None:
                    cells.append(row.status if row else "-")
                elif phase == "time":
                    ratio = ratios.get(name, {}).get(task)
                    cells.append(
                        f"{times(row.median, 3)}" + (f" ({times(ratio)}x)" if ratio else "")
                    )
                else:
                    cells.append(f"{row.median:.0f}")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)
