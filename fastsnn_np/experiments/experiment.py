"""A recipe from data to results: train, save, evaluate, draw."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from .. import metrics
from .._checks import flag, whole
from .._forward import forward
from .._namespace import said, to_numpy
from .._storage import as_folder, read_json, replacing
from ..torch._model import Model
from ..torch.fast_snn import FastSNN
from ..torch.training import Batches, ClassifierOptions, History, fit
from ..torch.training._fit import TERMINATED, Terminated, how_to_resume
from ..torch.training.classifier import EvaluatedOn
from .data import Data, augmentation, load_data
from .folder import SUMMARY, check_unmixed, locked, save_json
from .model import RECIPE, build_model, named, save_model
from .recipe import Recipe

_log = logging.getLogger("fastsnn_np")
_TIMINGS = ("seconds", "seconds_per_step", "threads")


def run_experiment(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
    threads: int | None = None,
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
    threads : int, optional
        Threads that compute, all of them unless given. They are kept with the run: the same number
        gives the same weights, another one other last digits.
    trainer_options : dict, optional
        See `fit`.

    Returns
    -------
    dict
        What ``summary.json`` holds; in a run of several processes, empty for all but the first.

    Raises
    ------
    FileExistsError
        If `out` holds a run with a checkpoint already and `resume` is False, or another run is at
        work there.
    ValueError
        If `resume` is True and that run was made with another recipe or seed, or the seed is
        negative. A run with a constant learning rate may be given more epochs.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a Recipe, as load_recipe gives it, got {said(recipe)}")
    seed = whole("seed", seed, at_least=0, below=2**63)
    resume, progress = flag("resume", resume), flag("progress", progress)
    if threads is not None:
        _set_threads(threads)
    out = as_folder(out, "out")
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # Lightning sets it
    try:
        with locked(out) if first else nullcontext():
            return _run(
                recipe, out, seed, root, resume, progress, dict(trainer_options or {}), first
            )
    except KeyboardInterrupt as error:  # also one that comes before or after training
        raise KeyboardInterrupt(str(error) or f"interrupted. {how_to_resume(out)}") from None
    except SystemExit as error:
        if error.code == TERMINATED and not isinstance(error, Terminated):
            raise Terminated(f"terminated. {how_to_resume(out)}") from None
        raise


def _run(
    recipe: Recipe,
    out: Path,
    seed: int,
    root: str | os.PathLike[str] | None,
    resume: bool,
    progress: bool,
    options: dict[str, Any],
    first: bool,
) -> dict[str, Any]:
    """`run_experiment` in a folder that no other run has; `first` is the process that writes."""
    identity = json.loads(json.dumps({**recipe.as_dict(), "seed": seed}))
    before: dict[str, Any] = {}
    if first:
        check_unmixed(out, identity, resume)
        if resume and (out / SUMMARY).is_file():
            before = read_json(out / SUMMARY)
    data = load_data(recipe, root)
    if first:
        save_json({**identity, "threads": _threads()}, out / RECIPE)
    torch.manual_seed(seed)
    model = build_model(recipe, data.n_inputs, len(data.classes))
    options["precision"] = recipe.precision
    if recipe.gradient_clip:
        options["gradient_clip_val"] = recipe.gradient_clip
    clock = _Clock()
    evaluated_on: EvaluatedOn = "validation" if recipe.validation_fraction else "test"
    key = f"{evaluated_on}_accuracy"
    history = fit(
        model,
        *data.train,
        validation=data.validation,
        evaluated_on=evaluated_on,
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
    kept = max(history, key=itemgetter(key)) if recipe.patience else history[-1]
    if clock.steps or not before:
        timings = {
            "seconds": clock.total,
            "seconds_per_step": clock.training / max(clock.steps, 1),
            "threads": _threads(),
        }
    else:  # there was nothing left to train
        timings = {name: before[name] for name in _TIMINGS if name in before}
    save_model(model, out)
    prediction, results = _results(model, data)
    summary = {
        "dataset": recipe.dataset,
        "note": data.note,
        "model": recipe.model,
        "seed": seed,
        "hidden": list(recipe.hidden),
        "n_steps": recipe.n_steps,
        "epochs": len(history),
        **timings,
        **results,
        "training_accuracy": kept["accuracy"],
        key: kept[key],
        "recipe": recipe.as_dict(),
    }
    save_json(summary, out / SUMMARY)  # before the figures, which may fail
    _draw(out, model, data, prediction, summary["confusion"], _as_drawn(history, key), evaluated_on)
    return summary


def _results(model: Model, data: Data) -> tuple[Any, dict[str, Any]]:
    """Predictions, and accuracy, spikes and operations on the test data."""
    x, labels = data.test
    found: dict[str, Any] = {}
    if isinstance(model, FastSNN):
        network = model.to_network()
        result = forward(x, network, backend="numba", batch_size=512)
        prediction = result.prediction
        found["spikes_per_sample"] = [float(count.mean()) for count in result.spike_counts]
        operations = metrics.synaptic_operations(network, x, result)
        found["dense_macs"] = operations.dense.tolist()
        found["effective_acs"] = operations.effective_acs.mean(axis=0).tolist()
    else:
        prediction, found["spikes_per_sample"] = _predicted(model, x, labels)
    found["accuracy"] = float((to_numpy(prediction) == labels).mean())
    found["confusion"] = metrics.confusion_matrix(labels, prediction, len(data.classes)).tolist()
    return prediction, found


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


def _draw(
    out: Path,
    model: Model,
    data: Data,
    prediction: Any,
    confusion: Any,
    history: History,
    evaluated_on: str,
) -> None:
    """Figures of the run, or one line if there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        _log.warning("no figures are drawn (%s): pip install 'fastsnn-np[plot]'", error)
        return
    from .. import plot

    _save_figure(plot.training_curve(history, evaluated_on), out / "training.png")
    _save_figure(plot.confusion(np.array(confusion), data.classes), out / "confusion.png")
    if isinstance(model, FastSNN):  # the first rightly classified test sample
        x, labels = data.test
        right = np.flatnonzero(to_numpy(prediction) == labels)
        shown = int(right[0]) if len(right) else 0
        figure = plot.activity(
            x[shown : shown + 1], model.to_network(), int(labels[shown]), classes=data.classes
        )
        _save_figure(figure, out / "activity.png")


def _as_drawn(history: History, key: str) -> History:
    """The history by the one name that `plot.training_curve` looks for."""
    return [{**record, "validation_accuracy": record[key]} for record in history]


def _set_threads(number: int) -> None:
    import numba

    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if whole("threads", number) > most:
        raise ValueError(
            f"threads must be at most {most}, got {number}: that is how many cores there are, or "
            "what NUMBA_NUM_THREADS says"
        )
    torch.set_num_threads(number)
    numba.set_num_threads(number)


def _threads() -> dict[str, int]:
    """How many threads compute: another number adds up in another order, to other last digits."""
    import numba

    return {"torch": torch.get_num_threads(), "numba": numba.get_num_threads()}


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
