"""``info``: what a saved network is."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import numpy as np

from .._namespace import is_array, to_numpy
from .._parts import arrays_of
from ..metrics import connection_sparsity, footprint
from ..network import Layer, Readout
from ..spikes._described import size_said
from ._command import Command, table
from ._networks import load_network, summary_of

_REACHED = ("dataset", "epochs", "accuracy", "spikes_per_sample", "energy_pj")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", help="a saved network, such as run/network.safetensors")


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    network, path = load_network(arguments.network)
    parts: list[Layer | Readout] = [*network.layers, network.readout]
    summary = summary_of(path)
    return {
        "path": str(path),
        "file_bytes": path.stat().st_size,
        "sizes": list(network.sizes),
        "dtype": str(network.dtype),
        "dt_ms": network.dt,
        "layers": [_described(part, network.dt) for part in parts],
        "footprint_bytes": footprint(network),
        "zero_weights": connection_sparsity(network),
        "run": {name: summary[name] for name in _REACHED if name in summary},
    }


def _described(part: Layer | Readout, dt: float) -> dict[str, Any]:
    beta = to_numpy(part.beta).astype(np.float64)
    tau = -dt / np.log(beta)
    weight = to_numpy(part.weight)
    threshold = None
    if isinstance(part, Layer):  # one number, or the middle of one per neuron
        at = part.threshold
        threshold = float(np.median(to_numpy(at))) if is_array(at) else at
    return {
        "kind": "readout" if isinstance(part, Readout) else "hidden",
        "inputs": part.n_inputs,
        "neurons": part.n_neurons,
        "parameters": sum(int(to_numpy(array).size) for array in arrays_of(part).values()),
        "tau_ms": {"min": tau.min(), "median": float(np.median(tau)), "max": tau.max()},
        "weights": {"mean": float(weight.mean()), "std": float(weight.std())},
        "bias": part.bias is not None,
        "input_scale": part.input_scale,
        "threshold": threshold,
        "neuron": asdict(part.neuron) if isinstance(part, Layer) else None,
        "read_out_by": part.kind if isinstance(part, Readout) else None,
    }


def _text(result: dict[str, Any]) -> str:
    sizes = "-".join(map(str, result["sizes"]))
    parameters = sum(layer["parameters"] for layer in result["layers"])
    zero = f"{result['zero_weights']:.1%} of the weights are 0"
    lines = [
        f"{result['path']}: {sizes}, {result['dtype']}, dt = {result['dt_ms']:g} ms",
        f"{parameters:,} parameters; file {size_said(result['file_bytes'])}, in use "
        f"{size_said(result['footprint_bytes'])}; {zero}",
    ]
    rows = [["layer", "inputs", "neurons", "tau (ms)", "weights", "scale", "threshold or readout"]]
    for layer in result["layers"]:
        tau, weights = layer["tau_ms"], layer["weights"]
        rows.append(
            [
                layer["kind"],
                str(layer["inputs"]),
                str(layer["neurons"]),
                f"{tau['median']:.1f} ({tau['min']:.1f} to {tau['max']:.1f})",
                f"{weights['mean']:+.3f} ± {weights['std']:.3f}",
                layer["input_scale"],
                layer["read_out_by"] or f"{layer['threshold']:g}",
            ]
        )
    lines.append(table(rows))
    run = result["run"]
    if "accuracy" in run:
        spikes = ", ".join(f"{n:.1f}" for n in run.get("spikes_per_sample", []))
        lines.append(
            f"trained on {run.get('dataset')} for {run.get('epochs')} epochs: "
            f"{run['accuracy']:.2%} of the test data; spikes per sample: {spikes}"
        )
    return "\n".join(lines)


COMMAND = Command(
    "info",
    about="say what a saved network is: layers, time constants, bytes, what its run has reached",
    example="info run/network.safetensors\ninfo run/network.safetensors --json",
    add_options=_add_options,
    run=_run,
    text=_text,
)
