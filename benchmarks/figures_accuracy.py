"""The paper's Figure 3 from the training runs: accuracy, speed and sparsity, and what they fire."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import accuracy
from .figures import figure, save
from .results import Results

COLOURS = {"fast": "#00804f", "standard": "0.35"}
NAMES = {"fast": "FastSNN", "standard": "Standard SNN"}


def draw(results: Results, runs: Path, root: Path | None) -> list[Path]:
    """Panels c to g and, where both models were trained on N-MNIST, b."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    rows = results.latest(accuracy.COMMAND)
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
            for model in accuracy.MODELS:
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
    paths = [save(drawn, results, "figure3")]
    recipe = next((accuracy.parameter(r, "recipe") for r in rows[::-1] if r.case == "n-mnist"), "")
    trained = [_newest(runs, f"n-mnist-{model}-{recipe}-*") for model in accuracy.MODELS]
    if all(trained):
        try:
            paths.append(_draw_activity(results, [t for t in trained if t], root))
        except FileNotFoundError as error:
            print(f"Figure 3b is not drawn: {str(error).splitlines()[0]}", file=sys.stderr)
    return paths


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


def _newest(runs: Path, names: str) -> Path | None:
    done = sorted(runs.glob(f"{names}/summary.json"), key=lambda p: p.stat().st_mtime)
    return done[-1].parent if done else None


def trained(folder: Path) -> Any:
    """The Torch model that a training run has left in its folder."""
    from safetensors.torch import load_file

    from fastsnn_np import Network
    from fastsnn_np.torch import FastSNN, StandardSNN

    if (folder / "network.safetensors").exists():
        return FastSNN.from_network(Network.load(folder / "network.safetensors"), engine="dense")
    recipe = json.loads((folder / "summary.json").read_text())["recipe"]
    state = load_file(folder / "model.safetensors")
    weights = [tensor for name, tensor in state.items() if name.endswith("weight")]
    hidden = [state[f"layers.{i}.weight"] for i in range(len(weights) - 1)]
    sizes = [hidden[0].shape[1], *map(len, hidden), len(state["readout.weight"])]
    wanted = ("tau", "tau_readout", "dt", "learn_beta", "readout", "input_scale", "slope")
    model = StandardSNN(sizes, **{name: recipe[name] for name in wanted})
    model.load_state_dict(state)
    return model


def _draw_activity(results: Results, folders: list[Path], root: Path | None) -> Path:
    """Panel b: one test sample through both, from the input's raster up to the potentials."""
    import torch

    from fastsnn_np.datasets import nmnist

    x, labels = nmnist("test", root=root)
    sample, label = x[:1], int(labels[0])
    drawn = figure(10, 7.5)
    axes = drawn.subplots(3, 2, sharex=True, sharey="row")
    for column, folder, name in zip(axes.T, folders, NAMES.values(), strict=True):
        model = trained(folder)
        with torch.no_grad():
            first = spikes = sample.to_dense(model.readout.weight)
            for layer in model.layers:
                spikes = layer(spikes)
            potential = model.readout.potential(spikes)[0].numpy()
        for c, trace in enumerate(potential):
            right = c == label
            column[0].plot(trace, color="#00693c" if right else "0.75", lw=2 if right else 1)
        column[0].set_title(f"b  {name}: digit {label} in green", loc="left", fontsize="medium")
        for axis, train, what in ((column[1], spikes, "Hidden"), (column[2], first, "Input")):
            neuron, step = np.nonzero(train[0].numpy())
            axis.scatter(step, neuron, s=2, color="k", linewidths=0)
            axis.set_title(f"{what}: {len(step)} spikes", loc="left", fontsize="medium")
        column[2].set_xlabel("Step")
    for axis, text in zip(axes[:, 0], ("Potential", "Neuron", "Neuron"), strict=True):
        axis.set_ylabel(text)
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
    return save(drawn, results, "figure3b")
