"""A network as a `LightningModule`: the loss, the optimiser, and the metrics of an epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack, cast

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from ..._checks import check_option, fraction, not_negative, positive, whole
from ...spikes import shape_of
from .._model import Model
from .._options import complete, with_defaults, with_settings
from .checkpoint import check_parameters, fitted_optimiser
from .data import Batch, SpikeData, as_batch, to_device

Schedule = Literal["constant", "cosine"]
EvaluatedOn = Literal["validation", "test"]
PROBE_EVERY = 50  #: steps between looks at activity, gradient norm and, on a GPU, the loss


_EVALUATED = ("validation_accuracy", "test_accuracy")  # before version 0.2 there was one name


class ClassifierOptions(TypedDict, total=False):
    """Options of `Classifier`, which `fit` and the recipes pass on to it."""

    learning_rate: float
    schedule: Schedule
    weight_decay: float
    count_penalty: float
    latency_penalty: float
    label_smoothing: float


CLASSIFIER: ClassifierOptions = {
    "learning_rate": 1e-3,
    "schedule": "constant",
    "weight_decay": 0.0,
    "count_penalty": 0.0,
    "latency_penalty": 0.0,
    "label_smoothing": 0.0,
}


class Classifier(pl.LightningModule):
    """Trains a `FastSNN` or its like by the cross-entropy of its logits (eq. 18 and 19).

    Logged at the end of every epoch: ``loss``, ``accuracy``, ``gradient_norm``,
    ``learning_rate``, with validation data ``validation_accuracy``, and what the callback
    `LayerHealth` has found. Nothing of this is done at every step but the sums of loss and right
    answers.

    Parameters
    ----------
    model : FastSNN or StandardSNN
    learning_rate : float
        Step size of the optimiser, Adam; 1e-3 unless given.
    schedule : {"constant", "cosine"}
        How the learning rate goes down over the epochs; "constant" unless given.
    weight_decay : float
        Decay of the synaptic weights alone: that of beta would shorten the time constants; 0, as
        each of the following, unless given.
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
    evaluated_on : {"validation", "test"}
        What the data is that epochs are evaluated on, by which its accuracy is named:
        ``validation_accuracy`` or ``test_accuracy``.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int = 0,
        evaluated_on: EvaluatedOn = "validation",
        **options: Unpack[ClassifierOptions],
    ) -> None:
        super().__init__()
        options = complete(options, CLASSIFIER, type(self).__name__)
        check_option("schedule", options["schedule"], Schedule)
        check_option("evaluated_on", evaluated_on, EvaluatedOn)
        self.evaluated_on = f"{evaluated_on}_accuracy"
        self.model, self.seed = model, whole("seed", seed, at_least=0)
        self.schedule = options["schedule"]
        self.learning_rate = positive("learning_rate", options["learning_rate"])
        self.weight_decay = not_negative("weight_decay", options["weight_decay"])
        self.count_penalty = not_negative("count_penalty", options["count_penalty"])
        self.latency_penalty = not_negative("latency_penalty", options["latency_penalty"])
        self.label_smoothing = fraction("label_smoothing", options["label_smoothing"])
        self.history: list[dict[str, float]] = []  #: what was logged in every epoch
        self.health: dict[str, float] = {}  #: what `LayerHealth` has found in this epoch
        self._norms: dict[str, Tensor] | None = None

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
        weights, others = self._parameters_to_learn()
        groups: Any = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        optimiser = kind(
            groups if self.weight_decay else [*weights, *others],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=fused,
        )
        if self.schedule == "constant":
            return optimiser
        epochs = self.trainer.max_epochs or 1
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        return {"optimizer": optimiser, "lr_scheduler": cosine}

    def _parameters_to_learn(self) -> tuple[list[Tensor], list[Tensor]]:
        """Those whose weights decay and the others, in the order of the optimiser."""
        parameters: list[Tensor] = list(self.model.parameters())
        if not self.weight_decay:
            return [], parameters
        return [p for p in parameters if p.ndim == 2], [p for p in parameters if p.ndim != 2]

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """A `Batch` there; a pair (x, labels), as any loader gives it, becomes one."""
        batch = as_batch(batch, self.model.sizes[0], self.model.sizes[-1])
        return Batch(to_device(batch.x, device), batch.labels.to(device), batch.share)

    def on_train_epoch_start(self) -> None:
        batches: Any = self.trainer.train_dataloader
        batches.epoch = self.current_epoch
        self._seen, self._loss, self._right = 0.0, self._zero(), self._zero()
        self._norm, self._updates = self._zero(), 0
        self._validation_accuracy: float | None = None  # an epoch need not be evaluated
        self.health = {}

    def training_step(self, batch: Batch, step: int) -> dict[str, Any]:
        """The loss, and, now and then, the number of spikes of each neuron, layer by layer."""
        x, labels, share = batch.x, batch.labels, batch.share
        if self.model.dropout:
            entropy = [self.seed, self.current_epoch, step, self.global_rank]
            torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        penalised = self.count_penalty or self.latency_penalty
        probe = step % PROBE_EVERY == 0 or self.trainer.is_last_batch
        if penalised or (probe and not self.validates):
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

    def gradient_norms(self) -> dict[str, Tensor]:
        """Norm of each parameter's gradient before this update, in float64.

        Straight-through gradients come near the largest float32, and their squares go beyond it.
        """
        if self._norms is None:
            self._norms = {
                name: torch.linalg.vector_norm(parameter.grad, dtype=torch.float64)
                for name, parameter in self.model.named_parameters()
                if parameter.grad is not None
            }
        return self._norms

    def looks_at_gradients(self) -> bool:
        """Whether this update needs the norms: now and then, and always where they are clipped."""
        return self._updates % PROBE_EVERY == 0 or self.clips_by_norm

    @property
    def clips_by_norm(self) -> bool:
        """Whether gradients are scaled down to a largest norm."""
        trainer = self.trainer
        return bool(trainer.gradient_clip_val) and trainer.gradient_clip_algorithm != "value"

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self._updates % PROBE_EVERY == 0:
            self._norm = _total(self.gradient_norms())
        self._updates += 1

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm in float64; one that overflows would turn every gradient into 0."""
        if self.clips_by_norm:
            largest: Any = gradient_clip_val
            factor = (largest / (_total(self.gradient_norms()) + 1e-6)).clamp(max=1)
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        else:
            self.clip_gradients(
                optimizer,
                gradient_clip_val=gradient_clip_val,
                gradient_clip_algorithm=gradient_clip_algorithm,
            )
        self._norms = None  # the next update has gradients of its own

    def on_train_epoch_end(self) -> None:
        sums = self.over_all_processes(self._loss, self._right, self._seen)
        loss, right, seen = map(float, sums)
        values = {
            "loss": loss / seen,
            "accuracy": right / seen,
            "gradient_norm": float(self._norm),
            "learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"],
        }
        if self._validation_accuracy is not None:
            values[self.evaluated_on] = self._validation_accuracy
        values |= self.health
        shown = {k: v for k, v in values.items() if k in ("loss", "accuracy", self.evaluated_on)}
        self.log_dict({k: v for k, v in values.items() if k not in shown}, batch_size=1)
        self.log_dict(shown, batch_size=1, prog_bar=True)
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
        ours, defaults = self.model.architecture(), self.model.architecture_defaults()
        _check_same("another network", checkpoint.get("architecture"), ours, defaults)
        ours = self._settings()
        _check_same("a run with other settings", checkpoint.get("settings"), ours, CLASSIFIER)
        ready = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"]
        if ready - len(checkpoint["history"]) not in (0, 1):
            raise ValueError(
                f"the checkpoint is damaged: its history has {len(checkpoint['history'])} epochs, "
                f"and {ready} were begun"
            )
        if len(checkpoint["history"]) > (self.trainer.max_epochs or math.inf):
            raise ValueError(
                f"the run has {len(checkpoint['history'])} epochs already, more than "
                f"epochs={self.trainer.max_epochs}"
            )
        # what the settings of an older checkpoint's modules are has been compared just now
        checkpoint["state_dict"] = with_settings(self, checkpoint["state_dict"])
        check_parameters(checkpoint["state_dict"], self.state_dict())
        weights, others = self._parameters_to_learn()
        checkpoint["optimizer_states"] = [
            fitted_optimiser(state, [*weights, *others]) for state in checkpoint["optimizer_states"]
        ]
        self.history = [
            {self.evaluated_on if k in _EVALUATED else k: v for k, v in record.items()}
            for record in checkpoint["history"]
        ]

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


def _check_same(what: str, saved: Any, ours: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of other settings; one that it does not name had its default."""
    theirs = with_defaults(saved or {}, ours, defaults)
    other = [k for k in {**theirs, **ours} if theirs.get(k) != ours.get(k)]
    if other:
        raise ValueError(
            f"the checkpoint is of {what}: "
            + ", ".join(f"{k} {theirs.get(k)}, now {ours.get(k)}" for k in other)
        )


def _total(norms: dict[str, Tensor]) -> Tensor:
    """The norm of all gradients together."""
    return torch.stack([*norms.values()]).norm()
