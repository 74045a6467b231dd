"""``predict``: the class of each image or recording in a file."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from .._engine import EngineName
from .._forward import forward
from ..datasets._catalogue import DATA_SETS
from ._command import Command, table
from ._inputs import read_input
from ._networks import add_coding, coding_of, load_network

_FEW = 64  # samples: for so few a matrix product is done before a kernel is loaded


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", help="a saved network, such as run/network.safetensors")
    parser.add_argument(
        "input", help=".npy with images or trains, .png, or .csv with columns time, neuron, sample"
    )
    add_coding(parser)


def _run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    network, path = load_network(arguments.network)
    coding = coding_of(arguments, network, path)
    x = read_input(arguments.input, network.sizes[0], coding)
    engine: EngineName = "dense" if len(x) <= _FEW else "auto"
    result = forward(x, network, backend="numpy", engine=engine)
    classes = _classes(coding.dataset, network.sizes[-1])
    logits = np.asarray(result.logits)
    order = np.argsort(-logits, axis=1, kind="stable")
    return [
        {
            "sample": i,
            "class": int(order[i, 0]),
            "name": classes[order[i, 0]],
            "logit": float(logits[i, order[i, 0]]),
            "second": {
                "name": classes[order[i, 1]],
                "logit": float(logits[i, order[i, 1]]),
            } if len(classes) > 1 else None,
            "spikes": [int(count[i]) for count in result.spike_counts],
        }
        for i in range(len(x))
    ]  # fmt: skip


def _classes(dataset: str | None, count: int) -> tuple[str, ...]:
    """Names of the classes of a known data set of as many, and numbers otherwise."""
    known = DATA_SETS.get(dataset) if isinstance(dataset, str) else None
    return known.classes if known and len(known.classes) == count else tuple(map(str, range(count)))


def _text(result: list[dict[str, Any]]) -> str:
    rows = [["sample", "class", "logit", "second", "logit", "spikes"]]
    for found in result:
        second = found["second"] or {"name": "-", "logit": float("nan")}
        rows.append(
            [
                str(found["sample"]),
                found["name"],
                f"{found['logit']:.3f}",
                second["name"],
                f"{second['logit']:.3f}",
                ", ".join(map(str, found["spikes"])) or "-",
            ]
        )
    return table(rows)


COMMAND = Command(
    "predict",
    about="say the class of each image or recording in a file",
    example="predict run/network.safetensors image.png\n"
    "predict run/network.safetensors events.csv --encoding events --json",
    add_options=_add_options,
    run=_run,
    text=_text,
)
