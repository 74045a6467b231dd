"""`fit`: a model trained on spikes held in memory, by Lightning's `Trainer`."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import lightning.pytorch as pl
import torch

from ..._checks import check_iterable, flag, no_option, not_negative, whole
from ..._namespace import said
from ..._storage import as_folder, as_path
from .._model import Model
from .callbacks import FiniteGuard, LayerHealth
from .checkpoint import CHECKPOINTS, last_checkpoint
from .classifier import CLASSIFIER, Classifier, ClassifierOptions, EvaluatedOn
from .data import Augment, SpikeData, brings_labels
from .trainer import check_processes, make_trainer

History = list[dict[str, float]]
#: what Lightning's `Trainer` is told by a parameter of `fit`
_OURS = {
    "max_epochs": "epochs",
    "callbacks": "callbacks",
    "patience": "patience",
    "enable_checkpointing": "out",
    "enable_progress_bar": "progress",
}
#: what Lightning would take as it is: a negative norm would turn gradients round
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "gradient_clip_val": not_negative,
    "accumulate_grad_batches": whole,
    "devices": check_processes,
    "default_root_dir": lambda name, value: as_path(value, name),
}
TERMINATED = 128 + signal.SIGTERM  #: exit status after SIGTERM
_log = logging.getLogger("fastsnn_np")


def fit(
    model: Model,
    x: Any,
    labels: Any = None,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    validation: Any = None,
    evaluated_on: EvaluatedOn = "validation",
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
    model : FastSNN, StandardSNN or SpikingSNN
    x : array or tensor (samples, inputs, time), SpikeTimes, Events, Dataset or DataLoader
        A Torch `Dataset` gives (x, label) for a number, x of one sample: an array (inputs, time),
        or `SpikeTimes` or `Events` of batch 1; it is gone through as data in memory is. A
        `DataLoader` gives batches (x, labels), which are taken as they are: `batch_size` and
        `seed` do not decide them, and a resumed run does not repeat them.
    labels : integer array or tensor (samples,), optional
        0 <= label < classes. Not with a `Dataset` or `DataLoader`, which has its own.
    epochs, batch_size : int
    validation : (x, labels), Dataset or DataLoader, optional
        Evaluated after every epoch.
    evaluated_on : {"validation", "test"}
        Say "test" if `validation` is test data, by which nothing may be chosen: its accuracy is
        then called ``test_accuracy``, and `patience` is refused.
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
        was trained on, with `validation` ``validation_accuracy`` (or ``test_accuracy``), and the
        layers' health. What was reached is logged (logger ``fastsnn_np``, and printed where
        there is a progress bar).

    Raises
    ------
    ValueError, TypeError, NotADirectoryError
        If an argument does not fit, or a checkpoint is of another network or of a run
        with other settings.
    FloatingPointError
        If loss or gradients are no longer finite; it names the layer, the epoch, the step and the
        last good checkpoint.
    KeyboardInterrupt
        If the process gets SIGINT; SIGTERM ends it with status 143. The last checkpoint stays.
    """
    for name in options:
        if name not in CLASSIFIER:
            raise no_option("fit", name, [*(fit.__kwdefaults__ or ()), *CLASSIFIER])
    if not isinstance(model, Model):
        raise TypeError(f"model must be a FastSNN, StandardSNN or SpikingSNN, got {said(model)}")
    epochs, seed = whole("epochs", epochs), whole("seed", seed, at_least=0)
    resume, progress = flag("resume", resume), flag("progress", progress)
    out = None if out is None else as_folder(out, "out")
    if resume and out is None:
        raise ValueError("resume=True needs out=..., the folder of the run to continue")
    callbacks, settings = _callbacks(callbacks), _settings(trainer_options)
    if brings_labels(x) and labels is not None:
        raise TypeError(f"x has labels of its own, being a {type(x).__name__}: give no labels")
    data = SpikeData(
        x if brings_labels(x) else (x, labels),
        validation,
        n_inputs=model.sizes[0],
        n_classes=model.sizes[-1],
        batch_size=batch_size,
        seed=seed,
        augment=augment,
    )
    if patience is not None:
        patience = whole("patience", patience)
    if patience is not None and (validation is None or evaluated_on == "test"):
        raise ValueError(
            "patience needs validation data that is held out, and the test data must not say when "
            "to stop: give validation=(x, labels)"
        )
    classifier = Classifier(model, seed=seed, evaluated_on=evaluated_on, **options)
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
    folder = None if out is None else out / CHECKPOINTS
    found = last_checkpoint(folder) if resume else None
    with _quiet():
        try:
            trainer.fit(classifier, datamodule=data, ckpt_path=found, weights_only=True)
        except (KeyboardInterrupt, SystemExit) as error:
            raise _ended(error, trainer.received_sigterm, out) from None
        except ValueError as error:
            guard.explain(error, trainer, classifier)
            raise
        except (AssertionError, AttributeError, LookupError, TypeError, RuntimeError) as error:
            if trainer.world_size > 1 and _is_lost_connection(error):
                raise RuntimeError(
                    f"another process of this run has died. {how_to_resume(out)}, with any number "
                    "of processes"
                ) from error
            if found is not None and not guard.began:
                raise ValueError(f"{found} does not continue this run: {error!r}") from error
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt(how_to_resume(out))
    model.to(device).eval()
    if trainer.is_global_zero and classifier.history:
        _log.info(reached := _reached(classifier.history, patience, classifier.evaluated_on))
        if progress:
            sys.stderr.write(f"{reached}\n")
    return classifier.history


