"""``accuracy``: train both models on the real data sets.

Every run is a process of ``python -m fastsnn_np train``; one that has left its ``summary.json`` is
not repeated, and one that was interrupted goes on. The standard SNN is slow: it is capped at a
number of epochs, which every row names. What a step takes is not read off these runs, which may
have shared the machine: both models take steps on one batch, in turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..harness.command import Command
from ..harness.results import DEFAULT
from ..harness.rows import Parameters, Phase, Row, summary
from ..harness.session import Session
from ..systems.contests import setup
from ..systems.names import BATCH, MODELS, TRAINED, TRAINING_PHASES

QUICK_EPOCHS = 1


@dataclass(frozen=True)
class Options:
    datasets: list[str]
    models: list[str]
    seeds: int
    recipe: str
    runs: Path
    root: Path | None
    standard_epochs: int


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--datasets", nargs="+", default=["fashion-mnist", "n-mnist", "shd"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from --seed on")
    parser.add_argument("--recipe", choices=["best", "paper"], default="paper")
    parser.add_argument("--runs", type=Path, default=DEFAULT.parent / "runs")
    parser.add_argument("--root", type=Path, help="folder with the data sets' original files")
    parser.add_argument(
        "--standard-epochs", type=int, default=5, help="cap of the standard SNN's epochs"
    )


def run(session: Session, options: Options) -> Iterator[list[Row]]:
    """Train what has not been trained, then time steps. ``--quick``: one seed, one epoch."""
    seeds = range(session.seed, session.seed + (1 if session.quick else options.seeds))
    jobs = [(d, m, s) for d in options.datasets for m in options.models for s in seeds]
    for dataset, model, seed in session.progress(jobs, "run"):
        epochs = QUICK_EPOCHS if session.quick else None
        if model == "standard" and not session.quick:
            epochs = options.standard_epochs
        label = f"{dataset}-{model}-{options.recipe}-{seed}" + (f"-{epochs}" if epochs else "")
        folder = options.runs / label
        failure = None
        if not (folder / "summary.json").exists():
            failure = train(dataset, model, seed, folder, options, epochs)
        own = replace(session, seed=seed)
        rows = rows_of(own, dataset, model, folder, options.recipe, failure)
        yield own.results.add(rows)
    for dataset in options.datasets:
        if any(row.case == dataset and row.status == "ok" for row in session.results.rows):
            yield steps(session, dataset, options)


def train(
    dataset: str, model: str, seed: int, folder: Path, options: Options, epochs: int | None
) -> str | None:
    """Train in a process of its own; None, or the last line of what it said when it failed."""
    command = [sys.executable, "-m", "fastsnn_np", "train", dataset, "--quiet"]
    command += ["--recipe", options.recipe, "--model", model]
    command += ["--seed", str(seed), "--out", str(folder)]
    command += ["--epochs", str(epochs)] if epochs else []
    command += ["--root", str(options.root)] if options.root else []
    command += ["--resume"] if (folder / "checkpoints").exists() else []
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.returncode}"


def rows_of(
    session: Session, dataset: str, model: str, folder: Path, recipe: str, failure: str | None
) -> list[Row]:
    """The rows of one run: its figures, or why there are none."""
    found = {} if failure else json.loads((folder / "summary.json").read_text())
    taken = Parameters(recipe=recipe, epochs=found.get("epochs", 0), seed=session.seed)
    stubs = {p: session.row(dataset, model, p, taken, unit=u) for p, u in TRAINED.items()}
    if failure:
        return [replace(row, status="failed", note=failure) for row in stubs.values()]
    figures = {
        "accuracy": 100 * found["accuracy"],
        "spikes": sum(found["spikes_per_sample"]),
    }
    note = f"{found['epochs']} epochs in {found['seconds']:.0f} s, hidden {found['hidden']}"
    return [
        replace(row, note=note, **summary([figures[phase]]))
        for phase, row in stubs.items()
        if not session.results.has(row)
    ]


def steps(session: Session, dataset: str, options: Options) -> list[Row]:
    """A training step of either model by the recipe, Adam included, on one batch, in turns."""
    root = str(options.root.resolve()) if options.root else None
    return session.measure(
        setup("step", dataset=dataset, recipe=options.recipe, root=root, seed=session.seed),
        dataset,
        Parameters(recipe=options.recipe, batch=BATCH),
        MODELS,
        [Phase("step", TRAINING_PHASES["step"], source="time")],
        rounds=3 if session.quick else 7,
    )


def newest_runs(runs: Path, recipe: str, dataset: str) -> dict[str, Path]:
    """The folder of the last finished run of each model; empty unless both have one."""
    found = {}
    for model in MODELS:
        done = list(runs.glob(f"{dataset}-{model}-{recipe}-*/summary.json"))
        if not done:
            return {}
        found[model] = max(done, key=lambda path: path.stat().st_mtime).parent
    return found


COMMAND = Command(
    "accuracy",
    "train on the real data sets and draw the paper's Figure 3",
    run,
    Options,
    add_options,
    shares=("results", "resume", "against"),
)
