"""``evaluate``: a saved network on a data set: accuracy, spikes, energy."""

from __future__ import annotations

import argparse
import time
from typing import Any, get_args

import numpy as np

from .. import metrics
from .._checks import check_neurons
from .._forward import forward
from .._namespace import to_numpy
from .._storage import as_path
from ..backends import CAPABILITIES
from ..datasets._catalogue import DATA_SETS, Binning
from ..datasets._sources import Split
from ._command import Command
from ._inputs import encoded
from ._networks import add_coding, coding_of, load_network
from .data import named_set

_BATCH = 512


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", help="a saved network, such as run/network.safetensors")
    parser.add_argument(
        "dataset", nargs="?", help=f"{', '.join(DATA_SETS)}; that of recipe.json unless given"
    )
    parser.add_argument("--split", choices=get_args(Split), default="test")
    parser.add_argument("--root", help="folder with the data set's original files")
    parser.add_argument("--backend", choices=list(CAPABILITIES), default="numba")
    add_coding(parser)


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    network, path = load_network(arguments.network)
    coding = coding_of(arguments, network, path)
    name = arguments.dataset or coding.dataset
    if name is None:
        raise ValueError(f"no recipe.json beside {path} names a data set: name one")
    data_set = named_set(name)
    root = None if arguments.root is None else as_path(arguments.root, "--root")
    binning = Binning(coding.dt, coding.n_steps, coding.merge_polarities, coding.binary)
    x, labels = data_set.read(arguments.split, root, binning)
    if data_set.kind == "images":
        x = encoded(x, coding)
    check_neurons(x.n_neurons, network.sizes[0], "the network")
    start = time.perf_counter()
    result = forward(x, network, backend=arguments.backend, batch_size=_BATCH)
    prediction = to_numpy(result.prediction)
    seconds = time.perf_counter() - start
    operations = metrics.synaptic_operations(network, x, result)
    energy = metrics.energy(network, operations, metrics.membrane_updates(network, result))
    fired = [(to_numpy(times) < result.n_steps) for times in result.spike_times]
    return {
        "dataset": name,
        "split": arguments.split,
        "samples": len(labels),
        "accuracy": float((prediction == labels).mean()),
        "spikes_per_sample": [float(to_numpy(count).mean()) for count in result.spike_counts],
        "silent_neurons": [float((~layer.any(axis=0)).mean()) for layer in fired],
        "effective_acs": operations.effective_acs.mean(axis=0).tolist(),
        "effective_macs": operations.effective_macs.mean(axis=0).tolist(),
        "dense_macs": np.asarray(operations.dense).tolist(),
        "energy_pj": {"synapses": energy.synapses, "membranes": energy.membranes,
                      "memory": energy.memory, "total": energy.total},
        "seconds": seconds,
        "engine": result.engine,
    }  # fmt: skip


def _text(result: dict[str, Any]) -> str:
    spikes = ", ".join(f"{n:.1f}" for n in result["spikes_per_sample"]) or "no hidden layer"
    silent = ", ".join(f"{n:.1%}" for n in result["silent_neurons"]) or "no hidden layer"
    operations = sum(result["effective_acs"]) + sum(result["effective_macs"])
    return (
        f"{result['dataset']}, {result['samples']} {result['split']} samples: "
        f"{result['accuracy']:.2%} right, in {result['seconds']:.2f} s ({result['engine']})\n"
        f"spikes per sample, by hidden layer: {spikes}; silent neurons: {silent}\n"
        f"{operations:,.0f} synaptic operations per sample of {sum(result['dense_macs']):,} dense, "
        f"about {result['energy_pj']['total'] / 1e6:.2g} uJ, of which memory "
        f"{result['energy_pj']['memory'] / 1e6:.2g} uJ"
    )


COMMAND = Command(
    "evaluate",
    about="run a saved network on a data set: accuracy, spikes and energy",
    example="evaluate run/network.safetensors\n"
    "evaluate network.safetensors fashion-mnist --encoding latency --steps 100 --json",
    add_options=_add_options,
    run=_run,
    text=_text,
)
