"""The paper's Figure 3 from the training runs: accuracy, speed and sparsity, and what they fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..derive import accuracy
from ..harness.rows import Row, latest
from ..systems.activity import Activity
from ..systems.names import MODELS
from .canvas import figure, save

COLOURS = {"fast": "#00804f", "standard": "0.35"}
NAMES = {"fast": "FastSNN", "standard": "Standard SNN"}


def draw(all_rows: Sequence[Row], folder: Path) -> list[Path]:
    """Panels c to g."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    rows = latest(all_rows, "accuracy")
    found = accuracy.by_model(rows)
    datasets = list(dict.fromkeys(key[0] for key in found))
    if not datasets:
        return []
    drawn = figure(11, 6.5)
    axes = drawn.subplots(2, 3).ravel()
    _bars(axes[0], found, datasets)
    relative = accuracy.comparison(rows)
    for axis, what in ((axes[1], "speed-up"), (axes[2], "fewer spikes")):
        values = [relative.get(d, {}).get(what, np.nan) for d in datasets]
        axis.bar(datasets, values, color=COLOURS["fast"])
        for i, value in enumerate(values):
            if np.isfinite(value):
                axis.text(i, value, f"{value:.3g}", ha="center", va="bottom")
    axes[1].axhline(1, color="k", lw=1)
    for axis, phase in ((axes[3], "step"), (axes[4], "spikes")):
        for dataset, marker in zip(datasets, "osD^v", strict=False):
            for model in MODELS:
                x, y = found.get((dataset, model, phase)), found.get((dataset, model, "accuracy"))
                if x and y:
                    style = {"marker": marker, "color": COLOURS[model], "capsize": 2}
                    axis.errorbar(np.mean(x), np.mean(y), np.std(y), np.std(x), **style)
        axis.set(xscale="log", ylabel="Accuracy, %")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
    titles = (
        "c  Accuracy, %",
        "d  Training speed-up, a step (black: 1x)",
        "e  Fewer spikes, %",
        "f  Accuracy against ms a step",
        "g  Accuracy against spikes a sample",
    )
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, loc="left", fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    for dataset, marker in zip(datasets, "osD^v", strict=False):
        axes[5].plot([], [], marker, color="0.6", label=dataset)
    for model, name in NAMES.items():
        axes[5].bar([0], [0], color=COLOURS[model], label=name)
    axes[5].legend(loc="center", frameon=False, title="mean and s.d. over the seeds")
    axes[5].axis("off")
    return [save(drawn, folder, "figure3")]


def _bars(axis: Any, found: dict[Any, list[float]], datasets: list[str]) -> None:
    for offset, model in ((-0.2, "fast"), (0.2, "standard")):
        values = [found.get((d, model, "accuracy"), [np.nan]) for d in datasets]
        at = np.arange(len(datasets)) + offset
        means = [np.mean(v) for v in values]
        axis.bar(at, means, 0.38, yerr=[np.std(v) for v in values], color=COLOURS[model])
        for x, mean in zip(at, means, strict=True):
            if np.isfinite(mean):
                axis.text(x, mean, f"{mean:.1f}", ha="center", va="bottom", fontsize="small")
    axis.set_xticks(range(len(datasets)), datasets)
    axis.set_ylim(0, 112)


def draw_activity(activities: Mapping[str, Activity], folder: Path) -> Path:
    """Panel b: one test sample through both models, from the input's raster to the potentials."""
    drawn = figure(10, 7.5)
    axes = drawn.subplots(3, 2, sharex=True, sharey="row")
    for column, (model, found) in zip(axes.T, activities.items(), strict=True):
        for c, trace in enumerate(found.potential):
            right = c == found.label
            column[0].plot(trace, color="#00693c" if right else "0.75", lw=2 if right else 1)
        title = f"b  {NAMES[model]}: digit {found.label} in green"
        column[0].set_title(title, loc="left", fontsize="medium")
        rasters = ((column[1], found.hidden, "Hidden"), (column[2], found.input, "Input"))
        for axis, spikes, what in rasters:
            neuron, step = np.nonzero(spikes)
            axis.scatter(step, neuron, s=2, color="k", linewidths=0)
            axis.set_title(f"{what}: {len(step)} spikes", loc="left", fontsize="medium")
        column[2].set_xlabel("Step")
    for axis, text in zip(axes[:, 0], ("Potential", "Neuron", "Neuron"), strict=True):
        axis.set_ylabel(text)
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
    return save(drawn, folder, "figure3b")