def _callbacks(given: Any) -> list[pl.Callback]:
    check_iterable("callbacks", given, "lightning.pytorch.Callback")
    callbacks = list(given)
    for callback in callbacks:
        if not isinstance(callback, pl.Callback):
            raise TypeError(
                f"callbacks must be of lightning.pytorch.Callback, got {said(callback)} among them"
            )
    return callbacks


def _settings(given: Any) -> dict[str, Any]:
    """Arguments of Lightning's `Trainer` that it has, and that `fit` has not."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"trainer_options must be a dict, got {said(given)}")
    known = pl.Trainer.__init__.__annotations__
    for name in given:
        if name in _OURS:
            raise TypeError(
                f"trainer_options may not hold {name!r}, which is a parameter of fit: "
                f"give {_OURS[name]}=..."
            )
        if name not in known:
            raise no_option("trainer_options", str(name), known.keys() - _OURS.keys() - {"return"})
    for name, check in _CHECKS.items():
        if given.get(name) is not None:
            check(name, given[name])
    return dict(given)


def _reached(history: History, patience: int | None, key: str) -> str:
    """One line on the epoch that the weights are of: the best one with patience, or the last."""
    # a run that goes on may have been begun without validation data
    best = max(history, key=lambda record: record.get(key, -math.inf))
    kept = history[-1] if patience is None else best
    names = ("loss", "accuracy", key)
    values = ", ".join(f"{n.replace('_', ' ')} {kept[n]:.4g}" for n in names if n in kept)
    return f"epoch {1 + history.index(kept)} of {len(history)}: {values}"


class Terminated(SystemExit):
    """SIGTERM while a model is trained: the process ends with status 143 unless this is caught."""

    def __init__(self, words: str) -> None:
        super().__init__(TERMINATED)
        self.words = words

    def __str__(self) -> str:
        return self.words


def how_to_resume(out: str | os.PathLike[str] | None) -> str:
    """What a run that ends before its time has left, and how to go on from it."""
    kept = None if out is None else last_checkpoint(Path(out) / CHECKPOINTS)
    if kept is None:
        return "No checkpoint was written"
    return f"Last good checkpoint: {kept}; resume=True (--resume) goes on from it"


def _ended(
    error: BaseException, terminated: bool, out: str | os.PathLike[str] | None
) -> BaseException:
    """What a signal becomes; Lightning exits with status 0 for SIGTERM, and with 1 for SIGINT."""
    words = f"training was interrupted. {how_to_resume(out)}"
    if terminated or isinstance(error, Terminated):
        return Terminated(words)
    stopped = isinstance(error.__context__, KeyboardInterrupt)
    return KeyboardInterrupt(words) if stopped or isinstance(error, KeyboardInterrupt) else error


def _is_lost_connection(error: Exception) -> bool:
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
