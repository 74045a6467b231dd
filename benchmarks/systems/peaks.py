"""``python -m benchmarks.systems.peaks train NAME | stream CHUNKS``: MB, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np

import fastsnn_np as fs

from ..harness.machine import ROOT
from ..harness.memory import peak
from . import catalogue

TASK = "train 128"
CHUNK, INPUTS, EVENTS = 1000, 500, 5000


def train(name: str) -> float:
    """Peak of a training step of one system, beyond what is held between steps."""
    return catalogue.contest([name], task=TASK).contestants[name].peak()


def stream(chunks: int) -> float:
    """Peak of the whole process while a network reads random events, made as they are read."""
    network = fs.Network.random([INPUTS, 200, 10], seed=0)

    def read() -> Iterator[fs.Events]:
        rng = np.random.default_rng(0)
        for _ in range(chunks):
            steps, neurons = rng.integers(0, CHUNK, EVENTS), rng.integers(0, INPUTS, EVENTS)
            yield fs.Events.from_arrays(steps, neurons, n_neurons=INPUTS, n_steps=CHUNK)

    def run() -> None:
        taken = 0
        for result in fs.stream(network, read()):
            assert result.state is not None
            taken = result.state.step
        assert taken == CHUNK * chunks, f"{taken} steps were taken"

    return peak(run, absolute=True)


def fresh(what: str, argument: str) -> float:
    """`train` or `stream` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.systems.peaks", what, argument],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(train(sys.argv[2]) if sys.argv[1] == "train" else stream(int(sys.argv[2])))
