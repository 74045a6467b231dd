"""What training runs gave: means over seeds, and both models compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..harness.rows import Row
from ..systems.names import MODELS, TRAINED, TRAINING_PHASES
from .markdown import Table


def epochs(rows: Iterable[Row]) -> dict[tuple[str, str], int]:
    """(data set, model) -> how long it was trained, at most: the standard SNN is capped."""
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.phase in TRAINED and row.median is not None:
            key = row.case, row.contestant
            found[key] = max(found.get(key, 0), row.number("epochs"))
    return found


def by_model(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[float]]:
    """(data set, model, phase) -> the figures of its seeds, of the longest runs."""
    found: dict[tuple[str, str, str], list[float]] = {}
    rows = list(rows)
    longest = epochs(rows)
    for row in rows:
        shorter = row.phase in TRAINED and (
            row.number("epochs") < longest.get((row.case, row.contestant), 0)
        )
        if row.median is not None and not shorter:
            found.setdefault((row.case, row.contestant, row.phase), []).append(row.median)
    return found


def comparison(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """Data set -> training speed-up a step, and % fewer spikes, of means over the seeds."""
    means = {key: sum(v) / len(v) for key, v in by_model(rows).items()}
    found: dict[str, dict[str, float]] = {}
    for dataset in dict.fromkeys(d for d, _, _ in means):
        fast, slow = (
            {p: means[dataset, m, p] for p in TRAINING_PHASES if (dataset, m, p) in means}
            for m in MODELS
        )
        if fast.keys() == slow.keys() == TRAINING_PHASES.keys():
            fewer = 100 * (1 - fast["spikes"] / slow["spikes"]) if slow["spikes"] else 0.0
            found[dataset] = {"speed-up": slow["step"] / fast["step"], "fewer spikes": fewer}
    return found


def table(rows: Sequence[Row]) -> Table:
    """Accuracy, spikes and step time by data set and model."""
    head = ["data set", "model", "epochs", "accuracy, %", "spikes a sample", "step, ms", "seeds"]
    lasted, found = epochs(rows), by_model(rows)
    lines = []
    for dataset, model in dict.fromkeys(key[:2] for key in found):
        cells = [found.get((dataset, model, phase), []) for phase in TRAINING_PHASES]
        means = [f"{sum(cell) / len(cell):.4g}" if cell else "-" for cell in cells]
        length = str(lasted.get((dataset, model), "-"))
        lines.append([dataset, model, length, *means, str(len(cells[0]))])
    return [head, *lines]


def recipe_of(rows: Sequence[Row], dataset: str) -> str:
    """The recipe of the newest row of a data set."""
    return next((str(row.parameters["recipe"]) for row in rows[::-1] if row.case == dataset), "")
