"""``accuracy``: train both models on the real data sets, and collect what Figure 3 shows.

Every run is a process of ``python -m fastsnn_np train``; one that has left its ``summary.json`` is
not repeated, and one that was interrupted goes on. The standard SNN is slow: it is capped at a
number of epochs, which every row names. What a step takes is not read off these runs, which may
have shared the machine: both models take steps on one batch, in turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .foreign import undisturbed
from .results import Row, parameters, summary
from .runner import Pass, time_passes
from .session import Session

COMMAND = "accuracy"
MODELS = ("fast", "standard")
TRAINED = {"accuracy": "%", "spikes": "per sample"}
PHASES = {**TRAINED, "step": "ms"}
BATCH = 128
QUICK_EPOCHS = 1


def run(session: Session, options: Any) -> None:
    """Train what has not been trained, then draw. ``--quick``: one seed, one epoch."""
    from . import figures_accuracy

    seeds = range(session.seed, session.seed + (1 if session.quick else options.seeds))
    jobs = [(d, m, s) for d in options.datasets for m in options.models for s in seeds]
    for dataset, model, seed in session.progress(jobs, "run"):
        epochs = QUICK_EPOCHS if session.quick else None
        if model == "standard" and not session.quick:
            epochs = options.standard_epochs
        label = f"{dataset}-{model}-{options.recipe}-{seed}" + (f"-{epochs}" if epochs else "")
        folder = options.runs / label
        failure = (
            None
            if (folder / "summary.json").exists()
            else train(
                dataset,
                model,
                seed,
                folder,
                recipe=options.recipe,
                epochs=epochs,
                root=options.root,
            )
        )
        own = replace(session, seed=seed)
        own.results.add(rows_of(own, dataset, model, folder, options.recipe, failure))
    for dataset in options.datasets:
        if any(row.case == dataset and row.status == "ok" for row in session.results.rows):
            session.results.add(step_rows(session, dataset, options))
    print(table(session.results.latest(COMMAND)))
    figures_accuracy.draw(session.results, options.runs, options.root)


def train(
    dataset: str,
    model: str,
    seed: int,
    folder: Path,
    *,
    recipe: str,
    epochs: int | None = None,
    root: Path | None = None,
) -> str | None:
    """Train in a process of its own; None, or the last line of what it said when it failed."""
    command = [sys.executable, "-m", "fastsnn_np", "train", dataset, "--quiet"]
    command += ["--recipe", recipe, "--model", model, "--seed", str(seed), "--out", str(folder)]
    command += ["--epochs", str(epochs)] if epochs else []
    command += ["--root", str(root)] if root else []
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
    text = parameters(recipe=recipe, epochs=found.get("epochs", 0), seed=session.seed)
    stubs = {p: session.row(dataset, model, p, text, unit=u) for p, u in TRAINED.items()}
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


def step_rows(session: Session, dataset: str, options: Any) -> list[Row]:
    """A training step of either model by the recipe, Adam included, on one batch, in turns."""
    import torch

    from fastsnn_np.torch import recipe as recipes
    from fastsnn_np.torch.data import pick, to_device
    from fastsnn_np.train import build, load_data

    from .torch_training import adam_step

    text = parameters(recipe=options.recipe, batch=BATCH)
    rows = {m: session.row(dataset, m, "step", text, unit=PHASES["step"]) for m in MODELS}
    if all(map(session.results.has, rows.values())):
        return []
    recipe = recipes.load(options.recipe, dataset)
    data = load_data(recipe, options.root)
    batch = np.arange(BATCH)
    x, labels = to_device(pick(data.train[0], batch), "cpu"), data.train[1][batch]
    passes = {}
    for model in MODELS:
        torch.manual_seed(session.seed)
        built = build(recipe.with_changes({"model": model}), data)
        passes[model] = Pass(adam_step(built, list(built.parameters()), x, labels))
        passes[model]()
    rounds = 3 if session.quick else 7
    foreign, taken = undisturbed(lambda: time_passes(passes, rounds, session.timer))
    return [
        replace(row, note=foreign.remark(), **summary(taken[model]["forward"]))
        for model, row in rows.items()
    ]


def parameter(row: Row, name: str) -> str:
    return dict(part.split("=", 1) for part in row.parameters.split())[name]


def epochs(rows: Iterable[Row]) -> dict[tuple[str, str], int]:
    """(data set, model) -> how long it was trained, at most: the standard SNN is capped."""
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.phase in TRAINED and row.median is not None:
            key = row.case, row.contestant
            found[key] = max(found.get(key, 0), int(parameter(row, "epochs")))
    return found


def by_model(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[float]]:
    """(data set, model, phase) -> the figures of its seeds, of the longest runs."""
    found: dict[tuple[str, str, str], list[float]] = {}
    rows = list(rows)
    longest = epochs(rows)
    for row in rows:
        shorter = row.phase in TRAINED and (
            int(parameter(row, "epochs")) < longest.get((row.case, row.contestant), 0)
        )
        if row.median is not None and not shorter:
            found.setdefault((row.case, row.contestant, row.phase), []).append(row.median)
    return found


def comparison(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """Data set -> training speed-up a step, and % fewer spikes, of means over the seeds."""
    means = {key: sum(v) / len(v) for key, v in by_model(rows).items()}
    found: dict[str, dict[str, float]] = {}
    for dataset in dict.fromkeys(d for d, _, _ in means):
        pairs = {p: [means.get((dataset, m, p)) for m in MODELS] for p in PHASES}
        if all(None not in pair for pair in pairs.values()):
            (fast, slow), (few, many) = pairs["step"], pairs["spikes"]
            fewer = 100 * (1 - few / many) if many else 0.0
            found[dataset] = {"speed-up": slow / fast, "fewer spikes": fewer}
    return found


def table(rows: list[Row]) -> str:
    """Markdown: accuracy, spikes and step time by data set and model."""
    lines = ["| data set | model | epochs | accuracy, % | spikes a sample | step, ms | seeds |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|"]
    lasted = epochs(rows)
    found = by_model(rows)
    for dataset, model in dict.fromkeys(key[:2] for key in found):
        cells = [found.get((dataset, model, phase), []) for phase in PHASES]
        means = " | ".join(f"{sum(cell) / len(cell):.4g}" if cell else "-" for cell in cells)
        length = lasted.get((dataset, model), "-")
        lines.append(f"| {dataset} | {model} | {length} | {means} | {len(cells[0])} |")
    return "\n".join(lines)
