"""Pictures of a network at work (needs matplotlib)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._forward import forward
from ._result import Result
from .network import Network
from .spikes import SpikeTimes

__all__ = ["activity", "training_curve"]


def activity(
    x: SpikeTimes, network: Network, label: int, *, classes: Any = None, dt: float | None = None
) -> Any:
    """One sample through a network: input raster, hidden rasters, readout potentials (Fig. 3b).

    Parameters
    ----------
    x : SpikeTimes
        A single sample, NumPy.
    network : Network
        Of NumPy arrays, with at least one hidden layer.
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
        If `x` holds more than one sample.
    """
    from matplotlib.figure import Figure

    if len(x) != 1:
        raise ValueError(f"activity draws one sample, got {len(x)}: pass x[i : i + 1]")
    result: Result = forward(x, network, return_potential=True)
    assert result.potentials is not None and result.prediction is not None
    dt = network.dt if dt is None else dt
    rasters = [("Input", x.times[0]), *_hidden_rasters(result)]
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
    for axis, (name, times) in zip(rest, reversed(rasters), strict=True):
        fired = times < x.n_steps
        axis.scatter(times[fired] * dt, np.flatnonzero(fired), s=3, color="k", linewidths=0)
        axis.set_title(f"{name}: {fired.sum()} of {len(times)} neurons fire, once each", loc="left")
        axis.set_ylabel("Neuron")
        axis.set_ylim(-0.02 * len(times), 1.02 * len(times))
    axes[-1].set_xlabel("Time (ms)")
    axes[-1].set_xlim(0, x.n_steps * dt)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def training_curve(history: list[dict[str, float]]) -> Any:
    """Loss and accuracy over epochs, from the list that `fastsnn_np.torch.fit` returns.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 3), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = np.arange(1, len(history) + 1)
    loss.plot(epochs, [record["loss"] for record in history], color="k")
    loss.set(xlabel="Epoch", ylabel="Training loss (cross-entropy)", ylim=(0, None))
    curves = {"accuracy": ("training", "k"), "validation_accuracy": ("test", "#00693c")}
    for key, (name, colour) in curves.items():
        if key in history[0]:
            values = [100 * record[key] for record in history]
            accuracy.plot(epochs, values, color=colour, label=f"{name} {values[-1]:.1f} %")
    accuracy.set(xlabel="Epoch", ylabel="Accuracy (%)", ylim=(None, 100))
    accuracy.legend(frameon=False, loc="lower right")
    for axis in (loss, accuracy):
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _hidden_rasters(result: Result) -> list[tuple[str, Any]]:
    count = len(result.spike_times)
    return [
        ("Hidden layer" if count == 1 else f"Hidden layer {i + 1}", times[0])
        for i, times in enumerate(result.spike_times)
    ]


def _class_name(classes: Any, index: int) -> str:
    return f"class {index}" if classes is None else str(classes[index])
