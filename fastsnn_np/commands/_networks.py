"""Networks that commands are given, and how their input was encoded."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._checks import check_steps, positive
from .._storage import as_path, read_json
from ..convert import Quantised
from ..network import Network

_RECIPE = "recipe.json"
_SUMMARY = "summary.json"
ENCODINGS = ("latency", "linear_latency", "events")


def load_network(name: str) -> tuple[Network, Path]:
    """A saved network, with float or with integer weights, and its path."""
    path = as_path(name, "network")
    try:
        return Network.load(path), path
    except ValueError as error:
        try:
            return Quantised.load(path).network, path
        except ValueError:
            raise error from None


@dataclass(frozen=True)
class Coding:
    """How data becomes spikes: what the run's recipe says, or options."""

    encoding: str
    n_steps: int
    dt: float  #: ms
    merge_polarities: bool
    binary: bool
    dataset: str | None


def add_coding(parser: argparse.ArgumentParser) -> None:
    """Options for what a network without a recipe beside it was trained on."""
    beside = "; what recipe.json beside the network says unless given"
    parser.add_argument("--encoding", choices=ENCODINGS, help=f"latency if neither says{beside}")
    parser.add_argument("--steps", type=int, help=f"number of steps, 100 if neither says{beside}")


def coding_of(arguments: argparse.Namespace, network: Network, path: Path) -> Coding:
    """The coding of a network's input."""
    recipe = beside(path, _RECIPE)
    try:
        return Coding(
            encoding=arguments.encoding or str(recipe.get("encoding", "latency")),
            n_steps=check_steps(
                recipe.get("n_steps", 100) if arguments.steps is None else arguments.steps
            ),
            dt=positive("dt", recipe.get("dt", network.dt), "ms"),
            merge_polarities=bool(recipe.get("merge_polarities", True)),
            binary=bool(recipe.get("binary", True)),
            dataset=recipe.get("dataset"),
        )
    except ValueError as error:
        raise ValueError(f"{path.parent / _RECIPE} or the options: {error}") from error


def summary_of(path: Path) -> dict[str, Any]:
    """What the run has reached that has left this network; empty if there is none beside it."""
    return beside(path, _SUMMARY)


def beside(path: Path, name: str) -> dict[str, Any]:
    """The dict in a JSON file of this name beside a network; empty where there is none."""
    place = path.parent / name
    return read_json(place) if place.is_file() else {}
