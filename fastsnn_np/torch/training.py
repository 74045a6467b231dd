"""A plain training function: Adam on the cross-entropy of the logits (eq. 18 and 19)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..backends.torch import asarray
from ..spikes import SpikeTimes
from .fast_snn import FastSNN

History = list[dict[str, float]]


def fit(
    model: FastSNN,
    x: Tensor | SpikeTimes,
    labels: Any,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    validation: tuple[Tensor | SpikeTimes, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> History:
    """Train `model` in place.

    Parameters
    ----------
    model : FastSNN
    x : tensor (samples, inputs, time) or SpikeTimes of a tensor
        On the model's device; spike times are made dense batch by batch.
    labels : integer array or tensor (samples,)
        0 <= label < classes.
    epochs, batch_size : int
    learning_rate : float
        Adam's.
    validation : (x, labels), optional
        Evaluated after every epoch.
    seed : int
        Of the order of the samples.
    progress : bool
        Whether to show a progress bar (needs tqdm).

    Returns
    -------
    list of dict
        For each epoch ``loss`` and ``accuracy`` on the training data as it was trained on and, with
        `validation`, ``validation_accuracy``.

    Raises
    ------
    ValueError
        If the labels do not fit the samples or the classes, or the inputs do not fit the model.
    FloatingPointError
        If the loss is no longer finite; it names the epoch and the step.
    """
    device = model.readout.weight.device
    n_inputs, *_, n_classes = model.sizes
    labels = _checked_labels(x, labels, n_inputs, n_classes, device)
    if validation is not None:
        validation = (
            validation[0],
            _checked_labels(*validation, n_inputs, n_classes, device),
        )
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs}, {batch_size}")
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(
        model.parameters(), lr=learning_rate, fused=device.type in ("cpu", "cuda")
    )
    history: History = []
    for epoch in _epochs(epochs, history, progress):
        model.train()
        order = torch.randperm(len(labels), generator=generator).to(device)
        total, right = torch.zeros((), device=device), torch.zeros((), device=device)
        for step, picked in enumerate(order.split(batch_size)):
            logits = model(_pick(x, picked))
            loss = nn.functional.cross_entropy(logits, labels[picked])
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"loss is {loss.item()} at epoch {epoch}, step {step}: lower the learning "
                    f"rate ({learning_rate}) or look for extreme inputs"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.detach() * len(picked)
            right += (logits.argmax(-1) == labels[picked]).sum()
        record = {"loss": total.item() / len(labels), "accuracy": right.item() / len(labels)}
        if validation is not None:
            record["validation_accuracy"] = evaluate(model, *validation, batch_size=batch_size)
        history.append(record)
    return history


@torch.no_grad()
def evaluate(
    model: FastSNN, x: Tensor | SpikeTimes, labels: Tensor, *, batch_size: int = 128
) -> float:
    """The fraction of samples whose largest logit is that of their label."""
    model.eval()
    right = 0
    for picked in torch.arange(len(labels), device=labels.device).split(batch_size):
        right += int((model(_pick(x, picked)).argmax(-1) == labels[picked]).sum())
    return right / len(labels)


def _pick(x: Tensor | SpikeTimes, picked: Tensor) -> Tensor | SpikeTimes:
    if isinstance(x, SpikeTimes):
        return SpikeTimes.unchecked(x.times[picked], x.n_steps)
    return x[picked]


def _checked_labels(x: Any, labels: Any, n_inputs: int, n_classes: int, device: Any) -> Tensor:
    held = x.times if isinstance(x, SpikeTimes) else x
    if not isinstance(held, Tensor):
        raise TypeError(
            f"x must hold a tensor, got {type(held).__name__}: torch.from_numpy(...) makes one"
        )
    if held.device != device:
        raise ValueError(f"x is on {held.device} and the model on {device}")
    if held.shape[1] != n_inputs:
        raise ValueError(
            f"x has {held.shape[1]} neurons, shape {tuple(held.shape)}, "
            f"and the model expects {n_inputs}"
        )
    labels = asarray(labels, device)
    if labels.shape != held.shape[:1] or len(labels) == 0:
        raise ValueError(f"{len(held)} samples and labels of shape {tuple(labels.shape)}")
    if labels.is_floating_point() or not (labels.min() >= 0 and labels.max() < n_classes):
        raise ValueError(
            f"labels must be integers in 0 ... {n_classes - 1}, "
            f"got {labels.dtype} from {labels.min()} to {labels.max()}"
        )
    return labels.long()


def _epochs(count: int, history: History, progress: bool) -> Iterator[int]:
    if not progress:
        yield from range(count)
        return
    from tqdm import tqdm

    with tqdm(total=count, unit="epoch") as bar:
        for epoch in range(count):
            yield epoch
            bar.set_postfix({name: f"{value:.3f}" for name, value in history[-1].items()})
            bar.update()
