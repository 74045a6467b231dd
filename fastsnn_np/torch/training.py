"""Training on Lightning's `Trainer`: checkpoints, resuming, early stopping, logs."""

from __future__ import annotations

import csv
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar

from .._storage import replacing
from ._checkpoint import CHECKPOINTS, LAST, SafetensorsIO, last_checkpoint
from .classifier import Classifier
from .data import Augment, SpikeData
from .fast_snn import FastSNN
from .standard_snn import StandardSNN

History = list[dict[str, float]]


def fit(
    model: FastSNN | StandardSNN,
    x: Any,
    labels: Any,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    validation: tuple[Any, Any] | None = None,
    seed: int = 0,
    augment: Augment | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
    trainer_options: dict[str, Any] | None = None,
    **options: Any,
) -> History:
    """Train `model` in place.

    Parameters
    ----------
    model : FastSNN or StandardSNN
    x : array or tensor (samples, inputs, time), SpikeTimes or Events
    labels : integer array or tensor (samples,)
        0 <= label < classes.
    epochs, batch_size : int
    learning_rate : float
        Adam's.
    validation : (x, labels), optional
        Evaluated after every epoch.
    seed : int
        Of the order of the samples, of dropout and of `augment`; not of the model's weights.
    augment : callable, optional
        Changes each batch, see `Batches`.
    out : path, optional
        Folder for checkpoints and ``metrics.csv``, both written after every epoch.
    resume : bool
        Continue from the checkpoint in `out`, if there is one: to the same weights as a run that
        was never stopped.
    progress : bool
        Whether to show a progress bar.
    trainer_options : dict, optional
        Further arguments of Lightning's `Trainer`, such as ``gradient_clip_val``, ``precision``,
        ``devices`` or ``strategy``, and ``patience``, the epochs without a better validation
        accuracy after which training stops; the model then ends with the weights of its best
        epoch, and not of its last. (Mixed precision is of the dense engine: the event engine
        computes in float32 all the same.)
    **options
        Of `Classifier`: ``schedule``, ``weight_decay``, ``count_penalty``, ``latency_penalty``,
        ``label_smoothing``.

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
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if resume and out is None:
        raise ValueError("resume=True needs out=..., the folder of the run to continue")
    data = SpikeData(
        (x, labels),
        validation,
        n_inputs=model.sizes[0],
        n_classes=model.sizes[-1],
        batch_size=batch_size,
        seed=seed,
        augment=augment,
    )
    classifier = Classifier(model, learning_rate=learning_rate, seed=seed, **options)
    device = model.readout.weight.device
    settings = {"limit_val_batches": 0} if validation is None else {}
    settings |= trainer_options or {}
    model.train()  # Lightning leaves the mode as it is, and an earlier `fit` has left `eval`
    with _quiet():
        run = trainer(epochs, out=out, progress=progress, device=device, **settings)
    folder = None if out is None else Path(out) / CHECKPOINTS
    found = last_checkpoint(folder) if resume else None
    with _quiet():
        try:
            run.fit(classifier, datamodule=data, ckpt_path=found, weights_only=True)
        except RuntimeError as error:
            if run.world_size == 1 or not _is_lost_connection(error):
                raise
            kept = last_checkpoint(folder) or "none"
            raise RuntimeError(
                f"another process of this run has died. Last good checkpoint: {kept}; resume=True "
                "(--resume) goes on from it, with any number of processes"
            ) from error
    if run.interrupted:
        raise KeyboardInterrupt
    model.to(device).eval()
    return classifier.history


def trainer(
    epochs: int,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    device: torch.device | None = None,
    patience: int | None = None,
    **options: Any,
) -> pl.Trainer:
    """Lightning's `Trainer` as `fit` sets it up: see there. `options` go to it as they are."""
    callbacks: list[pl.Callback] = list(options.pop("callbacks", ()))
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    if patience is not None:
        callbacks.append(Patience("validation_accuracy", patience=patience, mode="max"))
    if out is not None:
        folder = Path(out) / CHECKPOINTS
        callbacks.append(
            ModelCheckpoint(
                folder,
                filename=LAST,
                save_top_k=1,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            )
        )
        callbacks.append(MetricsFile(Path(out) / "metrics.csv"))
    if device is not None and "accelerator" not in options:
        options["accelerator"] = {"cuda": "gpu"}.get(device.type, device.type)
        if device.index is not None:
            options.setdefault("devices", [device.index])
    settings: dict[str, Any] = {
        "max_epochs": epochs,
        "devices": 1,
        "enable_checkpointing": out is not None,
        "enable_progress_bar": progress,
        "enable_model_summary": False,
        "logger": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,  # `Batches` shares each batch out itself
        **options,
        "plugins": [SafetensorsIO(), *options.pop("plugins", ())],
    }
    return pl.Trainer(callbacks=callbacks, **settings)


class Patience(EarlyStopping):
    """Early stopping that ends with the weights of the best epoch, also where a run is resumed."""

    best: dict[str, Any]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.wait_count >= self.patience:  # resumed after it had stopped
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.wait_count == 0:
            self.best = {k: v.clone() for k, v in pl_module.state_dict().items()}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.load_state_dict(self.best)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "best"})
        self.best = state_dict["best"]


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


class MetricsFile(pl.callbacks.Checkpoint):
    """The epochs' metrics as CSV, all of them, also those before a run was resumed.

    (Lightning's own CSV logger deletes the earlier ones then.) It is a `Checkpoint` so that it runs
    after the module's own end of the epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        rows = [{"epoch": i, **record} for i, record in enumerate(pl_module.history)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
