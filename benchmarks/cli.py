"""The command line: ``python -m benchmarks COMMAND``; without a command, the cases."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from .results import DEFAULT, Results
from .session import Session
from .timers import NOT_RUN_ON_A_GPU, timer_for

COMMANDS = {
    "cases": "ratios with bars: the core and the event engine against products, libraries, memory",
    "speedup": "the paper's grid for one layer: standard SNN, FastSNN as published, ours",
    "peers": "the same layer and network in the libraries people use, each in its own process",
    "scaling": "cost against steps, events, neurons, batch, layers and threads, with exponents",
    "latency": "one sample at a time: p50, p95, p99, first call, import",
    "accuracy": "train on the real data sets and draw the paper's Figure 3",
    "report": "one HTML page and a Markdown table of everything that was measured",
    "guard": "about ten ratios against baseline.json, in under a minute",
}
MODULES = {"cases": "suite", "peers": "peer_duel"}  # where `run` is, if not in one of that name


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Benchmarks in which no ratio is reported where outputs disagree.",
        epilog=f"Without a command: cases. On GPUs: {NOT_RUN_ON_A_GPU}.",
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--quick", action="store_true", help="fewer points and repeats")
        if name != "cases":
            command.add_argument("--results", type=Path, default=DEFAULT, help="CSV file")
        if name in ("speedup", "peers", "scaling", "latency", "guard"):
            command.add_argument("--device", default="cpu", help="cpu or cuda")
            command.add_argument("--backend", choices=["cupy"], help="arrays of the dense core")
        if name not in ("cases", "report", "guard"):
            command.add_argument("--fresh", action="store_true", help="measure all once more")
            command.add_argument(
                "--retry-disturbed", action="store_true", help="and what others disturbed"
            )
            command.add_argument("--seed", type=int, default=0)
        if name not in ("accuracy", "report", "guard"):
            command.add_argument("--rounds", type=int, help="repeats")
        globals().get(f"_{name}_options", lambda command: None)(command)
    return root


def _cases_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("cases", nargs="*", metavar="case", help="all unless given")


def _speedup_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--budget", type=float, help="seconds a pass may take; above: skipped")


def _peers_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--group", default="plain", help="which libraries; see benchmarks/peers")


def _accuracy_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--datasets", nargs="+", default=["fashion-mnist", "n-mnist", "shd"])
    command.add_argument("--models", nargs="+", choices=["fast", "standard"])
    command.set_defaults(models=["fast", "standard"])
    command.add_argument("--seeds", type=int, default=3, help="how many, from --seed on")
    command.add_argument("--recipe", choices=["best", "paper"], default="paper")
    command.add_argument("--runs", type=Path, default=DEFAULT.parent / "runs")
    command.add_argument("--root", type=Path, help="folder with the data sets' original files")
    command.add_argument("--standard-epochs", type=int, default=5, help="cap of the standard SNN")


def _report_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, default=DEFAULT.parent / "report.html")
    command.add_argument("--runs", type=Path, default=DEFAULT.parent / "runs")
    command.add_argument("--root", type=Path, help="folder with the data sets' original files")


def _guard_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--update", action="store_true", help="write the baseline anew")


def main(argv: list[str]) -> int:
    """Run a command; the exit status is 1 where a bar is not met or a guard finds a regression."""
    if not argv or (argv[0] not in COMMANDS and argv[0] not in ("-h", "--help")):
        argv = ["cases", *argv]
    root = parser()
    options: Any = root.parse_args(argv)
    session = Session(
        options.command,
        Results(
            getattr(options, "results", DEFAULT),
            fresh=getattr(options, "fresh", False),
            retry_disturbed=getattr(options, "retry_disturbed", False),
        ),
        quick=options.quick,
        device=getattr(options, "device", "cpu"),
        backend=getattr(options, "backend", None),
        seed=getattr(options, "seed", 0),
        rounds=getattr(options, "rounds", None),
    )
    try:
        timer_for(session.device, session.backend)
    except (RuntimeError, ImportError) as error:
        root.error(str(error))
    if pinned := unpinned():
        print(pinned, file=sys.stderr)
    module = import_module(f".{MODULES.get(options.command, options.command)}", __package__)
    return int(module.run(session, options) or 0)


def unpinned() -> str:
    """A remark on settings that slow NumPy's BLAS down, or nothing."""
    pinned = [k for k in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if k in os.environ]
    if not pinned:
        return ""
    unset = " ".join(f"-u {name}" for name in pinned)
    return f"{' and '.join(pinned)} slow NumPy's products down here: start with `env {unset}`"
