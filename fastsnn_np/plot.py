"""Pictures of a network at work (needs matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._checks import check_iterable, is_number, positive, whole
from ._forward import Result, forward
from ._metric_checks import check_network
from ._namespace import said, to_numpy
from .metrics import LatencyToDecision
from .network import Network
from .spikes import Events, SpikeTimes, shape_of

__all__ = ["activity", "confusion", "latency_curve", "training_curve"]


def activity(
    x: SpikeTimes | Events,
    network: Network,
    label: int,
    *,
    classes: Any = None,
    dt: float | None = None,
) -> Any:
    """One sample through a network: input raster, hidden rasters, readout potentials (Fig. 3b).

    Parameters
    ----------
    x : SpikeTimes or Events
        A single sample, in host memory.
    network : Network
        With at least one hidden layer.
    label : int
        The right class, drawn in colour.
    classes : sequence of str, optional
        Names of the classes.
    dt : float, optional
        Step in ms; the network's unless given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `x` holds more than one sample, or `label` is none of the classes.
    """
    from matplotlib.figure import Figure

    if not isinstance(x, (SpikeTimes, Events)):
        raise TypeError(f"activity draws SpikeTimes or Events, got {type(x).__name__}")
    check_network(network)
    label = whole("label", label, at_least=0, below=network.sizes[-1])
    _check_names(classes, network.sizes[-1])
    if isinstance(x, SpikeTimes):
        x = SpikeTimes.unchecked(to_numpy(x.times), x.n_steps)
    network = network.mapped(to_numpy)
    if len(x) != 1:
        raise ValueError(f"activity draws one sample, got {len(x)}: pass x[i : i + 1]")
    result: Result = forward(x, network, return_potential=True)
    assert result.potentials is not None and result.prediction is not None
    dt = network.dt if dt is None else positive("dt", dt, "ms")
    rasters = [("Input", *_raster(x), x.n_neurons), *_hidden_rasters(result)]
    figure = Figure(figsize=(7, 3 + 1.9 * len(rasters)), layout="constrained")
    axes = figure.subplots(len(rasters) + 1, 1, sharex=True)
    top, *rest = axes
    time = np.arange(x.n_steps) * dt
    right = _class_name(classes, label)
    for c, potential in enumerate(result.potentials[-1][0]):
        style: dict[str, Any] = {"color": "0.75", "lw": 1, "zorder": 1}
        if c == label:
            style = {"color": "#00693c", "lw": 2.2, "zorder": 3, "label": f"{right} (correct)"}
        elif c == int(result.prediction[0]):
            style = {
                "color": "#c0392b",
                "lw": 1.6,
                "zorder": 2,
                "label": f"{_class_name(classes, c)} (predicted)",
            }
        top.plot(time, potential, **style)
    verdict = "correct" if int(result.prediction[0]) == label else "wrong"
    top.set_title(f"Readout potentials: {verdict} prediction", loc="left")
    top.set_ylabel("Potential")
    top.legend(frameon=False, loc="upper right", fontsize="small")
    for axis, (name, step, neuron, count) in zip(rest, reversed(rasters), strict=True):
        axis.scatter(step * dt, neuron, s=3, color="k", linewidths=0)
        firing = len(np.unique(neuron))
        spikes = "once each" if firing == len(neuron) else f"{len(neuron)} spikes"
        axis.set_title(f"{name}: {firing} of {count} neurons fire, {spikes}", loc="left")
        axis.set_ylabel("Neuron")
        axis.set_ylim(-0.02 * count, 1.02 * count)
    axes[-1].set_xlabel("Time (ms)")
    axes[-1].set_xlim(0, x.n_steps * dt)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def training_curve(history: list[dict[str, float]], evaluated_on: str = "validation") -> Any:
    """Loss and accuracy over epochs, from the list that `fastsnn_np.torch.fit` returns.

    Parameters
    ----------
    history : list of dict
    evaluated_on : str
        What the data is called that every epoch was evaluated on.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    _check_history(history)
    if not isinstance(evaluated_on, str):
        raise TypeError(f"evaluated_on must be a str, got {said(evaluated_on)}")
    figure = Figure(figsize=(7, 3), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = np.arange(1, len(history) + 1)
    loss.plot(epochs, [record["loss"] for record in history], color="k")
    loss.set(xlabel="Epoch", ylabel="Training loss (cross-entropy)", ylim=(0, None))
    curves = {"accuracy": ("training", "k"), "validation_accuracy": (evaluated_on, "#00693c")}
    for key, (name, colour) in curves.items():
        if key in history[0]:
            values = [100 * record[key] for record in history]
            accuracy.plot(epochs, values, color=colour, label=f"{name} {values[-1]:.1f} %")
    accuracy.set(xlabel="Epoch", ylabel="Accuracy (%)", ylim=(None, 100))
    if accuracy.lines:
        accuracy.legend(frameon=False, loc="lower right")
    for axis in (loss, accuracy):
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def confusion(matrix: Any, classes: Any = None) -> Any:
    """A confusion matrix, rows the right classes; shades are fractions of a row, numbers counts.

    Parameters
    ----------
    matrix : integer array (classes, classes)
        The matrix from `fastsnn_np.metrics.confusion_matrix`.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the matrix is not square.
    """
    from matplotlib.figure import Figure

    matrix = to_numpy(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise ValueError(
            f"matrix must have at least one class and shape (classes, classes), got {matrix.shape}"
        )
    if matrix.dtype.kind not in "iu" or (matrix < 0).any():
        raise ValueError("matrix must hold counts, integers of at least 0")
    count = len(matrix)
    _check_names(classes, count)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(2.2 + 0.5 * count, 1.6 + 0.45 * count), layout="constrained")
    axis = figure.subplots()
    axis.imshow(share, cmap="Greens", vmin=0, vmax=1, aspect="auto")
    names = [_class_name(classes, i) for i in range(count)]
    axis.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(count), names)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        colour = "w" if share[row, column] > 0.5 else "k"
        number = matrix[row, column]
        axis.text(column, row, number, ha="center", va="center", color=colour, fontsize="small")
    right = np.trace(matrix) / max(matrix.sum(), 1)
    axis.set_title(f"{100 * right:.1f} % of {matrix.sum():,} right", loc="left")
    axis.set(xlabel="Predicted class", ylabel="Right class")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


