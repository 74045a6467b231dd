"""One sample at a time: a prepared network on a raw image or on events, and a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np.datasets import fashion_mnist_sample
from fastsnn_np.encoding import latency as encode

from ..harness.contest import Call, Contest, Figure
from ..harness.machine import ROOT
from .internals import to_numpy
from .tasks import network_task


def network_and_image(seed: int) -> tuple[fs.Network, Any]:
    images, _ = fashion_mnist_sample("test")
    return network_task(1, seed)[0], images[:1]


def calls(network: fs.Network, image: Any, backend: str) -> dict[str, Callable[[], Any]]:
    """Both ways in: encoding included, or from events that are there."""
    prepared = fs.prepare(network, backend=backend)
    spikes = encode(image)
    x: Any = spikes.to_dense(np.float32)
    if backend == "numba":
        x = fs.Events.from_dense(spikes.to_dense(bool))
    return {
        "raw image": lambda: prepared(encode(image)).prediction,
        "events": lambda: prepared(x).prediction,
    }


def contest(
    names: Sequence[str], *, way: str, repeats: int, seed: int = 0, backend: str | None = None
) -> Contest:
    """Prepared networks on one sample, `repeats` calls a turn; `way` is a key of `calls`."""
    network, image = network_and_image(seed)
    made = {
        name: Call(calls(network, image, _backend(name, backend))[way], class_of, repeats)
        for name in names
    }
    return Contest(made, partial(judge, seed), one_by_one=True)


def start_contest(names: Sequence[str], *, seed: int = 0, backend: str | None = None) -> Contest:
    """Fresh processes that import, prepare and call; the first one's kernels stay on disk."""
    made = {
        name: Figure(partial(start, seed, _backend(name, backend)), lambda found: found["class"])
        for name in names
    }
    return Contest(made, partial(judge, seed), one_by_one=True)


def start(seed: int, backend: str) -> dict[str, float]:
    """ms of import, preparation and first call in a fresh process, and the class it predicts."""
    command = [sys.executable, "-m", "benchmarks.systems.first_call", str(seed), backend]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def judge(seed: int, outputs: dict[str, int]) -> str:
    """Compare a prediction with that of the dense core on NumPy, in one call of `forward`.

    Raises
    ------
    AssertionError
        If it is another class.
    """
    network, image = network_and_image(seed)
    expected = class_of(fs.forward(encode(image), network, backend="numpy").prediction)
    (got,) = outputs.values()
    assert got == expected, f"class {got}, and the dense core says {expected}"
    return "the prediction is the dense core's"


def _backend(name: str, backend: str | None) -> str:
    return "numba" if name == "event" else backend or "numpy"


def class_of(prediction: Any) -> int:
    return int(to_numpy(prediction)[0])
