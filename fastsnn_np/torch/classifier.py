"""A network as a `LightningModule`: loss, metrics of an epoch, health, and what stops a run."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from ._checkpoint import last_checkpoint
from .data import Batch, to_device
from .fast_snn import FastSNN
from .modules import Activity, as_dense
from .standard_snn import StandardSNN

_PROBE_EVERY = 50  # steps between looks at activity, gradient norm and, on a GPU, the loss


class Classifier(pl.LightningModule):
    """Trains a `FastSNN` or `StandardSNN` by the cross-entropy of its logits (eq. 18 and 19).

    Logged at the end of every epoch: ``loss``, ``accuracy``, ``validation_accuracy``,
    ``gradient_norm``, and of every hidden layer ``spikes.I``, the spikes of a sample, and
    ``silent.I``, the fraction of its neurons that no sample has seen fire. The last three come from
    the validation data, or from every 50th training step where there is none. Nothing of this is
    done at every step but the sums of loss and right answers.

    Parameters
    ----------
    model : FastSNN or StandardSNN
    learning_rate : float
        Adam's.
    schedule : {"constant", "cosine"}
        How the learning rate goes down over the epochs.
    weight_decay : float
        Of synaptic weights alone: decaying beta would shorten the time constants.
    count_penalty : float
        Added to the loss times the mean spike count of a sample, over all hidden layers.
    latency_penalty : float
        Added to the loss times the mean over samples of the sum of all neurons' spike times, in
        units of the whole window, which is also the time of a neuron that stays silent: neurons are
        to fire, and early.
    label_smoothing : float
    seed : int
        Dropout follows from (seed, epoch, step).
    """

    def __init__(
        self,
        model: FastSNN | StandardSNN,
        *,
        learning_rate: float = 1e-3,
        schedule: str = "constant",
        weight_decay: float = 0.0,
        count_penalty: float = 0.0,
        latency_penalty: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {learning_rate}")
        if schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule must be 'constant' or 'cosine', got {schedule!r}")
        for name, value in (
            ("weight_decay", weight_decay),
            ("count_penalty", count_penalty),
            ("latency_penalty", latency_penalty),
        ):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.model, self.seed = model, seed
        self.learning_rate, self.schedule, self.weight_decay = learning_rate, schedule, weight_decay
        self.count_penalty, self.latency_penalty = count_penalty, latency_penalty
        self.label_smoothing = label_smoothing
        self.history: list[dict[str, float]] = []  #: of every epoch what was logged

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes which hook it is in about 40 times a step, and `nn.Module` looks through
        # parameters, buffers and modules each time: a third of a millisecond
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def setup(self, stage: str) -> None:
        """Share the cores out, where several processes train on one machine."""
        processes = getattr(self.trainer.strategy, "num_processes", 1)
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
        self._health = _Health()
        self._first_bad = torch.full((), math.inf, device=self.device)

    def training_step(self, batch: Batch, step: int) -> Tensor:
        x, labels, share = batch.x, batch.labels, batch.share
        if getattr(self.model, "dropout", 0):
            entropy = [self.seed, self.current_epoch, step, self.global_rank]
            torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        penalised = self.count_penalty or self.latency_penalty
        probed = penalised or (step % _PROBE_EVERY == 0 and not self._validates)
        try:
            logits, activities = (
                self.model(x, return_activity=True) if probed else (self.model(x), [])
            )
        except ValueError as error:
            if self._not_finite() is None:
                raise
            raise FloatingPointError(self._why_it_stops(step)) from error
        if activities:
            self._health.add(activities, len(labels))
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        for activity in activities if penalised else []:
            loss = loss + self.count_penalty * activity.spikes.mean()
            loss = loss + self.latency_penalty / _steps(x) * activity.latency.mean()
        self._watch(loss.detach(), step, x)
        self._seen += len(labels)
        self._loss += loss.detach() * len(labels)
        self._right += (logits.detach().argmax(-1) == labels).sum()
        return loss * share if share != 1 else loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self._updates % _PROBE_EVERY == 0:
            norms = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
            self._norm = torch.stack(norms).norm()
        self._updates += 1

    def on_train_epoch_end(self) -> None:
        self._check()
        self._check_parameters()  # before a checkpoint is written
        sums = self._everywhere(self._loss, self._right, self._seen)
        loss, right, seen = map(float, sums)
        values = {
            "loss": loss / seen,
            "accuracy": right / seen,
            "gradient_norm": float(self._norm),
            "learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"],
        }
        values |= self._validated if self._validates else self._health.report(self._everywhere)
        self.log_dict(values, batch_size=1)
        self.history.append(values)

    def on_validation_epoch_start(self) -> None:
        self._val_seen, self._val_right, self._health = 0.0, self._zero(), _Health()

    def validation_step(self, batch: Batch, step: int) -> None:
        labels = batch.labels
        logits, activities = self.model(batch.x, return_activity=True)
        self._health.add(activities, len(labels))
        self._val_seen += len(labels)
        self._val_right += (logits.argmax(-1) == labels).sum()

    def on_validation_epoch_end(self) -> None:
        right, seen = map(float, self._everywhere(self._val_right, self._val_seen))
        health = self._health.report(self._everywhere)
        self._validated = {"validation_accuracy": right / seen, **health}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        checkpoint["architecture"] = architecture(self.model)
        checkpoint["settings"] = self._settings()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for key, ours, what in (
            ("architecture", architecture(self.model), "another network"),
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
        names = ("learning_rate", "schedule", "weight_decay", "count_penalty", "latency_penalty")
        found = {name: getattr(self, name) for name in (*names, "label_smoothing", "seed")}
        found["batch_size"] = getattr(cast(Any, self.trainer).datamodule, "batch_size", None)
        if self.schedule != "constant":
            found["epochs"] = self.trainer.max_epochs
        return found

    @property
    def _validates(self) -> bool:
        return bool(self.trainer.enable_validation and any(self.trainer.num_val_batches))

    def _zero(self) -> Tensor:
        return torch.zeros((), device=self.device)

    def _everywhere(self, *sums: Any) -> tuple[Tensor, ...]:
        """Numbers and vectors, summed over all processes."""
        parts = [torch.as_tensor(s, device=self.device).double().reshape(-1) for s in sums]
        summed: Any = self.trainer.strategy.reduce(torch.cat(parts), reduce_op="sum")
        return cast("tuple[Tensor, ...]", summed.split([len(part) for part in parts]))

    def _watch(self, loss: Tensor, step: int, x: Any) -> None:
        """Stop at the first step whose loss is not finite; on a GPU, look for it now and then."""
        if loss.device.type == "cpu":
            if not math.isfinite(loss):
                raise FloatingPointError(self._why_it_stops(step, self._overflows(x)))
            return
        self._remember_bad(loss, step)
        if step % _PROBE_EVERY == 0:
            self._check()

    def _remember_bad(self, loss: Tensor, step: int) -> None:
        """Without waiting for the GPU."""
        self._first_bad = torch.where(
            torch.isfinite(loss), self._first_bad, self._first_bad.clamp(max=step)
        )

    def _check(self) -> None:
        if torch.isfinite(self._first_bad):
            raise FloatingPointError(self._why_it_stops(int(self._first_bad)))

    def _check_parameters(self) -> None:
        """A neuron of potential NaN is silent, and the loss may be finite all the same."""
        if self._not_finite() is not None:
            raise FloatingPointError(
                self._why_it_stops(len(self.trainer.train_dataloader or ()) - 1)
            )

    def _not_finite(self) -> str | None:
        named = self.model.named_parameters()
        return next((name for name, p in named if not torch.isfinite(p).all()), None)

    @torch.no_grad()
    def _overflows(self, x: Any) -> str | None:
        """The first layer whose potential is not finite, though its parameters are."""
        train = as_dense(x, self.model.readout.weight)
        hidden: Any = self.model.layers
        for i, layer in enumerate(hidden):
            if not torch.isfinite(layer.potential(train)).all():
                return f"the potential of layers.{i}"
            train = layer(train)
        finite = torch.isfinite(self.model.readout.potential(train)).all()
        return None if finite else "the potential of readout"

    def _why_it_stops(self, step: int, culprit: str | None = None) -> str:
        culprit = self._not_finite() or culprit or "the loss"
        kept = last_checkpoint(getattr(self.trainer.checkpoint_callback, "dirpath", None))
        return (
            f"training stopped at epoch {self.current_epoch}, step {step}: {culprit} is not "
            f"finite. Last good checkpoint: {kept or 'none'}. Lower the learning rate "
            f"({self.learning_rate}) or look for extreme inputs"
        )


def architecture(model: FastSNN | StandardSNN) -> dict[str, Any]:
    """What two models must share for the parameters of one to mean the same in the other."""
    found: dict[str, Any] = {"model": type(model).__name__, "sizes": list(model.sizes)}
    options = "input_scale", "threshold", "gradient", "slope", "surrogate"
    kinds = "kind", "detach_reset", "single_spike"
    named = [(f"layers.{i}", layer) for i, layer in enumerate(model.layers)]
    for name, part in (*named, ("readout", model.readout)):
        for option in (*options, *kinds):
            if hasattr(part, option):
                value = getattr(part, option)
                found[f"{name}.{option}"] = getattr(value, "__qualname__", value)
        found[f"{name}.learnt"] = [key for key, _ in part.named_parameters()]
        found[f"{name}.share_beta"] = part.beta.ndim == 0
    for option in ("skip", "dropout"):
        found[option] = getattr(model, option, 0)
    return found


class _Health:
    """Spikes of a sample and silent neurons, layer by layer, over what it has been shown."""

    def __init__(self) -> None:
        self.samples = 0
        self.per_neuron: list[Tensor] = []

    def add(self, activities: list[Activity], samples: int) -> None:
        seen = [activity.per_neuron for activity in activities]
        before = self.per_neuron or [torch.zeros_like(spikes) for spikes in seen]
        self.per_neuron = [a + b for a, b in zip(before, seen, strict=True)]
        self.samples += samples

    def report(self, everywhere: Callable[..., tuple[Tensor, ...]]) -> dict[str, float]:
        """Numbers by name, of all processes, and a warning where a layer is dead."""
        values = {}
        samples, *per_neuron = everywhere(self.samples, *self.per_neuron)
        for i, spikes in enumerate(per_neuron):
            values[f"spikes.{i}"] = float(spikes.sum() / samples)
            values[f"silent.{i}"] = float((spikes == 0).double().mean())
            if values[f"silent.{i}"] == 1:
                warnings.warn(
                    f"hidden layer {i} is dead: none of its {len(spikes)} neurons fires on any of "
                    f"{int(samples)} samples, and little can be learnt. Raise its weights "
                    f"(model.layers[{i}].weight.data *= 3), lower its threshold, or lower "
                    "count_penalty",
                    stacklevel=2,
                )
        return values


def _steps(x: Any) -> int:
    return int(x.shape[-1] if isinstance(x, Tensor) else x.n_steps)