def latency_curve(latency: LatencyToDecision, *, dt: float = 1.0) -> Any:
    """Accuracy against the time seen, and the fraction of predictions that stay from then on.

    Parameters
    ----------
    latency : LatencyToDecision
        The curve from `fastsnn_np.metrics.latency_to_decision`.
    dt : float
        Step in ms.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    dt = positive("dt", dt, "ms")
    if not isinstance(latency, LatencyToDecision):
        raise TypeError(
            f"latency must be what latency_to_decision gives, got {type(latency).__name__}"
        )
    accuracy, decided = to_numpy(latency.accuracy), to_numpy(latency.decided)
    if not all(a.ndim == 1 and len(a) and a.dtype.kind in "iuf" for a in (accuracy, decided)):
        raise ValueError(
            "latency must hold numbers, one accuracy for each step and one decision for each "
            f"sample, got shapes {accuracy.shape} and {decided.shape}"
        )
    steps = np.arange(len(accuracy))
    settled = np.searchsorted(np.sort(decided), steps, side="right") / len(decided)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    time = (steps + 1) * dt
    axis.plot(time, 100 * settled, color="0.6", label="predictions that stay")
    final = 100 * accuracy[-1]
    axis.plot(time, 100 * accuracy, color="#00693c", lw=2, label="right predictions")
    axis.set_title(f"{final:.1f} % right after {time[-1]:g} ms", loc="left")
    axis.set(xlabel="Time seen (ms)", ylabel="Samples (%)", xlim=(0, time[-1]), ylim=(0, 102))
    axis.legend(frameon=False, loc="lower right")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _raster(x: Any) -> tuple[Any, Any]:
    """The step and the neuron of every spike of the only sample, in any of the three forms."""
    if not isinstance(x, (SpikeTimes, Events)):
        x = Events.from_dense(x)
    if isinstance(x, Events):
        return np.repeat(np.arange(x.n_steps), np.diff(x.indptr[0])), x.indices
    fired = x.times[0] < x.n_steps
    return x.times[0][fired], np.flatnonzero(fired)


def _hidden_rasters(result: Result) -> list[tuple[str, Any, Any, int]]:
    count = len(result.spikes)
    rasters: list[tuple[str, Any, Any, int]] = []
    for i, spikes in enumerate(result.spikes):
        name = "Hidden layer" if count == 1 else f"Hidden layer {i + 1}"
        rasters.append((name, *_raster(spikes), shape_of(spikes).neurons))
    return rasters


def _check_names(classes: Any, count: int) -> None:
    if classes is None:
        return
    check_iterable("classes", classes, "names")
    if not isinstance(classes, Sequence) and np.ndim(classes) != 1:
        raise TypeError(f"classes must be a sequence of names, got {said(classes)}")
    if len(classes) != count:
        raise ValueError(f"classes must name {count} classes, got {len(classes)} names")


def _check_history(history: Any) -> None:
    """Refuse what is no history, or one whose epochs lack what others have."""
    if not isinstance(history, (list, tuple)) or not history:
        raise TypeError(
            "history must be what fit gives, a list with a dict for each epoch, "
            f"got {said(history)}"
        )
    first = history[0] if isinstance(history[0], Mapping) else {}
    keys = {"loss"} | {"accuracy", "validation_accuracy"}.intersection(first)
    for i, record in enumerate(history):
        for key in sorted(keys):
            if not (isinstance(record, Mapping) and is_number(record.get(key))):
                raise ValueError(f"history[{i}] must hold a number for {key!r}, got {said(record)}")


def _class_name(classes: Any, index: int) -> str:
    return f"class {index}" if classes is None else str(classes[index])
