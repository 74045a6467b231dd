"""A recipe from data to results: train, save, evaluate, draw."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from .. import metrics, plot
from .._checks import whole
from .._forward import forward
from .._namespace import to_numpy
from .._storage import replacing
from ..network import Network
from ..torch._model import Model
from ..torch.fast_snn import FastSNN
from ..torch.training import Batches, ClassifierOptions, fit
from ..torch.training.checkpoint import CHECKPOINTS, last_checkpoint
from .data import Data, augmentation, load_data
from .model import RECIPE, build_model, named, save_model
from .recipe import Recipe


def run_experiment(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
    trainer_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train as `recipe` says and leave everything in the folder `out`.

    Written there: ``recipe.json``, ``metrics.csv`` and ``checkpoints/`` after every epoch, and in
    the end ``summary.json``, plots, and ``network.safetensors`` (``model.safetensors`` of a
    standard SNN). Every epoch is evaluated on the data that `validation_fraction` holds out, or, if
    it is 0, on the test data, by which nothing is chosen. The summary is of the last epoch, or,
    with `patience`, of the best one by the held-out data.

    Parameters
    ----------
    recipe : Recipe
    out : path
    seed : int
        Decides the weights, the order of the samples, dropout and augmentation.
    root : path, optional
        Folder with the data set's original files; see `fastsnn_np.datasets`.
    resume : bool
        Continue the run in `out` from its last checkpoint.
    progress : bool
    trainer_options : dict, optional
        See `fit`.

    Returns
    -------
    dict
        What ``summary.json`` holds; in a run of several processes, empty for all but the first.

    Raises
    ------
    FileExistsError
        If `out` holds a run with a checkpoint already and `resume` is False.
    ValueError
        If `resume` is True and that run was made with another recipe or seed, or the seed is
        negative.
    """
    seed = whole("seed", seed, at_least=0)
    out = Path(out)
    identity = json.loads(json.dumps({**recipe.as_dict(), "seed": seed}))
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # Lightning sets it
    if first:
        _check_unmixed(out, identity, resume)
    data = load_data(recipe, root)
    if first:
        out.mkdir(parents=True, exist_ok=True)
        _save_json(identity, out / RECIPE)
    torch.manual_seed(seed)
    model = build_model(recipe, data.n_inputs, len(data.classes))
    options = dict(trainer_options or {}, precision=recipe.precision)
    if recipe.gradient_clip:
        options["gradient_clip_val"] = recipe.gradient_clip
    clock = _Clock()
    history = fit(
        model,
        *data.train,
        validation=data.validation,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=seed,
        augment=augmentation(recipe),
        patience=recipe.patience or None,
        out=out,
        resume=resume,
        progress=progress,
        callbacks=[clock],
        trainer_options=options,
        **named(recipe, ClassifierOptions),
    )
    if not first:
        return {}
    # `max` takes the first of equals, as `fit` keeps it
    kept = max(history, key=_validated) if recipe.patience else history[-1]
    summary = {
        "dataset": recipe.dataset,
        "note": data.note,
        "model": recipe.model,
        "seed": seed,
        "hidden": list(recipe.hidden),
        "n_steps": recipe.n_steps,
        "epochs": len(history),
        "seconds": clock.total,
        "seconds_per_step": clock.training / max(clock.steps, 1),
        **_results(model, data, recipe, out),
        "training_accuracy": kept["accuracy"],
        "validation_accuracy": kept["validation_accuracy"],
        "recipe": recipe.as_dict(),
    }
    evaluated_on = "validation" if recipe.validation_fraction else "test"
    _save_figure(plot.training_curve(history, evaluated_on), out / "training.png")
    _save_json(summary, out / "summary.json")
    return summary


def _results(model: Model, data: Data, recipe: Recipe, out: Path) -> dict[str, Any]:
    """Accuracy, spikes and operations on the test data; the model and plots go to `out`."""
    x, labels = data.test
    found: dict[str, Any] = {}
    save_model(model, out)
    if isinstance(model, FastSNN):
        network = model.to_network()
        result = forward(x, network, backend="numba", batch_size=512)
        prediction = result.prediction
        found["spikes_per_sample"] = [float(count.mean()) for count in result.spike_counts]
        operations = metrics.synaptic_operations(network, x, result)
        found["dense_macs"] = operations.dense.tolist()
        found["effective_acs"] = operations.effective_acs.mean(axis=0).tolist()
        _draw_sample(x, network, prediction, data, out)
    else:
        prediction, found["spikes_per_sample"] = _predicted(model, x, labels)
    found["accuracy"] = float((to_numpy(prediction) == labels).mean())
    confusion = metrics.confusion_matrix(labels, prediction, len(data.classes))
    found["confusion"] = confusion.tolist()
    _save_figure(plot.confusion(confusion, data.classes), out / "confusion.png")
    return found


@torch.no_grad()
def _predicted(model: Model, x: Any, labels: Any) -> tuple[Any, list[float]]:
    """Predictions, and the mean number of spikes per sample of each hidden layer."""
    predictions, spikes = [], []
    batches = Batches(x, torch.from_numpy(labels), batch_size=128, shuffle=False)
    for batch in batches:
        logits, activities = model(batch.x, return_activity=True)
        predictions.append(logits.argmax(-1))
        spikes.append(torch.stack([activity.spikes.sum() for activity in activities]))
    mean = torch.stack(spikes).sum(0) / len(labels)
    return torch.cat(predictions).numpy(), mean.tolist()


def _draw_sample(x: Any, network: Network, prediction: Any, data: Data, out: Path) -> None:
    """The first rightly classified test sample through the network."""
    right = np.flatnonzero(prediction == data.test[1])
    shown = int(right[0]) if len(right) else 0
    figure = plot.activity(
        x[shown : shown + 1], network, int(data.test[1][shown]), classes=data.classes
    )
    _save_figure(figure, out / "activity.png")


def _validated(record: dict[str, float]) -> float:
    return record["validation_accuracy"]


def _check_unmixed(out: Path, identity: dict[str, Any], resume: bool) -> None:
    """Refuse to mix two runs in one folder; one that has left no checkpoint is none."""
    path = out / RECIPE
    if path.is_file() and last_checkpoint(out / CHECKPOINTS):
        if not resume:
            raise FileExistsError(
                f"{out} holds a run already: continue it with resume, or choose another folder"
            )
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in identity if identity[key] != before.get(key)]
        if changed:
            raise ValueError(
                f"{out} was started with another recipe: "
                + ", ".join(f"{key} {before.get(key)!r}, now {identity[key]!r}" for key in changed)
            )


def _save_json(content: dict[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _save_figure(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


class _Clock(pl.Callback):
    """How long training took, alone and with everything else."""

    def __init__(self) -> None:
        self.total = self.training = 0.0
        self.steps = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._epoch, self._others = time.perf_counter(), 0.0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._validation = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._others += time.perf_counter() - self._validation

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.training += time.perf_counter() - self._epoch - self._others
        self.steps += len(trainer.train_dataloader or ())
        self.total = time.perf_counter() - self._began
