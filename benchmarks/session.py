"""What every command shares: results, options, a progress bar, and what happens at a duel."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .foreign import undisturbed
from .results import Results, Row, summary
from .runner import Pass, time_passes
from .timers import Timer, timer_for


@dataclass(frozen=True)
class Session:
    """The options of one command, and where its rows go."""

    command: str
    results: Results
    quick: bool = False
    device: str = "cpu"
    backend: str | None = None
    seed: int = 0
    rounds: int | None = None

    @property
    def timer(self) -> Timer:
        return timer_for(self.device, self.backend)

    def row(self, case: str, contestant: str, phase: str, parameters: str, **more: Any) -> Row:
        """A row of this command, without figures yet."""
        device = f"{self.device} ({self.backend})" if self.backend else self.device
        return Row(
            self.command,
            case,
            contestant,
            phase,
            parameters,
            quick=self.quick,
            device=device,
            seed=self.seed,
            **more,
        )

    def progress(self, items: Iterable[Any], unit: str) -> Iterator[Any]:
        """The items behind a progress bar on stderr."""
        from tqdm import tqdm

        items = list(items)
        return iter(tqdm(items, desc=self.command, unit=unit, file=sys.stderr, dynamic_ncols=True))

    def duel(
        self,
        case: str,
        parameters: str,
        make: Callable[[list[str]], tuple[dict[str, Pass], str]],
        contestants: Iterable[str],
        phases: Iterable[str],
        *,
        rounds: int,
        skip: dict[str, str] | None = None,
    ) -> None:
        """Time contestants that `make` sets up and compares, and add a row for each and each phase.

        `make` gets the names that are neither done nor in `skip`, which says why others are left
        out; it returns their passes and a remark, or raises AssertionError where outputs differ:
        nothing is timed then, and the rows say so.
        """
        skip, phases = skip or {}, list(phases)
        stubs = {n: [self.row(case, n, p, parameters) for p in phases] for n in contestants}
        stubs = {n: rows for n, rows in stubs.items() if not all(map(self.results.has, rows))}
        for name in stubs.keys() & skip.keys():
            rows = stubs.pop(name)
            self.results.add(replace(row, status="skipped", note=skip[name]) for row in rows)
        if not stubs:
            return
        try:
            passes, remark = make(list(stubs))
        except AssertionError as error:
            note = "outputs disagree: " + str(error).splitlines()[0]
            rows = [row for rows in stubs.values() for row in rows]
            self.results.add(replace(row, status="refused", note=note) for row in rows)
            print(f"{case} {parameters}: {note}", file=sys.stderr)
            return
        for run in passes.values():
            run()
        foreign, values = undisturbed(lambda: time_passes(passes, rounds, self.timer))
        self.results.add(
            replace(row, note=remark + foreign.remark(), **summary(values[name][row.phase]))
            for name, rows in stubs.items()
            for row in rows
            if row.phase in values[name]
        )
