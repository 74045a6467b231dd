"""The command line: ``python -m benchmarks COMMAND``; without a command, the cases.

Commands measure, `derive` computes and `draw` paints: here they are joined.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import accuracy, bulk_memory, cases, guard, latency, peers, report, scaling, speedup
from .derive import accuracy as derive_accuracy
from .derive import against as derive_against
from .derive import cases as derive_cases
from .derive import guard as derive_guard
from .derive import latency as derive_latency
from .derive import peers as derive_peers
from .derive import report as derive_report
from .derive import scaling as derive_scaling
from .derive.markdown import markdown
from .draw import accuracy as draw_accuracy
from .draw import peers as draw_peers
from .draw import scaling as draw_scaling
from .draw import speedup as draw_speedup
from .harness.command import Command
from .harness.contention import Contention
from .harness.machine import machine, versions
from .harness.options import add_shared, session_of, slowing_settings
from .harness.rows import Row
from .harness.session import Session
from .harness.timers import NOT_RUN_ON_A_GPU, timer_for
from .systems import serve

MOST_FOREIGN = 0.25  # what others may take of the machine while a baseline is taken


@dataclass(frozen=True)
class Done:
    """What a command leaves: session, options, the rows of this run, and how busy others were."""

    session: Session
    options: Any
    rows: Sequence[Row]
    contention: Contention

    @property
    def all_rows(self) -> list[Row]:
        return self.session.results.rows

    @property
    def folder(self) -> Path:
        return self.session.results.path.parent

    def latest(self) -> list[Row]:
        return self.session.results.latest(self.session.command)


@dataclass(frozen=True)
class Joined:
    """A command, what is printed as its rows come, and what is made of them at the end."""

    command: Command[Any]
    finish: Callable[[Done], int]  #: returns the exit status
    show: Callable[[Sequence[Row]], None] = lambda rows: None
    has_head: bool = False  #: whether machine and versions are printed first


def main(argv: list[str]) -> int:
    """Run a command; the exit status is 1 where a bar is not met or a guard finds a regression."""
    if not argv or (argv[0] not in COMMANDS and argv[0] not in ("-h", "--help")):
        argv = ["cases", *argv]
    root = parser()
    parsed = root.parse_args(argv)
    joined = COMMANDS[parsed.command]
    try:
        session = session_of(parsed, joined.command.shares, serve.__name__)
        timer_for(session.device, session.backend)
    except (RuntimeError, ImportError, ValueError) as error:
        root.error(str(error))
    if pinned := slowing_settings():
        print(pinned, file=sys.stderr)
    options = joined.command.options_of(parsed)
    if joined.has_head:
        print(f"{machine()}; {versions()}", flush=True)
    rows: list[Row] = []
    with session, Contention() as contention:
        for taken in joined.command.run(session, options):
            joined.show(taken)
            rows += taken
    done = Done(session, options, rows, contention)
    status = joined.finish(done)
    if session.against is not None:
        table = markdown(derive_against.table(rows))
        print(f"\nBefore: {session.against.label}; now: this checkout\n\n{table}")
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Benchmarks in which no ratio is reported where outputs disagree.",
        epilog=f"Without a command: cases. On GPUs: {NOT_RUN_ON_A_GPU}.",
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, joined in COMMANDS.items():
        about = joined.command.about
        command = commands.add_parser(name, help=about, description=about)
        add_shared(command, joined.command.shares)
        joined.command.add_options(command)
    return root


def show_case(rows: Sequence[Row]) -> None:
    """The table of one case."""
    print(f"\n{_case_report(rows)[0]}", flush=True)


def finish_cases(done: Done) -> int:
    by_case = {row.case: [r for r in done.rows if r.case == row.case] for row in done.rows}
    return 0 if all(_case_report(rows)[1] for rows in by_case.values()) else 1


def _case_report(rows: Sequence[Row]) -> tuple[str, bool]:
    from .systems.cases.catalogue import case

    measured = case(rows[0].case)
    return derive_cases.report(measured.name, measured.about, rows, measured.bars)


def finish_speedup(done: Done) -> int:
    draw_speedup.draw(done.all_rows, done.folder)
    return 0


def finish_peers(done: Done) -> int:
    for table in derive_peers.tables(done.latest()):
        print(markdown(table) + "\n")
    draw_peers.draw(done.all_rows, done.folder)
    return 0


def finish_scaling(done: Done) -> int:
    for line in derive_scaling.lines(done.latest()):
        print(line)
    draw_scaling.draw(done.all_rows, done.folder)
    return 0


def finish_latency(done: Done) -> int:
    print(markdown(derive_latency.table(done.latest())))
    return 0


def finish_accuracy(done: Done) -> int:
    print(markdown(derive_accuracy.table(done.latest())))
    _draw_training(done)
    return 0


def _draw_training(done: Done) -> list[Path]:
    """Figure 3 and, where both models were trained on N-MNIST, its panel b."""
    paths = draw_accuracy.draw(done.all_rows, done.folder)
    recipe = derive_accuracy.recipe_of(done.session.results.latest("accuracy"), "n-mnist")
    runs = accuracy.newest_runs(done.options.runs, recipe, "n-mnist") if paths else {}
    if runs:
        from .systems.training import activity

        try:
            found = {model: activity(run, done.options.root) for model, run in runs.items()}
            paths.append(draw_accuracy.draw_activity(found, done.folder))
        except FileNotFoundError as error:
            print(f"Figure 3b is not drawn: {str(error).splitlines()[0]}", file=sys.stderr)
    return paths


def finish_report(done: Done) -> int:
    """Write the page, and beside it the Markdown table for the README."""
    drawn = {
        "speedup": draw_speedup.draw(done.all_rows, done.folder),
        "peers": draw_peers.draw(done.all_rows, done.folder),
        "scaling": draw_scaling.draw(done.all_rows, done.folder),
        "accuracy": _draw_training(done),
    }
    images = {k: [(path.stem, path.read_bytes()) for path in paths] for k, paths in drawn.items()}
    page = done.options.out
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(derive_report.html_page(done.all_rows, images))
    table = page.with_suffix(".md")
    table.write_text(derive_report.markdown_page(done.all_rows))
    print(f"Wrote {page} ({page.stat().st_size / 1e6:.1f} MB) and {table}")
    return 0


def finish_guard(done: Done) -> int:
    """Compare or, on request, write the baseline anew."""
    options, foreign = done.options, done.contention
    found = derive_guard.ratios(done.rows, guard.WATCHED)
    wanted = sum(len(bars) for bars in guard.WATCHED.values())
    if len(found) < wanted:
        print(f"{wanted - len(found)} ratios have no figure: see above", file=sys.stderr)
    if foreign.remark():
        print(f"Careful{foreign.remark()}", file=sys.stderr)
    if done.session.against is not None:
        label = done.session.against.label
        before = derive_guard.ratios(done.rows, guard.WATCHED, label)
        tolerance = derive_guard.TOLERANCE_AGAINST
        than, absent = label, f"no figure of {label}"
    elif options.update:
        return _update(done, found, wanted)
    else:
        baseline = json.loads(options.baseline.read_text())
        if baseline["machine"] != machine():
            print(f"The baseline is of another machine: {baseline['machine']}", file=sys.stderr)
        before, tolerance = baseline["ratios"], baseline["tolerance"]
        than, absent = "baseline", "no baseline: run with --update"
    if options.tolerance is not None:
        tolerance = options.tolerance
    text, worse = derive_guard.compare(found, before, tolerance, than=than, absent=absent)
    print(text)
    return 1 if worse or len(found) < wanted else 0


def _update(done: Done, found: dict[str, float], wanted: int) -> int:
    if done.contention.share > MOST_FOREIGN or len(found) < wanted:
        print("The baseline is not written: wait until the machine is idle", file=sys.stderr)
        return 1
    record = derive_guard.record(machine(), found)
    done.options.baseline.write_text(json.dumps(record, indent=1) + "\n")
    print(f"Wrote {done.options.baseline}")
    return 0


def finish_bulk_memory(done: Done) -> int:
    """Print what it took, and hold it against the limit."""
    figures = {row.phase: row.median for row in done.rows if not row.checkout}
    took, peak = figures["time"], figures["peak memory"]
    if took is None or peak is None:
        return 1
    options = done.options
    print(
        f"{versions()}: {options.gigabytes:g} GB in blocks of {options.samples} samples took "
        f"{took / 1e3:.0f} s, peak resident memory {peak / 1e3:.2f} GB (limit {options.limit:g} GB)"
    )
    return 0 if peak / 1e3 <= options.limit else 1


COMMANDS: dict[str, Joined] = {
    joined.command.name: joined
    for joined in (
        Joined(cases.COMMAND, finish_cases, show_case, has_head=True),
        Joined(speedup.COMMAND, finish_speedup),
        Joined(peers.COMMAND, finish_peers),
        Joined(scaling.COMMAND, finish_scaling),
        Joined(latency.COMMAND, finish_latency),
        Joined(accuracy.COMMAND, finish_accuracy),
        Joined(report.COMMAND, finish_report),
        Joined(guard.COMMAND, finish_guard),
        Joined(bulk_memory.COMMAND, finish_bulk_memory),
    )
}
