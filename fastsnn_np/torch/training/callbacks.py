"""What goes along with a training run: patience, health, the metrics' file, the look for NaN."""

from __future__ import annotations

import csv
import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from torch import Tensor

from ..._storage import replacing
from .._options import with_settings
from ..modules import as_dense
from .checkpoint import last_checkpoint
from .classifier import PROBE_EVERY, Classifier
from .data import Batch


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
        pl_module.load_state_dict(with_settings(pl_module, self.best))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "best"})
        self.best = state_dict["best"]


_MOSTLY_SILENT = 0.9  # fraction of a layer's neurons
_LASTING = 3  # epochs: many a layer is silent to begin with, and learns to fire


class _Silence(NamedTuple):
    """What an epoch has seen of a layer."""

    neurons: int
    silent: int
    samples: int
    lasting: int  #: number of epochs in a row with most neurons silent

    @property
    def dead(self) -> bool:
        return self.silent == self.neurons


class LayerHealth(pl.Callback):
    """Spikes per sample and silent neurons of every hidden layer, and a warning if few ever fire.

    Each epoch's numbers go to `Classifier.health`: ``spikes.I``, the spikes of layer I per sample,
    and ``silent.I``, the fraction of its neurons that no sample has seen fire. They come from the
    validation data, or, where there is none, from the training steps that looked at them: every
    50th and the last of an epoch, or every one where spikes are penalised. A layer that is mostly
    silent in three epochs in a row, or of which no neuron fires in the last one, is warned of.
    """

    def __init__(self) -> None:
        self._warned: set[int] = set()  # layers
        self._found: dict[int, _Silence] = {}  # by layer

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._reset()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if outputs["spikes"]:
            self._add(outputs["spikes"], batch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not pl_module.validates:
            self._report(pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._reset()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(outputs["spikes"], batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._report(pl_module)

    def _reset(self) -> None:
        self._samples = 0
        self._per_neuron: list[Tensor] = []

    def _add(self, per_neuron: list[Tensor], batch: Batch) -> None:
        before = self._per_neuron or [torch.zeros_like(spikes) for spikes in per_neuron]
        self._per_neuron = [a + b for a, b in zip(before, per_neuron, strict=True)]
        self._samples += len(batch.labels)

    def _report(self, classifier: Classifier) -> None:
        """Numbers by name, of all processes together."""
        health = {}
        samples, *layers = classifier.over_all_processes(self._samples, *self._per_neuron)
        for i, spikes in enumerate(layers):
            health[f"spikes.{i}"] = float(spikes.sum() / samples)
            health[f"silent.{i}"] = float((spikes == 0).double().mean())
            lasting = 0
            if health[f"silent.{i}"] > _MOSTLY_SILENT:
                lasting = 1 + (self._found[i].lasting if i in self._found else 0)
            silent = int((spikes == 0).sum())
            self._found[i] = _Silence(len(spikes), silent, int(samples), lasting)
            if lasting >= _LASTING:
                self._warn(i)
        classifier.health = health

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for layer, found in self._found.items():
            if found.dead:
                self._warn(layer)

    def _warn(self, layer: int) -> None:
        """Say, once in a run for each layer that is dead or mostly silent, what helps."""
        if layer in self._warned:
            return
        self._warned.add(layer)
        neurons, silent, samples, _ = found = self._found[layer]
        dead = found.dead
        which = "dead: none" if dead else f"mostly silent: {silent}"
        warnings.warn(
            f"hidden layer {layer} is {which} of its {neurons} neurons "
            f"{'fires' if dead else 'fire'} on {'any' if dead else 'none'} of {samples} samples, "
            "and little can be learnt. Raise its weights "
            f"(model.layers[{layer}].weight.data *= 1.5, until a third of the neurons fire), lower "
            "its threshold, or lower count_penalty",
            stacklevel=2,
        )


class FiniteGuard(pl.Callback):
    """Stops a run whose loss, gradients or parameters are no longer finite, and says which.

    On the CPU it looks at every loss before the backward pass; on a GPU, where a look waits, the
    first bad step is remembered there and looked for now and then. Gradients are looked at now and
    then, and before every update where they are clipped.
    """

    began = False  #: whether training has begun, and a checkpoint been read
    _step = 0
    _batch: Batch | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.began = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._first_bad = torch.full((), math.inf, device=pl_module.device)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._step, self._batch = batch_idx, batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: Tensor) -> None:
        loss = loss.detach()
        if loss.device.type == "cpu":
            if not math.isfinite(loss):
                raise self.error(trainer, pl_module, self._step, _overflow(pl_module, self._batch))
            return
        self._remember_bad(loss, self._step)
        if self._step % PROBE_EVERY == 0:
            self._check_remembered(trainer, pl_module)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        if not pl_module.looks_at_gradients() or trainer.precision == "16-mixed":
            return  # in half precision Lightning scales the loss until gradients are finite
        if self._step % PROBE_EVERY == 0 or pl_module.device.type == "cpu":
            culprit = _bad_gradient(pl_module)
            if culprit is not None:
                raise self.error(trainer, pl_module, self._step, culprit)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Look once more, before a checkpoint is written."""
        self._check_remembered(trainer, pl_module)
        # a neuron of potential NaN is silent, and the loss may be finite all the same
        culprit = _bad_parameter(pl_module) or _bad_state(trainer, pl_module)
        if culprit is not None:
            raise self.error(trainer, pl_module, self._step, culprit)

    def explain(self, error: ValueError, trainer: pl.Trainer, classifier: Classifier) -> None:
        """Raise another error if a step failed with parameters that are not finite.

        The event engine refuses them as it would refuse such arguments.
        """
        if self._batch is not None and _bad_parameter(classifier) is not None:
            raise self.error(trainer, classifier, self._step) from error

    def error(
        self, trainer: pl.Trainer, classifier: Classifier, step: int, culprit: str | None = None
    ) -> FloatingPointError:
        """An error that names epoch, step, culprit and the last good checkpoint."""
        culprit = _bad_parameter(classifier) or culprit or "the loss"
        written = trainer.checkpoint_callback
        kept = last_checkpoint(written.dirpath if isinstance(written, ModelCheckpoint) else None)
        return FloatingPointError(
            f"training stopped at epoch {trainer.current_epoch}, step {step}: {culprit} is not "
            f"finite. Last good checkpoint: {kept or 'none'}. Lower the learning rate "
            f"({classifier.learning_rate}) or look for extreme inputs"
        )

    def _remember_bad(self, loss: Tensor, step: int) -> None:
        """Note the first step with a bad loss, without waiting for the GPU."""
        self._first_bad = torch.where(
            torch.isfinite(loss), self._first_bad, self._first_bad.clamp(max=step)
        )

    def _check_remembered(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if torch.isfinite(self._first_bad):
            raise self.error(trainer, pl_module, int(self._first_bad))


class MetricsFile(Checkpoint):
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
            # a run that goes on may have more to say of an epoch than at its beginning
            writer = csv.DictWriter(file, list(dict.fromkeys(k for row in rows for k in row)))
            writer.writeheader()
            writer.writerows(rows)


def _bad_parameter(classifier: Classifier) -> str | None:
    named = classifier.model.named_parameters()
    return next((name for name, p in named if not torch.isfinite(p).all()), None)


def _bad_gradient(classifier: Classifier) -> str | None:
    """A gradient that is not finite, or that Adam, which squares it, could do nothing with."""
    for name, norm in classifier.gradient_norms().items():
        if not torch.isfinite(norm):
            return f"the gradient of {name}"
        dtype = classifier.model.get_parameter(name).dtype
        if not classifier.clips_by_norm and norm > math.sqrt(torch.finfo(dtype).max):
            return f"the square of the gradient of {name}"
    return None


def _bad_state(trainer: pl.Trainer, classifier: Classifier) -> str | None:
    """A parameter whose state in the optimiser is not finite: it would never move again."""
    states = trainer.optimizers[0].state
    for name, parameter in classifier.model.named_parameters():
        values = [v for v in states.get(parameter, {}).values() if isinstance(v, Tensor)]
        if not all(torch.isfinite(value).all() for value in values):
            return f"the optimiser's state of {name}"
    return None


@torch.no_grad()
def _overflow(classifier: Classifier, batch: Batch | None) -> str | None:
    """The first layer whose potential is not finite, though its parameters are."""
    if batch is None:
        return None
    model = classifier.model
    spikes = as_dense(batch.x, model.readout.weight)
    for i, layer in enumerate(model.hidden()):
        if not torch.isfinite(layer.potential(spikes)).all():
            return f"the potential of layers.{i}"
        spikes = layer(spikes)
    finite = torch.isfinite(model.readout.potential(spikes)).all()
    return None if finite else "the potential of readout"
