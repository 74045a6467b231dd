"""`fit`: a model trained on spikes held in memory, by Lightning's `Trainer`."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import lightning.pytorch as pl
import torch

from ..._checks import whole
from .._model import Model
from .callbacks import FiniteGuard, LayerHealth
from .checkpoint import CHECKPOINTS, last_checkpoint
from .classifier import Classifier, ClassifierOptions
from .data import Augment, SpikeData
from .trainer import make_trainer

History = list[dict[str, float]]


def fit(
    model: Model,
    x: Any,
    labels: Any,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    validation: tuple[Any, Any] | None = None,
    seed: int = 0,
    augment: Augment | None = None,
    patience: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
    callbacks: Iterable[pl.Callback] = (),
    trainer_options: dict[str, Any] | None = None,
    **options: Unpack[ClassifierOptions],
) -> History:
    """Train `model` in place.

    Parameters
    ----------
    model : FastSNN or StandardSNN
    x : array or tensor (samples, inputs, time), SpikeTimes or Events
    labels : integer array or tensor (samples,)
        0 <= label < classes.
    epochs, batch_size : int
    validation : (x, labels), optional
        Evaluated after every epoch.
    seed : int
        Decides the order of the samples, dropout and `augment`; not the model's weights.
    augment : callable, optional
        Changes each batch, see `Batches`.
    patience : int, optional
        Epochs without a better validation accuracy after which training stops; the model then ends
        with the weights of its best epoch, and not of its last.
    out : path, optional
        Folder for checkpoints and ``metrics.csv``, both written after every epoch.
    resume : bool
        Continue from the checkpoint in `out`, if there is one: to the same weights as a run that
        was never stopped.
    progress : bool
        Whether to show a progress bar.
    callbacks : sequence of lightning.pytorch.Callback
        Callbacks of your own.
    trainer_options : dict, optional
        Further arguments of Lightning's `Trainer`, such as ``gradient_clip_val``, ``precision``,
        ``devices`` or ``strategy``. (Mixed precision is used by the dense engine alone: the event
        engine computes in float32 all the same.)
    **options
        Options of `Classifier`: ``learning_rate``, ``schedule``, ``weight_decay``,
        ``count_penalty``, ``latency_penalty``, ``label_smoothing``.

    Returns
    -------
    list of dict
        For each epoch what `Classifier` logs: ``loss`` and ``accuracy`` on the training data as it
        was trained on, with `validation` ``validation_accuracy``, and the layers' health.

    Raises
    ------
    ValueError, TypeError
        If labels, inputs or options do not fit, or a checkpoint is of another network or of a run
        with other settings.
    FloatingPointError
        If the loss is no longer finite; it names the epoch, the step and the last good checkpoint.
    """
    epochs = whole("epochs", epochs)
    if resume and out is None:
        raise ValueError("resume=True needs out=..., the folder of the run to continue")
    settings = dict(trainer_options or {})
    for name in ("patience", "callbacks"):
        if name in settings:
            raise TypeError(f"{name} is a parameter of fit: give {name}=..., not trainer_options")
    data = SpikeData(
        (x, labels),
        validation,
        n_inputs=model.sizes[0],
        n_classes=model.sizes[-1],
        batch_size=batch_size,
        seed=seed,
        augment=augment,
    )
    classifier = Classifier(model, seed=seed, **options)
    device = model.readout.weight.device
    if validation is None:
        settings.setdefault("limit_val_batches", 0)
    model.train()  # Lightning leaves the mode as it is, and an earlier `fit` has left `eval`
    guard = FiniteGuard()
    with _quiet():
        trainer = make_trainer(
            epochs,
            out=out,
            progress=progress,
            device=device,
            patience=patience,
            callbacks=[guard, LayerHealth(), *callbacks],
            **settings,
        )
    folder = None if out is None else Path(out) / CHECKPOINTS
    found = last_checkpoint(folder) if resume else None
    with _quiet():
        try:
            trainer.fit(classifier, datamodule=data, ckpt_path=found, weights_only=True)
        except RuntimeError as error:
            if trainer.world_size == 1 or not _is_lost_connection(error):
                raise
            kept = last_checkpoint(folder) or "none"
            raise RuntimeError(
                f"another process of this run has died. Last good checkpoint: {kept}; resume=True "
                "(--resume) goes on from it, with any number of processes"
            ) from error
        except ValueError as error:
            guard.explain(error, trainer, classifier)
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    model.to(device).eval()
    return classifier.history


def _is_lost_connection(error: RuntimeError) -> bool:
    lost = isinstance(error, torch.distributed.DistError)
    return lost or "gloo" in str(error) or "Connection" in str(error)  # gloo's have no type


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's remarks on hardware, data workers and its own dependencies."""
    remarks = logging.getLogger("lightning.pytorch")
    level = remarks.level
    remarks.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for words in (
                "does not have many workers",
                "exists and is not empty",
                "not used",
                "It is recommended to use `self.log",
                "isinstance\\(treespec",
                "overridden `transfer_batch",
            ):
                warnings.filterwarnings("ignore", f".*{words}")
            yield
    finally:
        remarks.setLevel(level)
