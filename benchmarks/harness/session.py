"""What every command shares: results, options, a progress bar, and the measuring of a contest."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, NamedTuple

from .checkout import HERE, Checkout
from .contention import undisturbed
from .contest import Contest, Contestant, Figures, Setup
from .results import Results
from .rows import Parameters, Phase, Row, summary
from .timers import Timer, timer_for
from .turns import turns
from .worker import Remote, Worker, WorkerError


class Entrant(NamedTuple):
    """A contestant, and the other checkout that it is taken from; empty: this one."""

    name: str
    checkout: str = ""

    def __str__(self) -> str:
        return f"{self.name} @ {self.checkout}" if self.checkout else self.name


@dataclass(frozen=True)
class Session:
    """The options of one command, and where its rows go. Leaving it ends its processes."""

    command: str
    results: Results
    quick: bool = False
    device: str = "cpu"
    backend: str | None = None
    seed: int = 0
    rounds: int | None = None
    against: Checkout | None = None  #: whose code is measured as well, in turns with ours
    server: str = ""  #: the module that a worker runs
    workers: dict[Any, Worker] = field(default_factory=dict, compare=False)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    @property
    def timer(self) -> Timer:
        return timer_for(self.device, self.backend)

    def row(
        self,
        case: str,
        contestant: str,
        phase: str,
        parameters: Parameters | None = None,
        **more: Any,
    ) -> Row:
        """A row of this command, without figures yet."""
        device = f"{self.device} ({self.backend})" if self.backend else self.device
        return Row(
            self.command,
            case,
            contestant,
            phase,
            parameters or Parameters(),
            quick=self.quick,
            device=device,
            **{"seed": self.seed, **more},
        )

    def progress(self, items: Iterable[Any], unit: str) -> Iterator[Any]:
        """The items behind a progress bar on stderr."""
        from tqdm import tqdm

        items = list(items)
        return iter(tqdm(items, desc=self.command, unit=unit, file=sys.stderr, dynamic_ncols=True))

    def measure(
        self,
        setup: Setup,
        case: str,
        parameters: Parameters,
        names: Iterable[str],
        phases: Sequence[Phase],
        *,
        rounds: int,
        skip: Mapping[str, str] | None = None,
        anchor: str = "",
        is_apart: bool = False,
        resumes: bool = True,
        attempts: int = 2,
    ) -> list[Row]:
        """Compare and time contestants in turns; add and return a row for each and each phase.

        Whoever disagrees gets rows with status "refused" and no figure, and whoever is in `skip`,
        which says why, rows with "skipped". What the results have already is left out if `resumes`,
        but `anchor` is measured again with any other. With `is_apart` every contestant has a
        process of its own. A measurement that others disturb is repeated up to `attempts` times.
        """
        skip = skip or {}
        stubs = self._stubs(setup, case, parameters, names, phases)
        if resumes:
            stubs = self._left(stubs, anchor)
        added: list[Row] = []
        for entrant in [e for e in stubs if e.name in skip]:
            skipped = [
                replace(row, status="skipped", note=skip[entrant.name])
                for row in stubs.pop(entrant)
            ]
            added += self.results.add(skipped)
        if not stubs:
            return added
        contest, entrants = self._entrants(setup, list(stubs), is_apart)
        verdicts = _verdicts(contest, entrants)
        for entrant, (status, note) in verdicts.items():
            if status != "ok":
                print(f"{entrant}, {case} {parameters}: {note}", file=sys.stderr)
                refused = [replace(row, status=status, note=note) for row in stubs.pop(entrant)]
                added += self.results.add(refused)
        runners = {str(entrant): entrants[entrant] for entrant in stubs}
        if not runners:
            return added
        for contestant in runners.values():
            contestant.warm()
        foreign, figures = undisturbed(lambda: turns(runners, rounds, self.timer), attempts)
        for entrant, rows in stubs.items():
            contestant, remark = entrants[entrant], verdicts[entrant][1]
            for phase, row in zip(phases, rows, strict=True):
                values = _values(phase, contestant, figures[str(entrant)])
                note = phase.note or remark + foreign.remark()
                if values:
                    figure = summary(values, phase.percentile)
                    added += self.results.add([replace(row, note=note, **figure)])
        return added

    def _stubs(
        self,
        setup: Setup,
        case: str,
        parameters: Parameters,
        names: Iterable[str],
        phases: Sequence[Phase],
    ) -> dict[Entrant, list[Row]]:
        entrants = []
        for name in names:
            entrants.append(Entrant(name))
            if self.against is not None and name in setup.ours:
                entrants.append(Entrant(name, self.against.label))
        return {
            e: [
                self.row(case, e.name, p.name, parameters, unit=p.unit, checkout=e.checkout)
                for p in phases
            ]
            for e in entrants
        }

    def _left(self, stubs: dict[Entrant, list[Row]], anchor: str) -> dict[Entrant, list[Row]]:
        """Those not measured yet, with the ones that they are compared with in the same run."""
        todo = {e for e, rows in stubs.items() if not all(map(self.results.has, rows))}
        if anchor and todo <= {Entrant(anchor)}:
            return {}
        names = {e.name for e in todo if self.against is not None} | {anchor}
        return {e: rows for e, rows in stubs.items() if e in todo or (todo and e.name in names)}

    def _entrants(
        self, setup: Setup, wanted: list[Entrant], is_apart: bool
    ) -> tuple[Contest, dict[Entrant, Contestant]]:
        """The contest, and its contestants in this process or in others.

        With another checkout our own code runs in a process of its own too: both have the same.
        """
        twins = {e.name for e in wanted if e.checkout}
        local = [e.name for e in wanted if not is_apart and e.name not in twins]
        contest = setup.make(local)
        found: dict[Entrant, Contestant] = {}
        for entrant in wanted:
            if entrant.name in local:
                found[entrant] = contest.contestants[entrant.name]
                continue
            names = (entrant.name,) if is_apart else tuple(n for n in setup.ours if n in twins)
            theirs = self.against if entrant.checkout else HERE
            checkout = theirs if entrant.name in twins else None
            worker = self._worker(names if is_apart else (), checkout)
            found[entrant] = Remote(worker, setup.kind, setup.arguments, names, entrant.name)
        return contest, found

    def _worker(self, names: tuple[str, ...], checkout: Checkout | None) -> Worker:
        """The process of a checkout, and of these contestants where each has its own."""
        key = names, checkout
        if key not in self.workers:
            arguments = [self.device, *([self.backend] if self.backend else [])]
            self.workers[key] = Worker(self.server, arguments, checkout)
        return self.workers[key]


def _verdicts(
    contest: Contest, entrants: Mapping[Entrant, Contestant]
) -> dict[Entrant, tuple[str, str]]:
    """Status and note of each: "ok" and the judge's remark, "refused", or "failed".

    Another checkout's outputs are judged as ours are, each in the place of our own.
    """
    outputs: dict[Entrant, Any] = {}
    verdicts: dict[Entrant, tuple[str, str]] = {}
    for entrant, contestant in entrants.items():
        try:
            outputs[entrant] = contestant.output()
        except WorkerError as error:
            verdicts[entrant] = "failed", _first_line(error)
    here = {e.name: output for e, output in outputs.items() if not e.checkout}
    for checkout in dict.fromkeys(e.checkout for e in outputs):
        judged = [e for e in outputs if e.checkout == checkout]
        together = here | {e.name: outputs[e] for e in judged}
        missing = sorted({e.name for e in entrants} - together.keys())
        if missing and not contest.one_by_one:
            note = f"not compared, because {missing[0]} failed"
            verdicts |= dict.fromkeys(judged, ("failed", note))
        elif contest.one_by_one:
            verdicts |= {e: _verdict(contest, {e.name: outputs[e]}) for e in judged}
        else:
            verdicts |= dict.fromkeys(judged, _verdict(contest, together))
    return verdicts


def _verdict(contest: Contest, outputs: dict[str, Any]) -> tuple[str, str]:
    try:
        return "ok", contest.judge(outputs)
    except AssertionError as error:
        return "refused", f"outputs disagree: {_first_line(error)}"


def _values(phase: Phase, contestant: Contestant, figures: Figures) -> list[float]:
    if phase.is_peak:
        return [contestant.peak()]
    return figures.get(phase.source or phase.name, [])


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no reason given")
