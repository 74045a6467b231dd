"""Batches of spikes, in an order that follows from the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..._checks import check_neurons, whole
from ..._namespace import said
from ...augment import WithLabels
from ...backends.torch import asarray
from ...datasets import collate
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
            x, labels = self.samples(own)
            if self.augment is not None:
                entropy = [self.seed, self.epoch, step, self.rank]
                x = self._augmented(x, labels, entropy)
            yield Batch(x, labels, len(own) * self.world / len(batch))

    def samples(self, numbers: Any) -> tuple[Any, Tensor]:
        """Samples of these numbers, a NumPy array, and their labels."""
        return pick(self.x, numbers), self.labels[torch.from_numpy(numbers)]

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


class FetchedBatches(Batches):
    """Batches of a `Dataset`, in the order of `Batches`: samples are fetched as they are needed.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Gives (x, label) for a number: x a tensor or array (inputs, time), or `SpikeTimes` or
        `Events` of one sample.
    n_inputs, n_classes : int
        What the model takes and tells apart.
    name : str
        What it is called in errors.
    **options
        As in `Batches`.
    """

    def __init__(
        self, dataset: Any, n_inputs: int, n_classes: int, name: str, **options: Any
    ) -> None:
        if isinstance(dataset, IterableDataset):
            raise TypeError(f"{name} must give samples by number, and an IterableDataset does not")
        if not len(dataset):
            raise ValueError(f"{name} must hold at least one sample, got an empty Dataset")
        super().__init__(dataset, torch.empty(len(dataset)), **options)
        self.sizes, self.name = (n_inputs, n_classes), name

    def samples(self, numbers: Any) -> tuple[Any, Tensor]:
        where = f"samples of {self.name}: "
        fetched: Any = self.x
        batch = as_batch(
            _stacked([fetched[i] for i in numbers.tolist()], where), *self.sizes, where
        )
        return batch.x, batch.labels


class LoadedBatches:
    """The batches (x, labels) of a `DataLoader`, as it makes them, looked at one by one.

    Parameters
    ----------
    loader : torch.utils.data.DataLoader
    n_inputs, n_classes, name
        As in `FetchedBatches`.
    """

    def __init__(self, loader: Any, n_inputs: int, n_classes: int, name: str) -> None:
        try:
            count = len(loader)
        except TypeError:
            raise TypeError(
                f"{name} must know its number of batches, and this DataLoader's data set has no "
                "length"
            ) from None
        if not count:
            raise ValueError(f"{name} must hold at least one batch, got an empty DataLoader")
        self.loader, self.sizes, self.name = loader, (n_inputs, n_classes), name
        self.epoch = 0  #: as in `Batches`; here the loader's sampler decides the order

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        for i, batch in enumerate(self.loader):
            yield as_batch(batch, *self.sizes, f"batch {i} of {self.name}: ")


def brings_labels(x: Any) -> bool:
    """Whether `x` is a `DataLoader` or a `Dataset`, which has labels of its own."""
    return isinstance(x, (DataLoader, Dataset))


def as_batch(batch: Any, n_inputs: int, n_classes: int, where: str = "") -> Batch:
    """A pair (x, labels) as a `Batch` that fits the model; `where` begins errors."""
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(f"{where}a batch must be a pair (x, labels), got {said(batch)}")
    x, labels = batch
    try:
        return Batch(*checked(x, labels, n_inputs, n_classes))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}{error}") from error


def _stacked(samples: list[Any], where: str) -> tuple[Any, Any]:
    """Samples (x, label) as a batch; those of a dense x become one tensor."""
    for sample in samples:
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            raise TypeError(f"{where}a sample must be a pair (x, label), got {said(sample)}")
    labels = np.array([np.asarray(label) for _, label in samples])
    if isinstance(samples[0][0], (SpikeTimes, Events)):
        return collate([(x, 0) for x, _ in samples])[0], labels
    dense = [asarray(x) for x, _ in samples]
    shapes = sorted({tuple(x.shape) for x in dense})
    if len(shapes) > 1:
        raise ValueError(f"{where}x must have one shape, got {shapes}")
    return torch.stack(dense), labels


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
    train, validation : (x, labels), Dataset or DataLoader
        x is a tensor or array (samples, inputs, time), `SpikeTimes` or `Events`; labels are
        integers 0 <= label < n_classes. See `FetchedBatches` and `LoadedBatches` for the others.
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
        train: Any,
        validation: Any = None,
        *,
        n_inputs: int,
        n_classes: int,
        batch_size: int = 128,
        seed: int = 0,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        self.sizes = (n_inputs, n_classes)
        self.train = self._kept("x" if brings_labels(train) else "train", train, "")
        self.validation = validation
        if validation is not None:
            self.validation = self._kept("validation", validation, "validation ")
        if augment is not None and not callable(augment):
            raise TypeError(f"augment must be a callable or None, got {said(augment)}")
        if augment is not None and isinstance(train, DataLoader):
            raise ValueError(
                "augment changes the batches that fit makes: give the Dataset, not a DataLoader"
            )
        self.batch_size = whole("batch_size", batch_size)
        self.seed, self.augment = whole("seed", seed, at_least=0), augment

    def train_dataloader(self) -> Batches | LoadedBatches:
        return self._batches(self.train, "x", shuffle=True, augment=self.augment)

    def val_dataloader(self) -> Batches | LoadedBatches | list[Any]:
        if self.validation is None:
            return []
        return self._batches(self.validation, "validation", shuffle=False)

    def _kept(self, name: str, data: Any, of: str) -> Any:
        """Data that fits the model; of a `Dataset` and a `DataLoader`, what can be known now."""
        if isinstance(data, DataLoader):
            return LoadedBatches(data, *self.sizes, name)
        if isinstance(data, Dataset):
            FetchedBatches(data, *self.sizes, name, batch_size=1, shuffle=False)
            return data
        return checked(*_pair(name, data), *self.sizes, of)

    def _batches(self, data: Any, name: str, **options: Any) -> Batches | LoadedBatches:
        trainer = self.trainer
        assert trainer is not None
        if isinstance(data, LoadedBatches):
            if trainer.world_size > 1:
                raise ValueError(
                    f"{name}: several processes share the batches that fit makes: give the "
                    "Dataset, not a DataLoader"
                )
            return data
        options |= {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "rank": trainer.global_rank,
            "world": trainer.world_size,
        }
        if isinstance(data, Dataset):
            return FetchedBatches(data, *self.sizes, name, **options)
        return Batches(*data, **options)


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
    if labels is None:
        raise TypeError(
            f"{of}labels must be given with x, unless it is a DataLoader or a Dataset, got None"
        )
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
