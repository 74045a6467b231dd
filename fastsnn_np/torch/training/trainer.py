"""Lightning's `Trainer` as `fit` sets it up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar

from ..._checks import is_whole
from .callbacks import MetricsFile, Patience
from .checkpoint import CHECKPOINTS, LAST, SafetensorsIO

_ENOUGH = 16  # processes, on a machine of fewer cores


def check_processes(name: str, value: Any) -> Any:
    """Refuse so many processes that starting them would bring the machine down.

    Lightning starts as many as it is told to. It counts the GPUs, of which there may be more.
    """
    most = max(os.cpu_count() or 1, torch.cuda.device_count(), _ENOUGH)
    if is_whole(value) and value > most:
        raise ValueError(f"{name} must be at most {most} on this machine, got {value}")
    return value


def make_trainer(
    epochs: int,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    device: torch.device | None = None,
    patience: int | None = None,
    callbacks: Iterable[pl.Callback] = (),
    **options: Any,
) -> pl.Trainer:
    """A `Trainer` for `epochs` epochs; see `fit`. `options` go to it as they are.

    It has no callbacks but those of the arguments: `fit` adds `LayerHealth` and `FiniteGuard`.
    """
    callbacks = list(callbacks)
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    if patience is not None:
        callbacks.append(Patience("validation_accuracy", patience=patience, mode="max"))
    if out is not None:
        callbacks.append(
            ModelCheckpoint(
                Path(out) / CHECKPOINTS,
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
        "plugins": [SafetensorsIO(), *(options.pop("plugins", None) or ())],
    }
    return pl.Trainer(callbacks=callbacks, **settings)
