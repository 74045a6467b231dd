"""A network as a `LightningModule`: the loss, the optimiser, and the metrics of an epoch."""

from __future__ import annotations

import os
from typing import Any, Literal, TypedDict, cast

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from ..._checks import check_option, fraction, not_negative, positive
from ...spikes import shape_of
from .._model import Model
from .data import Batch, SpikeData, to_device

Schedule = Literal["constant", "cosine"]
PROBE_EVERY = 50  #: steps between looks at activity, gradient norm and, on a GPU, the loss


class ClassifierOptions(TypedDict, total=False):
    """Options of `Classifier`, which `fit` and the recipes pass on to it."""

    learning_rate: float
    schedule: Schedule
    weight_decay: float
    count_penalty: float
    latency_penalty: float
    label_smoothing: float


class Classifier(pl.LightningModule):
    """Trains a `FastSNN` or `StandardSNN` by the cross-entropy of its logits (eq. 18 and 19).

    Logged at the end of every epoch: ``loss``, ``accuracy``, ``gradient_norm``,
    ``learning_rate``, with validation data ``validation_accuracy``, and what the callback
    `LayerHealth` has found. Nothing of this is done at every step but the sums of loss and right
    answers.

    Parameters
    ----------
    model : FastSNN or StandardSNN
    learning_rate : float
        Step size of the optimiser, Adam.
    schedule : {"constant", "cosine"}
        How the learning rate goes down over the epochs.
    weight_decay : float
        Decay of the synaptic weights alone: that of beta would shorten the time constants.
    count_penalty : float
        Added to the loss times the mean spike count per sample, over all hidden layers.
    latency_penalty : float
        Added to the loss times the mean over samples of the sum of all neurons' spike times, in
        units of the whole window, which is also the time of a neuron that stays silent: neurons are
        to fire, and early.
    label_smoothing : float
        Share of the true class that is spread over all classes, 0 <= label_smoothing < 1.
    seed : int
        Dropout follows from (seed, epoch, step).
    """

    def __init__(
        self,
        model: Model,
        *,
        learning_rate: float = 1e-3,
        schedule: Schedule = "constant",
        weight_decay: float = 0.0,
        count_penalty: float = 0.0,
        latency_penalty: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_option("schedule", schedule, Schedule)
        self.model, self.seed, self.schedule = model, seed, schedule
        self.learning_rate = positive("learning_rate", learning_rate)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.count_penalty = not_negative("count_penalty", count_penalty)
        self.latency_penalty = not_negative("latency_penalty", latency_penalty)
        self.label_smoothing = fraction("label_smoothing", label_smoothing)
        self.history: list[dict[str, float]] = []  #: what was logged in every epoch
        self.health: dict[str, float] = {}  #: what `LayerHealth` has found in this epoch

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes which hook it is in about 40 times a step, and `nn.Module` looks through
        # parameters, buffers and modules each time: a third of a millisecond
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def setup(self, stage: str) -> None:
        """Share the cores out, where several processes train on one machine."""
        processes = self.trainer.num_devices  # on this machine
        if processes > 1 and self.device.type == "cpu":
            import numba

            threads = max(1, (os.cpu_count() or 1) // processes)
            numba.set_num_threads(min(threads, numba.get_num_threads()))
            torch.set_num_threads(threads)

    def configure_optimizers(self) -> Any:
        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        # mixed precision clips gradients after unscaling them, which fused optimisers do inside
        fused = self.device.type in ("cpu", "cuda") and "mixed" not in self.trainer.precision
        parameters: Any = list(self.model.parameters())
        if self.weight_decay:
            weights = [p for p in parameters if p.ndim == 2]
            others = [p for p in parameters if p.ndim != 2]
            parameters = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        optimiser = kind(
            parameters,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=fused,
        )
        if self.schedule == "constant":
            return optimiser
        epochs = self.trainer.max_epochs or 1
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        return {"optimizer": optimiser, "lr_scheduler": cosine}

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        return Batch(to_device(batch.x, device), batch.labels.to(device), batch.share)

    def on_train_epoch_start(self) -> None:
        batches: Any = self.trainer.train_dataloader
        batches.epoch = self.current_epoch
        self._seen, self._loss, self._right = 0.0, self._zero(), self._zero()
        self._norm, self._updates = self._zero(), 0

    def training_step(self, batch: Batch, step: int) -> dict[str, Any]:
        """The loss, and, now and then, the number of spikes of each neuron, layer by layer."""
        x, labels, share = batch.x, batch.labels, batch.share
        if self.model.dropout:
            entropy = [self.seed, self.current_epoch, step, self.global_rank]
            torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        penalised = self.count_penalty or self.latency_penalty
        if penalised or (step % PROBE_EVERY == 0 and not self.validates):
            logits, activities = self.model(x, return_activity=True)
        else:
            logits, activities = self.model(x), []
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        for activity in activities if penalised else []:
            loss = loss + self.count_penalty * activity.spikes.mean()
            loss = loss + self.latency_penalty / shape_of(x).steps * activity.latency.mean()
        self._seen += len(labels)
        self._loss += loss.detach() * len(labels)
        self._right += (logits.detach().argmax(-1) == labels).sum()
        per_neuron = [activity.per_neuron for activity in activities]
        return {"loss": loss * share if share != 1 else loss, "spikes": per_neuron}

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self._updates % PROBE_EVERY == 0:
            norms = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
            self._norm = torch.stack(norms).norm()
        self._updates += 1

    def on_train_epoch_end(self) -> None:
        sums = self.over_all_processes(self._loss, self._right, self._seen)
        loss, right, seen = map(float, sums)
        values = {
            "loss": loss / seen,
            "accuracy": right / seen,
            "gradient_norm": float(self._norm),
            "learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"],
        }
        if self.validates:
            values["validation_accuracy"] = self._validation_accuracy
        values |= self.health
        self.log_dict(values, batch_size=1)
        self.history.append(values)

    def on_validation_epoch_start(self) -> None:
        self._val_seen, self._val_right = 0.0, self._zero()

    def validation_step(self, batch: Batch, step: int) -> dict[str, Any]:
        """The number of spikes of each neuron, layer by layer."""
        labels = batch.labels
        logits, activities = self.model(batch.x, return_activity=True)
        self._val_seen += len(labels)
        self._val_right += (logits.argmax(-1) == labels).sum()
        return {"spikes": [activity.per_neuron for activity in activities]}

    def on_validation_epoch_end(self) -> None:
        right, seen = map(float, self.over_all_processes(self._val_right, self._val_seen))
        self._validation_accuracy = right / seen

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        checkpoint["architecture"] = self.model.architecture()
        checkpoint["settings"] = self._settings()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for key, ours, what in (
            ("architecture", self.model.architecture(), "another network"),
            ("settings", self._settings(), "a run with other settings"),
        ):
            theirs = checkpoint.get(key) or {}
            other = [k for k in {**theirs, **ours} if theirs.get(k) != ours.get(k)]
            if other:
                raise ValueError(
                    f"the checkpoint is of {what}: "
                    + ", ".join(f"{k} {theirs.get(k)}, now {ours.get(k)}" for k in other)
                )
        self.history = checkpoint["history"]

    def _settings(self) -> dict[str, Any]:
        """What a run that goes on must share with its beginning; only a constant rate may go on."""
        data = cast(Any, self.trainer).datamodule
        found = {
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "weight_decay": self.weight_decay,
            "count_penalty": self.count_penalty,
            "latency_penalty": self.latency_penalty,
            "label_smoothing": self.label_smoothing,
            "seed": self.seed,
            "batch_size": data.batch_size if isinstance(data, SpikeData) else None,
        }
        if self.schedule != "constant":
            found["epochs"] = self.trainer.max_epochs
        return found

    @property
    def validates(self) -> bool:
        """Whether epochs are evaluated on validation data."""
        return bool(self.trainer.enable_validation and any(self.trainer.num_val_batches))

    def _zero(self) -> Tensor:
        return torch.zeros((), device=self.device)

    def over_all_processes(self, *sums: Any) -> tuple[Tensor, ...]:
        """Numbers and vectors, summed over all processes."""
        parts = [torch.as_tensor(s, device=self.device).double().reshape(-1) for s in sums]
        summed: Any = self.trainer.strategy.reduce(torch.cat(parts), reduce_op="sum")
        return cast("tuple[Tensor, ...]", summed.split([len(part) for part in parts]))
