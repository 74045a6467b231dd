"""Batches of spikes, in an order that follows from the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from ..._checks import check_neurons, whole
from ..._namespace import said
from ...augment import WithLabels
from ...backends.torch import asarray
from ...spikes import Events, SpikeTimes, shape_of
from ...spikes._shape import Shape

Spikes = Tensor | SpikeTimes | Events
#: changes a batch: gets it and a NumPy generator, and `labels` if it is `augment.with_labels`
Augment = Callable[..., Any]


class Batch:
    """Samples, their labels, and the size of this process's share of them relative to the mean.

    No tuple and no dataclass, which Lightning would take apart to look for tensors.
    """

    __slots__ = ("labels", "share", "x")

    def __init__(self, x: Spikes, labels: Tensor, share: float = 1.0) -> None:
        self.x, self.labels, self.share = x, labels, share


class Batches:
    """Batches of spikes held in memory, for one epoch at a time.

    The order is that of (seed, epoch), the same for any number of processes: of each batch, process
    `rank` of `world` gets every `world`-th sample. The mean over processes of share times mean loss
    is then the mean loss of the batch.

    Parameters
    ----------
    x : tensor (samples, inputs, time), SpikeTimes or Events
    labels : integer tensor (samples,)
    batch_size : int
        Number of samples in a batch, in all processes together.
    shuffle : bool
    seed : int
    augment : callable, optional
        Gets a batch and a generator made from (seed, epoch, step, rank), gives another batch; the
        labels as well if it is made by `augment.with_labels`.
    rank, world : int
    """

    def __init__(
        self,
        x: Spikes,
        labels: Tensor,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        augment: Augment | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.x, self.labels, self.batch_size, self.shuffle = x, labels, batch_size, shuffle
        self.seed, self.augment, self.rank, self.world = seed, augment, rank, world
        self.epoch = 0  #: to be set before the batches of another one are iterated over

    def __len__(self) -> int:
        full, rest = divmod(len(self.labels), self.batch_size)
        return full + (rest >= self.world)  # every process needs a sample of every batch

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.labels)
        order = np.arange(count)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(count)
        for step in range(len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            own = batch[self.rank :: self.world]
            x: Any = pick(self.x, own)
            if self.augment is not None:
                entropy = [self.seed, self.epoch, step, self.rank]
                x = self._augmented(x, self.labels[torch.from_numpy(own)], entropy)
            share = len(own) * self.world / len(batch)
            yield Batch(x, self.labels[torch.from_numpy(own)], share)

    def _augmented(self, x: Any, labels: Tensor, entropy: list[int]) -> Any:
        augment: Any = self.augment
        known = {"labels": labels.numpy()} if isinstance(augment, WithLabels) else {}
        changed = augment(x, np.random.default_rng(entropy), **known)
        _check_augmented(changed, shape_of(x))
        return changed


def _check_augmented(x: Any, shape: Shape) -> None:
    """Refuse another number of samples or neurons than a batch had before, or no spikes at all."""
    if not isinstance(x, (Tensor, SpikeTimes, Events)):
        raise TypeError(
            f"augment must give a tensor, SpikeTimes or Events, as it gets one, got {said(x)}"
        )
    if shape_of(x)[:2] != shape[:2]:
        raise ValueError(
            f"augment must give as many samples and neurons as it gets, {shape.batch} and "
            f"{shape.neurons}, got shape {tuple(shape_of(x))}"
        )


def pick(x: Any, samples: Any) -> Any:
    """The given samples of spikes in any form; `samples` is a NumPy array of integers."""
    if isinstance(x, Tensor):
        return x[torch.from_numpy(samples).to(x.device)]
    return x.take(samples)


def to_device(x: Any, device: Any) -> Any:
    """A batch on `device`; `Events` stay in host memory, and are made dense there if need be."""
    if isinstance(x, Events):
        return x
    if isinstance(x, SpikeTimes):
        return SpikeTimes.unchecked(asarray(x.times, device), x.n_steps)
    return asarray(x, device)


class SpikeData(pl.LightningDataModule):
    """Training and validation data for Lightning's `Trainer`.

    Parameters
    ----------
    train, validation : (x, labels)
        x is a tensor or array (samples, inputs, time), `SpikeTimes` or `Events`; labels are
        integers 0 <= label < n_classes.
    n_inputs, n_classes : int
        What the model takes and tells apart.
    batch_size : int
        Number of samples in a batch, in all processes together.
    seed : int
        Decides the order of the samples, and what `augment` does.
    augment : callable, optional
        See `Batches`; for training only.

    Raises
    ------
    ValueError, TypeError
        If labels or inputs do not fit.
    """

    def __init__(
        self,
        train: tuple[Any, Any],
        validation: tuple[Any, Any] | None = None,
        *,
        n_inputs: int,
        n_classes: int,
        batch_size: int = 128,
        seed: int = 0,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        self.train = checked(*_pair("train", train), n_inputs, n_classes)
        self.validation = validation
        if validation is not None:
            pair = _pair("validation", validation)
            self.validation = checked(*pair, n_inputs, n_classes, "validation ")
        if augment is not None and not callable(augment):
            raise TypeError(f"augment must be a callable or None, got {said(augment)}")
        self.batch_size = whole("batch_size", batch_size)
        self.seed, self.augment = whole("seed", seed, at_least=0), augment

    def train_dataloader(self) -> Batches:
        return self._batches(self.train, shuffle=True, augment=self.augment)

    def val_dataloader(self) -> Batches | list[Any]:
        return [] if self.validation is None else self._batches(self.validation, shuffle=False)

    def _batches(self, data: Any, **options: Any) -> Batches:
        trainer = self.trainer
        assert trainer is not None
        return Batches(
            *data,
            batch_size=self.batch_size,
            seed=self.seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
            **options,
        )


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (x, labels), got {said(value)}")
    return value[0], value[1]


def checked(x: Any, labels: Any, n_inputs: int, n_classes: int, of: str = "") -> tuple[Any, Tensor]:
    """Inputs and int64 labels that fit each other and the model; `of` is "validation " or ""."""
    if not isinstance(x, (SpikeTimes, Events)):
        x = _tensor(f"{of}x", x)
    count, neurons, _ = shape_of(x)
    check_neurons(neurons, n_inputs, "the model")
    if isinstance(x, Tensor):
        _check_finite(f"{of}x", x)
    labels = _tensor(f"{of}labels", labels).cpu()
    if tuple(labels.shape) != (count,) or count == 0:
        raise ValueError(f"{count} {of}samples and labels of shape {tuple(labels.shape)}")
    real = labels.is_floating_point() or labels.is_complex()
    if real or not (labels.min() >= 0 and labels.max() < n_classes):
        got = "" if labels.is_complex() else f" from {labels.min()} to {labels.max()}"
        raise ValueError(
            f"{of}labels must be integers in 0 ... {n_classes - 1}, got {labels.dtype}{got}"
        )
    return x, labels.long()


def _tensor(name: str, value: Any) -> Tensor:
    """`value` as a tensor of its own dtype."""
    try:
        return asarray(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _check_finite(name: str, x: Tensor) -> None:
    for start in range(0, len(x), 256):  # a slice at a time: x may be most of the memory
        finite = torch.isfinite(x[start : start + 256]).flatten(1).all(1)
        if not finite.all():
            sample = start + int(finite.logical_not().nonzero()[0])
            raise ValueError(f"{name} has NaN or infinite values, first in sample {sample}")
