"""A recipe from data to results: train, save, evaluate, draw."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from . import augment, datasets, metrics, plot
from ._forward import forward
from ._namespace import to_numpy
from ._storage import replacing
from .encoding import latency, linear_latency
from .network import Network
from .torch import FastSNN, StandardSNN, fit
from .torch._checkpoint import CHECKPOINTS, last_checkpoint
from .torch.data import Augment, Batches, pick
from .torch.recipe import Recipe

_IDENTITY = "recipe.json"
_CLASSES = {"n-mnist": 10, "shd": 20}


class Data(NamedTuple):
    """A data set as a network takes it."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]  #: held out of the training data, or else the test data
    test: tuple[Any, Any]
    classes: tuple[str, ...]
    note: str  #: what to know of this copy of the data


def run(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
    trainer_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train as `recipe` says and leave everything in the folder `out`.

    Written there: ``recipe.json``, ``metrics.csv`` and ``checkpoints/`` after every epoch, and in
    the end ``summary.json``, plots, and ``network.safetensors`` (``model.safetensors`` of a
    standard SNN). Every epoch is evaluated on the data that `validation_fraction` holds out, or, if
    it is 0, on the test data, by which nothing is chosen. The summary is of the last epoch, or,
    with `patience`, of the best one by the held-out data.

    Parameters
    ----------
    recipe : Recipe
    out : path
    seed : int
        Of weights, order of the samples, dropout and augmentation.
    root : path, optional
        Folder with the data set's original files; see `fastsnn_np.datasets`.
    resume : bool
        Continue the run in `out` from its last checkpoint.
    progress : bool
    trainer_options : dict, optional
        See `fit`.

    Returns
    -------
    dict
        What ``summary.json`` holds; in a run of several processes, empty for all but the first.

    Raises
    ------
    FileExistsError
        If `out` holds a run with a checkpoint already and `resume` is False.
    ValueError
        If `resume` is True and that run was made with another recipe or seed, or the seed is
        negative.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    out = Path(out)
    identity = json.loads(json.dumps({**recipe.as_dict(), "seed": seed}))
    first = getattr(rank_zero_only, "rank", 0) == 0
    if first:
        _check_unmixed(out, identity, resume)
    data = load_data(recipe, root)
    if first:
        out.mkdir(parents=True, exist_ok=True)
        _save_json(identity, out / _IDENTITY)
    torch.manual_seed(seed)
    model = build(recipe, data)
    options = dict(trainer_options or {}, precision=recipe.precision)
    if recipe.gradient_clip:
        options["gradient_clip_val"] = recipe.gradient_clip
    if recipe.patience:
        options["patience"] = recipe.patience
    clock = _Clock()
    options["callbacks"] = [*options.get("callbacks", ()), clock]
    history = fit(
        model,
        *data.train,
        validation=data.validation,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        schedule=recipe.schedule,
        weight_decay=recipe.weight_decay,
        label_smoothing=recipe.label_smoothing,
        count_penalty=recipe.count_penalty,
        latency_penalty=recipe.latency_penalty,
        seed=seed,
        augment=_augment(recipe),
        out=out,
        resume=resume,
        progress=progress,
        trainer_options=options,
    )
    if not first:
        return {}
    # `max` takes the first of equals, as `fit` keeps it
    kept = max(history, key=_validated) if recipe.patience else history[-1]
    summary = {
        "dataset": recipe.dataset,
        "note": data.note,
        "model": recipe.model,
        "seed": seed,
        "hidden": list(recipe.hidden),
        "n_steps": recipe.n_steps,
        "epochs": len(history),
        "seconds": clock.total,
        "seconds_per_step": clock.training / max(clock.steps, 1),
        **_results(model, data, recipe, out),
        "training_accuracy": kept["accuracy"],
        "validation_accuracy": kept["validation_accuracy"],
        "recipe": recipe.as_dict(),
    }
    evaluated_on = "validation" if recipe.validation_fraction else "test"
    _save_figure(plot.training_curve(history, evaluated_on), out / "training.png")
    _save_json(summary, out / "summary.json")
    return summary


def load_data(recipe: Recipe, root: str | os.PathLike[str] | None = None) -> Data:
    """The recipe's data set, encoded."""
    name = recipe.dataset
    if name.startswith("fashion-mnist"):
        options: dict[str, Any] = {"n_steps": recipe.n_steps}
        encode: Any = linear_latency
        if recipe.encoding == "latency":
            encode, options["dt"] = latency, recipe.dt
        sample = name.endswith("sample")
        read: Any = datasets.fashion_mnist_sample if sample else datasets.fashion_mnist
        pairs = [read(part, **({} if sample else {"root": root})) for part in ("train", "test")]
        split = [(encode(images, **options), labels) for images, labels in pairs]
        classes: tuple[str, ...] = datasets.FASHION_MNIST_CLASSES
    else:
        options = {"root": root, "dt": recipe.dt, "n_steps": recipe.n_steps}
        if name == "n-mnist":
            options["polarities"] = "merged" if recipe.merge_polarities else "both"
        read = datasets.nmnist if name == "n-mnist" else datasets.shd
        split = [read(part, **options) for part in ("train", "test")]
        classes = tuple(map(str, range(_CLASSES[name])))
    train, test = split
    parts = {"training": train, "test": test}
    if recipe.validation_fraction:
        groups = datasets.shd_speakers("train", root=root) if name == "shd" else None
        train, validation = hold_out(*train, recipe.validation_fraction, groups)
        parts = {"training": train, "validation": validation, "test": test}
    note = ", ".join(f"{len(labels)} {part}" for part, (_, labels) in parts.items()) + " samples"
    return Data(train, parts.get("validation", test), test, classes, note)


def hold_out(
    x: Any, labels: Any, fraction: float, groups: Any = None
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The samples to train on, and about `fraction` of them held out: always the same ones.

    Parameters
    ----------
    x : SpikeTimes or Events
    labels : integer NumPy array (samples,)
    fraction : float
    groups : integer NumPy array (samples,), optional
        Groups, such as speakers, of which none is in both parts.

    Raises
    ------
    ValueError
        If one part would be empty.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    kinds = np.random.default_rng(0).permutation(np.unique(groups))
    held = np.isin(groups, kinds[: round(fraction * len(kinds))])
    if held.all() or not held.any():
        raise ValueError(
            f"validation_fraction={fraction} of {len(kinds)} "
            f"{'samples' if len(kinds) == len(labels) else 'groups'} leaves one part empty"
        )
    kept, validation = np.flatnonzero(~held), np.flatnonzero(held)
    return (pick(x, kept), labels[kept]), (pick(x, validation), labels[validation])


def build(recipe: Recipe, data: Data) -> FastSNN | StandardSNN:
    """The recipe's network, with fresh weights from Torch's global generator."""
    sizes = [data.train[0].n_neurons, *recipe.hidden, len(data.classes)]
    options: dict[str, Any] = {
        "tau": recipe.tau,
        "tau_readout": recipe.tau_readout,
        "dt": recipe.dt,
        "learn_beta": recipe.learn_beta,
        "readout": recipe.readout,
        "input_scale": recipe.input_scale,
        "slope": recipe.slope,
        "surrogate": recipe.surrogate,
        "dtype": torch.float64 if recipe.precision == "64-true" else torch.float32,
    }
    if recipe.model == "standard":
        return StandardSNN(sizes, **options)
    return FastSNN(sizes, gradient=recipe.gradient, dropout=recipe.dropout, **options)


def _augment(recipe: Recipe) -> Augment | None:
    steps: list[Augment] = []
    if recipe.shift and recipe.dataset == "shd":
        steps.append(lambda x, rng: augment.shift_channels(x, rng, channels=recipe.shift))
    elif recipe.shift:
        shape = (34, 34) if recipe.dataset == "n-mnist" else (28, 28)
        steps.append(lambda x, rng: augment.shift(x, rng, shape=shape, pixels=recipe.shift))
    if recipe.flip:
        steps.append(lambda x, rng: augment.flip(x, rng, p=recipe.flip))
    if recipe.jitter:
        steps.append(lambda x, rng: augment.jitter(x, rng, steps=recipe.jitter))
    if recipe.drop:
        steps.append(lambda x, rng: augment.drop(x, rng, p=recipe.drop))

    def all_of_them(x: Any, rng: np.random.Generator) -> Any:
        for step in steps:
            x = step(x, rng)
        return x

    return all_of_them if steps else None


def _results(model: FastSNN | StandardSNN, data: Data, recipe: Recipe, out: Path) -> dict[str, Any]:
    """Accuracy, spikes and operations on the test data; the network and plots go to `out`."""
    x, labels = data.test
    found: dict[str, Any] = {}
    if isinstance(model, FastSNN):
        network = model.to_network()
        network.save(out / "network.safetensors")
        result = forward(x, network, backend="numba", batch_size=512)
        prediction = result.prediction
        found["spikes_per_sample"] = [float(count.mean()) for count in result.spike_counts]
        operations = metrics.synaptic_operations(network, x, result)
        found["dense_macs"] = operations.dense.tolist()
        found["effective_acs"] = operations.effective_acs.mean(axis=0).tolist()
        _draw_sample(x, network, prediction, data, out)
    else:
        prediction, found["spikes_per_sample"] = _standard_results(model, x, labels)
        from safetensors.torch import save_file

        with replacing(out / "model.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, temporary)
    found["accuracy"] = float((to_numpy(prediction) == labels).mean())
    confusion = metrics.confusion_matrix(labels, prediction, len(data.classes))
    found["confusion"] = confusion.tolist()
    _save_figure(plot.confusion(confusion, data.classes), out / "confusion.png")
    return found


@torch.no_grad()
def _standard_results(model: StandardSNN, x: Any, labels: Any) -> tuple[Any, list[float]]:
    predictions, spikes = [], []
    batches = Batches(x, torch.from_numpy(labels), batch_size=128, shuffle=False)
    for batch in batches:
        logits, activities = model(batch.x, return_activity=True)
        predictions.append(logits.argmax(-1))
        spikes.append(torch.stack([activity.spikes.sum() for activity in activities]))
    mean = torch.stack(spikes).sum(0) / len(labels)
    return torch.cat(predictions).numpy(), mean.tolist()


def _draw_sample(x: Any, network: Network, prediction: Any, data: Data, out: Path) -> None:
    """The first rightly classified test sample through the network."""
    right = np.flatnonzero(prediction == data.test[1])
    shown = int(right[0]) if len(right) else 0
    figure = plot.activity(
        x[shown : shown + 1], network, int(data.test[1][shown]), classes=data.classes
    )
    _save_figure(figure, out / "activity.png")


def _validated(record: dict[str, float]) -> float:
    return record["validation_accuracy"]


def _check_unmixed(out: Path, identity: dict[str, Any], resume: bool) -> None:
    """Refuse to mix two runs in one folder; one that has left no checkpoint is none."""
    path = out / _IDENTITY
    if path.is_file() and last_checkpoint(out / CHECKPOINTS):
        if not resume:
            raise FileExistsError(
                f"{out} holds a run already: continue it with resume, or choose another folder"
            )
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in identity if identity[key] != before.get(key)]
        if changed:
            raise ValueError(
                f"{out} was started with another recipe: "
                + ", ".join(f"{key} {before.get(key)!r}, now {identity[key]!r}" for key in changed)
            )


def _save_json(content: dict[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _save_figure(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


class _Clock(pl.Callback):
    """How long training took, alone and with everything else."""

    def __init__(self) -> None:
        self.total = self.training = 0.0
        self.steps = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._epoch, self._others = time.perf_counter(), 0.0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._validation = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._others += time.perf_counter() - self._validation

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.training += time.perf_counter() - self._epoch - self._others
        self.steps += len(trainer.train_dataloader or ())
        self.total = time.perf_counter() - self._began
